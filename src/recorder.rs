//! The only writer of a history, and the only clock that it trusts.
//!
//! An invocation is on record before its first byte leaves, a completion after its last byte came. Every event is
//! stamped, numbered and written under one lock, so the order of the file is the order of the numbers is the order of
//! the stamps; and it is written with one system call of its own, so that the file is complete up to its last event
//! also when the bench is killed. What was written is then handed on, in the same order, to whoever listens.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use checkers::format::jsonl;
use checkers::history::{At, Call, ClientId, Event, EventKind, Header, Outcome};

/// Gets each event, in order, while the recorder's lock is held: it must not block and must not call back.
pub type Listener = Box<dyn FnMut(&Event) + Send>;

/// Writes one history.
pub struct Recorder {
    start: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    line: Vec<u8>,
    next_index: u64,
    listeners: Vec<Listener>,
    failure: Option<io::Error>,
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
            file,
            line,
            next_index: 0,
            listeners,
            failure: None,
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

    /// Records that something other than an operation happened.
    pub fn mark(&self, text: String) -> u64 {
        self.write(None, None, EventKind::Mark(text))
    }

    /// Nanoseconds since the history began.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a run is shorter than 584 years")
    }

    /// Why the file could not be written, if it could not. The events went to the listeners all the same.
    pub fn failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }

    /// Lets go of the listeners: they have heard everything.
    pub fn close(&self) {
        self.lock().listeners.clear();
    }

    fn write(&self, client: Option<ClientId>, node: Option<u64>, kind: EventKind) -> u64 {
        let mut inner = self.lock();
        // Stamped under the lock, so that the order of the stamps is the order of the numbers.
        let event = Event {
            index: inner.next_index,
            time_ns: self.now_ns(),
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
        let written = jsonl::write_event(&mut self.line, event)
            .and_then(|()| self.file.write_all(&self.line));
        if let Err(error) = written {
            self.failure.get_or_insert(error);
        }
    }
}
