//! What differs between the states of nodes, in words: keys and values by node, for two hashes tell a person nothing.
//!
//! The store goes on while it is asked. So every node is asked for all that it holds, again and again, until two of them
//! that differ are at one applied log id: then the difference is exact. Where that does not come about in time the newest
//! states are compared, and it is said that they are not of one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;

use crate::cluster::{ChildState, Cluster, StateDump};
use crate::fault::NodeId;

/// So often the nodes are asked for states of one instant.
const TRIES: u32 = 25;
/// Between two tries: at a usual rate one write or two.
const PAUSE: Duration = Duration::from_millis(15);
/// So many keys are named.
const MOST_NAMED: usize = 6;

/// What each node holds, as last asked.
type Dumps = BTreeMap<NodeId, StateDump>;

/// Asks all nodes that are up what they hold, and says what differs. `suspects` are those that are known to differ.
pub(super) async fn explain(cluster: &Cluster, suspects: &[NodeId]) -> String {
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
        if let Some(text) = at_one_instant(&dumps) {
            return text;
        }
        last = dumps;
        tokio::time::sleep(PAUSE).await;
    }
    apart(&last, suspects)
}

/// What differs between nodes that have applied the same log: the first such log id at which something does.
pub(super) fn at_one_instant(dumps: &Dumps) -> Option<String> {
    let instants: BTreeSet<_> = dumps.values().filter_map(|dump| dump.applied).collect();
    instants.into_iter().find_map(|at| {
        let there = dumps.iter().filter(|(_, dump)| dump.applied == Some(at));
        let there: BTreeMap<NodeId, &StateDump> = there.map(|(&id, dump)| (id, dump)).collect();
        let differences = differences(&there);
        let (term, index) = at;
        (!differences.is_empty()).then(|| format!("at {term}/{index} {}", told(&differences)))
    })
}

/// What differs between states that are not of one instant.
fn apart(dumps: &Dumps, suspects: &[NodeId]) -> String {
    let there = dumps.iter().filter(|(id, _)| suspects.contains(id));
    let there: BTreeMap<NodeId, &StateDump> = there.map(|(&id, dump)| (id, dump)).collect();
    if there.len() < 2 {
        return "what differs can not be asked any more".to_owned();
    }
    let differences = differences(&there);
    if differences.is_empty() {
        return "now they hold the same keys and values".to_owned();
    }
    let at = there.iter().map(|(id, dump)| match dump.applied {
        Some((term, index)) => format!("n{id} at {term}/{index}"),
        None => format!("n{id} at nothing"),
    });
    let at = at.collect::<Vec<_>>().join(", ");
    let told = told(&differences);
    format!("now, which is not one instant ({at}), {told}")
}

/// A key that does not hold the same everywhere: what it holds, and where.
struct Difference<'a> {
    key: &'a str,
    values: BTreeMap<Option<&'a str>, Vec<NodeId>>,
}

impl Difference<'_> {
    /// `w3 is 17 at n1, n2 and absent at n3`.
    fn told(&self) -> String {
        let values = self.values.iter().map(|(value, nodes)| {
            let nodes: Vec<String> = nodes.iter().map(|id| format!("n{id}")).collect();
            format!("{} at {}", value.unwrap_or("absent"), nodes.join(", "))
        });
        let values: Vec<String> = values.collect();
        format!("{} is {}", self.key, values.join(" and "))
    }
}

fn differences<'a>(dumps: &BTreeMap<NodeId, &'a StateDump>) -> Vec<Difference<'a>> {
    let keys: BTreeSet<&str> = dumps
        .values()
        .flat_map(|dump| dump.rows.keys().map(String::as_str))
        .collect();
    let by_value = |key| {
        let mut values: BTreeMap<Option<&str>, Vec<NodeId>> = BTreeMap::new();
        for (&id, dump) in dumps {
            let value = dump.rows.get(key).map(String::as_str);
            values.entry(value).or_default().push(id);
        }
        Difference { key, values }
    };
    let keys = keys.into_iter().map(by_value);
    keys.filter(|one| one.values.len() > 1).collect()
}

/// The first of them, and how many more there are.
fn told(differences: &[Difference<'_>]) -> String {
    let named = differences.iter().take(MOST_NAMED).map(Difference::told);
    let named: Vec<String> = named.collect();
    let more = differences.len() - named.len();
    let named = named.join("; ");
    match more {
        0 => named,
        1 => format!("{named}; 1 more key differs"),
        more => format!("{named}; {more} more keys differ"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(applied: (u64, u64), rows: &[(&str, &str)]) -> StateDump {
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
        let said = at_one_instant(&dumps).expect("they differ");
        assert_eq!(
            said,
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
        let said = apart(&elsewhere, &[1, 3]);
        assert!(
            said.contains("not one instant (n1 at 2/9, n3 at 2/8), a is 1 at n1"),
            "{said}"
        );
        assert!(apart(&elsewhere, &[1, 2]).contains("any more"));
    }

    #[test]
    fn of_many_keys_some_are_named_and_the_rest_is_counted() {
        let many: Vec<String> = (10..30).map(|n| format!("w{n}")).collect();
        let rows: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "1")).collect();
        let dumps = Dumps::from([(1, dump((1, 1), &rows)), (2, dump((1, 1), &[]))]);
        let said = at_one_instant(&dumps).expect("they differ");
        assert_eq!(said.matches(" is ").count(), MOST_NAMED, "{said}");
        assert!(said.ends_with("; 14 more keys differ"), "{said}");
    }
}
