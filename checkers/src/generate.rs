//! Synthetic histories: linearizable by construction, or with one violation of a known kind put in.
//!
//! A real register answers, each operation at one moment between its begin and its end; every client is always busy,
//! so as many operations overlap as there are clients. The same [`Recipe`] gives the same events on every machine.

mod plant;

use std::collections::VecDeque;

use plant::Plant;
pub use plant::{Planted, Violation};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::history::{ANY, At, Call, ClientId, Event, EventKind, Header, Initial, Outcome, Value};

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
    /// What each key holds at first. Where nobody knows, that is a value of its own, below zero.
    pub initial: Initial,
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
            initial: Initial::Absent,
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
        header.initial = match self.initial {
            Initial::Absent => None,
            Initial::Value(value) => Some(value.into()),
            Initial::Any => Some(ANY.into()),
        };
        let initial = match self.initial {
            Initial::Absent => String::new(),
            Initial::Value(value) => format!(" --initial {value}"),
            Initial::Any => format!(" --initial {ANY}"),
        };
        let note = format!(
            "gen --ops {} --clients {} --keys {} --pending {} --failed {} --cas {} --delete {} --values {}{initial}{}",
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

impl Generator {
    /// Begins.
    #[must_use]
    pub fn new(recipe: Recipe) -> Self {
        let keys = (0..recipe.keys.max(1))
            .map(|i| Cell {
                name: format!("k{i}"),
                value: match recipe.initial {
                    Initial::Absent => None,
                    Initial::Value(value) => Some(value),
                    Initial::Any => Some(-1 - i as Value),
                },
            })
            .collect();
        let plant = Plant::of(&recipe);
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
    fn a_history_that_begins_somehow_holds_from_its_start_and_only_so() {
        for seed in 0..20 {
            for initial in [Initial::Value(0), Initial::Any] {
                let recipe = Recipe {
                    initial,
                    values: [Domain::Unique, Domain::Small(4)][seed as usize % 2],
                    ..rough(seed)
                };
                assert_eq!(verdict(recipe.clone()), Verdict::Linearizable, "{recipe:?}");
                let events: Vec<Event> = Generator::new(recipe.clone()).collect();
                let header = Header {
                    initial: None,
                    ..recipe.header()
                };
                let found = |event: &Event| match event.kind {
                    EventKind::Complete { outcome, .. } => outcome == Outcome::Ok(Some(0)),
                    _ => false,
                };
                let seen = events.iter().any(found);
                let history = History::from_events(header, &events).expect("well formed");
                let Verdict::Violation(found) = check(&history, &Options::default()).verdict else {
                    assert!(!seen, "{recipe:?}");
                    continue;
                };
                let said = found.why.join(" ");
                assert!(said.contains("--initial any"), "{recipe:?}: {said}");
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
