//! After the run, and on stderr while it goes on: sentences and JSON from what the run says. A report never decides;
//! it prints the verdict that it was given, with the evidence.

mod github;
mod junit;
mod progress;
mod text;

pub use github::{
    VARIABLE as GITHUB_SUMMARY, summary as github_summary, summary_file as github_summary_file,
};
pub use junit::{Case, junit};
pub use progress::Progress;
pub use text::{counterexample, text};

use std::path::Path;
use std::{fs, io};

use checkers::types::Operation;
use checkers::verdict::{Counterexample, Verdict};
use serde_json::{Value, json};

use crate::journal::RunResult;

/// The version of what is printed as JSON: it rises when a member changes its meaning or goes, not when one is added.
pub const SCHEMA: u32 = 1;

/// The object that `whitewater run --json` ends with, and `verdict.json` holds.
#[must_use]
pub fn json(result: &RunResult) -> Value {
    let counts = &result.counts;
    let tested = result.resolved.tested.as_ref();
    let mut object = json!({
        "schema": SCHEMA,
        "verdict": result.word(),
        "exit": result.exit(),
        "anomaly": result.anomaly,
        "seed": result.resolved.seed,
        "scenario": result.resolved.scenario.name,
        "issue": result.issue(),
        "nodes": result.resolved.scenario.nodes,
        "defect": result.resolved.defect,
        "target": tested.map(|tested| &tested.target),
        "target_version": tested.and_then(|tested| tested.version.as_ref()),
        "mode": tested.map(|tested| &tested.mode),
        "spec": tested.and_then(|tested| tested.spec.as_deref()).unwrap_or("register"),
        "expected": tested.map(|tested| &tested.expect),
        "defect_counts": result.defect,
        "reads": tested.is_none().then(|| result.resolved.scenario.reads()),
        "ops": counts.ops,
        "ops_by_name": counts.ops_by_name,
        "own_ops": counts.own_ops,
        "faults": counts.faults,
        "elections": counts.elections,
        "findings": result.findings,
        "unpromised": result
            .unpromised()
            .iter()
            .map(|span| span.fault.to_string())
            .collect::<Vec<_>>(),
        "bench_errors": result.bench_errors,
        "seconds": result.seconds,
        "trace_events": result.trace_events,
        "trace_us": result.trace_us,
        "certificate": result.certificate,
        "alarm_seconds": result.alarm_seconds,
        "dir": result.dir,
        "again": result.again,
        "by_hand": result.faults_by_hand || result.load_by_hand,
        "coverage": coverage(result),
    });
    match &result.verdict {
        Some(Verdict::Violation(found)) => object["counterexample"] = evidence(result, found),
        Some(Verdict::Unknown(reason)) => object["reason"] = json!(reason),
        _ => {}
    }
    object
}

/// What the run exercised.
fn coverage(result: &RunResult) -> Value {
    let counts = &result.counts;
    json!({
            "fault_kinds": counts.faults.len(),
            "skipped": counts.skipped,
            "indeterminate": counts.indeterminate,
            "messages": counts.messages,
            "dropped": counts.dropped,
            "unknown_share": counts.unknown_share(),
            "tails": counts.tails,
            "states_compared": result.compared,
            "leader_hit": counts.leader_hit,
            "leader_in_minority": counts.leader_in_minority,
            "snapshots": counts.snapshots,
            "sessions": counts.sessions,
            "in_flight_at_edges": counts.in_flight_at_edges,
            "calm": counts.calm,
            "unexplained": counts.unexplained,
            "late_ms": result.late_ms,
            "waited_per_cent": result.waited_per_cent,
            "broken_promises": result.unmet_goals,
    })
}

/// Writes `verdict.json`, and `counterexample.txt` where there is one, into the run's folder. What cannot be written is
/// one of the result's bench errors from then on, and given back: it hides neither the verdict nor the other file.
#[must_use = "a file that could not be written is a bench error"]
pub fn save(result: &mut RunResult) -> Vec<String> {
    let Some(dir) = result.dir.clone() else {
        return Vec::new();
    };
    let mut failures = Vec::new();
    let mut failed = |result: &mut RunResult, name: &str, error: io::Error| {
        let failure = format!("could not write {}: {error}", dir.join(name).display());
        result.bench_errors.push(failure.clone());
        failures.push(failure);
    };
    if let Some(Verdict::Violation(found)) = &result.verdict {
        let text = counterexample(found, result);
        if let Err(error) = replace(&dir, "counterexample.txt", text.as_bytes()) {
            failed(result, "counterexample.txt", error);
        }
    }
    // The last one, so that it can tell of the other.
    let verdict = format!("{:#}\n", json(result));
    if let Err(error) = replace(&dir, "verdict.json", verdict.as_bytes()) {
        failed(result, "verdict.json", error);
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
fn evidence(result: &RunResult, found: &Counterexample) -> Value {
    let mut object = json!(found);
    if let Some(typed) = &found.typed {
        object["operations"] = typed.operations.iter().map(Operation::json).collect();
        if let Value::Object(members) = &mut object {
            members.remove("typed");
        }
    }
    if let Some(culprit) = found.answered() {
        let at = culprit.answered_ns;
        object["answered_by"] = json!(culprit.node);
        object["answered_as"] = json!(result.answered_as);
        object["faults_active"] = result
            .faults_at(at)
            .iter()
            .map(|span| span.fault.to_string())
            .collect::<Vec<_>>()
            .into();
        object["faults_before"] = json!(
            result
                .faults_before(at)
                .iter()
                .map(|span| span.fault.to_string())
                .collect::<Vec<_>>()
        );
        object["beliefs"] = json!(result.beliefs);
    }
    object
}
