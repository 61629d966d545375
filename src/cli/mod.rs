//! Flags and subcommands, one file each. [`main`] is the whole program: it reads the command line, opens one front
//! door and gives the exit code.
//!
//! ```text
//!   0 held   1 violation or finding   2 unknown   3 vacuous
//!   64 wrong usage   65 malformed input   70 bench error or panic   130 interrupted
//! ```

mod check;
mod generate;
mod list;
mod model;
mod node;
mod run;
mod screen;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

/// Wrong usage: sysexits' EX_USAGE.
pub const USAGE: u8 = 64;
/// A file is not what it should be: sysexits' EX_DATAERR.
pub const MALFORMED: u8 = 65;
/// A bench error or a panic: sysexits' EX_SOFTWARE.
pub const BENCH_ERROR: u8 = 70;

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
    /// Be one node of the store; the cluster starts these.
    Node(Box<node::NodeArgs>),
}

/// Runs the program, and gives its exit code.
#[must_use]
pub fn main() -> u8 {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => {
            let _ = error.print();
            // Help and version are no errors; everything else is wrong usage, which clap would call 2.
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    if !matches!(program.door, Some(Door::Node(_))) {
        end_on_panic();
    }
    let ended = match program.door {
        None => screen::run(&program.screen),
        Some(Door::Replay(args)) => screen::replay(&args),
        Some(Door::Run(args)) => run::run(&args),
        Some(Door::Check(args)) => check::run(&args),
        Some(Door::Gen(args)) => generate::run(&args),
        Some(Door::Model(args)) => model::run(args),
        Some(Door::List(args)) => list::run(&args),
        Some(Door::Node(args)) => node::run(*args),
    };
    ended.unwrap_or_else(|error| {
        if broken_pipe(&error) {
            // Whoever read us has seen enough.
            return 0;
        }
        let _ = writeln!(io::stderr(), "whitewater: {error:#}");
        if error.is::<Usage>() {
            USAGE
        } else if error.is::<Malformed>() {
            MALFORMED
        } else {
            BENCH_ERROR
        }
    })
}

/// A panic in any thread is the end, and it leaves no child behind: a runtime that catches a task's panic would go on
/// with half a bench.
fn end_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        crate::run::end_all_children();
        std::process::exit(i32::from(BENCH_ERROR));
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

fn broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

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
