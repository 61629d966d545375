//! The Redis protocol on `--resp`: enough for `redis-cli`, `redis-benchmark` and clients that follow MOVED.
//!
//! GET, SET (NX, XX), DEL, PING, ECHO, INFO and what clients ask when they connect. Writes go through the log and reads
//! by the read mode, as over gRPC. A node that does not lead answers `MOVED slot leader`, which proves that it did
//! nothing; an error that starts with `UNKNOWN` proves nothing.
//!
//! Commands that come together are answered in their order, as if each had waited for the one before: neighbouring SETs
//! are proposed in one batch, neighbouring GETs wait for one another's quorum.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, SinkExt, StreamExt, future::join_all};
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
/// Commands that are carried out together when they came together, at most; no more after this many bytes.
const PIPELINE: usize = 64;
const PIPELINE_BYTES: usize = 1 << 20;
/// Bytes of a command that is a plain line.
const MAX_LINE: usize = 64 << 10;

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
        let first = tokio::select! {
            first = framed.next() => first,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let mut asked = Asked::default();
        asked.add(first);
        while asked.has_room()
            && let Some(next) = framed.next().now_or_never()
        {
            asked.add(next);
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
    Wrong(Complaint),
}

impl Asked {
    fn has_room(&self) -> bool {
        !self.close && self.steps.len() < PIPELINE && self.bytes < PIPELINE_BYTES
    }

    fn add(&mut self, request: Option<Result<BytesFrame, RedisProtocolError>>) {
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
                self.steps.push(step(arguments));
            }
            Err(complaint) => {
                self.close = true;
                self.steps.push(Step::Wrong(complaint));
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
            Err(complaint) => Step::Wrong(complaint),
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
            Step::Wrong(complaint) => answers.push(Err(complaint)),
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

/// The crate's codec, behind a check of the shape: an array of strings, not too many, not too large; or a plain line of
/// words, as one types it. (The crate's parser follows any nesting, and starts over for each packet.)
#[derive(Debug, Default)]
struct Limited(Resp2);

impl Decoder for Limited {
    type Item = BytesFrame;
    type Error = RedisProtocolError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<BytesFrame>, RedisProtocolError> {
        while source.first().is_some_and(|first| *first != b'*') {
            let Some(words) = line(source)? else {
                return Ok(None);
            };
            // An empty line is nothing.
            if !words.is_empty() {
                return Ok(Some(BytesFrame::Array(words)));
            }
        }
        match measure(source)? {
            Some(length) => self.0.decode(&mut source.split_to(length)),
            None => Ok(None),
        }
    }
}

/// Takes a line and gives its words; `None` while it has not come whole. (Quotes are not understood, so refused.)
fn line(source: &mut BytesMut) -> io::Result<Option<Vec<BytesFrame>>> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let Some(end) = source.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return match source.len() < MAX_LINE {
            true => Ok(None),
            false => refuse("a line is too long"),
        };
    };
    let line = source.split_to(end + 1).freeze();
    if line.contains(&b'"') || line.contains(&b'\'') {
        return refuse("quotes in a line are not understood");
    }
    let words = line.split(u8::is_ascii_whitespace);
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    if words.len() > MAX_ARGUMENTS {
        return refuse("too many arguments");
    }
    Ok(Some(
        words
            .into_iter()
            .map(|word| BytesFrame::BulkString(line.slice_ref(word)))
            .collect(),
    ))
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
    use tonic::Code;

    use super::*;
    use crate::node::types::Address;

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

    fn decoded(text: &str) -> Vec<Vec<Bytes>> {
        let mut source = BytesMut::from(text);
        let mut codec = Limited::default();
        let mut all = Vec::new();
        while let Some(frame) = codec.decode(&mut source).expect("valid") {
            all.push(arguments(frame).expect("a command"));
        }
        all
    }

    #[test]
    fn a_line_is_a_command_of_words() {
        let words = |words: &[&'static str]| words.iter().map(|word| Bytes::from(*word)).collect();
        let expected: Vec<Vec<Bytes>> = vec![
            words(&["PING"]),
            words(&["SET", "k", "v"]),
            words(&["GET", "k"]),
            words(&["PING"]),
        ];
        let text = "PING\r\n\r\n  SET k\tv \n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\nunfinished";
        assert_eq!(decoded(text), expected);
    }

    #[test]
    fn lines_that_cannot_be_understood_are_refused() {
        let long = "x".repeat(MAX_LINE);
        let many = "x ".repeat(MAX_ARGUMENTS + 1) + "\n";
        for text in [r#"SET k "a b""#.to_owned() + "\n", long, many] {
            let decoded = Limited::default().decode(&mut BytesMut::from(text.as_str()));
            assert!(decoded.is_err(), "{}", &text[..8]);
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
