//! Real nodes as children behind the network: a cut leader is replaced, a late vote hurts nobody, a killed or paused
//! node comes back, and after healing all states agree.

mod support;

use std::time::{Duration, Instant};

use support::bench::{Bench, MS, NODES, SOON, other_than};
use whitewater::cluster::{ChildState, Equipment};
use whitewater::proxy::{Action, Delay, Level, Match, MessageRule, Methods, Route};
use whitewater::target::kiwi::KiwiConfig;

async fn a_cut_leader_is_replaced(level: Level) {
    let bench = Bench::start(level).await;
    bench.write_somewhere("before").await;
    let old = bench.leader().await;
    let guard = bench.isolate(old.leader).await;
    let new = bench.another_leader(old.leader).await;
    assert!(new.term > old.term, "{old:?} {new:?}");
    bench.write_somewhere("during").await;
    let alone = bench.cluster.state_hash(old.leader).await.unwrap();
    assert_eq!(alone.keys, 1, "what it does not hear it cannot know");
    guard.heal();
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 3);
    bench.nobody_ended_by_itself();
}

#[tokio::test]
async fn a_cut_leader_is_replaced_behind_links_of_messages() {
    a_cut_leader_is_replaced(Level::Messages).await;
}

#[tokio::test]
async fn a_cut_leader_is_replaced_behind_links_of_bytes() {
    a_cut_leader_is_replaced(Level::Bytes).await;
}

#[tokio::test]
async fn late_and_doubled_votes_and_lost_answers_are_survived() {
    let bench = Bench::start(Level::Messages).await;
    let old = bench.leader().await;
    let routes: Vec<Route> = NODES
        .iter()
        .flat_map(|&from| NODES.iter().map(move |&to| (from, to)))
        .filter(|(from, to)| from != to)
        .map(|(from, to)| Route::nodes(from, to))
        .collect();
    let put = |methods, per_mille, action| {
        let mut matching = Match::every(methods);
        matching.per_mille = per_mille;
        bench
            .network
            .put_rule(&routes, &MessageRule { matching, action })
    };
    let guards = [
        put(
            Methods::Votes,
            1000,
            Action::Duplicate {
                copies: 2,
                gap: 30 * MS,
            },
        ),
        put(
            Methods::Votes,
            300,
            Action::DelayRequest(Delay::Uniform {
                least: 50 * MS,
                most: 400 * MS,
            }),
        ),
        put(Methods::Heartbeats, 100, Action::DropResponse),
        put(Methods::Heartbeats, 100, Action::Replay),
    ];
    bench.cluster.kill(old.leader).await.unwrap();
    bench.another_leader(old.leader).await;
    bench.write_somewhere("one").await;
    bench.start_again(old.leader).await;
    // The heartbeats go on; it is over when each kind of fault has acted.
    let began = Instant::now();
    let (mut doubled, mut unanswered, mut replayed) = (0, 0, 0);
    while doubled == 0 || unanswered == 0 || replayed == 0 {
        for decision in bench.network.take_decisions().made {
            match decision.action {
                Action::Duplicate { .. } => doubled += 1,
                Action::DropResponse => unanswered += 1,
                Action::Replay => replayed += 1,
                _ => {}
            }
        }
        assert!(began.elapsed() < SOON, "{doubled} {unanswered} {replayed}");
        tokio::time::sleep(20 * MS).await;
    }
    drop(guards);
    bench.write_somewhere("two").await;
    assert_eq!(bench.agree().await.keys, 2);
}

#[tokio::test]
async fn a_paused_leader_comes_back_as_a_follower_and_a_restarted_node_keeps_its_data() {
    let bench = Bench::start(Level::Messages).await;
    bench.write_somewhere("one").await;
    let old = bench.leader().await;
    bench.cluster.pause(old.leader).await.unwrap();
    let new = bench.another_leader(old.leader).await;
    bench.cluster.resume(old.leader).await.unwrap();
    bench.write_somewhere("two").await;
    assert_eq!(bench.agree().await.keys, 2);

    // A graceful restart of a follower keeps its data.
    let follower = NODES
        .into_iter()
        .find(|&id| id != new.leader && id != old.leader)
        .unwrap();
    bench.cluster.restart(follower).await.unwrap();
    assert_eq!(bench.agree().await.keys, 2);
    let view = bench.cluster.view(follower).unwrap();
    assert_eq!((view.state, view.restarts), (ChildState::Up, 1));
    bench.nobody_ended_by_itself();
}

#[tokio::test]
async fn without_a_defect_no_hook_is_called() {
    let bench = Bench::start(Level::Messages).await;
    for n in 0..20 {
        bench.write_somewhere(&format!("k{n}")).await;
    }
    bench.agree().await;
    for id in NODES {
        let said = bench.cluster.defect_counters(id).await.unwrap();
        assert_eq!(
            (said.defect.as_str(), said.reached, said.triggered),
            ("", 0, 0),
            "n{id}"
        );
    }
}

#[tokio::test]
async fn a_planted_defect_counts_that_its_hook_was_reached() {
    let planted = |config: &mut KiwiConfig| config.defect = Some("early-log-ack".to_owned());
    let bench = Bench::start_with(Level::Messages, planted).await;
    bench.write_somewhere("k").await;
    let leader = bench.leader().await.leader;
    let said = bench.cluster.defect_counters(leader).await.unwrap();
    assert_eq!(said.defect, "early-log-ack");
    assert!(said.reached > 0 && said.triggered > 0, "{said:?}");
}

#[tokio::test]
async fn the_leadership_goes_to_every_node_that_is_named() {
    let bench = Bench::start(Level::Messages).await;
    bench.leader().await;
    for id in NODES {
        bench.cluster.transfer(id, SOON).await.unwrap();
        assert!(bench.cluster.status(id).await.unwrap().leads());
    }
}

/// Nodes whose clocks are watched.
async fn with_clocks() -> Bench {
    let equipment = Equipment {
        clock: true,
        ..Equipment::default()
    };
    Bench::start_on(equipment, Level::Messages, |_| ()).await
}

#[tokio::test]
async fn a_fast_clock_makes_a_follower_campaign_until_it_runs_right_again() {
    let bench = with_clocks().await;
    let leader = bench.leader().await.leader;
    let follower = other_than(leader);
    let others = NODES.iter().filter(|&&id| id != follower);
    let routes: Vec<Route> = others.map(|&to| Route::nodes(follower, to)).collect();
    // No vote of it arrives: the leader stays, however often it tries.
    let seen = MessageRule {
        matching: Match::every(Methods::Votes),
        action: Action::DropRequest,
    };
    let guard = bench.network.put_rule(&routes, &seen);
    let asked = || !bench.network.take_decisions().made.is_empty();
    // Heartbeats are 100 ms apart, and a campaign begins after 900 ms at most: what comes is no leader's silence.
    let calm = Instant::now() + 1_500 * MS;
    while Instant::now() < calm {
        assert!(!asked(), "with a right clock it hears its leader in time");
        tokio::time::sleep(20 * MS).await;
    }

    let set = |rate| bench.cluster.set_clock(follower, rate, Duration::ZERO);
    let begun = set(10.0).await.unwrap();
    let began = Instant::now();
    while !asked() {
        assert!(began.elapsed() < SOON, "n{follower} does not campaign");
        tokio::time::sleep(20 * MS).await;
    }
    let later = set(10.0).await.unwrap();
    assert!(begun.leads_to(&later, 10.0, Duration::ZERO));
    assert!(!begun.leads_to(&later, 1.0, Duration::ZERO));

    set(1.0).await.unwrap();
    guard.heal();
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 1);
}

#[tokio::test]
async fn a_leader_whose_clock_stands_still_sends_no_heartbeats_and_follows_when_it_goes_on() {
    let bench = with_clocks().await;
    bench.write_somewhere("before").await;
    let old = bench.leader().await;
    let clock = |rate, step| bench.cluster.set_clock(old.leader, rate, step);
    let begun = clock(0.0, Duration::ZERO).await.unwrap();
    let new = bench.another_leader(old.leader).await;
    assert!(new.term > old.term, "{old:?} {new:?}");
    let still = clock(0.0, Duration::ZERO).await.unwrap();
    assert_eq!(still.shows, begun.shows, "no time went by");
    let hour = Duration::from_secs(3_600);
    let stepped = clock(1.0, hour).await.unwrap();
    assert!(still.leads_to(&stepped, 0.0, hour), "{still:?} {stepped:?}");
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 2);
}

#[tokio::test]
async fn no_clock_runs_backwards() {
    let bench = with_clocks().await;
    for wrong in [-1.0, f64::NAN, 1_000.0] {
        let refused = bench.cluster.set_clock(1, wrong, Duration::ZERO).await;
        assert!(refused.is_err(), "{wrong}: {refused:?}");
    }
}
