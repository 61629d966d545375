//! `whitewater list`: names of what there is, from the data itself.

use std::io::{IsTerminal, Write};

use checkers::format::Format;
use clap::{Args, ValueEnum};

use super::out::Out;
use crate::{run, tui};

/// What to list.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Of what.
    what: What,
    /// As a Markdown table; only for keys.
    #[arg(long)]
    markdown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Scenarios for `run`.
    Scenarios,
    /// Kinds of fault for `--faults`.
    Faults,
    /// Deliberate bugs for `--defect`.
    Defects,
    /// History formats for `check` and `gen`.
    Formats,
    /// What can be tested.
    Targets,
    /// Keys of the screen.
    Keys,
}

pub(crate) fn run(args: &ListArgs, out: &mut Out) -> anyhow::Result<u8> {
    if args.markdown && args.what != What::Keys {
        return Err(super::Usage("only keys can be listed with --markdown".to_owned()).into());
    }
    let rows: Vec<(String, String)> = match args.what {
        What::Scenarios => run::Scenario::built_in()
            .into_iter()
            .map(|s| (s.name, s.about))
            .collect(),
        What::Faults => run::Kind::ALL
            .iter()
            .map(|kind| (kind.name().to_owned(), kind.about().to_owned()))
            .collect(),
        What::Defects => run::DEFECTS
            .iter()
            .map(|d| (d.name.to_owned(), d.line()))
            .collect(),
        What::Formats => Format::ALL
            .iter()
            .map(|format| (format.name().to_owned(), format.about().to_owned()))
            .collect(),
        What::Targets => {
            let kiwi = "our own node: openraft behind Kiwi's Raft RPC layer";
            let mut rows = vec![("kiwi".to_owned(), kiwi.to_owned())];
            rows.extend(super::target::rows());
            rows
        }
        What::Keys => {
            let keys = tui::keys::list(args.markdown);
            out.print(|out| write!(out, "{keys}"));
            return Ok(0);
        }
    };
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    out.print(|out| {
        if std::io::stdout().is_terminal() {
            writeln!(out, "{:width$}  what it is", "name")?;
        }
        for (name, about) in &rows {
            writeln!(out, "{name:width$}  {about}")?;
        }
        Ok(())
    });
    Ok(0)
}
