//! `whitewater target`: other people's systems, as files describe them.

mod check;

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};

use super::out::Out;
use super::{Malformed, Usage};
use crate::run;
use crate::target::described::Description;
use crate::target::described::builtin::{self, NoSuch, Start};

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
    /// Read a target's file, find its program, start one node of it and do one operation of each kind; say what works, what
    /// is not offered, and why.
    Check(check::CheckArgs),
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

pub(crate) fn open(args: &TargetArgs, out: &mut Out) -> anyhow::Result<u8> {
    match &args.what {
        What::Show { target } => {
            let (description, warnings) = described(target)?;
            warn(out, &warnings);
            let text = description.resolved();
            out.print(|out| write!(out, "{text}"));
            Ok(0)
        }
        What::Check(args) => check::run(args, out),
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
    let rows = run::offered(None).into_iter().map(|target| {
        let here = match &target.program {
            Ok(program) => format!("found {}", program.display()),
            Err(install) => format!("not here: {install}"),
        };
        let modes = target.modes.join(", ");
        let about = format!("{} [{here}; modes {modes}]", target.about);
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
