//! What answers come to: who leads, and who has left.

use super::*;
use crate::journal::{Membership, Role};

/// What a node says that knows this leader; 0: none.
fn says(id: u64, term: u64, leader: u64) -> (u64, NodeStatus) {
    let role = match id == leader {
        true => Role::Leader,
        false => Role::Follower,
    };
    let status = NodeStatus {
        role,
        term: Some(term),
        leader: Some(leader).filter(|&leader| leader != 0),
        ..NodeStatus::default()
    };
    (id, status)
}

fn check(answers: &[(u64, NodeStatus)], members: usize, expected: Option<(u64, u64)>) {
    let heard = answers.iter().cloned().collect();
    let seen = agreed(&heard, members).map(|seen| (seen.leader, seen.term));
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
fn leads(sets: &[&[u64]], committed: u64) -> NodeStatus {
    let (_, status) = says(1, 3, 1);
    NodeStatus {
        membership: Some(Membership {
            voters: sets.iter().map(|set| set.to_vec()).collect(),
            nodes: Vec::new(),
            at: Some((3, 1, 8)),
        }),
        committed: Some(committed),
        ..status
    }
}

#[test]
fn a_node_has_left_when_a_leader_that_is_followed_has_committed_it() {
    let check = |leader: &NodeStatus, others: &[(u64, NodeStatus)], node, expected| {
        let all = others.iter().cloned().chain([(1, leader.clone())]);
        assert_eq!(departed(1, &all.collect(), node), expected, "{leader:?}");
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
    learns.membership.as_mut().expect("it has one").nodes = vec![3];
    check(&learns, &follows, 3, member);
}
