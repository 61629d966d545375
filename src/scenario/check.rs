//! Whether a scenario makes sense: what is refused here would end as a panic, as a run that cannot begin, or, worst, as
//! a finding against a system that has done nothing wrong.

use super::wrong::{Step, Wrong};
use super::{APPEND_MODES, MOST_NODES, READ_MODES, Scenario, Timings};
use crate::fault::Kind;
use crate::fault::plan::{Episode, MOST_PLANNED_MS, Unfit};
use crate::fault::step;
use crate::workload::{Generator, Keys, Mix};

/// A run lasts no longer than this; 0 seconds is without an end, for a year.
const MOST_SECONDS: u64 = MOST_PLANNED_MS / 1_000;
/// Every contended key is drawn from all the time, and every key is read at the end through each node.
const MOST_CONTENDED: u32 = 1_000;
/// See [`MOST_CONTENDED`]: so many can be read in the time that there is.
const MOST_WIDE: u32 = 10_000;
/// Weights of a mix: more says nothing that less does not say.
const MOST_WEIGHT: u32 = 1_000_000;
/// An episode of a random plan, and the calm between two, last at least this and at most an hour.
const DRAWN_MS: std::ops::RangeInclusive<u64> = 10..=3_600_000;

/// A node's timings where a scenario does not say: those of the cluster, as a test of `run` holds.
pub(crate) const HEARTBEAT_MS: u64 = 100;
/// See [`HEARTBEAT_MS`].
pub(crate) const ELECTION_MIN_MS: u64 = 300;
/// See [`HEARTBEAT_MS`].
pub(crate) const ELECTION_MAX_MS: u64 = 600;
/// A heartbeat has to be answered before the next one is due: sooner than this no machine can.
const LEAST_HEARTBEAT_MS: u64 = 10;
/// A healed cluster has 12 s to agree on a leader, which may take a lease, a timeout and a try that fails.
const MOST_ELECTION_MS: u64 = 3_000;
/// More entries than a run has.
const MOST_ENTRIES: u64 = 1_000_000_000;
/// Bytes of a snapshot that a node sends in one message.
const MOST_CHUNK: u64 = 1 << 20;

type Checked = Result<(), Wrong>;

fn wrong(at: &[Step], why: impl Into<String>) -> Checked {
    Err(Wrong::at(at, why))
}

/// Whether a number stands between these bounds; `what` and `unit` say what it is in a sentence.
fn within<N: PartialOrd + std::fmt::Display>(
    at: &[Step],
    number: N,
    [least, most]: [N; 2],
    what: impl Fn(&N) -> String,
    unit: &str,
) -> Checked {
    if (&least..=&most).contains(&&number) {
        return Ok(());
    }
    let what = what(&number);
    wrong(at, format!("{what}: there can be {least} to {most}{unit}"))
}

impl Scenario {
    /// Whether every number and every name in it makes sense by itself, whatever the command line changes.
    pub(super) fn check(&self) -> Checked {
        self.check_words()?;
        self.check_cluster()?;
        self.check_load()?;
        self.timings.check()?;
        self.check_random()?;
        self.check_steps()?;
        self.check_opening()
    }

    /// What only holds of a scenario as it stands in its file: what does nothing in it, with its own nodes and its own
    /// length.
    pub(super) fn check_as_written(&self) -> Checked {
        let ends_ms = self.seconds.saturating_mul(1_000);
        for (at, phase) in self.phases.iter().enumerate() {
            if ends_ms > 0 && phase.at_ms >= ends_ms {
                let why = format!(
                    "without effect: the phase at {} ms, and the run ends at {ends_ms} ms",
                    phase.at_ms
                );
                return wrong(&["phases".into(), at.into(), "at_ms".into()], why);
            }
        }
        let streams = self.append() == "stream";
        for (at, episode) in self.opening.iter().enumerate() {
            episode
                .check_among(self.nodes, streams)
                .map_err(|unfit| unfit_at("opening", "the opening", at, episode, unfit))?;
            let ends = episode.ends_by_ms();
            if ends_ms > 0 && ends > ends_ms {
                let why = format!(
                    "the opening at {} ms may last to {ends} ms, and the run ends at {ends_ms} ms",
                    episode.at_ms
                );
                return wrong(&["opening".into(), at.into(), "at_ms".into()], why);
            }
        }
        Ok(())
    }

    fn check_words(&self) -> Checked {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = &self.name;
        let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts || name.len() > 60 || !name.chars().all(plain) {
            // It is a part of the name of the run's folder.
            let why = format!("name = {name:?}: one word of at most 60 letters, digits, - and _");
            return wrong(&["name".into()], why);
        }
        if self.about.chars().any(char::is_control) {
            return wrong(
                &["about".into()],
                "about: one line, without control characters",
            );
        }
        for (what, mode, modes) in [
            ("reads", self.reads(), READ_MODES),
            ("append", self.append(), APPEND_MODES),
        ] {
            if !modes.contains(&mode) {
                let why = format!("{what} = {mode:?}: there are {}", modes.join(", "));
                return wrong(&[what.into()], why);
            }
        }
        Ok(())
    }

    fn check_cluster(&self) -> Checked {
        let nodes = |n: &u64| format!("{n} nodes");
        within(&["nodes".into()], self.nodes, [1, MOST_NODES], nodes, "")?;
        if let Some(voters) = self.voters {
            let what = |n: &u64| format!("{n} voters");
            let bounds = [1, self.nodes];
            let unit = ", the number of nodes";
            within(&["voters".into()], voters, bounds, what, unit)?;
        }
        let what = |n: &u64| format!("{n} seconds");
        let unit = "; 0 is until it is ended";
        within(
            &["seconds".into()],
            self.seconds,
            [0, MOST_SECONDS],
            what,
            unit,
        )
    }

    fn check_load(&self) -> Checked {
        let what = |n: &u32| format!("{n} clients");
        // Steps ask for themselves.
        let least = u32::from(self.steps.is_empty());
        within(&["clients".into()], self.clients, [least, 1_000], what, "")?;
        let what = |n: &u32| format!("a rate of {n}");
        let unit = " operations a second";
        within(&["rate".into()], self.rate, [1, 1_000_000], what, unit)?;
        check_keys(self.keys)?;
        check_mix(self.mix, &["mix".into()])?;
        let mut before = None;
        for (at, phase) in self.phases.iter().enumerate() {
            let place = ["phases".into(), at.into()];
            check_mix(phase.mix, &[&place[..], &["mix".into()]].concat())?;
            let place = [&place[..], &["at_ms".into()]].concat();
            let what = |n: &u64| format!("a phase at {n} ms");
            within(&place, phase.at_ms, [0, MOST_PLANNED_MS], what, "")?;
            if before == Some(phase.at_ms) {
                let why = format!(
                    "two phases at {} ms: the first one would do nothing",
                    phase.at_ms
                );
                return wrong(&place, why);
            }
            if before > Some(phase.at_ms) {
                let why = "the phases are not in the order of their beginnings";
                return wrong(&place, why);
            }
            before = Some(phase.at_ms);
        }
        Ok(())
    }

    fn check_random(&self) -> Checked {
        for (what, bounds) in [
            ("episode_ms", self.random.episode_ms),
            ("calm_ms", self.random.calm_ms),
        ] {
            let fits = |[least, most]: [u64; 2]| {
                least <= most && DRAWN_MS.contains(&least) && DRAWN_MS.contains(&most)
            };
            if bounds.is_some_and(|bounds| !fits(bounds)) {
                let (least, most) = (DRAWN_MS.start(), DRAWN_MS.end());
                let why = format!("{what}: two numbers from {least} to {most}, the lesser first");
                return wrong(&["random".into(), what.into()], why);
            }
        }
        let at = |at: usize| ["random".into(), "kinds".into(), at.into()];
        for (place, &kind) in self.random.kinds.iter().enumerate() {
            if kind.is_outside_the_model() {
                let why = format!(
                    "{kind} is outside of the fault model and never drawn: write it into the opening"
                );
                return wrong(&at(place), why);
            }
            if kind == Kind::AddVoter && self.voters.is_none() {
                let why = "add-voter: every node has a vote already; voters says how many have";
                return wrong(&at(place), why);
            }
        }
        Ok(())
    }

    fn check_steps(&self) -> Checked {
        let at = |step: usize, field: &'static str| ["steps".into(), step.into(), field.into()];
        let checked = step::check(&self.steps, self.nodes);
        checked.map_err(|wrong| Wrong::at(&at(wrong.step, wrong.field), wrong.why))?;
        let keys = Generator::keys(self.keys);
        for (place, step) in self.steps.iter().enumerate() {
            if let Some(ask) = step.ask.as_ref().filter(|ask| !keys.contains(&ask.key)) {
                let (first, key) = (&keys[0], &ask.key);
                let why = format!(
                    "there is no key {key:?}: keys are named {first:?} and so on, as many as [keys] says"
                );
                return wrong(&at(place, "ask"), why);
            }
        }
        let Some(twin) = &self.twin else {
            return Ok(());
        };
        let known = |name: &&String| {
            self.steps
                .iter()
                .any(|step| step.name.as_ref() == Some(*name))
        };
        match twin.without.iter().find(|name| !known(name)) {
            Some(name) => {
                let why = format!("without: no step is called {name:?}");
                wrong(&["twin".into(), "without".into()], why)
            }
            None => Ok(()),
        }
    }

    fn check_opening(&self) -> Checked {
        check_episodes(&self.opening, "opening", "the opening")?;
        for (at, pair) in self.opening.windows(2).enumerate() {
            if pair[1].at_ms < pair[0].at_ms {
                let why = format!(
                    "the opening at {} ms begins before the one before it",
                    pair[1].at_ms
                );
                return wrong(&["opening".into(), (at + 1).into(), "at_ms".into()], why);
            }
        }
        Ok(())
    }
}

/// Whether each of these episodes makes sense by itself; `key` is where they stand and `name` what they are called.
pub(super) fn check_episodes(episodes: &[Episode], key: &'static str, name: &str) -> Checked {
    for (at, episode) in episodes.iter().enumerate() {
        let checked = episode.check(MOST_NODES);
        checked.map_err(|unfit| unfit_at(key, name, at, episode, unfit))?;
    }
    Ok(())
}

fn unfit_at(key: &'static str, name: &str, at: usize, episode: &Episode, unfit: Unfit) -> Wrong {
    let Unfit { fault, field, why } = unfit;
    let mut place: Vec<Step> = vec![key.into(), at.into()];
    if let Some(fault) = fault {
        place.extend([Step::Key("faults"), fault.into()]);
    }
    place.push(field.into());
    Wrong::at(&place, format!("{name} at {} ms: {why}", episode.at_ms))
}

fn check_keys(keys: Keys) -> Checked {
    let Keys { contended, wide } = keys;
    let at = |name: &'static str| ["keys".into(), name.into()];
    let what = |n: &u32| format!("{n} contended keys");
    within(&at("contended"), contended, [0, MOST_CONTENDED], what, "")?;
    let what = |n: &u32| format!("{n} wide keys");
    within(&at("wide"), wide, [0, MOST_WIDE], what, "")?;
    match contended + wide {
        0 => wrong(&["keys".into()], "no key: there must be one"),
        _ => Ok(()),
    }
}

fn check_mix(mix: Mix, at: &[Step]) -> Checked {
    let weights = [
        ("read", mix.read),
        ("write", mix.write),
        ("cas", mix.cas),
        ("delete", mix.delete),
    ];
    for (name, weight) in weights {
        let what = |n: &u32| format!("{name} = {n}");
        within(
            &[at, &[name.into()]].concat(),
            weight,
            [0, MOST_WEIGHT],
            what,
            "",
        )?;
    }
    match weights.iter().all(|(_, weight)| *weight == 0) {
        true => wrong(at, "every weight of the mix is 0"),
        false => Ok(()),
    }
}

impl Timings {
    /// Whether nodes with these timings can have a leader at all, and within the time that a run gives them.
    fn check(&self) -> Checked {
        let at = |name: &'static str| ["timings".into(), name.into()];
        for (name, number, [least, most]) in [
            (
                "heartbeat_ms",
                self.heartbeat_ms,
                [LEAST_HEARTBEAT_MS, MOST_ELECTION_MS],
            ),
            (
                "election_min_ms",
                self.election_min_ms,
                [LEAST_HEARTBEAT_MS, MOST_ELECTION_MS],
            ),
            (
                "election_max_ms",
                self.election_max_ms,
                [LEAST_HEARTBEAT_MS, MOST_ELECTION_MS],
            ),
            ("snapshot_every", self.snapshot_every, [1, MOST_ENTRIES]),
            ("keep_logs", self.keep_logs, [0, MOST_ENTRIES]),
            ("lag", self.lag, [1, MOST_ENTRIES]),
            ("snapshot_chunk", self.snapshot_chunk, [1, MOST_CHUNK]),
        ] {
            if let Some(number) = number {
                let what = |n: &u64| format!("{name} = {n}");
                within(&at(name), number, [least, most], what, "")?;
            }
        }
        let heartbeat = self.heartbeat_ms.unwrap_or(HEARTBEAT_MS);
        let least = self.election_min_ms.unwrap_or(ELECTION_MIN_MS);
        let most = self.election_max_ms.unwrap_or(ELECTION_MAX_MS);
        let said = |name: &'static str, given: Option<u64>, other: &'static str| {
            at(if given.is_some() { name } else { other })
        };
        if least >= most {
            let why = format!(
                "election timeouts from {least} ms to {most} ms: the least is less than the greatest"
            );
            let place = said("election_min_ms", self.election_min_ms, "election_max_ms");
            return wrong(&place, why);
        }
        if heartbeat >= least {
            let why = format!(
                "a heartbeat every {heartbeat} ms and election timeouts from {least} ms: followers would never wait for one"
            );
            let place = said("heartbeat_ms", self.heartbeat_ms, "election_min_ms");
            return wrong(&place, why);
        }
        Ok(())
    }
}
