//! Members and leadership, by Kiwi's service for operators; and what a trace needs to know of a member that was replaced.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::Kiwi;
use super::ask::within;
use crate::target::admin::Admin;
use crate::target::{Asked, Departure, Member, Ready, TargetError, Wiring};
use crate::wire::kiwi::{
    ChangeMembershipRequest, InitializeRequest, NodeConfig, RemoveNodeRequest,
    TransferLeadershipRequest,
};

/// Initialize waits for the first log entry to be durable.
const INITIALIZE_DEADLINE: Duration = Duration::from_secs(5);

/// A node's entry in the membership.
fn entry(member: &Member) -> NodeConfig {
    NodeConfig {
        node_id: member.id,
        raft_addr: member
            .advertised
            .as_ref()
            .map(SocketAddr::to_string)
            .unwrap_or_default(),
        resp_addr: String::new(),
    }
}

impl Kiwi {
    /// Makes these nodes a cluster, through the first of them.
    pub(super) async fn initialize(&self, members: &[Member]) -> Result<(), TargetError> {
        let what = "a cluster (Initialize)";
        let first = members.first();
        let id = first.map_or(0, |first| first.id);
        let Some(ready) = first.and_then(|first| first.ready) else {
            let seen = "it is not ready".to_owned();
            return Err(TargetError::Ask { id, what, seen });
        };
        let request = InitializeRequest {
            nodes: members.iter().map(entry).collect(),
        };
        let mut client = self.operators(&ready);
        let call = client.initialize(request);
        let answer = within(id, what, INITIALIZE_DEADLINE, call).await?;
        match answer.response {
            Some(response) if !response.success => Err(TargetError::Ask {
                id,
                what,
                seen: response.message,
            }),
            _ => Ok(()),
        }
    }
}

impl Admin for Kiwi {
    fn transfer<'a>(&'a self, leader: &'a Ready, to: u64, limit: Duration) -> Asked<'a, ()> {
        Box::pin(async move {
            let mut client = self.operators(leader);
            let call = client.transfer_leadership(TransferLeadershipRequest { to_node_id: to });
            let answer = within(leader.id, "the leadership", limit, call);
            answer.await.map(drop)
        })
    }

    fn set_voters<'a>(
        &'a self,
        leader: &'a Ready,
        voters: &'a [Member],
        limit: Duration,
    ) -> Asked<'a, ()> {
        Box::pin(async move {
            let request = ChangeMembershipRequest {
                members: voters.iter().map(entry).collect(),
                retain: true,
            };
            let mut client = self.operators(leader);
            let call = client.change_membership(request);
            let answer = within(leader.id, "other voters", limit, call);
            answer.await.map(drop)
        })
    }

    fn remove<'a>(&'a self, leader: &'a Ready, node: u64, limit: Duration) -> Asked<'a, ()> {
        Box::pin(async move {
            let mut client = self.operators(leader);
            let call = client.remove_node(RemoveNodeRequest { node_id: node });
            let answer = within(leader.id, "a node's departure", limit, call);
            answer.await.map(drop)
        })
    }

    fn replaced(&self, wiring: &Wiring, left: &Departure) -> io::Result<()> {
        note_departure(&wiring.trace(left.node), left)
    }
}

/// Adds the line to a dead node's trace that lets the next life begin from nothing: `replaced`, in the checkers' format.
/// What the node left half-written is cut off first, as it would itself; so is this line, where it cannot be written
/// whole.
fn note_departure(path: &Path, left: &Departure) -> io::Result<()> {
    let mut file = std::fs::File::options()
        .read(true)
        .append(true)
        .open(path)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|&byte| byte == b'\n');
    text.truncate(whole.map_or(0, |end| end + 1));
    file.set_len(text.len() as u64)?;
    let last = text.trim_ascii_end().rsplit(|&byte| byte == b'\n').next();
    let last: serde_json::Value = serde_json::from_slice(last.unwrap_or_default())?;
    let seq = last["seq"].as_u64().ok_or(io::ErrorKind::InvalidData)? + 1;
    let line = serde_json::json!({
        "seq": seq,
        "t_us": 0,
        "node": left.node,
        "e": "replaced",
        "last": left.by,
    });
    let written = file.write_all(format!("{line}\n").as_bytes());
    if written.is_err() {
        file.set_len(text.len() as u64)?;
    }
    written
}
