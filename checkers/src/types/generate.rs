//! Histories of a data type, that hold by construction or have one violation of a known kind.
//!
//! One copy of the type is asked by clients that overlap: each operation takes effect at one moment between its begin
//! and its end. What is planted stands at the end, one operation after the other, when all others have ended.

use std::collections::BTreeMap;
use std::io::{self, Write};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::operation::{Event, Phase};
use super::{DataType, Datum};
use crate::history::Header;

/// One copy of a data type.
pub trait Machine {
    /// What a client asks next.
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum);

    /// Does it, and gives the answer; `None`: it fails, and nothing has changed.
    fn apply(&mut self, step: &Step<'_>) -> Option<Datum>;

    /// Whether an operation of a client that then goes away takes effect.
    fn vanishes(&self, _act: &'static str, coin: bool) -> bool {
        coin
    }

    /// Operations, one after the other, with which the history is a violation of this kind.
    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted>;
}

/// An operation that is planted: its client, what it asks, with what, and the answer.
pub type Planted = (u64, &'static str, Datum, Datum);

/// Who asks.
pub struct Asking<'a> {
    /// Where everything random comes from.
    pub rng: &'a mut ChaCha8Rng,
    /// The client.
    pub client: u64,
    /// How many operations are unknown so far.
    pub unknown: usize,
}

/// An operation that takes effect.
pub struct Step<'a> {
    /// Whose it is.
    pub client: u64,
    /// What it asks.
    pub act: &'static str,
    /// With what.
    pub asked: &'a Datum,
}

/// What a history shall be like.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Operations.
    pub ops: u64,
    /// Clients, all of them always busy.
    pub clients: u64,
    /// Objects, each with a key where there are several.
    pub keys: u64,
    /// The fraction of what changes something whose outcome stays unknown.
    pub pending: f64,
    /// The fraction that fails.
    pub failed: f64,
    /// The violation that is planted.
    pub violate: Option<String>,
    /// Everything random comes from here.
    pub seed: u64,
}

/// What a client is doing.
enum Doing {
    Idle,
    Asked(Asked),
    Done(Asked, Option<Datum>),
}

struct Asked {
    key: usize,
    act: &'static str,
    with: Datum,
}

/// Makes events.
struct Generator<'r> {
    of: &'static dyn DataType,
    recipe: &'r Recipe,
    rng: ChaCha8Rng,
    machines: Vec<Box<dyn Machine>>,
    events: Vec<Event>,
    next_client: u64,
    unknown: usize,
}

/// The events of a history of this type.
#[must_use]
pub fn events(of: &'static dyn DataType, recipe: &Recipe) -> Vec<Event> {
    let keys = recipe.keys.max(1);
    let mut generator = Generator {
        of,
        recipe,
        rng: ChaCha8Rng::seed_from_u64(recipe.seed),
        machines: (0..keys).map(|_| of.machine()).collect(),
        events: Vec::new(),
        next_client: recipe.clients,
        unknown: 0,
    };
    let mut clients: Vec<(u64, Doing)> = (0..recipe.clients).map(|n| (n, Doing::Idle)).collect();
    let mut left = recipe.ops;
    while !clients.is_empty() {
        let at = generator.rng.random_range(0..clients.len());
        if left == 0 && matches!(clients[at].1, Doing::Idle) {
            clients.swap_remove(at);
            continue;
        }
        if matches!(clients[at].1, Doing::Idle) {
            left -= 1;
        }
        generator.step(&mut clients[at]);
    }
    generator.plant();
    generator.events
}

impl Generator<'_> {
    fn asking(&mut self, client: u64) -> Asking<'_> {
        Asking {
            rng: &mut self.rng,
            client,
            unknown: self.unknown,
        }
    }

    fn event(&mut self, client: u64, phase: Phase, key: usize, f: &str, value: Datum) {
        let index = self.events.len() as u64;
        let named = self.machines.len() > 1;
        self.events.push(Event {
            index,
            time_ns: index * 1_000_000,
            client,
            phase,
            f: f.to_owned(),
            key: named.then(|| Datum::Text(format!("k{key}"))),
            value,
            node: None,
            error: None,
        });
    }

    /// A client begins, has something done, or ends.
    fn step(&mut self, (client, doing): &mut (u64, Doing)) {
        match std::mem::replace(doing, Doing::Idle) {
            Doing::Idle => {
                let key = self.rng.random_range(0..self.machines.len());
                let mut machine = std::mem::replace(&mut self.machines[key], self.of.machine());
                let (act, with) = machine.ask(&mut self.asking(*client));
                self.machines[key] = machine;
                self.event(*client, Phase::Invoke, key, act, with.clone());
                *doing = Doing::Asked(Asked { key, act, with });
            }
            Doing::Asked(asked) => {
                // Of a drain that nobody knows of, nothing could be told.
                let stays = self.of.is_pure(asked.act) || asked.act == "drain";
                let step = Step {
                    client: *client,
                    act: asked.act,
                    asked: &asked.with,
                };
                if !stays && self.rng.random_bool(self.recipe.pending) {
                    let coin = self.rng.random_bool(0.5);
                    if self.machines[asked.key].vanishes(asked.act, coin) {
                        self.machines[asked.key].apply(&step);
                    }
                    self.event(*client, Phase::Info, asked.key, asked.act, asked.with);
                    self.unknown += 1;
                    *client = self.next_client;
                    self.next_client += 1;
                    return;
                }
                let fails = self.rng.random_bool(self.recipe.failed);
                let answer = match fails {
                    true => None,
                    false => self.machines[asked.key].apply(&step),
                };
                *doing = Doing::Done(asked, answer);
            }
            Doing::Done(Asked { key, act, with }, answer) => match answer {
                Some(Datum::Nil) => self.event(*client, Phase::Ok, key, act, with),
                Some(answer) => self.event(*client, Phase::Ok, key, act, answer),
                None => self.event(*client, Phase::Fail, key, act, with),
            },
        }
    }

    fn plant(&mut self) {
        let Some(kind) = &self.recipe.violate else {
            return;
        };
        let client = self.next_client;
        let mut machine = std::mem::replace(&mut self.machines[0], self.of.machine());
        let planted = machine.plant(kind, &mut self.asking(client));
        for (client, act, asked, answer) in planted {
            self.event(client, Phase::Invoke, 0, act, asked.clone());
            let answer = if answer.is_nil() { asked } else { answer };
            self.event(client, Phase::Ok, 0, act, answer);
        }
    }
}

/// The header of such a history.
#[must_use]
pub fn header(of: &dyn DataType, recipe: &Recipe) -> Header {
    let mut header = Header::register(recipe.seed);
    of.name().clone_into(&mut header.spec);
    let violate = recipe.violate.as_ref();
    let violate = violate.map_or_else(String::new, |kind| format!(" --violate {kind}"));
    let note = format!(
        "whitewater gen --spec {} --ops {} --clients {} --keys {} --pending {} --failed {} --seed {}{violate}",
        of.name(),
        recipe.ops,
        recipe.clients,
        recipe.keys,
        recipe.pending,
        recipe.failed,
        recipe.seed
    );
    header.extra = BTreeMap::from([("note".to_owned(), json!(note))]);
    header
}

/// Writes events as our JSONL.
///
/// # Errors
/// When `out` does.
pub fn write_jsonl(out: &mut impl Write, header: &Header, events: &[Event]) -> io::Result<()> {
    crate::format::jsonl::write_header(out, header)?;
    events
        .iter()
        .try_for_each(|event| super::lines::write_event(out, event))
}

/// Writes events as Jepsen's EDN, with keys as `jepsen.independent` has them.
///
/// # Errors
/// When `out` does.
pub fn write_edn(out: &mut impl Write, header: &Header, events: &[Event]) -> io::Result<()> {
    writeln!(out, "{}{}", crate::format::jepsen::CLAIM, header.spec)?;
    for event in events {
        let value = match &event.key {
            Some(key) => format!("[{} {}]", key.edn(), event.value.edn()),
            None => event.value.edn(),
        };
        writeln!(
            out,
            "{{:index {}, :time {}, :type :{}, :process {}, :f :{}, :value {value}}}",
            event.index,
            event.time_ns,
            event.phase.name(),
            event.client,
            event.f
        )?;
    }
    Ok(())
}
