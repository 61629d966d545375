//! `whitewater run`: one scenario without the screen.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;

use super::out::{Out, worst};
use super::{Malformed, Unavailable, Usage, signals};
use crate::journal::RunResult;
use crate::report;
use crate::run::{self, Changes, Found, Given, NoTarget, ScenarioError, Setup};

/// What a run is asked for, on the command line of `run` and of the screen.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RunArgs {
    /// A built-in scenario, or a file: a name with a slash or ending in .toml. The scenario.toml of a run is one, too.
    scenario: Option<String>,
    /// What every random choice is drawn from; drawn itself, and printed, where it is not given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    changes: ChangeArgs,
    /// Plant a deliberate bug (`whitewater list defects`).
    #[arg(long, value_name = "NAME")]
    defect: Option<String>,
    /// Plant what looks wrong and is legal: it must never be reported.
    #[arg(long, value_name = "NAME", conflicts_with = "defect")]
    decoy: Option<String>,
    /// Where the run's folder is made.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// One JSON object on stdout, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write how it ended as JUnit XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// No progress on stderr.
    #[arg(long)]
    quiet: bool,
    /// Start nothing: print the scenario with nothing left open, as the run's folder would have it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Let clients dial the nodes themselves, past the proxy: only to measure what the proxy costs.
    #[arg(long, hide = true)]
    direct: bool,
    /// Go wrong on purpose (a panic in some thread, an end that never comes): only to test the way out.
    #[arg(long, hide = true, value_name = "WHERE")]
    drill: Option<String>,
    /// End with the process that started this one, or with standard input: a hunt's runs outlive it no more than
    /// nodes outlive their bench.
    #[arg(long, hide = true)]
    parent_watch: bool,
}

/// What the command line changes in a scenario: the same for one run and for many.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ChangeArgs {
    /// How many nodes, 1 to 9.
    #[arg(long, value_name = "N")]
    nodes: Option<u64>,
    /// How long the workload runs, in seconds; 0: until it is ended.
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// Operations a second, over all clients.
    #[arg(long, value_name = "OPS")]
    rate: Option<u32>,
    /// How many clients at any time.
    #[arg(long, value_name = "N")]
    clients: Option<u32>,
    /// How many contended keys.
    #[arg(long, value_name = "N")]
    keys: Option<u32>,
    /// Kinds of fault, separated by commas, or none.
    #[arg(long, value_name = "LIST|none")]
    faults: Option<String>,
    /// How nodes answer reads: read-index (the default), lease, leader-local, follower-local.
    #[arg(long, value_name = "MODE")]
    reads: Option<String>,
    /// Whether a node that has just started neither votes nor campaigns for an election timeout: on or off.
    #[arg(long, value_name = "on|off")]
    vote_guard: Option<String>,
    /// How the leader replicates: stream (the default) or unary.
    #[arg(long, value_name = "HOW")]
    append: Option<String>,
    /// Whose system is tested (`whitewater list targets`), or a file that describes it: a name with a slash or ending in
    /// .toml. The program's own node where none is named.
    #[arg(long, value_name = "NAME|FILE")]
    target: Option<String>,
    /// In which of its modes: the first one where none is named.
    #[arg(long, value_name = "NAME")]
    mode: Option<String>,
    /// The target's program, instead of the one that its file looks for.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

impl ChangeArgs {
    /// The changes in these scenarios; a name that there is not is wrong usage.
    pub(crate) fn changes(&self, givens: &[&Given]) -> anyhow::Result<Changes> {
        let faults = match self.faults.as_deref() {
            None => None,
            Some("none") => Some(Vec::new()),
            Some(list) => {
                let kinds = list.split(',').map(|kind| kind.trim().parse());
                let kinds = kinds.collect::<Result<Vec<run::Kind>, _>>();
                Some(kinds.map_err(|why| Usage(format!("--faults: {why}")))?)
            }
        };
        if let Some(reads) = &self.reads {
            one_of("--reads", reads, run::READ_MODES.iter().copied())?;
        }
        if let Some(guard) = &self.vote_guard {
            one_of("--vote-guard", guard, ["on", "off"].into_iter())?;
        }
        if let Some(append) = &self.append {
            one_of("--append", append, run::APPEND_MODES.iter().copied())?;
        }
        let (target, lacks) = self.target(givens)?;
        Ok(Changes {
            nodes: self.nodes,
            seconds: self.time,
            rate: self.rate,
            clients: self.clients,
            keys: self.keys,
            faults,
            reads: self.reads.clone(),
            append: self.append.clone(),
            vote_guard: self.vote_guard.as_deref().map(|guard| guard == "on"),
            lacks,
            target,
        })
    }

    /// Whose system, and what it lacks: the one that is named, or else the one that the scenarios are about.
    fn target(&self, givens: &[&Given]) -> anyhow::Result<(Option<run::ForTarget>, run::Lacks)> {
        let subjects: Vec<_> = givens.iter().map(|given| given.subject()).collect();
        let subject = subjects.first().copied().flatten();
        if subjects.iter().any(|other| *other != subject) {
            let why = "these scenarios are about different systems, or versions: each is for a command of its own";
            return Err(Usage(why.to_owned()).into());
        }
        let about = subject.map(|subject| &subject.target);
        let Some(name) = self.target.as_ref().or(about) else {
            for (flag, given) in [
                ("--mode", self.mode.is_some()),
                ("--program", self.program.is_some()),
            ] {
                if given {
                    let why = format!("{flag}: it is a target's, so --target says which");
                    return Err(Usage(why).into());
                }
            }
            return Ok((None, run::lacks()));
        };
        let (mode, program) = (self.mode.as_deref(), self.program.as_deref());
        let chosen = run::choose(name, mode, program, subject);
        let (target, lacks, warnings) = chosen.map_err(|error| match error {
            NoTarget::NoSuch(why) => anyhow::Error::new(Usage(why)),
            NoTarget::Malformed(wrong) => anyhow::Error::new(Malformed(wrong.to_string())),
            NoTarget::Missing(missing) => anyhow::Error::new(Unavailable(missing.to_string())),
            error @ NoTarget::Io(_) => anyhow::Error::new(error),
        })?;
        for warning in warnings {
            eprintln!("whitewater: {warning}");
        }
        Ok((Some(target), lacks))
    }
}

impl RunArgs {
    /// How it is told of.
    pub(super) fn telling(&self) -> Telling {
        Telling {
            json: self.json,
            junit: self.junit.clone(),
            quiet: self.quiet,
        }
    }

    /// What is asked for where nobody has typed it.
    pub(super) fn of(scenario: &str, seed: u64, defect: &str, out: PathBuf) -> RunArgs {
        RunArgs {
            scenario: Some(scenario.to_owned()),
            seed: Some(seed),
            defect: Some(defect.to_owned()),
            out,
            ..RunArgs::default()
        }
    }

    /// Everything that the run needs; draws a seed where none is given.
    pub(crate) fn setup(&self) -> anyhow::Result<Setup> {
        let name = self.scenario.as_deref().unwrap_or(run::DEFAULT_SCENARIO);
        let given = find(name)?;
        let changes = self.changes.changes(&[&given])?;
        if let Some(drill) = &self.drill {
            one_of("--drill", drill, run::Drill::ALL.iter().map(|d| d.0))?;
        }
        if let Some(defect) = &self.defect {
            one_of("--defect", defect, run::DEFECTS.iter().map(|d| d.name))?;
        }
        if let Some(decoy) = &self.decoy {
            let decoys = run::DEFECTS.iter().filter(|defect| defect.is_decoy());
            one_of("--decoy", decoy, decoys.map(|decoy| decoy.name))?;
        }
        let seed = self.seed.or(given.seed());
        let seed = seed.unwrap_or_else(drawn_seed);
        let resolved = given
            .resolve(&changes, seed, self.defect.clone().or(self.decoy.clone()))
            .map_err(|e| Usage(e.to_string()))?;
        Ok(Setup {
            given: name.to_owned(),
            resolved,
            changes,
            out: self.out.clone(),
            hold: false,
            drill: self.drill.as_deref().and_then(run::Drill::named),
            found: Found::default(),
            direct: self.direct,
        })
    }
}

/// The scenario of that name; one that does not read is malformed, one that is not there wrong usage.
pub(crate) fn find(name: &str) -> anyhow::Result<Given> {
    Given::find(name).map_err(|error| match error {
        ScenarioError::Malformed { .. } => anyhow::Error::new(Malformed(error.to_string())),
        error => anyhow::Error::new(Usage(error.to_string())),
    })
}

/// A seed, where none is given: short enough to be typed.
pub(crate) fn drawn_seed() -> u64 {
    rand::random_range(0..1_000_000)
}

/// Refuses a name that is not one of the known ones.
pub(crate) fn one_of<'a>(
    flag: &str,
    given: &str,
    mut known: impl Iterator<Item = &'a str> + Clone,
) -> anyhow::Result<()> {
    if known.clone().any(|name| name == given) {
        return Ok(());
    }
    let first = known.next().unwrap_or_default().to_owned();
    let all = known.fold(first, |all, name| format!("{all}, {name}"));
    Err(Usage(format!("{flag} {given}: there are {all}")).into())
}

pub(crate) fn run(args: &RunArgs, out: &mut Out) -> anyhow::Result<u8> {
    if args.parent_watch {
        super::node::die_with_parent()?;
        end_with_stdin()?;
    }
    let setup = Setup {
        found: out.found().clone(),
        ..args.setup()?
    };
    if args.dry_run {
        return dry_run(&setup, out);
    }
    if setup.needs_somebody() && !io::stdin().is_terminal() {
        let text =
            "a run without an end and without a plan needs somebody at the screen: give it --time"
                .to_owned();
        return Err(Usage(text).into());
    }
    headless(setup, &args.telling(), out)
}

/// What would be done, as a scenario of its own.
pub(super) fn dry_run(setup: &Setup, out: &mut Out) -> anyhow::Result<u8> {
    let resolved = &setup.resolved;
    let text = toml::to_string(resolved)?;
    out.print(|out| {
        writeln!(
            out,
            "# Nothing was started. `whitewater run FILE` does what stands here."
        )?;
        for left_out in &resolved.left_out {
            writeln!(out, "# left out: {left_out}")?;
        }
        write!(out, "{text}")
    });
    Ok(0)
}

/// Ends everything when whoever holds the other end of standard input is gone: also one that ended before
/// [`die_with_parent`](super::node::die_with_parent) could ask for it.
fn end_with_stdin() -> anyhow::Result<()> {
    let watch = || {
        let mut ignored = [0; 64];
        while io::stdin().read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
        run::end_all_children();
        std::process::exit(i32::from(super::BENCH_ERROR));
    };
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(watch)?;
    Ok(())
}

/// How a run is told of.
#[derive(Clone, Debug, Default)]
pub(super) struct Telling {
    /// As one object.
    pub(super) json: bool,
    /// As JUnit XML in this file, too.
    pub(super) junit: Option<PathBuf>,
    /// Without progress.
    pub(super) quiet: bool,
}

/// Runs without the screen: progress on stderr, the verdict on stdout.
pub(super) fn headless(setup: Setup, telling: &Telling, out: &mut Out) -> anyhow::Result<u8> {
    let found = setup.found.clone();
    let mut handle = run::start(setup);
    signals::stop(handle.commands(), found)?;
    let mut progress = report::Progress::new(io::stderr().is_terminal());
    while let Some(entry) = handle.entries.blocking_recv() {
        if !telling.quiet {
            // A closed stderr ends the progress, not the run.
            let _ = progress.take(&mut io::stderr(), &entry);
        }
    }
    if !telling.quiet {
        let _ = progress.finish(&mut io::stderr());
    }
    Ok(close(handle.join(), telling, out))
}

/// Tells whoever shows it to people: what could not be told.
fn tell_ci(result: &RunResult, telling: &Telling) -> Vec<String> {
    let mut text = Vec::new();
    let printed = report::text(&mut text, result);
    let text = String::from_utf8_lossy(&text).into_owned();
    let resolved = &result.resolved;
    let mut failures: Vec<String> = printed.err().map(|e| e.to_string()).into_iter().collect();
    if let Some(path) = &telling.junit {
        let case = report::Case {
            name: format!("{}, seed {}", resolved.scenario.name, resolved.seed),
            seconds: result.seconds,
            code: result.exit(),
            said: result.summary(),
            text: text.clone(),
        };
        failures.extend(report::junit(path, "whitewater run", &[case]).err());
    }
    if let Some(path) = report::github_summary_file() {
        failures.extend(report::github_summary(&path, &result.summary(), &text).err());
    }
    failures
}

/// Saves and prints how a run ended, each whatever becomes of the other, and gives its exit code.
pub(super) fn close(mut result: RunResult, telling: &Telling, out: &mut Out) -> u8 {
    let decided = result.exit();
    for failure in report::save(&mut result) {
        out.failed(failure);
    }
    for failure in tell_ci(&result, telling) {
        out.failed(failure);
    }
    out.print(|out| match telling.json {
        true => {
            serde_json::to_writer(&mut *out, &report::json(&result))?;
            writeln!(out)
        }
        false => report::text(out, &result),
    });
    out.flush();
    if let Some(failure) = out.unprinted() {
        // Whoever reads the folder later shall see why the exit code was another one.
        result.bench_errors.push(failure.to_owned());
        // Where that fails, too, it was said already.
        let _ = report::save(&mut result);
    }
    worst(decided, result.exit())
}
