//! How one fault of each kind is drawn, for roles.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::deck;
use super::draw::Hat;
use super::{
    Act, DiskHarm, Fault, Kind, LimitOf, NodeSelector, NodeSet, Of, Only, Role, Signal, WireHarm,
};

pub(super) fn isolate(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    hat.deal(Kind::Isolate, deck::isolations)
}

pub(super) fn kill(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::Kill { who: hat.any() })
}

pub(super) fn pause(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::Pause { who: hat.any() })
}

pub(super) fn restart(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::Restart {
        who: hat.any(),
        signal: hat.pick(&[Signal::Term, Signal::Kill]),
    })
}

/// So many at once, and how long after one the next one goes on.
fn several(hat: &mut Hat<'_>) -> (NodeSet, u64) {
    use NodeSet::{All, Followers, Majority, Minority};
    let who = hat.pick(&[Minority, Majority, Followers, All]);
    (who, hat.pick(&[0, 100, 400]))
}

pub(super) fn kill_several(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (who, _) = several(hat);
    Some(Fault::KillSeveral { who })
}

pub(super) fn freeze(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (who, stagger_ms) = several(hat);
    Some(Fault::Freeze { who, stagger_ms })
}

pub(super) fn rlimit(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::Rlimit {
        who: hat.any(),
        of: hat.pick(&[LimitOf::FileSize, LimitOf::OpenFiles]),
    })
}

pub(super) fn split(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    hat.deal(Kind::Split, deck::splits)
}

pub(super) fn bridge(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    hat.deal(Kind::Bridge, deck::bridges)
}

pub(super) fn ring(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    if hat.nodes <= deck::MOST_IN_A_RING {
        return hat.deal(Kind::Ring, deck::rings);
    }
    let mut order: Vec<usize> = (0..hat.nodes).collect();
    order.shuffle(&mut hat.rng);
    let order = order.into_iter().map(deck::position).collect();
    Some(Fault::Ring { order })
}

pub(super) fn graph(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let nodes = hat.nodes;
    let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
    let mut pairs: Vec<(usize, usize)> = pairs.filter(|(from, to)| from != to).collect();
    pairs.shuffle(&mut hat.rng);
    let some = hat.rng.random_range(1..pairs.len());
    pairs.truncate(some);
    pairs.sort_unstable();
    let cut = pairs.into_iter();
    let cut = cut.map(|(from, to)| (deck::position(from), deck::position(to)));
    Some(Fault::Graph { cut: cut.collect() })
}

pub(super) fn isolate_clients(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::IsolateClients { who: hat.any() })
}

pub(super) fn kill_loop(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::KillLoop {
        who: hat.any(),
        up_ms: hat.pick(&[100, 300, 800]),
    })
}

pub(super) fn throttle(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (run_ms, stand_ms) = hat.pick(&[(50, 50), (20, 80), (100, 300)]);
    Some(Fault::Throttle {
        who: hat.any(),
        run_ms,
        stand_ms,
    })
}

pub(super) fn cut(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (from, to) = hat.link();
    Some(Fault::Cut { from, to })
}

pub(super) fn slow(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (from, to) = hat.link();
    let delay_ms = hat.log_uniform(5.0, 40.0);
    Some(Fault::Slow {
        from,
        to,
        delay_ms,
        jitter_ms: delay_ms / 4,
    })
}

pub(super) fn wire(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (from, to) = hat.link();
    let harm = hat.pick(&WireHarm::ALL);
    let (least, times) = match harm {
        WireHarm::Bandwidth => (2_000.0, 100.0),
        WireHarm::Slicer => (1.0, 200.0),
        WireHarm::LimitData => (10.0, 2_000.0),
        WireHarm::Spikes | WireHarm::SlowClose => (20.0, 20.0),
        WireHarm::LongTail => (5.0, 20.0),
        WireHarm::HalfClose | WireHarm::ResetPeer | WireHarm::Refuse | WireHarm::Unanswered => {
            (0.0, 1.0)
        }
    };
    let amount = hat.log_uniform(least, times);
    Some(Fault::Wire {
        from,
        to,
        harm,
        amount,
    })
}

pub(super) fn power_loss(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    use NodeSet::{All, Follower, Leader, Majority};
    let who = hat.pick(&[Leader, Follower, Majority, All]);
    (hat.nodes > 1 || who != Follower).then_some(Fault::PowerLoss { who })
}

/// A fault of single messages: on one node's links or everywhere, of some or all of them.
pub(super) fn message(hat: &mut Hat<'_>, act: Act) -> Option<Fault<Role>> {
    let of = match act {
        // Whose protocol nobody understands its messages are told apart by whom they are between.
        Act::DropResponse if !hat.calls => Of::Clients,
        Act::DelayRequest | Act::DelayResponse if !hat.calls => {
            hat.pick(&[Of::Peers, Of::Peers, Of::Clients])
        }
        _ if !hat.calls => Of::Peers,
        Act::Drop | Act::Refuse => hat.pick(&[Of::Votes, Of::Heartbeats, Of::Peers]),
        Act::DropResponse => hat.pick(&[Of::Votes, Of::Heartbeats, Of::Clients, Of::Writes]),
        Act::DelayRequest | Act::DelayResponse => {
            hat.pick(&[Of::Votes, Of::Appends, Of::Peers, Of::Snapshots])
        }
        Act::CutStream | Act::Stall if hat.streams => hat.pick(&[Of::Appends, Of::Snapshots]),
        Act::CutStream | Act::Stall => Of::Snapshots,
        // A client's request has no number of its own: a second one may be applied twice, and legally so.
        Act::Duplicate | Act::Reorder | Act::Replay | Act::Corrupt => {
            hat.pick(&[Of::Votes, Of::Heartbeats, Of::Appends])
        }
    };
    let somewhere = hat.rng.random_bool(0.5);
    let who = somewhere.then(|| hat.any());
    let ms = match act {
        Act::DelayRequest | Act::DelayResponse | Act::Duplicate | Act::Reorder => {
            hat.log_uniform(10.0, 30.0)
        }
        _ => 0,
    };
    Some(Fault::Message {
        act,
        of,
        who,
        per_mille: hat.pick(&[100, 300, 1000]),
        ms,
        to: None,
        only: Only::default(),
    })
}

pub(super) fn disk(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let harm = hat.pick(&[
        DiskHarm::SlowSync,
        DiskHarm::SlowSync,
        DiskHarm::HoldSync,
        DiskHarm::SyncFails,
        DiskHarm::ReadFails,
        DiskHarm::WriteBack,
        DiskHarm::TornWrites,
    ]);
    let ms = hat.log_uniform(5.0, 30.0);
    let ms = if harm == DiskHarm::SlowSync { ms } else { 0 };
    let who = hat.any();
    Some(Fault::Disk { who, harm, ms })
}

pub(super) fn clock(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let rate_percent = hat.pick(&[0, 50, 200, 300, 1_000]);
    Some(Fault::Clock {
        who: hat.any(),
        rate_percent,
        step_ms: hat.pick(&[0, 0, 500, 5_000]),
    })
}

pub(super) fn remove_voter(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::RemoveVoter { who: hat.any() })
}

pub(super) fn transfer(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let heir = hat.rng.random_range(0..hat.nodes - 1);
    Some(Fault::Transfer {
        to: NodeSelector::Follower(heir),
    })
}

pub(super) fn replace(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::Replace { who: hat.any() })
}

pub(super) fn add_voter(_: &mut Hat<'_>) -> Option<Fault<Role>> {
    Some(Fault::AddVoter {
        who: NodeSelector::Newcomer,
    })
}

pub(super) fn flap(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (from, to) = hat.link();
    let (cut_ms, open_ms) = hat.pick(&[(100, 100), (300, 300), (500, 100), (100, 500)]);
    Some(Fault::Flap {
        from,
        to,
        cut_ms,
        open_ms,
    })
}

pub(super) fn hold_back(hat: &mut Hat<'_>) -> Option<Fault<Role>> {
    let (from, to) = hat.link();
    let dialled_by = hat.pick(&[None, Some(from), Some(to)]);
    Some(Fault::HoldBack {
        from,
        to,
        dialled_by,
    })
}
