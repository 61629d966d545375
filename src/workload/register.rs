//! A register's operations, as the scenario mixes them.
//!
//! Keys come in two sets: a few *contended* ones, where clients meet, and a *wide* set, where a lost key shows. A
//! compare-and-set expects the value that this client last saw on its key, so that about as many succeed as fail.

use std::collections::HashMap;

use checkers::history::{Call, Value};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How many keys of each set there are. Contended keys are named `k1`, `k2`, ..., wide ones `w1`, `w2`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Keys that most operations are on.
    pub contended: u32,
    /// Keys that the rest is spread over.
    pub wide: u32,
}

/// How often each kind of operation is drawn: weights, whose sum is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Reads.
    pub read: u32,
    /// Writes.
    pub write: u32,
    /// Compare-and-sets.
    #[serde(default)]
    pub cas: u32,
    /// Deletes.
    #[serde(default)]
    pub delete: u32,
}

/// One operation in this many is on a key of the wide set.
const WIDE_ONE_IN: u32 = 6;

/// Draws one client's operations.
#[derive(Debug)]
pub struct Generator {
    rng: ChaCha8Rng,
    keys: Keys,
    mix: Mix,
    next_value: Value,
    step: Value,
    seen: HashMap<String, Value>,
}

impl Generator {
    /// The generator of client `slot` (0-based) of `clients`, for a run of that seed.
    ///
    /// # Panics
    /// If there is no key at all or every weight is 0: a scenario is checked when it is read.
    #[must_use]
    pub fn new(seed: u64, slot: u32, clients: u32, keys: Keys, mix: Mix) -> Generator {
        assert!(keys.contended + keys.wide > 0, "a workload needs a key");
        assert!(
            mix.read + mix.write + mix.cas + mix.delete > 0,
            "a workload needs an operation"
        );
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x776f_726b);
        rng.set_stream(u64::from(slot));
        Generator {
            rng,
            keys,
            mix,
            next_value: Value::from(slot) + 1,
            step: Value::from(clients),
            seen: HashMap::new(),
        }
    }

    /// Draws from another mix from now on.
    ///
    /// # Panics
    /// If every weight is 0.
    pub fn set_mix(&mut self, mix: Mix) {
        assert!(
            mix.read + mix.write + mix.cas + mix.delete > 0,
            "a workload needs an operation"
        );
        self.mix = mix;
    }

    /// Draws from so many contended keys from now on.
    pub fn set_contended(&mut self, contended: u32) {
        self.keys.contended = contended;
    }

    /// The next operation: its key and what is asked of it.
    pub fn next_call(&mut self) -> (String, Call) {
        let key = self.draw_key();
        let mix = self.mix;
        let ticket = self
            .rng
            .random_range(0..mix.read + mix.write + mix.cas + mix.delete);
        let call = if ticket < mix.read {
            Call::Read
        } else if ticket < mix.read + mix.write {
            Call::Write(self.fresh())
        } else if ticket < mix.read + mix.write + mix.cas {
            match self.seen.get(&key).copied() {
                Some(old) => Call::Cas {
                    old,
                    new: self.fresh(),
                },
                // Nothing to compare with yet: look first.
                None => Call::Read,
            }
        } else {
            Call::Delete
        };
        (key, call)
    }

    /// Tells what `key` was seen to hold, by a read's answer or by a write that succeeded.
    pub fn saw(&mut self, key: &str, value: Option<Value>) {
        match value {
            Some(value) => self.seen.insert(key.to_owned(), value),
            None => self.seen.remove(key),
        };
    }

    /// A write of a value that nobody else writes.
    pub fn fresh_write(&mut self) -> Call {
        Call::Write(self.fresh())
    }

    /// Every key of the workload, contended ones first.
    #[must_use]
    pub fn keys(keys: Keys) -> Vec<String> {
        let contended = (1..=keys.contended).map(|i| format!("k{i}"));
        contended
            .chain((1..=keys.wide).map(|i| format!("w{i}")))
            .collect()
    }

    fn draw_key(&mut self) -> String {
        let Keys { contended, wide } = self.keys;
        let wide_one = contended == 0 || (wide > 0 && self.rng.random_range(0..WIDE_ONE_IN) == 0);
        if wide_one {
            format!("w{}", self.rng.random_range(1..=wide))
        } else {
            format!("k{}", self.rng.random_range(1..=contended))
        }
    }

    fn fresh(&mut self) -> Value {
        let value = self.next_value;
        self.next_value += self.step;
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KEYS: Keys = Keys {
        contended: 3,
        wide: 10,
    };
    const MIX: Mix = Mix {
        read: 50,
        write: 30,
        cas: 15,
        delete: 5,
    };

    fn calls(seed: u64, slot: u32) -> Vec<(String, Call)> {
        let mut generator = Generator::new(seed, slot, 4, KEYS, MIX);
        generator.saw("k1", Some(99));
        (0..500).map(|_| generator.next_call()).collect()
    }

    #[test]
    fn the_same_seed_and_slot_draw_the_same_operations() {
        assert_eq!(calls(5, 1), calls(5, 1));
        assert_ne!(calls(5, 1), calls(5, 2));
        assert_ne!(calls(5, 1), calls(6, 1));
    }

    #[test]
    fn no_value_is_ever_written_twice_by_any_client() {
        let mut written = BTreeSet::new();
        for slot in 0..4 {
            for (_, call) in calls(9, slot) {
                if let Call::Write(value) | Call::Cas { new: value, .. } = call {
                    assert!(written.insert(value), "{value} twice");
                }
            }
        }
        assert!(written.len() > 400, "{}", written.len());
    }

    #[test]
    fn every_kind_of_operation_and_every_key_comes_up() {
        let calls = calls(1, 0);
        let keys: BTreeSet<&str> = calls.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.len(), 13);
        let count =
            |wanted: fn(&Call) -> bool| calls.iter().filter(|(_, call)| wanted(call)).count();
        assert!(count(|c| matches!(c, Call::Read)) > 150);
        assert!(count(|c| matches!(c, Call::Write(_))) > 100);
        assert!(count(|c| matches!(c, Call::Cas { old: 99, .. })) > 5);
        assert!(count(|c| matches!(c, Call::Delete)) > 5);
    }

    #[test]
    fn a_compare_and_set_expects_what_was_last_seen() {
        let only_cas = Mix {
            read: 0,
            write: 0,
            cas: 1,
            delete: 0,
        };
        let mut generator = Generator::new(
            1,
            0,
            1,
            Keys {
                contended: 1,
                wide: 0,
            },
            only_cas,
        );
        assert_eq!(generator.next_call().1, Call::Read);
        generator.saw("k1", Some(41));
        assert!(matches!(generator.next_call().1, Call::Cas { old: 41, .. }));
        generator.saw("k1", None);
        assert_eq!(generator.next_call().1, Call::Read);
    }
}
