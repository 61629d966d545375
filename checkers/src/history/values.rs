//! The values of a key by number: what lets an algorithm keep tables instead of maps.

use rustc_hash::FxHashMap;

use super::{ABSENT, Value};

/// The values of one key, numbered densely in order of appearance; 0 is "absent".
///
/// Workloads count upwards, for one key or for all keys together: a value is mostly a small number, or one that is
/// larger than all before it and looked for again soon. Neither needs hashing.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// The numbers of small values, by value; 0 where there is none.
    small: Vec<u32>,
    /// Those of values that were larger than all before them here, in that order.
    rising: Vec<(Value, u32)>,
    /// Those of the others.
    others: FxHashMap<Value, u32>,
    values: Vec<Value>,
    /// The numbers that [`Values::another`] gave, in order.
    more: Vec<u32>,
}

impl Values {
    /// The number of `value`, given now if it has none.
    pub fn number(&mut self, value: Value) -> u32 {
        if let Ok(at) = usize::try_from(value)
            && let Some(number) = self.small.get(at)
            && *number != 0
        {
            return *number;
        }
        self.number_slowly(value)
    }

    fn number_slowly(&mut self, value: Value) -> u32 {
        // It may have come before it counted as small.
        let rises = match self.rising.last() {
            Some((last, _)) if value <= *last => {
                let known = self
                    .risen(value)
                    .or_else(|| self.others.get(&value).copied());
                if let Some(number) = known {
                    return number;
                }
                false
            }
            Some(_) | None => true,
        };
        self.values.push(value);
        let number = self.values.len() as u32;
        match usize::try_from(value) {
            Ok(at) if at < self.values.len() * 3 + 64 => {
                if at >= self.small.len() {
                    self.small.resize(at + 1 + at / 4, 0);
                }
                self.small[at] = number;
            }
            _ if rises => self.rising.push((value, number)),
            _ => {
                self.others.insert(value, number);
            }
        }
        number
    }

    /// Whether `value` has a number.
    pub(crate) fn has(&self, value: Value) -> bool {
        self.values.contains(&value)
    }

    /// Another number for `value`, which nobody else gets for it: of an occurrence that none of the others can explain.
    pub(crate) fn another(&mut self, value: Value) -> u32 {
        self.values.push(value);
        let number = self.values.len() as u32;
        self.more.push(number);
        number
    }

    /// Whether a number is such another one: nobody can have written that value.
    pub(crate) fn is_another(&self, number: u32) -> bool {
        self.more.binary_search(&number).is_ok()
    }

    /// The number of a value that rose: looked for from the end in growing steps, since the latest are read most.
    fn risen(&self, value: Value) -> Option<u32> {
        let mut step = 4;
        while step < self.rising.len() && self.rising[self.rising.len() - step].0 > value {
            step *= 2;
        }
        let from = self.rising.len().saturating_sub(step);
        let near = &self.rising[from..];
        let at = near
            .binary_search_by_key(&value, |(risen, _)| *risen)
            .ok()?;
        Some(near[at].1)
    }

    /// The value that has `number`; `None` for absent.
    #[must_use]
    pub fn value(&self, number: u32) -> Option<Value> {
        (number != ABSENT).then(|| self.values[number as usize - 1])
    }

    /// As [`Values::value`], where there is such a number.
    pub(crate) fn known(&self, number: u32) -> Option<Value> {
        let at = (number as usize).checked_sub(1)?;
        self.values.get(at).copied()
    }

    /// How many numbers are in use, absent included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() + 1
    }

    pub(super) fn bytes(&self) -> usize {
        let risen = self.rising.len() * size_of::<(Value, u32)>();
        self.small.len() * 4 + risen + self.others.len() * 32 + self.values.len() * 8
    }

    /// Never: absent is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// A workload that counts upwards for many keys, with some disorder, and looks back now near, now far.
    fn workload() -> impl Strategy<Value = Vec<Value>> {
        let one = prop_oneof![
            4 => 0..400i64,
            1 => any::<Value>(),
            1 => prop_oneof![Just(0), Just(-1), Just(Value::MIN), Just(Value::MAX)],
        ];
        (1..40i64, prop::collection::vec((one, 0..6u8), 0..400)).prop_map(|(stride, drawn)| {
            let mut top = 0;
            let each = drawn.into_iter().map(|(value, how)| match how {
                0 => value,
                1 => (top - value.rem_euclid(100) * stride).max(0),
                _ => {
                    top += stride + value.rem_euclid(3);
                    top
                }
            });
            each.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn numbers_are_those_of_a_plain_map(workload in workload()) {
            let mut values = Values::default();
            let mut plain: HashMap<Value, u32> = HashMap::new();
            for value in workload {
                let next = plain.len() as u32 + 1;
                let expected = *plain.entry(value).or_insert(next);
                prop_assert_eq!(values.number(value), expected);
                prop_assert_eq!(values.value(expected), Some(value));
                prop_assert_eq!(values.len(), plain.len() + 1);
            }
        }
    }
}
