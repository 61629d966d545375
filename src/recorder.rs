//! The only writer of a history, and the only clock that it trusts.
//!
//! An invocation is on record before its first byte leaves, a completion after its last byte came. Every event is
//! stamped, numbered and written under one lock, so the order of the file is the order of the numbers is the order of
//! the stamps; and it is written with one system call of its own, so that the file is complete up to its last event
//! also when the bench is killed. What was written is then handed on, in the same order, to whoever listens.
//!
//! While nothing can be written (a full disk) events wait in memory, at most [`MOST_WAITING`] bytes of them, and go into
//! the file in their order when there is room ([`lines`]). On record means heard by those who listen, and in the file or
//! on its way there: a `kill -9` in such a moment loses what waits. What does not fit there either is lost to the file,
//! never to those who listen, and the file says how many events those were: [`EventKind::Gap`].

pub(crate) mod lines;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use checkers::format::jsonl;
use checkers::history::{At, Call, ClientId, Event, EventKind, Header, Outcome};
use checkers::types::operation::{self, Phase};
use checkers::types::{self, Asked, Datum};

use lines::Lines;

/// Bytes of events that wait while the file cannot be written: half a minute of a fast run.
pub const MOST_WAITING: usize = 16 << 20;

/// Gets each event, in order, while the recorder's lock is held: it must not block and must not call back.
pub type Listener = Box<dyn FnMut(&Event) + Send>;

/// Writes one history.
pub struct Recorder {
    start: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    lines: Lines<Place>,
    line: Vec<u8>,
    next_index: u64,
    listeners: Vec<Listener>,
}

/// Where in the history a line stands.
#[derive(Debug)]
struct Place {
    index: u64,
    time_ns: u64,
}

/// What is not in the file, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Bytes of events that wait for room.
    pub waiting: usize,
    /// Events that are lost: each run of them is a gap in the history.
    pub lost: u64,
    /// What the kernel said.
    pub why: String,
}

/// An operation that was begun. Given back to [`Recorder::complete`], once; if it is dropped, the operation stays open
/// for ever, which is what is known of it.
#[derive(Debug)]
#[must_use = "an operation that is not completed stays open for ever"]
pub struct Ticket {
    client: ClientId,
    /// The number of the invocation's event.
    pub index: u64,
}

impl Recorder {
    /// Begins a history in a new file.
    ///
    /// # Errors
    /// Where the file exists or cannot be written.
    pub fn create(path: &Path, header: &Header, listeners: Vec<Listener>) -> io::Result<Recorder> {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        let mut line = Vec::with_capacity(256);
        jsonl::write_header(&mut line, header)?;
        file.write_all(&line)?;
        let inner = Inner {
            lines: Lines::new(file, MOST_WAITING, write_gap),
            line,
            next_index: 0,
            listeners,
        };
        Ok(Recorder {
            start: Instant::now(),
            inner: Mutex::new(inner),
        })
    }

    /// Records that `client` is about to ask `node` for `call` on `key`.
    pub fn invoke(&self, client: ClientId, node: Option<u64>, key: &str, call: Call) -> Ticket {
        let index = self.write(
            Some(client),
            node,
            EventKind::Invoke {
                key: key.to_owned(),
                call,
            },
        );
        Ticket { client, index }
    }

    /// Records how that operation ended; gives the number of the event.
    pub fn complete(
        &self,
        ticket: Ticket,
        node: Option<u64>,
        outcome: Outcome,
        at: Option<At>,
        error: Option<String>,
    ) -> u64 {
        self.write(
            Some(ticket.client),
            node,
            EventKind::Complete { outcome, at, error },
        )
    }

    /// Records that `client` is about to ask `node` for an operation of another data type.
    pub fn ask(&self, client: ClientId, node: Option<u64>, asked: &Asked) -> Ticket {
        let with = asked.with.clone();
        let index = self.write_typed(client, node, asked, (Phase::Invoke, with, None));
        Ticket { client, index }
    }

    /// Records how that operation ended; gives the number of the event.
    pub fn answered(
        &self,
        ticket: Ticket,
        node: Option<u64>,
        asked: &Asked,
        outcome: &types::Outcome,
        error: Option<String>,
    ) -> u64 {
        let with = || asked.with.clone();
        let (phase, value) = match outcome {
            // That it was done says nothing more than what was asked.
            types::Outcome::Ok(Datum::Nil) if !asked.reads() => (Phase::Ok, with()),
            types::Outcome::Ok(answer) => (Phase::Ok, answer.clone()),
            types::Outcome::Failed => (Phase::Fail, with()),
            types::Outcome::Unknown => (Phase::Info, with()),
        };
        self.write_typed(ticket.client, node, asked, (phase, value, error))
    }

    fn write_typed(
        &self,
        client: ClientId,
        node: Option<u64>,
        asked: &Asked,
        (phase, value, error): (Phase, Datum, Option<String>),
    ) -> u64 {
        let event = operation::Event {
            index: 0,
            time_ns: 0,
            client,
            phase,
            f: asked.act.to_owned(),
            key: asked.key.clone(),
            value,
            node,
            error,
        };
        self.write(Some(client), node, EventKind::Typed(Box::new(event)))
    }

    /// Records that something other than an operation happened.
    pub fn mark(&self, text: String) -> u64 {
        self.write(None, None, EventKind::Mark(text))
    }

    /// Nanoseconds since the history began.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a run is shorter than 584 years")
    }

    /// Writes what waits, as far as there is room.
    pub fn flush(&self) {
        self.lock().lines.flush();
    }

    /// What is not in the file, though it went to the listeners: `None` where everything is.
    pub fn missing(&self) -> Option<Missing> {
        let lines = &self.lock().lines;
        let why = lines.trouble()?.to_string();
        Some(Missing {
            waiting: lines.waits(),
            lost: lines.lost(),
            why,
        })
    }

    /// Lets go of the listeners: they have heard everything.
    pub fn close(&self) {
        self.lock().listeners.clear();
    }

    fn write(&self, client: Option<ClientId>, node: Option<u64>, mut kind: EventKind) -> u64 {
        let mut inner = self.lock();
        // Stamped under the lock, so that the order of the stamps is the order of the numbers.
        let (index, time_ns) = (inner.next_index, self.now_ns());
        if let EventKind::Typed(event) = &mut kind {
            (event.index, event.time_ns) = (index, time_ns);
        }
        let event = Event {
            index,
            time_ns,
            client,
            node,
            kind,
        };
        inner.next_index += 1;
        inner.append(&event);
        for listener in &mut inner.listeners {
            listener(&event);
        }
        event.index
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while recording")
    }
}

impl Inner {
    fn append(&mut self, event: &Event) {
        self.line.clear();
        jsonl::write_event(&mut self.line, event).expect("memory takes every line");
        let place = Place {
            index: event.index,
            time_ns: event.time_ns,
        };
        self.lines.push(place, &self.line);
    }
}

/// The line that stands for so many lost events, of which this was the first.
fn write_gap(first: &Place, lost: u64, line: &mut Vec<u8>) {
    let gap = Event {
        index: first.index,
        time_ns: first.time_ns,
        client: None,
        node: None,
        kind: EventKind::Gap { lost },
    };
    jsonl::write_event(line, &gap).expect("memory takes every line");
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use checkers::history::Nil;

    use super::*;

    #[test]
    fn a_gap_is_read_back_with_the_numbers_of_what_is_lost() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path, &Header::register(1), Vec::new()).expect("a file");
        let write = |value| drop(recorder.invoke(value as u64, None, "k", Call::Write(value)));
        write(1);
        // As if three events had been lost: the next one has the number after them.
        let mut inner = recorder.lock();
        let mut text = Vec::new();
        let first = Place {
            index: inner.next_index,
            time_ns: recorder.now_ns(),
        };
        write_gap(&first, 3, &mut text);
        inner.lines.push(first, &text);
        inner.next_index += 3;
        drop(inner);
        write(2);
        let file = BufReader::new(File::open(&path).expect("it is there"));
        let loaded = jsonl::read(file, "a test", Nil::Absent).expect("it is well formed");
        let [gap] = &loaded.history.gaps[..] else {
            panic!("{:?}", loaded.history.gaps);
        };
        assert_eq!((gap.index, gap.lost), (1, 3));
        let indexes = loaded.history.to_events().into_iter();
        let indexes: Vec<u64> = indexes.map(|event| event.index).collect();
        assert_eq!(indexes, [0, 1, 4]);
        assert_eq!(recorder.missing(), None);
    }
}
