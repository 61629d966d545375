//! Configurations, and the table of proofs: each row is a complete search whose number of states is pinned.
//!
//! A count that changed is a failure that says so: either a rule changed, or the model did. No clock here; the command
//! line times a row.

use serde::Serialize;

use super::raft::{Action, Invariant, Raft, seen};
use super::rules::Rules;
use super::search::{Outcome, Tell, Trail, breadth_first_telling};

/// How votes order: openraft has two modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Votes {
    /// The default: leader ids are totally ordered, and a term may see several leaders, one after the other.
    ByTermAndNode,
    /// `single-term-leader`, the paper's: two nodes of one term are incomparable until one leads.
    ByTerm,
}

/// Bounds and switches of one model.
#[derive(Clone, Copy, Debug)]
pub struct Configuration {
    /// Its name, as tables and commands know it.
    pub name: &'static str,
    /// What it is, in words.
    pub about: &'static str,
    /// How votes order.
    pub votes: Votes,
    /// The highest term.
    pub terms: u64,
    /// The most entries of a log, up to 4.
    pub entries: u8,
    /// A leader that restarts leads on, as openraft 0.9 always does.
    pub restore: bool,
    /// Votes and entries are volatile until a flush of their own; acknowledged only after it.
    pub flush: bool,
    /// How many ReadIndex reads.
    pub reads: u8,
    /// Promises, leases and reads under them.
    pub lease: bool,
    /// Voters before and after the membership change, as bits, if there is one.
    pub change: Option<(u64, u64)>,
    /// Followers may receive snapshots.
    pub snapshots: bool,
    /// Forget what nobody can use any more (see [`Raft::reduce`]). [`Raft::new`] does not where a broken rule makes
    /// it unsound.
    pub reduce: bool,
    /// The rules.
    pub rules: Rules,
    /// The invariants that are watched, as bits.
    pub watched: u16,
}

/// The plainest: two terms, two entries, openraft's order, crash and restart.
const BASE: Configuration = Configuration {
    name: "2x2",
    about: "two terms, two entries, crash and restart",
    votes: Votes::ByTermAndNode,
    terms: 2,
    entries: 2,
    restore: false,
    flush: false,
    reads: 0,
    lease: false,
    change: None,
    snapshots: false,
    reduce: true,
    rules: Rules { broken: None },
    watched: u16::MAX,
};

/// When a row runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Depth {
    /// Always.
    Quick,
    /// With `--full`.
    Full,
    /// Never by itself: a configuration for mutants and tests.
    Unlisted,
}

/// A row of the table: a configuration and how many states it has.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is searched.
    pub configuration: Configuration,
    /// When.
    pub depth: Depth,
    /// How many different states there are.
    pub unique: u64,
}

const fn row(configuration: Configuration, depth: Depth, unique: u64) -> Row {
    Row {
        configuration,
        depth,
        unique,
    }
}

/// Every row, with its count.
#[rustfmt::skip]
pub const ROWS: &[Row] = {
    use Depth::{Full, Quick, Unlisted};
    use Votes::ByTerm;
    &[
        row(BASE, Quick, 102_941),
        row(Configuration { name: "2x3", about: "two terms, three entries", entries: 3, ..BASE }, Quick, 515_154),
        row(Configuration { name: "2x3 restore", about: "a restarted leader leads on", entries: 3, restore: true, ..BASE }, Quick, 326_688),
        row(Configuration { name: "2x2 by term", about: "one leader a term", votes: ByTerm, ..BASE }, Quick, 82_061),
        row(Configuration { name: "2x3 by term", about: "one leader a term", votes: ByTerm, entries: 3, ..BASE }, Quick, 426_617),
        row(Configuration { name: "2x2 read", about: "one ReadIndex read", reads: 1, ..BASE }, Quick, 308_228),
        row(Configuration { name: "2x2 lease", about: "promises and reads under a lease", lease: true, ..BASE }, Quick, 220_110),
        row(Configuration { name: "1x2 flush", about: "votes and entries are volatile until flushed", terms: 1, flush: true, ..BASE }, Quick, 99_061),
        row(Configuration { name: "2x1 flush", about: "votes and entries are volatile until flushed", entries: 1, flush: true, ..BASE }, Quick, 459_721),
        row(Configuration { name: "2x2 flush", about: "votes and entries are volatile until flushed", flush: true, ..BASE }, Full, 9_130_556),
        row(Configuration { name: "2x2 shrink", about: "joint change from three voters to one", change: Some((0b111, 0b001)), ..BASE }, Unlisted, 172_499),
        row(Configuration { name: "2x3 shrink", about: "joint change from three voters to one", entries: 3, change: Some((0b111, 0b001)), ..BASE }, Quick, 1_456_977),
        row(Configuration { name: "2x3 grow", about: "joint change from one voter to three", entries: 3, change: Some((0b001, 0b111)), ..BASE }, Quick, 71_682),
        row(Configuration { name: "2x4 replace", about: "joint change from two voters to another two", entries: 4, change: Some((0b011, 0b110)), ..BASE }, Full, 580_138),
        row(Configuration { name: "2x3 snapshot", about: "snapshots are installed: by steps of their own, to no other states", entries: 3, snapshots: true, ..BASE }, Quick, 515_154),
        row(Configuration { name: "2x3 read", about: "one ReadIndex read", entries: 3, reads: 1, ..BASE }, Quick, 1_869_696),
        row(Configuration { name: "2x3 lease", about: "promises and reads under a lease", entries: 3, lease: true, ..BASE }, Quick, 1_358_385),
        row(Configuration { name: "2x4", about: "two terms, four entries", entries: 4, ..BASE }, Full, 2_011_865),
        row(Configuration { name: "3x2", about: "three terms, two entries", terms: 3, ..BASE }, Full, 1_240_017),
        row(Configuration { name: "3x2 read", about: "one ReadIndex read", terms: 3, reads: 1, ..BASE }, Full, 3_466_105),
        row(Configuration { name: "3x2 by term", about: "one leader a term", votes: ByTerm, terms: 3, ..BASE }, Full, 979_267),
        row(Configuration { name: "4x2 by term", about: "one leader a term: Figure 8 needs four terms", votes: ByTerm, terms: 4, ..BASE }, Full, 6_959_109),
        row(Configuration { name: "1x1", about: "the smallest", terms: 1, entries: 1, ..BASE }, Unlisted, 703),
        row(Configuration { name: "1x2", about: "for the checks of both reductions", terms: 1, ..BASE }, Unlisted, 2_601),
        row(Configuration { name: "2x1", about: "for the checks of both reductions", entries: 1, ..BASE }, Unlisted, 14_110),
    ]
};

impl Configuration {
    /// The configuration of that name, with the true rules.
    #[must_use]
    pub fn named(name: &str) -> Option<Configuration> {
        ROWS.iter()
            .map(|r| r.configuration)
            .find(|c| c.name == name)
    }

    /// Which kinds of actions must happen somewhere in it.
    #[must_use]
    pub fn expected_kinds(&self) -> Vec<&'static str> {
        let mut kinds = vec![
            "elect", "vote", "lead", "append", "advance", "learn", "restart",
        ];
        let when = [
            (self.entries > 1, &["write"][..]),
            (self.change.is_some(), &["change"]),
            (self.snapshots, &["install"]),
            (self.flush, &["flush"]),
            (self.reads > 0, &["read start", "read confirm", "read done"]),
            (
                self.lease,
                &["promise", "lease ends", "promise ends", "lease read"],
            ),
        ];
        kinds.extend(
            when.iter()
                .filter(|(on, _)| *on)
                .flat_map(|(_, k)| k.iter()),
        );
        kinds
    }

    /// What must be met somewhere in it.
    #[must_use]
    pub fn expected_seen(&self) -> u32 {
        let mut bits = seen::LED
            | seen::COMMITTED
            | seen::REPLACED
            | seen::TWO_LEADERS
            | seen::CUT
            | seen::PREV_MISMATCH
            | seen::GRANTED_AGAIN
            | seen::REFUSED_LOG
            | seen::TWO_COMMITTERS
            | seen::WRITE_COMMITTED;
        if self.entries == 1 {
            bits &= !(seen::WRITE_COMMITTED | seen::TWO_COMMITTERS | seen::PREV_MISMATCH);
        }
        if self.terms == 1 {
            bits &= !(seen::REPLACED | seen::TWO_COMMITTERS);
        }
        if self.restore {
            bits |= seen::RESTORED;
        }
        if self.reads > 0 {
            bits |= seen::READ | seen::READ_REPLACED;
        }
        if self.change.is_some() {
            bits |= seen::JOINT_COMMITTED;
            if self.entries > 2 {
                bits |= seen::FINAL_COMMITTED;
            }
        }
        if self.snapshots {
            bits |= seen::SNAPSHOT_CUTS;
        }
        if self.flush {
            bits |= seen::LOST;
        }
        if self.lease {
            bits |= seen::LEASE_READ | seen::REFUSED_LEASE;
        }
        bits
    }
}

/// Searches a configuration up to its first violation and keeps the way to it.
#[must_use]
pub fn find(configuration: &Configuration) -> Outcome {
    search(configuration, Trail::Keep)
}

/// Searches a configuration.
///
/// # Panics
/// With more than four terms.
#[must_use]
pub fn search(configuration: &Configuration, trail: Trail) -> Outcome {
    search_telling(configuration, trail, &mut |_| {})
}

/// As [`search`], and says after each depth how far it is.
///
/// # Panics
/// With more than four terms.
pub fn search_telling(configuration: &Configuration, trail: Trail, tell: Tell<'_>) -> Outcome {
    let c = *configuration;
    match c.terms {
        1 => breadth_first_telling(&Raft::<3>::new(c), trail, tell),
        2 => breadth_first_telling(&Raft::<6>::new(c), trail, tell),
        3 => breadth_first_telling(&Raft::<9>::new(c), trail, tell),
        4 => breadth_first_telling(&Raft::<12>::new(c), trail, tell),
        terms => panic!("{terms} terms: the model goes to four"),
    }
}

/// What a row showed.
#[derive(Clone, Debug, Serialize)]
pub struct RowReport {
    /// The configuration.
    pub configuration: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Different states.
    pub unique: u64,
    /// Steps taken.
    pub generated: u64,
    /// The depth of the deepest state.
    pub depth: u32,
    /// The most bytes held at a time.
    pub bytes: u64,
    /// How often each kind of action happened.
    pub fired: Vec<(&'static str, u64)>,
    /// What was met, and how early.
    pub seen: Vec<(&'static str, Option<u32>)>,
    /// Why the row fails, as sentences; empty when it holds.
    pub failures: Vec<String>,
}

/// The rows of the table: the quick ones, and with `full` all.
pub fn rows(full: bool) -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
        .filter(move |r| r.depth == Depth::Quick || full && r.depth == Depth::Full)
}

/// Runs one row.
#[must_use]
pub fn run_row(row: &Row) -> RowReport {
    run_row_telling(row, &mut |_| {})
}

/// As [`run_row`], and says after each depth how far it is.
pub fn run_row_telling(row: &Row, tell: Tell<'_>) -> RowReport {
    let c = &row.configuration;
    let found = search_telling(c, Trail::Forget, tell);
    let mut failures = Vec::new();
    if let Some(violation) = &found.violation {
        failures.push(format!(
            "{} is violated in {} at depth {}: {}",
            violation.invariant,
            c.name,
            found.depth,
            super::explain::ending(c)
        ));
    } else if found.unique != row.unique {
        failures.push(format!(
            "{} has {} states, {} are pinned: a rule or the model changed, and nobody said so",
            c.name, found.unique, row.unique
        ));
    }
    let fired: Vec<_> = Action::KINDS
        .into_iter()
        .zip(found.fired)
        .filter(|&(_, n)| n > 0)
        .collect();
    let seen: Vec<_> = seen::NAMES.into_iter().zip(found.seen).collect();
    if found.violation.is_none() {
        for kind in c.expected_kinds() {
            if !fired.iter().any(|&(k, _)| k == kind) {
                failures.push(format!(
                    "no {kind} ever happens in {}: the rule is dead",
                    c.name
                ));
            }
        }
        for (bit, &(name, least)) in seen.iter().enumerate() {
            if c.expected_seen() >> bit & 1 == 1 && least.is_none() {
                failures.push(format!("it never comes to this in {}: {name}", c.name));
            }
        }
    }
    RowReport {
        configuration: c.name,
        about: c.about,
        unique: found.unique,
        generated: found.generated,
        depth: found.depth,
        bytes: found.bytes,
        fired,
        seen,
        failures,
    }
}

/// What never happened in any of the rows, as sentences: every kind of action must happen somewhere, and everything
/// that is sometimes met must be met somewhere. A rule that nothing reaches is not proven, whatever the counts say.
#[must_use]
pub fn never(reports: &[RowReport]) -> Vec<String> {
    let mut missing = Vec::new();
    for kind in Action::KINDS {
        let happened = |r: &RowReport| r.fired.iter().any(|&(k, _)| k == kind);
        if !reports.iter().any(happened) {
            missing.push(format!(
                "the action \"{kind}\" never happens in any configuration: its rule is not tried"
            ));
        }
    }
    for name in seen::NAMES {
        let met = |r: &RowReport| r.seen.iter().any(|&(n, at)| n == name && at.is_some());
        if !reports.iter().any(met) {
            missing.push(format!(
                "it never comes to this in any configuration: {name}"
            ));
        }
    }
    missing
}

/// Which invariants a row watches.
#[must_use]
pub fn watched(bits: u16) -> Vec<Invariant> {
    Invariant::ALL
        .into_iter()
        .filter(|i| bits & i.bit() != 0)
        .collect()
}
