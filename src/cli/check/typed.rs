//! A file of a data type beside the register and the list: judged, and told in the same shapes.

use std::io::{self, Write};

use checkers::linear::Options;
use checkers::types::check::{Report, Verdict, check};
use checkers::types::operation::Outcome;
use checkers::types::{Datum, Loaded};
use checkers::verdict::Exhausted;
use serde_json::json;

use super::judge::{Came, misfit, too_early, usage};
use super::{CheckArgs, Require};

/// What is left of a history that was judged.
pub(super) struct Typed {
    pub(super) report: Report,
    /// The data type, and which property the verdict is about.
    spec: &'static str,
    about: &'static str,
    /// Whether it lacks what it must show.
    pub(super) vacuous: bool,
}

/// Judges what was read.
pub(super) fn came_of(
    loaded: Loaded,
    args: &CheckArgs,
    options: Options,
    name: &str,
    notes: &mut Vec<String>,
) -> Came {
    let of = loaded.of;
    let as_asked = args.spec.as_deref().is_some_and(|spec| {
        let wanted = checkers::types::by_name(spec);
        wanted.is_some_and(|wanted| wanted.name() == of.name())
    });
    if let Some(misfit) = misfit(of.name(), args).filter(|_| !as_asked) {
        return Came::Refused(misfit);
    }
    if let Some(flag) = for_registers(args) {
        let why = format!(
            "{flag} is for registers and lists, and it is a history of {}",
            of.name()
        );
        return Came::Refused(usage(why));
    }
    if args.spec.is_none() {
        notes.push(format!(
            "{name}: judged as {} (--spec {})",
            of.name(),
            of.name()
        ));
    }
    notes.extend(loaded.notes);
    let pinned = loaded.budget.filter(|_| args.budget.is_none());
    let options = Options {
        budget: pinned.unwrap_or(options.budget),
        ..options
    };
    let mut report = check(of, &loaded.ops, &options);
    if let Some(first) = loaded.gap {
        report.behind_a_gap(first);
    }
    let succeeded = loaded
        .ops
        .iter()
        .any(|op| matches!(op.outcome, Outcome::Ok(_)));
    let holds = matches!(report.verdict, Verdict::Linearizable);
    if holds && !succeeded {
        notes.push(format!(
            "{name}: no operation succeeded, so it proves nothing"
        ));
    }
    let typed = Typed {
        report,
        spec: of.name(),
        about: of.about(),
        vacuous: holds && !succeeded && !args.require.is_empty(),
    };
    match loaded.early {
        Some(error) if holds => match too_early(&error) {
            Came::Malformed { reason, .. } => Came::Malformed {
                reason: format!("{reason}; what is before that holds"),
                ops: typed.report.ops,
                keys: typed.report.keys,
            },
            came => came,
        },
        Some(error) => {
            notes.push(error.to_string());
            Came::Typed(Box::new(typed))
        }
        None => Came::Typed(Box::new(typed)),
    }
}

/// A flag that asks for what is known of registers and lists only.
fn for_registers(args: &CheckArgs) -> Option<&'static str> {
    let more = args.require.iter().any(|what| *what != Require::Success);
    let given = [
        ("--initial", args.initial.is_some()),
        ("--strict", args.strict),
        ("--nil", args.nil.is_some()),
        ("--require of more than success", more),
    ];
    given
        .iter()
        .find(|(_, given)| *given)
        .map(|(flag, _)| *flag)
}

impl Typed {
    /// The members of its object.
    pub(super) fn json(&self, put: &mut dyn FnMut(&str, serde_json::Value)) {
        put("ops", json!(self.report.ops));
        put("keys", json!(self.report.keys));
        put("spec", json!(self.spec));
        put("algorithm", json!(self.spec));
        put("counterexample", json!([]));
        match &self.report.verdict {
            Verdict::Linearizable => {}
            Verdict::Violation(found) => {
                if let serde_json::Value::Object(members) = found.json() {
                    for (name, value) in members {
                        put(&name, value);
                    }
                }
            }
            Verdict::Unknown {
                exhausted,
                key,
                proven_to,
            } => put(
                "reason",
                json!({
                    "exhausted": exhausted,
                    "key": key.as_ref().map(Datum::json),
                    "proven_to": proven_to.checked_sub(1),
                    "blocking": [],
                }),
            ),
        }
        put("lints", json!([]));
    }

    /// What stands behind the verdict's word.
    pub(super) fn line(&self, path: &str, seconds: f64) -> String {
        let (ops, keys, spec) = (self.report.ops, self.report.keys, self.spec);
        format!("{path}  {ops} ops, {keys} keys, {seconds:.3} s, {spec}")
    }

    /// What proves it, and with `explain` what the verdict is about.
    pub(super) fn print(
        &self,
        out: &mut impl Write,
        explain: bool,
        evidence: bool,
    ) -> io::Result<()> {
        if explain {
            writeln!(out, "  {}: {}", self.spec, self.about)?;
        }
        match &self.report.verdict {
            Verdict::Linearizable => {}
            Verdict::Violation(found) if evidence => {
                for line in found.text().lines() {
                    writeln!(out, "  {line}")?;
                }
            }
            Verdict::Violation(_) => {}
            Verdict::Unknown {
                exhausted,
                proven_to,
                ..
            } => {
                let why = match exhausted {
                    Exhausted::Lost => "events are lost in a gap",
                    _ => "the budget ran out",
                };
                writeln!(out, "  {why}; what had ended before #{proven_to} holds")?;
            }
        }
        Ok(())
    }
}
