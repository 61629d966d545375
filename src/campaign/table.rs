//! The table: a pure fold over the lines of a campaign, and the exit code that follows from it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::asked::{Asked, Role};
use super::line::{Class, Line, Signature, by_run};
use super::ratio::{Rate, quantile};

/// What a campaign came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Runs that ended, bench errors included.
    pub runs: u64,
    /// How many of each class.
    pub classes: BTreeMap<&'static str, u64>,
    /// A row a signature, the most frequent first.
    pub failures: Vec<Row>,
    /// A row a defect, where defects were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<Power>,
    /// Decoys and plain runs beside defects: every alarm here is a false one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    /// What the bench itself failed at, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bench_errors: BTreeMap<String, u64>,
    /// The machine's load average, the least and the most.
    pub load: Option<(f64, f64)>,
    /// In so many runs the bench's timers were later than they may be.
    pub late: u64,
    /// So long the campaign worked.
    pub spent_seconds: f64,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What they have in common.
    pub signature: Signature,
    /// What was planted in their nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// In so many of the runs with that in their nodes.
    pub rate: Rate,
    /// The 95 % interval of the rate.
    pub interval: (f64, f64),
    /// The time to the alarm by which half of them had rung.
    pub median_seconds: Option<f64>,
    /// And nine of ten.
    pub p90_seconds: Option<f64>,
    /// The oracles that spoke beside the first, and in how many of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<String, u64>,
    /// The run whose alarm came first, by its number.
    pub shortest: u64,
    /// Its folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// How to run it again.
    pub again: String,
}

/// How well one defect is found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Power {
    /// Which.
    pub defect: String,
    /// How hard it is.
    pub tier: &'static str,
    /// In so many runs it was found.
    pub rate: Rate,
    /// The 95 % interval of the rate.
    pub interval: (f64, f64),
    /// The time by which it was found in half of all runs: a run that missed it counts as later than any.
    pub median_seconds: Option<f64>,
    /// And in nine of ten.
    pub p90_seconds: Option<f64>,
    /// Who found it first, and how often.
    pub oracles: BTreeMap<String, u64>,
    /// In so many runs its line ran; absent where the nodes do not count it.
    pub reached: Option<Rate>,
    /// In so many it came true.
    pub triggered: Option<Rate>,
    /// Runs that say nothing, as the bench failed.
    pub bench_errors: u64,
}

/// Runs in which there is nothing to find.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// The decoy; absent: plain nodes.
    pub decoy: Option<String>,
    /// In so many runs an alarm rang.
    pub alarms: Rate,
    /// The 95 % interval of the rate.
    pub interval: (f64, f64),
    /// Runs without a verdict.
    pub unknown: u64,
    /// Runs that say nothing, as the bench failed.
    pub bench_errors: u64,
}

/// How a campaign ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All that was asked for was run.
    Complete,
    /// Somebody ended it before.
    Interrupted,
}

/// Timers that are later than this are too late: a tenth of the election timeout, and 30 ms at most.
#[must_use]
pub fn bearable_ms(election_ms: u64) -> f64 {
    (election_ms as f64 / 10.0).min(30.0)
}

impl Table {
    /// The table of these lines, in whatever order they came.
    #[must_use]
    pub fn of(asked: &Asked, lines: &[Line]) -> Table {
        let lines: Vec<&Line> = by_run(lines).into_values().collect();
        let mut classes = BTreeMap::new();
        let mut bench_errors = BTreeMap::new();
        for line in &lines {
            *classes.entry(line.class.name()).or_default() += 1;
            if line.class == Class::BenchError {
                let note = line.note.clone().unwrap_or_default();
                *bench_errors.entry(note).or_default() += 1;
            }
        }
        let loads = || lines.iter().map(|line| line.load);
        let least = loads().min_by(f64::total_cmp);
        let power = !asked.defects.is_empty();
        let roles = asked.roles();
        let of = |role: &Role| -> Vec<&Line> {
            let planted = role.planted();
            let lines = lines.iter().copied();
            lines
                .filter(|line| line.planted.as_deref() == planted)
                .collect()
        };
        let controls = roles.iter().filter(|role| role.is_control());
        Table {
            runs: lines.len() as u64,
            classes,
            failures: rows(&lines),
            defects: roles
                .iter()
                .filter_map(|role| match role {
                    Role::Defect(name) => Some(power_of(name, &of(role))),
                    Role::Plain | Role::Decoy(_) => None,
                })
                .collect(),
            controls: controls
                .filter(|_| power || asked.decoys)
                .map(|role| control_of(role, &of(role)))
                .collect(),
            bench_errors,
            load: least.zip(loads().max_by(f64::total_cmp)),
            late: lines
                .iter()
                .filter(|line| line.late_ms > asked.bearable_ms)
                .count() as u64,
            spent_seconds: lines
                .iter()
                .map(|line| line.spent_seconds)
                .fold(0.0, f64::max),
        }
    }

    /// The exit code, as the README has it. Where defects are measured, finding one is what was wanted.
    #[must_use]
    pub fn exit(&self, ended: Ended) -> u8 {
        let count = |class: Class| self.classes.get(class.name()).copied().unwrap_or(0);
        let measured = !self.defects.is_empty();
        let alarms: u64 = self
            .controls
            .iter()
            .map(|control| control.alarms.hits)
            .sum();
        let unknown: u64 = self.controls.iter().map(|control| control.unknown).sum();
        let failed = count(Class::Violation) + count(Class::Finding);
        let (failed, unknown) = match measured {
            true => (alarms, unknown),
            false => (failed, count(Class::Unknown)),
        };
        let nothing = match measured {
            true => self.defects.iter().any(|defect| defect.rate.hits == 0),
            false => count(Class::Vacuous) == self.runs,
        };
        if failed > 0 {
            1
        } else if count(Class::BenchError) > 0 {
            70
        } else if ended == Ended::Interrupted {
            130
        } else if unknown > 0 {
            2
        } else if nothing {
            3
        } else {
            0
        }
    }
}

/// A row a signature, the most frequent first.
fn rows(lines: &[&Line]) -> Vec<Row> {
    let mut groups: BTreeMap<(Option<&str>, &Signature), Vec<&Line>> = BTreeMap::new();
    for line in lines {
        if let Some(signature) = &line.signature {
            let group = (line.planted.as_deref(), signature);
            groups.entry(group).or_default().push(line);
        }
    }
    let mut rows: Vec<Row> = groups
        .into_iter()
        .filter_map(|((planted, signature), group)| {
            let alike = |line: &&&Line| line.planted.as_deref() == planted && line.class.counts();
            let rate = Rate {
                hits: group.len() as u64,
                of: lines.iter().filter(alike).count() as u64,
            };
            let times: Vec<f64> = group.iter().filter_map(|line| line.alarm_seconds).collect();
            let shortest = shortest(&group)?;
            let mut beside = BTreeMap::new();
            for oracle in group.iter().flat_map(|line| line.oracles.iter().skip(1)) {
                *beside.entry(oracle.clone()).or_default() += 1;
            }
            Some(Row {
                signature: signature.clone(),
                planted: planted.map(str::to_owned),
                rate,
                interval: rate.interval(),
                median_seconds: quantile(&times, 0, 0.5),
                p90_seconds: quantile(&times, 0, 0.9),
                beside,
                shortest: shortest.run,
                dir: shortest.dir.clone(),
                again: shortest.again.clone(),
            })
        })
        .collect();
    // The sort is stable: rows of equal rates stay in the order of what they are.
    rows.sort_by_key(|row| std::cmp::Reverse(row.rate.hits));
    rows
}

/// Of several runs the one whose alarm came first.
pub(super) fn shortest<'a>(group: &[&'a Line]) -> Option<&'a Line> {
    let time = |line: &Line| line.alarm_seconds.unwrap_or(f64::MAX);
    let first = |a: &&Line, b: &&Line| time(a).total_cmp(&time(b)).then(a.run.cmp(&b.run));
    group.iter().copied().min_by(first)
}

fn power_of(name: &str, lines: &[&Line]) -> Power {
    let counted: Vec<&&Line> = lines.iter().filter(|line| line.class.counts()).collect();
    let found: Vec<&&Line> = lines.iter().filter(|line| line.class.failed()).collect();
    let rate = Rate {
        hits: found.len() as u64,
        of: counted.len() as u64,
    };
    let times: Vec<f64> = found.iter().filter_map(|line| line.alarm_seconds).collect();
    let missed = counted.len() - found.len();
    let mut oracles = BTreeMap::new();
    for oracle in found.iter().filter_map(|line| line.oracles.first()) {
        *oracles.entry(oracle.clone()).or_default() += 1;
    }
    let met: Vec<_> = counted.iter().filter_map(|line| line.defect).collect();
    let of = met.len() as u64;
    let share = |hits: usize| {
        (of > 0).then_some(Rate {
            hits: hits as u64,
            of,
        })
    };
    Power {
        defect: name.to_owned(),
        tier: super::asked::tier(name),
        rate,
        interval: rate.interval(),
        median_seconds: quantile(&times, missed, 0.5),
        p90_seconds: quantile(&times, missed, 0.9),
        oracles,
        reached: share(met.iter().filter(|met| met.reached > 0).count()),
        triggered: share(met.iter().filter(|met| met.triggered > 0).count()),
        bench_errors: (lines.len() - counted.len()) as u64,
    }
}

fn control_of(role: &Role, lines: &[&Line]) -> Control {
    let count = |wanted: &dyn Fn(Class) -> bool| {
        lines.iter().filter(|line| wanted(line.class)).count() as u64
    };
    let alarms = Rate {
        hits: count(&Class::failed),
        of: count(&Class::counts),
    };
    Control {
        decoy: role.planted().map(str::to_owned),
        alarms,
        interval: alarms.interval(),
        unknown: count(&|class| class == Class::Unknown),
        bench_errors: count(&|class| class == Class::BenchError),
    }
}
