//! Synthetic histories: linearizable by construction, or with one violation of a known kind put in.
//!
//! A real register answers, each operation at one moment between its begin and its end; every client is always busy,
//! so as many operations overlap as there are clients. The same [`Recipe`] gives the same events on every machine.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::history::{At, Call, ClientId, Event, EventKind, Header, Outcome, Value};

/// What a synthetic history looks like. Fractions are of all operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Operations, not counting those of the violation.
    pub ops: u64,
    /// Clients, all of them always busy.
    pub clients: u64,
    /// Keys.
    pub keys: u64,
    /// The fraction of writes, cas and deletes whose outcome stays unknown for ever.
    pub pending: f64,
    /// The fraction of operations that fail.
    pub failed: f64,
    /// The fraction of cas.
    pub cas: f64,
    /// The fraction of deletes.
    pub delete: f64,
    /// The fraction of reads.
    pub read: f64,
    /// What is written.
    pub values: Domain,
    /// The violation to put in, half way.
    pub violate: Option<Violation>,
    /// Everything random comes from here.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            ops: 1_000,
            clients: 5,
            keys: 1,
            pending: 0.0,
            failed: 0.0,
            cas: 0.0,
            delete: 0.0,
            read: 0.5,
            values: Domain::Unique,
            violate: None,
            seed: 0,
        }
    }
}

impl Recipe {
    /// The header of the history: what it takes to make it again.
    #[must_use]
    pub fn header(&self) -> Header {
        let mut header = Header::register(self.seed);
        let note = format!(
            "gen --ops {} --clients {} --keys {} --pending {} --failed {} --cas {} --delete {} --values {}{}",
            self.ops,
            self.clients,
            self.keys,
            self.pending,
            self.failed,
            self.cas,
            self.delete,
            self.values,
            self.violate
                .map(|kind| format!(" --violate {}", kind.name()))
                .unwrap_or_default()
        );
        header.extra.insert("made_by".to_owned(), note.into());
        if let Some(kind) = self.violate {
            let about = match self.planted() {
                Planted::Among => "with values of the domain, which repeat",
                Planted::Apart => "with values that are written nowhere else",
            };
            let note = format!("{} on k0, {about}", kind.name());
            header.extra.insert("planted".to_owned(), note.into());
        }
        header
    }

    /// Whose values the violation has. A domain of one value has no room for most of them.
    #[must_use]
    pub fn planted(&self) -> Planted {
        match (self.values, self.violate) {
            (Domain::Small(n), Some(kind)) if n >= kind.values() => Planted::Among,
            _ => Planted::Apart,
        }
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

/// The values that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Each write has a value of its own.
    Unique,
    /// 1 to this.
    Small(u32),
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unique => write!(f, "unique"),
            Self::Small(n) => write!(f, "small:{n}"),
        }
    }
}

impl std::str::FromStr for Domain {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let small = text.strip_prefix("small:").and_then(|n| n.parse().ok());
        match (text, small) {
            ("unique", _) => Ok(Self::Unique),
            (_, Some(n)) if n > 0 => Ok(Self::Small(n)),
            _ => Err(UnknownName {
                name: text.to_owned(),
                known: "unique, small:N".to_owned(),
            }),
        }
    }
}

/// A name that stands for nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not known; known: {known}")]
pub struct UnknownName {
    /// What was given.
    pub name: String,
    /// What could have been.
    pub known: String,
}

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
    DirtyRead,
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
        Self::DirtyRead,
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
            Self::DirtyRead => "dirty-read",
            Self::DoubleCas => "double-cas",
            Self::ResurrectedDelete => "resurrected-delete",
        }
    }

    /// How many values of a domain it needs: one that comes when it must not, and mostly one that is there instead.
    fn values(self) -> u32 {
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
            Self::DirtyRead => vec![Step::Failed(A), Step::Found(A)],
            Self::DoubleCas => vec![Step::Write(A), Step::Cas(A, B), Step::Cas(A, C)],
            Self::ResurrectedDelete => vec![Step::Write(A), Step::Delete, Step::Found(A)],
        };
        // A value that repeats may be there already, and would be no lie.
        if planted == Planted::Among && matches!(self, Self::FutureRead | Self::DirtyRead) {
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
        let named = Self::ALL.into_iter().find(|kind| kind.name() == text);
        named.ok_or_else(|| UnknownName {
            name: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// The events of a recipe, one by one.
#[derive(Debug)]
pub struct Generator {
    recipe: Recipe,
    rng: ChaCha8Rng,
    keys: Vec<Cell>,
    clients: Vec<Client>,
    ghosts: Vec<Ghost>,
    out: VecDeque<Event>,
    begun: u64,
    events: u64,
    time_ns: u64,
    next_client: ClientId,
    next_value: Value,
    log: u64,
    plant: Option<Plant>,
}

/// A violation on its way into the first key.
#[derive(Debug)]
struct Plant {
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

/// A key and what it holds.
#[derive(Debug)]
struct Cell {
    name: String,
    value: Option<Value>,
}

/// A client with its open operation.
#[derive(Debug)]
struct Client {
    id: ClientId,
    key: usize,
    call: Call,
    /// What it will be told, once it was applied.
    answer: Option<(Outcome, At)>,
}

/// An operation whose client is gone, which may still take effect.
#[derive(Debug)]
struct Ghost {
    key: usize,
    call: Call,
}

/// The first value of a violation that has values of its own: far from all others.
const APART: Value = 1 << 40;

impl Generator {
    /// Begins.
    #[must_use]
    pub fn new(recipe: Recipe) -> Self {
        let keys = (0..recipe.keys.max(1))
            .map(|i| Cell {
                name: format!("k{i}"),
                value: None,
            })
            .collect();
        let plant = recipe.violate.map(|kind| {
            let planted = recipe.planted();
            Plant {
                values: match planted {
                    Planted::Apart => [APART, APART + 1, APART + 2],
                    Planted::Among => [1, 2, 2],
                },
                planted,
                steps: kind.script(planted).into(),
                open: None,
                written: At { term: 1, index: 0 },
                stage: Stage::Waiting,
            }
        });
        let mut generator = Self {
            rng: ChaCha8Rng::seed_from_u64(recipe.seed),
            keys,
            clients: Vec::new(),
            ghosts: Vec::new(),
            out: VecDeque::new(),
            begun: 0,
            events: 0,
            time_ns: 0,
            next_client: recipe.clients + 1,
            next_value: 0,
            log: 0,
            plant,
            recipe,
        };
        for id in 0..generator.recipe.clients.max(1) {
            generator.begin(id);
        }
        generator
    }

    /// One client does one thing.
    fn step(&mut self) {
        if !self.ghosts.is_empty() && self.rng.random_bool(0.05) {
            let i = self.rng.random_range(0..self.ghosts.len());
            if !self.held(self.ghosts[i].key, self.ghosts[i].call) {
                let ghost = self.ghosts.swap_remove(i);
                if self.rng.random_bool(0.5) {
                    self.apply(ghost.key, ghost.call);
                }
            }
        }
        if self.plant.is_some() && self.begun * 2 >= self.recipe.ops && self.rng.random_bool(0.2) {
            self.planting();
        }
        if self.clients.is_empty() {
            return;
        }
        let i = self.rng.random_range(0..self.clients.len());
        if self.clients[i].answer.is_some() {
            self.finish(i);
        } else {
            self.decide(i);
        }
    }

    /// The moment of an operation: it is applied, or it fails, or its client gives up.
    fn decide(&mut self, i: usize) {
        let (key, call) = (self.clients[i].key, self.clients[i].call);
        if self.held(key, call) {
            return;
        }
        let may_be_unknown = call != Call::Read && self.reserved(key) != Some(produces(call));
        if may_be_unknown && self.rng.random_bool(self.recipe.pending) {
            let client = self.clients.swap_remove(i);
            if self.rng.random_bool(0.5) {
                self.apply(key, call);
            } else {
                self.ghosts.push(Ghost { key, call });
            }
            self.complete(client.id, Outcome::Unknown, None);
            let id = self.next_client;
            self.next_client += 1;
            self.begin(id);
            return;
        }
        let outcome = if self.rng.random_bool(self.recipe.failed) {
            Outcome::Failed
        } else {
            self.apply(key, call)
        };
        let at = At {
            term: 1,
            index: self.log,
        };
        self.clients[i].answer = Some((outcome, at));
    }

    /// Applies a call to its key.
    fn apply(&mut self, key: usize, call: Call) -> Outcome {
        let cell = &mut self.keys[key].value;
        match call {
            Call::Read => return Outcome::Ok(*cell),
            Call::Write(value) | Call::Append(value) => *cell = Some(value),
            Call::Delete => *cell = None,
            Call::Cas { old, new } => {
                if *cell != Some(old) {
                    return Outcome::Failed;
                }
                *cell = Some(new);
            }
        }
        self.log += 1;
        Outcome::Ok(None)
    }

    /// A client is answered, and begins its next operation at once.
    fn finish(&mut self, i: usize) {
        let client = self.clients.swap_remove(i);
        if let Some((outcome, at)) = client.answer {
            let at = (outcome != Outcome::Failed).then_some(at);
            self.complete(client.id, outcome, at);
        }
        self.begin(client.id);
    }

    fn begin(&mut self, id: ClientId) {
        if self.begun >= self.recipe.ops {
            return;
        }
        self.begun += 1;
        let key = self.rng.random_range(0..self.keys.len());
        let dice: f64 = self.rng.random();
        let recipe = &self.recipe;
        let writes = recipe.values != Domain::Small(1) || self.drained(key).is_none();
        let call = if dice < recipe.cas && writes {
            let old = match (self.keys[key].value, recipe.values) {
                (Some(value), _) if self.rng.random_bool(0.7) => value,
                (_, Domain::Unique) => self.next_value.max(1),
                (_, Domain::Small(n)) => self.rng.random_range(1..=Value::from(n)),
            };
            let new = self.value(key);
            Call::Cas { old, new }
        } else if dice < recipe.cas + recipe.delete {
            Call::Delete
        } else if self.rng.random_bool(recipe.read) || !writes {
            Call::Read
        } else {
            Call::Write(self.value(key))
        };
        self.clients.push(Client {
            id,
            key,
            call,
            answer: None,
        });
        let key = self.keys[key].name.clone();
        self.emit(id, EventKind::Invoke { key, call });
        // Half of the cas are applied as they begin: else hardly one would find what it expects.
        if matches!(call, Call::Cas { .. }) && self.rng.random_bool(0.5) {
            self.decide(self.clients.len() - 1);
        }
    }

    fn value(&mut self, key: usize) -> Value {
        match self.recipe.values {
            Domain::Unique => {
                self.next_value += 1;
                self.next_value
            }
            Domain::Small(n) => match self.drained(key) {
                // The value that is kept out is the first.
                Some(_) => self.rng.random_range(2..=Value::from(n)),
                None => self.rng.random_range(1..=Value::from(n)),
            },
        }
    }

    /// The value that must not be left unknown on this key, while a violation with it is to come.
    fn reserved(&self, key: usize) -> Option<Option<Value>> {
        let plant = self.plant.as_ref()?;
        (key == 0 && plant.planted == Planted::Among).then_some(Some(plant.values[A]))
    }

    /// The value that nobody else may begin to write on this key.
    fn drained(&self, key: usize) -> Option<Value> {
        let plant = self.plant.as_ref()?;
        let applies = key == 0 && plant.planted == Planted::Among && plant.stage != Stage::Waiting;
        applies.then_some(plant.values[A])
    }

    /// Whether a change of this key must wait: while a violation is put in, nobody else changes the key.
    fn held(&self, key: usize, call: Call) -> bool {
        let running = |plant: &Plant| plant.stage == Stage::Running;
        key == 0 && call != Call::Read && self.plant.as_ref().is_some_and(running)
    }

    /// The next event of the violation.
    fn planting(&mut self) {
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

    /// Does a step: what is asked, the answer, and its place in the log. A lie names the place where it was once true.
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
        let at = match step {
            Step::Write(A) => {
                plant.written = now;
                Some(now)
            }
            Step::Found(A) if plant.written.index > 0 => Some(plant.written),
            Step::Failed(_) => None,
            Step::Lost(_) => Some(At {
                index: now.index + 1,
                ..now
            }),
            _ => Some(now),
        };
        (call, outcome, at)
    }

    fn complete(&mut self, client: ClientId, outcome: Outcome, at: Option<At>) {
        let error = (outcome == Outcome::Unknown).then(|| "timed out".to_owned());
        self.emit(client, EventKind::Complete { outcome, at, error });
    }

    fn emit(&mut self, client: ClientId, kind: EventKind) {
        self.time_ns += self.rng.random_range(1_000..200_000);
        self.out.push_back(Event {
            index: self.events,
            time_ns: self.time_ns,
            client: Some(client),
            node: None,
            kind,
        });
        self.events += 1;
    }
}

/// What a call leaves behind, if it takes effect; of a read, nothing that was asked for.
fn produces(call: Call) -> Option<Value> {
    match call {
        Call::Write(value) | Call::Append(value) | Call::Cas { new: value, .. } => Some(value),
        Call::Read | Call::Delete => None,
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Some(event);
            }
            if self.clients.is_empty() && self.plant.is_none() {
                return None;
            }
            self.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;
    use crate::linear::{Options, check};
    use crate::verdict::Verdict;

    fn verdict(recipe: Recipe) -> Verdict {
        let events: Vec<Event> = Generator::new(recipe.clone()).collect();
        let history = History::from_events(recipe.header(), &events).expect("well formed");
        check(&history, &Options::default()).verdict
    }

    fn rough(seed: u64) -> Recipe {
        Recipe {
            ops: 400,
            clients: 8,
            keys: 2,
            pending: 0.05,
            failed: 0.05,
            cas: 0.2,
            seed,
            ..Recipe::default()
        }
    }

    #[test]
    fn the_same_recipe_gives_the_same_events() {
        let twice = [0, 1].map(|_| Generator::new(rough(7)).collect::<Vec<_>>());
        assert_eq!(twice[0], twice[1]);
    }

    #[test]
    fn without_a_violation_every_history_is_linearizable() {
        for seed in 0..20 {
            for (values, delete) in [
                (Domain::Unique, 0.0),
                (Domain::Small(5), 0.1),
                (Domain::Unique, 0.1),
            ] {
                let recipe = Recipe {
                    values,
                    delete,
                    ..rough(seed)
                };
                assert_eq!(verdict(recipe.clone()), Verdict::Linearizable, "{recipe:?}");
            }
        }
    }

    #[test]
    fn each_violation_is_found_and_proven_by_at_most_six_operations() {
        for kind in Violation::ALL {
            for (seed, values) in [(1, Domain::Unique), (2, Domain::Small(4))] {
                let recipe = Recipe {
                    values,
                    violate: Some(kind),
                    ..rough(seed)
                };
                let Verdict::Violation(found) = verdict(recipe) else {
                    panic!("{} was not found", kind.name());
                };
                assert!(found.operations.len() <= 6, "{}: {found:#?}", kind.name());
            }
        }
    }
}
