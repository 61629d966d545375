//! The Redis protocol on `--resp`: enough for `redis-cli`, `redis-benchmark` and cluster-aware clients.
//!
//! GET, SET (NX, XX), DEL, PING, ECHO, INFO and what clients ask when they connect. Writes go through the log and reads
//! by the read mode, as over gRPC. A node that does not lead answers `MOVED slot leader`, which proves that it did
//! nothing; an error that starts with `UNKNOWN` proves nothing.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use redis_protocol::{codec::Resp2, error::RedisProtocolError, resp2::types::BytesFrame};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::codec::{Decoder, Encoder, Framed};

use super::{
    client::{Client, Fate, MAX_COMMAND, Refusal},
    types::{Applied, Binlog, BinlogEntry, Command, Condition, Operation},
};

/// Connections at a time; more have to wait.
const CONNECTIONS: usize = 1024;
/// Arguments of one command, at most.
const MAX_ARGUMENTS: usize = 1024;

/// Accepts connections until the node stops.
pub(crate) async fn serve(
    listener: TcpListener,
    client: Client,
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
        match accepted {
            Ok((stream, from)) => drop(tokio::spawn(async move {
                talk(stream, from, client, stopping).await;
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
    mut stopping: watch::Receiver<bool>,
) {
    let mut framed = Framed::new(stream, Limited::default());
    loop {
        let request = tokio::select! {
            request = framed.next() => request,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let answer = match request {
            Some(Ok(frame)) => answer(&client, frame).await,
            Some(Err(error)) => Answer::last(error_frame(format!("ERR {error}"))),
            None => return,
        };
        if let Err(error) = framed.send(answer.frame).await {
            tracing::debug!("{from} is gone: {error}");
            return;
        }
        if answer.close {
            return;
        }
    }
}

struct Answer {
    frame: BytesFrame,
    close: bool,
}

impl Answer {
    fn last(frame: BytesFrame) -> Answer {
        Answer { frame, close: true }
    }
}

fn error_frame(text: String) -> BytesFrame {
    // A line feed would end the error early.
    BytesFrame::Error(text.replace(['\r', '\n'], " ").into())
}

fn simple(text: &'static str) -> BytesFrame {
    BytesFrame::SimpleString(Bytes::from_static(text.as_bytes()))
}

async fn answer(client: &Client, frame: BytesFrame) -> Answer {
    let Some(arguments) = arguments(frame) else {
        return Answer::last(error_frame(
            "ERR a command is an array of strings".to_owned(),
        ));
    };
    let name = arguments[0].to_ascii_uppercase();
    let close = name == b"QUIT";
    let frame = execute(client, &name, &arguments[1..]).await;
    Answer {
        frame: frame.unwrap_or_else(|error| error_frame(error.0)),
        close,
    }
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

async fn execute(
    client: &Client,
    name: &[u8],
    arguments: &[Bytes],
) -> Result<BytesFrame, Complaint> {
    match (name, arguments) {
        (b"PING", []) => Ok(simple("PONG")),
        (b"PING" | b"ECHO", [text]) => Ok(BytesFrame::BulkString(text.clone())),
        (b"GET", [key]) => get(client, key).await,
        (b"SET", [key, value, options @ ..]) => set(client, key, value, options).await,
        (b"DEL", keys @ [_, ..]) => delete(client, keys).await,
        (b"INFO", _) => Ok(BytesFrame::BulkString(client.info().into())),
        (b"COMMAND" | b"CONFIG", _) => Ok(BytesFrame::Array(Vec::new())),
        (b"CLIENT" | b"QUIT", _) => Ok(simple("OK")),
        (b"SELECT", [database]) if database.as_ref() == b"0" => Ok(simple("OK")),
        (b"SELECT", _) => Err(Complaint("ERR only database 0 is served".to_owned())),
        (b"PING" | b"ECHO" | b"GET" | b"SET" | b"DEL", _) => {
            Err(Complaint("ERR wrong number of arguments".to_owned()))
        }
        _ => {
            let name: String = String::from_utf8_lossy(name).chars().take(64).collect();
            Err(Complaint(format!("ERR unknown command '{name}'")))
        }
    }
}

async fn get(client: &Client, key: &Bytes) -> Result<BytesFrame, Complaint> {
    let found = client
        .read(key)
        .await
        .map_err(|refusal| complaint(key, refusal))?;
    Ok(match found.value {
        Some(value) => BytesFrame::BulkString(value.into()),
        None => BytesFrame::Null,
    })
}

async fn set(
    client: &Client,
    key: &Bytes,
    value: &Bytes,
    options: &[Bytes],
) -> Result<BytesFrame, Complaint> {
    let condition = match options {
        [] => None,
        [option] if option.eq_ignore_ascii_case(b"NX") => Some(Condition::Absent),
        [option] if option.eq_ignore_ascii_case(b"XX") => Some(Condition::Present),
        _ => {
            return Err(Complaint(
                "ERR syntax error: SET key value [NX|XX]".to_owned(),
            ));
        }
    };
    match change(client, key, Operation::Put, Some(value.to_vec()), condition).await? {
        true => Ok(simple("OK")),
        false => Ok(BytesFrame::Null),
    }
}

/// Each key is deleted on its own: a failure leaves those before it deleted.
async fn delete(client: &Client, keys: &[Bytes]) -> Result<BytesFrame, Complaint> {
    let mut deleted = 0;
    for key in keys {
        let condition = Some(Condition::Present);
        if change(client, key, Operation::Delete, None, condition).await? {
            deleted += 1;
        }
    }
    Ok(BytesFrame::Integer(deleted))
}

/// Proposes one change; says whether its condition held.
async fn change(
    client: &Client,
    key: &Bytes,
    op: Operation,
    value: Option<Vec<u8>>,
    condition: Option<Condition>,
) -> Result<bool, Complaint> {
    let entry = BinlogEntry {
        cf_idx: 0,
        op,
        key: key.to_vec(),
        value,
    };
    let command = Command {
        binlog: Binlog {
            db_id: 0,
            slot_idx: u32::from(redis_protocol::redis_keyslot(key)),
            entries: vec![entry],
        },
        client_id: 0,
        sequence: 0,
        condition,
    };
    let written = client
        .write(command)
        .await
        .map_err(|refusal| complaint(key, refusal))?;
    Ok(matches!(written.data, Applied::Done { .. }))
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

/// The crate's codec, behind a check of the shape: an array of strings, not too many, not too large. (The crate's parser
/// follows any nesting, and starts over for each packet.)
#[derive(Debug, Default)]
struct Limited(Resp2);

impl Decoder for Limited {
    type Item = BytesFrame;
    type Error = RedisProtocolError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<BytesFrame>, RedisProtocolError> {
        match measure(source)? {
            Some(length) => self.0.decode(&mut source.split_to(length)),
            None => Ok(None),
        }
    }
}

impl Encoder<BytesFrame> for Limited {
    type Error = RedisProtocolError;

    fn encode(
        &mut self,
        frame: BytesFrame,
        target: &mut BytesMut,
    ) -> Result<(), RedisProtocolError> {
        self.0.encode(frame, target)
    }
}

/// The length of the command at the beginning of `source`; `None` while it has not come whole.
fn measure(source: &[u8]) -> io::Result<Option<usize>> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let mut at = 0;
    let Some(count) = header(source, &mut at, b'*')? else {
        return Ok(None);
    };
    if count == 0 || count > MAX_ARGUMENTS {
        return refuse("too few or too many arguments");
    }
    for _ in 0..count {
        let Some(length) = header(source, &mut at, b'$')? else {
            return Ok(None);
        };
        at = at.saturating_add(length).saturating_add(2);
        if at > MAX_COMMAND {
            return refuse("the command is too large");
        }
    }
    Ok((source.len() >= at).then_some(at))
}

/// A number after its mark, ended by CRLF; moves `at` behind it.
fn header(source: &[u8], at: &mut usize, mark: u8) -> io::Result<Option<usize>> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let Some(rest) = source.get(*at..).filter(|rest| !rest.is_empty()) else {
        return Ok(None);
    };
    if rest[0] != mark {
        return refuse("a command is an array of strings");
    }
    let Some(end) = rest.iter().take(16).position(|byte| *byte == b'\n') else {
        return if rest.len() < 16 {
            Ok(None)
        } else {
            refuse("a number is too long")
        };
    };
    let digits = rest[1..end].strip_suffix(b"\r").unwrap_or_default();
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    let Some(number) = number else {
        return refuse("a number is none");
    };
    *at += end + 1;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_measured_only_when_it_is_whole() {
        let command = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        for length in 0..command.len() {
            assert!(matches!(measure(&command[..length]), Ok(None)), "{length}");
        }
        let mut two = command.to_vec();
        two.extend(b"*1\r\n$4\r\nPING\r\n");
        assert!(matches!(measure(&two), Ok(Some(length)) if length == command.len()));
    }

    #[test]
    fn nesting_size_and_nonsense_are_refused() {
        for text in [
            "PING\r\n",
            "*1\r\n*1\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2000\r\n",
            "*1\r\n$99999999999\r\n",
            "*1\r\n$5000000\r\n",
            "*1\n$1\r\n",
            "*11111111111111111111",
        ] {
            assert!(measure(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_codec_gives_the_commands_arguments() {
        let mut source = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nrest"[..]);
        let frame = Limited::default()
            .decode(&mut source)
            .expect("valid")
            .expect("whole");
        assert_eq!(
            arguments(frame),
            Some(vec![Bytes::from("GET"), Bytes::from("k")])
        );
        assert_eq!(&source[..], b"rest");
    }
}
