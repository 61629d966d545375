//! `whitewater target check`: what is wrong with a target's file, and what becomes of one node of it.
//!
//! ```text
//!   0 all that a run needs works   65 the file does not read   69 its program is not here
//!   70 the node is not ready in time, or its clients cannot ask it   130 interrupted
//! ```

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use tokio::sync::mpsc;

use super::super::out::Out;
use super::super::{BENCH_ERROR, INTERRUPTED, UNAVAILABLE, Usage, signals};
use super::{described, warn};
use crate::run::{self, Came, Line, Trial, Tried};
use crate::target::described::{Description, Expect, Found, Missing, Mode};

/// What to check.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// A file, or a name of `whitewater list targets`.
    target: String,
    /// The mode in which the node is started: the first one where none is named.
    #[arg(long, value_name = "NAME")]
    mode: Option<String>,
    /// The program instead of the one that the file looks for.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// What is tried stands in so many columns.
const NAMES: usize = 10;
/// What it is about begins under them.
const INDENT: &str = "              ";

pub(super) fn run(args: &CheckArgs, out: &mut Out) -> anyhow::Result<u8> {
    let (description, warnings) = described(&args.target)?;
    warn(out, &warnings);
    let mode = chosen(&description, args)?;
    out.print(|out| {
        let Description {
            name, about, spec, ..
        } = &description;
        let nodes = match description.nodes {
            1 => "1 node".to_owned(),
            several => format!("{several} nodes"),
        };
        writeln!(out, "{name}: the file reads; {nodes}, {}", spec.name())?;
        if !about.is_empty() {
            writeln!(out, "  {about}")?;
        }
        modes(out, &description)
    });
    let found = match find(&description, args)? {
        Ok(found) => found,
        Err(missing) => {
            out.flush();
            out.note(format_args!("whitewater: {missing}"));
            return Ok(UNAVAILABLE);
        }
    };
    let Found { program, version } = found;
    out.print(|out| {
        let version = match version {
            Some(version) => format!("version {version}"),
            None => "of a version that the file does not ask for".to_owned(),
        };
        writeln!(out, "program: {}, {version}", program.display())?;
        writeln!(out, "\none node of it, in mode {}:", mode.name)
    });
    out.flush();
    let trial = Trial {
        description,
        mode,
        program,
    };
    tried(&trial, args, out)
}

fn chosen(description: &Description, args: &CheckArgs) -> anyhow::Result<Mode> {
    let mode = description.mode(args.mode.as_deref()).cloned();
    Ok(mode.ok_or_else(|| {
        let names: Vec<&str> = description
            .modes
            .iter()
            .map(|mode| mode.name.as_str())
            .collect();
        let (mode, names) = (args.mode.as_deref().unwrap_or_default(), names.join(", "));
        Usage(format!("--mode {mode}: {} has {names}", args.target))
    })?)
}

fn find(description: &Description, args: &CheckArgs) -> anyhow::Result<Result<Found, Missing>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(description.find.find(args.program.as_deref())))
}

/// Starts the node, and prints each thing as soon as it is known.
fn tried(trial: &Trial, args: &CheckArgs, out: &mut Out) -> anyhow::Result<u8> {
    let (stop, asked) = mpsc::channel(1);
    signals::stop(stop, out.found().clone())?;
    let mut tell = |line: Line| {
        out.print(|out| print(out, &line));
        out.flush();
    };
    let ended = run::try_one(trial, asked, &mut tell).map_err(anyhow::Error::msg)?;
    let mut next = format!("whitewater run --target {}", args.target);
    if let Some(mode) = &args.mode {
        next += &format!(" --mode {mode}");
    }
    if let Some(program) = &args.program {
        next += &format!(" --program {}", program.display());
    }
    Ok(match ended {
        Tried::Works => {
            out.print(|out| writeln!(out, "\nit works; next: {next}"));
            0
        }
        Tried::Fails => {
            out.print(|out| writeln!(out, "\nit does not work yet: see what has a ✗"));
            BENCH_ERROR
        }
        Tried::Interrupted => INTERRUPTED,
    })
}

fn print(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    let Line {
        what,
        came,
        says,
        more,
    } = line;
    let (mark, says) = match came {
        Came::Works => ("✓", says.clone()),
        Came::Warns => ("!", says.clone()),
        Came::NotOffered => ("·", format!("not offered: {says}")),
        Came::Fails => ("✗", says.clone()),
    };
    writeln!(out, "  {mark} {what:NAMES$} {says}")?;
    more.iter()
        .try_for_each(|more| writeln!(out, "{INDENT} {more}"))
}

/// What is promised in each mode, the first one first.
fn modes(out: &mut impl Write, description: &Description) -> std::io::Result<()> {
    let names = |kinds: &[run::Kind]| {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        match names.is_empty() {
            true => "no fault".to_owned(),
            false => names.join(", "),
        }
    };
    for mode in &description.modes {
        let name = &mode.name;
        match &mode.expect {
            Expect::Holds => writeln!(out, "mode {name}: holds under {}", names(&mode.survives))?,
            Expect::Found(anomalies) => {
                let anomalies: Vec<_> = anomalies.iter().map(|anomaly| anomaly.name()).collect();
                let (anomalies, under) = (anomalies.join(" or "), names(&mode.expose));
                writeln!(out, "mode {name}: {anomalies} must be found under {under}")?;
            }
        }
    }
    Ok(())
}
