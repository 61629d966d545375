//! `whitewater.chaos.v1`: what the bench asks of its own node, on its own listener, past the log and past the clients.

use std::pin::Pin;

use futures::{Stream, stream};
use tonic::{Request, Response, Status};

use super::{
    clock::{CLOCK, FASTEST},
    convert,
    defect::Planted,
    disk::{Disk, Harm, Probe},
    state_machine::StateMachine,
};
use crate::wire::chaos::{self, chaos_service_server::ChaosService};

/// Answers from this node's own state, whatever its role.
pub(crate) struct Chaos {
    pub(crate) state: StateMachine,
    pub(crate) planted: Planted,
    pub(crate) disk: Disk,
    /// Where a file can be made to try the disk.
    pub(crate) probe: std::path::PathBuf,
}

impl Chaos {
    /// Runs a read of the whole state off the async threads.
    async fn whole<T: Send + 'static>(
        &self,
        read: impl FnOnce(&StateMachine) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let state = self.state.clone();
        let read = tokio::task::spawn_blocking(move || read(&state)).await;
        Ok(read.map_err(|error| Status::internal(error.to_string()))??)
    }
}

#[tonic::async_trait]
impl ChaosService for Chaos {
    async fn state_hash(
        &self,
        _: Request<chaos::StateHashRequest>,
    ) -> Result<Response<chaos::StateHashResponse>, Status> {
        let found = self.whole(StateMachine::hash).await?;
        Ok(Response::new(chaos::StateHashResponse {
            applied: convert::log_id_out(found.applied),
            hash: format!("{:032x}", found.hash),
            keys: found.keys,
        }))
    }

    type StateDumpStream =
        Pin<Box<dyn Stream<Item = Result<chaos::StateDumpResponse, Status>> + Send>>;

    async fn state_dump(
        &self,
        _: Request<chaos::StateDumpRequest>,
    ) -> Result<Response<Self::StateDumpStream>, Status> {
        let found = self.whole(StateMachine::dump).await?;
        let applied = convert::log_id_out(found.applied);
        let rows = found.rows.into_iter().map(move |(key, value)| {
            Ok(chaos::StateDumpResponse {
                applied,
                key: key.into(),
                value: value.into(),
            })
        });
        Ok(Response::new(Box::pin(stream::iter(rows))))
    }

    async fn defect_counters(
        &self,
        _: Request<chaos::DefectCountersRequest>,
    ) -> Result<Response<chaos::DefectCountersResponse>, Status> {
        let (reached, triggered) = self.planted.counts();
        let name = self.planted.defect().map(super::Defect::name);
        Ok(Response::new(chaos::DefectCountersResponse {
            defect: name.unwrap_or_default(),
            reached,
            triggered,
        }))
    }

    async fn set_disk(
        &self,
        request: Request<chaos::SetDiskRequest>,
    ) -> Result<Response<chaos::SetDiskResponse>, Status> {
        let request = request.into_inner();
        let harm = Harm {
            lose_unsynced: request.lose_unsynced,
            slow_sync: std::time::Duration::from_millis(request.slow_sync_ms),
            lying_sync: request.lying_sync,
            sync_fails: request.sync_fails,
            full: request.full,
            read_fails: request.read_fails,
            write_back_per_mille: request.write_back_per_mille,
            torn: request.torn,
            hold_sync: request.hold_sync,
            flip_reads: request.flip_reads,
        };
        let (disk, path) = (self.disk.clone(), self.probe.clone());
        let probed = tokio::task::spawn_blocking(move || {
            disk.set(harm)?;
            std::io::Result::Ok((disk.probe(&path)?, disk.seen()))
        });
        let probed = probed.await;
        let (probe, seen) = probed.map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(chaos::SetDiskResponse {
            unsynced_bytes: seen.unsynced_bytes,
            syncs: seen.syncs,
            harmed: seen.harmed,
            probe: Some(chaos::DiskProbe {
                bytes: Probe::BYTES,
                early_bytes: probe.early_bytes,
                synced_bytes: probe.synced_bytes,
                sync_us: probe
                    .sync
                    .map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
                write_error: probe.write_error,
                read_error: probe.read_error,
                read_right: probe.read_right,
            }),
        }))
    }

    async fn look_at_disk(
        &self,
        _: Request<chaos::LookAtDiskRequest>,
    ) -> Result<Response<chaos::LookAtDiskResponse>, Status> {
        let seen = self.disk.seen();
        Ok(Response::new(chaos::LookAtDiskResponse {
            unsynced_bytes: seen.unsynced_bytes,
            syncs: seen.syncs,
            syncing: seen.syncing,
            harmed: seen.harmed,
        }))
    }

    async fn set_clock(
        &self,
        request: Request<chaos::SetClockRequest>,
    ) -> Result<Response<chaos::SetClockResponse>, Status> {
        let chaos::SetClockRequest { rate, step_ms } = request.into_inner();
        if !(0.0..=FASTEST).contains(&rate) {
            let words = format!("a clock runs 0 to {FASTEST} times as fast, not {rate}");
            return Err(Status::invalid_argument(words));
        }
        let shown = CLOCK.set(rate, std::time::Duration::from_millis(step_ms));
        Ok(Response::new(chaos::SetClockResponse {
            now_ns: u64::try_from(shown.as_nanos()).unwrap_or(u64::MAX),
            rate,
        }))
    }
}
