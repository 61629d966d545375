//! What answers come to: who leads, and who has left.

use super::*;
use crate::wire::kiwi;

fn says(node_id: u64, term: u64, current_leader: u64) -> MetricsResponse {
    MetricsResponse {
        node_id,
        term,
        current_leader,
        is_leader: node_id == current_leader,
        ..MetricsResponse::default()
    }
}

fn check(answers: &[MetricsResponse], members: usize, expected: Option<(u64, u64)>) {
    let seen = agreed(answers.iter(), members).map(|seen| (seen.leader, seen.term));
    assert_eq!(seen, expected, "{answers:?}");
}

#[test]
fn a_leader_is_one_that_itself_and_a_majority_name_in_one_term() {
    check(&[says(1, 2, 1), says(2, 2, 1)], 3, Some((1, 2)));
    check(&[says(1, 2, 1)], 1, Some((1, 2)));
    // Alone with its belief, or named by others but not by itself, or in another term.
    check(&[says(1, 2, 1), says(2, 2, 0), says(3, 2, 0)], 3, None);
    check(&[says(2, 2, 1), says(3, 2, 1)], 3, None);
    check(&[says(1, 2, 1), says(2, 3, 1), says(3, 3, 0)], 3, None);
    // A deposed leader that does not know it yet.
    let two = [says(1, 2, 1), says(2, 3, 2), says(3, 3, 2)];
    check(&two, 3, Some((2, 3)));
}

/// n1 leads term 3 with these voter sets, by the membership at index 8, and has committed up to `committed`.
fn leads(sets: &[&[u64]], committed: u64) -> MetricsResponse {
    let at = |index| {
        let leader_id = Some(kiwi::LeaderId {
            term: 3,
            node_id: Some(kiwi::NodeId { id: 1 }),
        });
        Some(kiwi::LogId { leader_id, index })
    };
    let configs = sets.iter().map(|set| kiwi::NodeIdSet {
        node_ids: set.to_vec(),
    });
    MetricsResponse {
        membership: Some(kiwi::Membership {
            configs: configs.collect(),
            ..kiwi::Membership::default()
        }),
        membership_log_id: at(8),
        committed: at(committed),
        ..says(1, 3, 1)
    }
}

#[test]
fn a_node_has_left_when_a_leader_that_is_followed_has_committed_it() {
    let check = |leader: &MetricsResponse, others: &[MetricsResponse], node, expected| {
        let all = others.iter().chain([leader]).cloned();
        let heard = all.map(|says| (says.node_id, says)).collect();
        assert_eq!(departed(leader, &heard, node), expected, "{leader:?}");
    };
    let left = Ok((3, 1, 8));
    let follows = [says(2, 3, 1)];
    check(&leads(&[&[1, 2]], 8), &follows, 3, left);
    check(&leads(&[&[1, 2, 4]], 9), &follows, 3, left);
    let alone = Err("no majority follows the leader");
    // Deposed, and it does not know it; or nobody answers.
    check(&leads(&[&[1, 2]], 8), &[says(2, 4, 2)], 3, alone);
    check(&leads(&[&[1, 2]], 8), &[], 3, alone);
    let uncommitted = Err("its departure is not committed");
    check(&leads(&[&[1, 2]], 7), &follows, 3, uncommitted);
    let joint = Err("the membership is joint");
    check(&leads(&[&[1, 2, 4], &[1, 2]], 8), &follows, 3, joint);
    let member = Err("the leader counts it as a member");
    check(&leads(&[&[1, 2, 3]], 8), &follows, 3, member);
    check(&leads(&[&[1, 2, 3], &[1, 2]], 8), &follows, 3, member);
    check(&leads(&[&[2, 3]], 8), &follows, 1, member);
    let mut learns = leads(&[&[1, 2]], 8);
    let nodes = vec![NodeConfig {
        node_id: 3,
        ..NodeConfig::default()
    }];
    learns.membership.as_mut().expect("it has one").nodes = nodes;
    check(&learns, &follows, 3, member);
}
