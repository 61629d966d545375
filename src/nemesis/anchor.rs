//! Waits for what an episode is anchored to: another leader, the k-th message of a kind, a tail that nobody commits, a
//! sync under way.
//!
//! It looks at what the nodes said last, at what the leader says of its disk, and at the proxy's counters; whoever calls it does so every few milliseconds
//! while the plan's clock runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::injector::Injector;
use crate::fault::NodeId;
use crate::fault::plan::{Seen, When};
use crate::proxy::Method;

use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a leader is asked for its disk.
const ASK_DISK_EVERY: Duration = Duration::from_millis(2);

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
    disk: Option<DiskWatch>,
}

/// Asks whoever leads for its disk, again and again, for as long as somebody waits.
#[derive(Debug)]
struct DiskWatch {
    syncing: Arc<AtomicBool>,
    _stops_at_last: DropGuard,
}

impl DiskWatch {
    fn begin(injector: Injector) -> DiskWatch {
        let (stop, syncing) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let (stopped, seen) = (stop.clone(), syncing.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                if let Some(leader) = injector.leader()
                    && let Ok(disk) = injector.cluster.disk(leader).await
                {
                    // The last word counts: a sync that has ended is not pending.
                    seen.store(disk.syncing > 0, Ordering::Relaxed);
                }
                tokio::time::sleep(ASK_DISK_EVERY).await;
            }
        }));
        DiskWatch {
            syncing,
            _stops_at_last: stopped.drop_guard(),
        }
    }
}

impl Watched {
    pub(super) fn begin(
        injector: &Injector,
        episode: usize,
        when: When,
        until: Duration,
    ) -> Watched {
        Watched {
            episode,
            until,
            when,
            led: injector.leads(),
            messages: count(injector, when),
            tail: None,
            disk: (when == When::SyncPending).then(|| DiskWatch::begin(injector.clone())),
        }
    }

    /// Whether it has happened by now.
    pub(super) fn is_there(&mut self, injector: &Injector) -> bool {
        match self.when {
            When::LeaderChange => injector.leads().is_some_and(|now| Some(now) > self.led),
            When::UncommittedTail => self.has_tail(injector),
            When::SyncPending => {
                let disk = self.disk.as_ref();
                disk.is_some_and(|disk| disk.syncing.load(Ordering::Relaxed))
            }
            When::Message { count: wanted, .. } => {
                count(injector, self.when).saturating_sub(self.messages) >= wanted
            }
        }
    }

    /// A leader that says twice, at two instants, that it has more than the same entries committed.
    fn has_tail(&mut self, injector: &Injector) -> bool {
        let Some((_, leader)) = injector.leads() else {
            return false;
        };
        let status = injector.cluster.view(leader).and_then(|view| view.status);
        let Some(status) = status else {
            return false;
        };
        let committed = status.says.committed.unwrap_or_default();
        let before = self.tail.take();
        if status.says.last.unwrap_or_default() <= committed {
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

fn count(injector: &Injector, when: When) -> u64 {
    let methods: &[Method] = match when {
        When::LeaderChange | When::UncommittedTail | When::SyncPending => return 0,
        When::Message { message, .. } => match message {
            Seen::Append => &[Method::AppendEntries, Method::StreamAppend],
            Seen::Vote => &[Method::Vote],
            Seen::Snapshot => return injector.network.snapshot_pieces_between_nodes(),
        },
    };
    injector.network.requests_between_nodes(methods)
}
