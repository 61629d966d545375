//! The fault menu: what can go wrong now, resolved against the picture, or why it cannot.

use super::app::{App, Errand, What};
use super::breaking::can_go_in;
use crate::fault::{Act, DiskHarm, Fault, NodeId, Of, Only, Signal, Way, WireHarm};
use crate::journal::ChildState;
use crate::run::Command;

/// One entry of the menu.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is called.
    pub name: &'static str,
    /// What exactly it would do now; or why it cannot.
    pub detail: Result<String, String>,
    /// What it does.
    pub does: Deed,
}

/// What an entry does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deed {
    /// At once.
    pub now: Vec<Command>,
    /// Later, and perhaps again and again.
    pub later: Vec<Errand>,
}

/// The entries as they are now. Their order and number never change, so that a digit always means the same.
#[must_use]
pub fn entries(app: &App) -> Vec<Entry> {
    let ids = app.present().ids();
    let leader = app.present().leader();
    let mut entries = vec![
        isolate_leader(&ids, leader, Way::Both),
        split_halves(&ids),
        cut_one_way(app, leader),
        bridge(&ids),
        slow_all(&ids),
        pause_leader(leader),
        kill_minority(app, leader),
        rolling_restart(app),
        flap(app, leader),
        isolate_leader(&ids, leader, Way::In),
        isolate_leader(&ids, leader, Way::Out),
        crash_leader(leader),
        power_loss(app),
        messages("lose answers to clients", Act::Swallow, Of::Clients, 300, 0),
        messages("drop every vote", Act::Drop, Of::Votes, 1_000, 0),
        messages("drop heartbeats", Act::Drop, Of::Heartbeats, 500, 0),
        messages("peers' messages late", Act::Late, Of::Peers, 300, 300),
        disk_of_leader("fill the leader's disk", leader, DiskHarm::Full),
        disk_of_leader("fail the leader's syncs", leader, DiskHarm::SyncFails),
        transfer(app, leader),
        clock_of_leader(leader),
        take_a_vote(app, leader),
        freeze(app),
        disk_of_leader("let the leader's disk lie", leader, DiskHarm::LyingSync),
        disk_of_leader("hold the leader's syncs", leader, DiskHarm::HoldSync),
        messages("old messages once more", Act::Replay, Of::Peers, 300, 0),
        messages("cut append streams", Act::CutStream, Of::Appends, 1_000, 0),
        messages("stall append streams", Act::Stall, Of::Appends, 1_000, 0),
        kill_followers(app, leader),
        replace_a_follower(app, leader),
        wire(app, leader, "narrow a link", WireHarm::Narrow, 2_000),
        wire(app, leader, "reset and refuse a link", WireHarm::Refuse, 0),
    ];
    for entry in &mut entries {
        // Of several that one entry puts in, those that can go in do.
        let mut refused = entry
            .does
            .now
            .iter()
            .map(|one| can_go_in(app, std::slice::from_ref(one)));
        if let Some(Err(why)) = refused.next()
            && refused.all(|one| one.is_err())
        {
            entry.detail = Err(why);
        }
    }
    entries
}

fn entry(name: &'static str, done: Result<(String, Deed), String>) -> Entry {
    match done {
        Ok((detail, does)) => Entry {
            name,
            detail: Ok(detail),
            does,
        },
        Err(why) => Entry {
            name,
            detail: Err(why),
            does: Deed::default(),
        },
    }
}

fn inject(faults: Vec<Fault>) -> Deed {
    Deed {
        now: faults.into_iter().map(Command::Inject).collect(),
        later: Vec::new(),
    }
}

fn names(ids: &[NodeId]) -> String {
    ids.iter()
        .map(|id| format!("n{id}"))
        .collect::<Vec<_>>()
        .join(", ")
}

const NO_LEADER: &str = "no leader is known now";

fn isolate_leader(ids: &[NodeId], leader: Option<NodeId>, way: Way) -> Entry {
    let name = match way {
        Way::Both => "isolate the leader",
        Way::In => "deafen the leader",
        Way::Out => "mute the leader",
    };
    let done = leader.ok_or(NO_LEADER.to_owned()).and_then(|node| {
        let others: Vec<NodeId> = ids.iter().copied().filter(|&id| id != node).collect();
        if others.is_empty() {
            return Err("needs 2 nodes, has 1".to_owned());
        }
        let detail = match way {
            Way::Both => format!("n{node} alone, {} together", names(&others)),
            Way::In => format!("n{node} hears nobody, they hear it"),
            Way::Out => format!("nobody hears n{node}, it hears them"),
        };
        Ok((detail, inject(vec![Fault::Isolate { node, way }])))
    });
    entry(name, done)
}

fn at_least(ids: &[NodeId], wanted: usize) -> Result<(), String> {
    if ids.len() < wanted {
        Err(format!("needs {wanted} nodes, has {}", ids.len()))
    } else {
        Ok(())
    }
}

fn split_halves(ids: &[NodeId]) -> Entry {
    let done = at_least(ids, 4).map(|()| {
        let (side, rest) = ids.split_at(ids.len() / 2);
        (
            format!("{} | {}", names(side), names(rest)),
            inject(vec![Fault::Split {
                side: side.to_vec(),
            }]),
        )
    });
    entry("split in halves", done)
}

fn cut_one_way(app: &App, leader: Option<NodeId>) -> Entry {
    let done = a_link(app, leader).map(|(from, to)| {
        (
            format!("n{from} → n{to} stops, n{to} → n{from} flows"),
            inject(vec![Fault::Cut { from, to }]),
        )
    });
    entry("cut one way", done)
}

fn wire(
    app: &App,
    leader: Option<NodeId>,
    name: &'static str,
    harm: WireHarm,
    amount: u64,
) -> Entry {
    let done = a_link(app, leader).map(|(from, to)| {
        let detail = match harm {
            WireHarm::Narrow => format!("n{from} → n{to} at {amount} bytes/s"),
            _ => format!("n{from} can't dial n{to}"),
        };
        let fault = Fault::Wire {
            from,
            to,
            harm,
            amount,
        };
        (detail, inject(vec![fault]))
    });
    entry(name, done)
}

/// The selected link, else one from the leader, else the first there is.
fn a_link(app: &App, leader: Option<NodeId>) -> Result<(NodeId, NodeId), String> {
    let ids = app.present().ids();
    at_least(&ids, 2)?;
    let from = leader.unwrap_or(ids[0]);
    let to = ids
        .iter()
        .rev()
        .copied()
        .find(|&id| id != from)
        .unwrap_or(from);
    Ok(app.selected_link().unwrap_or((from, to)))
}

fn bridge(ids: &[NodeId]) -> Entry {
    let done = at_least(ids, 5).map(|()| {
        let middle = ids.len() / 2;
        let (left, right) = (&ids[..middle], &ids[middle + 1..]);
        let pairs = left
            .iter()
            .flat_map(|&a| right.iter().flat_map(move |&b| [(a, b), (b, a)]));
        let cuts = pairs.map(|(from, to)| Fault::Cut { from, to }).collect();
        (
            format!("{} | n{} | {}", names(left), ids[middle], names(right)),
            inject(cuts),
        )
    });
    entry("bridge", done)
}

fn slow_all(ids: &[NodeId]) -> Entry {
    let done = at_least(ids, 2).map(|()| {
        let pairs = ids
            .iter()
            .flat_map(|&from| ids.iter().map(move |&to| (from, to)))
            .filter(|(from, to)| from != to);
        let slow = pairs
            .map(|(from, to)| Fault::Slow {
                from,
                to,
                delay_ms: 20,
                jitter_ms: 5,
            })
            .collect();
        ("20 ms ±5".to_owned(), inject(slow))
    });
    entry("slow every link", done)
}

fn pause_leader(leader: Option<NodeId>) -> Entry {
    let done = leader.ok_or(NO_LEADER.to_owned());
    let done = done.map(|node| {
        (
            format!("SIGSTOP n{node}; it will not know"),
            inject(vec![Fault::Pause { node }]),
        )
    });
    entry("pause the leader", done)
}

fn up(app: &App) -> Vec<NodeId> {
    let nodes = app.present().nodes.values();
    nodes
        .filter(|node| node.child == ChildState::Up)
        .map(|node| node.id)
        .collect()
}

fn freeze(app: &App) -> Entry {
    let up = up(app);
    let done = if up.is_empty() {
        Err("no node runs".to_owned())
    } else {
        let detail = format!("{} stop; go on one by one", names(&up));
        let nodes = up;
        let fault = Fault::Freeze {
            nodes,
            stagger_ms: 300,
        };
        Ok((detail, inject(vec![fault])))
    };
    entry("pause everybody", done)
}

fn kill_minority(app: &App, leader: Option<NodeId>) -> Entry {
    let (up, all) = (up(app), app.present().nodes.len());
    // As many as can die with a quorum left; followers first, since the leader has an entry of its own.
    let spare = up.len().saturating_sub(all / 2 + 1);
    let mut victims: Vec<NodeId> = up
        .iter()
        .copied()
        .filter(|&id| Some(id) != leader)
        .collect();
    victims.truncate(spare);
    let done = if victims.is_empty() {
        Err(format!(
            "{} of {all} run: one more would break the quorum",
            up.len()
        ))
    } else {
        let faults = victims.iter().map(|&node| Fault::Kill { node }).collect();
        Ok((format!("SIGKILL {}", names(&victims)), inject(faults)))
    };
    entry("kill a minority", done)
}

fn kill_followers(app: &App, leader: Option<NodeId>) -> Entry {
    let mut nodes = up(app);
    nodes.retain(|&id| Some(id) != leader);
    let done = leader.ok_or(NO_LEADER.to_owned()).and_then(|_| {
        if nodes.is_empty() {
            return Err("no follower runs".to_owned());
        }
        let detail = format!("SIGKILL {} at once", names(&nodes));
        Ok((detail, inject(vec![Fault::KillSeveral { nodes }])))
    });
    entry("kill all followers", done)
}

fn rolling_restart(app: &App) -> Entry {
    let up = up(app);
    let done = if up.is_empty() {
        Err("no node runs".to_owned())
    } else {
        let step = |(i, &node): (usize, &NodeId)| Errand {
            due_ns: app.clock_ns + i as u64 * 2_000_000_000,
            what: What::Inject(vec![Fault::Restart {
                node,
                signal: Signal::Term,
            }]),
            every_ns: 0,
        };
        let later = up.iter().enumerate().map(step).collect();
        Ok((
            format!("{}, every 2 s", names(&up)),
            Deed {
                now: Vec::new(),
                later,
            },
        ))
    };
    entry("restart all, one by one", done)
}

fn crash_leader(leader: Option<NodeId>) -> Entry {
    let done = leader.ok_or(NO_LEADER.to_owned()).map(|node| {
        (
            format!("n{node} loses what it had not synced"),
            inject(vec![Fault::Crash { nodes: vec![node] }]),
        )
    });
    entry("crash the leader", done)
}

fn power_loss(app: &App) -> Entry {
    let up = up(app);
    let done = if up.is_empty() {
        Err("no node runs".to_owned())
    } else {
        let detail = format!("{} at once", names(&up));
        Ok((detail, inject(vec![Fault::Crash { nodes: up }])))
    };
    entry("power loss of everybody", done)
}

fn messages(name: &'static str, act: Act, of: Of, per_mille: u32, ms: u64) -> Entry {
    let share = format!("{} %", per_mille / 10);
    let detail = match act {
        Act::Late => format!("{share} of them by {ms} ms"),
        Act::CutStream | Act::Stall => format!("{share}, after one request"),
        _ => format!("{share} of {}", of.name()),
    };
    let fault = Fault::Message {
        act,
        of,
        node: None,
        per_mille,
        ms,
        to: None,
        only: Only::default(),
    };
    entry(name, Ok((detail, inject(vec![fault]))))
}

fn disk_of_leader(name: &'static str, leader: Option<NodeId>, harm: DiskHarm) -> Entry {
    let done = leader.ok_or(NO_LEADER.to_owned()).map(|node| {
        let detail = match harm {
            DiskHarm::Full => format!("no file of n{node} grows"),
            DiskHarm::SyncFails => format!("n{node}: each is EIO, and lost"),
            DiskHarm::LyingSync => format!("n{node}: done, they say; they are not"),
            DiskHarm::FlippedBits => format!("n{node} reads one bit wrong"),
            other => format!("n{node}: {}", other.name()),
        };
        (detail, inject(vec![Fault::Disk { node, harm, ms: 0 }]))
    });
    entry(name, done)
}

fn clock_of_leader(leader: Option<NodeId>) -> Entry {
    let done = leader.ok_or(NO_LEADER.to_owned()).map(|node| {
        let stands = Fault::Clock {
            node,
            rate_percent: 0,
            step_ms: 0,
        };
        (format!("no time goes by for n{node}"), inject(vec![stands]))
    });
    entry("stop the leader's clock", done)
}

fn take_a_vote(app: &App, leader: Option<NodeId>) -> Entry {
    let follower = up(app).into_iter().find(|&id| Some(id) != leader);
    let done = leader
        .ok_or(NO_LEADER.to_owned())
        .and_then(|_| follower.ok_or("nobody else is up".to_owned()))
        .map(|node| {
            let taken = inject(vec![Fault::Shrink { node }]);
            (format!("n{node} learns on without one"), taken)
        });
    entry("take a vote away", done)
}

fn replace_a_follower(app: &App, leader: Option<NodeId>) -> Entry {
    let follower = up(app).into_iter().find(|&id| Some(id) != leader);
    let done = leader
        .ok_or(NO_LEADER.to_owned())
        .and_then(|_| follower.ok_or("nobody else is up".to_owned()))
        .map(|node| {
            let replaced = inject(vec![Fault::Replace { node }]);
            (format!("n{node} comes back on an empty disk"), replaced)
        });
    entry("replace a follower", done)
}

fn transfer(app: &App, leader: Option<NodeId>) -> Entry {
    let heir = up(app).into_iter().find(|&id| Some(id) != leader);
    let done = leader
        .ok_or(NO_LEADER.to_owned())
        .and_then(|_| heir.ok_or("nobody else is up".to_owned()))
        .map(|to| (format!("to n{to}"), inject(vec![Fault::Transfer { to }])));
    entry("hand over the leadership", done)
}

fn flap(app: &App, leader: Option<NodeId>) -> Entry {
    let done = a_link(app, leader).map(|(from, to)| {
        let faults = vec![Fault::Cut { from, to }, Fault::Cut { from: to, to: from }];
        let later = vec![Errand {
            due_ns: app.clock_ns,
            what: What::Inject(faults),
            every_ns: 300_000_000,
        }];
        (
            format!("n{from} ↔ n{to}, 300 ms on, 300 ms off"),
            Deed {
                now: Vec::new(),
                later,
            },
        )
    });
    entry("flap a link", done)
}
