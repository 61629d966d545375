//! After the run, and on stderr while it goes on: sentences and JSON from what the run says. A report never decides;
//! it prints the verdict that it was given, with the evidence.

mod progress;
mod text;

pub use progress::Progress;
pub use text::{counterexample, text};

use std::path::Path;
use std::{fs, io};

use checkers::verdict::{Counterexample, Verdict};
use serde_json::{Value, json};

use crate::run::Ending;

/// The object that `whitewater run --json` ends with, and `verdict.json` holds.
#[must_use]
pub fn json(ending: &Ending) -> Value {
    let counts = &ending.counts;
    let mut object = json!({
        "verdict": ending.word(),
        "exit": ending.exit(),
        "anomaly": ending.anomaly,
        "seed": ending.resolved.seed,
        "scenario": ending.resolved.scenario.name,
        "nodes": ending.resolved.scenario.nodes,
        "defect": ending.resolved.defect,
        "defect_counts": ending.defect,
        "reads": ending.resolved.scenario.reads(),
        "ops": counts.ops,
        "own_ops": counts.own_ops,
        "faults": counts.faults,
        "elections": counts.elections,
        "findings": ending.findings,
        "outside_the_model": ending
            .outside_the_model()
            .iter()
            .map(|span| span.fault.to_string())
            .collect::<Vec<_>>(),
        "bench_errors": ending.bench_errors,
        "seconds": ending.seconds,
        "trace_events": ending.trace_events,
        "trace_us": ending.trace_us,
        "certificate": ending.certificate,
        "alarm_seconds": ending.alarm_seconds,
        "dir": ending.dir,
        "again": ending.again,
        "by_hand": ending.faults_by_hand || ending.load_by_hand,
        "coverage": coverage(ending),
    });
    match &ending.verdict {
        Some(Verdict::Violation(found)) => object["counterexample"] = evidence(ending, found),
        Some(Verdict::Unknown(reason)) => object["reason"] = json!(reason),
        _ => {}
    }
    object
}

/// What the run exercised.
fn coverage(ending: &Ending) -> Value {
    let counts = &ending.counts;
    json!({
            "fault_kinds": counts.faults.len(),
            "skipped": counts.skipped,
            "indeterminate": counts.indeterminate,
            "messages": counts.messages,
            "dropped": counts.dropped,
            "unknown_share": counts.unknown_share(),
            "tails": counts.tails,
            "states_compared": ending.compared,
            "leader_hit": counts.leader_hit,
            "leader_in_minority": counts.leader_in_minority,
            "snapshots": counts.snapshots,
            "in_flight_at_edges": counts.in_flight_at_edges,
            "calm": counts.calm,
            "unexplained": counts.unexplained,
            "late_ms": ending.late_ms,
            "waited_per_cent": ending.waited_per_cent,
            "broken_promises": ending.broken_promises,
    })
}

/// Writes `verdict.json`, and `counterexample.txt` where there is one, into the run's folder. What cannot be written is
/// one of the ending's bench errors from then on, and given back: it hides neither the verdict nor the other file.
#[must_use = "a file that could not be written is a bench error"]
pub fn save(ending: &mut Ending) -> Vec<String> {
    let Some(dir) = ending.dir.clone() else {
        return Vec::new();
    };
    let mut failures = Vec::new();
    let mut failed = |ending: &mut Ending, name: &str, error: io::Error| {
        let failure = format!("could not write {}: {error}", dir.join(name).display());
        ending.bench_errors.push(failure.clone());
        failures.push(failure);
    };
    if let Some(Verdict::Violation(found)) = &ending.verdict {
        let text = counterexample(found, ending);
        if let Err(error) = replace(&dir, "counterexample.txt", text.as_bytes()) {
            failed(ending, "counterexample.txt", error);
        }
    }
    // The last one, so that it can tell of the other.
    let verdict = format!("{:#}\n", json(ending));
    if let Err(error) = replace(&dir, "verdict.json", verdict.as_bytes()) {
        failed(ending, "verdict.json", error);
    }
    failures
}

/// Writes a file whole, or leaves what was there.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!(".{name}.new"));
    let replaced = fs::write(&new, bytes).and_then(|()| fs::rename(&new, dir.join(name)));
    if replaced.is_err() {
        // Half a file helps nobody; where it cannot be removed it was not made.
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// A counterexample with what the run knows besides: the faults that were in, and what the nodes took themselves for.
fn evidence(ending: &Ending, found: &Counterexample) -> Value {
    let mut object = json!(found);
    if let Some(culprit) = found.culprit() {
        let at = culprit.completed_ns.unwrap_or(culprit.invoked_ns);
        object["answered_by"] = json!(culprit.node);
        object["answered_as"] = json!(ending.answered_as);
        object["faults_active"] = ending
            .faults_at(at)
            .iter()
            .map(|span| span.fault.to_string())
            .collect::<Vec<_>>()
            .into();
        object["faults_before"] = json!(
            ending
                .faults_before(at)
                .iter()
                .map(|span| span.fault.to_string())
                .collect::<Vec<_>>()
        );
        object["beliefs"] = json!(ending.beliefs);
    }
    object
}
