//! `RaftClientService`: writes through the log, reads by the read mode.
//!
//! A refusal says what is known of the request's fate: "not-applied" only where openraft documents that it refused
//! before it appended an entry, else "unknown". Nothing is retried or forwarded.

use std::{future::Future, time::Duration};

use futures::TryStreamExt;
use openraft::{
    Instant, ReadPolicy, ServerState,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError},
    raft::ClientWriteResponse,
};
use tonic::{Code, Request, Response, Status, metadata::MetadataValue};

use super::{
    convert::Malformed,
    defect::{Planted, hooks},
    options::ReadMode,
    state_machine::{Found, StateMachine},
    types::{Applied, Binlog, Command, Condition, LogId, NodeId, Raft, Types},
};
use crate::wire::{
    kiwi::{self, raft_client_service_server::RaftClientService},
    metadata::{NOT_APPLIED, OUTCOME, UNKNOWN},
};

/// Bytes of a key, at most.
pub(crate) const MAX_KEY: usize = 64 << 10;
/// Bytes of a value, at most.
pub(crate) const MAX_VALUE: usize = 1 << 20;
/// Bytes of one command, at most: its keys, its values and [`ENTRY_COST`] for each of its entries. It has to fit into one
/// message between nodes, with a batch of others before it.
pub(crate) const MAX_COMMAND: usize = 4 << 20;
/// Bytes of an entry beside its key and its value: no fewer than the log (25) and the wire spend on it.
const ENTRY_COST: usize = 32;

const LEADER_ID: &str = "kiwi-leader-id";
const LEADER_ADDR: &str = "kiwi-leader-addr";

/// The store as clients use it; clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) me: NodeId,
    pub(crate) raft: Raft,
    pub(crate) state: StateMachine,
    pub(crate) reads: ReadMode,
    pub(crate) timeout: Duration,
    /// How long a quorum's acknowledgement vouches for a leader: see [`super::NodeArgs::lease`].
    pub(crate) lease: Duration,
    pub(crate) planted: Planted,
}

/// What is known of a request that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    NotApplied,
    Unknown,
}

/// A request that was not carried out, as every protocol reports it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) fate: Fate,
    pub(crate) reason: String,
    /// The leader with its addresses, as far as this node knows.
    pub(crate) leader: Option<(NodeId, super::types::Address)>,
}

impl Refusal {
    pub(super) fn new(code: Code, fate: Fate, reason: impl ToString) -> Refusal {
        Refusal {
            code,
            fate,
            reason: reason.to_string(),
            leader: None,
        }
    }

    /// The node refused before it proposed anything.
    fn not_leader(forward: ForwardToLeader<Types>) -> Refusal {
        let leader = forward.leader_id.zip(forward.leader_node);
        let code = match leader {
            Some(_) => Code::FailedPrecondition,
            None => Code::Unavailable,
        };
        let reason = match &leader {
            Some((id, _)) => format!("node {id} leads"),
            None => "no leader is known".to_owned(),
        };
        Refusal {
            leader,
            ..Refusal::new(code, Fate::NotApplied, reason)
        }
    }
}

impl Refusal {
    /// What openraft says of a write that it did not carry out.
    fn of_write(error: ClientWriteError<Types>) -> Refusal {
        match error {
            ClientWriteError::ForwardToLeader(forward) => Refusal::not_leader(forward),
            ClientWriteError::LogEntryDiscarded(forward) => {
                let reason = "the leader changed while the entry was in its log";
                Refusal {
                    leader: forward.leader_id.zip(forward.leader_node),
                    ..Refusal::new(Code::Aborted, Fate::Unknown, reason)
                }
            }
            other => Refusal::new(Code::Unavailable, Fate::Unknown, other),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Refusal {
        Refusal::new(Code::InvalidArgument, Fate::NotApplied, error)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let mut status = Status::new(refusal.code, refusal.reason);
        let outcome = match refusal.fate {
            Fate::NotApplied => NOT_APPLIED,
            Fate::Unknown => UNKNOWN,
        };
        let metadata = status.metadata_mut();
        metadata.insert(OUTCOME, MetadataValue::from_static(outcome));
        if let Some((id, address)) = refusal.leader {
            metadata.insert(LEADER_ID, MetadataValue::from(id));
            if let Ok(address) = MetadataValue::try_from(address.raft) {
                metadata.insert(LEADER_ADDR, address);
            }
        }
        status
    }
}

impl Client {
    /// Proposes a command and waits until it has been applied here.
    ///
    /// # Errors
    /// A refusal, with what is known of the command's fate.
    pub(crate) async fn write(
        &self,
        command: Command,
    ) -> Result<ClientWriteResponse<Types>, Refusal> {
        check_command(&command)?;
        if let Some(defect) = self.planted.defect() {
            return hooks::write(self, defect, command).await;
        }
        self.propose(command).await
    }

    /// A write that was checked.
    pub(super) async fn propose(
        &self,
        command: Command,
    ) -> Result<ClientWriteResponse<Types>, Refusal> {
        let written = self.in_time(self.raft.client_write(command)).await?;
        written.map_err(|error| match error {
            RaftError::APIError(error) => Refusal::of_write(error),
            other => Refusal::new(Code::Unavailable, Fate::Unknown, other),
        })
    }

    /// Proposes commands in one batch and waits until they have been applied here, in their order.
    ///
    /// Gives an answer, or a refusal with what is known of its fate, for each command.
    pub(crate) async fn write_many(&self, commands: Vec<Command>) -> Vec<Result<Applied, Refusal>> {
        let checks: Vec<_> = commands.iter().map(check_command).collect();
        let count = checks.len();
        let sound = commands.into_iter().zip(&checks);
        let sound = sound.filter_map(|(command, check)| check.is_ok().then_some(command));
        let sound: Vec<Command> = sound.collect();
        let mut answers = Vec::with_capacity(sound.len());
        let proposed = async {
            let mut written = self.raft.client_write_many(sound).await?;
            while let Some(answer) = written.try_next().await? {
                let answer = answer.map(|written| written.response);
                answers.push(answer.map_err(Refusal::of_write));
            }
            Ok::<_, Fatal<Types>>(())
        };
        let unanswered = match self.in_time(proposed).await {
            Ok(Ok(())) => Refusal::new(Code::Unavailable, Fate::Unknown, "no answer came"),
            Ok(Err(fatal)) => Refusal::new(Code::Unavailable, Fate::Unknown, fatal),
            Err(late) => late,
        };
        let mut answers = answers.into_iter();
        let mut all = Vec::with_capacity(count);
        for check in checks {
            all.push(match check {
                Ok(()) => answers.next().unwrap_or_else(|| Err(unanswered.clone())),
                Err(refusal) => Err(refusal),
            });
        }
        all
    }

    /// Reads one key, with the promise of the read mode.
    ///
    /// # Errors
    /// A refusal; a read has no effect, so its fate is always "not applied".
    pub(crate) async fn read(&self, key: &[u8]) -> Result<Found, Refusal> {
        check_key(key)?;
        if let Some(defect) = self.planted.defect() {
            return hooks::read(self, defect, key).await;
        }
        self.read_by_mode(key).await
    }

    /// A read that was checked.
    pub(super) async fn read_by_mode(&self, key: &[u8]) -> Result<Found, Refusal> {
        match self.reads {
            ReadMode::ReadIndex => self.wait_linearizable(ReadPolicy::ReadIndex).await?,
            ReadMode::Lease => self.wait_linearizable(ReadPolicy::LeaseRead).await?,
            ReadMode::LeaderLocal => self.check_leader()?,
            ReadMode::FollowerLocal => {}
        }
        self.read_own(key)
    }

    /// What this node holds, without asking anybody.
    pub(super) fn read_own(&self, key: &[u8]) -> Result<Found, Refusal> {
        let found = self.state.read(key);
        found.map_err(|error| Refusal::new(Code::Internal, Fate::NotApplied, error))
    }

    /// What `INFO` says.
    pub(crate) fn info(&self) -> String {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let role = match metrics.state {
            ServerState::Leader => "master",
            _ => "slave",
        };
        let leader = metrics
            .current_leader
            .map_or_else(|| "none".to_owned(), |id| id.to_string());
        let applied = metrics.last_applied.map_or(0, |id| id.index);
        format!(
            "# Server\r\nserver_name:kiwi\r\nredis_mode:standalone\r\n\
             # Replication\r\nrole:{role}\r\nnode:{}\r\nleader:{leader}\r\nterm:{}\r\napplied:{applied}\r\n",
            self.me, metrics.current_term
        )
    }

    pub(super) async fn wait_linearizable(&self, policy: ReadPolicy) -> Result<(), Refusal> {
        let waited = self.in_time(self.raft.ensure_linearizable(policy)).await;
        let waited = waited.map_err(|late| Refusal {
            fate: Fate::NotApplied,
            ..late
        })?;
        match waited {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(Refusal::not_leader(forward))
            }
            Err(other) => Err(Refusal::new(Code::Unavailable, Fate::NotApplied, other)),
        }
    }

    /// The reference document's check: does this node believe to lead?
    pub(super) fn check_leader(&self) -> Result<(), Refusal> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state == ServerState::Leader {
            return Ok(());
        }
        let leader_id = metrics.current_leader.filter(|id| *id != self.me);
        let nodes = metrics.membership_config.membership();
        Err(Refusal::not_leader(ForwardToLeader {
            leader_node: leader_id.and_then(|id| nodes.get_node(&id).cloned()),
            leader_id,
            ..ForwardToLeader::empty()
        }))
    }

    pub(super) fn lease_is_live(&self) -> bool {
        let metrics = self.raft.metrics();
        let acked = metrics.borrow_watched().last_quorum_acked;
        acked.is_some_and(|at| at.into_inner().elapsed() < self.lease)
    }

    /// openraft may leave a request pending for as long as there is no quorum: the node has its own limit.
    async fn in_time<T>(&self, pending: impl Future<Output = T>) -> Result<T, Refusal> {
        let late = |_| Refusal::new(Code::DeadlineExceeded, Fate::Unknown, "no answer in time");
        tokio::time::timeout(self.timeout, pending)
            .await
            .map_err(late)
    }
}

fn check_key(key: &[u8]) -> Result<(), Refusal> {
    let refuse = |reason: String| {
        Err(Refusal::new(
            Code::InvalidArgument,
            Fate::NotApplied,
            reason,
        ))
    };
    match key.len() {
        0 => refuse("the key is empty".to_owned()),
        length if length > MAX_KEY => {
            refuse(format!("the key has {length} bytes, {MAX_KEY} are allowed"))
        }
        _ => Ok(()),
    }
}

fn check_command(command: &Command) -> Result<(), Refusal> {
    let refuse = |reason: String| {
        Err(Refusal::new(
            Code::InvalidArgument,
            Fate::NotApplied,
            reason,
        ))
    };
    let binlog = &command.binlog;
    if binlog.entries.is_empty() {
        return refuse("the binlog is empty".to_owned());
    }
    if binlog.db_id != 0 || binlog.entries.iter().any(|entry| entry.cf_idx != 0) {
        return refuse("only database 0 and column family 0 are served".to_owned());
    }
    if command.client_id == 0 && command.sequence != 0 {
        return refuse("a sequence number without a client id".to_owned());
    }
    let mut total = 0;
    for entry in &binlog.entries {
        check_key(&entry.key)?;
        let length = entry.value.as_ref().map_or(0, Vec::len);
        if length > MAX_VALUE {
            return refuse(format!(
                "the value has {length} bytes, {MAX_VALUE} are allowed"
            ));
        }
        total += entry.key.len() + length + ENTRY_COST;
    }
    if let Some(Condition::Value(expected)) = &command.condition {
        total += expected.len();
    }
    if total > MAX_COMMAND {
        return refuse(format!(
            "the command has {total} bytes ({ENTRY_COST} for each entry beside its key and value), {MAX_COMMAND} are allowed"
        ));
    }
    Ok(())
}

#[tonic::async_trait]
impl RaftClientService for Client {
    async fn write(
        &self,
        request: Request<kiwi::WriteRequest>,
    ) -> Result<Response<kiwi::WriteResponse>, Status> {
        let command = command(request.into_inner()).map_err(Refusal::from)?;
        let conditional = command.condition.is_some();
        let written = Client::write(self, command).await?;
        let (log_id, success, prior) = match written.data {
            Applied::Done { log_id, prior } => (log_id, true, prior),
            Applied::ConditionFailed { log_id, prior } => (log_id, false, prior),
            Applied::Superseded { last } => {
                let reason = format!("the session has gone on to {last}");
                return Err(Refusal::new(Code::FailedPrecondition, Fate::Unknown, reason).into());
            }
            Applied::Nothing => return Err(Status::internal("a command was applied as nothing")),
        };
        let message = if success {
            ""
        } else {
            "the condition did not hold"
        };
        Ok(Response::new(kiwi::WriteResponse {
            response: Some(kiwi::Response {
                success,
                message: message.to_owned(),
            }),
            log_id: Some(log_id.into()),
            prior: prior.filter(|_| conditional).map(Into::into),
        }))
    }

    async fn read(
        &self,
        request: Request<kiwi::ReadRequest>,
    ) -> Result<Response<kiwi::ReadResponse>, Status> {
        let found = Client::read(self, &request.into_inner().key).await?;
        Ok(Response::new(kiwi::ReadResponse {
            response: Some(ok()),
            found: found.value.is_some(),
            value: found.value.unwrap_or_default().into(),
            read_log_id: found.applied.map(|id: LogId| id.into()),
        }))
    }
}

fn command(wire: kiwi::WriteRequest) -> Result<Command, Malformed> {
    let binlog = wire.binlog.ok_or(Malformed::Missing("the binlog"))?;
    Ok(Command {
        binlog: Binlog::try_from(binlog)?,
        client_id: wire.client_id,
        sequence: wire.sequence,
        condition: wire.condition.map(Condition::try_from).transpose()?,
    })
}

pub(crate) fn ok() -> kiwi::Response {
    kiwi::Response {
        success: true,
        message: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use prost::Message;

    use super::*;
    use crate::node::{
        codec,
        peers::MESSAGE_BYTES,
        types::{BinlogEntry, Entry, LeaderId, Operation},
    };

    fn puts(count: usize, key: usize, value: usize) -> Command {
        let entry = BinlogEntry {
            cf_idx: 0,
            op: Operation::Put,
            key: vec![b'k'; key],
            value: Some(vec![b'v'; value]),
        };
        Command {
            binlog: Binlog {
                entries: vec![entry; count],
                ..Binlog::default()
            },
            client_id: u64::MAX,
            sequence: u64::MAX,
            condition: None,
        }
    }

    /// Bytes of the command in an entry of the log, and of that entry on the wire.
    fn costs(command: Command) -> (usize, usize) {
        let leader_id = LeaderId {
            term: 1 << 56,
            node_id: u64::MAX,
        };
        let entry = Entry {
            log_id: LogId::new(leader_id, 1 << 56),
            payload: EntryPayload::Normal(command),
        };
        let wire = kiwi::Entry::from(&entry).encoded_len();
        (codec::encode(&entry).len(), wire)
    }

    #[test]
    fn a_command_is_refused_by_what_its_entry_costs() {
        for (key, value) in [(1, 0), (1, 1), (1, 200), (MAX_KEY, 0), (1, MAX_VALUE)] {
            let most = MAX_COMMAND / (key + value + ENTRY_COST);
            let largest = puts(most, key, value);
            assert!(check_command(&largest).is_ok(), "{most} of {key}, {value}");
            let (log, wire) = costs(largest);
            let allowed = MAX_COMMAND + 256;
            assert!(
                log <= allowed && wire <= allowed,
                "{key}, {value}: {log}, {wire}"
            );
            let refused = check_command(&puts(most + 1, key, value)).expect_err("too much");
            assert_eq!(refused.code, Code::InvalidArgument);
            assert_eq!(refused.fate, Fate::NotApplied);
            assert!(refused.reason.contains("are allowed"), "{refused}");
        }
        let many = puts(700_000, 1, 0);
        assert!(check_command(&many).is_err());
        assert!(
            costs(many).0 > MESSAGE_BYTES,
            "and no message could hold it"
        );
    }
}
