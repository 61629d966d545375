//! `whitewater demo`: the first five minutes. A bug is planted, a fault brings it to light, and every step is said in a
//! sentence; on the screen where there is a terminal, else as `run` prints it.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::out::Out;
use super::run::{RunArgs, Telling, close, headless};
use super::screen::Look;
use super::{FOUND, VACUOUS};
use crate::{run, tui};

/// What is planted, and what shows it.
const SCENARIO: &str = "demo";
const DEFECT: &str = "stale-read";

/// What to type next.
const NEXT: &str = "\
What you saw is a real cluster and a planted bug. What to type next:
  whitewater                              the screen, without a bug: break it by hand, ? names every key
  whitewater run --target etcd            somebody else's system, unmodified (whitewater list targets)
  whitewater target new http > my.toml    a file that describes yours
  whitewater list defects                 other bugs to plant, with --defect
  whitewater check FILE                   a history that you have already";

/// How the demo looks.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// What every random choice is drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where the run's folder is made.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// No screen.
    #[arg(long)]
    headless: bool,
    #[command(flatten)]
    look: Look,
}

/// Shows it. The exit code is 0 where the bug was seen: that is what a demo is for. So what is found here is kept apart
/// from what this program has found.
pub(crate) fn run(args: &DemoArgs, out: &mut Out) -> anyhow::Result<u8> {
    let asked = RunArgs::of(SCENARIO, args.seed, DEFECT, args.out.clone());
    let setup = asked.setup()?;
    let code = if args.headless || !tui::is_possible() {
        headless(setup, &Telling::default(), out)?
    } else {
        let setup = run::Setup {
            hold: true,
            ..setup
        };
        let look = tui::Options {
            tour: true,
            ..args.look.options()
        };
        let result = tui::run(setup, look, |_| None)?;
        close(result, &Telling::default(), out)
    };
    out.print(|out| writeln!(out, "\n{NEXT}"));
    Ok(match code {
        FOUND => 0,
        0 => VACUOUS,
        code => code,
    })
}
