//! The log of a run's events: stamped, numbered against the history, folded, and written as they happen.
//!
//! ```text
//!   log(event) ─┐ one lock: the instant, and how many events of the history there were
//!   recorder  ──┴▶ the result so far, whoever listens (the screen) ──▶ journal.jsonl, under a lock of its own
//! ```
//!
//! Everything takes its place in one order here, the events of the history among them, and `seen` in each line of the
//! journal keeps that order: a folder that is read back is folded in the same one. What cannot be written for a moment
//! waits in memory and is written later, in its order: no line follows half of another one.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use checkers::history;
use serde::{Deserialize, Serialize};

use super::event::{Entry, Event, MessageFate};
use super::result::ResultFold;
use crate::recorder::lines::Lines;
use crate::recorder::{self, Recorder};

/// The journal's name in a run's folder.
pub const JOURNAL: &str = "journal.jsonl";
/// Which format of it this program writes and reads.
pub const FORMAT: u64 = 1;
/// Bytes of the journal that wait while it cannot be written.
const MOST_WAITING: usize = 4 << 20;

/// The first line of a journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// Its format.
    pub(super) journal: u64,
}

/// A line of a journal.
#[derive(Serialize)]
struct Line<'a> {
    time_ns: u64,
    /// How many events of the history there were when this happened.
    seen: u64,
    #[serde(flatten)]
    event: &'a Event,
}

/// Where in the log a line stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    time_ns: u64,
    seen: u64,
}

/// Gets each entry, in order, while the log's lock is held: it must not block and must not call back.
pub type Listener = Box<dyn Fn(&Entry) + Send + Sync>;

/// Logs what happens in one run; clones log to the same journal. It never waits but for the file.
#[derive(Clone)]
pub struct EventLog {
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
}

/// A log that has no clock yet: see [`Opened::on_the_clock_of`].
pub struct Opened(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    file: Mutex<Lines<Place>>,
}

struct State {
    /// Events of the history so far.
    seen: u64,
    fold: ResultFold,
    listeners: Vec<Listener>,
    /// Lines on their way to the file.
    written: Vec<(Place, Vec<u8>)>,
}

impl Opened {
    /// Begins the journal of a run in this folder, whose result is folded so.
    ///
    /// # Errors
    /// Where it exists or cannot be written.
    pub fn new(dir: &Path, fold: ResultFold, listeners: Vec<Listener>) -> io::Result<Opened> {
        let mut file = File::create_new(dir.join(JOURNAL))?;
        let mut header = Vec::new();
        write_line(&mut header, &Header { journal: FORMAT });
        file.write_all(&header)?;
        let state = State {
            seen: 0,
            fold,
            listeners,
            written: Vec::new(),
        };
        Ok(Opened(Arc::new(Shared {
            state: Mutex::new(state),
            file: Mutex::new(Lines::new(file, MOST_WAITING, say_lost)),
        })))
    }

    /// Hears what is recorded.
    #[must_use]
    pub fn hears(&self) -> recorder::Listener {
        let shared = self.0.clone();
        Box::new(move |event| shared.history(event))
    }

    /// The log, which stamps what it is told by this clock.
    #[must_use]
    pub fn on_the_clock_of(self, recorder: Arc<Recorder>) -> EventLog {
        EventLog {
            recorder,
            shared: self.0,
        }
    }
}

impl EventLog {
    /// Logs what happens now.
    pub fn log(&self, event: Event) {
        {
            // Stamped under the lock, so that the order of the stamps is that of the lines.
            let mut state = self.shared.state();
            let time_ns = self.recorder.now_ns();
            state.take(time_ns, event);
        }
        self.shared.write();
    }

    /// Logs a sentence for a person.
    pub fn say(&self, text: impl Into<String>) {
        self.log(Event::Say { text: text.into() });
    }

    /// Logs what became of single messages, each so long ago.
    pub fn messages(&self, fates: impl IntoIterator<Item = (std::time::Duration, MessageFate)>) {
        let now_ns = self.recorder.now_ns();
        {
            let mut state = self.shared.state();
            for (ago, fate) in fates {
                let ago = u64::try_from(ago.as_nanos()).unwrap_or(now_ns);
                state.take(now_ns.saturating_sub(ago), Event::Message(fate));
            }
        }
        self.shared.write();
    }

    /// Looks at the result so far.
    pub fn so_far<T>(&self, look: impl FnOnce(&ResultFold) -> T) -> T {
        look(&self.shared.state().fold)
    }

    /// Writes what waits, as far as there is room.
    pub fn flush(&self) {
        self.shared.file().flush();
    }

    /// What of the journal is not in the file, in a sentence.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let lines = self.shared.file();
        let why = lines.trouble()?;
        let (lost, waits) = (lines.lost(), lines.waits());
        Some(format!(
            "{JOURNAL} lacks {lost} lines and {waits} bytes more: {why}"
        ))
    }
}

impl Shared {
    /// An event of the history takes its place.
    fn history(&self, event: &history::Event) {
        let mut state = self.state();
        state.seen = event.index + 1;
        state.hand_on(&Entry::from(event.clone()));
    }

    /// Writes the lines that are on their way, those of whoever else logs among them.
    fn write(&self) {
        let mut file = self.file();
        let lines = std::mem::take(&mut self.state().written);
        for (place, line) in lines {
            file.push(place, &line);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while logging")
    }

    fn file(&self) -> MutexGuard<'_, Lines<Place>> {
        self.file.lock().expect("nobody panics while writing")
    }
}

impl State {
    fn take(&mut self, time_ns: u64, event: Event) {
        let entry = Entry { time_ns, event };
        self.hand_on(&entry);
        let place = Place {
            time_ns,
            seen: self.seen,
        };
        let mut line = Vec::with_capacity(256);
        place.write(&entry.event, &mut line);
        self.written.push((place, line));
    }

    fn hand_on(&mut self, entry: &Entry) {
        self.fold.take(entry);
        self.listeners.iter().for_each(|listener| listener(entry));
    }
}

impl Place {
    fn write(&self, event: &Event, line: &mut Vec<u8>) {
        let Place { time_ns, seen } = *self;
        write_line(
            line,
            &Line {
                time_ns,
                seen,
                event,
            },
        );
    }
}

/// The line that stands for so many lost ones.
fn say_lost(first: &Place, lost: u64, line: &mut Vec<u8>) {
    let text = format!("{lost} lines that belong here could not be written");
    first.write(&Event::Say { text }, line);
}

fn write_line(line: &mut Vec<u8>, of: &impl Serialize) {
    serde_json::to_writer(&mut *line, of).expect("it is plain data");
    line.push(b'\n');
}
