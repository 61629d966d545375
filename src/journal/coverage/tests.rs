//! What counts as what a run exercised, event by event.

use checkers::history::{Call, EventKind, Outcome};

use super::*;

fn up() -> NodeView {
    NodeView {
        child: ChildState::Up,
        ..NodeView::default()
    }
}

fn event(time_ns: u64, client: u64, kind: EventKind) -> history::Event {
    history::Event {
        index: 0,
        time_ns,
        client: Some(client),
        node: None,
        kind,
    }
}

fn invoke(time_ns: u64, client: u64) -> history::Event {
    let kind = EventKind::Invoke {
        key: "k1".to_owned(),
        call: Call::Read,
    };
    event(time_ns, client, kind)
}

fn complete(time_ns: u64, client: u64, outcome: Outcome) -> history::Event {
    let kind = EventKind::Complete {
        outcome,
        at: None,
        error: None,
    };
    event(time_ns, client, kind)
}

#[test]
fn an_operation_that_met_a_fault_is_not_calm_and_an_open_one_is_unknown() {
    let mut coverage = Coverage::of(8);
    coverage.history(&invoke(0, 1));
    coverage.history(&complete(1, 1, Outcome::Ok(None)));
    coverage.history(&invoke(2, 2));
    let fault = Fault::Kill { who: 1 };
    coverage.event(
        3,
        &Event::FaultIn {
            id: 1,
            fault: fault.clone(),
            by: By::Plan,
            unpromised: false,
        },
    );
    coverage.history(&complete(4, 2, Outcome::Unknown));
    coverage.event(
        5,
        &Event::FaultOut {
            id: 1,
            fault,
            by: By::Plan,
            remains: crate::fault::Remains::Perhaps,
        },
    );
    coverage.history(&invoke(6, 3));
    coverage.history(&complete(7, 3, Outcome::Failed));
    coverage.history(&invoke(8, 4));
    let counts = coverage.counts();
    assert_eq!(
        counts.calm,
        Share {
            operations: 1,
            known: 1
        }
    );
    assert_eq!(
        counts.ops,
        Outcomes {
            ok: 1,
            failed: 1,
            unknown: 2
        }
    );
    assert_eq!(counts.in_flight_at_edges, 1);
}

#[test]
fn the_benchs_own_operations_are_counted_apart_and_keep_no_promise() {
    // Two clients, and the bench's own behind them: 3, then its successors 6, 9 and so on.
    let mut coverage = Coverage::of(2);
    for client in [1, 2, 4] {
        coverage.history(&invoke(0, client));
        coverage.history(&complete(1, client, Outcome::Failed));
    }
    coverage.event(
        2,
        &Event::Phase {
            phase: Phase::Healing,
        },
    );
    let leads = |id, term| {
        let role = Role::Leader;
        let node = NodeView {
            id,
            term,
            role,
            ..up()
        };
        Event::Node { node }
    };
    coverage.event(2, &leads(1, 1));
    coverage.event(
        3,
        &Event::Phase {
            phase: Phase::FinalReads,
        },
    );
    for (client, outcome) in [
        (3, Outcome::Unknown),
        (6, Outcome::Ok(None)),
        (6, Outcome::Ok(None)),
    ] {
        coverage.history(&invoke(4, client));
        coverage.history(&complete(5, client, outcome));
    }
    coverage.history(&invoke(6, 6));
    // The bench hands the leadership from node to node to read through each of them.
    coverage.event(7, &leads(2, 2));
    coverage.event(8, &leads(3, 3));
    let counts = coverage.counts();
    let outcomes = |ok, failed, unknown| Outcomes {
        ok,
        failed,
        unknown,
    };
    assert_eq!(
        (counts.ops, counts.own_ops),
        (outcomes(0, 3, 0), outcomes(2, 0, 2))
    );
    assert_eq!((counts.elections, counts.calm.operations), (1, 3));
    assert_eq!(counts.operations(), 7);
    let broken = counts.unmet_goals(&Promises {
        elections: 2,
        ..Promises::default()
    });
    assert_eq!(
        broken,
        [
            "no operation of the workload succeeded",
            "1 elections, promised 2"
        ]
    );
}

#[test]
fn an_election_is_a_term_and_its_leader_however_often_it_is_seen() {
    let mut coverage = Coverage::of(8);
    for (term, id) in [(1, 1), (1, 1), (2, 3), (2, 3), (3, 1)] {
        let node = NodeView {
            id,
            term,
            role: Role::Leader,
            ..up()
        };
        coverage.event(0, &Event::Node { node });
    }
    assert_eq!(coverage.counts().elections, 3);
}

#[test]
fn a_leader_without_its_majority_counts_once_for_each_time() {
    let mut coverage = Coverage::of(8);
    for (id, role) in [(1, Role::Leader), (2, Role::Follower), (3, Role::Follower)] {
        let node = NodeView { id, role, ..up() };
        coverage.event(0, &Event::Node { node });
    }
    let before = coverage.counts().leader_in_minority;
    let mut link = |from, to, state| coverage.event(0, &Event::Link { from, to, state });
    link(1, 2, LinkState::Cut);
    link(3, 1, LinkState::Cut);
    link(1, 3, LinkState::Cut);
    link(3, 1, LinkState::Open);
    link(1, 3, LinkState::Open);
    link(2, 3, LinkState::Cut);
    assert_eq!(coverage.counts().leader_in_minority - before, 1);
}

#[test]
fn a_fault_that_nothing_met_does_not_count_as_one_that_took_effect() {
    let mut coverage = Coverage::of(8);
    let fault = || Fault::Message {
        act: crate::fault::Act::Drop,
        of: crate::fault::Of::Votes,
        who: None,
        per_mille: 1_000,
        ms: 0,
        to: None,
        only: crate::fault::Only::default(),
    };
    for id in [1, 2] {
        let (fault, by) = (fault(), By::Plan);
        coverage.event(
            id,
            &Event::FaultIn {
                id,
                fault,
                by,
                unpromised: false,
            },
        );
    }
    let unproven = |coverage: &mut Coverage| {
        let (fault, by, why) = (fault(), By::Plan, String::new());
        let event = Event::FaultIndeterminate {
            id: Some(1),
            fault,
            by,
            why,
        };
        coverage.event(3, &event);
        let counts = coverage.counts();
        (
            counts.indeterminate,
            counts.faults.get(&Kind::Drop).copied(),
        )
    };
    assert_eq!(unproven(&mut coverage), (1, Some(1)));
    assert_eq!(unproven(&mut coverage), (2, None));
}

#[test]
fn a_leader_that_dies_with_a_tail_is_counted_and_one_without_is_not() {
    let mut coverage = Coverage::of(8);
    let mut now_ns = 0;
    let mut kill = |id, role, last_log, fault: Fault| {
        now_ns += 1_000_000_000;
        let node = NodeView {
            id,
            role,
            last_log,
            committed: 7,
            ..up()
        };
        coverage.event(now_ns, &Event::Node { node });
        let by = By::Plan;
        coverage.event(
            now_ns,
            &Event::FaultIn {
                id: 1,
                fault,
                by,
                unpromised: false,
            },
        );
        coverage.counts().tails
    };
    let killed = |node| Fault::Kill { who: node };
    assert_eq!(kill(1, Role::Leader, 7, killed(1)), 0, "all is committed");
    assert_eq!(kill(2, Role::Follower, 9, killed(2)), 0, "it does not lead");
    assert_eq!(kill(3, Role::Leader, 9, Fault::Pause { who: 3 }), 0);
    assert_eq!(kill(3, Role::Leader, 9, killed(3)), 1);
    let nodes = vec![1, 4];
    assert_eq!(kill(4, Role::Leader, 8, Fault::PowerLoss { who: nodes }), 2);
}

#[test]
fn a_leader_whose_last_word_is_told_after_the_fault_was_hit_and_a_later_one_was_not() {
    for (told_ns, hits) in [(100_000_000, 1), (2_000_000_000, 0)] {
        let mut coverage = Coverage::of(8);
        let fault = Fault::Pause { who: 1 };
        let by = By::Plan;
        coverage.event(
            0,
            &Event::FaultIn {
                id: 1,
                fault,
                by,
                unpromised: false,
            },
        );
        let node = NodeView {
            id: 1,
            role: Role::Leader,
            ..up()
        };
        coverage.event(told_ns, &Event::Node { node });
        assert_eq!(coverage.counts().leader_hit, hits, "{told_ns}");
    }
}

/// Says what a node is after `ms`.
fn says(coverage: &mut Coverage, ms: u64, child: ChildState, role: Role) {
    let (id, last_log) = (1, 9);
    let node = NodeView {
        id,
        child,
        role,
        last_log,
        ..NodeView::default()
    };
    coverage.event(ms * 1_000_000, &Event::Node { node });
}

fn hit(coverage: &mut Coverage, ms: u64, fault: Fault) -> (u64, u64) {
    let (id, by) = (1, By::Plan);
    coverage.event(
        ms * 1_000_000,
        &Event::FaultIn {
            id,
            fault,
            by,
            unpromised: false,
        },
    );
    let counts = coverage.counts();
    (counts.leader_hit, counts.tails)
}

#[test]
fn a_corpse_leads_nobody_and_neither_does_its_next_life_before_it_says_so() {
    use ChildState::{Dead, Starting, Up};
    let isolate = || Fault::Isolate {
        who: 1,
        way: crate::fault::Way::Both,
    };
    let mut coverage = Coverage::of(8);
    says(&mut coverage, 0, Up, Role::Leader);
    assert_eq!(hit(&mut coverage, 10, Fault::Kill { who: 1 }), (1, 1));
    says(&mut coverage, 20, Dead, Role::Leader);
    assert_eq!(hit(&mut coverage, 30, isolate()), (1, 1));
    says(&mut coverage, 40, Dead, Role::Leader);
    says(&mut coverage, 50, Starting, Role::Unheard);
    assert_eq!(hit(&mut coverage, 60, isolate()), (1, 1));
    says(&mut coverage, 70, Up, Role::Unheard);
    assert_eq!(hit(&mut coverage, 80, Fault::Pause { who: 1 }), (1, 1));
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1)] {
        let state = LinkState::Cut;
        coverage.event(90_000_000, &Event::Link { from, to, state });
    }
    assert_eq!(coverage.counts().leader_in_minority, 0);
    says(&mut coverage, 500, Up, Role::Leader);
    assert_eq!(hit(&mut coverage, 510, isolate()), (2, 1));
}

#[test]
fn a_leader_that_was_seen_dead_before_its_fault_was_told_was_hit_once() {
    use ChildState::{Dead, Starting, Up};
    for early in [Dead, Starting] {
        let mut coverage = Coverage::of(8);
        let several = || Fault::KillSeveral { who: vec![1] };
        says(&mut coverage, 0, Up, Role::Leader);
        says(&mut coverage, 50, early, Role::Leader);
        assert_eq!(hit(&mut coverage, 60, several()), (1, 1), "{early:?}");
        assert_eq!(hit(&mut coverage, 70, several()), (1, 1), "{early:?}");
        // Its next life follows, and is hit as such.
        says(&mut coverage, 1_000, Up, Role::Follower);
        assert_eq!(hit(&mut coverage, 2_000, several()), (1, 1), "{early:?}");
    }
    // Restarted: its next life has spoken before the fault is told, just so or long ago.
    for (told, hits) in [(180, (1, 1)), (900, (0, 0))] {
        let mut coverage = Coverage::of(8);
        let signal = crate::fault::Signal::Kill;
        says(&mut coverage, 0, Up, Role::Leader);
        says(&mut coverage, 50, Up, Role::Unheard);
        says(&mut coverage, 100, Up, Role::Follower);
        let restart = Fault::Restart { who: 1, signal };
        assert_eq!(hit(&mut coverage, told, restart), hits, "{told}");
    }
}

#[test]
fn what_was_never_seen_to_be_in_takes_nothing_from_what_was() {
    let mut coverage = Coverage::of(8);
    let (fault, by) = (Fault::RemoveVoter { who: 1 }, By::Plan);
    let (id, why) = (None, String::new());
    let event = Event::FaultIndeterminate {
        id,
        fault: fault.clone(),
        by,
        why,
    };
    coverage.event(
        0,
        &Event::FaultIn {
            id: 1,
            fault,
            by,
            unpromised: false,
        },
    );
    coverage.event(1, &event);
    let counts = coverage.counts();
    assert_eq!(
        (
            counts.indeterminate,
            counts.faults.get(&Kind::RemoveVoter).copied()
        ),
        (1, Some(1))
    );
}

#[test]
fn what_was_promised_and_not_done_is_named() {
    let counts = Counts {
        elections: 1,
        ..Counts::default()
    };
    let broken = counts.unmet_goals(&Promises {
        elections: 2,
        kinds: 3,
        snapshots: 1,
        leaders_hit: 1,
        leaders_in_minority: 1,
        tails: 1,
        changes: 1,
        power_losses: 1,
    });
    assert_eq!(broken.len(), 9, "{broken:?}");
    let kept = Counts {
        ops: Outcomes {
            ok: 1,
            ..Outcomes::default()
        },
        ..Counts::default()
    };
    assert!(kept.unmet_goals(&Promises::default()).is_empty());
}
