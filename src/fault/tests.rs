//! What a fault names, and that every fault is of a listed kind.

use super::*;

fn links(fault: Fault, expected: &[(NodeId, NodeId)]) {
    assert_eq!(fault.links(&[1, 2, 3]), expected, "{fault}");
}

#[test]
fn a_network_fault_names_exactly_its_directed_links() {
    links(Fault::Cut { from: 1, to: 3 }, &[(1, 3)]);
    links(
        Fault::Isolate {
            who: 2,
            way: Way::Both,
        },
        &[(1, 2), (2, 1), (2, 3), (3, 2)],
    );
    links(
        Fault::Isolate {
            who: 2,
            way: Way::In,
        },
        &[(1, 2), (3, 2)],
    );
    links(
        Fault::Isolate {
            who: 2,
            way: Way::Out,
        },
        &[(2, 1), (2, 3)],
    );
    links(
        Fault::Split { side: vec![1] },
        &[(1, 2), (1, 3), (2, 1), (3, 1)],
    );
    links(Fault::Kill { who: 1 }, &[]);
    let cut = vec![(1, 2), (3, 1)];
    links(Fault::Graph { cut: cut.clone() }, &cut);
    let bridge = Fault::Bridge {
        over: 3,
        side: vec![1],
    };
    links(bridge, &[(1, 2), (2, 1)]);
}

#[test]
fn in_a_ring_everybody_hears_a_majority_and_no_two_the_same() {
    for size in 4..=9 {
        let order: Vec<NodeId> = (1..=size).rev().collect();
        let cut = Fault::Ring {
            order: order.clone(),
        }
        .links(&order);
        assert!(!cut.is_empty() || size < 4, "{size} nodes");
        let heard = |node: NodeId| -> Vec<NodeId> {
            let mut from = order.clone();
            from.retain(|&other| other == node || !cut.contains(&(other, node)));
            from
        };
        for &node in &order {
            assert!(heard(node).len() as u64 * 2 > size, "{size}: n{node}");
            for &other in order.iter().filter(|&&other| other != node) {
                assert_ne!(heard(node), heard(other), "{size} nodes");
            }
        }
    }
}

#[test]
fn every_fault_is_of_a_listed_kind() {
    let all: [Fault; 29] = [
        Fault::Kill { who: 1 },
        Fault::Pause { who: 1 },
        Fault::Restart {
            who: 1,
            signal: Signal::Term,
        },
        Fault::Isolate {
            who: 1,
            way: Way::Both,
        },
        Fault::Split { side: vec![1] },
        Fault::Bridge {
            over: 1,
            side: vec![2],
        },
        Fault::Ring { order: vec![1, 2] },
        Fault::Graph { cut: vec![(1, 2)] },
        Fault::IsolateClients { who: 1 },
        Fault::KillLoop { who: 1, up_ms: 9 },
        Fault::KillSeveral { who: vec![1, 2] },
        Fault::Freeze {
            who: vec![1, 2],
            stagger_ms: 9,
        },
        Fault::Rlimit {
            who: 1,
            of: LimitOf::FileSize,
        },
        Fault::Throttle {
            who: 1,
            run_ms: 9,
            stand_ms: 9,
        },
        Fault::Cut { from: 1, to: 2 },
        Fault::Flap {
            from: 1,
            to: 2,
            cut_ms: 9,
            open_ms: 9,
        },
        Fault::HoldBack {
            from: 1,
            to: 2,
            dialled_by: None,
        },
        Fault::Slow {
            from: 1,
            to: 2,
            delay_ms: 20,
            jitter_ms: 5,
        },
        Fault::Wire {
            from: 1,
            to: 2,
            harm: WireHarm::Bandwidth,
            amount: 2_000,
        },
        Fault::PowerLoss { who: vec![1, 2] },
        Fault::Disk {
            who: 1,
            harm: DiskHarm::SlowSync,
            ms: 50,
        },
        Fault::Disk {
            who: 1,
            harm: DiskHarm::LyingSync,
            ms: 0,
        },
        Fault::Disk {
            who: 1,
            harm: DiskHarm::FlippedBits,
            ms: 0,
        },
        Fault::Clock {
            who: 1,
            rate_percent: 300,
            step_ms: 0,
        },
        Fault::RemoveVoter { who: 1 },
        Fault::Transfer { to: 1 },
        Fault::Replace { who: 1 },
        Fault::AddVoter { who: 4 },
        Fault::Wipe { who: 1 },
    ];
    let messages = Act::ALL.map(|act| Fault::Message {
        act,
        of: Of::Votes,
        who: None,
        per_mille: 500,
        ms: 0,
        to: None,
        only: Only::default(),
    });
    let kinds: Vec<Kind> = all
        .iter()
        .chain(&messages)
        .map(|fault| fault.kind())
        .collect();
    let mut every = kinds.clone();
    every.sort_unstable();
    assert_eq!(every, Kind::ALL, "each once");
    for &kind in Kind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
}

#[test]
fn what_no_message_can_meet_is_refused_with_the_reason() {
    let check = |act, of, to, only| {
        let fault = Fault::Message {
            act,
            of,
            who: Some(1),
            per_mille: 500,
            ms: match act {
                Act::DelayRequest | Act::DelayResponse | Act::Reorder | Act::Duplicate => 9,
                _ => 0,
            },
            to,
            only,
        };
        fault.check()
    };
    let all = Only::default();
    let only = |field: &str, bounds| match field {
        "terms" => Only {
            terms: Some(bounds),
            ..all
        },
        "entries" => Only {
            entries: Some(bounds),
            ..all
        },
        _ => Only {
            nth: Some(bounds),
            ..all
        },
    };
    for (act, of, to, only) in [
        (
            Act::DelayResponse,
            Of::Appends,
            Some(2),
            only("nth", [1, 3]),
        ),
        (Act::Drop, Of::Heartbeats, None, only("entries", [0, 0])),
        (
            Act::DelayRequest,
            Of::Appends,
            None,
            only("entries", [1, 100]),
        ),
        (Act::Duplicate, Of::Votes, None, only("terms", [2, 2])),
        (Act::DropResponse, Of::Clients, None, only("nth", [1, 1])),
        (Act::CutStream, Of::Appends, Some(2), all),
    ] {
        assert_eq!(check(act, of, to, only), Ok(()), "{act:?} {of:?}");
    }
    for (act, of, to, only, why) in [
        (Act::Duplicate, Of::Writes, None, all, "two writes"),
        (Act::Drop, Of::Reads, Some(2), all, "without a receiver"),
        (
            Act::DelayResponse,
            Of::Heartbeats,
            None,
            all,
            "name appends",
        ),
        (
            Act::Drop,
            Of::Votes,
            None,
            only("nth", [3, 2]),
            "the lesser",
        ),
        (Act::Drop, Of::Votes, None, only("nth", [0, 2]), "from 1"),
        (
            Act::Stall,
            Of::Appends,
            None,
            only("nth", [1, 1]),
            "by number",
        ),
        (
            Act::Drop,
            Of::Writes,
            None,
            only("terms", [1, 2]),
            "no term",
        ),
        (
            Act::Drop,
            Of::Votes,
            None,
            only("entries", [0, 2]),
            "no entries",
        ),
        (
            Act::Drop,
            Of::Heartbeats,
            None,
            only("entries", [1, 2]),
            "no entries",
        ),
        (
            Act::DelayResponse,
            Of::Appends,
            None,
            only("terms", [1, 2]),
            "neither term",
        ),
    ] {
        let said = check(act, of, to, only).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
    for harm in WireHarm::ALL {
        let check = |amount| {
            let (from, to) = (1, 2);
            Fault::Wire {
                from,
                to,
                harm,
                amount,
            }
            .check()
        };
        assert_ne!(check(0).is_ok(), check(1).is_ok(), "{}", harm.name());
        assert!(check(u64::MAX).unwrap_err().why.contains(harm.name()));
    }
}

#[test]
fn a_kind_is_outside_of_the_model_just_where_it_says_so() {
    for kind in Kind::ALL {
        let says = kind.about().contains("OUTSIDE of the fault model");
        assert_eq!(says, kind.is_outside_the_model(), "{kind}");
    }
    for harm in DiskHarm::ALL {
        let fault: Fault = Fault::Disk {
            who: 1,
            harm,
            ms: 0,
        };
        let keeps_its_word = !matches!(harm, DiskHarm::LyingSync | DiskHarm::FlippedBits);
        assert_eq!(
            !fault.kind().is_outside_the_model(),
            keeps_its_word,
            "{fault}"
        );
    }
}
