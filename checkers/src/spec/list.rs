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
use crate::history::{End, KeyHistory, Kind, Lists, Op, Start, Value, Values};

/// A list, empty at first unless it begins otherwise, as far as the reads of one history can tell its states apart.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// From a place by an element to the place behind it. The empty list is place 0.
    children: FxHashMap<(u32, Value), u32>,
    /// Where nothing is ever replaced: for each place, whether the longest read passes through it.
    grows: Option<Vec<bool>>,
    /// Where nothing is ever replaced: the place of the longest read.
    longest: u32,
    /// The place at which it begins.
    start: u32,
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
        self.start
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
    /// The operations of a key that may have taken effect, and the list that can tell their states apart; third, the
    /// index of each among `ops`. Where nobody knows how it began, it begins empty, and [`List::starts`] knows better.
    #[must_use]
    pub fn timed(
        ops: &[Op],
        start: Start,
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
        if let Start::Value(number) = start {
            let begins = elements(number);
            list.start = list.plant(&begins);
            longest = (begins.len(), list.start);
        }
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
        let lists = key.lists.as_ref().unwrap_or(&none);
        Self::timed(&key.ops, key.start, &key.values, lists)
    }

    /// The places at which it may have begun, if there is an order at all and nobody knows how it did.
    ///
    /// What comes before anything has replaced the list shows a beginning of what was found then. Where nothing ever does,
    /// it is one of the shortest list that was found, and all behind it has been added by then.
    #[must_use]
    pub(crate) fn starts(&self, timed: &[Timed<ListOp>]) -> Vec<u32> {
        let replaces = |op: &&Timed<ListOp>| matches!(op.op, ListOp::Set(_) | ListOp::Cas(..));
        let replaced = timed.iter().filter(replaces).map(|op| op.ret).min();
        let parents = self.parents();
        let way = |place: u32| {
            let mut way = vec![place];
            while let Some((parent, _)) = parents.get(&way[way.len() - 1]) {
                way.push(*parent);
            }
            way
        };
        let found = timed.iter().filter_map(|op| match op.op {
            ListOp::Read(place) | ListOp::Cas(place, _) => Some((place, op)),
            ListOp::Set(_) | ListOp::Append(_) => None,
        });
        let mut places = Vec::new();
        if self.grows.is_some() {
            let shortest = found.min_by_key(|(place, _)| way(*place).len());
            let Some((place, read)) = shortest else {
                return vec![LOST];
            };
            let added = |element: Value| {
                let mut begun = timed.iter().filter(|op| op.call < read.ret);
                begun.any(|op| matches!(&op.op, ListOp::Append(added) if added.contains(&element)))
            };
            // From the whole of it towards the empty one, as long as what is taken off may have been added.
            for place in way(place) {
                places.push(place);
                if parents.get(&place).is_some_and(|(_, last)| !added(*last)) {
                    break;
                }
            }
            // Mostly nothing that was there has been added again.
            places.reverse();
        } else {
            places.push(LOST);
            let first_end = replaced.unwrap_or(crate::history::NEVER);
            for (place, _) in found.filter(|(_, op)| op.call < first_end) {
                places.extend(way(place));
            }
            places[1..].sort_unstable();
            places.dedup();
        }
        places
    }

    /// Begins at one of [`List::starts`].
    pub(crate) fn begin(&mut self, place: u32) {
        self.start = place;
    }

    /// The elements on the way to a place; `None` of the list that no read can find.
    pub(crate) fn elements(&self, place: u32) -> Option<Vec<Value>> {
        let parents = self.parents();
        let (mut at, mut elements) = (place, Vec::new());
        while let Some((parent, element)) = parents.get(&at) {
            elements.push(*element);
            at = *parent;
        }
        elements.reverse();
        (place != LOST).then_some(elements)
    }

    /// By place, the one before it and the element between.
    fn parents(&self) -> FxHashMap<u32, (u32, Value)> {
        let links = self.children.iter();
        links
            .map(|((parent, element), child)| (*child, (*parent, *element)))
            .collect()
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
        let parents = self.parents();
        let mut way = vec![false; self.children.len() + 1];
        way[0] = true;
        let mut at = goal;
        while let Some((parent, _)) = parents.get(&at) {
            way[at as usize] = true;
            at = *parent;
        }
        way
    }
}
