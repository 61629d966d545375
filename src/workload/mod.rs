//! Which operation next: pure, seeded, one generator for each client; one file a data type.
//!
//! Values never repeat within a run, so that a read names the operation that put them there. A [`register`] has keys and
//! a mix that the scenario says; the other types ([`Typed`]) have a mix of their own.

pub mod register;

mod counter;
mod ids;
mod lock;
mod log;
mod queue;
mod set;

use std::fmt;

use checkers::types::{Asked, DataType, Datum, Outcome};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use register::{Generator, Keys, Mix};

/// What one client asks of one object, and what came of it.
trait Draws: fmt::Debug + Send {
    /// What it asks next, and with what.
    fn next(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum);

    /// What came of what it asked.
    fn saw(&mut self, _asked: &Asked, _outcome: &Outcome) {}

    /// An operation that changes something, by which one sees whether it is served.
    fn probe(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        self.next(drawing)
    }

    /// What is asked at the end, when everything is healed.
    fn last(&self) -> Vec<(&'static str, Datum)> {
        Vec::new()
    }
}

/// What a drawing may use.
struct Drawing<'a> {
    rng: &'a mut ChaCha8Rng,
    /// The next value that nobody else puts anywhere.
    fresh: &'a mut i64,
    /// So many values are between two of one client's.
    step: i64,
}

impl Drawing<'_> {
    fn fresh(&mut self) -> Datum {
        let value = *self.fresh;
        *self.fresh += self.step;
        Datum::Int(value)
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.rng.random_range(0..many) == 0
    }
}

/// Draws one client's operations of a type that is neither register nor list.
#[derive(Debug)]
pub struct Typed {
    begins: fn() -> Box<dyn Draws>,
    rng: ChaCha8Rng,
    fresh: i64,
    step: i64,
    /// How many objects there are, where they have keys.
    keys: Option<u32>,
    /// What is known of each object that was asked; the one without a key has the number 0.
    objects: Vec<Option<Box<dyn Draws>>>,
}

/// What draws operations of this type.
fn draws(of: &dyn DataType) -> Option<fn() -> Box<dyn Draws>> {
    Some(match of.name() {
        "ids" | "increasing-ids" => || Box::new(ids::Ids),
        "set" => || Box::new(set::Set { last: "read" }),
        "eventual-set" => || Box::new(set::Set { last: "final" }),
        "lock" | "mutex" => || Box::new(lock::Lock::default()),
        "counter" => || Box::new(counter::Counter),
        "log" => || Box::new(log::Log::default()),
        "queue" | "fifo-queue" => || Box::new(queue::Queue),
        _ => return None,
    })
}

/// Whether a run can ask for operations of this type.
#[must_use]
pub fn asks_for(of: &dyn DataType) -> bool {
    draws(of).is_some()
}

impl Typed {
    /// The generator of client `slot` (0-based) of `clients`, for a run of that seed, on so many objects that have keys,
    /// or on one that has none; `None` where no run asks for such operations.
    #[must_use]
    pub fn new(
        of: &dyn DataType,
        seed: u64,
        slot: u32,
        clients: u32,
        keys: Option<u32>,
    ) -> Option<Typed> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x776f_726b);
        rng.set_stream(u64::from(slot));
        Some(Typed {
            begins: draws(of)?,
            rng,
            fresh: i64::from(slot) + 1,
            step: i64::from(clients),
            keys,
            objects: Vec::new(),
        })
    }

    /// Draws from so many objects from now on, where they have keys.
    pub fn set_keys(&mut self, keys: u32) {
        self.keys = self.keys.map(|_| keys.max(1));
    }

    /// The next operation.
    pub fn next_asked(&mut self) -> Asked {
        let object = match self.keys {
            Some(keys) => self.rng.random_range(0..keys.max(1)) as usize,
            None => 0,
        };
        self.draw(object, |draws, drawing| draws.next(drawing))
    }

    /// An operation that changes something, by which one sees whether the system serves.
    pub fn probe(&mut self) -> Asked {
        // Of a lock that a vanished client holds nobody gets anything: each probe has an object of its own.
        let object = match self.keys {
            Some(keys) => self.objects.len().max(keys as usize),
            None => 0,
        };
        self.draw(object, |draws, drawing| draws.probe(drawing))
    }

    /// What is asked at the end of each object of the workload, when everything is healed.
    #[must_use]
    pub fn last(&self) -> Vec<Asked> {
        let objects = self.keys.unwrap_or(1).max(1) as usize;
        let all = (0..objects.max(self.objects.len())).flat_map(|object| {
            let known = self.objects.get(object).and_then(Option::as_ref);
            let last = known.map_or_else(|| (self.begins)().last(), |known| known.last());
            let key = self.key(object);
            last.into_iter().map(move |(act, with)| Asked {
                key: key.clone(),
                act,
                with,
            })
        });
        all.collect()
    }

    /// What came of an operation.
    pub fn saw(&mut self, asked: &Asked, outcome: &Outcome) {
        let number = match &asked.key {
            Some(Datum::Text(key)) => key.strip_prefix('k').and_then(|n| n.parse().ok()),
            _ => Some(1),
        };
        let known = number.and_then(|n: usize| self.objects.get_mut(n.checked_sub(1)?));
        if let Some(Some(known)) = known {
            known.saw(asked, outcome);
        }
    }

    /// Another client takes over, who has done nothing yet.
    pub fn succeed(&mut self) {
        self.objects.clear();
    }

    fn key(&self, object: usize) -> Option<Datum> {
        self.keys.map(|_| Datum::Text(format!("k{}", object + 1)))
    }

    fn draw(
        &mut self,
        object: usize,
        draw: impl FnOnce(&mut dyn Draws, &mut Drawing<'_>) -> (&'static str, Datum),
    ) -> Asked {
        if self.objects.len() <= object {
            self.objects.resize_with(object + 1, || None);
        }
        let draws = self.objects[object].get_or_insert_with(self.begins);
        let mut drawing = Drawing {
            rng: &mut self.rng,
            fresh: &mut self.fresh,
            step: self.step,
        };
        let (act, with) = draw(&mut **draws, &mut drawing);
        let key = self.key(object);
        Asked { key, act, with }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use checkers::types::{ALL, act_of, by_name};

    use super::*;

    fn typed(name: &str, slot: u32, keys: Option<u32>) -> Typed {
        let of = by_name(name).expect("there is such a type");
        Typed::new(of, 5, slot, 4, keys).expect("runs ask for it")
    }

    #[test]
    fn what_is_asked_is_of_the_type_and_the_same_for_the_same_seed() {
        let mut asked_for = 0;
        for of in ALL.into_iter().filter(|of| asks_for(*of)) {
            asked_for += 1;
            let asked = |slot| -> Vec<Asked> {
                let mut typed = typed(of.name(), slot, Some(3));
                (0..200).map(|_| typed.next_asked()).collect()
            };
            assert_eq!(asked(1), asked(1), "{}", of.name());
            let last = typed(of.name(), 0, Some(3)).last();
            for asked in asked(1).iter().chain(&last) {
                assert_eq!(act_of(of, asked.act), Some(asked.act), "{}", of.name());
            }
        }
        assert!(asked_for >= 10, "{asked_for}");
    }

    #[test]
    fn nothing_is_put_anywhere_twice_by_any_client() {
        for name in ["set", "eventual-set", "log", "queue"] {
            let mut put = BTreeSet::new();
            for slot in 0..4 {
                let mut typed = typed(name, slot, Some(2));
                for turn in 0..300 {
                    let asked = match turn % 10 {
                        9 => typed.probe(),
                        _ => typed.next_asked(),
                    };
                    if matches!(asked.act, "add" | "append" | "enqueue") {
                        assert!(put.insert(asked.with.clone()), "{name}: {asked:?}");
                    }
                }
            }
            assert!(put.len() > 300, "{name}: {}", put.len());
        }
    }

    #[test]
    fn who_holds_a_lock_gives_it_back_and_who_took_over_does_not() {
        let mut typed = typed("lock", 0, Some(1));
        let asked = typed.next_asked();
        assert_eq!(asked.act, "acquire");
        typed.saw(&asked, &Outcome::Failed);
        let asked = typed.next_asked();
        assert_eq!(asked.act, "acquire");
        typed.saw(&asked, &Outcome::Ok(Datum::Nil));
        let asked = typed.next_asked();
        assert_eq!(asked.act, "release");
        typed.saw(&asked, &Outcome::Failed);
        assert_eq!(typed.next_asked().act, "release");
        typed.succeed();
        assert_eq!(typed.next_asked().act, "acquire");
    }

    #[test]
    fn each_object_is_read_at_the_end() {
        let of = |name, keys| -> Vec<(Option<Datum>, &str)> {
            let last = typed(name, 0, keys).last();
            last.into_iter()
                .map(|asked| (asked.key, asked.act))
                .collect()
        };
        let key = |n| Some(Datum::Text(format!("k{n}")));
        assert_eq!(of("set", Some(2)), [(key(1), "read"), (key(2), "read")]);
        assert_eq!(of("eventual-set", None), [(None, "final")]);
        assert_eq!(of("ids", None), []);
    }
}
