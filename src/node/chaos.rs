//! `whitewater.chaos.v1`: what the bench asks of its own node, on its own listener, past the log and past the clients.

use std::pin::Pin;

use futures::{Stream, stream};
use tonic::{Request, Response, Status};

use super::{convert, defect::Planted, state_machine::StateMachine};
use crate::wire::chaos::{self, chaos_service_server::ChaosService};

/// Answers from this node's own state, whatever its role.
pub(crate) struct Chaos {
    pub(crate) state: StateMachine,
    pub(crate) planted: Planted,
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
}
