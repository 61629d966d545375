//! Is a history linearizable? Key by key (Herlihy & Wing's locality), each with the cheapest exact algorithm.

mod blocks;
pub mod certificate;
pub mod dfs;
mod evidence;
pub mod explanation;
pub mod frontier;
mod gaps;
mod lists;
pub mod online;
pub mod rename;
mod searches;
mod sources;
mod starts;
pub mod stream;
pub mod strict;
pub mod weaker;
pub mod witness;
pub mod zones;

pub use certificate::certificate;
use rayon::prelude::*;

use crate::history::{End, History, KeyHistory, NEVER, Op, Start, Values};
use crate::verdict::{Algorithm, Exhausted, Verdict};

/// How much a check may spend, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Configurations that one key's search may visit before the verdict is unknown.
    pub budget: u64,
    /// Bytes that one key's search may hold.
    pub memory: u64,
    /// Use this algorithm instead of the cheapest that applies; where it does not apply, the next that does.
    pub algorithm: Option<Algorithm>,
}

impl Options {
    /// The same for a history of so many operations, of which each pays for some configurations more.
    #[must_use]
    pub fn for_length(self, ops: usize) -> Self {
        Self {
            budget: self.budget.saturating_add(PAID_BY_OPERATION * ops as u64),
            ..self
        }
    }
}

/// Configurations that each operation pays for.
const PAID_BY_OPERATION: u64 = 48;

impl Default for Options {
    fn default() -> Self {
        Self {
            budget: 3_000_000,
            memory: 2 << 30,
            algorithm: None,
        }
    }
}

/// What is left of the options while a search spends it.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    options: Options,
    configurations: u64,
    bytes: u64,
    exhausted: Option<Exhausted>,
}

impl Budget {
    /// All that the options allow.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            options: *options,
            configurations: 0,
            bytes: 0,
            exhausted: None,
        }
    }

    /// Spends one configuration that stays in memory with this many bytes; false when that is too much.
    pub fn spend(&mut self, bytes: usize) -> bool {
        self.configurations += 1;
        self.bytes += bytes as u64;
        if self.configurations > self.options.budget {
            self.exhausted = Some(Exhausted::Configurations {
                budget: self.options.budget,
            });
        } else if self.bytes > self.options.memory {
            self.exhausted = Some(Exhausted::Memory {
                bytes: self.options.memory,
            });
        }
        self.exhausted.is_none()
    }

    /// A budget of its own with half of what is left; what it spends is still to be [charged](Self::charge) here.
    pub(crate) fn half(&self) -> Self {
        let left = self.options.budget.saturating_sub(self.configurations);
        Self::new(&Options {
            budget: left / 2,
            ..self.options
        })
    }

    /// Spends work that is worth so many configurations; whether that was too much is seen at the next one.
    pub(crate) fn charge(&mut self, configurations: u64) {
        self.configurations += configurations;
    }

    /// Nothing is left, for a reason that is not the options'.
    pub(crate) fn give_up(&mut self, why: Exhausted) {
        self.exhausted = Some(why);
    }

    /// How many configurations were visited.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.configurations
    }

    /// What ran out.
    pub(crate) fn reason(&self) -> Exhausted {
        self.exhausted.unwrap_or(Exhausted::Configurations {
            budget: self.options.budget,
        })
    }
}

/// A verdict and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The history's verdict.
    pub verdict: Verdict,
    /// The algorithm of the key that decided, or of the most expensive key where all hold.
    pub algorithm: Algorithm,
    /// Operations.
    pub ops: u64,
    /// Each key's own verdict in short.
    pub keys: Vec<KeyReport>,
}

/// One key's verdict in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReport {
    /// The key's name.
    pub key: String,
    /// Its operations.
    pub ops: u64,
    /// What decided it.
    pub algorithm: Algorithm,
    /// Configurations visited.
    pub configurations: u64,
    /// What it came to.
    pub judgement: Judgement,
}

/// What a key's check came to, in positions of that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Linearizable.
    Holds,
    /// Not linearizable.
    Fails,
    /// A budget ran out; all before `proven_to` is proven.
    Unknown {
        /// A position among the key's events.
        proven_to: u32,
        /// What ran out.
        exhausted: Exhausted,
    },
}

/// Checks a whole history. Of several violations, the one whose completing event is earliest is reported; of the others
/// it is only found out when they show.
#[must_use]
pub fn check(history: &History, options: &Options) -> Report {
    let judged: Vec<KeyReport> = history
        .keys
        .par_iter()
        .map(|key| judge_key_of(Some(history), key, options))
        .collect();
    let earliest = history
        .keys
        .par_iter()
        .zip(&judged)
        .filter(|(_, report)| report.judgement == Judgement::Fails)
        .map(|(key, report)| {
            let first = evidence::first_bad(key, options);
            let event = evidence::event_at(history, key, first.position);
            (event, first, key, report.algorithm)
        })
        .min_by_key(|(event, ..)| *event);
    let counterexample = earliest.map(|(_, first, key, algorithm)| {
        (evidence::explain(history, key, first, options), algorithm)
    });
    let undecided =
        history
            .keys
            .iter()
            .zip(&judged)
            .find_map(|(key, report)| match report.judgement {
                Judgement::Unknown {
                    proven_to,
                    exhausted,
                } => Some((
                    evidence::reason(history, key, proven_to, exhausted),
                    report.algorithm,
                )),
                Judgement::Holds | Judgement::Fails => None,
            });
    let dearest = judged.iter().map(|report| report.algorithm).max();
    let (verdict, algorithm) = match (counterexample, undecided) {
        (Some((counterexample, algorithm)), _) => {
            (Verdict::Violation(Box::new(counterexample)), algorithm)
        }
        (None, Some((reason, algorithm))) => (Verdict::Unknown(reason), algorithm),
        (None, None) => (Verdict::Linearizable, dearest.unwrap_or(Algorithm::Zones)),
    };
    Report {
        verdict,
        algorithm,
        ops: history.len() as u64,
        keys: judged,
    }
}

/// Judges one key by itself.
#[must_use]
pub fn judge_key(key: &KeyHistory, options: &Options) -> KeyReport {
    judge_key_of(None, key, options)
}

/// As [`judge_key`]; the history, where it is given, has the order of the log.
fn judge_key_of(history: Option<&History>, key: &KeyHistory, options: &Options) -> KeyReport {
    if !key.gaps.is_empty() {
        return judge_parts(history, key, options);
    }
    let without = judge_without(key, options);
    let word = strict::Word::Compared;
    if without.judgement != Judgement::Holds || !word.given(key) {
        return without;
    }
    if key.start == Start::Any {
        return judge_each(history, key, options);
    }
    let (judgement, spent) = strict::judge_further(key, word, history, options);
    KeyReport {
        judgement,
        algorithm: match spent {
            0 => without.algorithm,
            _ => Algorithm::DepthFirst,
        },
        configurations: without.configurations + spent,
        ..without
    }
}

/// Judges a key of which nobody knows what it began as, from each start that it may have had.
fn judge_each(history: Option<&History>, key: &KeyHistory, options: &Options) -> KeyReport {
    let keys = starts::each(key);
    let mut each = starts::Each::new(keys.len(), options);
    for started in keys {
        let report = judge_key_of(history, &started, &each.options());
        if each.came(report.judgement, report.configurations, 0) {
            return KeyReport {
                configurations: each.spent,
                ..report
            };
        }
        each.algorithm = each.algorithm.max(report.algorithm);
    }
    KeyReport {
        key: key.name.clone(),
        ops: (key.ops.len() as u64).saturating_sub(u64::from(key.looks)),
        algorithm: each.algorithm,
        configurations: each.spent,
        judgement: each.judgement,
    }
}

/// Judges a key out of which events are lost: the first part that fails decides, else the first of which nothing is known.
fn judge_parts(history: Option<&History>, key: &KeyHistory, options: &Options) -> KeyReport {
    let mut whole = KeyReport {
        key: key.name.clone(),
        ops: (key.ops.len() as u64).saturating_sub(u64::from(key.looks)),
        algorithm: Algorithm::Zones,
        configurations: 0,
        judgement: Judgement::Holds,
    };
    for part in gaps::parts(key) {
        let lost = Judgement::Unknown {
            proven_to: part.whole(0),
            exhausted: Exhausted::Lost,
        };
        let judgement = if !part.worth.any() {
            lost
        } else {
            let report = judge_key_of(history, &part.key, options);
            whole.algorithm = whole.algorithm.max(report.algorithm);
            whole.configurations += report.configurations;
            match report.judgement {
                Judgement::Fails if !part.worth.fails => lost,
                Judgement::Holds if !part.worth.holds => lost,
                Judgement::Unknown {
                    proven_to,
                    exhausted,
                } => Judgement::Unknown {
                    proven_to: part.whole(proven_to),
                    exhausted,
                },
                decided => decided,
            }
        };
        match judgement {
            Judgement::Fails => {
                whole.judgement = judgement;
                break;
            }
            Judgement::Unknown { .. } if whole.judgement == Judgement::Holds => {
                whole.judgement = judgement;
            }
            Judgement::Unknown { .. } | Judgement::Holds => {}
        }
    }
    whole
}

/// Judges one key, of whose failed cas nobody's word is taken, and out of which nothing is lost.
fn judge_without(key: &KeyHistory, options: &Options) -> KeyReport {
    let (judgement, algorithm, configurations) = match &key.lists {
        Some(of_key) => {
            let (judgement, spent) =
                lists::judge(&key.ops, key.start, &key.values, of_key, options);
            (judgement, Algorithm::DepthFirst, spent)
        }
        None => {
            let (judgement, algorithm, spent, _) =
                judge(&key.ops, key.start, &key.values, key.events, options);
            (judgement, algorithm, spent)
        }
    };
    KeyReport {
        key: key.name.clone(),
        ops: (key.ops.len() as u64).saturating_sub(u64::from(key.looks)),
        algorithm,
        configurations,
        judgement,
    }
}

/// Judges operations of one key with the cheapest algorithm that applies: what it came to, what decided, configurations
/// visited, and for a failure a position before which it can't show.
fn judge(
    ops: &[Op],
    start: Start,
    values: &Values,
    events: u32,
    options: &Options,
) -> (Judgement, Algorithm, u64, u32) {
    match start {
        Start::Absent => judge_absent(ops, values.len(), events, options),
        Start::Value(start) => starts::judge_from(start, ops, values.len(), events, options),
        Start::Any => starts::judge_any(ops, values, events, options),
    }
}

/// As [`judge`], of a key that was absent at first.
fn judge_absent(
    ops: &[Op],
    values: usize,
    events: u32,
    options: &Options,
) -> (Judgement, Algorithm, u64, u32) {
    if options
        .algorithm
        .is_none_or(|wanted| wanted == Algorithm::Zones)
    {
        match zones::check(ops, values, events) {
            zones::Zones::Holds => return (Judgement::Holds, Algorithm::Zones, 0, 0),
            zones::Zones::Fails(_) => return (Judgement::Fails, Algorithm::Zones, 0, 0),
            zones::Zones::NotUnique => {}
        }
        if let Some(renamed) = rename::deletes(ops, values) {
            match zones::check(&renamed.ops, renamed.values, events) {
                zones::Zones::Holds => return (Judgement::Holds, Algorithm::Zones, 0, 0),
                zones::Zones::Fails(_) => return (Judgement::Fails, Algorithm::Zones, 0, 0),
                zones::Zones::NotUnique => {}
            }
        }
    }
    searches::search(ops, values, events, options)
}

/// The operations as they stood right after position `last`: what had not ended is unknown.
#[must_use]
pub fn prefix(ops: &[Op], last: u32) -> Vec<Op> {
    ops.iter()
        .take_while(|op| op.call <= last)
        .map(|op| {
            if op.ret <= last {
                return *op;
            }
            Op {
                ret: NEVER,
                end: End::Unknown,
                ..*op
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, Event, EventKind, Header, Outcome};

    /// A write of 1 to each key, and then a read of what nobody wrote from those keys whose number `bad` takes.
    fn many_keys(keys: u64, bad: impl Fn(u64) -> bool) -> History {
        let mut events = Vec::new();
        let mut run = |key: u64, call, found| {
            let invoke = EventKind::Invoke {
                key: format!("k{key}"),
                call,
            };
            let complete = EventKind::Complete {
                outcome: Outcome::Ok(found),
                at: None,
                error: None,
            };
            for kind in [invoke, complete] {
                let index = events.len() as u64;
                events.push(Event {
                    index,
                    time_ns: index,
                    client: Some(key),
                    node: None,
                    kind,
                });
            }
        };
        for key in 0..keys {
            run(key, Call::Write(1), None);
        }
        for key in (0..keys).rev() {
            run(key, Call::Read, Some(if bad(key) { 2 } else { 1 }));
        }
        History::from_events(Header::default(), &events).expect("well formed")
    }

    #[test]
    fn every_key_is_judged_and_the_earliest_violation_is_shown() {
        let bad = |key: u64| key.is_multiple_of(3) && key < 990;
        let history = many_keys(1_000, bad);
        let report = check(&history, &Options::default());
        for (number, key) in (0..).zip(&report.keys) {
            assert_eq!(key.judgement == Judgement::Fails, bad(number), "{number}");
        }
        let Verdict::Violation(found) = report.verdict else {
            panic!("{:?}", report.verdict);
        };
        // The reads come in the opposite order: 12 come before that of 987.
        let read = 2_000 + (999 - 987) * 2;
        assert_eq!((found.key.as_str(), found.event), ("k987", read + 1));
        assert_eq!(found.culprit, read);
    }
}
