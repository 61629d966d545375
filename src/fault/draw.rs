//! What a random plan draws: single wishes, aimed relative to the leader.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::deck::{Decks, aim, is_dealt};
use super::kinds::least_nodes;
use super::plan::{Aim, Crowd, Draw, Wish};
use super::{Act, DiskHarm, LimitOf, NodeId, Of, Only, Signal, WireHarm};

/// Draws `depth` wishes, or fewer where the kinds do not allow so many that differ.
pub(super) fn distinct_faults(
    rng: &mut ChaCha8Rng,
    decks: &mut Decks,
    kinds: &[&'static str],
    draw: &Draw<'_>,
    depth: usize,
) -> Vec<Wish> {
    let nodes = draw.nodes;
    let mut faults: Vec<Wish> = Vec::new();
    for _ in 0..depth {
        let kind = kinds.choose(rng).expect("the caller checked");
        let wish = if nodes > 1 && is_dealt(kind, nodes) {
            decks.deal(rng, kind, nodes)
        } else {
            draw_wish(rng, kind, draw)
        };
        match wish {
            Some(wish) if faults.iter().any(|other| collide(other, &wish, nodes)) => {
                decks.put_back(wish);
            }
            Some(wish) => faults.push(wish),
            None => {}
        }
    }
    faults
}

/// Whether two wishes act on one child, are the same, or one would do nothing beside the other.
fn collide(a: &Wish, b: &Wish, nodes: usize) -> bool {
    let child = |wish: &Wish| match wish {
        Wish::Kill { who }
        | Wish::Pause { who }
        | Wish::Restart { who, .. }
        | Wish::CrashLoop { who, .. }
        | Wish::Throttle { who, .. }
        | Wish::Limit { who, .. }
        | Wish::Disk { who, .. }
        | Wish::Clock { who, .. }
        | Wish::Replace { who }
        | Wish::Wipe { who } => Some(*who),
        _ => None,
    };
    let crash = |wish: &Wish| {
        matches!(
            wish,
            Wish::Crash { .. } | Wish::KillSeveral { .. } | Wish::Freeze { .. }
        )
    };
    let touches = |wish: &Wish| crash(wish) || child(wish).is_some();
    a == b
        || (child(a).is_some() && child(a) == child(b))
        || (crash(a) && touches(b))
        || (crash(b) && touches(a))
        || hides(a, b, nodes)
        || hides(b, a, nodes)
}

/// Whether one wish cuts every link that the other acts on.
fn hides(a: &Wish, b: &Wish, nodes: usize) -> bool {
    let ids: Vec<NodeId> = (1..=nodes as NodeId).collect();
    let links = |wish: &Wish| {
        let fault = wish.resolve(&ids, ids.first().copied(), None);
        fault.map_or_else(|_| Vec::new(), |fault| fault.links(&ids))
    };
    if matches!(a, Wish::Slow { .. } | Wish::Wire { .. }) {
        return false;
    }
    let (cut, met) = (links(a), links(b));
    !met.is_empty() && met.iter().all(|link| cut.contains(link))
}

/// One wish of that kind, aimed relative to the leader; `None` where the cluster is too small for it.
fn draw_wish(rng: &mut ChaCha8Rng, kind: &str, draw: &Draw<'_>) -> Option<Wish> {
    let nodes = draw.nodes;
    if nodes < least_nodes(kind) {
        return None;
    }
    let followers = nodes.saturating_sub(1);
    let any = |rng: &mut ChaCha8Rng| match rng.random_range(0..=followers) {
        0 => Aim::Leader,
        k => Aim::Follower(k - 1),
    };
    let ends = |rng: &mut ChaCha8Rng| {
        let from = rng.random_range(0..nodes);
        let to = (from + rng.random_range(1..nodes)) % nodes;
        (aim(from), aim(to))
    };
    match kind {
        "kill" => Some(Wish::Kill { who: any(rng) }),
        "pause" => Some(Wish::Pause { who: any(rng) }),
        "restart" => Some(Wish::Restart {
            who: any(rng),
            signal: *[Signal::Term, Signal::Kill]
                .choose(rng)
                .expect("the list is not empty"),
        }),
        "crash-loop" => Some(Wish::CrashLoop {
            who: any(rng),
            up_ms: *[100, 300, 800].choose(rng).expect("it is not empty"),
        }),
        "throttle" => {
            let turns = [(50, 50), (20, 80), (100, 300)];
            let (run_ms, stand_ms) = *turns.choose(rng).expect("it is not empty");
            Some(Wish::Throttle {
                who: any(rng),
                run_ms,
                stand_ms,
            })
        }
        "hide" => Some(Wish::Hide { who: any(rng) }),
        "limit" => Some(Wish::Limit {
            who: any(rng),
            of: *[LimitOf::FileSize, LimitOf::OpenFiles]
                .choose(rng)
                .expect("the list is not empty"),
        }),
        "kill-several" | "freeze" => {
            use Crowd::{All, Followers, Majority, Minority};
            let crowds = [Minority, Majority, Followers, All];
            let who = *crowds.choose(rng).expect("the list is not empty");
            let stagger_ms = *[0, 100, 400].choose(rng).expect("it is not empty");
            Some(match kind {
                "freeze" => Wish::Freeze { who, stagger_ms },
                _ => Wish::KillSeveral { who },
            })
        }
        "crash" => {
            let crowds = [Crowd::Leader, Crowd::Follower, Crowd::Majority, Crowd::All];
            let who = *crowds.choose(rng).expect("the list is not empty");
            (nodes > 1 || who != Crowd::Follower).then_some(Wish::Crash { who })
        }
        "disk" => {
            let harms = [
                DiskHarm::SlowSync,
                DiskHarm::SlowSync,
                DiskHarm::HoldSync,
                DiskHarm::SyncFails,
                DiskHarm::ReadFails,
                DiskHarm::WriteBack,
                DiskHarm::TornWrites,
            ];
            let harm = *harms.choose(rng).expect("the list is not empty");
            let ms = (5.0 * 30f64.powf(rng.random::<f64>())) as u64;
            let ms = if harm == DiskHarm::SlowSync { ms } else { 0 };
            let who = any(rng);
            Some(Wish::Disk { who, harm, ms })
        }
        "clock" => {
            let pick =
                |rng: &mut ChaCha8Rng, list: &[u64]| *list.choose(rng).expect("it is not empty");
            let rate = pick(rng, &[0, 50, 200, 300, 1_000]);
            Some(Wish::Clock {
                who: any(rng),
                rate_percent: u32::try_from(rate).expect("it is small"),
                step_ms: pick(rng, &[0, 0, 500, 5_000]),
            })
        }
        "shrink" => Some(Wish::Shrink { who: any(rng) }),
        "replace" => Some(Wish::Replace { who: any(rng) }),
        "grow" => Some(Wish::Grow { who: None }),
        "transfer" => Some(Wish::Transfer {
            to: Aim::Follower(rng.random_range(0..followers)),
        }),
        _ if Act::ALL.iter().any(|act| act.name() == kind) => {
            Some(draw_message(rng, kind, draw.streams, any))
        }
        "ring" => {
            let mut order: Vec<usize> = (0..nodes).collect();
            order.shuffle(rng);
            Some(Wish::Ring {
                order: order.into_iter().map(aim).collect(),
            })
        }
        "graph" => {
            let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
            let mut pairs: Vec<(usize, usize)> = pairs.filter(|(from, to)| from != to).collect();
            pairs.shuffle(rng);
            let some = rng.random_range(1..pairs.len());
            pairs.truncate(some);
            pairs.sort_unstable();
            let cut = pairs.into_iter().map(|(from, to)| (aim(from), aim(to)));
            Some(Wish::Graph { cut: cut.collect() })
        }
        "cut" => {
            let (from, to) = ends(rng);
            Some(Wish::Cut { from, to })
        }
        "slow" => {
            let (from, to) = ends(rng);
            let delay_ms = (5.0 * 40f64.powf(rng.random::<f64>())) as u64;
            Some(Wish::Slow {
                from,
                to,
                delay_ms,
                jitter_ms: delay_ms / 4,
            })
        }
        "wire" => {
            let (from, to) = ends(rng);
            let harm = *WireHarm::ALL.choose(rng).expect("the list is not empty");
            let (least, times): (f64, f64) = match harm {
                WireHarm::Narrow => (2_000.0, 100.0),
                WireHarm::Sliced => (1.0, 200.0),
                WireHarm::CutShort => (10.0, 2_000.0),
                WireHarm::Spikes | WireHarm::SlowClose => (20.0, 20.0),
                WireHarm::LongTail => (5.0, 20.0),
                WireHarm::HalfClose | WireHarm::Reset | WireHarm::Refuse | WireHarm::Unanswered => {
                    (0.0, 1.0)
                }
            };
            let amount = (least * times.powf(rng.random::<f64>())) as u64;
            Some(Wish::Wire {
                from,
                to,
                harm,
                amount,
            })
        }
        other => unreachable!("{other} is no kind of fault"),
    }
}

/// A fault of single messages: on one node's links or everywhere, of some or all of them.
fn draw_message(
    rng: &mut ChaCha8Rng,
    kind: &str,
    streams: bool,
    any: impl Fn(&mut ChaCha8Rng) -> Aim,
) -> Wish {
    let act = *Act::ALL
        .iter()
        .find(|act| act.name() == kind)
        .expect("the caller checked");
    let pick = |rng: &mut ChaCha8Rng, list: &[Of]| *list.choose(rng).expect("it is not empty");
    let of = match act {
        Act::Drop | Act::Refuse => pick(rng, &[Of::Votes, Of::Heartbeats, Of::Peers]),
        Act::Swallow => pick(rng, &[Of::Votes, Of::Heartbeats, Of::Clients, Of::Writes]),
        Act::Late | Act::LateAnswer => {
            pick(rng, &[Of::Votes, Of::Appends, Of::Peers, Of::Snapshots])
        }
        Act::CutStream | Act::Stall if streams => pick(rng, &[Of::Appends, Of::Snapshots]),
        Act::CutStream | Act::Stall => Of::Snapshots,
        // A client's request has no number of its own: a second one may be applied twice, and legally so.
        Act::Double | Act::Reorder | Act::Replay | Act::Corrupt => {
            pick(rng, &[Of::Votes, Of::Heartbeats, Of::Appends])
        }
    };
    let who = rng.random_bool(0.5).then(|| any(rng));
    let ms = match act {
        Act::Late | Act::LateAnswer | Act::Double | Act::Reorder => {
            (10.0 * 30f64.powf(rng.random::<f64>())) as u64
        }
        _ => 0,
    };
    Wish::Message {
        act,
        of,
        who,
        per_mille: *[100, 300, 1000].choose(rng).expect("it is not empty"),
        ms,
        to: None,
        only: Only::default(),
    }
}
