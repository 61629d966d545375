//! Waits for what an episode is anchored to: another leader, the k-th message of a kind, a tail that nobody commits.
//!
//! It looks at what the nodes said last and at the proxy's counters; whoever calls it does so every few milliseconds
//! while the plan's clock runs.

use std::time::{Duration, Instant};

use super::hand::Hand;
use crate::fault::NodeId;
use crate::fault::plan::{Seen, When};
use crate::proxy::Method;

/// An episode that waits for its anchor.
#[derive(Debug)]
pub(super) struct Watched {
    /// Its place in the plan.
    pub(super) episode: usize,
    /// On the plan's clock: it is skipped after that.
    pub(super) until: Duration,
    when: When,
    /// Term and node that led when the watch began.
    led: Option<(u64, NodeId)>,
    /// How many messages there had been by then.
    messages: u64,
    /// A leader, up to where it had committed, and when it said so.
    tail: Option<(NodeId, u64, Instant)>,
}

impl Watched {
    pub(super) fn begin(hand: &Hand, episode: usize, when: When, until: Duration) -> Watched {
        Watched {
            episode,
            until,
            when,
            led: hand.leads(),
            messages: count(hand, when),
            tail: None,
        }
    }

    /// Whether it has happened by now.
    pub(super) fn is_there(&mut self, hand: &Hand) -> bool {
        match self.when {
            When::LeaderChange => hand.leads().is_some_and(|now| Some(now) > self.led),
            When::UncommittedTail => self.has_tail(hand),
            When::Message { count: wanted, .. } => {
                count(hand, self.when).saturating_sub(self.messages) >= wanted
            }
        }
    }

    /// A leader that says twice, at two instants, that it has more than the same entries committed.
    fn has_tail(&mut self, hand: &Hand) -> bool {
        let Some((_, leader)) = hand.leads() else {
            return false;
        };
        let status = hand.cluster.view(leader).and_then(|view| view.status);
        let Some(status) = status else {
            return false;
        };
        let committed = status.metrics.committed.map_or(0, |at| at.index);
        let before = self.tail.take();
        if status.metrics.last_log_index <= committed {
            return false;
        }
        let same = |&(who, up_to, _): &(NodeId, u64, Instant)| (who, up_to) == (leader, committed);
        let first = before
            .filter(same)
            .unwrap_or((leader, committed, status.heard));
        self.tail = Some(first);
        status.heard > first.2
    }
}

fn count(hand: &Hand, when: When) -> u64 {
    let methods: &[Method] = match when {
        When::LeaderChange | When::UncommittedTail => return 0,
        When::Message { message, .. } => match message {
            Seen::Append => &[Method::AppendEntries, Method::StreamAppend],
            Seen::Vote => &[Method::Vote],
            Seen::Snapshot => &[Method::InstallSnapshot],
        },
    };
    hand.network.requests_between_nodes(methods)
}
