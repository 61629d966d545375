//! What is kept of one run: its class, its signature, and what a table needs; one line of `campaign.jsonl`.
//!
//! In: how the run's process ended and the object that it said ([`Came`]). Out: a [`Line`]. Nothing here looks at a
//! clock or a file, so that a table can be made again from recorded lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::journal::Event;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It held, and exercised what its scenario promises.
    Held,
    /// It showed what the mode is documented to show, and nothing else.
    Documented,
    /// The history is not linearizable.
    Violation,
    /// Another oracle proved something.
    Finding,
    /// A budget ran out.
    Unknown,
    /// It held, and proves little.
    Vacuous,
    /// The bench failed, and nothing was proven.
    BenchError,
}

impl Class {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Held => "held",
            Class::Documented => "as documented",
            Class::Violation => "violation",
            Class::Finding => "finding",
            Class::Unknown => "unknown",
            Class::Vacuous => "vacuous",
            Class::BenchError => "bench error",
        }
    }

    /// Whether something was found that accuses somebody.
    #[must_use]
    pub fn failed(self) -> bool {
        matches!(self, Class::Violation | Class::Finding)
    }

    /// Whether an alarm rang, documented or not.
    #[must_use]
    pub fn alarmed(self) -> bool {
        self.failed() || self == Class::Documented
    }

    /// Whether it says something about the system under test: a bench error does not.
    #[must_use]
    pub fn counts(self) -> bool {
        self != Class::BenchError
    }
}

/// What failures of one kind have in common: never a value, a seed or a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signature {
    /// What was tested.
    pub target: String,
    /// Who found it first: `history`, or the oracle of a finding.
    pub oracle: String,
    /// What a violation is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<String>,
    /// The kinds of the operations that prove it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// What the nodes were that answered, as far as it is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Whether a fault was in that nobody promises to survive: then it accuses nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpromised: bool,
    /// Whether the mode that was tested is documented to show it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub documented: bool,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signature {
            oracle,
            anomaly,
            operations,
            roles,
            ..
        } = self;
        write!(f, "{oracle}")?;
        if let Some(anomaly) = anomaly {
            write!(f, ": {anomaly}")?;
        }
        if !operations.is_empty() {
            write!(f, " of {}", operations.join(", "))?;
        }
        if !roles.is_empty() {
            write!(f, ", answered by {}", roles.join(", "))?;
        }
        if self.unpromised {
            write!(f, ", after a fault outside of what is promised")?;
        }
        if self.documented {
            write!(f, ", as documented")?;
        }
        Ok(())
    }
}

/// How the operations of a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ops {
    /// With an answer.
    pub ok: u64,
    /// Proven not to have happened.
    pub failed: u64,
    /// Nobody knows.
    pub unknown: u64,
}

/// How often a planted defect was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Its line ran so often.
    pub reached: u64,
    /// And the bad fact came true so often.
    pub triggered: u64,
}

/// One run, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its number in the campaign, from 0.
    pub run: u64,
    /// The scenario, as it was named.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// The defect or decoy in its nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// How it ended.
    pub class: Class,
    /// What it is counted with, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Every oracle that spoke: `history` for a violation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oracles: Vec<String>,
    /// The exit code of its process; absent where it was ended.
    pub exit: Option<i32>,
    /// From the workload's begin to the alarm. What came to light after the workload was found within the whole time
    /// that the run took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm_seconds: Option<f64>,
    /// How long its workload ran.
    pub seconds: f64,
    /// From its first instant to its last.
    pub took_seconds: f64,
    /// How its operations ended.
    pub ops: Ops,
    /// How often the planted defect was met; absent where the nodes do not count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<Met>,
    /// Why it is no verdict, or what a finding says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The machine's load average when it ended.
    pub load: f64,
    /// By so many milliseconds the bench's timers were late meanwhile, in 99 of 100 cases at most.
    pub late_ms: f64,
    /// So long the campaign had worked when it ended, over all its parts.
    pub spent_seconds: f64,
    /// Its folder, within the campaign's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// How to run it again.
    pub again: String,
}

/// What a run of a campaign is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number, from 0.
    pub run: u64,
    /// The scenario, as it was named.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// The defect or decoy in its nodes.
    pub planted: Option<String>,
    /// How to run it again.
    pub again: String,
}

/// How a run's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal that nobody here sent.
    Signal(i32),
    /// It was given so long, and then ended.
    Hung(Duration),
    /// It was told to end at once, did not, and was ended.
    Stopped,
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Came {
    /// How its process ended.
    pub end: End,
    /// Whether it was told to end before its time.
    pub interrupted: bool,
    /// The object that it said.
    pub said: Option<Value>,
    /// What its journal has of a violation or a finding: looked at where it said nothing.
    pub found: Vec<Event>,
    /// The last it said on stderr.
    pub last_words: String,
    /// From its first instant to its last.
    pub took: Duration,
    /// The machine's load average.
    pub load: f64,
    /// How late timers were.
    pub late_ms: f64,
    /// So long the campaign has worked.
    pub spent: Duration,
    /// Its folder.
    pub dir: Option<PathBuf>,
}

/// What is read of the object that a run ends with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    target: Option<String>,
    verdict: Option<String>,
    exit: Option<i32>,
    anomaly: Option<String>,
    findings: Vec<Found>,
    unpromised: Vec<Value>,
    bench_errors: Vec<String>,
    seconds: f64,
    alarm_seconds: Option<f64>,
    ops: Ops,
    defect_counts: Option<Met>,
    counterexample: Option<Proof>,
    coverage: Covered,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    oracle: String,
    evidence: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Proof {
    operations: Vec<Operation>,
    answered_as: Option<String>,
    key: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Operation {
    call: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Covered {
    broken_promises: Vec<String>,
}

/// What is tested where a run names no target: our own node.
const OWN: &str = "kiwi";

impl Line {
    /// What is kept of a run; `None` where it was told to end before its time, and had found nothing by then.
    #[must_use]
    pub fn of(named: &Named, came: &Came) -> Option<Line> {
        // What cannot be read says nothing; the exit code still does.
        let said = came.said.clone();
        let said: Option<Said> = said.and_then(|said| serde_json::from_value(said).ok());
        let code = match came.end {
            End::Exit(code) => Some(code),
            End::Signal(_) | End::Hung(_) | End::Stopped => None,
        };
        let found = said.as_ref().is_some_and(Said::found) || code == Some(1);
        let (said, silent) = match said {
            Some(said) => (said, false),
            None => (Said::of(&came.found), true),
        };
        let class = if said.is_documented() {
            match class_of(code) {
                Class::Held => Class::Documented,
                worse => worse,
            }
        } else if said.violated() {
            Class::Violation
        } else if found || said.found() {
            Class::Finding
        } else if came.interrupted {
            return None;
        } else {
            class_of(code.filter(|code| !silent || *code != 0))
        };
        let took_seconds = came.took.as_secs_f64();
        let alarm = said.alarm_seconds.unwrap_or(took_seconds);
        Some(Line {
            run: named.run,
            scenario: named.scenario.clone(),
            seed: named.seed,
            planted: named.planted.clone(),
            class,
            signature: class.alarmed().then(|| said.signature()),
            oracles: said.oracles(),
            exit: code,
            alarm_seconds: class.alarmed().then_some(alarm),
            seconds: said.seconds,
            took_seconds,
            ops: said.ops,
            defect: said.defect_counts,
            note: said.note(class, came),
            load: came.load,
            late_ms: came.late_ms,
            spent_seconds: came.spent.as_secs_f64(),
            dir: came.dir.clone(),
            again: named.again.clone(),
        })
    }
}

/// The failure that a run's object tells of; `None` where it held.
#[must_use]
pub fn signature(said: Value) -> Option<Signature> {
    let said: Said = serde_json::from_value(said).ok()?;
    (said.violated() || said.found()).then(|| said.signature())
}

/// The class of a run that found nothing, by its exit code; none: it was ended, or said nothing.
fn class_of(code: Option<i32>) -> Class {
    match code {
        Some(0) => Class::Held,
        Some(2) => Class::Unknown,
        Some(3) => Class::Vacuous,
        _ => Class::BenchError,
    }
}

impl Said {
    /// What a run that did not get to say anything had found before: a violation stays one, whatever came after it.
    fn of(events: &[Event]) -> Said {
        let mut said = Said::default();
        for event in events {
            match event {
                Event::Alarm { counterexample } if said.counterexample.is_none() => {
                    said.verdict = Some("violation".to_owned());
                    let proof = serde_json::to_value(counterexample);
                    said.counterexample = proof.and_then(serde_json::from_value).ok();
                }
                Event::Found { finding } => said.findings.push(Found {
                    oracle: finding.oracle().name().to_owned(),
                    evidence: finding.evidence.to_string(),
                }),
                _ => {}
            }
        }
        said
    }

    fn violated(&self) -> bool {
        self.verdict.as_deref() == Some("violation")
    }

    /// Whether what it found is what its mode is documented to show, and nothing else: the run itself says so, by its code.
    fn is_documented(&self) -> bool {
        self.violated() && self.findings.is_empty() && self.exit == Some(0)
    }

    fn found(&self) -> bool {
        (self.violated() && !self.is_documented())
            || !self.findings.is_empty()
            || self.exit == Some(1)
    }

    fn oracles(&self) -> Vec<String> {
        let mut oracles: Vec<String> = Vec::new();
        oracles.extend(self.violated().then(|| "history".to_owned()));
        for finding in &self.findings {
            if !oracles.contains(&finding.oracle) {
                oracles.push(finding.oracle.clone());
            }
        }
        oracles
    }

    fn signature(&self) -> Signature {
        let proof = self.counterexample.as_ref().filter(|_| self.violated());
        let operations: BTreeSet<String> = proof
            .into_iter()
            .flat_map(|proof| &proof.operations)
            .filter_map(|operation| kind(&operation.call))
            .collect();
        let anomaly = self.anomaly.clone();
        Signature {
            target: self.target.clone().unwrap_or(OWN.to_owned()),
            // A run that ends with 1 and says nothing that can be read has found something all the same.
            oracle: self.oracles().first().cloned().unwrap_or("?".to_owned()),
            anomaly: self
                .violated()
                .then(|| anomaly.unwrap_or("unclassified".to_owned())),
            operations: operations.into_iter().collect(),
            roles: proof
                .and_then(|proof| proof.answered_as.clone())
                .into_iter()
                .collect(),
            unpromised: !self.unpromised.is_empty(),
            documented: self.is_documented(),
        }
    }

    /// Why it is no verdict, or what a finding says.
    fn note(&self, class: Class, came: &Came) -> Option<String> {
        let note = match class {
            Class::Held => return None,
            Class::Violation | Class::Documented => {
                let key = self.counterexample.as_ref().map(|proof| &proof.key);
                key.map_or(String::new(), |key| format!("on {key}"))
            }
            Class::Finding => {
                let first = self.findings.first();
                first.map_or(String::new(), |finding| finding.evidence.clone())
            }
            Class::Unknown => "a budget ran out".to_owned(),
            Class::Vacuous => self.coverage.broken_promises.join("; "),
            Class::BenchError => match (self.bench_errors.first(), came.end) {
                (Some(error), _) => error.clone(),
                (None, End::Hung(given)) => {
                    format!("it did not end within {} s, and was ended", given.as_secs())
                }
                (None, End::Stopped) => "it did not end when it was told to".to_owned(),
                (None, End::Signal(signal)) => format!("signal {signal} ended it"),
                (None, End::Exit(code)) => {
                    format!("it ended with {code}: {}", came.last_words.trim())
                }
            },
        };
        Some(note).filter(|note| !note.is_empty())
    }
}

/// The kind of a call as a counterexample has it: a word, or an object with one member.
fn kind(call: &Value) -> Option<String> {
    let member = || call.as_object()?.keys().next().map(String::as_str);
    call.as_str().or_else(member).map(str::to_owned)
}

/// Lines by their run: of several of one run the first counts.
#[must_use]
pub(super) fn by_run(lines: &[Line]) -> BTreeMap<u64, &Line> {
    let mut runs = BTreeMap::new();
    for line in lines {
        runs.entry(line.run).or_insert(line);
    }
    runs
}
