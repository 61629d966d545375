//! `whitewater` alone: the screen; without a terminal it says so and runs headless. And `whitewater replay`: the same
//! screen over a finished run.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::out::{Out, worst};
use super::run::{RunArgs, Telling, close, dry_run, headless};
use super::{FOUND, Usage};
use crate::tui::keys::Screen;
use crate::{journal, report, run, tui};

/// How the screen looks.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether to use colour.
    #[arg(long, value_enum, default_value_t)]
    color: tui::theme::ColorChoice,
    /// Only ASCII characters.
    #[arg(long)]
    ascii: bool,
    /// Leave the mouse to the terminal, for selecting text.
    #[arg(long)]
    no_mouse: bool,
}

impl Look {
    pub(super) fn options(self) -> tui::Options {
        tui::Options {
            color: self.color,
            ascii: self.ascii,
            no_mouse: self.no_mouse,
            tour: false,
        }
    }
}

/// The flags of the screen, besides those of `run`.
#[derive(Args, Debug)]
pub(crate) struct ScreenArgs {
    #[command(flatten)]
    run: RunArgs,
    /// No screen, as `whitewater run`.
    #[arg(long, conflicts_with = "tui")]
    headless: bool,
    /// The screen, or an error where there is no terminal.
    #[arg(long, conflicts_with = "json")]
    tui: bool,
    #[command(flatten)]
    look: Look,
}

impl ScreenArgs {
    /// Everything that the run needs.
    pub(crate) fn setup(&self) -> anyhow::Result<run::Setup> {
        self.run.setup()
    }
}

/// What to replay.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The run's folder.
    dir: PathBuf,
    /// Print one screen as text, and leave: live, history, verdict or charts.
    #[arg(long, value_name = "SCREEN")]
    print: Option<String>,
    /// Which instant to print, in seconds since the run began; its end, where none is given.
    #[arg(long, value_name = "SECONDS", requires = "print")]
    at: Option<f64>,
    /// How large a screen to print.
    #[arg(
        long,
        value_name = "COLUMNSxROWS",
        default_value = "80x24",
        requires = "print"
    )]
    size: String,
    #[command(flatten)]
    look: Look,
}

impl ReplayArgs {
    /// What to print, of which instant, how large.
    fn what(&self, name: &str) -> anyhow::Result<tui::Print> {
        let usage = |text: String| anyhow::Error::new(Usage(text));
        let all = Screen::ALL.map(|screen| screen.name().to_lowercase());
        let screen = Screen::ALL
            .into_iter()
            .find(|screen| screen.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| usage(format!("--print {name}: there are {}", all.join(", "))))?;
        let size = self.size.split_once('x').and_then(|(columns, rows)| {
            Some((columns.parse::<u16>().ok()?, rows.parse::<u16>().ok()?))
        });
        let possible = 1..=1_000;
        let size = size
            .filter(|(columns, rows)| possible.contains(columns) && possible.contains(rows))
            .ok_or_else(|| usage(format!("--size {}: it is like 80x24", self.size)))?;
        let at = self.at.map(Duration::try_from_secs_f64).transpose();
        let at = at.map_err(|e| usage(format!("--at: {e}")))?;
        Ok(tui::Print {
            screen,
            at_ns: at.map(|at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)),
            size,
            ascii: self.look.ascii,
        })
    }
}

pub(crate) fn run(args: &ScreenArgs, out: &mut Out) -> anyhow::Result<u8> {
    let setup = run::Setup {
        found: out.found().clone(),
        ..args.setup()?
    };
    if args.run.dry_run {
        return dry_run(&setup, out);
    }
    let terminal = tui::is_possible();
    if args.tui && !terminal {
        return Err(no_terminal("--tui"));
    }
    if args.headless || args.run.json || !terminal {
        if !args.headless && !args.run.json {
            out.note("whitewater: no terminal here, so this runs without the screen");
        }
        return headless(setup, &args.run.telling(), out);
    }
    // Somebody looks: what the nodes hold at a violation is worth more than the rest of the run.
    let setup = run::Setup {
        hold: true,
        ..setup
    };
    // Of the runs before the last one only what they found, or failed in, is left to say.
    let mut earlier = Vec::new();
    let result = tui::run(setup, args.look.options(), |before| {
        let mut before = before.clone();
        let failed = report::save(&mut before);
        let said = failed
            .first()
            .map(|failure| format!("the run before: {failure}"));
        earlier.push(before);
        said
    })?;
    let telling = Telling {
        json: false,
        ..args.run.telling()
    };
    let mut code = 0;
    for before in &earlier {
        if before.exit() == FOUND {
            code = FOUND;
            out.print(|out| writeln!(out, "a run before: {}", before.summary()));
            let dir = before.dir.iter();
            dir.for_each(|dir| out.print(|out| writeln!(out, "folder: {}\n", dir.display())));
        }
        before
            .bench_errors
            .iter()
            .for_each(|error| out.failed(error));
    }
    Ok(worst(code, close(result, &telling, out)))
}

pub(crate) fn replay(args: &ReplayArgs, out: &mut Out) -> anyhow::Result<u8> {
    let journal::ReadBack { entries, early } = match journal::read_folder(&args.dir) {
        Ok(read) => read,
        Err(error) => {
            out.note(format_args!("whitewater: {error}"));
            return Ok(error.exit());
        }
    };
    if let Some(name) = &args.print {
        let text = tui::print(entries, args.what(name)?);
        out.print(|out| out.write_all(text.as_bytes()));
    } else if tui::is_possible() {
        tui::replay(entries, args.look.options())?;
    } else {
        return Err(no_terminal("replay without --print"));
    }
    // What there is was shown; that it is not all decides the code.
    let mut code = 0;
    for error in &early {
        out.note(format_args!("whitewater: {error}"));
        code = worst(code, error.exit());
    }
    Ok(code)
}

fn no_terminal(what: &str) -> anyhow::Error {
    Usage(format!(
        "{what} needs a terminal on stdin and stdout, and TERM other than dumb"
    ))
    .into()
}
