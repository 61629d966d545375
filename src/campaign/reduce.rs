//! Smaller plans, one after the other: what could be left out of a run, tried until nothing more can be.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002) over a plan's episodes, then over what is in them, how long they last, and
//! the load. Pure: whoever asks says whether a candidate still fails, and gets the next one.

use std::collections::{BTreeSet, VecDeque};

use crate::scenario::{Promises, Random, Resolved};

/// Something smaller than what is known to fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What was left out, in words.
    pub without: String,
    /// What is left.
    pub resolved: Resolved,
    /// Whether it only tunes what is left: less of it makes a failure rarer bit by bit, so that one failure says little.
    pub tunes: bool,
}

/// One kind of what may be left out: everything of that kind that is smaller by a step.
type Pass = fn(&Resolved) -> Vec<Candidate>;

/// What matters most to a reader comes first, and what makes runs shorter before what does not.
const PASSES: [Pass; 7] = [episodes, faults, nodes, length, gaps, durations, load];
/// So many of them leave something out whole; the others tune.
const WHOLE: usize = 3;

/// Between two episodes, and behind the last one, so much is left.
const CALM_MS: u64 = 500;
/// So much of a run's workload goes on behind its last episode: what it did must be seen.
const BEHIND_MS: u64 = 2_500;
/// No episode is made shorter than this.
const SHORTEST_MS: u64 = 100;

/// Makes a run smaller, step by step.
#[derive(Debug)]
pub(super) struct Reducer {
    best: Resolved,
    pass: usize,
    waiting: VecDeque<Candidate>,
    /// Whether anything was left out since the first pass began.
    smaller: bool,
    tried: BTreeSet<String>,
}

impl Reducer {
    /// Begins with a run that is known to fail. What its plan was drawn from says nothing any more, and what it promises a
    /// smaller plan cannot keep.
    pub(super) fn new(mut resolved: Resolved) -> Reducer {
        let scenario = &mut resolved.scenario;
        (scenario.opening, scenario.random) = (Vec::new(), Random::default());
        scenario.promises = Promises::default();
        Reducer {
            best: resolved,
            pass: 0,
            waiting: VecDeque::new(),
            smaller: false,
            tried: BTreeSet::new(),
        }
    }

    /// The smallest one that is known to fail.
    pub(super) fn best(&self) -> &Resolved {
        &self.best
    }

    /// The next that is worth trying; `None` where nothing more can be left out.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        loop {
            while let Some(candidate) = self.waiting.pop_front() {
                let Ok(text) = toml::to_string(&candidate.resolved) else {
                    continue;
                };
                if candidate.resolved.is_whole() && self.tried.insert(text) {
                    return Some(candidate);
                }
            }
            if self.pass == PASSES.len() {
                if !self.smaller {
                    return None;
                }
                (self.pass, self.smaller) = (0, false);
            }
            self.waiting = PASSES[self.pass](&self.best).into();
            let tunes = self.pass >= WHOLE;
            self.waiting
                .iter_mut()
                .for_each(|candidate| candidate.tunes = tunes);
            self.pass += 1;
        }
    }

    /// That one fails, too: from here on it is the one that is made smaller.
    pub(super) fn accept(&mut self, candidate: Candidate) {
        self.best = candidate.resolved;
        self.smaller = true;
        // The same pass again: where one thing could be left out, its neighbour may be, too.
        self.pass = self.pass.saturating_sub(1);
        self.waiting.clear();
    }
}

fn candidate(of: &Resolved, without: String, change: impl FnOnce(&mut Resolved)) -> Candidate {
    let mut resolved = of.clone();
    change(&mut resolved);
    Candidate {
        without,
        resolved,
        tunes: false,
    }
}

/// Halves of the episodes, quarters, and so on to single ones.
fn episodes(of: &Resolved) -> Vec<Candidate> {
    let all = of.plan.episodes.len();
    let mut candidates = Vec::new();
    let mut chunk = all.div_ceil(2);
    while chunk >= 1 && all > 0 {
        for from in (0..all).step_by(chunk) {
            let to = (from + chunk).min(all);
            let without = match to - from {
                1 => format!("without the episode at {}", at(of, from)),
                n => format!("without {n} episodes from {} on", at(of, from)),
            };
            candidates.push(candidate(of, without, |resolved| {
                resolved.plan.episodes.drain(from..to);
            }));
        }
        if chunk == 1 {
            break;
        }
        chunk = chunk.div_ceil(2);
    }
    candidates
}

fn at(of: &Resolved, episode: usize) -> String {
    seconds(of.plan.episodes[episode].at_ms)
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

/// Single faults of episodes that have several.
fn faults(of: &Resolved) -> Vec<Candidate> {
    let several = of.plan.episodes.iter().enumerate();
    let several = several.filter(|(_, episode)| episode.faults.len() > 1);
    several
        .flat_map(|(number, episode)| {
            episode
                .faults
                .iter()
                .enumerate()
                .map(move |(index, fault)| {
                    candidate(of, format!("without {fault}"), |resolved| {
                        resolved.plan.episodes[number].faults.remove(index);
                    })
                })
        })
        .collect()
}

/// When the last episode ends, at the latest.
fn end_ms(of: &Resolved) -> u64 {
    let ends = of.plan.episodes.iter().map(|episode| {
        let waits = episode
            .when
            .map_or(0, |_| episode.within_ms.unwrap_or(5_000));
        episode.at_ms + waits + episode.after_ms + episode.for_ms
    });
    ends.max().unwrap_or(0)
}

/// A workload that ends soon after the last episode.
fn length(of: &Resolved) -> Vec<Candidate> {
    let seconds = (end_ms(of) + BEHIND_MS).div_ceil(1_000);
    if seconds >= of.scenario.seconds {
        return Vec::new();
    }
    let without = format!("for {seconds} s in place of {}", of.scenario.seconds);
    vec![candidate(of, without, |resolved| {
        resolved.scenario.seconds = seconds
    })]
}

/// Less calm before an episode: it and all that come after it, sooner.
fn gaps(of: &Resolved) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut free_ms = 0;
    for (number, episode) in of.plan.episodes.iter().enumerate() {
        let calm = episode.at_ms.saturating_sub(free_ms);
        if calm > CALM_MS {
            let by = calm - CALM_MS;
            let without = format!(
                "the episode at {} sooner by {}",
                at(of, number),
                seconds(by)
            );
            candidates.push(candidate(of, without, |resolved| {
                for later in &mut resolved.plan.episodes[number..] {
                    later.at_ms = later.at_ms.saturating_sub(by);
                }
            }));
        }
        free_ms = free_ms.max(episode.at_ms + episode.after_ms + episode.for_ms);
    }
    candidates
}

/// Episodes of half the length.
fn durations(of: &Resolved) -> Vec<Candidate> {
    let long = of.plan.episodes.iter().enumerate();
    let long = long.filter(|(_, episode)| episode.for_ms >= 2 * SHORTEST_MS);
    long.map(|(number, episode)| {
        let half = episode.for_ms / 2;
        let without = format!("the episode at {} for {half} ms", at(of, number));
        candidate(of, without, |resolved| {
            resolved.plan.episodes[number].for_ms = half
        })
    })
    .collect()
}

/// Fewer clients, keys and kinds of operations.
fn load(of: &Resolved) -> Vec<Candidate> {
    let scenario = &of.scenario;
    let mut candidates = Vec::new();
    let mut half = |name: &str, now: u32, least: u32, set: fn(&mut Resolved, u32)| {
        let less = now / 2;
        if less >= least {
            let without = format!("{less} {name} in place of {now}");
            candidates.push(candidate(of, without, |resolved| set(resolved, less)));
        }
    };
    half("clients", scenario.clients, 2, |r, n| {
        r.scenario.clients = n
    });
    half("contended keys", scenario.keys.contended, 1, |r, n| {
        r.scenario.keys.contended = n;
    });
    half("wide keys", scenario.keys.wide, 1, |r, n| {
        r.scenario.keys.wide = n
    });
    let mix = &scenario.mix;
    for (name, weight, clear) in [
        (
            "deletes",
            mix.delete,
            (|r| r.scenario.mix.delete = 0) as fn(&mut Resolved),
        ),
        ("compare-and-sets", mix.cas, |r| r.scenario.mix.cas = 0),
    ] {
        if weight > 0 {
            candidates.push(candidate(of, format!("without {name}"), clear));
        }
    }
    candidates
}

/// Three nodes in place of five or more.
fn nodes(of: &Resolved) -> Vec<Candidate> {
    let now = of.scenario.nodes;
    if now <= 3 {
        return Vec::new();
    }
    let fewer = if now > 5 { 5 } else { 3 };
    let without = format!("{fewer} nodes in place of {now}");
    vec![candidate(of, without, |resolved| {
        resolved.scenario.nodes = fewer;
        resolved.scenario.voters = resolved.scenario.voters.filter(|voters| *voters < fewer);
    })]
}

#[cfg(test)]
mod tests {
    use super::Reducer;
    use crate::fault::{Fault, Kind};
    use crate::scenario::{Changes, Given, Resolved};

    fn rapids() -> Resolved {
        let changes = Changes {
            nodes: Some(5),
            ..Changes::default()
        };
        let given = Given::find("rapids").unwrap();
        given.resolve(&changes, 7, None).unwrap()
    }

    /// What is left of the run where exactly this is needed for its failure, and how many were tried.
    fn reduced(fails: impl Fn(&Resolved) -> bool) -> (Resolved, usize) {
        let mut reducer = Reducer::new(rapids());
        assert!(fails(reducer.best()), "the whole run must fail");
        let mut tried = 0;
        while let Some(candidate) = reducer.next() {
            tried += 1;
            assert!(tried < 2_000, "it does not end");
            if fails(&candidate.resolved) {
                reducer.accept(candidate);
            }
        }
        (reducer.best().clone(), tried)
    }

    fn has(of: &Resolved, kind: Kind) -> bool {
        of.plan
            .faults()
            .any(|fault: &Fault<_>| fault.kind() == kind)
    }

    #[test]
    fn only_what_is_needed_for_the_failure_is_left() {
        let needs = |of: &Resolved| {
            has(of, Kind::Isolate) && has(of, Kind::PowerLoss) && of.scenario.clients >= 3
        };
        let (left, tried) = reduced(needs);
        let kinds: Vec<Kind> = left.plan.faults().map(Fault::kind).collect();
        assert_eq!(kinds.len(), 2, "{kinds:?} after {tried}");
        assert!(needs(&left));
        assert_eq!(left.scenario.nodes, 3);
        assert_eq!(
            (left.scenario.clients, left.scenario.keys.contended),
            (4, 1)
        );
        assert_eq!((left.scenario.mix.delete, left.scenario.mix.cas), (0, 0));
        assert!(left.scenario.seconds <= 5, "{} s", left.scenario.seconds);
        // What is left is a run like any other.
        let text = toml::to_string(&left).unwrap();
        assert!(left.is_whole(), "{text}");
    }

    #[test]
    fn what_cannot_be_made_smaller_stays_as_it_is() {
        let whole = Reducer::new(rapids()).best().clone();
        let (left, _) = reduced(|of| *of == whole);
        assert_eq!(left, whole);
    }

    #[test]
    fn a_failure_that_needs_no_fault_is_left_without_a_plan() {
        let (left, _) = reduced(|_| true);
        assert!(left.plan.episodes.is_empty());
        assert_eq!(left.scenario.clients, 2);
    }
}
