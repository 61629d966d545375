//! The Redis protocol on `--resp`: enough for `redis-cli`, `redis-benchmark` and clients that follow MOVED.
//!
//! GET, SET (NX, XX), DEL, PING, ECHO, INFO, AUTH, HELLO and what clients ask when they connect. Writes go through the log and reads
//! by the read mode, as over gRPC. A node that does not lead answers `MOVED slot leader`, which proves that it did
//! nothing; an error that starts with `UNKNOWN` proves nothing.
//!
//! Commands that come together are answered in their order, as if each had waited for the one before: neighbouring SETs
//! are proposed in one batch, neighbouring GETs wait for one another's quorum.

mod auth;
mod codec;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt, future::join_all};
use redis_protocol::{error::RedisProtocolError, resp2::types::BytesFrame};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::codec::Framed;

use self::{auth::Session, codec::Limited};
use super::{
    client::{Client, Fate, MAX_COMMAND, Refusal},
    types::{Applied, Binlog, BinlogEntry, Command, Condition, Operation},
};
use crate::wire::metadata::Token;

/// Connections at a time; more have to wait.
const CONNECTIONS: usize = 1024;
/// Arguments of one command, at most.
const MAX_ARGUMENTS: usize = 1024;
/// Commands that are carried out together when they came together, at most; no more after this many bytes.
const PIPELINE: usize = 64;
const PIPELINE_BYTES: usize = 1 << 20;

/// Accepts connections until the node stops.
pub(crate) async fn serve(
    listener: TcpListener,
    client: Client,
    token: Option<Token>,
    mut stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = room.clone().acquire_owned().await.expect("never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let (client, stopping) = (client.clone(), stopping.clone());
        let session = Session::new(token.clone());
        match accepted {
            Ok((stream, from)) => drop(tokio::spawn(async move {
                talk(stream, from, client, session, stopping).await;
                drop(permit);
            })),
            Err(error) => {
                tracing::warn!("a Redis connection could not be accepted: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

/// Answers one connection's commands, in their order.
async fn talk(
    stream: TcpStream,
    from: SocketAddr,
    client: Client,
    mut session: Session,
    mut stopping: watch::Receiver<bool>,
) {
    let mut framed = Framed::new(stream, Limited::default());
    loop {
        let first = tokio::select! {
            first = framed.next() => first,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let mut asked = Asked::default();
        asked.add(first, &mut session);
        while asked.has_room()
            && let Some(next) = framed.next().now_or_never()
        {
            asked.add(next, &mut session);
        }
        let close = asked.close;
        for answer in answer_all(&client, asked.steps).await {
            if let Err(error) = framed.feed(answer).await {
                tracing::debug!("{from} is gone: {error}");
                return;
            }
        }
        if let Err(error) = framed.flush().await {
            tracing::debug!("{from} is gone: {error}");
            return;
        }
        if close {
            return;
        }
    }
}

/// What one connection asks for, and has not been answered yet.
#[derive(Default)]
struct Asked {
    steps: Vec<Step>,
    bytes: usize,
    /// Nothing is read any more, and the connection ends after the last answer.
    close: bool,
}

/// One command, as far as it matters to what may be done together.
enum Step {
    Get(Bytes),
    Set(Box<Command>),
    Other(Vec<Bytes>),
    /// It needs nothing more than its answer.
    Answered(Answer),
}

impl Asked {
    fn has_room(&self) -> bool {
        !self.close && self.steps.len() < PIPELINE && self.bytes < PIPELINE_BYTES
    }

    fn add(
        &mut self,
        request: Option<Result<BytesFrame, RedisProtocolError>>,
        session: &mut Session,
    ) {
        let arguments = match request {
            None => {
                self.close = true;
                return;
            }
            Some(Err(error)) => Err(Complaint(format!("ERR {error}"))),
            Some(Ok(frame)) => arguments(frame)
                .ok_or_else(|| Complaint("ERR a command is an array of strings".to_owned())),
        };
        match arguments {
            Ok(arguments) => {
                self.bytes += arguments.iter().map(Bytes::len).sum::<usize>();
                self.close = arguments[0].eq_ignore_ascii_case(b"QUIT");
                self.steps.push(match session.meet(&arguments) {
                    Some(answer) => Step::Answered(answer),
                    None => step(arguments),
                });
            }
            Err(complaint) => {
                self.close = true;
                self.steps.push(Step::Answered(Err(complaint)));
            }
        }
    }
}

fn step(arguments: Vec<Bytes>) -> Step {
    let name = arguments[0].to_ascii_uppercase();
    match (name.as_slice(), &arguments[1..]) {
        (b"GET", [key]) => Step::Get(key.clone()),
        (b"SET", [key, value, options @ ..]) => match condition(options) {
            Ok(condition) => {
                let command = command(key, Operation::Put, Some(value.to_vec()), condition);
                Step::Set(Box::new(command))
            }
            Err(complaint) => Step::Answered(Err(complaint)),
        },
        _ => Step::Other(arguments),
    }
}

/// Carries the commands out and gives their answers, in their order.
async fn answer_all(client: &Client, steps: Vec<Step>) -> Vec<BytesFrame> {
    let mut answers = Vec::with_capacity(steps.len());
    let mut steps = steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        match step {
            Step::Get(key) => {
                let mut keys = vec![key];
                while let Some(Step::Get(key)) = steps.next_if(|next| matches!(next, Step::Get(_)))
                {
                    keys.push(key);
                }
                answers.extend(join_all(keys.iter().map(|key| get(client, key))).await);
            }
            Step::Set(command) => {
                let mut commands = vec![*command];
                while let Some(Step::Set(command)) =
                    steps.next_if(|next| matches!(next, Step::Set(_)))
                {
                    commands.push(*command);
                }
                answers.extend(set_all(client, commands).await);
            }
            Step::Other(arguments) => answers.push(execute(client, &arguments).await),
            Step::Answered(answer) => answers.push(answer),
        }
    }
    let text = |answer: Answer| answer.unwrap_or_else(|complaint| error_frame(complaint.0));
    answers.into_iter().map(text).collect()
}

fn error_frame(text: String) -> BytesFrame {
    // A line feed would end the error early.
    BytesFrame::Error(text.replace(['\r', '\n'], " ").into())
}

fn simple(text: &'static str) -> BytesFrame {
    BytesFrame::SimpleString(Bytes::from_static(text.as_bytes()))
}

fn bulk(text: impl Into<Bytes>) -> BytesFrame {
    BytesFrame::BulkString(text.into())
}

fn arguments(frame: BytesFrame) -> Option<Vec<Bytes>> {
    let BytesFrame::Array(items) = frame else {
        return None;
    };
    let string = |item| match item {
        BytesFrame::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    let arguments: Option<Vec<Bytes>> = items.into_iter().map(string).collect();
    arguments.filter(|arguments| !arguments.is_empty())
}

/// The text of an error answer.
struct Complaint(String);

type Answer = Result<BytesFrame, Complaint>;

/// What is neither GET nor SET.
async fn execute(client: &Client, arguments: &[Bytes]) -> Answer {
    let name = arguments[0].to_ascii_uppercase();
    match (name.as_slice(), &arguments[1..]) {
        (b"PING", []) => Ok(simple("PONG")),
        (b"PING" | b"ECHO", [text]) => Ok(BytesFrame::BulkString(text.clone())),
        (b"DEL", keys @ [_, ..]) => delete(client, keys).await,
        (b"INFO", _) => Ok(bulk(client.info())),
        (b"CONFIG", [get, names @ ..]) if get.eq_ignore_ascii_case(b"GET") => Ok(settings(names)),
        (b"COMMAND" | b"CONFIG", _) => Ok(BytesFrame::Array(Vec::new())),
        (b"CLIENT" | b"QUIT", _) => Ok(simple("OK")),
        (b"SELECT", [database]) if database.as_ref() == b"0" => Ok(simple("OK")),
        (b"SELECT", _) => Err(Complaint("ERR only database 0 is served".to_owned())),
        (b"PING" | b"ECHO" | b"GET" | b"SET" | b"DEL", _) => {
            Err(Complaint("ERR wrong number of arguments".to_owned()))
        }
        _ => {
            let name: String = String::from_utf8_lossy(&name).chars().take(64).collect();
            Err(Complaint(format!("ERR unknown command '{name}'")))
        }
    }
}

/// What `redis-benchmark` asks before it begins: every write is in a log, and nothing is saved by the clock.
fn settings(names: &[Bytes]) -> BytesFrame {
    let value = |name: &Bytes| match name.to_ascii_lowercase().as_slice() {
        b"appendonly" => Some("yes"),
        b"save" => Some(""),
        _ => None,
    };
    let known = names.iter().filter_map(|name| Some((name, value(name)?)));
    let pairs = known.flat_map(|(name, value)| [bulk(name.clone()), bulk(value)]);
    BytesFrame::Array(pairs.collect())
}

async fn get(client: &Client, key: &Bytes) -> Answer {
    let found = client
        .read(key)
        .await
        .map_err(|refusal| complaint(key, refusal))?;
    Ok(match found.value {
        Some(value) => BytesFrame::BulkString(value.into()),
        None => BytesFrame::Null,
    })
}

fn condition(options: &[Bytes]) -> Result<Option<Condition>, Complaint> {
    match options {
        [] => Ok(None),
        [option] if option.eq_ignore_ascii_case(b"NX") => Ok(Some(Condition::Absent)),
        [option] if option.eq_ignore_ascii_case(b"XX") => Ok(Some(Condition::Present)),
        _ => Err(Complaint(
            "ERR syntax error: SET key value [NX|XX]".to_owned(),
        )),
    }
}

/// Proposes the SETs in one batch: they are applied in their order.
async fn set_all(client: &Client, commands: Vec<Command>) -> Vec<Answer> {
    let keys: Vec<Vec<u8>> = commands.iter().map(first_key).collect();
    let written = match <[Command; 1]>::try_from(commands) {
        Ok([command]) => {
            let written = client.write(command).await;
            vec![written.map(|written| written.data)]
        }
        Err(commands) => client.write_many(commands).await,
    };
    let answer = |(written, key): (Result<Applied, Refusal>, &Vec<u8>)| match written {
        Ok(Applied::Done { .. }) => Ok(simple("OK")),
        Ok(_) => Ok(BytesFrame::Null),
        Err(refusal) => Err(complaint(key, refusal)),
    };
    written.into_iter().zip(&keys).map(answer).collect()
}

fn first_key(command: &Command) -> Vec<u8> {
    let first = command.binlog.entries.first();
    first.map(|entry| entry.key.clone()).unwrap_or_default()
}

/// Each key is deleted on its own: a failure leaves those before it deleted, and then is no proof of having done nothing.
async fn delete(client: &Client, keys: &[Bytes]) -> Answer {
    let mut deleted = 0;
    for key in keys {
        let command = command(key, Operation::Delete, None, Some(Condition::Present));
        let written = client.write(command).await;
        let written = written.map_err(|refusal| complaint(key, refused_after(deleted, refusal)))?;
        if matches!(written.data, Applied::Done { .. }) {
            deleted += 1;
        }
    }
    Ok(BytesFrame::Integer(deleted))
}

/// What a refusal says of the whole command, of which `done` changes have been carried out before it.
fn refused_after(done: i64, refusal: Refusal) -> Refusal {
    if done == 0 {
        return refusal;
    }
    let reason = format!("{done} done before: {}", refusal.reason);
    Refusal {
        fate: Fate::Unknown,
        reason,
        ..refusal
    }
}

/// One change of one key.
fn command(
    key: &Bytes,
    op: Operation,
    value: Option<Vec<u8>>,
    condition: Option<Condition>,
) -> Command {
    let entry = BinlogEntry {
        cf_idx: 0,
        op,
        key: key.to_vec(),
        value,
    };
    Command {
        binlog: Binlog {
            db_id: 0,
            slot_idx: u32::from(redis_protocol::redis_keyslot(key)),
            entries: vec![entry],
        },
        client_id: 0,
        sequence: 0,
        condition,
    }
}

fn complaint(key: &[u8], refusal: Refusal) -> Complaint {
    let leader = refusal.leader.filter(|_| refusal.fate == Fate::NotApplied);
    Complaint(match (refusal.fate, leader) {
        (Fate::NotApplied, Some((_, address))) if !address.resp.is_empty() => {
            format!(
                "MOVED {} {}",
                redis_protocol::redis_keyslot(key),
                address.resp
            )
        }
        (Fate::NotApplied, _) if refusal.code == tonic::Code::InvalidArgument => {
            format!("ERR {}", refusal.reason)
        }
        (Fate::NotApplied, _) => format!("CLUSTERDOWN not applied: {}", refusal.reason),
        (Fate::Unknown, _) => format!("UNKNOWN it may have been applied: {}", refusal.reason),
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::node::types::Address;

    #[test]
    fn a_refusal_after_a_deletion_proves_nothing() {
        let refusal = |code| Refusal {
            leader: Some((
                2,
                Address {
                    raft: "a:1".to_owned(),
                    resp: "a:2".to_owned(),
                },
            )),
            ..Refusal::new(code, Fate::NotApplied, "node 2 leads")
        };
        let said = |done, code| complaint(b"foo", refused_after(done, refusal(code))).0;
        let (moved, wrong) = (Code::FailedPrecondition, Code::InvalidArgument);
        assert_eq!(said(0, moved), "MOVED 12182 a:2");
        let unknown = "UNKNOWN it may have been applied: 3 done before: node 2 leads";
        assert_eq!(said(3, moved), unknown);
        assert_eq!(said(3, wrong), unknown);
    }
}
