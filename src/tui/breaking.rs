//! What the keys that break something send now, or why they can do nothing: the reason is a sentence for the person.

use super::app::{Action, App};
use super::keys::Verb;
use crate::fault::FaultId;
use crate::fault::{DiskHarm, Fault, NodeId, Signal, Way};
use crate::journal::RunView;
use crate::journal::{ChildState, LinkState, Load};
use crate::run::Command;

/// What a node's key sends now, or why it can do nothing.
pub(super) fn node_commands(app: &App, verb: Verb) -> Result<Vec<Command>, String> {
    let commands = wished(app, verb)?;
    can_go_in(app, &commands)?;
    Ok(commands)
}

/// Whether what is asked for can go in beside what is in: the same that the nemesis asks itself.
pub(super) fn can_go_in(app: &App, commands: &[Command]) -> Result<(), String> {
    let active: Vec<&Fault> = app.present().active().map(|span| &span.fault).collect();
    for command in commands {
        if let Command::Inject(fault) = command
            && let Some(why) = active.iter().find_map(|other| fault.refused_by(other))
        {
            return Err(format!("{fault}: {why}"));
        }
    }
    Ok(())
}

fn wished(app: &App, verb: Verb) -> Result<Vec<Command>, String> {
    if verb == Verb::Delay && app.selected_link().is_some() {
        return link_commands(app, verb);
    }
    let id = app.selected_node().ok_or("no node is selected")?;
    let child = app.present().nodes[&id].child;
    let active = |wanted: &dyn Fn(&Fault) -> bool| -> Vec<FaultId> {
        app.present()
            .active()
            .filter(|span| wanted(&span.fault))
            .map(|span| span.id)
            .collect()
    };
    let heal = |ids: Vec<FaultId>| ids.into_iter().map(Command::Heal).collect::<Vec<_>>();
    let starting = || Err(format!("n{id} is starting; wait until it is up"));
    match (verb, child) {
        (Verb::Kill, ChildState::Dead) => Err(format!("n{id} is not running; r starts it again")),
        (Verb::Kill, _) => Ok(vec![Command::Inject(Fault::Kill { node: id })]),
        (Verb::Restart, ChildState::Starting) | (Verb::Pause, ChildState::Starting) => starting(),
        (Verb::Restart, ChildState::Paused) => Err(format!(
            "n{id} is paused and would not hear it; p resumes it"
        )),
        (Verb::Restart, ChildState::Dead) => {
            let killed = active(&|fault| match fault {
                Fault::Kill { node } => *node == id,
                Fault::Crash { nodes } | Fault::KillSeveral { nodes } => nodes.contains(&id),
                _ => false,
            });
            if killed.is_empty() {
                Ok(vec![Command::Inject(Fault::Restart {
                    node: id,
                    signal: Signal::Term,
                })])
            } else {
                Ok(heal(killed))
            }
        }
        (Verb::Restart, ChildState::Up) => Ok(vec![Command::Inject(Fault::Restart {
            node: id,
            signal: Signal::Term,
        })]),
        (Verb::Pause, ChildState::Dead) => Err(format!("n{id} is not running; r starts it again")),
        (Verb::Pause, ChildState::Up) => Ok(vec![Command::Inject(Fault::Pause { node: id })]),
        (Verb::Pause, ChildState::Paused) => {
            let paused = active(&|fault| *fault == Fault::Pause { node: id });
            if paused.is_empty() {
                Err(format!("n{id} was paused by somebody else"))
            } else {
                Ok(heal(paused))
            }
        }
        (Verb::Crash, ChildState::Dead) => Err(format!("n{id} is not running; r starts it again")),
        (Verb::Crash, _) => Ok(vec![Command::Inject(Fault::Crash { nodes: vec![id] })]),
        (Verb::Disk | Verb::Clock, ChildState::Dead) => {
            Err(format!("n{id} is not running; r starts it again"))
        }
        (Verb::Disk | Verb::Clock, ChildState::Paused) => Err(format!(
            "n{id} is paused and would not hear it; p resumes it"
        )),
        (Verb::Disk | Verb::Clock, ChildState::Starting) => starting(),
        (Verb::Disk, _) => {
            let slowed = active(&|fault| matches!(fault, Fault::Disk { node, .. } if *node == id));
            if slowed.is_empty() {
                Ok(vec![Command::Inject(Fault::Disk {
                    node: id,
                    harm: DiskHarm::SlowSync,
                    ms: 50,
                })])
            } else {
                Ok(heal(slowed))
            }
        }
        (Verb::Clock, _) => {
            let wrong = active(&|fault| matches!(fault, Fault::Clock { node, .. } if *node == id));
            if wrong.is_empty() {
                Ok(vec![Command::Inject(Fault::Clock {
                    node: id,
                    rate_percent: 300,
                    step_ms: 0,
                })])
            } else {
                Ok(heal(wrong))
            }
        }
        (Verb::Transfer, _) if app.present().leader() == Some(id) => {
            Err(format!("n{id} leads already; select its heir"))
        }
        (Verb::Transfer, ChildState::Up) => Ok(vec![Command::Inject(Fault::Transfer { to: id })]),
        (Verb::Transfer, _) => Err(format!("n{id} is not up and cannot lead")),
        (Verb::Isolate, _) if app.present().nodes.len() < 2 => {
            Err("there is no peer to isolate it from".to_owned())
        }
        (Verb::Isolate, _) => {
            let isolated =
                active(&|fault| matches!(fault, Fault::Isolate { node, .. } if *node == id));
            if isolated.is_empty() {
                Ok(vec![Command::Inject(Fault::Isolate {
                    node: id,
                    way: Way::Both,
                })])
            } else {
                Ok(heal(isolated))
            }
        }
        (Verb::Delay, _) => {
            let slowed = active(
                &|fault| matches!(fault, Fault::Slow { from, to, .. } if *from == id || *to == id),
            );
            if !slowed.is_empty() {
                return Ok(heal(slowed));
            }
            let peers = app.present().ids().into_iter().filter(|&peer| peer != id);
            let links: Vec<_> = peers.flat_map(|peer| [(id, peer), (peer, id)]).collect();
            if links.is_empty() {
                Err("there is no link to delay".to_owned())
            } else {
                Ok(slow(&links))
            }
        }
        _ => Ok(Vec::new()),
    }
}

fn slow(links: &[(NodeId, NodeId)]) -> Vec<Command> {
    let slow = |&(from, to)| {
        Command::Inject(Fault::Slow {
            from,
            to,
            delay_ms: 40,
            jitter_ms: 10,
        })
    };
    links.iter().map(slow).collect()
}

/// What a link's key sends now, or why it can do nothing.
pub(super) fn link_commands(app: &App, verb: Verb) -> Result<Vec<Command>, String> {
    let arrow = app.theme.glyphs.arrows[3];
    let (from, to) = app.selected_link().ok_or(match app.link {
        Some(_) => "a node has no link to itself".to_owned(),
        None => format!("no link is selected; {arrow} walks into the links of the selected node"),
    })?;
    let links: &[(NodeId, NodeId)] = if verb == Verb::CutBoth {
        &[(from, to), (to, from)]
    } else {
        &[(from, to)]
    };
    let slowed = verb == Verb::Delay;
    let ours = |fault: &Fault| match fault {
        Fault::Cut { from, to } => !slowed && links.contains(&(*from, *to)),
        Fault::Slow { from, to, .. } => slowed && links.contains(&(*from, *to)),
        _ => false,
    };
    let heal: Vec<Command> = app
        .present()
        .active()
        .filter(|span| ours(&span.fault))
        .map(|span| Command::Heal(span.id))
        .collect();
    if !heal.is_empty() {
        return Ok(heal);
    }
    if slowed {
        let slow = slow(links);
        can_go_in(app, &slow)?;
        return Ok(slow);
    }
    if links
        .iter()
        .all(|&(from, to)| app.present().link(from, to) == LinkState::Cut)
    {
        let ids = app.present().ids();
        let cause = app
            .present()
            .active()
            .find(|span| span.fault.links(&ids).contains(&(from, to)));
        let cause = cause.map_or_else(
            || "already".to_owned(),
            |span| format!("by “{}”", span.fault),
        );
        return Err(format!(
            "n{from} → n{to} is cut {cause}; H heals everything"
        ));
    }
    Ok(links
        .iter()
        .map(|&(from, to)| Command::Inject(Fault::Cut { from, to }))
        .collect())
}

/// Says at once what was asked for: nothing waits for the cluster.
pub(super) fn send(app: &mut App, commands: Vec<Command>) -> Action {
    let texts: Vec<String> = commands
        .iter()
        .map(|command| match command {
            Command::Inject(fault) => fault.to_string(),
            Command::Heal(id) => match app
                .present()
                .active()
                .find(|span| span.id == *id)
                .map(|span| &span.fault)
            {
                Some(Fault::Kill { node }) => format!("start n{node}"),
                Some(Fault::Pause { node }) => format!("resume n{node}"),
                Some(fault) => format!("heal: {fault}"),
                None => format!("heal fault {id}"),
            },
            other => format!("{other:?}"),
        })
        .collect();
    let text = match texts.as_slice() {
        [first, second, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {} more …", rest.len())
        }
        _ => format!("{} …", texts.join(", ")),
    };
    app.flash(text);
    Action::Send(commands)
}

/// The load that a key asks for.
///
/// # Errors
/// Why there cannot be less, or more.
pub(super) fn asked_by(verb: Verb, picture: &RunView) -> Result<Load, String> {
    let mut load = picture.load;
    match verb {
        Verb::Less => load.rate = (load.rate / 2).max(1),
        Verb::More => load.rate = load.rate.saturating_mul(2),
        Verb::FewerClients if load.clients <= 1 => {
            return Err("one client is left; w holds it, too".to_owned());
        }
        Verb::FewerClients => load.clients -= 1,
        Verb::MoreClients if load.clients >= picture.clients => {
            let began = picture.clients;
            return Err(format!(
                "all {began} clients ask; a run with more begins at s"
            ));
        }
        Verb::MoreClients => load.clients += 1,
        Verb::FewerKeys if load.contended <= 1 => {
            return Err("one contended key is left".to_owned());
        }
        Verb::FewerKeys => load.contended -= 1,
        _ => load.contended += 1,
    }
    Ok(load)
}
