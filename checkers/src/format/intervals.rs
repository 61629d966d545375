//! Operations as intervals: who, what, when it was called and when it returned, as one record.
//!
//! Records become events in the order of their times. Operations are concurrent unless one returned strictly before the
//! other was called: where times are equal, calls come first. A client whose operations overlap is taken as several.

pub(super) mod csv;
pub(super) mod etcd;
pub(super) mod porcupine;
pub(super) mod rows;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::FxHashSet;

use super::Loaded;
use super::text::Text;
use super::tree::{Reader, Syntax, Tree, number};
use super::{Error, jepsen};
use crate::history::{Answer, Builder, Call, ClientId, Nil, Outcome};

/// A point in time, in billionths of its clock's unit.
type Time = i128;

/// So many of them are one of the clock's units.
const UNIT: Time = 1_000_000_000;

/// One operation.
struct Interval {
    client: Tree,
    key: String,
    call: Call,
    called: Time,
    returned: Option<Time>,
    outcome: Outcome,
    /// What a read of nothing means.
    nil: Nil,
    /// Where it stands, in bytes from the beginning.
    at: usize,
}

/// A history from operations in any order.
struct Gathered<'a> {
    text: &'a Text<'a>,
    builder: Builder,
    intervals: Vec<Interval>,
    notes: Vec<String>,
    /// Nanoseconds of the clock's unit, where it is known.
    unit_ns: Option<u64>,
}

impl<'a> Gathered<'a> {
    fn new(text: &'a Text<'a>, builder: Builder) -> Self {
        Self {
            text,
            builder,
            intervals: Vec::new(),
            notes: Vec::new(),
            unit_ns: None,
        }
    }

    /// Something to be said once.
    fn note(&mut self, note: &str) {
        let note = format!("{}: {note}", self.text.name);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn finish(mut self) -> Result<Loaded, Error> {
        let backwards =
            |one: &&Interval| one.returned.is_some_and(|returned| returned < one.called);
        if let Some(one) = self.intervals.iter().find(backwards) {
            return Err(self
                .text
                .malformed(one.at, "an operation that returned before it was called"));
        }
        self.intervals.sort_by_key(|one| (one.called, one.returned));
        let clients = self.clients();
        // Time, call before return, which.
        let mut events: Vec<(Time, bool, usize)> = Vec::new();
        for (i, one) in self.intervals.iter().enumerate() {
            events.push((one.called, false, i));
            // What is unknown stays open; what failed had no effect, whenever that was known.
            if one.outcome != Outcome::Unknown {
                events.push((one.returned.unwrap_or(one.called), true, i));
            }
        }
        events.sort_unstable();
        for (index, (time, returns, i)) in events.into_iter().enumerate() {
            let (one, client) = (&self.intervals[i], clients[i]);
            let unit = self.unit_ns.unwrap_or(0);
            let time_ns = u64::try_from(time * Time::from(unit) / UNIT).unwrap_or(0);
            let index = index as u64;
            let taken = if returns {
                self.builder.nil(one.nil);
                let answer = Answer {
                    outcome: one.outcome,
                    at: None,
                    node: None,
                };
                self.builder.complete(index, time_ns, client, answer, None)
            } else {
                self.builder
                    .invoke(index, time_ns, client, None, &one.key, one.call)
            };
            taken.map_err(|error| self.text.malformed(one.at, error.to_string()))?;
        }
        Ok(Loaded {
            history: self.builder.finish(),
            notes: self.notes,
            early: None,
        })
    }

    /// Each operation's client, one that has nothing else open.
    fn clients(&mut self) -> Vec<ClientId> {
        let numbers = self.intervals.iter().filter_map(|one| match one.client {
            Tree::Int(client) => Some(client.cast_unsigned()),
            _ => None,
        });
        let mut used: FxHashSet<ClientId> = numbers.collect();
        let mut free = 0;
        let mut fresh = || {
            while !used.insert(free) {
                free += 1;
            }
            free
        };
        // By client, those that it is taken as and that have nothing open, and since when: the longest first.
        let mut idle: BTreeMap<String, BinaryHeap<Reverse<(Time, ClientId)>>> = BTreeMap::new();
        let mut clients = Vec::with_capacity(self.intervals.len());
        let mut overlaps = false;
        for one in &self.intervals {
            let name = one.client.name();
            let is_new = !idle.contains_key(&name);
            let idle = idle.entry(name).or_default();
            let longest = idle
                .peek()
                .filter(|longest| longest.0.0 < one.called)
                .is_some();
            let client = match (&one.client, is_new) {
                _ if longest => idle.pop().map_or(0, |longest| longest.0.1),
                (Tree::Int(client), true) => client.cast_unsigned(),
                _ => fresh(),
            };
            overlaps |= !longest && !idle.is_empty();
            // What is unknown is never over.
            if one.outcome != Outcome::Unknown {
                idle.push(Reverse((one.returned.unwrap_or(one.called), client)));
            }
            clients.push(client);
        }
        if overlaps {
            self.note("clients have several operations open at once, or two that touch; each such client is taken as several");
        }
        clients
    }
}

/// A time as a record has it.
fn time(tree: &Tree) -> Result<Time, String> {
    let tree = match tree {
        Tree::Text(text) => number(text.trim()).unwrap_or_else(|| tree.clone()),
        other => other.clone(),
    };
    let wrong = || format!("the time {} is no number", jepsen::shorten(&tree.text()));
    match &tree {
        Tree::Int(time) => Ok(Time::from(*time) * UNIT),
        Tree::Number(text) => {
            let (whole, fraction) = text.split_once('.').ok_or_else(wrong)?;
            if fraction.len() > 9 || whole.len() > 20 {
                return Err(format!("the time {text} has too many digits"));
            }
            let digits = format!("{whole}{fraction:0<9}");
            digits.parse().map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// Each record of a JSON text, an array of objects or one after the other, with its place.
fn each_record(
    text: &Text<'_>,
    mut take: impl FnMut(&[(Tree, Tree)]) -> Result<Vec<Interval>, String>,
) -> Result<Vec<Interval>, Error> {
    let mut reader = Reader::new(text.bytes, Syntax::Json);
    let mut intervals = Vec::new();
    // Files one after the other are one report.
    loop {
        let inside = reader
            .open_list()
            .map_err(|found| jepsen::trouble(text, reader.began(), found))?;
        loop {
            let tree = reader
                .next(inside)
                .map_err(|found| jepsen::trouble(text, reader.began(), found))?;
            let Some(tree) = tree else {
                break;
            };
            let Tree::Map(entries) = &tree else {
                let shown = jepsen::shorten(&tree.text());
                return Err(text.malformed(
                    reader.began(),
                    format!("an operation must be an object, not {shown}"),
                ));
            };
            let taken = take(entries).map_err(|reason| text.malformed(reader.began(), reason))?;
            let at = reader.began();
            intervals.extend(taken.into_iter().map(|one| Interval { at, ..one }));
        }
        let more = reader
            .ahead()
            .map_err(|found| jepsen::trouble(text, reader.at(), found))?;
        if more.is_none() {
            return Ok(intervals);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::format;
    use crate::history::History;
    use crate::linear::{Options, check};

    fn load(rows: &[&str]) -> Result<History, String> {
        let text = format!(
            "call_ns,return_ns,client,op,key,value,output\n{}\n",
            rows.join("\n")
        );
        let loaded = format::read(text.as_bytes(), "h", None, None);
        loaded
            .map(|loaded| loaded.history)
            .map_err(|error| error.to_string())
    }

    fn verdict(rows: &[&str], expected: &str) {
        let history = load(rows).expect("well formed");
        assert_eq!(history.len(), rows.len());
        let verdict = check(&history, &Options::default()).verdict;
        assert_eq!(verdict.name(), expected, "{rows:?}");
    }

    #[test]
    fn operations_are_concurrent_unless_one_returned_strictly_before_the_other() {
        let write = "10,20,1,write,k,5,ok";
        verdict(&[write, "20,30,2,read,k,,nil"], "linearizable");
        verdict(&[write, "20.000000001,30,2,read,k,,nil"], "violation");
        verdict(&["20,30,2,read,k,,nil", write], "linearizable");
        verdict(&[write, "21,30,2,read,k,,nil"], "violation");
        // At one moment, in any order.
        verdict(
            &[
                "10,10,1,write,k,5,ok",
                "10,10,2,read,k,,nil",
                "10,10,3,read,k,,5",
            ],
            "linearizable",
        );
        // So are those of one client.
        verdict(&[write, "20,30,1,read,k,,nil"], "linearizable");
        verdict(&[write, "15,30,1,read,k,,nil"], "linearizable");
    }

    #[test]
    fn what_never_returned_may_take_effect_later_and_its_client_goes_on_as_another() {
        let unknown = "10,,1,write,k,5,";
        verdict(
            &[unknown, "20,30,1,read,k,,nil", "40,50,1,read,k,,5"],
            "linearizable",
        );
        verdict(
            &[unknown, "20,30,1,read,k,,5", "40,50,1,read,k,,nil"],
            "violation",
        );
        let history =
            load(&[unknown, "20,30,1,read,k,,nil", "40,50,1,read,k,,5"]).expect("a history");
        assert!(history.lint().is_empty(), "{:?}", history.lint());
        assert_ne!(history.client(0), history.client(1));
        assert_eq!(history.client(1), history.client(2));
    }

    #[test]
    fn an_output_that_may_mean_anything_is_refused_and_an_error_is_unknown() {
        verdict(
            &["10,20,1,write,k,5,timeout", "30,40,1,read,k,,5"],
            "linearizable",
        );
        verdict(
            &["10,20,1,write,k,5,fail", "30,40,1,read,k,,5"],
            "violation",
        );
        for (row, expected) in [
            (
                "10,20,1,write,k,5,7",
                "what the output 7 of a write means is not known",
            ),
            ("10,20,1,write,k,,ok", "a write of nothing"),
            (
                "20,10,1,read,k,,5",
                "an operation that returned before it was called",
            ),
            ("soon,20,1,read,k,,5", "the time soon is no number"),
            ("10,20,1,swap,k,5,ok", "the f \"swap\" is not known"),
            ("10,20,1,cas,k,5,ok", "a cas without an old value"),
        ] {
            let error = load(&[row]).expect_err(row);
            assert!(
                error.starts_with("h:2: ") && error.contains(expected),
                "{error}"
            );
        }
    }
}
