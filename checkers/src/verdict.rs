//! What a history proves, and nothing else: linearizable, a violation with its evidence, or unknown with its reason.

use serde::{Deserialize, Serialize};

use crate::history::{At, Call, Operation};
use crate::types;

/// What a history proves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// Some order of all operations explains every answer.
    Linearizable,
    /// No order does; a few operations prove it.
    Violation(Box<Counterexample>),
    /// A budget ran out first.
    Unknown(Reason),
}

impl Verdict {
    /// The verdict's name, as files, flags and screens print it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Violation(_) => "violation",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether it is [`Verdict::Linearizable`].
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self, Self::Linearizable)
    }
}

/// A few operations that no order explains: they are a violation even when nothing else is looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counterexample {
    /// The key on which it happened.
    pub key: String,
    /// The operations, in order of invocation.
    pub operations: Vec<Operation>,
    /// An order of all of them but the culprit that explains their answers, as operation ids.
    pub order: Vec<u64>,
    /// The operation that fits nowhere in that order, by its id.
    pub culprit: u64,
    /// Why, in sentences.
    pub why: Vec<String>,
    /// The index of the event with which the history stopped being linearizable.
    pub event: u64,
    /// Whether it stopped there at the latest: of some prefixes before it a budget did not suffice to say.
    #[serde(default, skip_serializing_if = "is_not")]
    pub at_the_latest: bool,
    /// Whether fewer operations may prove it: a budget did not suffice to shrink them to the end.
    #[serde(default, skip_serializing_if = "is_not")]
    pub unshrunk: bool,
    /// How old the culprit's answer was, where it is a read of something overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness: Option<Staleness>,
    /// The whole, where it is of another data type than register and list: `operations` is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<Box<types::Counterexample>>,
}

/// What is known of the answer that fits nowhere, whichever type it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The event index of its invocation.
    pub id: u64,
    /// The node that was asked or that answered.
    pub node: Option<u64>,
    /// When it was answered, on the recorder's clock; where it was not, when it was asked.
    pub answered_ns: u64,
    /// The log id of the answer.
    pub at: Option<At>,
    /// Whether it only looked.
    pub reads: bool,
}

impl Counterexample {
    /// The same with the event since which it is so, which is not exact where some prefixes before it are undecided.
    #[must_use]
    pub(crate) fn since(mut self, event: u64, exact: bool) -> Self {
        (self.event, self.at_the_latest) = (event, !exact);
        if !exact {
            self.why.push(format!(
                "It is so since event #{event} at the latest: whether it was before was not found out."
            ));
        }
        self
    }

    /// The operation that fits nowhere.
    #[must_use]
    pub fn culprit(&self) -> Option<&Operation> {
        self.operations.iter().find(|op| op.id == self.culprit)
    }

    /// Who answered it, and when.
    #[must_use]
    pub fn answered(&self) -> Option<Culprit> {
        if let Some(typed) = &self.typed {
            let op = typed.operations.iter().find(|op| op.id == self.culprit)?;
            return Some(Culprit {
                id: op.id,
                node: op.node,
                answered_ns: op.completed_ns.unwrap_or(op.invoked_ns),
                at: None,
                reads: types::operation::reads(op.act),
            });
        }
        self.culprit().map(|op| Culprit {
            id: op.id,
            node: op.node,
            answered_ns: op.completed_ns.unwrap_or(op.invoked_ns),
            at: op.at,
            reads: op.call == Call::Read,
        })
    }
}

impl From<types::Counterexample> for Counterexample {
    fn from(typed: types::Counterexample) -> Self {
        Self {
            key: typed.object(),
            culprit: typed.culprit,
            why: typed.why.clone(),
            event: typed.event,
            at_the_latest: typed.at_the_latest,
            unshrunk: typed.unshrunk,
            typed: Some(Box::new(typed)),
            ..Self::default()
        }
    }
}

impl From<types::check::Verdict> for Verdict {
    fn from(verdict: types::check::Verdict) -> Self {
        use types::check::Verdict;
        match verdict {
            Verdict::Linearizable => Self::Linearizable,
            Verdict::Violation(found) => Self::Violation(Box::new((*found).into())),
            Verdict::Unknown {
                exhausted,
                key,
                proven_to,
            } => Self::Unknown(Reason {
                exhausted,
                key: key.map_or_else(String::new, |key| key.to_string()),
                proven_to: proven_to.checked_sub(1),
                blocking: Vec::new(),
            }),
        }
    }
}

/// What need not be said.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_not(said: &bool) -> bool {
    !said
}

/// How old the answer of a stale read was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staleness {
    /// At least how long before the read's invocation the value had certainly been replaced.
    pub nanoseconds: u64,
    /// At least how many newer values had certainly been there by then.
    pub versions: u64,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What ran out.
    pub exhausted: Exhausted,
    /// The key whose check ran out.
    pub key: String,
    /// Everything up to and including this event is proven linearizable; `None`: not even the first event.
    pub proven_to: Option<u64>,
    /// The operations that were open there, which the search could not order.
    pub blocking: Vec<Operation>,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.exhausted {
            Exhausted::Configurations { budget } => {
                write!(f, "key {}: {budget} configurations ran out", self.key)?;
            }
            Exhausted::Memory { bytes } => {
                write!(f, "key {}: {bytes} bytes ran out", self.key)?;
            }
            Exhausted::Open { most } => write!(
                f,
                "key {}: more than {most} operations were open at once, which no budget changes",
                self.key
            )?,
            Exhausted::Worlds { most } => write!(
                f,
                "key {}: more than {most} states were possible at once, which no budget changes",
                self.key
            )?,
            Exhausted::Compared => write!(
                f,
                "key {}: a cas compared and failed, and does not say what it found, which only a check of the whole history decides",
                self.key
            )?,
            Exhausted::Lost => write!(
                f,
                "key {}: events are lost in a gap, and what came after it can't be told without them, which no budget changes",
                self.key
            )?,
        }
        match self.proven_to {
            Some(event) => write!(f, "; proven up to #{event}")?,
            None => write!(f, "; nothing proven")?,
        }
        if !self.blocking.is_empty() {
            write!(f, "; undecided among")?;
            for op in &self.blocking {
                write!(f, " #{}", op.id)?;
            }
        }
        Ok(())
    }
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exhausted {
    /// Configurations (states visited): the same everywhere, so that an unknown is reproducible.
    Configurations {
        /// How many were allowed.
        budget: u64,
    },
    /// Memory for configurations.
    Memory {
        /// How many bytes were allowed.
        bytes: u64,
    },
    /// Places for operations that are open at once on one key, while the history grows.
    Open {
        /// How many there are.
        most: u64,
    },
    /// Places for possible states of one key, while the history grows: some were dropped, and none of the others fits.
    Worlds {
        /// How many there are.
        most: u64,
    },
    /// Nothing ran out: a failed cas compared and does not say what it found, and whether there is a moment for it is not
    /// told while the history grows.
    Compared,
    /// Nothing ran out: events are lost in a gap, and what they said may be what is missing.
    Lost,
}

/// Which algorithm decided a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Zones and chains (Gibbons & Korach): unique values.
    Zones,
    /// Frontier search: any values.
    Frontier,
    /// Depth-first search (Wing & Gong, Lowe): any spec.
    DepthFirst,
}

impl Algorithm {
    /// Its name, as files, flags and screens print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zones => "zones",
            Self::Frontier => "frontier",
            Self::DepthFirst => "depth-first",
        }
    }
}
