//! A counterexample as sentences, for a person who was not there.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::history::{Call, History, Names, Operation, Outcome, Value};
use crate::linear::explanation::{Explanation, Failure, Order};
use crate::linear::weaker::Session;
use crate::verdict::{Counterexample, Staleness};

/// What an operation did, in a few words: `write 5`, `read 3`, `cas 1 -> 2 (unknown)`.
#[must_use]
pub fn words(op: &Operation, names: Option<&Names>) -> String {
    let text = |value: Value| match names {
        Some(names) => names.text(value).into_owned(),
        None => value.to_string(),
    };
    let mut words = match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(None)) => "read absent".to_owned(),
        (Call::Read, Outcome::Ok(Some(value))) => format!("read {}", text(value)),
        (Call::Read, _) => "read".to_owned(),
        (Call::Write(value), _) => format!("write {}", text(value)),
        (Call::Cas { old, new }, _) => format!("cas {} -> {}", text(old), text(new)),
        (Call::Delete, _) => "delete".to_owned(),
        (Call::Append(value), _) => format!("append {}", text(value)),
    };
    match op.outcome {
        Outcome::Ok(_) => {}
        Outcome::Failed => words.push_str(" (failed)"),
        Outcome::Differed(None) => words.push_str(" (failed, found absent)"),
        Outcome::Differed(Some(value)) => {
            let _ = write!(words, " (failed, found {})", text(value));
        }
        Outcome::Unknown => words.push_str(" (unknown)"),
    }
    words
}

/// What a key held before anything else, as far as a sentence wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Began {
    Absent,
    With(Value),
    /// Nobody knows.
    Somehow,
}

/// Why the operations can't be ordered, in sentences.
pub(crate) fn why(
    operations: &[Operation],
    culprit: Option<&Operation>,
    began: Began,
    names: Option<&Names>,
) -> Vec<String> {
    let mut why = why_from(operations, culprit, began, names);
    let text = |value: Value| match names {
        Some(names) => names.text(value).into_owned(),
        None => value.to_string(),
    };
    match began {
        Began::Absent => {}
        Began::With(value) => why.push(format!("Before all of it, {} was there.", text(value))),
        Began::Somehow => why.push("That is so whatever was there before all of it.".to_owned()),
    }
    why
}

fn why_from(
    operations: &[Operation],
    culprit: Option<&Operation>,
    began: Began,
    names: Option<&Names>,
) -> Vec<String> {
    let lists = operations
        .iter()
        .any(|op| matches!(op.call, Call::Append(_)));
    let mut why = Vec::new();
    if let Some(culprit) = culprit
        && let (Call::Cas { old, .. }, Outcome::Differed(Some(found))) =
            (culprit.call, culprit.outcome)
        && old == found
    {
        let text = names.map_or(old.to_string(), |names| names.text(old).into_owned());
        why.push(format!(
            "#{} compared with {text}, found {text}, and failed: a comparison that finds what it expects succeeds.",
            culprit.id
        ));
        return why;
    }
    if let Some(culprit) = culprit
        && !lists
        && let Some(value) = found(culprit)
        && began != Began::With(value)
        && !operations
            .iter()
            .any(|op| op.id != culprit.id && !op.outcome.is_failed() && sets(op) == Some(value))
    {
        why.push(format!(
            "#{} found a value that nobody had written: no write of it had begun by then, or every one had failed.",
            culprit.id
        ));
        return why;
    }
    if let Some(clash) = clash(operations, names) {
        return clash;
    }
    let few = operations.len() <= SHOWN;
    for (i, a) in operations.iter().enumerate().filter(|_| few) {
        let next = operations[i + 1..].iter().find(|b| {
            a.outcome != Outcome::Unknown && a.completed.is_some_and(|end| end < b.invoked)
        });
        if let Some(b) = next {
            why.push(format!(
                "#{} {} ended before #{} {} began, so it came first.",
                a.id,
                words(a, names),
                b.id,
                words(b, names)
            ));
        }
    }
    if let Some(culprit) = culprit {
        why.push(format!(
            "#{} {} fits at no moment between its begin and its end, whatever the order of the others.",
            culprit.id,
            words(culprit, names)
        ));
    }
    why
}

/// Two values of which each must have come before the other, where each is written once.
fn clash(operations: &[Operation], names: Option<&Names>) -> Option<Vec<String>> {
    if operations.len() > SHOWN {
        return None;
    }
    let mut clusters: BTreeMap<Option<Value>, Vec<&Operation>> = BTreeMap::new();
    for op in operations {
        let value = match (op.call, op.outcome) {
            (Call::Read, Outcome::Ok(found)) | (Call::Cas { .. }, Outcome::Differed(found)) => {
                found
            }
            (Call::Write(value) | Call::Cas { new: value, .. }, _) => Some(value),
            _ => return None,
        };
        clusters.entry(value).or_default().push(op);
    }
    let writes = |op: &&&Operation| op.call != Call::Read && !op.outcome.is_failed();
    let once = |ops: &Vec<&Operation>| ops.iter().filter(writes).count() <= 1;
    if !clusters.values().all(once) {
        return None;
    }
    let first_end = |ops: &[&Operation]| {
        let ended = ops.iter().filter(|op| op.outcome != Outcome::Unknown);
        ended.min_by_key(|op| op.completed).map(|op| (*op).clone())
    };
    let last_begin = |ops: &[&Operation]| {
        ops.iter()
            .max_by_key(|op| op.invoked)
            .map(|op| (*op).clone())
    };
    for (a_value, a) in &clusters {
        for (b_value, b) in &clusters {
            let (Some(a1), Some(b1)) = (first_end(a), first_end(b)) else {
                continue;
            };
            let (Some(a2), Some(b2)) = (last_begin(a), last_begin(b)) else {
                continue;
            };
            let before = |x: &Operation, y: &Operation| {
                x.outcome != Outcome::Unknown
                    && x.completed.is_some_and(|completed| completed < y.invoked)
            };
            if a_value < b_value && before(&a1, &b2) && before(&b1, &a2) {
                let name = |value: &Option<Value>| match value {
                    Some(value) => match names {
                        Some(names) => names.text(*value).into_owned(),
                        None => value.to_string(),
                    },
                    None => "absent".to_owned(),
                };
                let sentence = |x: &Operation, y: &Operation, v: &_, w: &_| {
                    format!(
                        "#{} {} ended before #{} {} began, so {} came before {}.",
                        x.id,
                        words(x, names),
                        y.id,
                        words(y, names),
                        name(v),
                        name(w)
                    )
                };
                return Some(vec![
                    sentence(&a1, &b2, a_value, b_value),
                    sentence(&b1, &a2, b_value, a_value),
                    "Each value is written once: one that was replaced cannot come back."
                        .to_owned(),
                ]);
            }
        }
    }
    None
}

fn found(op: &Operation) -> Option<Value> {
    match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(found)) | (Call::Cas { .. }, Outcome::Differed(found)) => found,
        (Call::Cas { old, .. }, Outcome::Ok(_)) => Some(old),
        _ => None,
    }
}

fn sets(op: &Operation) -> Option<Value> {
    match op.call {
        Call::Write(value) | Call::Append(value) | Call::Cas { new: value, .. } => Some(value),
        Call::Read | Call::Delete => None,
    }
}

/// A counterexample as text: the operations with their times, drawn; the order found; why.
#[must_use]
pub fn text(found: &Counterexample, names: Option<&Names>) -> String {
    let mut out = String::new();
    let latest = match found.at_the_latest {
        true => " at the latest",
        false => "",
    };
    let _ = writeln!(
        out,
        "key {}: not linearizable since event #{}{latest}",
        found.key, found.event
    );
    let shown = shown(found);
    let mut moments: Vec<u64> = shown
        .iter()
        .flat_map(|op| [Some(op.invoked), op.completed])
        .flatten()
        .collect();
    moments.sort_unstable();
    let column = |event: u64| moments.partition_point(|moment| *moment < event) * 4;
    let widest = moments.len() * 4;
    for op in &shown {
        let begin = column(op.invoked);
        let ended = op.outcome != Outcome::Unknown;
        let end = op.completed.filter(|_| ended).map_or(widest, column);
        let mut bar = " ".repeat(begin);
        bar.push('├');
        bar.push_str(&if ended { "─" } else { "┄" }.repeat(end.saturating_sub(begin + 1)));
        bar.push(if ended { '┤' } else { '┄' });
        let mark = if op.id == found.culprit { '>' } else { ' ' };
        let node = op
            .node
            .map(|node| format!(" node {node}"))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "{mark} #{:<6} client {:<4}{node} {bar:<width$} {}",
            op.id,
            op.client,
            words(op, names),
            width = widest + 1
        );
    }
    if let more @ 1.. = found.operations.len() - shown.len() {
        let _ = writeln!(out, "  … and {more} more");
    }
    if !found.order.is_empty() && shown.len() == found.operations.len() {
        let order: Vec<String> = found.order.iter().map(|id| format!("#{id}")).collect();
        let _ = writeln!(out, "  without #{}: {}", found.culprit, order.join(" "));
    }
    for why in &found.why {
        let _ = writeln!(out, "  {why}");
    }
    if let Some(stale) = found.staleness {
        let _ = writeln!(out, "  The answer was at least {} old.", age(stale));
    }
    out
}

/// How old an answer was: without a time where the file has none.
fn age(stale: Staleness) -> String {
    let versions = match stale.versions {
        1 => "1 version".to_owned(),
        versions => format!("{versions} versions"),
    };
    match stale.nanoseconds {
        0 => versions,
        nanoseconds @ ..1000 => format!("{nanoseconds} ns and {versions}"),
        nanoseconds => format!("{:.3} ms and {versions}", nanoseconds as f64 / 1e6),
    }
}

/// How many operations of a witness, and of a counterexample, are shown.
const SHOWN: usize = 40;

/// The operations of a counterexample that fit into a drawing: all of them, or the first ones and the culprit.
fn shown(found: &Counterexample) -> Vec<&Operation> {
    let chosen = |(i, op): &(usize, &Operation)| *i < SHOWN || op.id == found.culprit;
    let operations = found.operations.iter().enumerate();
    operations.filter(chosen).map(|(_, op)| op).collect()
}

/// What an explanation adds to the verdict, as sentences.
#[must_use]
pub fn more(explanation: &Explanation, history: &History) -> String {
    let mut out = String::new();
    for order in &explanation.witness {
        witness(&mut out, order, history);
    }
    if let Some(failure) = &explanation.failure {
        about(&mut out, failure, history);
    }
    out
}

fn witness(out: &mut String, order: &Order, history: &History) {
    let Some(ids) = &order.order else {
        let _ = writeln!(out, "key {}: the budget found no order to show", order.key);
        return;
    };
    let _ = write!(out, "key {}: in this order:", order.key);
    let shown = &ids[..ids.len().min(SHOWN)];
    let mut wanted: BTreeMap<u64, String> = shown.iter().map(|id| (*id, String::new())).collect();
    for op in history.operations() {
        if let Some(text) = wanted.get_mut(&op.id) {
            *text = words(&op, Some(&history.names));
        }
    }
    for (i, id) in shown.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(out, "{comma} #{id} {}", wanted[id]);
    }
    let _ = match ids.len() - shown.len() {
        0 => writeln!(out),
        rest => writeln!(out, ", and {rest} more"),
    };
}

fn about(out: &mut String, failure: &Failure, history: &History) {
    if let Some((before, after)) = failure.edge {
        let _ = writeln!(
            out,
            "Only because #{before} had ended before #{after} began is there no order."
        );
    }
    if !failure.legal.is_empty() {
        let name = |value: &Option<Value>| match value {
            Some(value) => history.names.text(*value).into_owned(),
            None => "absent".to_owned(),
        };
        let values: Vec<String> = failure.legal.iter().map(name).collect();
        let _ = writeln!(out, "Legal would have been: {}.", values.join(", "));
    }
    if let Some(stale) = &failure.stalest {
        let _ = writeln!(
            out,
            "The stalest read of {} is #{}: at least {} old.",
            failure.key,
            stale.read,
            age(stale.staleness)
        );
    }
    let sequential = match failure.weaker.sequential {
        Some(true) => "it is sequentially consistent all the same",
        Some(false) => "it is not sequentially consistent either",
        None => "whether it is sequentially consistent was not told, as values repeat",
    };
    let _ = writeln!(out, "Of key {} alone: {sequential};", failure.key);
    for (name, session) in [
        ("monotonic reads", failure.weaker.monotonic_reads),
        ("read your writes", failure.weaker.read_your_writes),
    ] {
        let _ = match session {
            Session::Kept => writeln!(out, "  {name}: kept for every client;"),
            Session::Broken {
                client,
                newer,
                read,
            } => writeln!(
                out,
                "  {name}: broken for client {client}, which had #{newer} before the older #{read};"
            ),
            Session::NotTold => writeln!(out, "  {name}: not told, as values repeat;"),
        };
    }
}
