//! `RaftAdminService`: membership and leadership, for operators.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use openraft::{
    ChangeMembers,
    async_runtime::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError},
};
use tonic::{Code, Request, Response, Status};

use super::{
    client::ok,
    convert,
    options::is_host_port,
    types::{Address, NodeId, Raft, Types},
};
use crate::wire::kiwi::{self, raft_admin_service_server::RaftAdminService};

/// Changes that wait for a learner to catch up may take so long.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an address, at most: the longest name (RFC 1035: 253), a colon and a port fit.
const MAX_ADDRESS: usize = 260;

/// Hands operators' wishes to openraft.
pub(crate) struct Admin {
    pub(crate) me: NodeId,
    /// Where this node says that it is reached.
    pub(crate) advertised: Address,
    pub(crate) raft: Raft,
    pub(crate) capabilities: Vec<String>,
}

type Answer<T> = Result<Response<T>, Status>;
type WriteError = RaftError<Types, ClientWriteError<Types>>;

#[tonic::async_trait]
impl RaftAdminService for Admin {
    /// Makes a cluster of nodes that have never been in one; asked of one of them, once. That one may leave its own
    /// addresses empty: it knows them.
    async fn initialize(
        &self,
        request: Request<kiwi::InitializeRequest>,
    ) -> Answer<kiwi::InitializeResponse> {
        let mut nodes = convert::nodes(request.into_inner().nodes)?;
        if let Some(mine) = nodes.get_mut(&self.me)
            && mine.raft.is_empty()
        {
            *mine = self.advertised.clone();
        }
        check_addresses(&nodes)?;
        if nodes.is_empty() {
            return Err(Status::invalid_argument("a cluster has at least one node"));
        }
        self.raft
            .initialize(nodes)
            .await
            .map_err(|error| match error {
                RaftError::APIError(InitializeError::NotInMembers(error)) => {
                    Status::invalid_argument(error.to_string())
                }
                RaftError::APIError(InitializeError::NotAllowed(error)) => {
                    Status::failed_precondition(error.to_string())
                }
                RaftError::Fatal(fatal) => Status::unavailable(fatal.to_string()),
            })?;
        Ok(Response::new(kiwi::InitializeResponse {
            response: Some(ok()),
            leader_id: self.raft.current_leader().await.unwrap_or(0),
        }))
    }

    /// Adds a node that gets all entries but has no vote; answers when it has caught up.
    async fn add_learner(
        &self,
        request: Request<kiwi::AddLearnerRequest>,
    ) -> Answer<kiwi::AddLearnerResponse> {
        let request = request.into_inner();
        let wire = request
            .node
            .ok_or_else(|| Status::invalid_argument("the node is missing"))?;
        let (id, address) = convert::node(wire)?;
        if request.node_id != id {
            return Err(Status::invalid_argument("the two node ids differ"));
        }
        check_address(id, &address)?;
        change(self.raft.add_learner(id, address, true)).await?;
        Ok(Response::new(kiwi::AddLearnerResponse {
            response: Some(ok()),
        }))
    }

    /// Makes exactly these nodes the voters, through joint consensus; new ones become learners first.
    async fn change_membership(
        &self,
        request: Request<kiwi::ChangeMembershipRequest>,
    ) -> Answer<kiwi::ChangeMembershipResponse> {
        let request = request.into_inner();
        let members = convert::nodes(request.members)?;
        check_addresses(&members)?;
        if members.is_empty() {
            return Err(Status::invalid_argument("a cluster has at least one voter"));
        }
        let known = self.known_nodes();
        for (id, address) in &members {
            match known.get(id) {
                Some(old) if old != address => {
                    return Err(Status::invalid_argument(format!(
                        "node {id} is a member at another address; remove it first"
                    )));
                }
                Some(_) => {}
                None => {
                    change(self.raft.add_learner(*id, address.clone(), true)).await?;
                }
            }
        }
        let voters: BTreeSet<NodeId> = members.into_keys().collect();
        let members = ChangeMembers::ReplaceAllVoters(voters);
        change(self.raft.change_membership(members, request.retain)).await?;
        Ok(Response::new(kiwi::ChangeMembershipResponse {
            response: Some(ok()),
        }))
    }

    /// Removes a voter or a learner. A leader that removes itself hands its leadership over.
    async fn remove_node(
        &self,
        request: Request<kiwi::RemoveNodeRequest>,
    ) -> Answer<kiwi::RemoveNodeResponse> {
        let id = convert::node_id(request.into_inner().node_id)?;
        let (is_member, is_voter) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            let is_voter = membership.voter_ids().any(|voter| voter == id);
            (membership.get_node(&id).is_some(), is_voter)
        };
        if !is_member {
            return Err(Status::not_found(format!("node {id} is no member")));
        }
        let one = BTreeSet::from([id]);
        let members = if is_voter {
            ChangeMembers::RemoveVoters(one)
        } else {
            ChangeMembers::RemoveNodes(one)
        };
        change(self.raft.change_membership(members, false)).await?;
        Ok(Response::new(kiwi::RemoveNodeResponse {
            response: Some(ok()),
        }))
    }

    async fn get_node_capabilities(
        &self,
        _: Request<kiwi::GetNodeCapabilitiesRequest>,
    ) -> Answer<kiwi::GetNodeCapabilitiesResponse> {
        Ok(Response::new(kiwi::GetNodeCapabilitiesResponse {
            response: Some(ok()),
            node_id: self.me,
            capabilities: self.capabilities.clone(),
        }))
    }

    /// Asks this node, the leader, to hand over; answers before the other node leads.
    async fn transfer_leadership(
        &self,
        request: Request<kiwi::TransferLeadershipRequest>,
    ) -> Answer<kiwi::TransferLeadershipResponse> {
        let to = convert::node_id(request.into_inner().to_node_id)?;
        let (leads, is_voter) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let voters = metrics
                .membership_config
                .membership()
                .voter_ids()
                .collect::<BTreeSet<_>>();
            (
                metrics.state == openraft::ServerState::Leader,
                voters.contains(&to),
            )
        };
        if !leads {
            return Err(Status::failed_precondition("this node does not lead"));
        }
        if !is_voter {
            return Err(Status::not_found(format!("node {to} is no voter")));
        }
        // A leader that hands over to itself would refuse writes for ever.
        if to != self.me {
            let asked = self.raft.trigger().transfer_leader(to).await;
            asked.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
        }
        Ok(Response::new(kiwi::TransferLeadershipResponse {
            response: Some(ok()),
        }))
    }
}

impl Admin {
    fn known_nodes(&self) -> BTreeMap<NodeId, Address> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let nodes = metrics.membership_config.membership().nodes();
        nodes.map(|(id, address)| (*id, address.clone())).collect()
    }
}

/// Awaits a change and says why it did not happen.
async fn change<T>(pending: impl Future<Output = Result<T, WriteError>>) -> Result<T, Status> {
    let changed = tokio::time::timeout(CHANGE_TIMEOUT, pending).await;
    let changed =
        changed.map_err(|_| Status::deadline_exceeded("the change is not known to be done"))?;
    changed.map_err(|error| match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Status::failed_precondition(format!("this node does not lead: {forward}"))
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            let code = match &error {
                ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UncommittedLeaderLog(_) => Code::Aborted,
                ChangeMembershipError::LearnerNotFound(_) => Code::NotFound,
                _ => Code::InvalidArgument,
            };
            Status::new(code, error.to_string())
        }
        other => Status::unavailable(other.to_string()),
    })
}

fn check_addresses(nodes: &BTreeMap<NodeId, Address>) -> Result<(), Status> {
    for (id, address) in nodes {
        check_address(*id, address)?;
    }
    Ok(())
}

/// Every membership entry carries the addresses: they are short, and they can be dialled.
fn check_address(id: NodeId, address: &Address) -> Result<(), Status> {
    let refuse = |reason| Err(Status::invalid_argument(format!("node {id} {reason}")));
    if address.raft.is_empty() {
        return refuse("has no address".to_owned());
    }
    let given = [&address.raft, &address.resp];
    for text in given.into_iter().filter(|text| !text.is_empty()) {
        if text.len() > MAX_ADDRESS {
            let length = text.len();
            return refuse(format!(
                "has an address of {length} bytes, {MAX_ADDRESS} are allowed"
            ));
        }
        if !is_host_port(text) {
            return refuse(format!("has the address {text:?}, which is not HOST:PORT"));
        }
    }
    Ok(())
}
