//! Judges a history while it is read, so that its length costs no memory.
//!
//! A history that fits into the limit is kept whole: then a verdict comes with all that the whole can tell. With the
//! event that exceeds it, what was kept is fed to the [online](super::online) checker and let go, and everything after
//! goes the same way: memory is then the open operations, the live values, and a bounded record for the evidence.

use std::io::BufRead;

use super::Options;
use super::online::{Online, record};
use crate::format::sink::{Moment, Sink};
use crate::format::{self, Came, Error, Format, Loaded};
use crate::history::{
    At, Builder, Call, ClientId, EventKind, Header, History, Kind, Malformed, Names, Nil, Outcome,
};
use crate::verdict::Verdict;

/// What came of a file.
#[derive(Debug)]
pub enum Read {
    /// It fits: the history, to be checked.
    Whole(Box<Loaded>),
    /// It was judged on its way.
    Judged(Box<Streamed>),
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
    /// The names of values that are not integers.
    pub names: Names,
    /// What was tolerated or assumed, as sentences: shown beside the verdict.
    pub notes: Vec<String>,
}

/// Reads a history, and judges it on its way where it would hold more than `options.memory` bytes. The options' budget
/// gives way to the one that the header pins, unless `pinned` says that the caller insists. Formats that are not ours
/// are always kept whole.
///
/// # Errors
/// As [`format::read`].
pub fn read(
    input: impl BufRead,
    name: &str,
    format: Option<Format>,
    nil: Option<Nil>,
    options: &Options,
    pinned: bool,
) -> Result<Read, Error> {
    let begin = |header: Header, nil| {
        let budget = header.budget.filter(|_| !pinned);
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
        }
    };
    match format::read_into(input, name, format, nil, begin)? {
        Came::Whole(loaded) => Ok(Read::Whole(loaded)),
        Came::Through(gauge, mut notes) => Ok(match gauge.taking {
            Taking::Whole(builder) => Read::Whole(Box::new(Loaded {
                history: builder.finish(),
                notes,
            })),
            Taking::Passing(passing) => {
                notes.push(format!(
                    "{name}: longer than {} MB of memory hold; judged on its way, with recent operations as evidence",
                    options.memory >> 20
                ));
                Read::Judged(Box::new(passing.finish(notes)))
            }
        }),
    }
}

/// Keeps a history until it is too large.
struct Gauge {
    options: Options,
    nil: Nil,
    taking: Taking,
}

enum Taking {
    Whole(Box<Builder>),
    Passing(Box<Passing>),
}

/// Events on their way to the online checker.
struct Passing {
    online: Online,
    nil: Nil,
    names: Names,
    last_index: Option<u64>,
    ops: u64,
}

impl Gauge {
    /// The history was too large: it is replayed, and let go.
    fn let_go(&mut self) {
        let Taking::Whole(builder) = &mut self.taking else {
            return;
        };
        let builder = std::mem::replace(&mut **builder, Builder::new(Header::default()));
        let mut passing = Passing::new(self.options, self.nil);
        let history = builder.finish();
        passing.replay(&history);
        passing.names = history.names;
        self.taking = Taking::Passing(Box::new(passing));
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
            Taking::Passing(passing) => passing.online.open_call(client),
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

    fn pause(&mut self) {
        if let Taking::Whole(builder) = &self.taking
            && builder.bytes() + record::bytes(self.options.memory) > self.options.memory
        {
            self.let_go();
        }
    }
}

impl Passing {
    fn new(options: Options, nil: Nil) -> Self {
        Self {
            online: Online::new(options),
            nil,
            names: Names::default(),
            last_index: None,
            ops: 0,
        }
    }

    fn replay(&mut self, history: &History) {
        history.replay(|event| {
            // What a builder took is well formed, and nil reads that say nothing have become failed ones.
            let moment = Moment {
                index: event.index,
                time_ns: event.time_ns,
                client: event.client.unwrap_or_default(),
                node: event.node,
            };
            let taken = match &event.kind {
                EventKind::Mark(_) => Ok(()),
                EventKind::Invoke { key, call } => self.invoke(moment, key, *call),
                EventKind::Complete { outcome, at, .. } => self.complete(moment, *outcome, *at),
            };
            debug_assert!(taken.is_ok(), "{taken:?}");
        });
    }

    fn invoke(&mut self, from: Moment, key: &str, call: Call) -> Result<(), Malformed> {
        self.rises(from.index)?;
        self.online.invoke(&from, key, call)?;
        self.ops += 1;
        Ok(())
    }

    fn complete(
        &mut self,
        from: Moment,
        outcome: Outcome,
        at: Option<At>,
    ) -> Result<(), Malformed> {
        self.rises(from.index)?;
        let says_nothing = self.nil == Nil::Any
            && outcome == Outcome::Ok(None)
            && self.online.open_call(from.client) == Some(Kind::Read);
        let outcome = if says_nothing {
            Outcome::Failed
        } else {
            outcome
        };
        // An alarm stays with the checker, which only counts from there on.
        self.online.complete(&from, outcome, at)?;
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

    fn finish(self, notes: Vec<String>) -> Streamed {
        Streamed {
            ops: self.ops,
            keys: self.online.progress().keys.len() as u64,
            verdict: self.online.finish(),
            names: self.names,
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::jsonl;
    use crate::generate::{Generator, Recipe, Violation};
    use crate::linear::check;

    fn text(violate: Option<Violation>, seed: u64) -> Vec<u8> {
        let recipe = Recipe {
            ops: 20_000,
            clients: 8,
            keys: 3,
            pending: 0.02,
            failed: 0.02,
            violate,
            seed,
            ..Recipe::default()
        };
        let mut text = Vec::new();
        jsonl::write_header(&mut text, &recipe.header()).expect("a vector takes everything");
        for event in Generator::new(recipe) {
            jsonl::write_event(&mut text, &event).expect("a vector takes everything");
        }
        text
    }

    /// Reads within a memory that the history exceeds on its way.
    fn streamed(text: &[u8], memory: u64) -> Result<Streamed, Error> {
        let options = Options {
            memory,
            ..Options::default()
        };
        match read(text, "h", None, None, &options, false)? {
            Read::Judged(streamed) => Ok(*streamed),
            Read::Whole(_) => panic!("it was to be too large"),
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_whole() {
        for (seed, violate) in [
            (1, None),
            (2, Some(Violation::StaleRead)),
            (3, Some(Violation::FutureRead)),
            (4, Some(Violation::DirtyRead)),
        ] {
            let text = text(violate, seed);
            let loaded = format::read(text.as_slice(), "h", None, None).expect("a history");
            let whole = check(&loaded.history, &Options::default());
            let streamed = streamed(&text, 1 << 20).expect("a history");
            assert_eq!(streamed.ops, whole.ops);
            assert_eq!(streamed.keys, 3);
            match (&streamed.verdict, &whole.verdict) {
                (Verdict::Linearizable, Verdict::Linearizable) => assert!(violate.is_none()),
                (Verdict::Violation(streamed), Verdict::Violation(whole)) => {
                    assert_eq!(streamed.event, whole.event);
                }
                other => panic!("{violate:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_bad_line_is_named_after_the_history_was_let_go() {
        let mut text = text(None, 5);
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        text.extend_from_slice(b"{\"index\":7,\"type\":\"mark\",\"value\":\"late\"}\n");
        let error = streamed(&text, 1 << 20).expect_err("an index that falls");
        let expected = format!("h:{}: event index 7 does not come after ", lines + 1);
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}
