//! One question at one node, by its own address, and its answer in time.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::Endpoint;

use super::Kiwi;
use crate::host::{Cost, Shortages};
use crate::shortage::Shortage;
use crate::target::admin::STATUS_DEADLINE;
use crate::target::{Ready, TargetError};
use crate::wire::chaos::chaos_service_client::ChaosServiceClient;
use crate::wire::kiwi::raft_admin_service_client::RaftAdminServiceClient;
use crate::wire::metadata::AuthorizedChannel;

fn endpoint(address: SocketAddr) -> Endpoint {
    let uri = format!("http://{address}");
    let endpoint = Endpoint::from_shared(uri).expect("an address makes a URI");
    endpoint.connect_timeout(STATUS_DEADLINE).tcp_nodelay(true)
}

/// The answer, where it comes in time.
pub(super) async fn within<T>(
    id: u64,
    what: &'static str,
    deadline: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, TargetError> {
    let seen = match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => return Ok(answer.into_inner()),
        Ok(Err(status)) => {
            let said = format!("{:?}: {}", status.code(), status.message());
            match Shortage::of(&status) {
                Some(shortage) => format!("{said}: the host has {shortage}"),
                None => said,
            }
        }
        Err(_) => format!("no answer within {deadline:?}"),
    };
    Err(TargetError::Ask { id, what, seen })
}

impl Kiwi {
    /// A connection to a node, made when it is first used.
    pub(super) fn channel(&self, id: u64, address: SocketAddr) -> AuthorizedChannel {
        self.credentials(id).on(endpoint(address).connect_lazy())
    }

    /// The operators' service of a node.
    pub(super) fn operators(&self, node: &Ready) -> RaftAdminServiceClient<AuthorizedChannel> {
        RaftAdminServiceClient::new(self.channel(node.id, node.at.clients))
    }

    /// The bench's own service of a node.
    pub(super) fn chaos(&self, node: &Ready) -> ChaosServiceClient<AuthorizedChannel> {
        // A node that did not say where it serves that is asked in vain.
        let address = node.at.chaos.unwrap_or(node.at.clients);
        ChaosServiceClient::new(self.channel(node.id, address))
    }
}

/// The call, and a note where it failed for want of something that the host did not give.
pub(super) async fn noting<T>(
    shortages: &Shortages,
    id: u64,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<tonic::Response<T>, tonic::Status> {
    call.await.inspect_err(|status| {
        let which = || format!("n{id}: {}", status.message());
        shortages.note("a question to a node", Cost::Delay, which, status);
    })
}
