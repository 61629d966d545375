//! Flags and subcommands, one file each. [`main`] is the whole program: it reads the command line, opens one front
//! door and gives the exit code.
//!
//! ```text
//!   0 held   1 violation or finding   2 unknown   3 vacuous
//!   64 wrong usage   65 malformed input   69 a program is not here   70 bench error or panic   130 interrupted
//! ```

mod check;
mod demo;
mod doctor;
mod gather;
mod generate;
mod hunt;
mod list;
mod model;
mod node;
mod out;
mod run;
mod screen;
mod shrink;
mod signals;
mod target;

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::{Parser, Subcommand};

use crate::exit::Exit;
use crate::run::Found;
use out::Out;

/// A violation or a finding.
const FOUND: u8 = Exit::Found.code();
/// Unknown: a budget ran out.
const UNKNOWN: u8 = Exit::Unknown.code();
/// It held, and did not show what it must.
const VACUOUS: u8 = Exit::Vacuous.code();
/// Wrong usage: sysexits' EX_USAGE.
pub const USAGE: u8 = Exit::Usage.code();
/// A file is not what it should be: sysexits' EX_DATAERR.
pub const MALFORMED: u8 = Exit::Malformed.code();
/// A program that a target needs is not here: sysexits' EX_UNAVAILABLE.
pub const UNAVAILABLE: u8 = Exit::Unavailable.code();
/// A bench error or a panic: sysexits' EX_SOFTWARE.
pub const BENCH_ERROR: u8 = Exit::BenchError.code();
/// Interrupted before anything was found.
const INTERRUPTED: u8 = Exit::Interrupted.code();

/// Breaks a real Raft cluster in front of your eyes, and says while it happens whether what its clients saw is
/// linearizable.
#[derive(Debug, Parser)]
#[command(name = "whitewater", version, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(subcommand)]
    door: Option<Door>,
    #[command(flatten)]
    screen: screen::ScreenArgs,
}

#[derive(Debug, Subcommand)]
enum Door {
    /// Run a scenario without the screen: progress on stderr, the verdict on stdout and in the exit code.
    Run(Box<run::RunArgs>),
    /// The first five minutes: a planted bug is found, and every step is said in a sentence.
    Demo(demo::DemoArgs),
    /// Many runs, resumable: how often it breaks, how, and how well planted bugs are found.
    Hunt(Box<hunt::HuntArgs>),
    /// The smallest plan that still fails, as a scenario, with its rate.
    Shrink(shrink::ShrinkArgs),
    /// Judge histories: files, folders of them, or - for standard input.
    Check(Box<check::CheckArgs>),
    /// Make a synthetic history.
    Gen(Box<generate::GenArgs>),
    /// The stateright model of election and replication: proofs, mutants, stories, and real nodes' traces.
    Model(model::ModelArgs),
    /// The screen over a finished run, at any speed, without a cluster.
    Replay(screen::ReplayArgs),
    /// Name what there is: scenarios, faults, defects, formats, targets, keys.
    List(list::ListArgs),
    /// Other people's systems: print, check or begin the file that describes one.
    Target(target::TargetArgs),
    /// What this kernel and container allow of the machines that other people's systems run on.
    Doctor(doctor::DoctorArgs),
    /// Be one node of the store; the cluster starts these.
    Node(Box<node::NodeArgs>),
}

/// Runs the program, and gives its exit code.
#[must_use]
pub fn main() -> u8 {
    let found = Found::default();
    let mut out = Out::stdout(found.clone());
    let door = match Program::try_parse() {
        Ok(Program { door, screen }) => door.ok_or(screen),
        Err(error) => {
            // Help and version are no errors; everything else is wrong usage, which clap would call 2.
            let printed = error.print();
            if error.use_stderr() {
                return USAGE;
            }
            out.print(|_| printed);
            return out.leave(0);
        }
    };
    // A file that lets the judge panic hides no other file; and a node has a hook of its own.
    if !matches!(door, Ok(Door::Check(_) | Door::Node(_))) {
        end_on_panic(found);
    }
    let decided = catch_unwind(AssertUnwindSafe(|| open(door, &mut out)));
    let decided = decided.unwrap_or(Ok(BENCH_ERROR)).unwrap_or_else(|error| {
        out.note(format_args!("whitewater: {error:#}"));
        if error.is::<Usage>() {
            USAGE
        } else if error.is::<Malformed>() {
            MALFORMED
        } else if error.is::<Unavailable>() {
            UNAVAILABLE
        } else {
            BENCH_ERROR
        }
    });
    out.leave(decided)
}

/// Opens a door; the screen is the one without a name.
fn open(door: Result<Door, screen::ScreenArgs>, out: &mut Out) -> anyhow::Result<u8> {
    match door {
        Err(args) => screen::run(&args, out),
        Ok(Door::Replay(args)) => screen::replay(&args, out),
        Ok(Door::Run(args)) => run::run(&args, out),
        Ok(Door::Demo(args)) => demo::run(&args, out),
        Ok(Door::Hunt(args)) => hunt::run(&args, out),
        Ok(Door::Shrink(args)) => shrink::run(&args, out),
        Ok(Door::Check(args)) => check::run(&args, out),
        Ok(Door::Gen(args)) => generate::run(&args, out),
        Ok(Door::Model(args)) => model::run(args, out),
        Ok(Door::List(args)) => list::run(&args, out),
        Ok(Door::Target(args)) => target::open(&args, out),
        Ok(Door::Doctor(args)) => doctor::run(&args, out),
        Ok(Door::Node(args)) => node::run(*args),
    }
}

/// A panic in any thread is the end, and it leaves no child behind: a runtime that catches a task's panic would go on
/// with half a bench. What had been found before is not forgotten for it.
fn end_on_panic(found: Found) {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        found.end(BENCH_ERROR)
    }));
}

/// Something on the command line makes no sense, although its form is right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A file is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A program that a target needs is not here; the command that installs it is said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

#[cfg(test)]
mod again_tests;
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use crate::node::Defect;
    use crate::run::{DEFECTS, DefectPlace};

    #[test]
    fn the_catalogue_names_exactly_the_defects_that_the_node_knows() {
        let known: BTreeSet<String> = Defect::value_variants().iter().map(|d| d.name()).collect();
        let named = DEFECTS.iter().filter(|d| d.place == DefectPlace::Node);
        let named: BTreeSet<String> = named.map(|d| d.name.to_owned()).collect();
        assert_eq!(known, named);
    }
}
