//! `whitewater target`: other people's systems, as files describe them.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::out::Out;
use super::{Malformed, UNAVAILABLE, Usage};
use crate::target::described::builtin::{self, NoSuch, Start};
use crate::target::described::{Description, Expect, Find, Mode};

/// What to do with a target.
#[derive(Args, Debug)]
pub(crate) struct TargetArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print a target's file, with everything in it that was left unsaid.
    Show {
        /// A name of `whitewater list targets`, or a file.
        target: String,
    },
    /// Read a target's file, find its program and its version, and say what it promises and what it does not offer.
    Check {
        /// A file, or a name of `whitewater list targets`.
        target: String,
        /// The program instead of the one that the file looks for.
        #[arg(long, value_name = "PATH")]
        program: Option<PathBuf>,
    },
    /// Print a commented file to begin with.
    New {
        /// What kind of system it is.
        kind: NewKind,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NewKind {
    /// What began as one of openraft's examples.
    Openraft,
    /// A store with an HTTP interface.
    Http,
    /// A store with a client program of your own, in any language.
    Lines,
    /// A Maelstrom lin-kv node.
    Maelstrom,
}

pub(crate) fn run(args: &TargetArgs, out: &mut Out) -> anyhow::Result<u8> {
    match &args.what {
        What::Show { target } => {
            let (description, warnings) = described(target)?;
            warn(out, &warnings);
            let text = description.resolved();
            out.print(|out| write!(out, "{text}"));
            Ok(0)
        }
        What::Check { target, program } => check(target, program.as_deref(), out),
        What::New { kind } => {
            let start = match kind {
                NewKind::Openraft => Start::Openraft,
                NewKind::Http => Start::Http,
                NewKind::Lines => Start::Lines,
                NewKind::Maelstrom => Start::Maelstrom,
            };
            out.print(|out| write!(out, "{}", start.text()));
            Ok(0)
        }
    }
}

/// The targets that are shipped: name, and what they are, whether their program is here, and their modes.
pub(crate) fn rows() -> Vec<(String, String)> {
    let rows = builtin::all().into_iter().map(|target| {
        let here = match target.find.locate(None) {
            Ok(program) => format!("found {}", program.display()),
            Err(missing) => format!("not here: {}", missing.install),
        };
        let modes: Vec<&str> = target.modes.iter().map(|mode| mode.name.as_str()).collect();
        let about = format!("{} [{here}; modes {}]", target.about, modes.join(", "));
        (target.name, about)
    });
    rows.collect()
}

/// A target by its name or its file.
fn described(target: &str) -> anyhow::Result<(Description, Vec<String>)> {
    builtin::find(target).map_err(|error| match error {
        NoSuch::Malformed(wrong) => Malformed(wrong.to_string()).into(),
        error => Usage(error.to_string()).into(),
    })
}

fn warn(out: &mut Out, warnings: &[String]) {
    for warning in warnings {
        out.note(format_args!("whitewater: {warning}"));
    }
}

fn check(target: &str, program: Option<&Path>, out: &mut Out) -> anyhow::Result<u8> {
    let (description, warnings) = described(target)?;
    warn(out, &warnings);
    let nodes = match description.nodes {
        1 => "1 node".to_owned(),
        several => format!("{several} nodes"),
    };
    let name = description.name.clone();
    out.print(|out| {
        writeln!(
            out,
            "{name}: the file reads; {nodes}, {}",
            description.spec.name()
        )
    });
    let found = find(&description.find, program)?;
    let found = match found {
        Ok(found) => found,
        Err(missing) => {
            out.flush();
            out.note(format_args!("whitewater: {missing}"));
            return Ok(UNAVAILABLE);
        }
    };
    let version = match &found.version {
        Some(version) => format!("version {version}"),
        None => "of a version that the file does not ask for".to_owned(),
    };
    out.print(|out| writeln!(out, "program: {}, {version}", found.program.display()));
    for mode in &description.modes {
        let line = promised(mode);
        out.print(|out| writeln!(out, "{line}"));
    }
    for lack in lacks(&description) {
        out.print(|out| writeln!(out, "not offered: {lack}"));
    }
    Ok(0)
}

type Located = Result<crate::target::described::Found, crate::target::described::Missing>;

fn find(find: &Find, program: Option<&Path>) -> anyhow::Result<Located> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(find.find(program)))
}

fn promised(mode: &Mode) -> String {
    let names = |kinds: &[crate::fault::Kind]| {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        if names.is_empty() {
            "no fault".to_owned()
        } else {
            names.join(", ")
        }
    };
    let name = &mode.name;
    match &mode.expect {
        Expect::Holds => format!("mode {name}: holds under {}", names(&mode.survives)),
        Expect::Found(anomalies) => {
            let anomalies: Vec<_> = anomalies.iter().map(|anomaly| anomaly.name()).collect();
            let anomalies = anomalies.join(" or ");
            format!(
                "mode {name}: {anomalies} must be found under {}",
                names(&mode.expose)
            )
        }
    }
}

/// What this target cannot show, and why.
fn lacks(description: &Description) -> Vec<String> {
    let mut lacks = Vec::new();
    if description.leader.is_none() {
        lacks.push(
            "faults that aim at a role, and counted elections: the file has no [leader]".to_owned(),
        );
    }
    if description.state.is_none() {
        lacks.push("a comparison of the members' states: the file has no [state]".to_owned());
    }
    for mode in &description.modes {
        let operations = mode.client.lacks().join(", ");
        if !operations.is_empty() {
            let name = &mode.name;
            lacks.push(format!(
                "{operations} in mode {name}: its client has no such request"
            ));
        }
    }
    lacks
}
