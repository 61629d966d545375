//! What the host does not give to the nodes, or to whoever asks them, is noted here for whoever accuses them.

use super::ask::Status;
use super::deeds::Shared;
use crate::host::Cost;
use crate::shortage::Shortage;

impl Shared {
    /// The call, and a note where it failed for want of something that the host did not give.
    pub(super) async fn noting<T>(
        &self,
        id: u64,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<tonic::Response<T>, tonic::Status> {
        let shortages = &self.config.shortages;
        call.await.inspect_err(|status| {
            let which = || format!("n{id}: {}", status.message());
            shortages.note("a question to a node", Cost::Delay, which, status);
        })
    }

    /// Notes what a node has met since it was heard before.
    pub(super) fn note_shortages(&self, id: u64, before: Option<&Status>) {
        let nodes = self.nodes.lock().unwrap();
        let now = nodes.get(&id).and_then(|node| node.status.as_ref());
        let counts = |status: &Status| status.metrics.shortages.clone();
        let before = before.map(counts).unwrap_or_default();
        let now = now.map(counts).unwrap_or_default();
        drop(nodes);
        let more = now
            .into_iter()
            .filter(|(name, times)| before.get(name) < Some(times));
        for (name, times) in more {
            if let Some(shortage) = Shortage::named(&name) {
                let said = || format!("n{id} met it {times} times");
                let shortages = &self.config.shortages;
                shortages.add(
                    shortage,
                    "a node's own sockets and files",
                    Cost::Delay,
                    said,
                );
            }
        }
    }
}
