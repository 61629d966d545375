//! A list: append at the end, read all of it; also set, delete and compare-and-set of the whole. Jepsen's list-append,
//! and Porcupine's kv texts, whose lists are texts and whose elements are characters.
//!
//! A read shows the whole past of a list, so only what is a beginning of something that somebody read need be told
//! apart. These beginnings form a tree, made once from the reads:
//!
//! ```text
//!   reads: [] [1 2] [1 3 4]         ()──1──2            the state is a place in this tree, or LOST: no read can find
//!                                    └────3──4          such a list any more, until something sets it anew
//! ```

use rustc_hash::FxHashMap;

use super::{Spec, Timed};
use crate::history::{End, KeyHistory, Kind, Lists, Op, Value, Values};

/// A list, empty at first, as far as the reads of one history can tell its states apart.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// From a place by an element to the place behind it. The empty list is place 0.
    children: FxHashMap<(u32, Value), u32>,
    /// Where nothing is ever replaced: for each place, whether the longest read passes through it.
    grows: Option<Vec<bool>>,
    /// Where nothing is ever replaced: the place of the longest read.
    longest: u32,
}

/// No read can find this list.
const LOST: u32 = u32::MAX;

/// What is asked of a [`List`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListOp {
    /// It found the list at this place.
    Read(u32),
    /// It set the whole list; a delete sets the empty one.
    Set(Box<[Value]>),
    /// It added these at the end.
    Append(Box<[Value]>),
    /// It found the list at this place and set another.
    Cas(u32, Box<[Value]>),
}

impl Spec for List {
    type State = u32;
    type Op = ListOp;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &ListOp) -> Option<u32> {
        match op {
            ListOp::Read(place) => (place == state).then_some(*state),
            ListOp::Set(list) => Some(self.walk(0, list)),
            ListOp::Cas(old, list) => (old == state).then(|| self.walk(0, list)),
            ListOp::Append(elements) => {
                let next = self.walk(*state, elements);
                let Some(grows) = &self.grows else {
                    return Some(next);
                };
                // A list that only grows must become the longest one that was read before it can be anything else.
                let on_its_way = next != LOST && grows[next as usize];
                let has_been_there = *state == LOST || *state == self.longest;
                (on_its_way || has_been_there).then_some(next)
            }
        }
    }
}

impl List {
    /// The operations of a key that may have taken effect, and the list that can tell their states apart. The second
    /// of each pair is its index among `ops`.
    #[must_use]
    pub fn timed(
        ops: &[Op],
        values: &Values,
        lists: &Lists,
    ) -> (Self, Vec<Timed<ListOp>>, Vec<usize>) {
        let mut list = Self::default();
        let elements = |number: u32| -> Box<[Value]> {
            match lists.get(&number) {
                Some(elements) => elements.clone(),
                None => values.value(number).into_iter().collect(),
            }
        };
        let matters =
            |op: &Op| op.end == End::Ok || (op.end == End::Unknown && op.kind != Kind::Read);
        let indices: Vec<usize> = (0..ops.len()).filter(|i| matters(&ops[*i])).collect();
        let mut longest = (0, 0);
        let mut only_grows = true;
        let timed = indices.iter().map(|i| {
            let op = ops[*i];
            let what = match op.kind {
                Kind::Read => {
                    let found = elements(op.value);
                    let place = list.plant(&found);
                    longest = longest.max((found.len(), place));
                    ListOp::Read(place)
                }
                Kind::Append => ListOp::Append(elements(op.value)),
                Kind::Write | Kind::Delete => {
                    only_grows = false;
                    ListOp::Set(elements(op.value))
                }
                Kind::Cas => {
                    only_grows = false;
                    ListOp::Cas(list.plant(&elements(op.old)), elements(op.value))
                }
            };
            Timed {
                call: op.call,
                ret: if op.end == End::Ok {
                    op.ret
                } else {
                    crate::history::NEVER
                },
                op: what,
            }
        });
        let timed = timed.collect();
        if only_grows {
            list.longest = longest.1;
            list.grows = Some(list.way_to(longest.1));
        }
        (list, timed, indices)
    }

    /// As [`List::timed`], of a whole key.
    #[must_use]
    pub fn of_key(key: &KeyHistory) -> (Self, Vec<Timed<ListOp>>, Vec<usize>) {
        let none = Lists::default();
        Self::timed(&key.ops, &key.values, key.lists.as_ref().unwrap_or(&none))
    }

    /// The place of a list, made if there is none.
    fn plant(&mut self, list: &[Value]) -> u32 {
        let mut at = 0;
        for element in list {
            let next = self.children.len() as u32 + 1;
            at = *self.children.entry((at, *element)).or_insert(next);
        }
        at
    }

    /// The place behind `elements`, from a place on.
    fn walk(&self, from: u32, elements: &[Value]) -> u32 {
        let mut at = from;
        for element in elements {
            match self.children.get(&(at, *element)) {
                Some(next) => at = *next,
                None => return LOST,
            }
        }
        at
    }

    /// For each place, whether it lies on the way from the empty list to `goal`.
    fn way_to(&self, goal: u32) -> Vec<bool> {
        let mut parents = vec![0; self.children.len() + 1];
        for ((parent, _), child) in &self.children {
            parents[*child as usize] = *parent;
        }
        let mut way = vec![false; parents.len()];
        way[0] = true;
        let mut at = goal;
        while at != 0 {
            way[at as usize] = true;
            at = parents[at as usize];
        }
        way
    }
}
