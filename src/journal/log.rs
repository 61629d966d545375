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

#[cfg(test)]
mod tests {
    use std::fs;

    use checkers::history::{Call, Outcome};
    use checkers::verdict::Verdict;

    use super::super::event::Phase;
    use super::super::folder::{read_folder, read_result};
    use super::super::node::{NodeView, Role};
    use super::*;
    use crate::fault::{By, Fault, Remains};
    use crate::oracle::Oracle;
    use crate::oracle::tests::some;
    use crate::scenario::{Changes, Scenario};

    fn log_in(dir: &Path, listeners: Vec<Listener>) -> EventLog {
        let calm = Scenario::find("calm").unwrap();
        let resolved = calm.resolve(&Changes::default(), 1, None).unwrap();
        let recipe = toml::to_string(&resolved).unwrap();
        fs::write(dir.join("scenario.toml"), recipe).unwrap();
        let opened = Opened::new(dir, ResultFold::of(resolved), listeners).unwrap();
        let hears = vec![opened.hears()];
        let header = history::Header::register(1);
        let recorder = Recorder::create(&dir.join("history.jsonl"), &header, hears).unwrap();
        opened.on_the_clock_of(Arc::new(recorder))
    }

    /// A client that asks, while a fault goes in and out and its node leads.
    fn work(log: &EventLog, client: u64) {
        for round in 0..40 {
            let ticket = log.recorder.invoke(client, None, "k", Call::Read);
            let outcome = [Outcome::Ok(None), Outcome::Failed][usize::from(round % 3 == 0)];
            let fault = Fault::Cut {
                from: client,
                to: client + 1,
            };
            let (id, by, remains) = (client * 100 + round, By::Plan, Remains::Nothing);
            log.log(Event::FaultIn {
                id,
                fault: fault.clone(),
                by,
                unpromised: false,
            });
            log.recorder.complete(ticket, None, outcome, None, None);
            log.log(Event::FaultOut {
                id,
                fault,
                by,
                remains,
            });
            let node = NodeView {
                id: client,
                role: Role::Leader,
                term: client * 1_000 + round,
                ..NodeView::default()
            };
            log.log(Event::Node { node });
        }
    }

    #[test]
    fn what_several_threads_log_and_record_is_read_back_in_the_order_in_which_it_was_folded() {
        let dir = tempfile::tempdir().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let listener: Listener = Box::new(move |entry| hears.lock().unwrap().push(entry.clone()));
        let log = log_in(dir.path(), vec![listener]);
        let phase = Phase::Running;
        log.log(Event::Phase { phase });
        std::thread::scope(|scope| {
            for client in 1..=3 {
                let log = &log;
                scope.spawn(move || work(log, client));
            }
        });
        let finding = some(Oracle::StateHash);
        log.log(Event::Found { finding });
        log.log(Event::WorkloadEnded);
        let text = "a disk was full".to_owned();
        log.log(Event::BenchError { text });
        log.log(Event::Judged {
            verdict: Verdict::Linearizable,
            anomaly: None,
            certificate: Some("silent".to_owned()),
        });
        assert_eq!(log.missing(), None);
        let live = log.so_far(ResultFold::result);
        assert!(live.counts.operations() == 120 && live.faults.len() == 120);
        assert!(live.alarm_seconds <= Some(live.seconds), "{live:?}");
        let read = read_folder(dir.path()).unwrap();
        assert_eq!(read.entries, *heard.lock().unwrap());
        assert_eq!(read_result(dir.path()).unwrap(), live);
    }
}
