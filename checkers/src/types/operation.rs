//! Untyped events, paired into operations.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::{ALL, DataType, Datum, act_of};
use crate::history::ClientId;

/// The word that a type has for an operation: the first of those in [`DataType::operations`].
pub type Act = &'static str;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of which object; `None` where there is but one.
    pub key: Option<Datum>,
    /// What, in the type's word.
    pub act: Act,
    /// With what.
    pub with: Datum,
}

impl Asked {
    /// Whether it only looks: without an answer it had no effect.
    #[must_use]
    pub fn reads(&self) -> bool {
        reads(self.act)
    }

    /// Why this cannot be the answer to it; `None` where it can.
    #[must_use]
    pub fn misfit(&self, of: &dyn DataType, answer: &Datum) -> Option<String> {
        of.misfit(&Operation {
            id: 0,
            client: 0,
            key: self.key.clone(),
            f: self.act.to_owned(),
            act: self.act,
            asked: self.with.clone(),
            outcome: Outcome::Ok(answer.clone()),
            completed: Some(1),
            invoked_ns: 0,
            completed_ns: None,
            node: None,
            error: None,
        })
    }
}

/// Whether an operation of this name only looks.
#[must_use]
pub fn reads(act: &str) -> bool {
    matches!(act, "read" | "final")
}

/// An invocation, and the completion that answers it if one came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The event index of the invocation.
    pub id: u64,
    /// Who asked.
    pub client: ClientId,
    /// Of which object; `None` where there is but one.
    pub key: Option<Datum>,
    /// What was asked, in the file's own word.
    pub f: String,
    /// What was asked, in the type's word.
    #[serde(deserialize_with = "known_act")]
    pub act: Act,
    /// With what.
    pub asked: Datum,
    /// How it ended; [`Outcome::Unknown`] also while it is open.
    pub outcome: Outcome,
    /// The event index of the completion, where one came.
    pub completed: Option<u64>,
    /// The recorder's clock at the invocation.
    pub invoked_ns: u64,
    /// The recorder's clock at the completion.
    pub completed_ns: Option<u64>,
    /// The node that was asked, where the recorder knows.
    pub node: Option<u64>,
    /// Why it failed or is unknown, in the client's words.
    pub error: Option<String>,
}

/// A word that some type has for an operation.
fn known_act<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Act, D::Error> {
    let said = String::deserialize(deserializer)?;
    let acts = ALL.iter().flat_map(|of| of.operations());
    let known = acts.map(|words| words[0]).find(|act| *act == said);
    known.ok_or_else(|| serde::de::Error::custom(format!("{said:?} is no operation of any type")))
}

/// How an operation ended, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took effect, once, between its invocation and its completion, and this was the answer.
    Ok(Datum),
    /// It never took effect and never will.
    Failed,
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Unknown,
}

/// The end of an operation that has none.
pub(crate) const OPEN: u64 = u64::MAX;

impl Operation {
    /// The event by which it had certainly taken effect; the end of time where it is unknown.
    pub(crate) fn end(&self) -> u64 {
        match self.outcome {
            Outcome::Ok(_) => self.completed.unwrap_or(OPEN),
            Outcome::Failed | Outcome::Unknown => OPEN,
        }
    }

    /// Its answer, where it is ok.
    #[must_use]
    pub fn answer(&self) -> Option<&Datum> {
        match &self.outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    /// Whether it never took effect.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.outcome == Outcome::Failed
    }

    /// What it asked and what came of it, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = self.f.clone();
        if !self.asked.is_nil() {
            text = format!("{text} {}", self.asked);
        }
        match &self.outcome {
            Outcome::Ok(answer) if answer.is_nil() || *answer == self.asked => text,
            Outcome::Ok(answer) => format!("{text} -> {answer}"),
            Outcome::Failed => format!("{text} (failed)"),
            Outcome::Unknown => format!("{text} (unknown)"),
        }
    }

    /// As JSON, in the shape of a register's operations.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let call = match &self.asked {
            Datum::Nil => json!(self.f),
            asked => json!({ &self.f: asked.json() }),
        };
        let outcome = match &self.outcome {
            Outcome::Ok(answer) => json!({ "ok": answer.json() }),
            Outcome::Failed => json!("failed"),
            Outcome::Unknown => json!("unknown"),
        };
        json!({
            "id": self.id,
            "client": self.client,
            "key": self.key.as_ref().map(Datum::json),
            "call": call,
            "outcome": outcome,
            "invoked": self.id,
            "completed": self.completed,
            "invoked_ns": self.invoked_ns,
            "completed_ns": self.completed_ns,
            "node": self.node,
            "error": self.error,
        })
    }

    /// The same before any event behind this one has come.
    pub(crate) fn as_of(&self, event: u64) -> Option<Self> {
        let mut op = self.clone();
        if op.id > event {
            return None;
        }
        if op.completed.is_some_and(|completed| completed > event) {
            (op.outcome, op.completed, op.completed_ns) = (Outcome::Unknown, None, None);
        }
        Some(op)
    }
}

/// An event as a file or a generator has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number: they rise.
    pub index: u64,
    /// The recorder's clock.
    pub time_ns: u64,
    /// Who did it.
    pub client: ClientId,
    /// Whether it began, or how it ended.
    pub phase: Phase,
    /// What is asked; a completion may leave it out.
    pub f: String,
    /// Of which object.
    pub key: Option<Datum>,
    /// With what, or what was the answer.
    pub value: Datum,
    /// The node that was asked.
    pub node: Option<u64>,
    /// Why it failed or is unknown.
    pub error: Option<String>,
}

/// As an event of a history, beside those of registers and lists.
impl From<Event> for crate::history::Event {
    fn from(event: Event) -> Self {
        Self {
            index: event.index,
            time_ns: event.time_ns,
            client: Some(event.client),
            node: event.node,
            kind: crate::history::EventKind::Typed(Box::new(event)),
        }
    }
}

/// Whether an operation begins, or how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It begins.
    Invoke,
    /// It took effect.
    Ok,
    /// It never took effect.
    Fail,
    /// Nobody knows.
    Info,
}

impl Phase {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

/// A history that was read, and what is to be said about it.
pub struct Loaded {
    /// What it is a history of.
    pub of: &'static dyn DataType,
    /// Its operations, in order of invocation.
    pub ops: Vec<Operation>,
    /// What was assumed, as sentences.
    pub notes: Vec<String>,
    /// The budget that its header pins.
    pub budget: Option<u64>,
    /// The first event that is lost, where some are: what is here are those before it.
    pub gap: Option<u64>,
    /// Why there is no more of it, where its bytes ended before they should.
    pub early: Option<crate::format::Error>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Loaded");
        shown
            .field("of", &self.of.name())
            .field("ops", &self.ops)
            .finish()
    }
}

/// Pairs events into operations.
pub struct Pairing {
    of: &'static dyn DataType,
    ops: Vec<Operation>,
    open: FxHashMap<ClientId, usize>,
}

impl Pairing {
    /// Of this type.
    #[must_use]
    pub fn new(of: &'static dyn DataType) -> Self {
        Self {
            of,
            ops: Vec::new(),
            open: FxHashMap::default(),
        }
    }

    /// What there is so far.
    #[must_use]
    pub fn ops(&self) -> &[Operation] {
        &self.ops
    }

    /// All of them.
    #[must_use]
    pub fn finish(self) -> Vec<Operation> {
        self.ops
    }

    /// Takes the next event; gives the place of its operation among all.
    ///
    /// # Errors
    /// When it cannot follow those before it, or is none of this type's, in words.
    pub fn take(&mut self, event: Event) -> Result<usize, String> {
        let (client, of) = (event.client, self.of);
        if event.phase == Phase::Invoke {
            let f = &event.f;
            let act = act_of(of, f).ok_or_else(|| {
                let known: Vec<&str> = of.operations().iter().map(|words| words[0]).collect();
                let known = known.join(", ");
                format!("the f {f:?} is none of a {}: {known} are", of.name())
            })?;
            if self.open.contains_key(&client) {
                return Err(format!(
                    "client {client} asks for {f} while it has an operation open"
                ));
            }
            self.open.insert(client, self.ops.len());
            self.ops.push(Operation {
                id: event.index,
                client,
                key: event.key,
                f: event.f,
                act,
                asked: event.value,
                outcome: Outcome::Unknown,
                completed: None,
                invoked_ns: event.time_ns,
                completed_ns: None,
                node: event.node,
                error: None,
            });
            let at = self.ops.len() - 1;
            return of.misfit(&self.ops[at]).map_or(Ok(at), Err);
        }
        let Some(at) = self.open.remove(&client) else {
            return Err(format!(
                "client {client} completes an operation but has none open"
            ));
        };
        let op = &mut self.ops[at];
        if !event.f.is_empty() && act_of(of, &event.f) != Some(op.act) {
            return Err(format!(
                "the completion is of a {}, but client {client} asked for a {}",
                event.f, op.f
            ));
        }
        if let (Some(said), Some(asked)) = (&event.key, &op.key)
            && said != asked
        {
            return Err(format!(
                "the completion is of key {said}, but client {client} asked for key {asked}"
            ));
        }
        op.outcome = match event.phase {
            Phase::Ok => Outcome::Ok(event.value),
            Phase::Fail => Outcome::Failed,
            Phase::Info | Phase::Invoke => Outcome::Unknown,
        };
        op.completed = Some(event.index);
        op.completed_ns = Some(event.time_ns);
        op.node = event.node.or(op.node);
        op.error = event.error;
        of.misfit(op).map_or(Ok(at), Err)
    }
}
