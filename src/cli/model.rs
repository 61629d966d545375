//! `whitewater model`: the proofs, the mutants, their stories, the explorer, and traces of real nodes.
//!
//! The `checkers` library knows no clock, no path and no socket: timing, reading files and serving are done here.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use model::check::{self, Configuration};
use model::conform::{Conformance, conform};
use model::decisions;
use model::mutants::{self, Mutant};
use model::raft::Raft;
use model::rules::Rules;
use model::trace;
use stateright::Model as _;

use super::out::{Out, worst};
use super::{BENCH_ERROR, FOUND, MALFORMED, USAGE, Usage, signals};

/// The stateright model of election and replication.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Search every configuration completely and compare its number of states with the pinned one.
    Check {
        /// Also the large configurations: some minutes.
        #[arg(long)]
        full: bool,
        /// One JSON object a row on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Run every mutant: each must be killed by the invariant and at the depth that are pinned.
    Mutants {
        /// Also those that need a large configuration.
        #[arg(long)]
        full: bool,
        /// One JSON object a mutant on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Tell a mutant's shortest counterexample, one sentence a step.
    Explain {
        /// Its name, as `mutants` prints it.
        mutant: String,
        /// The same as one JSON object, with the nodes' states after each step.
        #[arg(long)]
        json: bool,
    },
    /// Serve stateright's explorer on 127.0.0.1: walk the model in a browser.
    Explore {
        /// The port; 0 for any free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// The configuration, as `check` prints it.
        #[arg(long, default_value = "2x2")]
        configuration: String,
        /// A mutant to put in.
        #[arg(long)]
        mutant: Option<String>,
    },
    /// Replay the traces of real nodes (DIR/*.jsonl) against the rules.
    Trace {
        /// A run's `trace` folder.
        dir: PathBuf,
        /// One JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; gives the exit code: 0 held, 1 a violation or a finding, 64 usage, 65 malformed input.
///
/// # Errors
/// What the bench could not do (exit 70): read a file, listen.
pub(crate) fn run(args: ModelArgs, out: &mut Out) -> anyhow::Result<u8> {
    if !matches!(args.command, Command::Explore { .. }) {
        signals::end(out.found().clone())?;
    }
    match args.command {
        Command::Check { full, json } => Ok(run_check(full, json, out)),
        Command::Mutants { full, json } => Ok(run_mutants(full, json, out)),
        Command::Explain { mutant, json } => Ok(run_explain(&mutant, json, out)),
        Command::Explore {
            port,
            configuration,
            mutant,
        } => run_explore(port, &configuration, mutant.as_deref(), out),
        Command::Trace { dir, json } => run_trace(&dir, json, out),
    }
}

fn run_check(full: bool, json: bool, out: &mut Out) -> u8 {
    if !json {
        out.print(|out| {
            writeln!(
                out,
                "{:<14} {:>11} {:>12} {:>6} {:>8} {:>10} {:>8}  what",
                "configuration", "unique", "generated", "depth", "seconds", "states/s", "memory"
            )
        });
    }
    let began = Instant::now();
    let mut failures = decisions::wrong(Rules::default());
    let mut reports = Vec::new();
    for row in check::rows(full) {
        let start = Instant::now();
        let report = check::run_row(row);
        let seconds = start.elapsed().as_secs_f64();
        out.print(|out| write_row(out, &report, seconds, json));
        out.flush();
        failures.extend(report.failures.iter().cloned());
        note_failures(&failures, out);
        reports.push(report);
    }
    let rows = reports.len();
    if full {
        failures.extend(run_large_mutants(out, json));
    }
    failures.extend(check::never(&reports));
    note_failures(&failures, out);
    for failure in &failures {
        out.note(format_args!("FAILED: {failure}"));
    }
    if !json {
        let verdict = if failures.is_empty() {
            "every invariant holds in every state"
        } else {
            "not as pinned"
        };
        let seconds = began.elapsed().as_secs_f64();
        out.print(|out| writeln!(out, "{rows} configurations, {seconds:.1} s: {verdict}"));
    }
    u8::from(!failures.is_empty())
}

/// From now on nothing ends the program as if all were as pinned.
fn note_failures(failures: &[String], out: &Out) {
    if let Some(failure) = failures.first() {
        out.found().note(|| failure.clone());
    }
}

/// One row of the table.
fn write_row(
    out: &mut impl io::Write,
    report: &check::RowReport,
    seconds: f64,
    json: bool,
) -> io::Result<()> {
    if json {
        let mut object = serde_json::to_value(report)?;
        object["seconds"] = seconds.into();
        return writeln!(out, "{object}");
    }
    writeln!(
        out,
        "{:<14} {:>11} {:>12} {:>6} {:>8.2} {:>10.0} {:>5} MB  {}",
        report.configuration,
        report.unique,
        report.generated,
        report.depth,
        seconds,
        report.unique as f64 / seconds.max(1e-9),
        report.bytes.div_ceil(1 << 20),
        report.about
    )
}

/// The mutants that need a large configuration; gives what is not as pinned.
fn run_large_mutants(out: &mut Out, json: bool) -> Vec<String> {
    let mut surprises = Vec::new();
    for &pinned in mutants::FULL {
        let start = Instant::now();
        let report = mutants::run_pinned(pinned);
        let seconds = start.elapsed().as_secs_f64();
        out.print(|out| {
            if json {
                let mut object = serde_json::to_value(&report)?;
                object["seconds"] = seconds.into();
                return writeln!(out, "{object}");
            }
            let told = match report.killer {
                Some((by, depth)) => format!("killed by {by} at depth {depth}"),
                None => "survives".to_string(),
            };
            writeln!(
                out,
                "{:<14} {:>11} {seconds:>28.2}  with {}: {told}",
                report.configuration,
                report.states,
                pinned.mutant.name()
            )
        });
        surprises.extend(report.surprise);
    }
    surprises
}

fn run_mutants(full: bool, json: bool, out: &mut Out) -> u8 {
    if !json {
        out.print(|out| {
            writeln!(
                out,
                "{:<22} {:<24} {:>5} {:>9} {:>8}  {:<12}  the bug",
                "mutant", "killed by", "depth", "states", "seconds", "in"
            )
        });
    }
    let (mut killed, mut survived, mut surprises) = (0, 0, Vec::new());
    let large = if full { mutants::FULL } else { &[] };
    for &pinned in mutants::all().iter().chain(large) {
        let start = Instant::now();
        let report = mutants::run_pinned(pinned);
        let seconds = start.elapsed().as_secs_f64();
        out.print(|out| write_mutant(out, pinned.mutant, &report, seconds, json));
        out.flush();
        match report.killer {
            Some(_) => killed += 1,
            None => survived += 1,
        }
        surprises.extend(report.surprise);
        note_failures(&surprises, out);
    }
    for surprise in &surprises {
        out.note(format_args!("FAILED: {surprise}"));
    }
    if !json {
        let verdict = if surprises.is_empty() {
            "all as pinned"
        } else {
            "not as pinned"
        };
        out.print(|out| writeln!(out, "{killed} killed, {survived} survived: {verdict}"));
    }
    u8::from(!surprises.is_empty())
}

/// One row of the table.
fn write_mutant(
    out: &mut impl io::Write,
    mutant: Mutant,
    report: &mutants::MutantReport,
    seconds: f64,
    json: bool,
) -> io::Result<()> {
    if json {
        let mut object = serde_json::to_value(report)?;
        object["seconds"] = seconds.into();
        return writeln!(out, "{object}");
    }
    let (by, depth) = match report.killer {
        Some((by, depth)) => (by.to_string(), depth.to_string()),
        None => ("nobody, as it should".to_string(), "-".to_string()),
    };
    writeln!(
        out,
        "{:<22} {:<24} {:>5} {:>9} {:>8.2}  {:<12}  {}",
        mutant.name(),
        by,
        depth,
        report.states,
        seconds,
        report.configuration,
        report.sentence
    )
}

fn run_explain(name: &str, json: bool, out: &mut Out) -> u8 {
    let Some(mutant) = mutant_named(name, out) else {
        return USAGE;
    };
    let told = model::explain(mutant);
    out.print(|out| match json {
        true => writeln!(out, "{}", serde_json::to_string(&told)?),
        false => writeln!(out, "{told}"),
    });
    0
}

/// The mutant of that name; says on stderr which there are when there is none.
fn mutant_named(name: &str, out: &Out) -> Option<Mutant> {
    let mutant = Mutant::named(name);
    if mutant.is_none() {
        let mut names = String::new();
        for pinned in mutants::all() {
            let _ = write!(names, " {}", pinned.mutant.name());
        }
        out.note(format_args!(
            "error: no mutant is called {name}; there are:{names}"
        ));
    }
    mutant
}

fn run_explore(
    port: u16,
    configuration: &str,
    mutant: Option<&str>,
    out: &Out,
) -> anyhow::Result<u8> {
    let Some(mut c) = Configuration::named(configuration) else {
        let names: Vec<_> = check::ROWS.iter().map(|r| r.configuration.name).collect();
        out.note(format_args!(
            "error: no configuration is called {configuration}; there are: {}",
            names.join(", ")
        ));
        return Ok(USAGE);
    };
    if let Some(name) = mutant {
        let Some(mutant) = mutant_named(name, out) else {
            return Ok(USAGE);
        };
        c.rules.broken = Some(mutant);
    }
    // stateright's server takes an address and panics when it is taken: find out first, and say so.
    let probe = std::net::TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("could not listen on 127.0.0.1:{port}"))?;
    let address = probe.local_addr()?;
    drop(probe);
    out.note(format_args!(
        "the explorer of {} is at http://{address}/ (Ctrl-C ends it)",
        c.name
    ));
    match c.terms {
        1 => drop(Raft::<3>::new(c).checker().serve(address)),
        2 => drop(Raft::<6>::new(c).checker().serve(address)),
        3 => drop(Raft::<9>::new(c).checker().serve(address)),
        _ => drop(Raft::<12>::new(c).checker().serve(address)),
    }
    Ok(0)
}

fn run_trace(dir: &Path, json: bool, out: &mut Out) -> anyhow::Result<u8> {
    let paths = traces_in(dir)?;
    let mut files = Vec::new();
    let mut code = 0;
    for path in &paths {
        // A file that cannot be read leaves no proof, but each such file is named.
        let name = path.display();
        match std::fs::read(path).map(|bytes| trace::read(&String::from_utf8_lossy(&bytes))) {
            Ok(Ok(lines)) => files.push(lines),
            Ok(Err(error)) => {
                code = worst(code, MALFORMED);
                out.note(format_args!("error: {name}: {error}"));
            }
            Err(error) => {
                code = worst(code, BENCH_ERROR);
                out.note(format_args!("error: could not read {name}: {error}"));
            }
        }
    }
    if code != 0 {
        return Ok(code);
    }
    let start = Instant::now();
    let conformance = conform(files, None);
    let seconds = start.elapsed().as_secs_f64();
    let code = match &conformance {
        Conformance::Accepted(_) => 0,
        Conformance::Rejected(_) => FOUND,
    };
    out.print(|out| write_conformance(out, &conformance, seconds, json));
    Ok(code)
}

/// The traces of a folder, or of the run whose folder it is.
fn traces_in(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let traces = dir.join("trace");
    let dir = if traces.is_dir() { &traces } else { dir };
    let unread = |e| Usage(format!("could not read {}: {e}", dir.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let text = format!(
            "no trace in {}: a run's are DIR/trace/*.jsonl",
            dir.display()
        );
        return Err(Usage(text).into());
    }
    paths.sort();
    Ok(paths)
}

fn write_conformance(
    out: &mut impl io::Write,
    conformance: &Conformance,
    seconds: f64,
    json: bool,
) -> io::Result<()> {
    if json {
        let mut object = serde_json::to_value(conformance)?;
        object["seconds"] = seconds.into();
        return writeln!(out, "{object}");
    }
    match conformance {
        Conformance::Accepted(a) => {
            writeln!(
                out,
                "consensus: {} events of {} nodes explained ({} starts, {} leaders, terms to {}, {} entries committed), {:.2} µs an event",
                a.events,
                a.nodes,
                a.starts,
                a.leaders,
                a.term,
                a.committed,
                seconds * 1e6 / a.events.max(1) as f64
            )
        }
        Conformance::Rejected(r) => {
            writeln!(
                out,
                "consensus: what node {} did is not explained, after {} events of all nodes that are",
                r.node, r.explained
            )?;
            for line in &r.before {
                writeln!(out, "    {line}")?;
            }
            writeln!(out, " -> {}", r.event)?;
            writeln!(out, "    {}", r.missing)?;
            for other in &r.also {
                writeln!(out, "nor what node {} did", other.node)?;
                writeln!(out, " -> {}", other.event)?;
                writeln!(out, "    {}", other.missing)?;
            }
            Ok(())
        }
    }
}
