//! *State-hash*: two states at one applied log id are equal.
//!
//! The store is deterministic, so it does not matter which node holds a state, and in whichever of its lives: two that
//! differ at one log id prove that one node applied something else, or not all of it. Nodes are asked directly, while the
//! run goes on and again when everything is healed. The evidence names the keys and values that differ, node by node
//! ([`differences`]): the hashes alone tell a person nothing.

pub mod differences;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::convergence::{Apart, Applied};
use super::{Evidence, Finding};
use crate::cluster::Cluster;
use crate::fault::NodeId;
use crate::host::Heart;
use crate::target::StateHash;
use differences::Differences;

/// All nodes must have applied the same log within this.
const LEVEL_WITHIN: Duration = Duration::from_secs(8);
/// How often a state is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Applied log ids whose hashes are kept, for a node that comes to one later.
const MOST_KEPT: usize = 20_000;

/// A log id: term and index.
pub type LogId = (u64, u64);

/// States that differ at one applied log id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differ {
    /// At which, and whose.
    pub states: States,
    /// Key by key.
    pub differences: Differences,
}

/// Whose states differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum States {
    /// Those of two nodes.
    Nodes {
        /// The applied log id.
        at: LogId,
        /// Who was seen there first.
        first: Held,
        /// Who was seen there later.
        second: Held,
    },
    /// That of a node, and that of the same one in an earlier life.
    Lives {
        /// The applied log id.
        at: LogId,
        /// As it was.
        before: Held,
        /// As it is.
        after: Held,
    },
    /// Those of the healed nodes.
    Healed {
        /// The log id that all have applied; `None`: none.
        at: Option<LogId>,
    },
}

/// What a node held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which node.
    pub node: NodeId,
    /// The hash of its state.
    pub hash: String,
}

impl fmt::Display for Differ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.states, self.differences)
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            States::Nodes { at, first, second } => {
                let (Held { node, hash }, (term, index)) = (first, at);
                let Held {
                    node: other,
                    hash: another,
                } = second;
                write!(
                    f,
                    "states of n{node} and n{other} differ at applied log id {term}/{index} ({hash}, {another})"
                )
            }
            States::Lives { at, before, after } => {
                let (node, (term, index)) = (before.node, at);
                let (before, after) = (&before.hash, &after.hash);
                write!(
                    f,
                    "n{node} holds another state at applied log id {term}/{index} than in an earlier life ({before}, {after})"
                )
            }
            States::Healed {
                at: Some((term, index)),
            } => write!(f, "states differ at applied log id {term}/{index}"),
            States::Healed { at: None } => f.write_str("states differ at applied log id nothing"),
        }
    }
}

/// The states that were seen so far; clones share them.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    hashes: BTreeMap<LogId, Held>,
    compared: u64,
    /// The first two states at one log id that differ, until it is told what differs.
    suspicion: Option<(LogId, Held, Held)>,
    found: Option<Finding>,
    /// Whether states that differ were told of: more of them are no news.
    told: bool,
}

impl Seen {
    /// Takes the state of a node in.
    pub fn state(&self, node: NodeId, state: StateHash) {
        let Some(at) = state.applied else { return };
        let hash = state.hash;
        let mut seen = self.lock();
        match seen.hashes.get(&at) {
            None => {
                seen.hashes.insert(at, Held { node, hash });
                if seen.hashes.len() > MOST_KEPT {
                    seen.hashes.pop_first();
                }
            }
            Some(first) if first.hash == hash => seen.compared += 1,
            Some(first) if !seen.told => {
                let suspicion = (at, first.clone(), Held { node, hash });
                seen.suspicion.get_or_insert(suspicion);
            }
            Some(_) => {}
        }
    }

    /// Where two states differ, asks what differs.
    pub async fn explain(&self, cluster: &Cluster) {
        let suspicion = self.lock().suspicion.clone();
        if let Some((at, first, second)) = suspicion {
            let what = differences::ask(cluster, &[first.node, second.node]).await;
            self.conclude(at, first, second, what);
        }
    }

    fn conclude(&self, at: LogId, first: Held, second: Held, differences: Differences) {
        let states = match first.node == second.node {
            true => States::Lives {
                at,
                before: first,
                after: second,
            },
            false => States::Nodes { at, first, second },
        };
        let differ = Differ {
            states,
            differences,
        };
        let mut seen = self.lock();
        seen.suspicion = None;
        seen.told = true;
        seen.found = Some(Evidence::StateHash(differ).into());
    }

    /// The first two states at one log id that differ, if there were any that were not told of yet.
    #[must_use]
    pub fn found(&self) -> Option<Finding> {
        self.lock().found.take()
    }

    /// How often two nodes, or two lives of one, were seen at one log id.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.lock().compared
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics while comparing")
    }
}

/// Compares the states of all nodes, once all have applied the same log.
///
/// # Errors
/// The finding, where they differ, or do not come to one log within a bound.
pub async fn compare(cluster: &Cluster, nodes: &[NodeId], heart: &Heart) -> Result<(), Finding> {
    let deadline = heart.deadline(LEVEL_WITHIN);
    loop {
        let mut states = BTreeMap::new();
        for &node in nodes {
            if let Ok(state) = cluster.state_hash(node).await {
                states.insert(node, state);
            }
        }
        let first = states.values().next();
        let level = states
            .values()
            .all(|state| Some(state.applied) == first.map(|s| s.applied));
        if states.len() == nodes.len() && level {
            let equal = states
                .values()
                .all(|state| Some(&state.hash) == first.map(|s| &s.hash));
            if equal {
                return Ok(());
            }
            let at = first.and_then(|state| state.applied);
            let differ = Differ {
                states: States::Healed { at },
                differences: differences::ask(cluster, nodes).await,
            };
            return Err(Evidence::StateHash(differ).into());
        }
        if deadline.is_over() {
            let applied = |&node: &NodeId| Applied {
                node,
                answers: states.contains_key(&node),
                applied: states.get(&node).and_then(|state| state.applied),
            };
            // That they do not come to one log accuses of something else.
            return Err(Finding::from(Evidence::Convergence(Apart::Log {
                within_s: LEVEL_WITHIN.as_secs(),
                nodes: nodes.iter().map(applied).collect(),
            })));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Between two looks at nodes that do not tell when they looked themselves.
const SETTLED_FOR: Duration = Duration::from_millis(200);

/// What two looks one after the other have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Settled {
    /// Something still changes, or is not known.
    NotYet,
    /// All have one state.
    Equal,
    /// Two of them differ.
    Differ(LogId, Held, Held),
}

/// What each node said, if it said the same before, and all of them are at one log id.
fn settled(
    before: &BTreeMap<NodeId, StateHash>,
    now: &BTreeMap<NodeId, StateHash>,
    nodes: usize,
) -> Settled {
    let mut states = now.iter();
    let Some((&node, first)) = states.next() else {
        return Settled::NotYet;
    };
    let level = now.values().all(|state| state.applied == first.applied);
    let (true, Some(at)) = (level && before == now && now.len() == nodes, first.applied) else {
        return Settled::NotYet;
    };
    let held = |node: NodeId, state: &StateHash| Held {
        node,
        hash: state.hash.clone(),
    };
    match states.find(|(_, state)| state.hash != first.hash) {
        Some((&other, state)) => Settled::Differ(at, held(node, first), held(other, state)),
        None => Settled::Equal,
    }
}

/// Compares the states of nodes whose hash and log id may be of two instants ([`States::is_exact`]): once two looks, one
/// after the other, have met the same, all at one log id. Gives whether that came about in time; where it did not, nobody
/// is accused.
///
/// [`States::is_exact`]: crate::target::States::is_exact
///
/// # Errors
/// The finding, where they differ.
pub async fn compare_settled(
    cluster: &Cluster,
    nodes: &[NodeId],
    heart: &Heart,
) -> Result<bool, Finding> {
    let deadline = heart.deadline(LEVEL_WITHIN);
    let mut before = BTreeMap::new();
    loop {
        let mut now = BTreeMap::new();
        for &node in nodes {
            if let Ok(state) = cluster.state_hash(node).await {
                now.insert(node, state);
            }
        }
        match settled(&before, &now, nodes.len()) {
            Settled::Equal => return Ok(true),
            Settled::Differ(at, first, second) => {
                let suspects = [first.node, second.node];
                let differ = Differ {
                    states: States::Nodes { at, first, second },
                    differences: differences::ask(cluster, &suspects).await,
                };
                return Err(Evidence::StateHash(differ).into());
            }
            Settled::NotYet if deadline.is_over() => return Ok(false),
            Settled::NotYet => {}
        }
        before = now;
        tokio::time::sleep(SETTLED_FOR).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::differences::{Key, Value};
    use super::*;

    /// States of n1 and n3 that differ at 2/`index`.
    pub(crate) fn differ(index: u64) -> Differ {
        let held = |node, hash: &str| Held {
            node,
            hash: hash.to_owned(),
        };
        Differ {
            states: States::Nodes {
                at: (2, index),
                first: held(1, "aa"),
                second: held(3, "ab"),
            },
            differences: w3(),
        }
    }

    /// w3 is 1 at n1 and absent at n3.
    fn w3() -> Differences {
        let value = |value: Option<&str>, node| Value {
            value: value.map(str::to_owned),
            nodes: vec![node],
        };
        Differences::AtOneInstant {
            at: (2, 9),
            keys: vec![Key {
                key: "w3".to_owned(),
                values: vec![value(None, 3), value(Some("1"), 1)],
            }],
            more: 0,
        }
    }

    fn state(at: LogId, hash: &str) -> StateHash {
        StateHash {
            applied: Some(at),
            hash: hash.to_owned(),
            keys: 1,
        }
    }

    #[test]
    fn only_states_at_one_log_id_are_compared() {
        let seen = Seen::default();
        seen.state(1, state((2, 7), "aa"));
        seen.state(2, state((2, 8), "bb"));
        seen.state(3, state((3, 7), "cc"));
        let suspicion = |seen: &Seen| seen.lock().suspicion.clone();
        assert_eq!((seen.compared(), suspicion(&seen)), (0, None));
        seen.state(2, state((2, 7), "aa"));
        assert_eq!((seen.compared(), suspicion(&seen)), (1, None));
        seen.state(3, state((2, 7), "ab"));
        let (at, _, second) = suspicion(&seen).expect("they differ");
        assert_eq!((at, second.node), ((2, 7), 3));
    }

    #[test]
    fn states_that_differ_are_found_once_with_what_differs_however_often_they_are_seen() {
        let seen = Seen::default();
        let mut told = Vec::new();
        for look in 0..40 {
            seen.state(1, state((2, 7 + look), "aa"));
            seen.state(3, state((2, 7 + look), "ab"));
            // The lock must be free again before it is concluded.
            let suspicion = seen.lock().suspicion.clone();
            if let Some((at, first, second)) = suspicion {
                seen.conclude(at, first, second, w3());
            }
            told.extend(seen.found());
        }
        assert_eq!(told, [Finding::from(Evidence::StateHash(differ(7)))]);
        let words = "states of n1 and n3 differ at applied log id 2/7 (aa, ab): at 2/9 w3 is absent at n3 and 1 at n1";
        assert_eq!(told[0].evidence.to_string(), words);
    }

    #[test]
    fn states_of_no_one_instant_are_compared_once_nothing_changes_any_more() {
        let seen = |states: &[(NodeId, LogId, &str)]| {
            let states = states.iter();
            let states = states.map(|&(node, at, hash)| (node, state(at, hash)));
            states.collect::<BTreeMap<_, _>>()
        };
        let equal = seen(&[(1, (0, 7), "31"), (2, (0, 7), "31")]);
        let differ = seen(&[(1, (0, 7), "31"), (2, (0, 7), "32")]);
        let behind = seen(&[(1, (0, 7), "31"), (2, (0, 6), "30")]);
        let alone = seen(&[(1, (0, 7), "31")]);
        assert_eq!(settled(&equal, &equal, 2), Settled::Equal);
        let Settled::Differ(at, first, second) = settled(&differ, &differ, 2) else {
            panic!("they differ");
        };
        assert_eq!((at, first.node, second.node), ((0, 7), 1, 2));
        for (before, now) in [
            (&BTreeMap::new(), &differ),
            (&equal, &differ),
            (&behind, &behind),
            (&alone, &alone),
        ] {
            assert_eq!(settled(before, now, 2), Settled::NotYet, "{now:?}");
        }
    }

    #[test]
    fn another_state_in_another_life_of_a_node_is_said_to_be_one() {
        let seen = Seen::default();
        seen.state(2, state((1, 4), "aa"));
        seen.state(2, state((1, 4), "bb"));
        let (at, first, second) = seen.lock().suspicion.clone().expect("they differ");
        seen.conclude(at, first, second, Differences::Same);
        let found = seen.found().expect("it is concluded");
        assert_eq!(
            found.evidence.to_string(),
            "n2 holds another state at applied log id 1/4 than in an earlier life (aa, bb): now they hold the same keys and values"
        );
    }
}
