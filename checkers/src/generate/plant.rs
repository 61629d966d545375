//! How a violation gets into a history that is otherwise true: one more client, on the first key, does a few things of
//! which one is a lie. The others see only what is so, and nothing that they do can make the lie true.

use std::collections::VecDeque;

use super::{Client, Generator, Recipe, UnknownName, produces};
use crate::history::{At, Call, EventKind, Outcome, Value};

/// A way to be not linearizable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A read finds what a completed write had replaced before the read began.
    StaleRead,
    /// A write that was acknowledged is never seen: later reads go on finding the value before.
    LostWrite,
    /// A read finds a value before anybody begins to write it.
    FutureRead,
    /// A read finds what a failed write would have written.
    AbortedRead,
    /// Two cas take away the same value.
    DoubleCas,
    /// A value is read again after it was deleted.
    ResurrectedDelete,
}

impl Violation {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::StaleRead,
        Self::LostWrite,
        Self::FutureRead,
        Self::AbortedRead,
        Self::DoubleCas,
        Self::ResurrectedDelete,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StaleRead => "stale-read",
            Self::LostWrite => "lost-write",
            Self::FutureRead => "future-read",
            Self::AbortedRead => "aborted-read",
            Self::DoubleCas => "double-cas",
            Self::ResurrectedDelete => "resurrected-delete",
        }
    }

    /// How many values of a domain it needs: one that comes when it must not, and mostly one that is there instead.
    pub(super) fn values(self) -> u32 {
        match self {
            Self::ResurrectedDelete => 1,
            _ => 2,
        }
    }

    /// What one more client does, one operation after the other: on one key that nobody else changes meanwhile, and
    /// where nobody else writes `a`. Each step is true but for the lie.
    fn script(self, planted: Planted) -> Vec<Step> {
        let mut script = match self {
            Self::StaleRead => vec![Step::Write(A), Step::Write(B), Step::Found(A)],
            Self::LostWrite => vec![
                Step::Write(A),
                Step::Read,
                Step::Lost(B),
                Step::Read,
                Step::Read,
            ],
            Self::FutureRead => vec![Step::Found(A), Step::Write(A)],
            Self::AbortedRead => vec![Step::Failed(A), Step::Found(A)],
            Self::DoubleCas => vec![Step::Write(A), Step::Cas(A, B), Step::Cas(A, C)],
            Self::ResurrectedDelete => vec![Step::Write(A), Step::Delete, Step::Found(A)],
        };
        // A value that repeats may be there already, and would be no lie.
        if planted == Planted::Among && matches!(self, Self::FutureRead | Self::AbortedRead) {
            script.insert(0, Step::Write(B));
        }
        script
    }
}

/// A step of a violation. Values by their place: the one that comes when it must not, and those that are there instead.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A write, as it should be.
    Write(usize),
    /// A delete, as it should be.
    Delete,
    /// A read, as it should be.
    Read,
    /// A cas that claims success, whatever it found.
    Cas(usize, usize),
    /// A read that finds this, whatever is there.
    Found(usize),
    /// A write that claims success and never takes effect.
    Lost(usize),
    /// A write that fails, as it should be.
    Failed(usize),
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

impl std::str::FromStr for Violation {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        // What this kind was called before: recorded histories say how they were made.
        let text = if text == "dirty-read" {
            "aborted-read"
        } else {
            text
        };
        let named = Self::ALL.into_iter().find(|kind| kind.name() == text);
        named.ok_or_else(|| UnknownName {
            name: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// Whose values a planted violation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Values that other operations write, too, before and after.
    Among,
    /// Values that nobody else writes.
    Apart,
}

/// A violation on its way into the first key.
#[derive(Debug)]
pub(super) struct Plant {
    /// The values of its steps.
    values: [Value; 3],
    planted: Planted,
    /// What is still to be done.
    steps: VecDeque<Step>,
    /// The open step's outcome.
    open: Option<(Outcome, Option<At>)>,
    /// Where the lying value stands in the log.
    written: At,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not yet: nobody's write of the value may become unknown.
    Waiting,
    /// Nobody begins to write the value, until nobody has such a write open.
    Draining,
    /// The steps are done; nobody else changes the key.
    Running,
}

/// The first value of a violation that has values of its own: far from all others.
const APART: Value = 1 << 40;

impl Plant {
    /// The violation of a recipe, where it has one.
    pub(super) fn of(recipe: &Recipe) -> Option<Self> {
        let planted = recipe.planted();
        recipe.violate.map(|kind| Self {
            values: match planted {
                Planted::Apart => [APART, APART + 1, APART + 2],
                Planted::Among => [1, 2, 2],
            },
            planted,
            steps: kind.script(planted).into(),
            open: None,
            written: At { term: 1, index: 0 },
            stage: Stage::Waiting,
        })
    }
}

impl Generator {
    /// The value that must not be left unknown on this key, while a violation with it is to come.
    pub(super) fn reserved(&self, key: usize) -> Option<Option<Value>> {
        let plant = self.plant.as_ref()?;
        (key == 0 && plant.planted == Planted::Among).then_some(Some(plant.values[A]))
    }

    /// The value that nobody else may begin to write on this key.
    pub(super) fn drained(&self, key: usize) -> Option<Value> {
        let plant = self.plant.as_ref()?;
        // What somebody wrote long ago is not of the future.
        let never = self.recipe.violate == Some(Violation::FutureRead);
        let now = plant.stage != Stage::Waiting || never;
        let applies = key == 0 && plant.planted == Planted::Among && now;
        applies.then_some(plant.values[A])
    }

    /// Whether a change of this key must wait: while a violation is put in, nobody else changes the key.
    pub(super) fn held(&self, key: usize, call: Call) -> bool {
        let running = |plant: &Plant| plant.stage == Stage::Running;
        key == 0 && call != Call::Read && self.plant.as_ref().is_some_and(running)
    }

    /// The next event of the violation.
    pub(super) fn planting(&mut self) {
        let Some(mut plant) = self.plant.take() else {
            return;
        };
        let id = self.recipe.clients;
        if plant.stage == Stage::Waiting {
            plant.stage = Stage::Draining;
        }
        if plant.stage == Stage::Draining {
            let writes_it =
                |client: &Client| client.key == 0 && produces(client.call) == Some(plant.values[A]);
            if plant.planted == Planted::Apart || !self.clients.iter().any(writes_it) {
                plant.stage = Stage::Running;
            }
        } else if let Some((outcome, at)) = plant.open.take() {
            self.complete(id, outcome, at);
            if plant.steps.is_empty() {
                return;
            }
        } else if let Some(step) = plant.steps.pop_front() {
            let (call, outcome, at) = self.perform(step, &mut plant);
            let key = self.keys[0].name.clone();
            self.emit(id, EventKind::Invoke { key, call });
            plant.open = Some((outcome, at));
        }
        self.plant = Some(plant);
    }

    /// Does a step: what is asked, the answer, and its place in the log. A stale answer names the place where it was
    /// once true.
    fn perform(&mut self, step: Step, plant: &mut Plant) -> (Call, Outcome, Option<At>) {
        let value = |place: usize| plant.values[place];
        let ok = Outcome::Ok(None);
        let (call, outcome) = match step {
            Step::Write(place) => {
                let call = Call::Write(value(place));
                self.apply(0, call);
                (call, ok)
            }
            Step::Delete => {
                self.apply(0, Call::Delete);
                (Call::Delete, ok)
            }
            Step::Cas(old, new) => {
                let (old, new) = (value(old), value(new));
                self.apply(0, Call::Cas { old, new });
                (Call::Cas { old, new }, ok)
            }
            Step::Read => (Call::Read, self.apply(0, Call::Read)),
            Step::Found(place) => (Call::Read, Outcome::Ok(Some(value(place)))),
            Step::Lost(place) => (Call::Write(value(place)), ok),
            Step::Failed(place) => (Call::Write(value(place)), Outcome::Failed),
        };
        let now = At {
            term: 1,
            index: self.log,
        };
        // What was deleted comes back in a state behind the delete; what is stale is from one before it.
        let late = self.recipe.violate != Some(Violation::ResurrectedDelete);
        let at = match step {
            Step::Write(A) => {
                plant.written = now;
                Some(now)
            }
            Step::Found(A) if late && plant.written.index > 0 => Some(plant.written),
            Step::Failed(_) => None,
            Step::Lost(_) => {
                // Its place in the log is another entry's now: whoever answers later knows the log up to there.
                self.log += 1;
                Some(At {
                    index: self.log,
                    ..now
                })
            }
            _ => Some(now),
        };
        (call, outcome, at)
    }
}
