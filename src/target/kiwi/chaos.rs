//! What `whitewater.chaos.v1` tells of a node's state, and of the defect that is planted in it.

use std::time::Duration;

use super::Kiwi;
use super::ask::{noting, within};
use crate::target::admin::ANSWER_DEADLINE;
use crate::target::{
    Asked, DefectCounters, Defects, Ready, StateDump, StateHash, States, TargetError,
};
use crate::wire::chaos::{DefectCountersRequest, StateDumpRequest, StateHashRequest};
use crate::wire::kiwi::LogId;

/// A whole state is read and sent within this.
const DUMP_WITHIN: Duration = Duration::from_secs(2);

fn term_and_index(at: &LogId) -> (u64, u64) {
    let term = at.leader_id.as_ref().map_or(0, |leader| leader.term);
    (term, at.index)
}

impl States for Kiwi {
    fn hash<'a>(&'a self, node: &'a Ready) -> Asked<'a, StateHash> {
        Box::pin(self.state_hash(node))
    }

    fn dump<'a>(&'a self, node: &'a Ready) -> Asked<'a, StateDump> {
        Box::pin(self.state_dump(node))
    }
}

impl Kiwi {
    async fn state_hash(&self, node: &Ready) -> Result<StateHash, TargetError> {
        let mut client = self.chaos(node);
        let call = client.state_hash(StateHashRequest {});
        let call = noting(&self.config.shortages, node.id, call);
        let answer = within(node.id, "its state's hash", ANSWER_DEADLINE, call).await?;
        Ok(StateHash {
            applied: answer.applied.as_ref().map(term_and_index),
            hash: answer.hash,
            keys: answer.keys,
        })
    }

    async fn state_dump(&self, node: &Ready) -> Result<StateDump, TargetError> {
        let (id, what) = (node.id, "its state");
        let mut client = self.chaos(node);
        let read = async {
            let mut dump = StateDump::default();
            let mut rows = client.state_dump(StateDumpRequest {}).await?.into_inner();
            while let Some(row) = rows.message().await? {
                dump.applied = row.applied.as_ref().map(term_and_index);
                dump.rows.insert(plain(&row.key), plain(&row.value));
            }
            Ok(dump)
        };
        let failed = |seen| TargetError::Ask { id, what, seen };
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
            let hash = self.state_hash(node).await?;
            dump.applied = hash.applied.filter(|_| hash.keys == 0);
        }
        Ok(dump)
    }

    async fn defect_counters(&self, node: &Ready) -> Result<DefectCounters, TargetError> {
        let mut client = self.chaos(node);
        let call = client.defect_counters(DefectCountersRequest {});
        let answer = within(node.id, "its defect's counters", ANSWER_DEADLINE, call).await?;
        Ok(DefectCounters {
            defect: answer.defect,
            reached: answer.reached,
            triggered: answer.triggered,
        })
    }
}

impl Defects for Kiwi {
    fn counters<'a>(&'a self, node: &'a Ready) -> Asked<'a, DefectCounters> {
        Box::pin(self.defect_counters(node))
    }
}

/// As text; what is no plain text is escaped.
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
