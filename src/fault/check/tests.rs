//! What would change nothing, and what is too much, is refused.

use super::*;
use crate::fault::Way;

/// What is without effect, a fault each; every kind that has a number or a list stands here.
fn without_effect() -> Vec<Fault> {
    let slow = |delay_ms, jitter_ms| Fault::Slow {
        from: 1,
        to: 2,
        delay_ms,
        jitter_ms,
    };
    let throttle = |run_ms, stand_ms| Fault::Throttle {
        who: 1,
        run_ms,
        stand_ms,
    };
    let flap = |cut_ms, open_ms| Fault::Flap {
        from: 1,
        to: 2,
        cut_ms,
        open_ms,
    };
    let disk = |harm, ms| Fault::Disk { who: 1, harm, ms };
    let clock = |rate_percent, step_ms| Fault::Clock {
        who: 1,
        rate_percent,
        step_ms,
    };
    let mut all = vec![
        slow(0, 0),
        throttle(1_000, 0),
        flap(0, 100),
        flap(100, 0),
        clock(100, 0),
        disk(DiskHarm::SlowSync, 0),
        disk(DiskHarm::Full, 30),
        Fault::Split { side: vec![] },
        Fault::Split {
            side: vec![1, 2, 3],
        },
        Fault::Bridge {
            over: 1,
            side: vec![],
        },
        Fault::Bridge {
            over: 1,
            side: vec![2, 3],
        },
        Fault::Ring {
            order: vec![1, 2, 3],
        },
        Fault::Graph { cut: vec![] },
        Fault::PowerLoss { who: vec![] },
        Fault::KillSeveral { who: vec![] },
        Fault::Freeze {
            who: vec![],
            stagger_ms: 9,
        },
    ];
    for harm in WireHarm::ALL {
        let nothing = match harm.check(0) {
            Ok(()) => 7,
            Err(_) => 0,
        };
        all.push(Fault::Wire {
            from: 1,
            to: 2,
            harm,
            amount: nothing,
        });
    }
    let message = |act, of, per_mille, ms, only| Fault::Message {
        act,
        of,
        who: None,
        per_mille,
        ms,
        to: None,
        only,
    };
    let any = Only::default();
    let entries = Only {
        entries: Some([1, 9]),
        ..any
    };
    for act in Act::ALL {
        let of = match act.needs_streams() {
            true => Of::Appends,
            false => Of::Votes,
        };
        let time = match act {
            Act::DelayRequest | Act::DelayResponse | Act::Reorder => 0,
            Act::Duplicate => u64::MAX,
            _ => 30,
        };
        all.push(message(act, of, 1_000, time, any));
        let ms = if time == 0 { 30 } else { 0 };
        all.push(message(act, of, 0, ms, any));
        if act.needs_streams() {
            all.extend(
                [Of::Votes, Of::Heartbeats, Of::Reads].map(|of| message(act, of, 9, 0, any)),
            );
        } else if act.needs_calls() {
            all.push(message(act, Of::Snapshots, 9, ms, any));
            all.push(message(act, Of::Peers, 9, ms, entries));
        }
    }
    all
}

#[test]
fn what_would_change_nothing_is_refused_whatever_its_kind() {
    let among = Among {
        nodes: &[1, 2, 3],
        streams: true,
    };
    for fault in without_effect() {
        let why = fault.check_among(among);
        assert!(why.is_err(), "{fault}: {fault:?}");
    }
    let alone = Among {
        nodes: &[1],
        streams: true,
    };
    let way = Way::Both;
    assert!(Fault::Isolate { who: 1, way }.check_among(alone).is_err());
    for act in Act::ALL.into_iter().filter(|act| act.needs_streams()) {
        let fault = Fault::Message {
            act,
            of: Of::Appends,
            who: None,
            per_mille: 1_000,
            ms: 0,
            to: None,
            only: Only::default(),
        };
        assert_eq!(fault.check_among(among), Ok(()));
        assert!(fault.check_among(alone).is_err());
        let calls = Among {
            streams: false,
            ..among
        };
        assert!(fault.check_among(calls).is_err(), "{fault}");
    }
}

#[test]
fn a_number_that_nothing_can_be_as_large_as_is_refused() {
    for fault in [
        Fault::Slow {
            from: 1,
            to: 2,
            delay_ms: u64::MAX,
            jitter_ms: 0,
        },
        Fault::Slow {
            from: 1,
            to: 2,
            delay_ms: 1,
            jitter_ms: u64::MAX,
        },
        Fault::Throttle {
            who: 1,
            run_ms: 9,
            stand_ms: u64::MAX,
        },
        Fault::Flap {
            from: 1,
            to: 2,
            cut_ms: 9,
            open_ms: u64::MAX,
        },
        Fault::Freeze {
            who: vec![1],
            stagger_ms: u64::MAX,
        },
        Fault::KillLoop {
            who: 1,
            up_ms: u64::MAX,
        },
        Fault::Disk {
            who: 1,
            harm: DiskHarm::SlowSync,
            ms: u64::MAX,
        },
        Fault::Clock {
            who: 1,
            rate_percent: u32::MAX,
            step_ms: 0,
        },
        Fault::Clock {
            who: 1,
            rate_percent: 0,
            step_ms: u64::MAX,
        },
    ] {
        let why = fault.check().expect_err("too much").to_string();
        assert!(why.contains("at most"), "{fault}: {why}");
    }
}

#[test]
fn a_ring_names_every_node_once() {
    let ring = |order: &[NodeId]| Fault::Ring {
        order: order.to_vec(),
    };
    let nodes = [1, 2, 3, 4, 5];
    let among = Among {
        nodes: &nodes,
        streams: true,
    };
    assert_eq!(ring(&nodes).check_among(among), Ok(()));
    let short = ring(&[1, 2, 4, 5]).check_among(among).unwrap_err();
    assert!(short.why.contains("n3 is not in it"), "{short}");
    let twice = ring(&[1, 2, 3, 4, 4, 5]).check_among(among).unwrap_err();
    assert!(twice.why.contains("n4 stands in the ring twice"), "{twice}");
}

#[test]
fn a_type_says_which_messages_are_meant_and_nothing_else_does_beside_it() {
    let only = |text: &str| toml::from_str::<Only>(text);
    let named = only("type = \"append_entries\"").unwrap();
    assert_eq!(named.to_string(), " of type append_entries");
    assert_eq!(only(&toml::to_string(&named).unwrap()).unwrap(), named);
    for wrong in ["", "two words", &"x".repeat(40)] {
        let why = only(&format!("type = \"{wrong}\""))
            .unwrap_err()
            .to_string();
        assert!(why.contains("is no type of messages"), "{why}");
    }
    let fault = |of, only| -> Fault {
        Fault::Message {
            act: Act::Drop,
            of,
            who: Some(1),
            per_mille: 300,
            ms: 0,
            to: None,
            only,
        }
    };
    for of in [Of::Peers, Of::Clients] {
        assert_eq!(fault(of, named).check(), Ok(()));
    }
    for of in [Of::Votes, Of::Appends, Of::Heartbeats, Of::Snapshots] {
        assert!(fault(of, named).check().is_err(), "{of:?}");
    }
    let both = Only {
        terms: Some([1, 2]),
        ..named
    };
    assert!(fault(Of::Peers, both).check().is_err());
    let words = fault(Of::Peers, named).to_string();
    let expected = "drop messages between nodes at n1 of type append_entries (30.0 %)";
    assert_eq!(words, expected);
}
