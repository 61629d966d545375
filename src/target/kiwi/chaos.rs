//! What `whitewater.chaos.v1` tells of a node's state, and what it does to its disk and its clock.

use std::time::{Duration, Instant};

use super::Kiwi;
use super::ask::{noting, within};
use crate::target::admin::{ANSWER_DEADLINE, STATUS_DEADLINE};
use crate::target::{
    Asked, ClockSeen, DefectCounters, DiskProbe, DiskProof, DiskSeen, DiskSwitches, Ready,
    StateDump, StateHash, States, Switches, TargetError,
};
use crate::wire::chaos::{
    self, DefectCountersRequest, LookAtDiskRequest, SetClockRequest, SetDiskRequest,
    StateDumpRequest, StateHashRequest,
};
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

    async fn harm_disk(
        &self,
        node: &Ready,
        switches: DiskSwitches,
    ) -> Result<DiskProbe, TargetError> {
        let mut client = self.chaos(node);
        let slow = u64::try_from(switches.slow_sync.as_millis()).unwrap_or(u64::MAX);
        let call = client.set_disk(SetDiskRequest {
            lose_unsynced: self.config.power_loss || switches.write_back_per_mille > 0,
            slow_sync_ms: slow,
            lying_sync: switches.lying_sync,
            sync_fails: switches.sync_fails,
            full: switches.full,
            read_fails: switches.read_fails,
            write_back_per_mille: switches.write_back_per_mille,
            torn: switches.torn,
            hold_sync: switches.hold_sync,
            flip_reads: switches.flip_reads,
        });
        // The disk is tried, which takes as long as a sync does.
        let deadline = ANSWER_DEADLINE + switches.slow_sync;
        let answer = within(node.id, "another disk", deadline, call).await?;
        Ok(answer.probe.map(probe).unwrap_or_default())
    }

    async fn look_at_disk(&self, node: &Ready) -> Result<DiskSeen, TargetError> {
        let mut client = self.chaos(node);
        let call = client.look_at_disk(LookAtDiskRequest {});
        let answer = within(node.id, "its disk", STATUS_DEADLINE, call).await?;
        Ok(DiskSeen {
            unsynced_bytes: answer.unsynced_bytes,
            syncs: answer.syncs,
            syncing: answer.syncing,
            harmed: answer.harmed,
        })
    }

    async fn turn_clock(
        &self,
        node: &Ready,
        rate: f64,
        step: Duration,
    ) -> Result<ClockSeen, TargetError> {
        let mut client = self.chaos(node);
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let asked = Instant::now();
        let call = client.set_clock(SetClockRequest { rate, step_ms });
        let answer = within(node.id, "another clock", ANSWER_DEADLINE, call).await?;
        Ok(ClockSeen {
            asked,
            heard: Instant::now(),
            shows: Duration::from_nanos(answer.now_ns),
            rate: answer.rate,
        })
    }

    async fn counters(&self, node: &Ready) -> Result<DefectCounters, TargetError> {
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

impl Switches for Kiwi {
    fn set_disk<'a>(&'a self, node: &'a Ready, switches: DiskSwitches) -> Asked<'a, DiskProof> {
        Box::pin(async move { Ok(DiskProof::File(self.harm_disk(node, switches).await?)) })
    }

    fn disk<'a>(&'a self, node: &'a Ready) -> Asked<'a, DiskSeen> {
        Box::pin(self.look_at_disk(node))
    }

    fn set_clock<'a>(&'a self, node: &'a Ready, rate: f64, step: Duration) -> Asked<'a, ClockSeen> {
        Box::pin(self.turn_clock(node, rate, step))
    }

    fn defect_counters<'a>(&'a self, node: &'a Ready) -> Asked<'a, DefectCounters> {
        Box::pin(self.counters(node))
    }
}

fn probe(seen: chaos::DiskProbe) -> DiskProbe {
    DiskProbe {
        bytes: seen.bytes,
        early_bytes: seen.early_bytes,
        synced_bytes: seen.synced_bytes,
        sync_us: seen.sync_us,
        write_error: seen.write_error,
        read_error: seen.read_error,
        read_right: seen.read_right,
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
