//! Each family of faults on a real cluster, put in by the nemesis as in a run: it does what its name says to nodes that
//! are real processes, and healing undoes it. What the nodes saw is asked of the nodes: requests that arrived, by kind
//! (`received` in their metrics), members, terms, clocks.
//!
//! | family | faults | test |
//! | --- | --- | --- |
//! | partitions | isolate, both ways, in and out | `an_isolated_node_hears_nobody_or_is_not_heard_as_its_way_says` |
//! | | split, bridge, graph, cut | `what_is_cut_does_not_flow_and_the_rest_does` |
//! | | ring | `in_a_ring_only_neighbours_hear_each_other_and_the_cluster_serves` |
//! | | flap | `a_flapping_link_stops_and_flows_in_turns_until_it_is_healed` |
//! | | isolate-clients | `a_node_without_clients_is_reached_by_its_peers_and_by_no_client` |
//! | messages | drop-response | `a_dropped_answers_write_was_applied_everywhere` |
//! | | duplicate | `a_duplicated_vote_really_arrives_twice` |
//! | | delay-request | `a_late_write_is_applied_after_its_client_gave_up` |
//! | | drop, refuse | `dropped_heartbeats_do_not_arrive_and_refused_writes_are_not_applied` |
//! | | replay, stall, cut-stream | `replayed_heartbeats_arrive_again_and_streams_stall_or_break_until_healed` |
//! | | delay-response; by receiver, by number | `a_late_answers_write_was_applied_in_time`, `a_fault_of_messages_meets_those_that_it_is_for` |
//! | the wire | reset-peer, refuse, unanswered | `who_is_not_to_be_dialled_is_silent_until_it_is` |
//! | | bandwidth, slicer, spikes, long-tail, slow-close, limit-data, half-close | `a_harmed_wire_carries_less_or_breaks_and_heals` |
//! | | slow, reorder | `a_slow_link_is_slow_and_reordered_heartbeats_all_arrive` |
//! | processes | kill, restart, kill-loop | `a_killed_node_is_gone_and_comes_back_with_what_it_had`, `a_kill_loop_waits_while_somebody_holds_the_run`, `a_plans_fault_waits_while_somebody_holds_the_run` |
//! | | by hand | `what_somebody_asked_for_is_in_the_plan_as_it_went`, `what_was_asked_for_waits_while_everything_is_held_and_healing_calls_it_off` |
//! | | no way back | `only_a_child_that_ends_at_its_start_is_to_blame_for_not_coming_back` |
//! | | pause, throttle | `a_paused_node_stands_in_state_t_and_a_throttled_one_now_and_then` |
//! | | power-loss | `a_machine_without_power_does_not_answer_and_keeps_what_it_had_synced`; what was not synced is lost: `tests/cluster.rs` |
//! | membership | remove-voter, transfer | `a_vote_is_taken_and_given_back_and_the_leadership_handed_on` |
//! | | remove-voter, unconfirmed | `a_vote_whose_loss_nobody_confirms_is_indeterminate_and_given_back` |
//! | | replace, in calm and in a partition | `a_replaced_voter_comes_back_from_nothing_as_a_new_member` |
//! | | add-voter | `a_newcomer_gets_a_vote_and_leaves_again` |
//! | | wipe (outside of the model) | `a_wiped_voter_has_forgotten_everything` |
//! | clocks | clock | `a_fast_clock_is_fast_on_the_nodes_own_clock_and_heals` |
//! | defects | none without `--defect` | `without_a_defect_no_hook_is_called` in `tests/cluster.rs` |
//! | seeds | same plan, same fate | `what_a_run_says_of_how_to_run_it_again_gives_the_same_plan_and_so_does_its_own_recipe`, `the_same_seed_deals_the_same_fate_to_the_same_message` in `tests/run.rs` |

#[path = "support/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::trace::{self, Kind};
use stage::{MS, SOON, Stage, WHILE};
use whitewater::cluster::ChildState;
use whitewater::fault::plan::{Episode, Plan};
use whitewater::fault::{Act, Fault, NodeSelector, Of, Only, Signal, Way, WireHarm};
use whitewater::journal::Event;
use whitewater::nemesis::Order;
use whitewater::proxy::{LinkState, Method};
use whitewater::target::ClockSeen;
use whitewater::wire::kiwi::PeerReplication;

const VOTES: &[&str] = &["Vote", "PreVote"];
const HEARTBEATS: &[&str] = &["AppendEntries"];

fn message(act: Act, of: Of, ms: u64) -> Fault {
    let (node, per_mille) = (None, 1000);
    Fault::Message {
        act,
        of,
        who: node,
        per_mille,
        ms,
        to: None,
        only: Only::default(),
    }
}

#[tokio::test]
async fn an_isolated_node_hears_nobody_or_is_not_heard_as_its_way_says() {
    let mut stage = Stage::of(3).await;
    let (leader, followers) = stage.roles().await;
    let node = followers[0];

    // Others' packets arrive at it, and its own nowhere: its answers to heartbeats do not come back.
    let id = stage
        .inject(Fault::Isolate {
            who: node,
            way: Way::Out,
        })
        .await;
    let heard = stage.heard(node).await;
    stage
        .until("a silent follower that hears", async || {
            let now = stage.heard(node).await;
            let status = stage.status(leader).await;
            let peer = status.peers.iter().find(|peer| peer.node_id == node);
            let silent = peer.and_then(|peer| peer.silent_ms).unwrap_or(0);
            match now > heard && silent > 300 {
                true => Ok(()),
                false => Err(format!("{heard} to {now} heard, silent for {silent} ms")),
            }
        })
        .await;
    stage.heal(id).await;
    stage.serves("after out").await;
    stage.agree().await;

    // Its packets arrive everywhere, and nobody's at it: not even the answers to its heartbeats. (A node that has no
    // connection yet cannot make one: a handshake needs both ways. A leader has them.)
    let (node, followers) = stage.roles().await;
    let id = stage
        .inject(Fault::Isolate {
            who: node,
            way: Way::In,
        })
        .await;
    let (heard, theirs) = (stage.heard(node).await, stage.heard(followers[0]).await);
    stage
        .until("a leader that is heard and hears nobody", async || {
            let now = stage.heard(followers[0]).await;
            let peers = stage.status(node).await.peers;
            let silent = |peer: &PeerReplication| peer.silent_ms.unwrap_or(0) > 300;
            let silent = peers
                .iter()
                .filter(|peer| followers.contains(&peer.node_id) && silent(peer));
            match now > theirs && silent.count() == followers.len() {
                true => Ok(()),
                false => Err(format!("{theirs} to {now} heard; {peers:?}")),
            }
        })
        .await;
    assert_eq!(stage.heard(node).await, heard, "it hears nobody");
    stage.heal(id).await;
    stage.serves("after in").await;
    stage.agree().await;

    // Neither: it learns nothing of what the others write, until it is healed.
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let both = Fault::Isolate {
        who: node,
        way: Way::Both,
    };
    let id = stage.inject(both).await;
    let (heard, keys) = (stage.heard(node).await, stage.keys(node).await);
    stage.serves("during").await;
    tokio::time::sleep(WHILE).await;
    assert_eq!(
        (stage.heard(node).await, stage.keys(node).await),
        (heard, keys)
    );
    stage.heal(id).await;
    assert_eq!(stage.agree().await.keys, keys + 1);
}

#[tokio::test]
async fn what_is_cut_does_not_flow_and_the_rest_does() {
    let mut stage = Stage::of(3).await;
    for turn in 0..4 {
        let (leader, followers) = stage.roles().await;
        let [a, b] = [followers[0], followers[1]];
        // The leader keeps a majority in each: it stays, and its heartbeats show what flows.
        let fault = match turn {
            0 => Fault::Split { side: vec![b] },
            1 => Fault::Bridge {
                over: leader,
                side: vec![a],
            },
            2 => Fault::Graph {
                cut: vec![(leader, b)],
            },
            _ => Fault::Cut {
                from: b,
                to: leader,
            },
        };
        let cut: BTreeSet<(u64, u64)> = fault.links(&stage.nodes).into_iter().collect();
        assert!(!cut.is_empty() && !cut.contains(&(leader, a)), "{fault}");
        let id = stage.inject(fault.clone()).await;
        let flowing = stage.flowing().await;
        assert!(flowing.is_disjoint(&cut), "{fault}: {flowing:?}");
        assert!(flowing.contains(&(leader, a)), "{fault}: {flowing:?}");
        stage.serves(&format!("during {turn}")).await;
        stage.heal(id).await;
        stage.serves(&format!("after {turn}")).await;
        stage.agree().await;
        let flowing = stage.flowing().await;
        let leads = stage.leader().await;
        let from_leader = flowing.iter().filter(|(from, _)| *from == leads);
        assert_eq!(from_leader.count(), 2, "{fault}: {flowing:?}");
    }
}

#[tokio::test]
async fn in_a_ring_only_neighbours_hear_each_other_and_the_cluster_serves() {
    let mut stage = Stage::of(5).await;
    let order = vec![1, 3, 5, 2, 4];
    let fault = Fault::Ring { order };
    let cut: BTreeSet<(u64, u64)> = fault.links(&stage.nodes).into_iter().collect();
    assert_eq!(cut.len(), 10);
    let id = stage.inject(fault).await;
    let flowing = stage.flowing().await;
    assert!(flowing.is_disjoint(&cut), "{flowing:?}");
    assert!(!flowing.is_empty());
    stage.heal(id).await;
    stage.serves("after").await;
    assert_eq!(stage.agree().await.keys, 1);
}

#[tokio::test]
async fn a_node_without_clients_is_reached_by_its_peers_and_by_no_client() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let (leader, followers) = stage.roles().await;
    let id = stage.inject(Fault::IsolateClients { who: leader }).await;
    let heard = stage.heard(followers[0]).await;
    let unanswered = stage.write(leader, "during", 600 * MS).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    assert!(stage.heard(followers[0]).await > heard, "its peers hear it");
    assert_eq!(stage.leader().await, leader);
    stage.heal(id).await;
    stage
        .until("an answer", async || {
            let written = stage.write(leader, "after", Duration::from_secs(2)).await;
            written.map_err(|status| status.to_string())
        })
        .await;
}

#[tokio::test]
async fn a_dropped_answers_write_was_applied_everywhere() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let leader = stage.leader().await;
    let id = stage
        .inject(message(Act::DropResponse, Of::Writes, 0))
        .await;
    let unanswered = stage.write(leader, "swallowed", 500 * MS).await;
    assert_eq!(
        unanswered.unwrap_err().code(),
        tonic::Code::DeadlineExceeded
    );
    stage
        .until("two keys on every node", async || {
            let keys = stage.agree().await.keys;
            (keys == 2).then_some(()).ok_or(format!("{keys} keys"))
        })
        .await;
    stage.heal(id).await;
    stage.serves("after").await;
    assert_eq!(stage.agree().await.keys, 3);
}

/// How many votes nodes have sent, and how many have arrived at nodes.
async fn votes(stage: &Stage) -> (u64, u64) {
    let arrived = stage.arrived_anywhere(VOTES).await;
    let sent = stage.network.requests_between_nodes(&[Method::Vote]);
    (sent, arrived)
}

#[tokio::test]
async fn a_duplicated_vote_really_arrives_twice() {
    let mut stage = Stage::of(3).await;
    for (doubled, each) in [(true, 2), (false, 1)] {
        let (_, followers) = stage.roles().await;
        let mut id = None;
        if doubled {
            id = Some(stage.inject(message(Act::Duplicate, Of::Votes, 5)).await);
        }
        let (sent_before, arrived_before) = votes(&stage).await;
        let to = followers[0];
        stage.do_once(Fault::Transfer { to }).await;
        stage
            .until("every vote", async || {
                let (sent, arrived) = votes(&stage).await;
                let (sent, arrived) = (sent - sent_before, arrived - arrived_before);
                match sent > 0 && arrived == each * sent {
                    true => Ok(()),
                    false => Err(format!("{sent} sent, {arrived} arrived")),
                }
            })
            .await;
        if let Some(id) = id {
            stage.heal(id).await;
        }
    }
}

#[tokio::test]
async fn a_late_write_is_applied_after_its_client_gave_up() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let leader = stage.leader().await;
    let id = stage
        .inject(message(Act::DelayRequest, Of::Writes, 400))
        .await;
    let given_up = stage.write(leader, "late", 100 * MS).await;
    assert_eq!(given_up.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    assert_eq!(stage.keys(leader).await, 1, "it is still on its way");
    stage
        .until("the late write", async || {
            let keys = stage.keys(leader).await;
            (keys == 2).then_some(()).ok_or(format!("{keys} keys"))
        })
        .await;
    stage.heal(id).await;
    let began = Instant::now();
    while stage.write(leader, "after", 250 * MS).await.is_err() {
        assert!(began.elapsed() < SOON, "writes are still late");
    }
}

#[tokio::test]
async fn a_late_answers_write_was_applied_in_time() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let leader = stage.leader().await;
    let late = message(Act::DelayResponse, Of::Writes, 400);
    let id = stage.inject(late).await;
    let began = Instant::now();
    let unanswered = stage.write(leader, "answered late", 250 * MS).await;
    assert_eq!(
        unanswered.unwrap_err().code(),
        tonic::Code::DeadlineExceeded
    );
    stage
        .until("the write, before its answer", async || {
            let keys = stage.keys(leader).await;
            (keys == 2).then_some(()).ok_or(format!("{keys} keys"))
        })
        .await;
    let began_again = Instant::now();
    stage.serves("again").await;
    assert!(began_again.elapsed() >= 300 * MS && began.elapsed() < SOON);
    stage.heal(id).await;
    stage
        .until("a swift answer", async || {
            let began = Instant::now();
            let written = stage.write(leader, "after", Duration::from_secs(2)).await;
            match written.is_ok() && began.elapsed() < 300 * MS {
                true => Ok(()),
                false => Err(format!("{written:?} after {:?}", began.elapsed())),
            }
        })
        .await;
}

#[tokio::test]
async fn a_fault_of_messages_meets_those_that_it_is_for() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let (leader, followers) = stage.roles().await;
    let numbered = |nth| Fault::Message {
        act: Act::Refuse,
        of: Of::Writes,
        who: Some(leader),
        per_mille: 1_000,
        ms: 0,
        to: None,
        only: Only {
            nth: Some(nth),
            ..Only::default()
        },
    };
    // The second and the third one, on a link that only this test writes through.
    let id = stage.inject(numbered([2, 3])).await;
    let mut refused = Vec::new();
    for key in ["first", "second", "third", "fourth"] {
        let written = stage.write(leader, key, Duration::from_secs(2)).await;
        refused.push(written.is_err_and(|status| status.code() == tonic::Code::Unavailable));
    }
    assert_eq!(refused, [false, true, true, false]);
    stage.heal(id).await;
    let why = stage.is_refused(numbered([3, 2])).await;
    assert!(why.contains("nth"), "{why}");

    // Heartbeats from the leader to one of them, and to nobody else.
    let [deaf, other] = [followers[0], followers[1]];
    let id = stage
        .inject(Fault::Message {
            act: Act::Drop,
            of: Of::Heartbeats,
            who: Some(leader),
            per_mille: 1_000,
            ms: 0,
            to: Some(deaf),
            only: Only {
                entries: Some([0, 0]),
                ..Only::default()
            },
        })
        .await;
    // One that had passed the rule before it was there may still arrive.
    let heartbeats_at_the_other = async |more: u64| {
        let before = stage.arrived(other, HEARTBEATS).await;
        stage
            .until("heartbeats at the other one", async || {
                let now = stage.arrived(other, HEARTBEATS).await;
                (now > before + more)
                    .then_some(())
                    .ok_or(format!("{before} to {now}"))
            })
            .await;
    };
    heartbeats_at_the_other(1).await;
    let before = stage.arrived(deaf, HEARTBEATS).await;
    heartbeats_at_the_other(3).await;
    let after = stage.arrived(deaf, HEARTBEATS).await;
    assert_eq!(
        stage.leader().await,
        leader,
        "the other one keeps it where it is"
    );
    assert_eq!(after, before);
    stage.heal(id).await;
    stage.serves("after").await;
    stage.agree().await;
}

fn wire(from: u64, to: u64, harm: WireHarm, amount: u64) -> Fault {
    Fault::Wire {
        from,
        to,
        harm,
        amount,
    }
}

/// Waits until a leader has not heard from one of its followers for three heartbeats, or has again.
async fn until_silent(stage: &Stage, leader: u64, follower: u64, silent: bool) {
    let what = if silent { "silence" } else { "a sound" };
    stage
        .until(what, async || {
            let now = stage.leader().await;
            assert_eq!(now, leader, "the other follower keeps it where it is");
            let peers = stage.status(leader).await.peers;
            let peer = peers.iter().find(|peer| peer.node_id == follower);
            let ms = peer.and_then(|peer| peer.silent_ms).unwrap_or(0);
            match (ms > 300) == silent {
                true => Ok(()),
                false => Err(format!("silent for {ms} ms")),
            }
        })
        .await;
}

#[tokio::test]
async fn who_is_not_to_be_dialled_is_silent_until_it_is() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    for harm in [WireHarm::ResetPeer, WireHarm::Refuse, WireHarm::Unanswered] {
        // The other one keeps the leader where it is, so that it has something to send.
        let (leader, followers) = stage.roles().await;
        let id = stage.inject(wire(leader, followers[0], harm, 0)).await;
        until_silent(&stage, leader, followers[0], true).await;
        stage.serves("during").await;
        stage.heal(id).await;
        until_silent(&stage, leader, followers[0], false).await;
        stage.serves("after").await;
        stage.agree().await;
    }
    let why = stage.is_refused(wire(1, 2, WireHarm::Refuse, 5)).await;
    assert!(why.contains("counts nothing"), "{why}");
}

#[tokio::test]
async fn a_harmed_wire_carries_less_or_breaks_and_heals() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let carried = |stage: &Stage, from, to| stage.network.snapshot().between(from, to).bytes_out;
    let accepted = |stage: &Stage, from, to| stage.network.snapshot().between(from, to).accepted;
    let long = |name: &str, i: u32| format!("{name} {i} {}", "x".repeat(4_096));

    // Two connections carry packets this way, so twice as much, and a little that was on its way.
    let (leader, followers) = stage.roles().await;
    let [a, b] = [followers[0], followers[1]];
    let id = stage
        .inject(wire(leader, a, WireHarm::Bandwidth, 2_000))
        .await;
    let began = Instant::now();
    let before = [a, b].map(|to| carried(&stage, leader, to));
    for i in 0..20 {
        stage.serves(&long("narrow", i)).await;
    }
    stage
        .until("the other one's share", async || {
            let now = carried(&stage, leader, b) - before[1];
            (now > 80_000).then_some(()).ok_or(format!("{now} bytes"))
        })
        .await;
    let (narrow, seconds) = (
        carried(&stage, leader, a) - before[0],
        began.elapsed().as_secs_f64(),
    );
    assert!(
        (narrow as f64) < 4_000.0 * seconds + 4_000.0,
        "{narrow} bytes in {seconds} s"
    );
    stage.heal(id).await;
    stage.agree().await;

    // These make it late and in pieces, and all of it arrives.
    let (leader, followers) = stage.roles().await;
    let mut ids = Vec::new();
    for (harm, amount) in [
        (WireHarm::Slicer, 200),
        (WireHarm::Spikes, 40),
        (WireHarm::LongTail, 5),
    ] {
        ids.push(stage.inject(wire(leader, followers[0], harm, amount)).await);
    }
    stage.serves(&long("in pieces", 0)).await;
    stage.agree().await;
    for id in ids {
        stage.heal(id).await;
    }

    // Nothing shows that a connection would close late where none does.
    let slow_close = wire(leader, followers[0], WireHarm::SlowClose, 100);
    let id = stage.inject(slow_close).await;
    stage.heal(id).await;
    match stage.deed().await {
        Event::FaultIndeterminate { id: of, .. } => assert_eq!(of, Some(id)),
        other => panic!("{other:?}"),
    }

    // These end connections, again and again.
    for (harm, amount) in [(WireHarm::LimitData, 3_000), (WireHarm::HalfClose, 0)] {
        let (leader, followers) = stage.roles().await;
        let to = followers[0];
        let before = accepted(&stage, leader, to);
        let id = stage.inject(wire(leader, to, harm, amount)).await;
        stage
            .until("three new connections", async || {
                stage.serves(&long("broken", 0)).await;
                let now = accepted(&stage, leader, to);
                (now >= before + 3)
                    .then_some(())
                    .ok_or(format!("{before} to {now} accepted"))
            })
            .await;
        stage.heal(id).await;
        stage.serves("after").await;
        stage.agree().await;
        stage
            .until("connections that last", async || {
                let before = accepted(&stage, leader, to);
                tokio::time::sleep(WHILE).await;
                let now = accepted(&stage, leader, to);
                (now == before)
                    .then_some(())
                    .ok_or(format!("{before} to {now} accepted"))
            })
            .await;
    }
}

#[tokio::test]
async fn dropped_heartbeats_do_not_arrive_and_refused_writes_are_not_applied() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let leader = stage.leader().await;
    let id = stage.inject(message(Act::Refuse, Of::Writes, 0)).await;
    let refused = stage.write(leader, "refused", Duration::from_secs(2)).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unavailable);
    stage.heal(id).await;
    stage.serves("after").await;
    assert_eq!(stage.agree().await.keys, 2, "what was refused is nowhere");

    let (_, followers) = stage.roles().await;
    let id = stage.inject(message(Act::Drop, Of::Heartbeats, 0)).await;
    let before = stage.arrived(followers[0], HEARTBEATS).await;
    tokio::time::sleep(WHILE).await;
    assert_eq!(stage.arrived(followers[0], HEARTBEATS).await, before);
    stage.heal(id).await;
    let (_, followers) = stage.roles().await;
    let before = stage.arrived(followers[0], HEARTBEATS).await;
    stage
        .until("heartbeats", async || {
            let now = stage.arrived(followers[0], HEARTBEATS).await;
            (now > before).then_some(()).ok_or(format!("{now} arrived"))
        })
        .await;
    stage.serves("healed").await;
}

#[tokio::test]
async fn a_slow_link_is_slow_and_reordered_heartbeats_all_arrive() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let (leader, followers) = stage.roles().await;
    // Both ways to a majority: no write is faster than the link there and back.
    let mut ids = Vec::new();
    for &to in &followers {
        ids.push(
            stage
                .inject(Fault::Slow {
                    from: leader,
                    to,
                    delay_ms: 40,
                    jitter_ms: 0,
                })
                .await,
        );
    }
    let began = Instant::now();
    let written = stage.write(leader, "slow", Duration::from_secs(2)).await;
    assert!(
        written.is_err() || began.elapsed() >= 40 * MS,
        "{:?}",
        began.elapsed()
    );
    for id in ids {
        stage.heal(id).await;
    }
    let leader = stage.leader().await;
    stage
        .until("a swift write", async || {
            let began = Instant::now();
            let written = stage.write(leader, "swift", Duration::from_secs(2)).await;
            let took = began.elapsed();
            match written.is_ok() && took < 40 * MS {
                true => Ok(()),
                false => Err(format!("{written:?} after {took:?}")),
            }
        })
        .await;

    let id = stage
        .inject(message(Act::Reorder, Of::Heartbeats, 60))
        .await;
    let methods = [Method::AppendEntries];
    let sent_before = stage.network.requests_between_nodes(&methods);
    stage
        .until("reordered heartbeats", async || {
            let sent = stage.network.requests_between_nodes(&methods) - sent_before;
            (sent >= 10).then_some(()).ok_or(format!("{sent} sent"))
        })
        .await;
    stage.heal(id).await;
    stage.serves("after").await;
    stage
        .until("every heartbeat", async || {
            let sent = stage.network.requests_between_nodes(&methods);
            let arrived = stage.arrived_anywhere(HEARTBEATS).await;
            // Those that leave while it is counted arrive, too.
            match arrived >= sent {
                true => Ok(()),
                false => Err(format!("{sent} sent, {arrived} arrived")),
            }
        })
        .await;
}

#[tokio::test]
async fn replayed_heartbeats_arrive_again_and_streams_stall_or_break_until_healed() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let heartbeats = async |stage: &Stage| {
        let arrived = stage.arrived_anywhere(HEARTBEATS).await;
        // Counted after those that arrived, so that one on its way is not taken for a copy.
        let sent = stage
            .network
            .requests_between_nodes(&[Method::AppendEntries]);
        (sent, arrived)
    };
    let id = stage.inject(message(Act::Replay, Of::Heartbeats, 0)).await;
    let (sent_before, arrived_before) = heartbeats(&stage).await;
    stage
        .until("old heartbeats beside the new ones", async || {
            let (sent, arrived) = heartbeats(&stage).await;
            let (sent, arrived) = (sent - sent_before, arrived - arrived_before);
            match arrived > sent + 5 {
                true => Ok(()),
                false => Err(format!("{sent} sent, {arrived} arrived")),
            }
        })
        .await;
    stage.heal(id).await;
    for (act, name) in [(Act::Stall, "stall"), (Act::CutStream, "cut-stream")] {
        let id = stage.inject(message(act, Of::Appends, 0)).await;
        let _ = stage.network.take_decisions();
        stage
            .until("a stream that it acts on", async || {
                let leader = stage.leader().await;
                // It may be answered or not: a stream that is opened anew carries one more.
                let _ = stage.write(leader, name, 200 * MS).await;
                let made = stage.network.take_decisions().made;
                let acted = made.iter().filter(|d| d.action.name() == name).count();
                (acted > 0).then_some(()).ok_or(format!("{made:?}"))
            })
            .await;
        stage.heal(id).await;
        stage.serves(&format!("after {name}")).await;
    }
    stage.agree().await;
    assert!(stage.cluster.exits().is_empty());
}

/// The state letter of a process.
fn letter(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[tokio::test]
async fn a_killed_node_is_gone_and_comes_back_with_what_it_had() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    stage.agree().await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let pid = stage.view(node).pid.expect("it lives");
    let id = stage.inject(Fault::Kill { who: node }).await;
    assert_eq!(letter(pid), None, "the kernel does not know it any more");
    assert_eq!(stage.view(node).state, ChildState::Dead);
    stage.heal(id).await;
    // Its log and its vote are what it had; its state follows from them.
    assert_eq!(lives(&stage, node), [(true, false), (false, false)]);

    let signal = Signal::Kill;
    stage.do_once(Fault::Restart { who: node, signal }).await;
    let signal = Signal::Term;
    stage.do_once(Fault::Restart { who: node, signal }).await;
    assert_eq!(stage.view(node).restarts, 3);
    let id = stage
        .inject(Fault::KillLoop {
            who: node,
            up_ms: 100,
        })
        .await;
    stage
        .until("two more kills", async || {
            let restarts = stage.view(node).restarts;
            (restarts >= 6)
                .then_some(())
                .ok_or(format!("{restarts} restarts"))
        })
        .await;
    stage.heal(id).await;
    let restarts = stage.view(node).restarts;
    stage.serves("after").await;
    assert_eq!(stage.agree().await.keys, 2);
    tokio::time::sleep(WHILE).await;
    assert_eq!(stage.view(node).restarts, restarts, "it is left alone");
    assert!(stage.cluster.exits().is_empty());
}

#[tokio::test]
async fn a_flapping_link_stops_and_flows_in_turns_until_it_is_healed() {
    let mut stage = Stage::of(3).await;
    // The answers of one follower, for which nobody is elected.
    let (to, followers) = stage.roles().await;
    let from = followers[0];
    let id = stage
        .inject(Fault::Flap {
            from,
            to,
            cut_ms: 900,
            open_ms: 500,
        })
        .await;
    let seen = |stage: &Stage| stage.network.snapshot().between(from, to);
    for _ in 0..3 {
        let stopped = stage
            .until("it stops", async || match seen(&stage) {
                link if link.state == LinkState::Cut => Ok(link.bytes_out),
                link => Err(format!("{link:?}")),
            })
            .await;
        tokio::time::sleep(150 * MS).await;
        assert_eq!(
            seen(&stage).bytes_out,
            stopped,
            "nothing flows while it is cut"
        );
        stage
            .until("it flows", async || match seen(&stage) {
                link if link.state == LinkState::Open && link.bytes_out > stopped => Ok(()),
                link => Err(format!("{link:?}")),
            })
            .await;
    }
    stage.heal(id).await;
    let flowed = seen(&stage);
    assert_eq!(flowed.state, LinkState::Open);
    tokio::time::sleep(1_500 * MS).await;
    assert_eq!(seen(&stage).state, LinkState::Open, "it is cut no more");
    stage
        .until("it goes on", async || match seen(&stage) {
            link if link.bytes_out > flowed.bytes_out => Ok(()),
            link => Err(format!("{link:?}")),
        })
        .await;
}

#[tokio::test]
async fn a_kill_loop_waits_while_somebody_holds_the_run() {
    let mut stage = Stage::of(3).await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    stage.hold(true);
    let id = stage
        .inject(Fault::KillLoop {
            who: node,
            up_ms: 50,
        })
        .await;
    let before = stage.view(node).restarts;
    tokio::time::sleep(WHILE).await;
    assert_eq!(stage.view(node).restarts, before, "nobody does it again");
    stage.hold(false);
    stage
        .until("another kill", async || {
            let restarts = stage.view(node).restarts;
            (restarts > before)
                .then_some(())
                .ok_or(format!("{restarts} restarts"))
        })
        .await;
    // Whoever holds the run may heal it.
    stage.hold(true);
    stage.heal(id).await;
    assert_eq!(stage.view(node).state, ChildState::Up);
}

#[tokio::test]
async fn a_plans_fault_waits_while_somebody_holds_the_run() {
    let who = NodeSelector::Follower(0);
    let plan = Plan {
        episodes: vec![Episode::at(1, 60_000, vec![Fault::IsolateClients { who }])],
        steps: Vec::new(),
    };
    let mut stage = Stage::playing(3, 3, |_| (), plan).await;
    stage.hold(true);
    stage.begin().await;
    let early = tokio::time::timeout(WHILE, stage.deed()).await;
    assert!(early.is_err(), "{early:?}");
    stage.hold(false);
    match stage.deed().await {
        Event::FaultIn {
            fault: Fault::IsolateClients { .. },
            ..
        } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_somebody_asked_for_is_in_the_plan_as_it_went() {
    let who = NodeSelector::Leader;
    let planned = Episode::at(1, 60_000, vec![Fault::IsolateClients { who }]);
    let never = Episode::at(3_600_000, 9, vec![Fault::Pause { who }]);
    let plan = Plan {
        episodes: vec![planned.clone(), never],
        steps: Vec::new(),
    };
    let mut stage = Stage::playing(3, 3, |_| (), plan).await;
    stage.begin().await;
    let Event::FaultIn { .. } = stage.deed().await else {
        panic!("the plan goes on");
    };
    let (leader, followers) = stage.roles().await;
    // One that is healed by hand, one that is still in at the end, one that has no effect, and two in a row of which
    // the second one never comes.
    let cut = stage
        .inject(Fault::Cut {
            from: leader,
            to: followers[0],
        })
        .await;
    tokio::time::sleep(100 * MS).await;
    stage.heal(cut).await;
    stage.inject(Fault::Pause { who: followers[1] }).await;
    stage.is_refused(Fault::Pause { who: followers[1] }).await;
    let restart = |at_ms| {
        let signal = Signal::Kill;
        let who = NodeSelector::Node(followers[0]);
        Episode::at(at_ms, 0, vec![Fault::Restart { who, signal }])
    };
    stage
        .order(Order::Inject(vec![restart(0), restart(3_600_000)]))
        .await;
    for _ in 0..2 {
        let (Event::FaultIn { fault, .. } | Event::FaultOut { fault, .. }) = stage.deed().await
        else {
            panic!("it restarts");
        };
        assert!(matches!(fault, Fault::Restart { .. }), "{fault}");
    }
    let Plan { episodes, .. } = stage.went().await;
    let [first, cut, pause, restarted] = &episodes[..] else {
        panic!("{episodes:#?}");
    };
    assert_eq!(*first, planned, "what nobody touched is what was planned");
    let [from, to] = [leader, followers[0]].map(NodeSelector::Node);
    assert_eq!(cut.faults, [Fault::Cut { from, to }]);
    assert!((100..20_000).contains(&cut.for_ms), "{cut:?}");
    assert!(pause.at_ms >= cut.at_ms + cut.for_ms, "{episodes:#?}");
    assert!(pause.for_ms < 60_000, "{pause:?}");
    assert_eq!(restarted.faults, restart(0).faults);
    let nodes = 3;
    for episode in &episodes {
        assert_eq!(episode.check(nodes), Ok(()), "{episode:?}");
    }
}

#[tokio::test]
async fn what_was_asked_for_waits_while_everything_is_held_and_healing_calls_it_off() {
    let mut stage = Stage::of(3).await;
    let (leader, followers) = stage.roles().await;
    stage.begin().await;
    let cut = |at_ms| {
        let [from, to] = [leader, followers[0]].map(NodeSelector::Node);
        Episode::at(at_ms, 60_000, vec![Fault::Cut { from, to }])
    };
    stage.order(Order::Inject(vec![cut(300)])).await;
    stage.order(Order::Hold(true)).await;
    let Event::Nemesis { on: false } = stage.deed().await else {
        panic!("it is held");
    };
    let early = tokio::time::timeout(2 * WHILE, stage.deed()).await;
    assert!(early.is_err(), "{early:?}");
    stage.order(Order::Hold(false)).await;
    let Event::Nemesis { on: true } = stage.deed().await else {
        panic!("it goes on");
    };
    let Event::FaultIn { id, .. } = stage.deed().await else {
        panic!("now it goes in");
    };
    // While the plan is off, what is asked for still comes.
    stage.order(Order::Plan(false)).await;
    let Event::Nemesis { on: false } = stage.deed().await else {
        panic!("the plan is off");
    };
    stage.heal(id).await;
    stage.order(Order::Inject(vec![cut(1)])).await;
    let Event::FaultIn { .. } = stage.deed().await else {
        panic!("it goes in");
    };
    stage.order(Order::Inject(vec![cut(300)])).await;
    stage.order(Order::HealAll).await;
    let Event::FaultOut { .. } = stage.deed().await else {
        panic!("it heals");
    };
    let later = tokio::time::timeout(2 * WHILE, stage.deed()).await;
    assert!(
        later.is_err(),
        "nothing comes of what was called off: {later:?}"
    );
}

#[tokio::test]
async fn only_a_child_that_ends_at_its_start_is_to_blame_for_not_coming_back() {
    let mut stage = Stage::of(3).await;
    let (_, followers) = stage.roles().await;
    let [broken, homeless] = [followers[0], followers[1]];
    // A disk that cannot be read, of a child that does not notice any more.
    stage.cluster.pause(broken).await.unwrap();
    let log = stage.folder().join(format!("nodes/{broken}/data/log.redb"));
    std::fs::write(log, "no database").unwrap();
    let signal = Signal::Kill;
    // It was restarted, whatever became of it.
    let node = broken;
    stage.do_once(Fault::Restart { who: node, signal }).await;
    match stage.deed().await {
        Event::NodeLost { node, .. } => assert_eq!(node, broken),
        other => panic!("{other:?}"),
    }
    // No folder to start in is our doing.
    let node = homeless;
    let id = stage.inject(Fault::Kill { who: node }).await;
    let folder = stage.folder().join(format!("nodes/{node}"));
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    stage.heal(id).await;
    match stage.deed().await {
        Event::BenchError { text: why } => assert!(why.starts_with(&format!("n{node} ")), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_paused_node_stands_in_state_t_and_a_throttled_one_now_and_then() {
    let mut stage = Stage::of(3).await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let pid = stage.view(node).pid.expect("it lives");
    let id = stage.inject(Fault::Pause { who: node }).await;
    assert_eq!(letter(pid), Some('T'));
    stage.serves("during").await;
    assert_eq!(letter(pid), Some('T'));
    stage.heal(id).await;
    assert_ne!(letter(pid), Some('T'));
    assert_eq!(stage.agree().await.keys, 1);

    let [run_ms, stand_ms] = [60, 60];
    let throttle = Fault::Throttle {
        who: node,
        run_ms,
        stand_ms,
    };
    let id = stage.inject(throttle).await;
    let began = Instant::now();
    let (mut stood, mut ran) = (0, 0);
    while stood < 10 || ran < 10 {
        match letter(pid) {
            Some('T') => stood += 1,
            _ => ran += 1,
        }
        assert!(began.elapsed() < SOON, "stood {stood}, ran {ran}");
        tokio::time::sleep(7 * MS).await;
    }
    stage.heal(id).await;
    for _ in 0..30 {
        assert_ne!(letter(pid), Some('T'), "it stands no more");
        tokio::time::sleep(7 * MS).await;
    }
    stage.serves("after").await;
}

#[tokio::test]
async fn a_machine_without_power_does_not_answer_and_keeps_what_it_had_synced() {
    let mut stage = Stage::on_hosts(3).await;
    for n in 0..5 {
        stage.serves(&format!("k{n}")).await;
    }
    stage.agree().await;
    let nodes = stage.nodes.clone();
    let pids: Vec<u32> = nodes.iter().filter_map(|&id| stage.view(id).pid).collect();
    let id = stage.inject(Fault::PowerLoss { who: nodes }).await;
    assert!(pids.iter().all(|&pid| letter(pid).is_none()));
    // A dead program's port refuses at once; a dead machine's stays silent.
    let address = stage
        .network
        .address(whitewater::proxy::Route::clients(1, 1));
    let connect = tokio::time::timeout(100 * MS, tokio::net::TcpStream::connect(address)).await;
    assert!(connect.is_err(), "{connect:?}");
    stage.heal(id).await;
    stage.serves("after").await;
    assert_eq!(stage.agree().await.keys, 6, "all that was acknowledged");
}

#[tokio::test]
async fn a_vote_is_taken_and_given_back_and_the_leadership_handed_on() {
    let mut stage = Stage::of(3).await;
    let all = BTreeSet::from([1, 2, 3]);
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let id = stage.inject(Fault::RemoveVoter { who: node }).await;
    let others: BTreeSet<u64> = all.iter().copied().filter(|&id| id != node).collect();
    assert_eq!(stage.voters().await, others);
    stage.serves("during").await;
    // It learns on.
    assert_eq!(stage.agree().await.keys, 1);
    stage.heal(id).await;
    assert_eq!(stage.voters().await, all);

    stage.do_once(Fault::Transfer { to: node }).await;
    assert!(stage.status(node).await.is_leader);
    stage.serves("after").await;
}

#[tokio::test]
async fn a_vote_whose_loss_nobody_confirms_is_indeterminate_and_given_back() {
    let mut stage = Stage::of(3).await;
    let all: BTreeSet<u64> = stage.nodes.iter().copied().collect();
    let (_, followers) = stage.roles().await;
    let way = Way::Both;
    for &node in &followers {
        stage.inject(Fault::Isolate { who: node, way }).await;
    }
    // Who leads takes the change, and nobody else hears of it yet.
    let removed = Fault::RemoveVoter { who: followers[0] };
    let episode = Episode::until_healed(vec![removed.by_id()]);
    stage.order(Order::Inject(vec![episode])).await;
    match stage.deed().await {
        Event::FaultIndeterminate {
            id: None, fault, ..
        } => assert_eq!(fault, removed),
        other => panic!("{other:?}"),
    }
    stage.order(Order::End).await;
    stage
        .until("every vote", async || {
            let voters = stage.voters().await;
            (voters == all).then_some(()).ok_or(format!("{voters:?}"))
        })
        .await;
    stage.serves("after").await;
}

/// The kinds of a node's trace's starts, in order: whether each began from nothing, and whether an owner's word came
/// before it.
fn lives(stage: &Stage, node: u64) -> Vec<(bool, bool)> {
    let text = std::fs::read_to_string(stage.trace(node)).unwrap();
    let lines = trace::read(&text).unwrap();
    let at = (0..lines.len()).filter(|&at| lines[at].e == Kind::Start);
    at.map(|at| {
        let start = &lines[at];
        let empty = start.vote.is_none() && start.log.is_empty() && start.applied.is_none();
        let replaced = at > 0 && lines[at - 1].e == Kind::Replaced;
        (empty, replaced)
    })
    .collect()
}

#[tokio::test]
async fn a_replaced_voter_comes_back_from_nothing_as_a_new_member() {
    let mut stage = Stage::of(5).await;
    stage.serves("before").await;
    let all: BTreeSet<u64> = stage.nodes.iter().copied().collect();
    let (_, followers) = stage.roles().await;
    let [node, away] = [followers[0], followers[1]];
    let pid = stage.view(node).pid.expect("it lives");
    let id = stage.inject(Fault::Replace { who: node }).await;
    assert!(!stage.voters().await.contains(&node));
    assert_eq!(letter(pid), None);
    let data = stage.folder().join(format!("nodes/{node}/data"));
    assert!(!data.exists(), "its disk is empty");
    stage.heal(id).await;
    assert_eq!(stage.voters().await, all);
    assert_eq!(lives(&stage, node), [(true, false), (true, true)]);

    // The leader itself, while one of the others hears nobody.
    let way = Way::Both;
    let parted = stage.inject(Fault::Isolate { who: away, way }).await;
    let leader = stage.leader().await;
    let id = stage.inject(Fault::Replace { who: leader }).await;
    stage.heal(parted).await;
    assert_ne!(stage.leader().await, leader);
    stage.heal(id).await;
    stage
        .until("every vote", async || {
            let voters = stage.voters().await;
            (voters == all).then_some(()).ok_or(format!("{voters:?}"))
        })
        .await;
    stage.serves("after").await;
    assert_eq!(stage.agree().await.keys, 2);
    assert_eq!(lives(&stage, leader), [(true, false), (true, true)]);
    assert!(stage.cluster.exits().is_empty());
}

#[tokio::test]
async fn a_newcomer_gets_a_vote_and_leaves_again() {
    let mut stage = Stage::start(4, 3, |_| ()).await;
    stage.serves("before").await;
    assert_eq!(stage.voters().await, BTreeSet::from([1, 2, 3]));
    assert_eq!(stage.keys(4).await, 0, "it is no member");
    let refused = stage.is_refused(Fault::AddVoter { who: 1 }).await;
    assert!(refused.contains("a vote already"), "{refused}");
    let refused = stage.is_refused(Fault::Replace { who: 4 }).await;
    assert!(refused.contains("no vote"), "{refused}");

    let id = stage.inject(Fault::AddVoter { who: 4 }).await;
    assert_eq!(stage.voters().await, BTreeSet::from([1, 2, 3, 4]));
    assert_eq!(stage.agree().await.keys, 1, "it has what the others have");
    stage.heal(id).await;
    stage
        .until("its departure", async || {
            let voters = stage.voters().await;
            match voters == BTreeSet::from([1, 2, 3]) {
                true => Ok(()),
                false => Err(format!("{voters:?}")),
            }
        })
        .await;
    stage.serves("after").await;
}

#[tokio::test]
async fn a_wiped_voter_has_forgotten_everything() {
    let mut stage = Stage::of(3).await;
    stage.serves("before").await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let wipe: Fault = Fault::Wipe { who: node };
    assert!(wipe.kind().is_outside_the_model());
    stage.do_once(Fault::Wipe { who: node }).await;
    // It has not left, and nobody has said so in its trace: the rules will say that it forgot its vote.
    assert_eq!(lives(&stage, node), [(true, false), (true, false)]);
    let text = std::fs::read_to_string(stage.trace(node)).unwrap();
    let lines = trace::read(&text).unwrap();
    let others = stage.nodes.iter().filter(|&&id| id != node).map(|&id| {
        let text = std::fs::read_to_string(stage.trace(id)).unwrap();
        trace::read(&text).unwrap()
    });
    let files = others.chain([lines]).collect();
    match model::conform::conform(files, None) {
        model::conform::Conformance::Rejected(rejected) => {
            assert_eq!(rejected.node, node, "{rejected:#?}");
            assert!(rejected.missing.contains("its vote"), "{rejected:#?}");
        }
        accepted => panic!("{accepted:?}"),
    }
}

#[tokio::test]
async fn a_fast_clock_is_fast_on_the_nodes_own_clock_and_heals() {
    let mut stage = Stage::on_hosts(3).await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let read = async |stage: &Stage, rate: f64| -> ClockSeen {
        let seen = stage.cluster.set_clock(node, rate, Duration::ZERO).await;
        seen.unwrap()
    };
    let fast = Fault::Clock {
        who: node,
        rate_percent: 300,
        step_ms: 0,
    };
    let id = stage.inject(fast).await;
    let one = read(&stage, 3.0).await;
    tokio::time::sleep(200 * MS).await;
    let two = read(&stage, 3.0).await;
    assert!(one.leads_to(&two, 3.0, Duration::ZERO), "{one:?} {two:?}");
    assert!(!one.leads_to(&two, 1.0, Duration::ZERO), "{one:?} {two:?}");
    stage.heal(id).await;
    let one = read(&stage, 1.0).await;
    tokio::time::sleep(200 * MS).await;
    let two = read(&stage, 1.0).await;
    assert!(one.leads_to(&two, 1.0, Duration::ZERO), "{one:?} {two:?}");
    stage.serves("after").await;
}
