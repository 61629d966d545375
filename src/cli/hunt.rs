//! `whitewater hunt`: many runs, and a table of what they came to.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::out::Out;
use super::run::{ChangeArgs, drawn_seed, find, one_of};
use super::{BENCH_ERROR, FOUND, Malformed, Usage};
use crate::campaign::{
    self, Asked, Hunt, HuntError, Ledger, LedgerError, Line, Over, Runs, Seed, Told,
};
use crate::{journal, report, run};

/// What `hunt` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct HuntArgs {
    /// Built-in scenarios, or files; the default one where none is named.
    scenarios: Vec<String>,
    /// So many runs of each scenario, with each defect or decoy: 20 where nothing else says how many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Begin no run after so long: 90s, 30m, 8h; a number alone is seconds.
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    for_seconds: Option<u64>,
    /// Enough is found: so many failures of all; with --defects, of each.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    until_found: Option<u64>,
    /// Seeds are counted from this one; drawn, and printed, where it is not given.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// So many runs at once; where it is not given, as many as leave the bench's timers on time.
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: Option<u64>,
    /// Measure how well these planted bugs are found: names separated by commas, or all.
    #[arg(long, value_name = "LIST|all")]
    defects: Option<String>,
    /// Run the decoys, too, and plain nodes: every alarm there is a false one.
    #[arg(long)]
    decoys: bool,
    #[command(flatten)]
    changes: ChangeArgs,
    /// The campaign's folder; one that was begun goes on where it was.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object a line on stdout: each run as it ends, then the table.
    #[arg(long)]
    json: bool,
    /// Write the runs as JUnit XML, too: a test case a run.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Panic on purpose in each run: only to test the way out.
    #[arg(long, hide = true, value_name = "WHERE")]
    drill: Option<String>,
}

/// A time in seconds: a number, with s, m, h or d behind it.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time: say 90s, 30m or 8h");
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let found = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = found.unwrap_or((text, 1));
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    number
        .checked_mul(unit)
        .filter(|n| *n > 0)
        .ok_or_else(wrong)
}

pub(crate) fn run(args: &HuntArgs, out: &mut Out) -> anyhow::Result<u8> {
    let names = args.names();
    let givens = names.iter().map(|name| find(name));
    let givens = givens.collect::<anyhow::Result<Vec<_>>>()?;
    let changes = args.changes.changes(&givens.iter().collect::<Vec<_>>())?;
    let (mut asked, seed) = args.asked(names, &givens, &changes)?;
    let wrong = |error: run::ScenarioError| Usage(error.to_string());
    Runs::new(asked.clone(), &givens, &changes).map_err(wrong)?;
    let dir = args.out.clone().unwrap_or_else(|| {
        let stamp = journal::utc_stamp(SystemTime::now());
        PathBuf::from(format!("runs/hunt-{stamp}-{}", asked.seed))
    });
    let ledger = Ledger::open(&dir, &mut asked, seed).map_err(refused)?;
    // Where it goes on, the seed may be another one now.
    let runs = Runs::new(asked.clone(), &givens, &changes).map_err(wrong)?;
    let dir = dir.canonicalize()?;
    for line in ledger.lines() {
        note(out, &asked, line);
    }
    let mut says = Says::new(args.json, &asked, &dir, out);
    let hunt = Hunt {
        runs,
        ledger,
        dir: dir.clone(),
        jobs: args.jobs,
        program: PathBuf::from("/proc/self/exe"),
        more: args.more(),
    };
    // Its runs end with the thread that starts them: this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let over = runtime.block_on(campaign::hunt(hunt, &mut |told| says.tell(&told)));
    let over = over.map_err(|error| match error {
        HuntError::Ledger(error) => refused(error),
        error => anyhow::Error::new(error),
    })?;
    says.end(&over, &dir);
    tell_ci(args, &over, &asked, &dir, out);
    Ok(over.code)
}

/// Tells whoever shows it to people. A run that found what it was to find is a success: a planted bug, or what a mode is
/// documented to show.
fn tell_ci(args: &HuntArgs, over: &Over, asked: &Asked, dir: &Path, out: &mut Out) {
    let case = |line: &Line| {
        let found = if asked.is_failure(line) { FOUND } else { 0 };
        let code = match (line.class, line.exit.map(u8::try_from)) {
            (class, _) if class.alarmed() => found,
            (_, Some(Ok(code))) => code,
            _ => BENCH_ERROR,
        };
        let sentence = campaign::sentence(line);
        report::Case {
            name: campaign::name(line),
            seconds: line.took_seconds,
            code,
            text: format!("{sentence}\nagain: {}", line.again),
            said: sentence,
        }
    };
    if let Some(path) = &args.junit {
        let cases: Vec<report::Case> = over.lines.iter().map(case).collect();
        if let Err(failure) = report::junit(path, "whitewater hunt", &cases) {
            out.failed(failure);
        }
    }
    if let Some(path) = report::github_summary_file() {
        let text = campaign::text(over, asked, dir);
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        if let Err(failure) = report::github_summary(&path, head, rest) {
            out.failed(failure);
        }
    }
}

/// Notes what makes the campaign a failure, whatever becomes of its other runs.
fn note(out: &Out, asked: &Asked, line: &Line) {
    if asked.is_failure(line) {
        out.found().note(|| campaign::sentence(line));
    }
}

/// What was asked for, or what is there, does not fit; else the bench has failed.
fn refused(error: LedgerError) -> anyhow::Error {
    match error {
        LedgerError::Malformed { .. } => Malformed(error.to_string()).into(),
        LedgerError::Io { .. } => error.into(),
        error => Usage(error.to_string()).into(),
    }
}

impl HuntArgs {
    fn names(&self) -> Vec<String> {
        match self.scenarios.is_empty() {
            true => vec![run::DEFAULT_SCENARIO.to_owned()],
            false => self.scenarios.clone(),
        }
    }

    /// What is asked for of these scenarios, and where its seed comes from.
    fn asked(
        &self,
        scenarios: Vec<String>,
        givens: &[run::Given],
        changes: &run::Changes,
    ) -> anyhow::Result<(Asked, Seed)> {
        let real = || run::DEFECTS.iter().filter(|defect| !defect.is_decoy());
        let mut defects: Vec<String> = match self.defects.as_deref() {
            None => Vec::new(),
            Some("all") => real().map(|defect| defect.name.to_owned()).collect(),
            Some(list) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        let mut seen = std::collections::BTreeSet::new();
        defects.retain(|name| seen.insert(name.clone()));
        for defect in &defects {
            one_of("--defects", defect, real().map(|defect| defect.name))?;
        }
        if let Some(drill) = &self.drill {
            one_of("--drill", drill, run::Drill::ALL.iter().map(|d| d.0))?;
        }
        let election_ms = givens.iter().map(run::election_ms).min();
        let counted = self.for_seconds.or(self.until_found).is_some();
        let asked = Asked {
            contents: givens.iter().map(campaign::content).collect(),
            scenarios,
            seed: self.seed.unwrap_or_else(drawn_seed),
            runs: self.runs.or((!counted).then_some(RUNS)),
            for_seconds: self.for_seconds,
            until_found: self.until_found,
            defects,
            decoys: self.decoys,
            changes: campaign::words(changes),
            bearable_ms: campaign::bearable_ms(election_ms.unwrap_or(u64::MAX)),
        };
        let seed = match self.seed {
            Some(_) => Seed::Given,
            None => Seed::Drawn,
        };
        Ok((asked, seed))
    }

    fn more(&self) -> Vec<String> {
        let drill = self.drill.iter().cloned();
        drill
            .flat_map(|drill| ["--drill".to_owned(), drill])
            .collect()
    }
}

/// So many runs, where nothing says how many.
const RUNS: u64 = 20;

/// Prints while it goes on: progress on stderr, and with `--json` each run on stdout. A closed one ends its lines, not
/// the hunt.
struct Says<'a> {
    json: bool,
    asked: &'a Asked,
    bar: Option<ProgressBar>,
    out: &'a mut Out,
}

impl Says<'_> {
    fn new<'a>(json: bool, asked: &'a Asked, dir: &std::path::Path, out: &'a mut Out) -> Says<'a> {
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
        let bar = io::stderr().is_terminal().then(ProgressBar::new_spinner);
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
            bar.enable_steady_tick(std::time::Duration::from_millis(250));
        }
        let says = Says {
            json,
            asked,
            bar,
            out,
        };
        let scenarios = asked.scenarios.join(", ");
        says.line(&format!(
            "{scenarios}, seeds from {}; {}",
            asked.seed,
            dir.display()
        ));
        says
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(io::stderr(), "{text}");
            }
        }
    }

    fn tell(&mut self, told: &Told<'_>) {
        match told {
            Told::GoesOn(done) => self.line(&format!("{done} runs are over already")),
            Told::Tries(jobs) => {
                let text = format!("how late are timers with {jobs} at once?");
                match &self.bar {
                    Some(bar) => bar.set_message(text),
                    None => self.line(&text),
                }
            }
            Told::Jobs(jobs) => self.line(&jobs.sentence(self.asked.bearable_ms)),
            Told::Note(text) => self.line(text),
            Told::Run(line, standing) => {
                note(self.out, self.asked, line);
                let standing = campaign::standing(standing);
                match &self.bar {
                    Some(bar) => {
                        bar.println(campaign::sentence(line));
                        bar.set_message(standing);
                    }
                    None => self.line(&format!("{}; {standing}", campaign::sentence(line))),
                }
                if self.json {
                    self.out
                        .print(|out| writeln!(out, "{}", campaign::line_json(line)));
                    self.out.flush();
                }
            }
        }
    }

    /// The last words. The code stands by now, whatever becomes of them.
    fn end(self, over: &Over, dir: &std::path::Path) {
        let asked = self.asked;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if over.at_once {
            return;
        }
        self.out.print(|out| match self.json {
            true => writeln!(out, "{}", campaign::json(over, asked, dir)),
            false => write!(out, "{}", campaign::text(over, asked, dir)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        for (text, expected) in [
            ("90", 90),
            ("90s", 90),
            ("30m", 1_800),
            ("8h", 28_800),
            ("1d", 86_400),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "m",
            "0",
            "-3",
            "1.5h",
            "ten",
            "99999999999999999999",
            "9999999999999999d",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
