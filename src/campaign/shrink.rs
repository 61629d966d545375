//! Makes the plan of a failing run smaller on real processes, and says how often what is left still fails.
//!
//! ```text
//!  the parent, ten times ──▶ its rate p0 ──▶ candidates ([`Reducer`]) ──▶ what is left, twenty times ──▶ a file
//!                                            each at most ln 0.05 / ln (1 - p0) times; its first failure is enough
//! ```
//!
//! A system that is not deterministic fails now and then: a candidate is given up only after so many runs without the
//! failure that a failure of the parent's rate would have shown with 95 %. Another failure does not count.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use super::field::{Field, Wake};
use super::keep;
use super::line::{Line, Named, Signature};
use super::ratio::Rate;
use super::reduce::{Candidate, Reducer};
use crate::scenario::Resolved;

/// So often the parent is run for its rate: half as often as what is left, within these.
const FIRST: std::ops::RangeInclusive<u64> = 3..=10;
/// A rate that was never missed is taken for no more than this.
const SUREST: f64 = 0.9;
/// A run may take this many times its workload's length, and this much for all that comes before and after it.
const TIMES_ITS_LENGTH: u32 = 3;
const BESIDE: Duration = Duration::from_secs(180);

/// What is to be made smaller, and how.
#[derive(Debug)]
pub struct Shrink {
    /// The run that failed.
    pub parent: Resolved,
    /// Which failures count.
    pub wanted: Wanted,
    /// The folder of all this.
    pub dir: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// So many runs at once.
    pub jobs: u64,
    /// Nothing more is tried after so long.
    pub budget: Duration,
    /// What is left is run so often for its rate.
    pub confirm: u64,
}

/// Which failures count.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Those that are like this one: who found it, what it is called, and whether it accuses anybody. What proves it
    /// differs from run to run, and changes with the load.
    Like(Box<Signature>),
    /// Those that are like the parent's most frequent one.
    Frequent,
    /// All of them.
    Any,
}

impl Wanted {
    fn counts(&self, found: &Signature) -> bool {
        let what = |s: &Signature| {
            let Signature {
                target,
                oracle,
                anomaly,
                unpromised,
                documented,
                ..
            } = s.clone();
            (target, oracle, anomaly, unpromised, documented)
        };
        match self {
            Wanted::Like(wanted) => what(wanted) == what(found),
            Wanted::Frequent | Wanted::Any => true,
        }
    }
}

/// What is told meanwhile.
#[derive(Debug)]
pub enum Step<'a> {
    /// The parent fails so often, for example like this; and with so many failures that do not count.
    Parent(Rate, &'a Signature, u64),
    /// That was left out, and it still fails; or it did not any more, in so many runs.
    Tried(&'a Candidate, bool, u64),
    /// What is left is run for its rate.
    Confirming(u64),
    /// It fails less than half as often as its parent: some steps are taken back.
    TooSeldom(Rate),
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing more can be left out.
    Smallest,
    /// The budget was over.
    Budget,
    /// Somebody ended it.
    Interrupted,
}

/// What came of it.
#[derive(Debug)]
pub enum Shrunk {
    /// The failure did not come again in so many runs of the parent.
    NotAgain(Rate),
    /// The bench failed in each of so many runs, with these words.
    Broken(u64, String),
    /// What is left.
    Left(Box<Left>),
}

/// The smallest run that was found to fail.
#[derive(Debug)]
pub struct Left {
    /// What it is.
    pub resolved: Resolved,
    /// How many episodes and faults its parent had.
    pub parent: (usize, usize),
    /// How often the parent fails.
    pub before: Rate,
    /// How often it fails itself; absent where it was not run for that.
    pub after: Option<Rate>,
    /// One of its failures.
    pub example: Line,
    /// What was left out, step by step.
    pub without: Vec<String>,
    /// Why it ended.
    pub stopped: Stopped,
    /// Its counterexample, as its run has kept it.
    pub counterexample: Option<String>,
}

/// Runs of one plan.
#[derive(Default)]
struct Batch {
    /// Those that failed as they should.
    hits: Vec<Line>,
    /// Failures that do not count.
    others: u64,
    /// All that say something.
    counted: u64,
    /// What the bench failed in.
    errors: Vec<String>,
}

impl Batch {
    fn rate(&self) -> Rate {
        Rate {
            hits: self.hits.len() as u64,
            of: self.counted,
        }
    }
}

/// So many runs without it are enough to give a candidate up.
fn enough(rate: Rate) -> u64 {
    let share = rate.share().clamp(0.01, SUREST);
    (0.05_f64.ln() / (1.0 - share).ln()).ceil() as u64
}

/// Works until nothing more can be left out, the budget is over, or somebody ends it.
///
/// # Errors
/// Where the system lacks something, or a file cannot be written.
pub async fn shrink(shrink: Shrink, tell: &mut dyn FnMut(Step<'_>)) -> io::Result<Shrunk> {
    let field = Field::new(shrink.dir.clone(), shrink.program.clone(), Vec::new())?;
    let mut work = Work {
        field,
        jobs: shrink.jobs.max(1),
        run: 0,
        began: Instant::now(),
    };
    let mut reducer = Reducer::new(shrink.parent.clone());
    let parent = reducer.best().clone();
    let times = (shrink.confirm / 2).clamp(*FIRST.start(), *FIRST.end());
    let (first, wanted) = work.parent(&parent, times, shrink.wanted).await?;
    let before = first.rate();
    let Some(example) = first.hits.first().cloned() else {
        return Ok(match first.errors.first() {
            Some(error) if first.counted == 0 => {
                Shrunk::Broken(first.errors.len() as u64, error.clone())
            }
            _ => Shrunk::NotAgain(before),
        });
    };
    if let Some(signature) = &example.signature {
        tell(Step::Parent(before, signature, first.others));
    }
    let mut steps = vec![Taken {
        resolved: parent.clone(),
        without: String::new(),
        example,
    }];
    let stopped = loop {
        if work.field.stopping() {
            break Stopped::Interrupted;
        }
        if work.began.elapsed() >= shrink.budget {
            break Stopped::Budget;
        }
        let Some(candidate) = reducer.next() else {
            break Stopped::Smallest;
        };
        // What only tunes must not fail by a chance that the parent did not need.
        let needed = if candidate.tunes && before.share() >= 0.5 {
            2
        } else {
            1
        };
        let until = Until::Hits(needed, shrink.budget);
        let most = enough(before) + needed - 1;
        let mut batch = work.runs(&candidate.resolved, most, &wanted, until).await?;
        let fails = batch.hits.len() as u64 >= needed;
        tell(Step::Tried(&candidate, fails, batch.counted));
        let example = (fails && !batch.hits.is_empty()).then(|| batch.hits.remove(0));
        for other in &batch.hits {
            work.forget(other)?;
        }
        if let Some(example) = example {
            steps.push(Taken {
                resolved: candidate.resolved.clone(),
                without: candidate.without.clone(),
                example,
            });
            reducer.accept(candidate);
        }
    };
    let mut after = None;
    while stopped != Stopped::Interrupted && shrink.confirm > 0 && !work.field.stopping() {
        tell(Step::Confirming(shrink.confirm));
        let best = steps.last().map_or(&parent, |step| &step.resolved).clone();
        let batch = work
            .runs(&best, shrink.confirm, &wanted, Until::All)
            .await?;
        for line in &batch.hits {
            work.forget(line)?;
        }
        let rate = batch.rate();
        after = (rate.of > 0).then_some(rate);
        if rate.of == 0 || 2.0 * rate.share() >= before.share() || steps.len() == 1 {
            break;
        }
        // It fails, and too seldom to be of use: some steps back.
        tell(Step::TooSeldom(rate));
        let kept = steps.len() - (steps.len() / 4).max(1);
        for step in steps.drain(kept..) {
            work.forget(&step.example)?;
        }
    }
    left(&work, &shrink.dir, &parent, steps, (before, after), stopped).map(Shrunk::Left)
}

/// What was found to fail, and to be smaller than what was found before it.
struct Taken {
    resolved: Resolved,
    without: String,
    example: Line,
}

/// What is left after these steps, the last one's: the folders of the others go.
fn left(
    work: &Work,
    dir: &Path,
    parent: &Resolved,
    mut steps: Vec<Taken>,
    (before, after): (Rate, Option<Rate>),
    stopped: Stopped,
) -> io::Result<Box<Left>> {
    let without = steps
        .iter()
        .skip(1)
        .map(|step| step.without.clone())
        .collect();
    let Some(last) = steps.pop() else {
        return Err(io::Error::other("there is always the parent"));
    };
    for step in &steps {
        work.forget(&step.example)?;
    }
    let kept = last.example.dir.as_ref().map(|kept| dir.join(kept));
    let text = kept.and_then(|dir| fs::read_to_string(dir.join("counterexample.txt")).ok());
    Ok(Box::new(Left {
        resolved: last.resolved,
        parent: (parent.plan.episodes.len(), parent.plan.faults().count()),
        before,
        after,
        example: last.example,
        without,
        stopped,
        counterexample: text,
    }))
}

/// When a batch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// At so many failures, or where no run may begin any more: those beside them still come to their end.
    Hits(u64, Duration),
    /// When all have come back.
    All,
}

struct Work {
    field: Field,
    jobs: u64,
    /// The number of the next run.
    run: u64,
    began: Instant,
}

impl Work {
    /// Runs the parent for its rate; gives with it which failures count from now on. Of those that did, one folder stays.
    async fn parent(
        &mut self,
        parent: &Resolved,
        times: u64,
        wanted: Wanted,
    ) -> io::Result<(Batch, Wanted)> {
        let mut batch = self.runs(parent, times, &wanted, Until::All).await?;
        let signatures = || batch.hits.iter().filter_map(|line| line.signature.as_ref());
        let alike = |signature: &Signature| Wanted::Like(Box::new(signature.clone()));
        let often = |signature: &Signature| {
            let like = alike(signature);
            signatures().filter(|other| like.counts(other)).count()
        };
        let wanted = match wanted {
            Wanted::Frequent => signatures()
                .max_by_key(|signature| often(signature))
                .map_or(Wanted::Frequent, alike),
            wanted => wanted,
        };
        let (hits, others) = std::mem::take(&mut batch.hits)
            .into_iter()
            .partition(|line| {
                line.signature
                    .as_ref()
                    .is_some_and(|found| wanted.counts(found))
            });
        let others: Vec<Line> = others;
        batch.hits = hits;
        batch.others += others.len() as u64;
        for line in others.iter().chain(batch.hits.iter().skip(1)) {
            self.forget(line)?;
        }
        Ok((batch, wanted))
    }

    /// Runs a plan, at most so often. Folders of what does not fail go at once.
    async fn runs(
        &mut self,
        resolved: &Resolved,
        most: u64,
        wanted: &Wanted,
        until: Until,
    ) -> io::Result<Batch> {
        let text = toml::to_string(resolved).map_err(io::Error::other)?;
        let file = self.field.dir.join("candidate.toml");
        let mut batch = Batch::default();
        let mut begun = 0;
        loop {
            let more = match until {
                Until::All => true,
                Until::Hits(needed, budget) => {
                    (batch.hits.len() as u64) < needed && self.began.elapsed() < budget
                }
            };
            while more && !self.field.stopping() && begun < most && self.field.running() < self.jobs
            {
                fs::write(&file, &text)?;
                self.start(resolved, &file)?;
                begun += 1;
            }
            match self.field.wake().await {
                Wake::Nothing => break,
                Wake::Signal => self.field.obey_signal(),
                Wake::Back(back) => {
                    let place = keep::place(&self.field.dir, back.run);
                    let came = self.field.came(&back, None, &place, self.began.elapsed());
                    let line = Line::of(&named(back.run, resolved), &came);
                    self.take(line, wanted, &mut batch, &place)?;
                }
            }
        }
        Ok(batch)
    }

    fn take(
        &self,
        line: Option<Line>,
        wanted: &Wanted,
        batch: &mut Batch,
        place: &Path,
    ) -> io::Result<()> {
        let hit = line.filter(|line| {
            if line.class.counts() {
                batch.counted += 1;
            } else {
                batch.errors.push(line.note.clone().unwrap_or_default());
            }
            let signature = line.signature.as_ref();
            let counts = signature.is_some_and(|found| wanted.counts(found));
            batch.others += u64::from(signature.is_some() && !counts);
            counts
        });
        match hit {
            Some(line) => {
                batch.hits.push(line);
                Ok(())
            }
            None => keep::remove(place),
        }
    }

    fn start(&mut self, resolved: &Resolved, file: &Path) -> io::Result<()> {
        let run = self.run;
        self.run += 1;
        let length = u32::try_from(resolved.scenario.seconds).unwrap_or(u32::MAX);
        let given = (Duration::from_secs(1) * length).saturating_mul(TIMES_ITS_LENGTH) + BESIDE;
        let place = keep::place(&self.field.dir, run);
        // A file of its own: the next candidate's must not take its place before it is read.
        fs::create_dir_all(&place)?;
        let own = place.join("candidate.toml");
        fs::rename(file, &own)?;
        let arguments = vec!["run".to_owned(), own.to_string_lossy().into_owned()];
        self.field.start(run, place, arguments, given)
    }

    /// The folder of a failure that is no longer the smallest one's.
    fn forget(&self, line: &Line) -> io::Result<()> {
        keep::remove(&keep::place(&self.field.dir, line.run))
    }
}

fn named(run: u64, resolved: &Resolved) -> Named {
    Named {
        run,
        scenario: resolved.scenario.name.clone(),
        seed: resolved.seed,
        planted: resolved.defect.clone(),
        again: String::new(),
    }
}

impl Left {
    /// Whether anything was left out.
    #[must_use]
    pub fn is_smaller(&self) -> bool {
        !self.without.is_empty()
    }

    /// What is done, what goes wrong, and what a client sees.
    #[must_use]
    pub fn story(&self) -> String {
        let plan = &self.resolved.plan;
        let mut text = String::new();
        if plan.episodes.is_empty() {
            let _ = writeln!(
                text,
                "No fault is needed: {} clients are enough.",
                self.resolved.scenario.clients
            );
        }
        for episode in &plan.episodes {
            let faults: Vec<String> = episode.faults.iter().map(ToString::to_string).collect();
            let faults = faults.join(" and ");
            let at = episode.at_ms as f64 / 1_000.0;
            let lasts = match episode.for_ms {
                0 => String::new(),
                ms => format!(", for {ms} ms"),
            };
            let _ = match &episode.when {
                None => writeln!(text, "At {at:.1} s: {faults}{lasts}."),
                Some(when) => writeln!(
                    text,
                    "From {at:.1} s on, {} ms after {when}: {faults}{lasts}.",
                    episode.after_ms
                ),
            };
        }
        if let Some(signature) = &self.example.signature {
            let _ = writeln!(text, "Then: {signature}.");
        }
        if let (None, Some(note)) = (&self.counterexample, &self.example.note) {
            let _ = writeln!(text, "{note}");
        }
        text
    }

    /// As a scenario of its own, with its story and its rates before it.
    ///
    /// # Errors
    /// Where it cannot be said.
    pub fn file(&self) -> io::Result<String> {
        let rate = |rate: Rate| format!("{} of {} runs", rate.hits, rate.of);
        let mut head = self.story();
        let _ = writeln!(
            head,
            "It fails in {}, and what it was made from in {}.",
            self.after.map_or("(not counted)".to_owned(), rate),
            rate(self.before)
        );
        if let Some(text) = &self.counterexample {
            let _ = write!(head, "\n{text}");
        }
        let mut file = String::new();
        for line in head.trim_end().lines() {
            let _ = writeln!(file, "{}", format!("# {line}").trim_end());
        }
        let plan = toml::to_string(&self.resolved).map_err(io::Error::other)?;
        Ok(format!("{file}\n{plan}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, enough};

    #[test]
    fn a_candidate_is_given_up_when_a_failure_of_that_rate_would_have_shown() {
        // 1 - (1 - p)^n is at least 0.95.
        for (hits, of, runs) in [
            (10, 10, 2),
            (9, 10, 2),
            (5, 10, 5),
            (2, 10, 14),
            (1, 10, 29),
        ] {
            assert_eq!(enough(Rate { hits, of }), runs, "{hits} of {of}");
        }
    }
}
