//! What the keys that break something send now, or why they can do nothing: the reason is a sentence for the person.

use super::app::{Action, App};
use super::keys::Verb;
use crate::fault::plan::Episode;
use crate::fault::{DiskHarm, Fault, FaultId, NodeId, NodeSelector, NodeSet, Role, Signal, Way};
use crate::journal::{ChildState, LinkState, Load};
use crate::journal::{RunView, UNPROMISED};
use crate::run::Command;

/// What a node's key sends now, or why it can do nothing.
pub(super) fn node_commands(app: &App, verb: Verb) -> Result<Vec<Command>, String> {
    if verb == Verb::Delay && app.selected_link().is_some() {
        return link_commands(app, verb);
    }
    Ok(match wished(app, verb)? {
        Wished::Inject(faults) => vec![injected(app, faults)?],
        Wished::Heal(ids) => ids.into_iter().map(Command::Heal).collect(),
    })
}

/// What a key asks for.
enum Wished {
    /// These faults, until they are healed.
    Inject(Vec<Fault<Role>>),
    /// That these are healed.
    Heal(Vec<FaultId>),
}

fn injected(app: &App, faults: Vec<Fault<Role>>) -> Result<Command, String> {
    faults.iter().try_for_each(|fault| can_go_in(app, fault))?;
    Ok(Command::Inject(vec![Episode::until_healed(faults)]))
}

/// Whether a fault can go in beside what is in: the same that the nemesis asks itself.
pub(super) fn can_go_in(app: &App, fault: &Fault<Role>) -> Result<(), String> {
    if let Some(why) = app.lacks.why_not(fault) {
        return Err(why.to_owned());
    }
    let Ok(fault) = app.resolved(fault) else {
        // Whom it means is found when it goes in.
        return Ok(());
    };
    let mut active = app.present().active();
    match active.find_map(|span| fault.refused_by(&span.fault)) {
        Some(why) => Err(format!("{fault}: {why}")),
        None => Ok(()),
    }
}

fn wished(app: &App, verb: Verb) -> Result<Wished, String> {
    let id = app.selected_node().ok_or("no node is selected")?;
    let child = app.present().nodes[&id].child;
    let active = |wanted: &dyn Fn(&Fault) -> bool| -> Vec<FaultId> {
        app.present()
            .active()
            .filter(|span| wanted(&span.fault))
            .map(|span| span.id)
            .collect()
    };
    let who = NodeSelector::Node(id);
    let one = |fault| Ok(Wished::Inject(vec![fault]));
    let starting = || Err(format!("n{id} is starting; wait until it is up"));
    match (verb, child) {
        (Verb::Kill, ChildState::Dead) => Err(format!("n{id} is not running; r starts it again")),
        (Verb::Kill, _) => one(Fault::Kill { who }),
        (Verb::Restart, ChildState::Starting) | (Verb::Pause, ChildState::Starting) => starting(),
        (Verb::Restart, ChildState::Paused) => Err(format!(
            "n{id} is paused and would not hear it; p resumes it"
        )),
        (Verb::Restart, ChildState::Dead) => {
            let killed = active(&|fault| match fault {
                Fault::Kill { who: node } => *node == id,
                Fault::PowerLoss { who: nodes } | Fault::KillSeveral { who: nodes } => {
                    nodes.contains(&id)
                }
                _ => false,
            });
            if killed.is_empty() {
                one(Fault::Restart {
                    who,
                    signal: Signal::Term,
                })
            } else {
                Ok(Wished::Heal(killed))
            }
        }
        (Verb::Restart, ChildState::Up) => one(Fault::Restart {
            who,
            signal: Signal::Term,
        }),
        (Verb::Pause, ChildState::Dead) => Err(format!("n{id} is not running; r starts it again")),
        (Verb::Pause, ChildState::Up) => one(Fault::Pause { who }),
        (Verb::Pause, ChildState::Paused) => {
            let paused = active(&|fault| *fault == Fault::Pause { who: id });
            if paused.is_empty() {
                Err(format!("n{id} was paused by somebody else"))
            } else {
                Ok(Wished::Heal(paused))
            }
        }
        (Verb::PowerLoss, ChildState::Dead) => {
            Err(format!("n{id} is not running; r starts it again"))
        }
        (Verb::PowerLoss, _) => one(Fault::PowerLoss {
            who: NodeSet::Nodes(vec![who]),
        }),
        (Verb::Disk | Verb::Clock, ChildState::Dead) => {
            Err(format!("n{id} is not running; r starts it again"))
        }
        (Verb::Disk | Verb::Clock, ChildState::Paused) => Err(format!(
            "n{id} is paused and would not hear it; p resumes it"
        )),
        (Verb::Disk | Verb::Clock, ChildState::Starting) => starting(),
        (Verb::Disk, _) => {
            let slowed =
                active(&|fault| matches!(fault, Fault::Disk { who: node, .. } if *node == id));
            if slowed.is_empty() {
                one(Fault::Disk {
                    who,
                    harm: DiskHarm::SlowSync,
                    ms: 50,
                })
            } else {
                Ok(Wished::Heal(slowed))
            }
        }
        (Verb::Clock, _) => {
            let wrong =
                active(&|fault| matches!(fault, Fault::Clock { who: node, .. } if *node == id));
            if wrong.is_empty() {
                one(Fault::Clock {
                    who,
                    rate_percent: 300,
                    step_ms: 0,
                })
            } else {
                Ok(Wished::Heal(wrong))
            }
        }
        (Verb::Transfer, _) if app.present().leader() == Some(id) => {
            Err(format!("n{id} leads already; select its heir"))
        }
        (Verb::Transfer, ChildState::Up) => one(Fault::Transfer { to: who }),
        (Verb::Transfer, _) => Err(format!("n{id} is not up and cannot lead")),
        (Verb::Isolate, _) if app.present().nodes.len() < 2 => {
            Err("there is no peer to isolate it from".to_owned())
        }
        (Verb::Isolate, _) => {
            let isolated =
                active(&|fault| matches!(fault, Fault::Isolate { who: node, .. } if *node == id));
            if isolated.is_empty() {
                one(Fault::Isolate {
                    who,
                    way: Way::Both,
                })
            } else {
                Ok(Wished::Heal(isolated))
            }
        }
        (Verb::Delay, _) => {
            let slowed = active(
                &|fault| matches!(fault, Fault::Slow { from, to, .. } if *from == id || *to == id),
            );
            if !slowed.is_empty() {
                return Ok(Wished::Heal(slowed));
            }
            let peers = app.present().ids().into_iter().filter(|&peer| peer != id);
            let links: Vec<_> = peers.flat_map(|peer| [(id, peer), (peer, id)]).collect();
            if links.is_empty() {
                Err("there is no link to delay".to_owned())
            } else {
                Ok(Wished::Inject(slow(&links)))
            }
        }
        _ => Ok(Wished::Heal(Vec::new())),
    }
}

fn slow(links: &[(NodeId, NodeId)]) -> Vec<Fault<Role>> {
    let slow = |&(from, to): &(NodeId, NodeId)| Fault::Slow {
        from: NodeSelector::Node(from),
        to: NodeSelector::Node(to),
        delay_ms: 40,
        jitter_ms: 10,
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
        return Ok(vec![injected(app, slow(links))?]);
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
    let cut = |&(from, to): &(NodeId, NodeId)| Fault::Cut {
        from: NodeSelector::Node(from),
        to: NodeSelector::Node(to),
    };
    Ok(vec![injected(app, links.iter().map(cut).collect())?])
}

/// Says at once what was asked for: nothing waits for the cluster.
pub(super) fn send(app: &mut App, commands: Vec<Command>) -> Action {
    let texts: Vec<String> = commands
        .iter()
        .flat_map(|command| match command {
            Command::Inject(episodes) => {
                let faults = episodes.iter().flat_map(|episode| &episode.faults);
                let labelled = |fault: &Fault<Role>| match app.lacks.why_unpromised(fault.kind()) {
                    Some(_) => format!("{fault}{UNPROMISED}"),
                    None => fault.to_string(),
                };
                faults.map(labelled).collect()
            }
            Command::Heal(id) => vec![match app
                .present()
                .active()
                .find(|span| span.id == *id)
                .map(|span| &span.fault)
            {
                Some(Fault::Kill { who: node }) => format!("start n{node}"),
                Some(Fault::Pause { who: node }) => format!("resume n{node}"),
                Some(fault) => format!("heal: {fault}"),
                None => format!("heal fault {id}"),
            }],
            other => vec![format!("{other:?}")],
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
