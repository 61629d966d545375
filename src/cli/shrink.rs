//! `whitewater shrink`: the smallest plan that still breaks it, as a scenario that replays and fits an issue.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;

use super::out::Out;
use super::run::{drawn_seed, find};
use super::{BENCH_ERROR, INTERRUPTED, UNKNOWN, Usage};
use crate::campaign::{self, Left, Rate, Shrink, Shrunk, Signature, Step, Stopped, Wanted};
use crate::journal;
use crate::run::{Changes, Resolved};

/// What `shrink` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShrinkArgs {
    /// The folder of a run that failed, or a scenario that does.
    run: String,
    /// Nothing more is tried after so long: 90s, 20m, 2h; a number alone is seconds.
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = super::hunt::seconds)]
    budget: u64,
    /// What is left is run so often, for its rate.
    #[arg(long, value_name = "N", default_value_t = 20)]
    confirm: u64,
    /// Whatever fails counts, not only what fails as that run did: where one bug has many faces.
    #[arg(long)]
    any: bool,
    /// So many runs at once.
    #[arg(long, value_name = "J", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// What a scenario's plan is drawn from; drawn itself, and printed, where it is not given.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where the smaller scenario is written, and its runs' folders are.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &ShrinkArgs, out: &mut Out) -> anyhow::Result<u8> {
    let folder = Path::new(&args.run);
    let of_a_run = folder.is_dir();
    let name = match of_a_run {
        true => folder.join("scenario.toml").to_string_lossy().into_owned(),
        false => args.run.clone(),
    };
    let given = find(&name)?;
    if of_a_run && given.seed().is_none() {
        return Err(Usage(format!("{name} is no run's: its plan is still to be drawn")).into());
    }
    let seed = given.seed().or(args.seed).unwrap_or_else(drawn_seed);
    let parent = given
        .resolve(&Changes::default(), seed, None)
        .map_err(|e| Usage(e.to_string()))?;
    if parent.scenario.seconds == 0 {
        return Err(Usage(format!("{name} has no end of its own")).into());
    }
    let failed = match of_a_run {
        true => how_it_failed(folder)?,
        false => None,
    };
    let wanted = match failed {
        _ if args.any => Wanted::Any,
        Some(signature) => Wanted::Like(Box::new(signature)),
        None => Wanted::Frequent,
    };
    let dir = args.out.clone().unwrap_or_else(|| {
        let stamp = journal::utc_stamp(SystemTime::now());
        PathBuf::from(format!("runs/shrink-{stamp}-{seed}"))
    });
    fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    out.note(format_args!(
        "{}, seed {seed}; {}",
        parent.scenario.name,
        dir.display()
    ));
    let shrink = Shrink {
        parent,
        wanted,
        dir: dir.clone(),
        program: PathBuf::from("/proc/self/exe"),
        jobs: args.jobs,
        budget: Duration::from_secs(args.budget),
        confirm: args.confirm,
    };
    // Its runs end with the thread that starts them: this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let shrunk = runtime.block_on(campaign::shrink(shrink, &mut say))?;
    tell(&shrunk, &dir, out)
}

/// The failure of a finished run, by what it printed at its end.
fn how_it_failed(folder: &Path) -> anyhow::Result<Option<Signature>> {
    let path = folder.join("verdict.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // It was killed before it could say: its most frequent failure is meant.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    };
    let said = serde_json::from_str(&text)
        .map_err(|error| super::Malformed(format!("{}: {error}", path.display())))?;
    let signature = campaign::signature(said);
    let held = || Usage(format!("{}: nothing failed in that run", folder.display()));
    Ok(Some(signature.ok_or_else(held)?))
}

/// Progress, on stderr.
fn say(step: Step<'_>) {
    let text = match step {
        Step::Parent(rate, signature, others) => {
            let others = match others {
                0 => String::new(),
                n => format!("; {n} failed in another way, which --any would count"),
            };
            format!("{signature}: in {} as it is{others}", runs(rate))
        }
        Step::Tried(candidate, true, _) => format!("still: {}", candidate.without),
        Step::Tried(candidate, false, of) => {
            format!("  not {}: no failure in {of} runs", candidate.without)
        }
        Step::TooSeldom(rate) => format!("too seldom, in {}: some steps back", runs(rate)),
        Step::Confirming(times) => format!("what is left, {times} times"),
    };
    // Nobody has to hear it.
    let _ = writeln!(io::stderr(), "{text}");
}

fn runs(rate: Rate) -> String {
    let Rate { hits, of } = rate;
    format!("{hits} of {of} runs")
}

/// The last words, and the code.
fn tell(shrunk: &Shrunk, dir: &Path, out: &mut Out) -> anyhow::Result<u8> {
    let left = match shrunk {
        Shrunk::NotAgain(rate) => {
            out.print(|out| {
                writeln!(
                    out,
                    "the failure did not come again: it was in {}",
                    runs(*rate)
                )
            });
            return Ok(UNKNOWN);
        }
        Shrunk::Broken(times, error) => {
            out.failed(format_args!(
                "all {times} runs ended in an error of the bench: {error}"
            ));
            return Ok(BENCH_ERROR);
        }
        Shrunk::Left(left) => left,
    };
    let path = dir.join("shrunk.toml");
    fs::write(&path, left.file()?)
        .with_context(|| format!("could not write {}", path.display()))?;
    out.print(|out| {
        write!(out, "{}", left.story())?;
        writeln!(out, "{}", sizes(left, &left.resolved))?;
        let after = left.after.map_or("not counted".to_owned(), |rate| {
            format!("in {}", runs(rate))
        });
        writeln!(out, "it fails {after}; before, in {}", runs(left.before))?;
        let why = match left.stopped {
            Stopped::Smallest => None,
            Stopped::Budget => Some("the budget was over: more may be left out"),
            Stopped::Interrupted => Some("it was ended: more may be left out"),
        };
        why.map_or(Ok(()), |why| writeln!(out, "{why}"))?;
        writeln!(out, "again: whitewater run {}", path.display())
    });
    match left.stopped == Stopped::Interrupted && !left.is_smaller() {
        true => Ok(INTERRUPTED),
        false => Ok(0),
    }
}

fn sizes(left: &Left, resolved: &Resolved) -> String {
    let (episodes, faults) = left.parent;
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let (now, of) = (resolved.plan.episodes.len(), resolved.plan.faults().count());
    format!(
        "{now} episode{} with {of} fault{} in {} s, of {episodes} with {faults}",
        plural(now),
        plural(of),
        resolved.scenario.seconds
    )
}
