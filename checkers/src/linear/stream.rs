//! Judges a history while it is read, so that its length costs no memory.
//!
//! A history that fits into the limit is kept whole: then a verdict comes with all that the whole can tell. With the
//! event that exceeds it, what was kept is fed to the [online](super::online) checker and let go, and everything after
//! goes the same way: memory is then the open operations, the live values, what each client did last, and a bounded
//! record for the evidence. Only registers can be judged so: a history of lists is kept whole, however long it is.
//!
//! What is kept counts with its marks, the names of its keys and the texts of its values. Two things stay and grow, even
//! after a history is let go: each key that ever occurred, some kilobyte of it, and each different value that is no
//! integer, whose number must stay its own. The limit does not bound these.

use std::io::BufRead;

use super::Options;
use super::online::{Online, record};
use crate::format::sink::{Moment, Sink};
use crate::format::{self, Came, Error, Format, How, Loaded, Types};
use rustc_hash::FxHashMap;

use crate::history::{
    At, Builder, Call, ClientId, EventKind, Header, History, Initial, Kind, Lint, Malformed, Names,
    Nil, Outcome, initial_of, repeats,
};
use crate::types;
use crate::verdict::Verdict;

/// What came of a file.
#[derive(Debug)]
pub enum Read {
    /// It fits: the history, to be checked.
    Whole(Box<Loaded>),
    /// It was judged on its way.
    Judged(Box<Streamed>),
    /// It is of a data type beside the register and the list, which [`types::check`](crate::types::check()) judges.
    Typed(Box<types::Loaded>),
}

/// A history that was judged and not kept.
#[derive(Debug)]
pub struct Streamed {
    /// The verdict.
    pub verdict: Verdict,
    /// Operations.
    pub ops: u64,
    /// Keys.
    pub keys: u64,
    /// The sequential machine, as the header names it.
    pub spec: String,
    /// The names of values that are not integers.
    pub names: Names,
    /// What was tolerated or assumed, as sentences: shown beside the verdict.
    pub notes: Vec<String>,
    /// Why there is no more of it, where its bytes ended before they should: what was judged is a beginning.
    pub early: Option<Error>,
}

/// How a history is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// In this format, and not in the one that it looks like.
    pub format: Option<Format>,
    /// What an ok read of nil means, and not what it does in the format.
    pub nil: Option<Nil>,
    /// What each key held at first, as [`format::initial`] gives it, and not what the header says.
    pub initial: Option<serde_json::Value>,
    /// Whether the options' budget holds, and not the one that the header pins.
    pub pinned: bool,
    /// The data type that it is of. Where nobody says it, the header does, or else what its operations are called.
    pub spec: Option<String>,
}

impl Reading {
    /// The same for a reader.
    fn how(&self) -> How {
        let types = match self.spec.as_deref() {
            None => Types::Any,
            Some(spec) => types::by_name(spec).map_or(Types::Named, Types::This),
        };
        How {
            format: self.format,
            nil: self.nil,
            types,
        }
    }
}

/// Reads a history, and judges it on its way where it would hold more than `options.memory` bytes. Formats that are not
/// ours and histories of lists are always kept whole; the latter with a note where they are longer.
///
/// # Errors
/// As [`format::read_to_its_end`], and where the keys can't have begun so.
pub fn read(
    input: impl BufRead,
    name: &str,
    reading: &Reading,
    options: &Options,
) -> Result<Read, Error> {
    let mut refused = None;
    let begin = |mut header: Header, nil| {
        if let Some(initial) = &reading.initial {
            header.initial = Some(initial.clone());
            refused = initial_of(&header, &mut Names::default()).err();
        }
        let budget = header.budget.filter(|_| !reading.pinned);
        let options = Options {
            budget: budget.unwrap_or(options.budget),
            ..*options
        };
        let mut builder = Builder::new(header);
        builder.nil(nil);
        Gauge {
            options,
            nil,
            taking: Taking::Whole(Box::new(builder)),
            kept_for_its_lists: false,
        }
    };
    let how = reading.how();
    let (came, early) = format::read_into(input, name, how, begin)?;
    if let Some(reason) = refused {
        return Err(misbegun(name, reason));
    }
    match came {
        Came::Typed(loaded) => Ok(Read::Typed(Box::new(types::Loaded { early, ..*loaded }))),
        Came::Whole(mut loaded) => {
            if let Some(initial) = &reading.initial {
                let begun = loaded.history.begin_as_written(initial.clone());
                begun.map_err(|reason| misbegun(name, reason))?;
            }
            Ok(Read::Whole(Box::new(Loaded { early, ..*loaded })))
        }
        Came::Through(gauge, mut notes) => Ok(match gauge.taking {
            Taking::Whole(builder) => {
                if gauge.kept_for_its_lists {
                    notes.push(format!(
                        "{name}: longer than {} MB of memory hold; kept whole all the same, since only registers can be judged on their way",
                        options.memory >> 20
                    ));
                }
                Read::Whole(Box::new(Loaded {
                    history: builder.finish(),
                    notes,
                    early,
                }))
            }
            Taking::Passing(passing) => {
                notes.push(format!(
                    "{name}: longer than {} MB of memory hold; judged on its way, with recent operations as evidence; lints were not looked for",
                    options.memory >> 20
                ));
                let mut judged = passing.finish(notes, early);
                if matches!(judged.verdict, Verdict::Unknown(_)) {
                    judged.notes.push(format!(
                        "{name}: what is undecided on the way may be decided where the whole is held: with more --memory"
                    ));
                }
                Read::Judged(Box::new(judged))
            }
        }),
    }
}

/// Why keys can't have begun as somebody says.
fn misbegun(name: &str, reason: String) -> Error {
    Error::Begun {
        name: name.to_owned(),
        reason,
    }
}

/// Keeps a history until it is too large.
struct Gauge {
    options: Options,
    nil: Nil,
    taking: Taking,
    /// It was too large, and could not be let go.
    kept_for_its_lists: bool,
}

enum Taking {
    Whole(Box<Builder>),
    Passing(Box<Passing>),
}

/// Events on their way to the online checker.
struct Passing {
    online: Online,
    nil: Nil,
    spec: String,
    names: Names,
    clients: Clients,
    last_index: Option<u64>,
    ops: u64,
    /// Whether events were lost.
    gap: bool,
    lost: Vec<Lint>,
}

/// What each client did last: so that a second completion is known as one.
#[derive(Default)]
struct Clients {
    few: Vec<Client>,
    others: FxHashMap<ClientId, Client>,
}

/// One client.
#[derive(Clone, Default)]
struct Client {
    doing: Doing,
    /// The key of its last operation.
    key: String,
}

/// What a client is doing.
#[derive(Clone, Copy, Default)]
enum Doing {
    #[default]
    Idle,
    /// The event index of the invocation, and what it asks.
    Open(u64, Call),
    /// The same, and how it ended.
    Done(u64, Call, Outcome),
    Unknown,
}

impl Clients {
    /// Ids below this have a place in the table.
    const FEW: u64 = 1 << 16;

    fn of(&mut self, client: ClientId) -> &mut Client {
        if client >= Self::FEW {
            return self.others.entry(client).or_default();
        }
        let at = client as usize;
        if at >= self.few.len() {
            let table = (at + 1).next_power_of_two();
            self.few.resize(table, Client::default());
        }
        &mut self.few[at]
    }

    fn known(&self, client: ClientId) -> Option<&Client> {
        match usize::try_from(client) {
            Ok(at) if client < Self::FEW => self.few.get(at),
            _ => self.others.get(&client),
        }
    }
}

impl Gauge {
    /// The history was too large: it is replayed, and let go.
    fn let_go(&mut self) -> Result<(), Malformed> {
        let Taking::Whole(builder) = &mut self.taking else {
            return Ok(());
        };
        let builder = std::mem::replace(&mut **builder, Builder::new(Header::default()));
        let unknown = builder.unknown_clients();
        let last_index = builder.last_index();
        let mut history = builder.finish();
        // Its reader has refused what is none.
        let initial = initial_of(&history.header, &mut history.names).unwrap_or_default();
        let mut passing = Passing::new(self.options, self.nil, &history.header, initial);
        passing.replay(&history)?;
        // Marks and second completions are not replayed, and count all the same.
        passing.last_index = last_index;
        // A read without an answer counts as failed, but its client does not know.
        for client in unknown {
            passing.clients.of(client).doing = Doing::Unknown;
        }
        passing.names = history.names;
        self.taking = Taking::Passing(Box::new(passing));
        Ok(())
    }
}

impl Sink for Gauge {
    fn names(&mut self) -> &mut Names {
        match &mut self.taking {
            Taking::Whole(builder) => builder.names(),
            Taking::Passing(passing) => &mut passing.names,
        }
    }

    fn open_call(&self, client: ClientId) -> Option<Kind> {
        match &self.taking {
            Taking::Whole(builder) => builder.open_call(client),
            Taking::Passing(passing) => passing.last(client).map(|(call, _)| call.kind()),
        }
    }

    fn asked(&self, client: ClientId) -> Option<Call> {
        match &self.taking {
            Taking::Whole(builder) => builder.asked(client),
            Taking::Passing(passing) => passing.last(client).map(|(call, _)| call),
        }
    }

    fn open_key(&self, client: ClientId) -> Option<&str> {
        match &self.taking {
            Taking::Whole(builder) => builder.open_key(client),
            Taking::Passing(passing) => passing.last(client).map(|(_, key)| key),
        }
    }

    fn invoke(&mut self, from: Moment, key: &str, call: Call) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => Sink::invoke(&mut **builder, from, key, call),
            Taking::Passing(passing) => passing.invoke(from, key, call),
        }
    }

    fn complete(
        &mut self,
        from: Moment,
        outcome: Outcome,
        at: Option<At>,
        error: Option<&str>,
    ) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => Sink::complete(&mut **builder, from, outcome, at, error),
            Taking::Passing(passing) => passing.complete(from, outcome, at),
        }
    }

    fn mark(&mut self, index: u64, time_ns: u64, text: &str) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => builder.mark(index, time_ns, text),
            Taking::Passing(passing) => passing.rises(index),
        }
    }

    fn gap(&mut self, index: u64, time_ns: u64, lost: u64) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => builder.gap(index, time_ns, lost),
            Taking::Passing(passing) => passing.gap(index, lost),
        }
    }

    fn pause(&mut self) -> Result<(), Malformed> {
        let Taking::Whole(builder) = &mut self.taking else {
            return Ok(());
        };
        if builder.bytes() + record::bytes(self.options.memory) <= self.options.memory {
            return Ok(());
        }
        if builder.header().is_lists() {
            self.kept_for_its_lists = true;
            return Ok(());
        }
        self.let_go()
    }
}

impl Passing {
    fn new(options: Options, nil: Nil, header: &Header, initial: Initial) -> Self {
        Self {
            online: Online::in_the_end(options, header, initial),
            nil,
            spec: header.spec.clone(),
            names: Names::default(),
            clients: Clients::default(),
            last_index: None,
            ops: 0,
            gap: false,
            lost: Vec::new(),
        }
    }

    /// What a client asked last, and of which key, where that is open or its end is known.
    fn last(&self, client: ClientId) -> Option<(Call, &str)> {
        let client = self.clients.known(client)?;
        match client.doing {
            Doing::Open(_, call) | Doing::Done(_, call, _) => Some((call, &client.key)),
            Doing::Idle | Doing::Unknown => None,
        }
    }

    fn replay(&mut self, history: &History) -> Result<(), Malformed> {
        let mut taken = Ok(());
        history.replay(|event| {
            if taken.is_err() {
                return;
            }
            // What a builder took is well formed, and nil reads that say nothing have become failed ones.
            let moment = Moment {
                index: event.index,
                time_ns: event.time_ns,
                client: event.client.unwrap_or_default(),
                node: event.node,
            };
            taken = match &event.kind {
                EventKind::Mark(_) => Ok(()),
                EventKind::Gap { lost } => self.gap(event.index, *lost),
                EventKind::Typed(_) => Err(Malformed::OtherType),
                EventKind::Invoke { key, call } => self.invoke(moment, key, *call),
                EventKind::Complete { outcome, at, .. } => self.complete(moment, *outcome, *at),
            };
        });
        taken
    }

    fn invoke(&mut self, from: Moment, key: &str, call: Call) -> Result<(), Malformed> {
        self.rises(from.index)?;
        self.online.invoke(&from, key, call)?;
        self.ops += 1;
        let client = self.clients.of(from.client);
        client.doing = Doing::Open(from.index, call);
        key.clone_into(&mut client.key);
        Ok(())
    }

    fn complete(
        &mut self,
        from: Moment,
        outcome: Outcome,
        at: Option<At>,
    ) -> Result<(), Malformed> {
        self.rises(from.index)?;
        let client = from.client;
        let doing = &mut self.clients.of(client).doing;
        let (operation, call) = match *doing {
            Doing::Open(operation, call) => (operation, call),
            Doing::Done(operation, call, first) => {
                return match repeats(call == Call::Read, self.nil, first, outcome) {
                    true => Ok(()),
                    false => Err(Malformed::CompletedTwice { client, operation }),
                };
            }
            // Unknown is the weaker claim, and of a lost operation nobody knows what it says.
            Doing::Unknown => return Ok(()),
            Doing::Idle if self.gap => return Ok(()),
            Doing::Idle => return Err(Malformed::NothingOpen { client }),
        };
        *doing = match outcome {
            Outcome::Unknown => Doing::Unknown,
            Outcome::Ok(_) | Outcome::Failed | Outcome::Differed(_) => {
                Doing::Done(operation, call, outcome)
            }
        };
        let says_nothing =
            self.nil == Nil::Any && outcome == Outcome::Ok(None) && call == Call::Read;
        let outcome = if says_nothing {
            Outcome::Failed
        } else {
            outcome
        };
        // An alarm stays with the checker, which only counts from there on.
        self.online.complete(&from, outcome, at)?;
        Ok(())
    }

    fn gap(&mut self, index: u64, lost: u64) -> Result<(), Malformed> {
        self.rises(index)?;
        self.online.gap(index, lost)?;
        self.last_index = Some(index.saturating_add(lost - 1));
        self.gap = true;
        self.lost.push(Lint::EventsLost { event: index, lost });
        self.clients = Clients::default();
        Ok(())
    }

    fn rises(&mut self, index: u64) -> Result<(), Malformed> {
        if let Some(last) = self.last_index
            && index <= last
        {
            return Err(Malformed::IndexNotRising { index, last });
        }
        self.last_index = Some(index);
        Ok(())
    }

    fn finish(self, mut notes: Vec<String>, early: Option<Error>) -> Streamed {
        notes.extend(self.lost.iter().map(Lint::to_string));
        Streamed {
            ops: self.ops,
            keys: self.online.progress().keys.len() as u64,
            verdict: self.online.finish(),
            spec: self.spec,
            names: self.names,
            notes,
            early,
        }
    }
}

#[cfg(test)]
mod gap_tests;
#[cfg(test)]
mod tests;
