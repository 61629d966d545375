//! The node's trace and the checker's reader, held together.

use std::collections::BTreeSet;

use model::trace::{Kind, Line, read};

use whitewater::wire::kiwi::MetricsResponse;

use crate::nodes::{Nodes, put};

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_reads_what_the_nodes_wrote() {
    let flags = [
        "--trace",
        "{folder}/{id}.jsonl",
        "--snapshot-every",
        "20",
        "--keep-logs",
        "5",
        "--lag",
        "10",
    ];
    let mut nodes = Nodes::start(3, &flags).await;
    nodes.initialize().await;
    let leader = nodes.leader().await;
    let late = (1..=3).find(|id| *id != leader).expect("another node");
    nodes.kill(late);
    for number in 0..100 {
        nodes.write(put("k", &number.to_string())).await;
    }
    let leader = nodes.leader_other_than(late).await;
    let purged =
        |metrics: &MetricsResponse| metrics.purged.as_ref().is_some_and(|at| at.index > 60);
    nodes.wait_metrics(leader, purged).await;
    nodes.restart(late).await;
    nodes.equal_hashes(std::time::Duration::from_secs(10)).await;
    let mut seen = BTreeSet::new();
    for id in 1..=3 {
        let path = nodes.folder().join(format!("{id}.jsonl"));
        let text = std::fs::read_to_string(path).expect("the trace");
        let lines = read(&text).expect("a trace");
        let lives: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at].e == Kind::Start)
            .collect();
        assert_eq!(lives.len(), if id == late { 2 } else { 1 });
        check_ends(&lines);
        seen.extend(lines.iter().map(|line| format!("{:?}", line.e)));
        if let [_, second] = lives[..] {
            check_restart(&lines[..second], &lines[second]);
        }
    }
    let all = [
        "Append", "Apply", "Done", "Install", "Purge", "Snapshot", "Start", "Vote",
    ];
    assert_eq!(seen, all.into_iter().map(str::to_owned).collect());
}

/// Each done ends one begin of the same life, once.
fn check_ends(lines: &[Line]) {
    let mut open = BTreeSet::new();
    for line in lines {
        match (line.e, line.of) {
            (Kind::Start, _) => open.clear(),
            (Kind::Done, Some(of)) => assert!(open.remove(&of), "{line:?} ends nothing"),
            _ => assert!(open.insert(line.seq), "{line:?} begins twice"),
        }
    }
}

/// The vote and the end of the log survive a kill: as done, or as begun after that.
fn check_restart(before: &[Line], start: &Line) {
    let done: BTreeSet<u64> = before.iter().filter_map(|line| line.of).collect();
    let votes: Vec<&Line> = before.iter().filter(|line| line.e == Kind::Vote).collect();
    let last_done = votes
        .iter()
        .rposition(|line| done.contains(&line.seq))
        .expect("it voted");
    assert!(
        votes[last_done..]
            .iter()
            .any(|line| line.vote == start.vote),
        "{start:?}"
    );
    let appends = before
        .iter()
        .filter(|line| line.e == Kind::Append && done.contains(&line.seq));
    let last = appends
        .filter_map(|line| line.entries.last())
        .map(|entry| entry.id.index)
        .max();
    assert!(
        start.log.last().map(|run| run.3) >= last,
        "{start:?} lost entries up to {last:?}"
    );
}
