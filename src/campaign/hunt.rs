//! The loop of a hunt: it starts runs, waits for them, writes down what came of each, and keeps what is worth keeping.
//!
//! It works on the thread that calls it: its runs end with that thread.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::asked::Runs;
use super::child::Wish;
use super::field::{Back, Field, Wake};
use super::jobs::{self, How, Jobs};
use super::keep::{self, Keep};
use super::ledger::{Ledger, LedgerError};
use super::line::{Class, End, Line, Named};
use super::table::{Ended, Table};
use super::timers;

/// What a hunt needs.
#[derive(Debug)]
pub struct Hunt {
    /// The runs that it may make.
    pub runs: Runs,
    /// Its file.
    pub ledger: Ledger,
    /// Its folder.
    pub dir: PathBuf,
    /// So many runs at once; absent: to be found out.
    pub jobs: Option<u64>,
    /// This program.
    pub program: PathBuf,
    /// What each run is told besides, for the tests of the way out.
    pub more: Vec<String>,
}

/// What a hunt tells while it works.
#[derive(Debug)]
pub enum Told<'a> {
    /// So many runs were over when it began.
    GoesOn(u64),
    /// So many runs at once are tried.
    Tries(u64),
    /// How many at once there will be.
    Jobs(&'a Jobs),
    /// A run is over.
    Run(&'a Line, Standing),
    /// Something that is worth a line.
    Note(String),
}

/// How far a hunt is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Runs that are over.
    pub done: u64,
    /// Of so many, where they are counted.
    pub total: Option<u64>,
    /// So many of them failed.
    pub found: u64,
    /// Runs a minute.
    pub per_minute: f64,
    /// So long it may go on, in seconds, where anybody can tell.
    pub left_seconds: Option<f64>,
}

/// A hunt that is over.
#[derive(Debug)]
pub struct Over {
    /// What it came to.
    pub table: Table,
    /// Its runs.
    pub lines: Vec<Line>,
    /// The exit code.
    pub code: u8,
    /// Whether all was run that was asked for.
    pub ended: Ended,
    /// How many runs there were at once.
    pub jobs: Option<Jobs>,
    /// Whether somebody wants no more words.
    pub at_once: bool,
}

/// Why a hunt cannot work.
#[derive(Debug, thiserror::Error)]
pub enum HuntError {
    /// Its file cannot be had.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The system lacks something.
    #[error("could not begin to hunt: {0}")]
    System(#[from] io::Error),
}

/// A run may take this many times its workload's length, and [`BESIDE`] for all that comes before and after it.
const TIMES_ITS_LENGTH: u32 = 3;
/// Start, healing, final reads through each node, and the verdict, on a machine that has much else to do.
const BESIDE: Duration = Duration::from_secs(180);
/// After so many bench errors in a row there is no use in going on.
const GIVE_UP_AFTER: usize = 10;
/// How long the workload of a run lasts that is only there to see what the machine bears.
const TRIED_FOR: u64 = 2;

/// Hunts until everything was run, the time is over, enough was found, or somebody ends it.
///
/// # Errors
/// Where the system lacks something, or the campaign's file cannot be written.
pub async fn hunt(hunt: Hunt, tell: &mut dyn FnMut(Told<'_>)) -> Result<Over, HuntError> {
    let Hunt {
        runs,
        ledger,
        dir,
        jobs,
        program,
        more,
    } = hunt;
    let field = Field::new(dir, program, more)?;
    let spent = ledger.lines().iter().map(|line| line.spent_seconds);
    let spent = spent.fold(0.0, f64::max);
    let mut work = Work {
        over: ledger.lines().iter().map(|line| line.run).collect(),
        runs,
        ledger,
        field,
        begun: Instant::now(),
        spent: Duration::from_secs_f64(spent),
        failure: None,
        kept: BTreeMap::new(),
        errors_in_a_row: 0,
        came_now: 0,
    };
    work.all(jobs, tell).await
}

/// A hunt at work.
struct Work {
    runs: Runs,
    ledger: Ledger,
    field: Field,
    /// Runs that are over, or under way.
    over: BTreeSet<u64>,
    /// When this part of the campaign began, and how long the others worked.
    begun: Instant,
    spent: Duration,
    failure: Option<LedgerError>,
    /// What the folders are reduced to.
    kept: BTreeMap<u64, Keep>,
    errors_in_a_row: usize,
    /// Runs that ended in this part.
    came_now: u64,
}

impl Work {
    async fn all(
        &mut self,
        jobs: Option<u64>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Over, HuntError> {
        let done = self.ledger.lines().len() as u64;
        if done > 0 {
            tell(Told::GoesOn(done));
        }
        if !self.is_over() {
            keep::forget_unfinished(&self.field.dir, self.ledger.lines())?;
            self.tidy(tell);
            let jobs = self.jobs(jobs, tell).await?;
            if !self.field.stopping() {
                self.ledger.begin(&jobs)?;
                tell(Told::Jobs(&jobs));
                self.begun = Instant::now();
                self.work(jobs.jobs, tell).await;
            }
        }
        if let Some(failure) = self.failure.take() {
            tell(Told::Note(failure.to_string()));
            self.failure = Some(failure);
        }
        Ok(self.result())
    }

    /// What it came to; decided before anything of it is printed.
    fn result(&self) -> Over {
        let table = Table::of(self.runs.asked(), self.ledger.lines());
        let ended = match self.is_over() {
            true => Ended::Complete,
            false => Ended::Interrupted,
        };
        let code = match (table.exit(ended), &self.failure) {
            (1, _) => 1,
            (_, Some(_)) => 70,
            (code, None) => code,
        };
        Over {
            table,
            lines: self.ledger.lines().to_vec(),
            code,
            ended,
            jobs: self.ledger.jobs().cloned(),
            at_once: self.field.wish() == Wish::Gone,
        }
    }

    /// Whether no other run is to begin, but for somebody who ends it.
    fn is_over(&self) -> bool {
        self.time_is_over() || self.runs.is_complete(self.ledger.lines())
    }

    fn spent(&self) -> Duration {
        self.spent + self.begun.elapsed()
    }

    fn time_is_over(&self) -> bool {
        let given = self.runs.asked().for_seconds;
        given.is_some_and(|given| self.spent() >= Duration::from_secs(given))
    }

    /// How many runs at once.
    async fn jobs(
        &mut self,
        given: Option<u64>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> io::Result<Jobs> {
        let load = timers::load();
        let by = |jobs, how| Jobs {
            jobs,
            how,
            tried: Vec::new(),
            load,
        };
        if let Some(jobs) = given {
            return Ok(by(jobs, How::Given));
        }
        if let Some(before) = self
            .ledger
            .jobs()
            .filter(|jobs| jobs.how == How::Calibrated)
        {
            return Ok(Jobs {
                load,
                ..before.clone()
            });
        }
        let left = self
            .runs
            .total()
            .map(|total| total - self.over.len() as u64);
        if left == Some(1) {
            return Ok(by(1, How::Only));
        }
        let bearable = self.runs.asked().bearable_ms;
        let mut tried = Vec::new();
        for jobs in jobs::ladder(jobs::most(left)) {
            tell(Told::Tries(jobs));
            let late = self.try_out(jobs).await?;
            tried.push((jobs, late));
            if late > bearable || self.field.stopping() {
                break;
            }
        }
        Ok(Jobs {
            jobs: jobs::chosen(&tried, bearable),
            how: How::Calibrated,
            tried,
            load,
        })
    }

    /// Runs so many short ones at once, and says how late timers were meanwhile.
    async fn try_out(&mut self, jobs: u64) -> io::Result<f64> {
        let place = self.field.dir.join("trial");
        let nodes = self
            .runs
            .setup(0)
            .map_or(3, |setup| setup.resolved.scenario.nodes);
        let given = BESIDE + Duration::from_secs(TRIED_FOR);
        for job in 0..jobs {
            let words = ["run", "calm", "--nodes", &nodes.to_string(), "--seed", "1"];
            let mut words: Vec<String> = words.map(str::to_owned).to_vec();
            words.extend(["--time".to_owned(), TRIED_FOR.to_string()]);
            let place = place.join(format!("{jobs}-{job}"));
            self.field.start(job, place, words, given)?;
        }
        let mut late = 0.0;
        loop {
            match self.field.wake().await {
                Wake::Back(back) => late = f64::max(late, self.field.timers.end(back.run)),
                Wake::Signal => self.field.obey_signal(),
                Wake::Nothing => break,
            }
        }
        keep::remove(&place)?;
        Ok(late)
    }

    /// Runs, so many at once, until nothing is left to begin and all have come back.
    async fn work(&mut self, jobs: u64, tell: &mut dyn FnMut(Told<'_>)) {
        let mut next = 0;
        loop {
            while self.field.running() < jobs.max(1) {
                let Some(run) = self.next(&mut next) else {
                    break;
                };
                self.start(run, tell);
            }
            match self.field.wake().await {
                Wake::Back(back) => self.back(&back, tell),
                Wake::Signal => self.field.obey_signal(),
                Wake::Nothing => break,
            }
        }
    }

    /// The next run to begin. Nothing begins any more where somebody ends it, the time is over, enough was found or
    /// nothing works.
    fn next(&mut self, from: &mut u64) -> Option<u64> {
        let broken = self.failure.is_some() || self.errors_in_a_row >= GIVE_UP_AFTER;
        if self.field.stopping() || broken || self.time_is_over() {
            return None;
        }
        loop {
            let Some(run) = self.runs.next(*from, self.ledger.lines()) else {
                if self.runs.is_enough(self.ledger.lines()) {
                    self.field.end();
                }
                return None;
            };
            *from = run + 1;
            if self.over.insert(run) {
                return Some(run);
            }
        }
    }

    fn start(&mut self, run: u64, tell: &mut dyn FnMut(Told<'_>)) {
        let started = match self.runs.setup(run) {
            Ok(setup) => {
                let length = u32::try_from(setup.resolved.scenario.seconds).unwrap_or(u32::MAX);
                let given = Duration::from_secs(1) * length;
                let given = given.saturating_mul(TIMES_ITS_LENGTH) + BESIDE;
                let place = keep::place(&self.field.dir, run);
                let started = self.field.start(run, place, setup.arguments(), given);
                started.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = started {
            let back = Back {
                run,
                end: End::Exit(70),
                began: Instant::now(),
            };
            self.came(&back, Some(why), tell);
        }
    }

    fn back(&mut self, back: &Back, tell: &mut dyn FnMut(Told<'_>)) {
        self.came(back, None, tell);
    }

    /// A run is over: its line is written before its folder is touched.
    fn came(&mut self, back: &Back, why: Option<String>, tell: &mut dyn FnMut(Told<'_>)) {
        let run = back.run;
        let place = keep::place(&self.field.dir, run);
        let came = self.field.came(back, why, &place, self.spent());
        let Some(line) = self.named(run).and_then(|named| Line::of(&named, &came)) else {
            // Nobody knows what it would have found: it is run again when the campaign goes on.
            if let Err(error) = keep::remove(&place) {
                tell(Told::Note(format!(
                    "could not remove {}: {error}",
                    place.display()
                )));
            }
            return;
        };
        self.errors_in_a_row = match line.class {
            Class::BenchError => self.errors_in_a_row + 1,
            _ => 0,
        };
        self.came_now += 1;
        if let Err(failure) = self.ledger.add(line.clone()) {
            // Whatever comes now would be forgotten: those under way are ended.
            self.failure.get_or_insert(failure);
            self.field.end();
        }
        tell(Told::Run(&line, self.standing()));
        if self.errors_in_a_row == GIVE_UP_AFTER {
            let text = "so many bench errors in a row: nothing more is begun";
            tell(Told::Note(format!("{GIVE_UP_AFTER} and {text}")));
        }
        self.tidy(tell);
    }

    fn named(&self, run: u64) -> Option<Named> {
        let setup = self.runs.setup(run).ok()?;
        Some(self.runs.named(run, &setup))
    }

    fn tidy(&mut self, tell: &mut dyn FnMut(Told<'_>)) {
        let tidied = keep::tidy(&self.field.dir, self.ledger.lines(), &mut self.kept);
        if let Err(error) = tidied {
            tell(Told::Note(format!(
                "could not reduce a run's folder: {error}"
            )));
        }
    }

    fn standing(&self) -> Standing {
        let lines = self.ledger.lines();
        let done = lines.len() as u64;
        let total = self.runs.total();
        let worked = self.begun.elapsed().as_secs_f64();
        let each = worked / self.came_now.max(1) as f64;
        let by_count = total.map(|total| each * total.saturating_sub(done) as f64);
        let given = self.runs.asked().for_seconds;
        let by_time = given.map(|given| (given as f64 - self.spent().as_secs_f64()).max(0.0));
        let left = [by_count, by_time].into_iter().flatten();
        Standing {
            done,
            total,
            found: lines.iter().filter(|line| line.class.alarmed()).count() as u64,
            per_minute: 60.0 / each.max(1e-3),
            left_seconds: left.min_by(f64::total_cmp),
        }
    }
}
