//! `whitewater check`: histories from files, folders or stdin, each with its verdict.
//!
//! A folder in which a folder is named linearizable, violating, unknown or malformed is a corpus: the names are the
//! expected verdicts, and only a mismatch is a failure. Every path has a line: its verdict, or why it has none; no file
//! hides another one's. The exit code is the worst of all.

mod collect;
mod judge;
mod print;
mod typed;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::channel;

use anyhow::Context;
use checkers::format::{self, Format};
use checkers::history::{LIST_APPEND, Little};
use checkers::types;
use clap::{Args, ValueEnum};
use rayon::prelude::*;

use super::out::{Out, worst};
use super::{FOUND, USAGE, Usage, signals};
use crate::report;
use collect::{Collected, Item};
use judge::{Came, Checked, check};

/// What `check` takes.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files, folders, or - for stdin. A folder whose subfolders are named linearizable, violating, unknown and
    /// malformed is a corpus: each name is the expected verdict. README, LICENSE, *.md and hidden files are no histories.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The format: auto, or one of `whitewater list formats`.
    #[arg(long, default_value = "auto")]
    format: String,
    /// The data type that the histories must be of: register, list-append, mutex, lock, set, ids, increasing-ids, counter,
    /// queue, fifo-queue, log or versioned-register. Where a file does not say its own, what its operations are called does.
    #[arg(long)]
    spec: Option<String>,
    /// What an ok read of nil means: the key was absent (checked), or nothing. Each format has its own default.
    #[arg(long)]
    nil: Option<NilArg>,
    /// What each key held before the first event, written as the file writes values: 0, "jam", [1 2], nil; or any, where
    /// nobody knows: then a key is accused only if it breaks whatever was there. Else what the file's header says, or
    /// absent.
    #[arg(long, value_name = "VALUE|any", value_parser = format::initial, allow_hyphen_values = true)]
    initial: Option<serde_json::Value>,
    /// Take failed cas at their word, as Knossos does: "the value was not what you expect" is an answer, too. Only for
    /// histories in which a cas fails by comparison alone: one that was refused for another reason would be accused.
    #[arg(long)]
    strict: bool,
    /// What a history must show, else it is vacuous (exit 3) though it holds: success, that something succeeded; reads,
    /// that a read looks at what was written; overlap, that operations on one key are concurrent; all.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    require: Vec<Require>,
    /// One JSON object a file on stdout, and nothing else.
    #[arg(long)]
    json: bool,
    /// Draw the counterexample and say why, what would have been legal and what was kept; for what holds, an order.
    #[arg(long)]
    explain: bool,
    /// Threads.
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Megabytes that a history may hold, and one key's search. A longer one is judged on its way instead;
    /// its keys and its different texts stay, whatever they take.
    #[arg(long, value_name = "MB", default_value_t = 2048, value_parser = clap::value_parser!(u64).range(1..))]
    memory: u64,
    /// Configurations that one key's search may visit before the verdict is unknown: 3,000,000, and 48 for each operation,
    /// unless this says otherwise. A file's header may pin its own.
    #[arg(long, value_name = "CONFIGURATIONS")]
    budget: Option<u64>,
    /// Write the verdicts as JUnit XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Take a corpus as any folder: its names mean nothing.
    #[arg(long)]
    no_expect: bool,
}

/// What a read of nil means.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum NilArg {
    /// The key was absent.
    Absent,
    /// Nothing: such a read is legal anywhere.
    Any,
}

/// What a history must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Require {
    /// An operation that succeeded.
    Success,
    /// A read of a key that something was written to.
    Reads,
    /// Concurrent operations on one key.
    Overlap,
    /// All of it.
    All,
}

impl Require {
    /// Whether this is what it asks for.
    fn misses(self, little: Little) -> bool {
        match little {
            // Who shows nothing shows nothing of this.
            Little::NoOperation | Little::NoSuccess(_) => true,
            Little::NoReadAfterWrite => matches!(self, Self::Reads | Self::All),
            Little::NoOverlap => matches!(self, Self::Overlap | Self::All),
        }
    }
}

/// Checks what the arguments name, and gives the exit code: the worst of all files.
///
/// # Errors
/// When the arguments make no sense.
pub(crate) fn run(args: &CheckArgs, out: &mut Out) -> anyhow::Result<u8> {
    let format = format_of(args)?;
    let mut collected = Collected::default();
    for path in &args.paths {
        collected.add(path, args.no_expect);
    }
    say_hidden(&collected.hidden, out);
    signals::end(out.found().clone())?;
    let items = &collected.items;
    let threads = args.jobs.map_or(0, std::num::NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = pool.build().context("could not start the threads")?;
    let bar = progress_bar(items.len());
    let mut checked: Vec<Checked> = Vec::new();
    std::thread::scope(|scope| {
        let (tell, told) = channel();
        scope.spawn(|| {
            let work = items.par_iter().enumerate();
            pool.install(|| {
                // Nobody listens any more where the printing has panicked.
                work.for_each_with(tell, |tell, (at, item)| {
                    drop(tell.send((at, check(item, args, format))));
                });
            });
        });
        // Each is told as soon as all before it are, so that what ends the program hides as little as can be.
        let mut waiting = BTreeMap::new();
        for (at, one) in told {
            note_found(&one, out);
            waiting.insert(at, one);
            while let Some(one) = waiting.remove(&checked.len()) {
                bar.inc(1);
                bar.suspend(|| tell_one(&one, args, out));
                checked.push(one);
            }
        }
    });
    bar.finish_and_clear();
    if !args.json && checked.len() > 1 {
        out.print(|out| print::summary(out, &checked));
    }
    if let Some(path) = &args.junit {
        let cases = checked
            .iter()
            .map(Checked::case)
            .collect::<io::Result<Vec<_>>>()?;
        if let Err(failure) = report::junit(path, "whitewater check", &cases) {
            out.failed(failure);
        }
    }
    Ok(checked.iter().map(Checked::code).fold(0, worst))
}

/// The format that was asked for; refuses names that there are none of.
fn format_of(args: &CheckArgs) -> anyhow::Result<Option<Format>> {
    if let Some(spec) = &args.spec
        && !["register", LIST_APPEND].contains(&spec.as_str())
        && types::by_name(spec).is_none()
    {
        let known: Vec<&str> = types::ALL.iter().map(|of| of.name()).collect();
        return Err(Usage(format!(
            "spec {spec:?} is not known; known: register, {LIST_APPEND}, {}",
            known.join(", ")
        ))
        .into());
    }
    match args.format.as_str() {
        "auto" => Ok(None),
        name => match name.parse::<Format>() {
            Ok(format) => Ok(Some(format)),
            Err(error) => Err(Usage(error.to_string()).into()),
        },
    }
}

/// From now on nothing ends the program as if this file had come out well.
fn note_found(one: &Checked, out: &Out) {
    if one.code() == FOUND {
        out.found()
            .note(|| format!("{}: {}", one.path, one.verdict()));
    }
}

/// Prints what came of one file. What was never one is told like any other wrong usage, on stderr.
fn tell_one(one: &Checked, args: &CheckArgs, out: &mut Out) {
    if let Came::Refused(refusal) = &one.came
        && refusal.code == USAGE
    {
        out.note(format_args!("whitewater: {}: {}", one.path, refusal.why));
        if !args.json {
            return;
        }
    }
    out.print(|out| match args.json {
        true => {
            serde_json::to_writer(&mut *out, &one.json())?;
            io::Write::write_all(out, b"\n")
        }
        false => one.print(out, args.explain),
    });
    out.flush();
}

/// Hidden files are passed over, and that is said.
fn say_hidden(hidden: &[PathBuf], out: &Out) {
    const NAMED: usize = 3;
    if hidden.is_empty() {
        return;
    }
    let named = hidden.iter().take(NAMED).map(|path| path.display());
    let named: Vec<String> = named.map(|path| path.to_string()).collect();
    let more = match hidden.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    out.note(format_args!(
        "note: hidden, so passed over: {}{more}",
        named.join(", ")
    ));
}

/// A bar over the files, where stderr is a terminal and there is something to wait for.
fn progress_bar(files: usize) -> indicatif::ProgressBar {
    if files > 1 && io::stderr().is_terminal() {
        indicatif::ProgressBar::new(files as u64)
    } else {
        indicatif::ProgressBar::hidden()
    }
}
