//! The verdicts of files, in words, as JSON and as test cases.

use std::io::{self, Write};

use checkers::explain;
use checkers::verdict::Verdict;
use serde_json::json;

use super::judge::{Came, Checked};
use crate::report;

impl Checked {
    /// As an object.
    pub(super) fn json(&self) -> serde_json::Value {
        let mut object = json!({
            "schema": report::SCHEMA,
            "path": self.path,
            "verdict": self.verdict(),
            "exit": self.code(),
            "seconds": self.seconds,
        });
        let mut put = |name: &str, value: serde_json::Value| object[name] = value;
        match &self.came {
            Came::Malformed { reason, ops, keys } => {
                put("ops", json!(ops));
                put("keys", json!(keys));
                put("algorithm", json!(null));
                put("counterexample", json!([]));
                put("reason", json!(reason));
            }
            Came::Refused(refusal) => {
                put("ops", json!(0));
                put("keys", json!(0));
                put("algorithm", json!(null));
                put("counterexample", json!([]));
                put("reason", json!(refusal.why));
            }
            Came::Judged(judged) => {
                put("ops", json!(judged.ops));
                put("keys", json!(judged.keys));
                put("algorithm", json!(judged.algorithm));
                put("counterexample", json!([]));
                match &judged.verdict {
                    Verdict::Linearizable => {}
                    Verdict::Violation(found) => {
                        put("anomaly", json!(judged.anomaly));
                        put("counterexample", json!(found.operations));
                        put("key", json!(found.key));
                        put("order", json!(found.order));
                        put("culprit", json!(found.culprit));
                        put("why", json!(found.why));
                        put("event", json!(found.event));
                        put("at_the_latest", json!(found.at_the_latest));
                        put("unshrunk", json!(found.unshrunk));
                        put("staleness", json!(found.staleness));
                    }
                    Verdict::Unknown(reason) => put("reason", json!(reason)),
                }
                put("lints", json!(judged.lints));
                if let Some((explained, _)) = &judged.explained {
                    put("explanation", explained.clone());
                }
            }
            Came::Typed(typed) => typed.json(&mut put),
        }
        put("notes", json!(self.notes));
        if let Some(expected) = self.expected {
            put("expected", json!(expected));
        }
        if let Came::Judged(judged) = &self.came {
            judged.names.restore(&mut object);
        }
        object
    }

    /// As lines for a person.
    pub(super) fn print(&self, out: &mut impl Write, explain: bool) -> io::Result<()> {
        let surprise = match self.expected {
            Some(expected) if !self.as_expected() => format!("  EXPECTED {expected}"),
            _ => String::new(),
        };
        match &self.came {
            Came::Malformed { reason, .. } => writeln!(out, "malformed     {reason}{surprise}")?,
            Came::Refused(refusal) => {
                let why = &refusal.why;
                writeln!(out, "refused       {}: {why}{surprise}", self.path)?;
            }
            Came::Judged(judged) => {
                writeln!(
                    out,
                    "{:<13} {}  {} ops, {} keys, {:.3} s, {}{surprise}",
                    self.verdict(),
                    self.path,
                    judged.ops,
                    judged.keys,
                    self.seconds,
                    judged.algorithm,
                )?;
                match &judged.verdict {
                    Verdict::Unknown(reason) => writeln!(out, "  {reason}")?,
                    Verdict::Violation(found) if explain || self.expected.is_none() => {
                        if let Some(anomaly) = judged.anomaly {
                            writeln!(out, "  {anomaly}: {}", anomaly.about())?;
                        }
                        for line in explain::text(found, Some(&judged.names)).lines() {
                            writeln!(out, "  {line}")?;
                        }
                    }
                    Verdict::Violation(_) | Verdict::Linearizable => {}
                }
                let sentences = judged.explained.iter().filter(|_| explain);
                for line in sentences.flat_map(|(_, text)| text.lines()) {
                    writeln!(out, "  {line}")?;
                }
                for lint in &judged.lints {
                    writeln!(out, "  note: {lint}")?;
                }
            }
            Came::Typed(typed) => {
                let (path, seconds) = (&self.path, self.seconds);
                let line = typed.line(path, seconds);
                writeln!(out, "{:<13} {line}{surprise}", self.verdict())?;
                typed.print(out, explain, explain || self.expected.is_none())?;
            }
        }
        for note in &self.notes {
            writeln!(out, "  note: {note}")?;
        }
        Ok(())
    }
}

/// How many files came out how.
pub(super) fn summary(out: &mut impl Write, checked: &[Checked]) -> io::Result<()> {
    let count = |verdict| {
        checked
            .iter()
            .filter(|one| one.verdict() == verdict)
            .count()
    };
    let surprises = checked.iter().filter(|one| !one.as_expected()).count();
    write!(
        out,
        "{} files: {} linearizable, {} violation, {} unknown, {} malformed",
        checked.len(),
        count("linearizable"),
        count("violation"),
        count("unknown"),
        count("malformed"),
    )?;
    if count("refused") > 0 {
        write!(out, ", {} refused", count("refused"))?;
    }
    if checked.iter().any(|one| one.expected.is_some()) {
        write!(out, "; {surprises} not as their folder says")?;
    }
    writeln!(out)
}

impl Checked {
    /// As a test case: a failure where the exit code is 1, an error where nothing is proven.
    pub(super) fn case(&self) -> io::Result<report::Case> {
        let mut text = Vec::new();
        self.print(&mut text, true)?;
        Ok(report::Case {
            name: self.path.clone(),
            seconds: self.seconds,
            code: self.code(),
            said: self.verdict().to_owned(),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }
}
