//! The fault menu: what can go wrong now, resolved against the picture, or why it cannot.

use super::app::App;
use super::breaking::can_go_in;
use crate::fault::plan::Episode;
use crate::fault::{
    Act, DiskHarm, Fault, Need, NodeId, NodeSelector, NodeSet, Of, Only, Role, Signal, Way,
    WireHarm,
};
use crate::journal::ChildState;

/// One entry of the menu.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is called.
    pub name: &'static str,
    /// What exactly it would do now; or why it cannot.
    pub detail: Result<String, String>,
    /// The episodes with which it does it. Whom it means by a role is a role in them, too.
    pub does: Vec<Episode>,
}

/// The entries as they are now, but for what the target never has. Their order and number never change while a run goes
/// on, so that a digit always means the same.
#[must_use]
pub fn entries(app: &App) -> Vec<Entry> {
    let mut entries = all(app);
    entries.retain(|entry| why_never(app, entry).is_none());
    entries
}

/// Why there is less on the menu than for our own node, and by how much each reason makes it less.
#[must_use]
pub fn withheld(app: &App) -> Vec<(String, usize)> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    let entries = all(app);
    for why in entries.iter().filter_map(|entry| why_never(app, entry)) {
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += 1,
            None => reasons.push((why, 1)),
        }
    }
    reasons
}

/// Why the target never has what an entry does.
fn why_never(app: &App, entry: &Entry) -> Option<String> {
    // Whom it is for is not known now; whether it ever is, is.
    if entry.detail.as_ref().is_err_and(|why| why == NO_LEADER) {
        return app.lacks.why(Need::Leader).map(str::to_owned);
    }
    let first = entry.does.first().into_iter();
    let faults = first.flat_map(|episode| &episode.faults);
    let mut lacking = faults.map(|fault| app.lacks.why_not(fault));
    let why = lacking.next()??;
    lacking.all(|one| one.is_some()).then(|| why.to_owned())
}

fn all(app: &App) -> Vec<Entry> {
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
        leader_loses_power(leader),
        power_loss(app),
        messages(
            "lose answers to clients",
            Act::DropResponse,
            Of::Clients,
            300,
            0,
        ),
        messages("drop every vote", Act::Drop, Of::Votes, 1_000, 0),
        messages("drop heartbeats", Act::Drop, Of::Heartbeats, 500, 0),
        messages(
            "peers' messages late",
            Act::DelayRequest,
            Of::Peers,
            300,
            300,
        ),
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
        wire(
            app,
            leader,
            "limit a link's bandwidth",
            WireHarm::Bandwidth,
            2_000,
        ),
        wire(app, leader, "reset and refuse a link", WireHarm::Refuse, 0),
    ];
    for entry in &mut entries {
        // Of several that one entry puts in, those that can go in do.
        let first = entry.does.first().into_iter();
        let faults = first.flat_map(|episode| &episode.faults);
        let mut refused = faults.map(|fault| can_go_in(app, fault));
        if let Some(Err(why)) = refused.next()
            && refused.all(|one| one.is_err())
        {
            entry.detail = Err(why);
        }
        let faults = entry.does.iter().flat_map(|episode| &episode.faults);
        let mut kinds = faults.map(Fault::kind);
        if let Ok(detail) = &mut entry.detail
            && kinds.any(|kind| app.lacks.why_unpromised(kind).is_some())
        {
            detail.insert_str(0, NOT_PROMISED);
        }
    }
    entries
}

/// What is said of an entry that what is tested does not promise to survive.
const NOT_PROMISED: &str = "not promised: ";

fn entry(name: &'static str, done: Result<(String, Vec<Episode>), String>) -> Entry {
    match done {
        Ok((detail, does)) => Entry {
            name,
            detail: Ok(detail),
            does,
        },
        Err(why) => Entry {
            name,
            detail: Err(why),
            does: Vec::new(),
        },
    }
}

/// Faults that are in until somebody takes them out.
fn inject(faults: Vec<Fault<Role>>) -> Vec<Episode> {
    vec![Episode::until_healed(faults)]
}

fn several(ids: &[NodeId]) -> Vec<NodeSelector> {
    ids.iter().copied().map(NodeSelector::Node).collect()
}

/// All nodes, where all of them run; else those that do.
fn everybody(app: &App, up: &[NodeId]) -> NodeSet {
    match up.len() == app.present().nodes.len() {
        true => NodeSet::All,
        false => NodeSet::Nodes(several(up)),
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
        let who = NodeSelector::Leader;
        Ok((detail, inject(vec![Fault::Isolate { who, way }])))
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
                side: several(side),
            }]),
        )
    });
    entry("split in halves", done)
}

fn cut_one_way(app: &App, leader: Option<NodeId>) -> Entry {
    let done = a_link(app, leader).map(|(from, to)| {
        let detail = format!("n{from} → n{to} stops, n{to} → n{from} flows");
        let [from, to] = [from, to].map(|node| app.role_of(node));
        (detail, inject(vec![Fault::Cut { from, to }]))
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
            WireHarm::Bandwidth => format!("n{from} → n{to} at {amount} bytes/s"),
            _ => format!("n{from} can't dial n{to}"),
        };
        let [from, to] = [from, to].map(|node| app.role_of(node));
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
        let bridge = Fault::Bridge {
            over: NodeSelector::Node(ids[middle]),
            side: several(left),
        };
        (
            format!("{} | n{} | {}", names(left), ids[middle], names(right)),
            inject(vec![bridge]),
        )
    });
    entry("bridge", done)
}

fn slow_all(ids: &[NodeId]) -> Entry {
    let done = at_least(ids, 2).map(|()| {
        let pairs = ids
            .iter()
            .flat_map(|from| ids.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from != to);
        let slow = pairs
            .map(|(&from, &to)| Fault::Slow {
                from: NodeSelector::Node(from),
                to: NodeSelector::Node(to),
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
            inject(vec![Fault::Pause {
                who: NodeSelector::Leader,
            }]),
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
        let fault = Fault::Freeze {
            who: everybody(app, &up),
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
        let kill = |node: &NodeId| Fault::Kill {
            who: app.role_of(*node),
        };
        let faults = victims.iter().map(kill).collect();
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
        let who = match nodes.len() + 1 == app.present().nodes.len() {
            true => NodeSet::Followers,
            false => NodeSet::Nodes(several(&nodes)),
        };
        Ok((detail, inject(vec![Fault::KillSeveral { who }])))
    });
    entry("kill all followers", done)
}

fn rolling_restart(app: &App) -> Entry {
    let up = up(app);
    let done = if up.is_empty() {
        Err("no node runs".to_owned())
    } else {
        let step = |(at, &node): (u64, &NodeId)| {
            let restart = Fault::Restart {
                who: NodeSelector::Node(node),
                signal: Signal::Term,
            };
            Episode::at(at * 2_000, 0, vec![restart])
        };
        let steps = (0..).zip(&up).map(step).collect();
        Ok((format!("{}, every 2 s", names(&up)), steps))
    };
    entry("restart all, one by one", done)
}

fn leader_loses_power(leader: Option<NodeId>) -> Entry {
    let done = leader.ok_or(NO_LEADER.to_owned()).map(|node| {
        (
            format!("n{node} loses what it had not synced"),
            inject(vec![Fault::PowerLoss {
                who: NodeSet::Leader,
            }]),
        )
    });
    entry("power loss of the leader", done)
}

fn power_loss(app: &App) -> Entry {
    let up = up(app);
    let done = if up.is_empty() {
        Err("no node runs".to_owned())
    } else {
        let detail = format!("{} at once", names(&up));
        let who = everybody(app, &up);
        Ok((detail, inject(vec![Fault::PowerLoss { who }])))
    };
    entry("power loss of everybody", done)
}

fn messages(name: &'static str, act: Act, of: Of, per_mille: u32, ms: u64) -> Entry {
    let share = format!("{} %", per_mille / 10);
    let detail = match act {
        Act::DelayRequest => format!("{share} of them by {ms} ms"),
        Act::CutStream | Act::Stall => format!("{share}, after one request"),
        _ => format!("{share} of {}", of.name()),
    };
    let fault = Fault::Message {
        act,
        of,
        who: None,
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
        let who = NodeSelector::Leader;
        (detail, inject(vec![Fault::Disk { who, harm, ms: 0 }]))
    });
    entry(name, done)
}

fn clock_of_leader(leader: Option<NodeId>) -> Entry {
    let done = leader.ok_or(NO_LEADER.to_owned()).map(|node| {
        let stands = Fault::Clock {
            who: NodeSelector::Leader,
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
            let who = app.role_of(node);
            let taken = inject(vec![Fault::RemoveVoter { who }]);
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
            let who = app.role_of(node);
            let replaced = inject(vec![Fault::Replace { who }]);
            (format!("n{node} comes back on an empty disk"), replaced)
        });
    entry("replace a follower", done)
}

fn transfer(app: &App, leader: Option<NodeId>) -> Entry {
    let heir = up(app).into_iter().find(|&id| Some(id) != leader);
    let done = leader
        .ok_or(NO_LEADER.to_owned())
        .and_then(|_| heir.ok_or("nobody else is up".to_owned()))
        .map(|node| {
            let to = app.role_of(node);
            (format!("to n{node}"), inject(vec![Fault::Transfer { to }]))
        });
    entry("hand over the leadership", done)
}

fn flap(app: &App, leader: Option<NodeId>) -> Entry {
    let done = a_link(app, leader).map(|(from, to)| {
        let detail = format!("n{from} ↔ n{to}, 300 ms on, 300 ms off");
        let flap = |(from, to)| Fault::Flap {
            from: app.role_of(from),
            to: app.role_of(to),
            cut_ms: 300,
            open_ms: 300,
        };
        (detail, inject([(from, to), (to, from)].map(flap).to_vec()))
    });
    entry("flap a link", done)
}
