//! What differs between the states of nodes: keys and values, node by node.
//!
//! The store goes on while it is asked. So every node is asked for all that it holds, again and again, until two of them
//! that differ are at one applied log id: then the difference is exact. Where that does not come about in time the newest
//! states are compared, and it is said that they are not of one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::LogId;
use crate::cluster::{ChildState, Cluster};
use crate::fault::NodeId;
use crate::target::StateDump;

/// So often the nodes are asked for states of one instant.
const TRIES: u32 = 25;
/// Between two tries: at a usual rate one write or two.
const PAUSE: Duration = Duration::from_millis(15);
/// So many keys are named in the sentence.
const MOST_NAMED: usize = 6;
/// So many keys are kept; the rest is counted.
const MOST_KEPT: usize = 500;

/// What each node holds, as last asked.
type Dumps = BTreeMap<NodeId, StateDump>;

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "when", rename_all = "kebab-case")]
pub enum Differences {
    /// Between nodes that have applied the same log: exact.
    AtOneInstant {
        /// The log id.
        at: LogId,
        /// The keys that do not hold the same everywhere.
        keys: Vec<Key>,
        /// So many more.
        more: u64,
    },
    /// Between states that are not of one instant.
    Apart {
        /// Where in the log each node was.
        nodes: Vec<At>,
        /// The keys that do not hold the same everywhere.
        keys: Vec<Key>,
        /// So many more.
        more: u64,
    },
    /// Nothing any more: only the hashes tell of it.
    Same,
    /// Nobody can be asked any more.
    Gone,
}

/// Where in the log a node was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Which node.
    pub node: NodeId,
    /// The log id; `None`: it had applied nothing.
    pub applied: Option<LogId>,
}

/// A key that does not hold the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name.
    pub key: String,
    /// What it holds, and where.
    pub values: Vec<Value>,
}

/// What a key holds at some nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The value; `None`: absent.
    pub value: Option<String>,
    /// At these nodes.
    pub nodes: Vec<NodeId>,
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Differences::AtOneInstant {
                at: (term, index),
                keys,
                more,
            } => {
                write!(f, "at {term}/{index} ")?;
                named(f, keys, *more)
            }
            Differences::Apart { nodes, keys, more } => {
                let at = nodes.iter().map(|at| match at.applied {
                    Some((term, index)) => format!("n{} at {term}/{index}", at.node),
                    None => format!("n{} at nothing", at.node),
                });
                let at = at.collect::<Vec<_>>().join(", ");
                write!(f, "now, which is not one instant ({at}), ")?;
                named(f, keys, *more)
            }
            Differences::Same => f.write_str("now they hold the same keys and values"),
            Differences::Gone => f.write_str("what differs can not be asked any more"),
        }
    }
}

/// The first of them, and how many more there are.
fn named(f: &mut fmt::Formatter<'_>, keys: &[Key], more: u64) -> fmt::Result {
    for (place, key) in keys.iter().take(MOST_NAMED).enumerate() {
        let between = if place == 0 { "" } else { "; " };
        write!(f, "{between}{key}")?;
    }
    match more + keys.len().saturating_sub(MOST_NAMED) as u64 {
        0 => Ok(()),
        1 => f.write_str("; 1 more key differs"),
        more => write!(f, "; {more} more keys differ"),
    }
}

/// `w3 is 17 at n1, n2 and absent at n3`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is ", self.key)?;
        for (place, Value { value, nodes }) in self.values.iter().enumerate() {
            let between = if place == 0 { "" } else { " and " };
            let value = value.as_deref().unwrap_or("absent");
            let nodes: Vec<String> = nodes.iter().map(|id| format!("n{id}")).collect();
            write!(f, "{between}{value} at {}", nodes.join(", "))?;
        }
        Ok(())
    }
}

/// Asks all nodes that are up what they hold, and says what differs. `suspects` are those that are known to differ.
pub(super) async fn ask(cluster: &Cluster, suspects: &[NodeId]) -> Differences {
    let mut last = Dumps::new();
    for _ in 0..TRIES {
        let views = cluster.views().into_iter();
        let up = views.filter(|view| view.state == ChildState::Up);
        let asked = join_all(up.map(|view| async move {
            let dump = cluster.state_dump(view.id).await;
            dump.ok().map(|dump| (view.id, dump))
        }));
        let dumps: Dumps = asked.await.into_iter().flatten().collect();
        if dumps.is_empty() {
            break;
        }
        if let Some(found) = at_one_instant(&dumps) {
            return found;
        }
        last = dumps;
        tokio::time::sleep(PAUSE).await;
    }
    apart(&last, suspects)
}

/// What differs between nodes that have applied the same log: the first such log id at which something does.
fn at_one_instant(dumps: &Dumps) -> Option<Differences> {
    let instants: BTreeSet<_> = dumps.values().filter_map(|dump| dump.applied).collect();
    instants.into_iter().find_map(|at| {
        let there = dumps.iter().filter(|(_, dump)| dump.applied == Some(at));
        let (keys, more) = between(&there.map(|(&id, dump)| (id, dump)).collect());
        (!keys.is_empty()).then_some(Differences::AtOneInstant { at, keys, more })
    })
}

/// What differs between states that are not of one instant.
fn apart(dumps: &Dumps, suspects: &[NodeId]) -> Differences {
    let there = dumps.iter().filter(|(id, _)| suspects.contains(id));
    let there: BTreeMap<NodeId, &StateDump> = there.map(|(&id, dump)| (id, dump)).collect();
    if there.len() < 2 {
        return Differences::Gone;
    }
    let (keys, more) = between(&there);
    if keys.is_empty() {
        return Differences::Same;
    }
    let nodes = there.iter().map(|(&node, dump)| At {
        node,
        applied: dump.applied,
    });
    Differences::Apart {
        nodes: nodes.collect(),
        keys,
        more,
    }
}

/// The keys that do not hold the same everywhere, and how many more there are.
fn between(dumps: &BTreeMap<NodeId, &StateDump>) -> (Vec<Key>, u64) {
    let keys: BTreeSet<&str> = dumps
        .values()
        .flat_map(|dump| dump.rows.keys().map(String::as_str))
        .collect();
    let by_value = |key: &str| {
        let mut values: BTreeMap<Option<&str>, Vec<NodeId>> = BTreeMap::new();
        for (&id, dump) in dumps {
            let value = dump.rows.get(key).map(String::as_str);
            values.entry(value).or_default().push(id);
        }
        let values = values.into_iter().map(|(value, nodes)| Value {
            value: value.map(str::to_owned),
            nodes,
        });
        Key {
            key: key.to_owned(),
            values: values.collect(),
        }
    };
    let keys = keys.into_iter().map(by_value);
    let mut differing = keys.filter(|key| key.values.len() > 1);
    let kept: Vec<Key> = differing.by_ref().take(MOST_KEPT).collect();
    (kept, differing.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(applied: LogId, rows: &[(&str, &str)]) -> StateDump {
        let rows = rows.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        StateDump {
            applied: Some(applied),
            rows: rows.collect(),
        }
    }

    #[test]
    fn keys_and_values_are_named_by_node_where_nodes_are_at_one_log_id() {
        let dumps = Dumps::from([
            (1, dump((2, 9), &[("a", "1"), ("b", "2")])),
            (2, dump((2, 9), &[("a", "1"), ("b", "2")])),
            (3, dump((2, 9), &[("a", "5")])),
        ]);
        let found = at_one_instant(&dumps).expect("they differ");
        assert_eq!(
            found.to_string(),
            "at 2/9 a is 1 at n1, n2 and 5 at n3; b is absent at n3 and 2 at n1, n2"
        );
        let elsewhere = Dumps::from([
            (1, dump((2, 9), &[("a", "1")])),
            (3, dump((2, 8), &[("a", "5")])),
        ]);
        assert_eq!(
            at_one_instant(&elsewhere),
            None,
            "another log id may hold anything"
        );
        let said = apart(&elsewhere, &[1, 3]).to_string();
        assert!(
            said.contains("not one instant (n1 at 2/9, n3 at 2/8), a is 1 at n1"),
            "{said}"
        );
        assert_eq!(apart(&elsewhere, &[1, 2]), Differences::Gone);
    }

    #[test]
    fn of_many_keys_some_are_named_and_the_rest_is_counted() {
        let many: Vec<String> = (10..30).map(|n| format!("w{n}")).collect();
        let rows: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "1")).collect();
        let dumps = Dumps::from([(1, dump((1, 1), &rows)), (2, dump((1, 1), &[]))]);
        let found = at_one_instant(&dumps).expect("they differ");
        let said = found.to_string();
        assert_eq!(said.matches(" is ").count(), MOST_NAMED, "{said}");
        assert!(said.ends_with("; 14 more keys differ"), "{said}");
        let Differences::AtOneInstant { keys, .. } = found else {
            panic!("{said}");
        };
        assert_eq!(keys.len(), 20, "all of them are evidence");
    }
}
