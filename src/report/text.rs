//! The end of a run in words, for a person who reads a terminal or a CI log.

use std::fmt::Write as _;
use std::io::{self, Write};

use checkers::history::{Call, Operation, Outcome};
use checkers::types;
use checkers::verdict::{Counterexample, Verdict};

use crate::journal::{DefectCounts, RunResult, Unexplained, again_in_words};

/// A machine whose timers are later than this is too busy for elections of a few hundred milliseconds.
const WORTH_SAYING_MS: u64 = 100;

/// Prints how a run ended: the verdict first, how to run it again last.
///
/// # Errors
/// When `out` does.
pub fn text(out: &mut impl Write, result: &RunResult) -> io::Result<()> {
    if result.dir.is_none() {
        // It did not even begin: there is nothing else to say.
        return result
            .bench_errors
            .iter()
            .try_for_each(|error| writeln!(out, "no verdict: {error}"));
    }
    writeln!(out, "{}", result.summary())?;
    if let Some(Verdict::Violation(found)) = &result.verdict {
        writeln!(out, "\n{}", counterexample(found, result))?;
    }
    if let Some(Verdict::Unknown(reason)) = &result.verdict {
        writeln!(out, "  {reason}")?;
    }
    for finding in &result.findings {
        writeln!(out, "finding ({}): {}", finding.oracle(), finding.evidence)?;
    }
    if result.exit() == 1 {
        for span in result.unpromised() {
            writeln!(
                out,
                "after {}: what was found then accuses nobody",
                span.fault
            )?;
        }
    }
    for error in &result.bench_errors {
        writeln!(out, "bench error: {error}")?;
    }
    for promise in &result.unmet_goals {
        writeln!(out, "vacuous: {promise}")?;
    }
    let counts = &result.counts;
    let (ops, own) = (counts.ops, counts.own_ops);
    writeln!(
        out,
        "workload: {} operations ok, {} failed, {} unknown in {:.1} s; {} elections",
        ops.ok, ops.failed, ops.unknown, result.seconds, counts.elections
    )?;
    let by_name = counts.ops_by_name.iter();
    let by_name: Vec<String> = by_name
        .map(|(name, ops)| format!("{} {name}", ops.total()))
        .collect();
    if !by_name.is_empty() {
        writeln!(out, "of these: {}", by_name.join(", "))?;
    }
    if own.total() > 0 {
        writeln!(
            out,
            "the bench's own, when everything was healed: {} ok, {} failed, {} unknown",
            own.ok, own.failed, own.unknown
        )?;
    }
    if !counts.faults.is_empty() {
        let faults = counts
            .faults
            .iter()
            .map(|(kind, n)| format!("{n} {kind}"))
            .collect::<Vec<_>>()
            .join(", ");
        writeln!(out, "faults that took effect: {faults}")?;
    }
    if !counts.messages.is_empty() {
        let fates = counts.messages.iter();
        let fates: Vec<String> = fates.map(|(fate, n)| format!("{n} {fate}")).collect();
        writeln!(out, "single messages: {}", fates.join(", "))?;
    }
    if !counts.dropped.is_empty() {
        let dropped = counts.dropped.iter();
        let dropped: Vec<String> = dropped.map(|(kind, n)| format!("{n} {kind}")).collect();
        writeln!(out, "of these lost: {}", dropped.join(", "))?;
    }
    writeln!(
        out,
        "{} leaders hit, {} left in a minority, {} killed with a tail; {} snapshots; {} operations in flight at faults' edges; \
         {:.1} % of the outcomes unknown",
        counts.leader_hit,
        counts.leader_in_minority,
        counts.tails,
        counts.snapshots,
        counts.in_flight_at_edges,
        100.0 * counts.unknown_share()
    )?;
    let Unexplained {
        elections,
        timeouts,
    } = counts.unexplained;
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    if elections + timeouts > 0 || result.late_ms >= WORTH_SAYING_MS {
        writeln!(
            out,
            "{elections} election{} and {timeouts} timeout{} that no fault explains; the bench's own timers were late by up to {} ms, \
             and it and its nodes waited for a processor for {} % of their time",
            plural(elections),
            plural(timeouts),
            result.late_ms,
            result.waited_per_cent
        )?;
    }
    let sessions = counts.sessions;
    if sessions.writes > 0 {
        writeln!(
            out,
            "{} write{} in sessions, {} of them asked for again, {} of those answered then",
            sessions.writes,
            plural(sessions.writes),
            sessions.repeated,
            sessions.settled
        )?;
    }
    if let (Some(name), Some(counts)) = (&result.resolved.defect, result.defect) {
        let DefectCounts { reached, triggered } = counts;
        writeln!(
            out,
            "defect {name}: reached {reached} times, triggered {triggered} times"
        )?;
    }
    if let Some(events) = result.trace_events {
        writeln!(
            out,
            "consensus: {events} events of the nodes' storages explained by the rules, {:.2} us each",
            result.trace_us
        )?;
    }
    if let Some(certificate) = result.certificate.as_deref() {
        let words = match certificate {
            "holds" => "the log ids of the answers give a legal order of all operations",
            "contradiction" => "the log ids of the answers contradict what was answered",
            _ => "some answers carry no log id",
        };
        writeln!(out, "certificate: {certificate}; {words}")?;
    }
    if let Some(issue) = result.issue() {
        let (name, exit) = (&result.resolved.scenario.name, result.exit());
        match exit {
            1 => writeln!(out, "{name} is for {issue}{}", address(issue))?,
            0 => writeln!(out, "{issue}, which {name} is for, did not show")?,
            _ => {}
        }
    }
    if let Some(dir) = &result.dir {
        writeln!(out, "folder: {}", dir.display())?;
    }
    writeln!(
        out,
        "{}",
        again_in_words(&result.again, result.load_by_hand)
    )
}

/// Where a report of GitHub's stands, behind its short name.
fn address(issue: &str) -> String {
    let parts = issue.split_once('#');
    let address =
        |(repository, number)| format!(": https://github.com/{repository}/issues/{number}");
    parts.map(address).unwrap_or_default()
}

/// The most operations that are listed: more is nothing for a person, and all of them stand in the verdict's file.
const SHOWN: usize = 40;

/// The operations that prove a violation, one a line in the order of their beginnings, and why.
#[must_use]
pub fn counterexample(found: &Counterexample, result: &RunResult) -> String {
    let mut text = String::new();
    if let Some(anomaly) = result.anomaly {
        let _ = writeln!(text, "{anomaly}: {}.", anomaly.about());
    }
    let typed = found.typed.as_deref();
    let typed = typed.map_or(&[][..], |typed| typed.operations.as_slice());
    let _ = writeln!(
        text,
        "{} of the operations on {} show it:",
        found.operations.len() + typed.len(),
        found.key
    );
    for operation in typed.iter().take(SHOWN) {
        let sign = if operation.id == found.culprit {
            "✗"
        } else {
            " "
        };
        let _ = writeln!(text, "  {sign:>2} {}", typed_line(operation));
    }
    for operation in found.operations.iter().take(SHOWN) {
        let place = found.order.iter().position(|id| *id == operation.id);
        let sign = match place {
            Some(place) => format!("{}.", place + 1),
            None => "✗".to_owned(),
        };
        let _ = writeln!(text, "  {sign:>2} {}", line(operation));
    }
    let all = found.operations.len() + typed.len();
    if let more @ 1.. = all.saturating_sub(SHOWN) {
        let _ = writeln!(text, "  … and {more} more");
    }
    for sentence in &found.why {
        let _ = writeln!(text, "  {sentence}");
    }
    if let Some(culprit) = found.answered() {
        let at = culprit.answered_ns;
        if let Some(node) = culprit.node {
            let resolved = &result.resolved;
            let how = match (&resolved.tested, culprit.reads, &resolved.defect) {
                (Some(tested), ..) => format!(" ({} in mode {})", tested.target, tested.mode),
                (None, true, defect) => {
                    let reads = resolved.scenario.reads();
                    match defect {
                        Some(defect) => format!(" (reads: {reads}; planted defect: {defect})"),
                        None => format!(" (reads: {reads})"),
                    }
                }
                _ => String::new(),
            };
            let _ = writeln!(text, "  n{node} answered #{}{how}.", culprit.id);
        }
        let faults = result.faults_at(at);
        if faults.is_empty() {
            let _ = writeln!(text, "  No fault was active at that moment.");
        }
        for span in faults {
            let _ = writeln!(
                text,
                "  Active at that moment: {} (since {}).",
                span.fault,
                seconds(span.in_ns)
            );
        }
        for span in result.faults_before(at) {
            let out = seconds(span.out_ns.unwrap_or(span.in_ns));
            let _ = writeln!(text, "  Shortly before: {} (until {out}).", span.fault);
        }
        for belief in &result.beliefs {
            let _ = writeln!(text, "  {belief}");
        }
    }
    text
}

fn line(operation: &Operation) -> String {
    let Operation {
        id,
        client,
        call,
        outcome,
        invoked_ns,
        completed_ns,
        node,
        at,
        ..
    } = operation;
    let asked = match call {
        Call::Read => "read".to_owned(),
        Call::Write(value) => format!("write {value}"),
        Call::Cas { old, new } => format!("cas {old}→{new}"),
        Call::Delete => "delete".to_owned(),
        Call::Append(value) => format!("append {value}"),
    };
    let ended = match (call, outcome) {
        (Call::Read, Outcome::Ok(Some(value))) => format!("→ {value}"),
        (Call::Read, Outcome::Ok(None)) => "→ absent".to_owned(),
        (_, Outcome::Ok(_)) => "ok".to_owned(),
        (_, Outcome::Failed) => "failed".to_owned(),
        (_, Outcome::Differed(Some(value))) => format!("failed, found {value}"),
        (_, Outcome::Differed(None)) => "failed, found absent".to_owned(),
        (_, Outcome::Unknown) => "unknown".to_owned(),
    };
    let mut text = format!("#{id} c{client} {asked} {ended}  ");
    text += &when_and_where(*invoked_ns, *completed_ns, *node);
    if let Some(at) = at {
        let _ = write!(text, " at {}/{}", at.term, at.index);
    }
    text
}

fn when_and_where(invoked_ns: u64, completed_ns: Option<u64>, node: Option<u64>) -> String {
    let ended = completed_ns.map_or("…".to_owned(), seconds);
    let node = node.map_or_else(String::new, |node| format!("  n{node}"));
    format!("{}–{ended}{node}", seconds(invoked_ns))
}

/// So much of what a read has found is shown.
const WIDE: usize = 80;

/// An operation of another data type than register and list.
fn typed_line(operation: &types::Operation) -> String {
    let mut what: Vec<char> = operation.describe().chars().collect();
    if what.len() > WIDE {
        let end = what.split_off(what.len() - WIDE / 2);
        what.truncate(WIDE / 2);
        what.extend(" … ".chars().chain(end));
    }
    let what: String = what.into_iter().collect();
    let at = when_and_where(operation.invoked_ns, operation.completed_ns, operation.node);
    format!("#{} c{} {what}  {at}", operation.id, operation.client)
}

/// An instant of the run, in seconds from its beginning.
fn seconds(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}
