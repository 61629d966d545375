//! One file: read, judged, and what came of it.

use std::fs::File;
use std::io::{self, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use checkers::anomaly::{self, Anomaly};
use checkers::explain;
use checkers::format::{Error, Format, Loaded};
use checkers::history::{History, Lint, Little, Names, Nil};
use checkers::linear::explanation::explanation;
use checkers::linear::stream::{self, Read, Reading, Streamed};
use checkers::linear::{self, Options};
use checkers::verdict::Verdict;
use serde_json::json;

use super::collect::Refusal;
use super::typed::{self, Typed};
use super::{CheckArgs, Item, NilArg};
use crate::cli::gather;
use crate::cli::{BENCH_ERROR, FOUND, MALFORMED, UNKNOWN, USAGE, VACUOUS};

/// What came of one file.
pub(super) struct Checked {
    pub(super) path: String,
    pub(super) expected: Option<&'static str>,
    pub(super) seconds: f64,
    /// What is to be said beside it.
    pub(super) notes: Vec<String>,
    pub(super) came: Came,
}

pub(super) enum Came {
    Judged(Box<Judged>),
    /// It is of a data type beside the register and the list.
    Typed(Box<Typed>),
    /// It is no history, or the beginning of one, of so many operations on so many keys, in which nothing is violated.
    Malformed {
        reason: String,
        ops: u64,
        keys: u64,
    },
    /// It was not judged.
    Refused(Refusal),
}

/// What is left of a history that was judged.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// What a violation is called.
    pub(super) anomaly: Option<Anomaly>,
    pub(super) ops: u64,
    pub(super) keys: u64,
    pub(super) algorithm: &'static str,
    pub(super) names: Names,
    pub(super) lints: Vec<Lint>,
    /// Whether it lacks what it must show.
    pub(super) vacuous: bool,
    /// With `--explain`: as data, and as sentences.
    pub(super) explained: Option<(serde_json::Value, String)>,
}

/// Reads and judges one file. Whatever is wrong with it, or with us, is told of this file and hides no other.
pub(super) fn check(item: &Item, args: &CheckArgs, format: Option<Format>) -> Checked {
    let started = Instant::now();
    let path = match item.path.as_os_str() == "-" {
        true => "stdin".to_owned(),
        false => item.path.display().to_string(),
    };
    let mut notes = Vec::new();
    let came = match &item.refused {
        Some(refusal) => Came::Refused(refusal.clone()),
        None => whatever_happens(|| came_of(item, &path, args, format, &mut notes)),
    };
    notes.extend(item.note.map(|note| format!("{path}: {note}")));
    Checked {
        path,
        expected: item.expected,
        seconds: started.elapsed().as_secs_f64(),
        notes,
        came,
    }
}

/// What comes of judging; a panic, which is a bug of ours, is this file's alone.
fn whatever_happens(judging: impl FnOnce() -> Came) -> Came {
    catch_unwind(AssertUnwindSafe(judging)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or(panic.downcast_ref::<&str>().copied());
        Came::Refused(Refusal {
            code: BENCH_ERROR,
            why: format!("judging it panicked: {}", words.unwrap_or_default()),
        })
    })
}

fn came_of(
    item: &Item,
    name: &str,
    args: &CheckArgs,
    format: Option<Format>,
    notes: &mut Vec<String>,
) -> Came {
    let opened: io::Result<Box<dyn io::Read>> = match &item.gathered {
        _ if item.path.as_os_str() == "-" => Ok(Box::new(io::stdin())),
        Some(gathered) => {
            notes.push(format!("{name}: {}", gathered.note));
            gather::open(&gathered.parts)
        }
        None => File::open(&item.path).map(|file| Box::new(file) as Box<dyn io::Read>),
    };
    let input = match opened {
        Ok(input) => input,
        Err(error) => return Came::Refused(Refusal::of(&error)),
    };
    let nil = args.nil.map(|nil| match nil {
        NilArg::Absent => Nil::Absent,
        NilArg::Any => Nil::Any,
    });
    let input = BufReader::with_capacity(1 << 16, input);
    let options = Options {
        budget: args.budget.unwrap_or(Options::default().budget),
        memory: args.memory << 20,
        ..Options::default()
    };
    let reading = Reading {
        format,
        nil,
        initial: args.initial.clone(),
        pinned: args.budget.is_some(),
        spec: args.spec.clone(),
    };
    let read = stream::read(input, name, &reading, &options);
    let (judged, early) = match read {
        Ok(Read::Typed(loaded)) => return typed::came_of(*loaded, args, options, name, notes),
        Ok(Read::Whole(loaded)) => {
            if let Some(misfit) = misfit(&loaded.history.header.spec, args) {
                return Came::Refused(misfit);
            }
            let Loaded {
                notes: said, early, ..
            } = &*loaded;
            notes.extend(said.iter().cloned());
            let early = early.as_ref().map(too_early);
            (judged(*loaded, args, options, name, notes), early)
        }
        Ok(Read::Judged(streamed)) => {
            if let Some(misfit) = misfit(&streamed.spec, args) {
                return Came::Refused(misfit);
            }
            if args.strict && streamed.verdict.holds() {
                let why =
                    "is too long to be held, and --strict needs all of it: allow more --memory";
                return Came::Refused(usage(why.to_owned()));
            }
            if !args.require.is_empty() && streamed.verdict.holds() {
                let why =
                    "is too long to be held, and --require needs all of it: allow more --memory";
                return Came::Refused(usage(why.to_owned()));
            }
            notes.extend(streamed.notes.iter().cloned());
            let early = streamed.early.as_ref().map(too_early);
            (judged_on_its_way(*streamed), early)
        }
        Err(error) => return too_early(&placed(error, item, notes)),
    };
    match early {
        Some(early) => beginning(judged, early, notes),
        None => Came::Judged(Box::new(judged)),
    }
}

/// The error of a file that is no history: of several that are one, in which of them; what else could be said goes to the
/// notes.
fn placed(mut error: Error, item: &Item, notes: &mut Vec<String>) -> Error {
    let gathered = item.gathered.as_ref();
    let parts = gathered.map_or(&[][..], |gathered| &gathered.parts);
    if let Error::Malformed {
        name, line, advice, ..
    } = &mut error
    {
        if let Some((part, there)) = gather::part_of(parts, *line) {
            *name = part.display().to_string();
            *line = there;
        }
        notes.extend(advice.take());
    }
    error
}

/// What a violation is called.
fn named(verdict: &Verdict, history: Option<&History>) -> Option<Anomaly> {
    match verdict {
        Verdict::Violation(found) => Some(anomaly::of(found, history)),
        Verdict::Linearizable | Verdict::Unknown(_) => None,
    }
}

/// What came of a file that has no more than this error.
pub(super) fn too_early(error: &Error) -> Came {
    match error {
        Error::Malformed { .. } => Came::Malformed {
            reason: error.to_string(),
            ops: 0,
            keys: 0,
        },
        Error::Begun { reason, .. } => Came::Refused(usage(format!("--initial: {reason}"))),
        Error::Unclear { reason, .. } => Came::Refused(usage(reason.clone())),
        Error::Io { source, .. } => Came::Refused(Refusal::of(source)),
    }
}

/// What came of a file of which there is only a beginning: a violation in it is one, whatever is lacking; that the rest
/// holds says nothing of the whole.
fn beginning(judged: Judged, early: Came, notes: &mut Vec<String>) -> Came {
    let Judged {
        verdict, ops, keys, ..
    } = &judged;
    let so_far = format!(
        "the {ops} operations before that are {}",
        match verdict {
            Verdict::Linearizable => "linearizable",
            Verdict::Violation(_) => "not linearizable",
            Verdict::Unknown(_) => "not decided within the budget",
        }
    );
    let is_violated = matches!(verdict, Verdict::Violation(_));
    match early {
        Came::Malformed { reason, .. } if is_violated => notes.push(reason),
        Came::Refused(refusal) if is_violated => notes.push(refusal.why),
        Came::Malformed { reason, .. } => {
            return Came::Malformed {
                reason: format!("{reason}; {so_far}"),
                ops: *ops,
                keys: *keys,
            };
        }
        Came::Refused(Refusal { code, why }) => {
            let why = format!("{why}; {so_far}");
            return Came::Refused(Refusal { code, why });
        }
        Came::Judged(_) | Came::Typed(_) => {}
    }
    Came::Judged(Box::new(judged))
}

fn judged(
    loaded: Loaded,
    args: &CheckArgs,
    options: Options,
    name: &str,
    notes: &mut Vec<String>,
) -> Judged {
    let history = loaded.history;
    let pinned = history.header.budget.filter(|_| args.budget.is_none());
    let options = match (pinned, args.budget) {
        (Some(budget), _) => Options { budget, ..options },
        (None, Some(_)) => options,
        (None, None) => options.for_length(history.len()),
    };
    let mut report = linear::check(&history, &options);
    if args.strict && report.verdict.holds() {
        report.verdict = linear::strict::check(&history, &options);
    }
    let explained = args.explain.then(|| {
        let explained = explanation(&history, &report, &options);
        (json!(explained), explain::more(&explained, &history))
    });
    let little = match report.verdict.holds() {
        true => history.shows_little(),
        false => Vec::new(),
    };
    notes.extend(little.iter().map(|little| format!("{name}: {little}")));
    let misses = |little: &Little| args.require.iter().any(|require| require.misses(*little));
    let vacuous = little.iter().any(misses);
    if vacuous {
        notes.push(format!("{name}: it does not show what --require asks for"));
    }
    Judged {
        explained,
        vacuous,
        anomaly: named(&report.verdict, Some(&history)),
        verdict: report.verdict,
        ops: report.ops,
        keys: history.keys.len() as u64,
        algorithm: report.algorithm.name(),
        lints: history.lint(),
        names: history.names,
    }
}

fn judged_on_its_way(streamed: Streamed) -> Judged {
    Judged {
        anomaly: named(&streamed.verdict, None),
        verdict: streamed.verdict,
        ops: streamed.ops,
        keys: streamed.keys,
        algorithm: "online",
        explained: None,
        vacuous: false,
        lints: Vec::new(),
        names: streamed.names,
    }
}

/// Why a history of this spec is not what was asked for, if it is not.
pub(super) fn misfit(own: &str, args: &CheckArgs) -> Option<Refusal> {
    let wanted = args.spec.as_deref().filter(|wanted| *wanted != own)?;
    Some(usage(format!("it is a history of {own}, not of {wanted}")))
}

pub(super) fn usage(why: String) -> Refusal {
    Refusal { code: USAGE, why }
}

impl Checked {
    /// The verdict's word; `refused` where there is none.
    pub(super) fn verdict(&self) -> &'static str {
        match &self.came {
            Came::Judged(judged) => judged.verdict.name(),
            Came::Typed(typed) => typed.report.verdict.name(),
            Came::Malformed { .. } => "malformed",
            Came::Refused(_) => "refused",
        }
    }

    /// Whether it came out as its folder promises; without a promise, always.
    pub(super) fn as_expected(&self) -> bool {
        self.expected
            .is_none_or(|expected| expected == self.verdict())
    }

    /// The exit code if there were no other file.
    pub(super) fn code(&self) -> u8 {
        match (&self.came, self.verdict()) {
            (Came::Refused(refusal), _) => refusal.code,
            (Came::Judged(judged), _) if judged.vacuous => VACUOUS,
            (Came::Typed(typed), _) if typed.vacuous => VACUOUS,
            _ if self.expected.is_some() && self.as_expected() => 0,
            _ if self.expected.is_some() => FOUND,
            (_, "violation") => FOUND,
            (_, "malformed") => MALFORMED,
            (_, "unknown") => UNKNOWN,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_a_file_is_judged_is_told_of_this_file() {
        let judging: fn() -> Came = || panic!("a bug: {}", 7);
        let Came::Refused(refusal) = whatever_happens(judging) else {
            panic!("nothing came of it");
        };
        assert_eq!(refusal.code, BENCH_ERROR);
        assert_eq!(refusal.why, "judging it panicked: a bug: 7");
    }
}
