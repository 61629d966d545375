//! Steps: what is done one after the other, each when something has been seen, as data.
//!
//! Where an episode says when a fault begins and how long it lasts, steps say in which order things happen: put a fault
//! in, let a part of what is held out, ask a node for one operation, take a fault out. They are how a bug is shown that
//! wants all of it in one order.
//!
//! Roles are those of one instant: of the first step that names one, until a step looks who leads anew. So *the leader*
//! is the same node before and after it has lost the leadership.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::MOST_PLANNED_MS;
use super::who::Translate;
use super::{Fault, Impossible, Need, NodeId, NodeSelector, NodeSet, Role, Roles};

/// One step. It does one thing, or nothing but wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is called, so that others can name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What has to be seen first; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// How long that may take; absent: 5 s. After that the steps are over, and the run has proven nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// How long after that, or after the step before, it is done.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub after_ms: u64,
    /// Looks who leads: the roles of this and of later steps are those of now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub look: bool,
    /// Puts these faults in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put: Vec<Fault<Role>>,
    /// Takes the faults of the step of that name out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<String>,
    /// Lets out a part of what the faults of a step hold back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_out: Option<LetOut>,
    /// Asks for an operation, and does not wait for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// Goes back to an earlier step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Somebody leads in a later term than whoever led when the roles were those of now.
    LeaderChange,
    /// One of these says that it leads.
    Leads(NodeSet),
    /// One of these has acknowledged a write since the step before was done.
    Acknowledged(NodeSet),
    /// What the step of that name asked for has been done.
    Ok(String),
    /// It has ended, however.
    Ended(String),
    /// Every byte of it has been given to the node.
    Sent(String),
}

/// A part of what is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetOut {
    /// The step whose faults hold it.
    pub of: String,
    /// The next so many chunks, as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<u64>,
    /// What came before the step of that name began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A read.
    Read,
    /// A write of a value that nobody else writes.
    Write,
    /// A delete.
    Delete,
}

impl Operation {
    /// As a workload's mix names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Delete => "delete",
        }
    }
}

/// An operation that is aimed at a node, whatever that node does: one that stands is asked, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// What.
    pub operation: Operation,
    /// Of which key: one of the workload's.
    pub key: String,
    /// At which node; of several one after the other, where it is asked for again.
    pub at: NodeSet,
    /// How long it waits for an answer; absent: 1 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Asks again until it has been done: each time it is another operation, of another client, and a write has another
    /// value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub until_ok: bool,
}

/// A way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// To the step of that name.
    pub from: String,
    /// So many times; after that it goes on.
    pub times: u32,
}

/// How long a condition may take where a step does not say.
const WITHIN_MS: u64 = 5_000;
/// An operation waits no longer than this for an answer.
const MOST_DEADLINE_MS: u64 = 60_000;
/// More rounds than any run has time for.
const MOST_ROUNDS: u32 = 100_000;
/// More steps than anybody writes.
const MOST_STEPS: usize = 1_000;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_nothing(ms: &u64) -> bool {
    *ms == 0
}

/// What is wrong with steps, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct WrongStep {
    /// Which of them, from 0.
    pub step: usize,
    /// Which of its words.
    pub field: &'static str,
    /// What is wrong.
    pub why: String,
}

impl Step {
    /// How long its condition may take.
    #[must_use]
    pub fn within_ms(&self) -> u64 {
        self.within_ms.unwrap_or(WITHIN_MS)
    }

    /// The words of what it does, as its file has them.
    fn does(&self) -> Vec<&'static str> {
        let words = [
            ("look", self.look),
            ("put", !self.put.is_empty()),
            ("take", self.take.is_some()),
            ("let_out", self.let_out.is_some()),
            ("ask", self.ask.is_some()),
            ("again", self.again.is_some()),
        ];
        let said = words.into_iter().filter(|(_, said)| *said);
        said.map(|(word, _)| word).collect()
    }

    /// Whether it depends on who leads, or led.
    #[must_use]
    pub fn is_for_a_role(&self) -> bool {
        let role = |set: &NodeSet| set_is_for_a_role(set);
        let waits = match &self.when {
            Some(Condition::LeaderChange | Condition::Leads(_)) => true,
            Some(Condition::Acknowledged(set)) => role(set),
            _ => false,
        };
        let faults = self.put.iter().any(Fault::is_for_a_role);
        waits || faults || self.look || self.ask.as_ref().is_some_and(|ask| role(&ask.at))
    }

    /// What it needs of a target.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let kinds = self.put.iter().map(|fault| fault.kind().need());
        let leader = self.is_for_a_role().then_some(Need::Leader);
        kinds.chain(leader).collect()
    }

    /// The steps that it names: by which of its words.
    fn names(&self) -> Vec<(&'static str, &str)> {
        let when = match &self.when {
            Some(Condition::Ok(name) | Condition::Ended(name) | Condition::Sent(name)) => {
                Some(("when", name))
            }
            _ => None,
        };
        let out = self.let_out.as_ref();
        let named = [
            when,
            self.take.as_ref().map(|name| ("take", name)),
            out.map(|out| ("let_out", &out.of)),
            out.and_then(|out| Some(("let_out", out.before.as_ref()?))),
            self.again.as_ref().map(|again| ("again", &again.from)),
        ];
        let named = named.into_iter().flatten();
        named.map(|(word, name)| (word, name.as_str())).collect()
    }

    fn check(&self, nodes: NodeId) -> Result<(), (&'static str, String)> {
        if let [one, other, ..] = self.does()[..] {
            return Err((other, format!("{one} and {other}: a step does one thing")));
        }
        for (field, ms) in [
            ("within_ms", self.within_ms.unwrap_or(1)),
            ("after_ms", self.after_ms),
        ] {
            if ms > MOST_PLANNED_MS {
                let why = format!("{field} = {ms}: there can be {MOST_PLANNED_MS} at most");
                return Err((field, why));
            }
        }
        if self.within_ms == Some(0) {
            return Err((
                "within_ms",
                "within_ms = 0: nothing is seen by then".to_owned(),
            ));
        }
        if self.within_ms.is_some() && self.when.is_none() && !self.is_for_a_role() {
            let why = "without effect: within_ms, and nothing is waited for: when says for what";
            return Err(("within_ms", why.to_owned()));
        }
        for fault in &self.put {
            let checked = fault.check_for(nodes);
            checked.map_err(|wrong| ("put", format!("{}: {wrong}", fault.kind())))?;
        }
        let known = |set: &NodeSet| resolve(set, &(1..=nodes).collect::<Vec<_>>(), Some(1));
        if let Some(Condition::Leads(set) | Condition::Acknowledged(set)) = &self.when {
            known(set).map_err(|why| ("when", why.to_string()))?;
        }
        if let Some(ask) = &self.ask {
            known(&ask.at).map_err(|why| ("ask", why.to_string()))?;
            if !(1..=MOST_DEADLINE_MS).contains(&ask.deadline_ms.unwrap_or(1)) {
                let why = format!("deadline_ms: there can be 1 to {MOST_DEADLINE_MS}");
                return Err(("ask", why));
            }
        }
        if let Some(out) = &self.let_out
            && out.chunks.is_some() == out.before.is_some()
        {
            let why = "let_out: either chunks or before says how much";
            return Err(("let_out", why.to_owned()));
        }
        if self
            .let_out
            .as_ref()
            .is_some_and(|out| out.chunks == Some(0))
        {
            return Err(("let_out", "without effect: chunks = 0".to_owned()));
        }
        match &self.again {
            Some(again) if !(1..=MOST_ROUNDS).contains(&again.times) => {
                Err(("again", format!("times: there can be 1 to {MOST_ROUNDS}")))
            }
            _ => Ok(()),
        }
    }
}

fn set_is_for_a_role(set: &NodeSet) -> bool {
    let role = |who: &NodeSelector| matches!(who, NodeSelector::Leader | NodeSelector::Follower(_));
    match set {
        NodeSet::All => false,
        NodeSet::Nodes(these) => these.iter().any(role),
        _ => true,
    }
}

/// The nodes that a set means, in the order of their ids, where this one leads.
///
/// # Errors
/// Where nobody leads and that matters, or there is no such node.
pub fn resolve(
    set: &NodeSet,
    nodes: &[NodeId],
    leader: Option<NodeId>,
) -> Result<Vec<NodeId>, Impossible> {
    let newcomer = None;
    let mut roles = Roles {
        nodes,
        leader,
        newcomer,
    };
    roles.many(set)
}

/// Whether steps make sense, each by itself and one after the other, with so many nodes.
///
/// # Errors
/// What is wrong first.
pub fn check(steps: &[Step], nodes: NodeId) -> Result<(), WrongStep> {
    let wrong = |step, field, why| Err(WrongStep { step, field, why });
    if steps.len() > MOST_STEPS {
        let why = format!("{} steps: there can be {MOST_STEPS}", steps.len());
        return wrong(MOST_STEPS, "name", why);
    }
    let mut known: BTreeMap<&str, &Step> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let named = step.name.as_deref();
        let called = named.map_or_else(|| format!("step {}", at + 1), |name| format!("{name:?}"));
        if let Err((field, why)) = step.check(nodes) {
            return wrong(at, field, format!("{called}: {why}"));
        }
        for (field, name) in step.names() {
            let Some(other) = known.get(name) else {
                let why = format!("{called}: no step before it is called {name:?}");
                return wrong(at, field, why);
            };
            let fits = match field {
                "take" => !other.put.is_empty(),
                "let_out" if step.let_out.as_ref().is_some_and(|out| out.of == name) => {
                    let held = |fault: &Fault<Role>| matches!(fault, Fault::HoldBack { .. });
                    other.put.iter().any(held)
                }
                "when" => other.ask.is_some(),
                _ => true,
            };
            if !fits {
                let what = match field {
                    "take" => "puts no fault in",
                    "let_out" => "holds nothing back",
                    _ => "asks for nothing",
                };
                return wrong(at, field, format!("{called}: {name:?} {what}"));
            }
        }
        if let Some(name) = named
            && known.insert(name, step).is_some()
        {
            let why = format!("two steps are called {name:?}");
            return wrong(at, "name", why);
        }
    }
    Ok(())
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::LeaderChange => write!(f, "another leader"),
            Condition::Leads(set) => write!(f, "a leader among {set}"),
            Condition::Acknowledged(set) => write!(f, "a write that one of {set} acknowledges"),
            Condition::Ok(name) => write!(f, "“{name}” to be done"),
            Condition::Ended(name) => write!(f, "the end of “{name}”"),
            Condition::Sent(name) => write!(f, "“{name}” to be sent"),
        }
    }
}

impl fmt::Display for Step {
    /// What it does, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        if let Some(ask) = &self.ask {
            let (operation, key) = (ask.operation.name(), &ask.key);
            return write!(f, "{operation} {key} at {}", ask.at);
        }
        if let Some(out) = &self.let_out {
            return match (&out.chunks, &out.before) {
                (Some(chunks), _) => write!(f, "let {chunks} chunks out of “{}”", out.of),
                (_, Some(before)) => {
                    write!(f, "let out of “{}” what came before “{before}”", out.of)
                }
                _ => Ok(()),
            };
        }
        if let Some(name) = &self.take {
            return write!(f, "take “{name}” out");
        }
        if let Some(Again { from, times }) = &self.again {
            return write!(f, "again from “{from}”, {times} times");
        }
        if self.look {
            return write!(f, "look who leads");
        }
        match &self.put[..] {
            [] => write!(f, "wait"),
            faults => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                write!(f, "{}", faults.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<Step> {
        #[derive(Deserialize)]
        struct File {
            steps: Vec<Step>,
        }
        let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        file.steps
    }

    const WHOLE: &str = r#"
        [[steps]]
        name = "old"
        ask = { operation = "write", key = "k1", at = "leader" }
        [[steps]]
        name = "held"
        when = { ok = "old" }
        after_ms = 400
        put = [{ fault = "hold-back", from = "leader", to = "follower 0", dialled_by = "follower 0" }]
        [[steps]]
        name = "stands"
        put = [{ fault = "pause", who = "leader" }]
        [[steps]]
        when = { acknowledged = ["follower 0", "follower 1"] }
        let_out = { of = "held", before = "stands" }
        [[steps]]
        let_out = { of = "held", chunks = 1 }
        [[steps]]
        take = "stands"
        [[steps]]
        when = "leader-change"
        again = { from = "held", times = 3 }
    "#;

    #[test]
    fn steps_are_read_as_they_are_written_and_told_in_words() {
        let read = steps(WHOLE);
        assert_eq!(check(&read, 3), Ok(()));
        let told: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "old: write k1 at leader",
                "held: hold back leader → follower 0 where follower 0 dialled",
                "stands: pause leader",
                "let out of “held” what came before “stands”",
                "let 1 chunks out of “held”",
                "take “stands” out",
                "again from “held”, 3 times",
            ]
        );
        for step in &read {
            let text = toml::to_string(step).unwrap();
            assert_eq!(toml::from_str::<Step>(&text).unwrap(), *step, "{text}");
        }
        let needs: Vec<Need> = read.iter().flat_map(Step::needs).collect();
        assert!(needs.contains(&Need::Leader) && needs.contains(&Need::Links));
    }

    #[test]
    fn what_makes_no_sense_names_its_step_and_its_word() {
        for (right, wrong, step, word, why) in [
            (
                "take = \"stands\"",
                "take = \"stand\"",
                5,
                "take",
                "no step before it",
            ),
            (
                "take = \"stands\"",
                "take = \"old\"",
                5,
                "take",
                "puts no fault in",
            ),
            (
                "of = \"held\", chunks",
                "of = \"stands\", chunks",
                4,
                "let_out",
                "holds nothing back",
            ),
            ("chunks = 1", "chunks = 0", 4, "let_out", "without effect"),
            (
                "chunks = 1",
                "chunks = 1, before = \"old\"",
                4,
                "let_out",
                "either chunks or before",
            ),
            (
                "{ ok = \"old\" }",
                "{ ok = \"held\" }",
                1,
                "when",
                "no step before it",
            ),
            (
                "name = \"stands\"",
                "name = \"held\"",
                2,
                "name",
                "two steps are called",
            ),
            ("times = 3", "times = 0", 6, "again", "1 to"),
            (
                "after_ms = 400",
                "after_ms = 400\nlook = true",
                1,
                "put",
                "one thing",
            ),
            (
                "dialled_by = \"follower 0\"",
                "dialled_by = \"follower 1\"",
                1,
                "put",
                "neither",
            ),
            (
                "key = \"k1\", at = \"leader\"",
                "key = \"k1\", at = [\"n7\"]",
                0,
                "ask",
                "n7",
            ),
        ] {
            assert!(WHOLE.contains(right), "{right}");
            let read = steps(&WHOLE.replacen(right, wrong, 1));
            let refused = check(&read, 3).expect_err(wrong);
            assert_eq!(
                (refused.step, refused.field),
                (step, word),
                "{wrong}: {refused}"
            );
            assert!(refused.why.contains(why), "{wrong}: {refused}");
        }
    }
}
