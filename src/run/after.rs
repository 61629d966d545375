//! After the faults: the oracles other than the history's. Each one proves something, or is silent.
//!
//! Everything is healed by now. Within a bound every node must agree on one leader (*convergence*), the cluster must
//! serve (*service*), every key is read through every node as the leader, which goes into the history like any other read, and the
//! states of all nodes at one applied index must be equal (*state-hash*). What a node's log says of a panic is a
//! finding of its own.
//!
//! The bounds are of the time in which the bench was awake ([`Heart`]): a bench that stood still has heard nobody.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use checkers::history::{Call, Outcome};
use futures::future::join_all;

use super::clients::Client;
use super::differ;
use super::notice::Finding;
use crate::cluster::{Cluster, StateHash};
use crate::fault::NodeId;
use crate::host::Heart;
use crate::recorder::Recorder;
use crate::workload::{Generator, Keys};

/// A healed cluster must agree on a leader within this: about ten failovers.
const CONVERGE_WITHIN: Duration = Duration::from_secs(12);
/// And then answer this many writes, each within [`SERVE_WITHIN`] of the one before.
const SERVE_WRITES: u32 = 5;
/// See [`SERVE_WRITES`].
const SERVE_WITHIN: Duration = Duration::from_secs(10);
/// A final read is answered within this of the one before: all of them together take as long as the machine is slow.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// So long the keys are read through one node; those that had no turn by then are not, which is said.
const READ_ALL_WITHIN: Duration = Duration::from_secs(40);
/// The leadership is handed to a node within this, or the next one has its turn.
const ROTATE_WITHIN: Duration = Duration::from_secs(4);
/// All nodes must have applied the same log within this.
const LEVEL_WITHIN: Duration = Duration::from_secs(8);
/// A node may take so long to say whom it follows: more than one that is well needs, less than the bound.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How often a state is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Who asks the healed cluster, for what, and on whose time.
pub(super) struct Asks<'a> {
    pub(super) client: &'a mut Client,
    pub(super) recorder: &'a Recorder,
    pub(super) keys: Keys,
    pub(super) heart: &'a Heart,
}

/// Waits until every node agrees on one leader, with one term.
pub(super) async fn converge(
    cluster: &Cluster,
    nodes: &[NodeId],
    heart: &Heart,
) -> Result<(), Finding> {
    let deadline = heart.deadline(CONVERGE_WITHIN);
    loop {
        let asked = nodes.iter().map(|&node| async move {
            let status = cluster.status_within(node, ANSWER_WITHIN).await.ok()?;
            let leader = Some(status.current_leader).filter(|&leader| leader != 0);
            Some((node, (status.term, leader)))
        });
        let heard = join_all(asked).await;
        let heard: BTreeMap<NodeId, _> = heard.into_iter().flatten().collect();
        let mut beliefs = heard.values();
        let first = beliefs.next().copied();
        let agreed =
            matches!(first, Some((_, Some(_)))) && beliefs.all(|other| Some(*other) == first);
        if agreed && heard.len() == nodes.len() {
            return Ok(());
        }
        if deadline.is_over() {
            let said = nodes.iter().map(|node| match heard.get(node) {
                Some((term, Some(leader))) => format!("n{node} says n{leader} leads term {term}"),
                Some((term, None)) => format!("n{node} knows no leader in term {term}"),
                None => format!("n{node} does not answer"),
            });
            let said = said.collect::<Vec<_>>().join(", ");
            let bound = CONVERGE_WITHIN.as_secs();
            return Err(finding(
                "convergence",
                format!("no agreed leader {bound} s after everything was healed: {said}"),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Writes until a few writes in a row were answered.
pub(super) async fn serve(asks: &mut Asks<'_>) -> Result<(), Finding> {
    let names = Generator::keys(asks.keys);
    let mut deadline = asks.heart.deadline(SERVE_WITHIN);
    let (mut served, mut tried) = (0, 0);
    while served < SERVE_WRITES {
        let call = asks.client.fresh_write();
        let key = &names[tried % names.len()];
        tried += 1;
        match asks.client.perform(asks.recorder, key, call).await {
            Outcome::Ok(_) => {
                served += 1;
                deadline = asks.heart.deadline(SERVE_WITHIN);
            }
            _ if deadline.is_over() => {
                let bound = SERVE_WITHIN.as_secs();
                let text = format!(
                    "with an agreed leader {served} of {tried} writes were answered, and none for {bound} s"
                );
                return Err(finding("service", text));
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    Ok(())
}

/// Makes every node the leader in turn and reads every key through it, so that what one node alone holds, or lacks, is
/// seen by clients. A node that does not take the leadership over is no finding: it is said, and the next one has its
/// turn; at least once everything is read.
pub(super) async fn rotate_and_read(
    cluster: &Cluster,
    nodes: &[NodeId],
    asks: &mut Asks<'_>,
    say: impl Fn(String),
) -> Result<(), Finding> {
    let mut read = false;
    for &node in nodes {
        match cluster.transfer(node, ROTATE_WITHIN).await {
            Ok(()) => {
                let text = format!("final reads through n{node}");
                asks.recorder.mark(text);
                let left = final_reads(asks).await?;
                if left > 0 {
                    say(format!(
                        "{left} keys were not read through n{node}: it took too long"
                    ));
                }
                read = true;
            }
            Err(error) => say(format!("no final reads through n{node}: {error}")),
        }
    }
    if !read {
        final_reads(asks).await?;
    }
    Ok(())
}

/// Reads every key of the workload through the leader, each until it is answered; gives how many had no turn.
async fn final_reads(asks: &mut Asks<'_>) -> Result<usize, Finding> {
    let all = asks.heart.deadline(READ_ALL_WITHIN);
    let keys = Generator::keys(asks.keys);
    for (done, key) in keys.iter().enumerate() {
        if all.is_over() {
            return Ok(keys.len() - done);
        }
        let deadline = asks.heart.deadline(READ_WITHIN);
        while !matches!(
            asks.client.perform(asks.recorder, key, Call::Read).await,
            Outcome::Ok(_)
        ) {
            if deadline.is_over() {
                let bound = READ_WITHIN.as_secs();
                return Err(finding(
                    "service",
                    format!("the final read of {key} was not answered within {bound} s"),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(0)
}

/// Compares the states of all nodes, once all have applied the same log.
pub(super) async fn compare_states(
    cluster: &Cluster,
    nodes: &[NodeId],
    heart: &Heart,
) -> Result<(), Finding> {
    let deadline = heart.deadline(LEVEL_WITHIN);
    loop {
        let mut states = BTreeMap::new();
        for &node in nodes {
            if let Ok(state) = cluster.state_hash(node).await {
                states.insert(node, state);
            }
        }
        let level = states
            .values()
            .all(|state| Some(state.applied) == states.values().next().map(|s| s.applied));
        if states.len() == nodes.len() && level {
            let equal = states
                .values()
                .all(|state| Some(&state.hash) == states.values().next().map(|s| &s.hash));
            if equal {
                return Ok(());
            }
            let said = differ::explain(cluster, nodes).await;
            let at = states.values().next().map_or("nothing".to_owned(), applied);
            return Err(states_differ(format!(
                "states differ at applied log id {at}: {said}"
            )));
        }
        if deadline.is_over() {
            let said = nodes.iter().map(|node| match states.get(node) {
                Some(state) => format!("n{node} applied {}", applied(state)),
                None => format!("n{node} does not answer"),
            });
            let said = said.collect::<Vec<_>>().join(", ");
            let bound = LEVEL_WITHIN.as_secs();
            return Err(finding(
                "convergence",
                format!("the nodes did not apply one log within {bound} s: {said}"),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn applied(state: &StateHash) -> String {
    state.applied.map_or("nothing".to_owned(), |(term, index)| {
        format!("{term}/{index}")
    })
}

/// What a node's log says of a panic: its first line, and where.
pub(super) fn panic_in_log(node: NodeId, log: &Path) -> Option<Finding> {
    let text = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text
        .lines()
        .skip_while(|line| !(line.contains("panicked at") && line.contains("thread '")));
    let first = lines.next()?;
    let why = lines.next().unwrap_or("");
    Some(finding(
        "panic",
        format!("n{node}: {} {}", first.trim(), why.trim()),
    ))
}

/// The states of nodes differ: that is one finding, however often and between whomever it is seen.
pub(super) fn states_differ(evidence: String) -> Finding {
    Finding {
        subject: "what the nodes hold".to_owned(),
        ..finding("state-hash", evidence)
    }
}

pub(super) fn finding(oracle: &str, evidence: String) -> Finding {
    Finding {
        oracle: oracle.to_owned(),
        evidence,
        subject: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_log_is_found_and_the_word_alone_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "INFO nobody panicked at all\n").unwrap();
        assert_eq!(panic_in_log(1, &path), None);
        std::fs::write(
            &path,
            "INFO up\nthread 'raft' panicked at src/x.rs:1:2:\nlog hole\n",
        )
        .unwrap();
        let found = panic_in_log(2, &path).unwrap();
        assert_eq!(found.oracle, "panic");
        assert!(
            found.evidence.starts_with("n2: thread 'raft' panicked")
                && found.evidence.ends_with("log hole")
        );
    }
}
