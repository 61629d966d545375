//! Everything that a node holds, asked from it directly.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deeds::Shared;
use super::{Cluster, ClusterError};
use crate::wire::chaos::StateDumpRequest;

/// A whole state is read and sent within this.
const DUMP_WITHIN: Duration = Duration::from_secs(2);

/// Everything that a node holds, and where in the log it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDump {
    /// Term and index of the last log entry that was applied; `None`: nothing was.
    pub applied: Option<(u64, u64)>,
    /// Keys with their values; what is no plain text is escaped.
    pub rows: BTreeMap<String, String>,
}

impl Cluster {
    /// Asks a node for everything that it holds.
    ///
    /// # Errors
    /// Where it is not ready, or does not answer in time.
    pub async fn state_dump(&self, id: u64) -> Result<StateDump, ClusterError> {
        self.on_thread(move |shared| async move { shared.state_dump(id).await })
            .await
    }
}

impl Shared {
    async fn state_dump(&self, id: u64) -> Result<StateDump, ClusterError> {
        let ready = self.ready("ask", id)?;
        let mut client = self.chaos(&ready);
        let read = async {
            let mut dump = StateDump::default();
            let mut rows = client.state_dump(StateDumpRequest {}).await?.into_inner();
            while let Some(row) = rows.message().await? {
                dump.applied = row.applied.map(|at| {
                    let term = at.leader_id.map_or(0, |leader| leader.term);
                    (term, at.index)
                });
                dump.rows.insert(plain(&row.key), plain(&row.value));
            }
            Ok(dump)
        };
        let what = "its state";
        let failed = |seen| ClusterError::Ask { id, what, seen };
        let read: Result<StateDump, tonic::Status> =
            match tokio::time::timeout(DUMP_WITHIN, read).await {
                Ok(read) => read,
                Err(_) => return Err(failed(format!("no answer within {DUMP_WITHIN:?}"))),
            };
        let mut dump = read.map_err(|status| {
            let (code, words) = (status.code(), status.message());
            failed(format!("{code:?}: {words}"))
        })?;
        if dump.rows.is_empty() {
            // Who holds nothing sends no row that could say where in the log that is.
            let hash = self.state_hash(id).await?;
            dump.applied = hash.applied.filter(|_| hash.keys == 0);
        }
        Ok(dump)
    }
}

fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let kept = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(kept)
        })
        .collect()
}
