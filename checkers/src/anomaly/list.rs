//! Names for what goes wrong with a list.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::{Act, Anomaly, Began, Case, Claim, claim};
use crate::history::{End, Kind, Lists, Value, Values};

/// The elements that an operation found, set or added, by what stands for them in a history.
struct Elements<'a>(FxHashMap<Value, &'a [Value]>);

impl<'a> Elements<'a> {
    fn new(lists: &'a Lists, values: &Values) -> Self {
        let lists = lists.iter();
        Self(
            lists
                .filter_map(|(number, list)| Some((values.value(*number)?, &**list)))
                .collect(),
        )
    }

    fn of(&self, value: Option<Value>) -> Cow<'a, [Value]> {
        match value.map(|value| (value, self.0.get(&value))) {
            None => Cow::Borrowed(&[]),
            Some((_, Some(list))) => Cow::Borrowed(list),
            Some((value, None)) => Cow::Owned(vec![value]),
        }
    }
}

pub(super) fn name(case: &Case<'_>, lists: &Lists, values: &Values) -> Anomaly {
    let elements = Elements::new(lists, values);
    let Some(finder) = case.finder() else {
        return Anomaly::Unclassified;
    };
    let list = elements.of(finder.found());
    let adds: Vec<(Act, Cow<'_, [Value]>)> = case
        .ever()
        .filter(Act::changes)
        .map(|act| (act, elements.of(act.value)))
        .collect();
    let began = match case.began() {
        Began::With(value) => Some(elements.of(value)),
        Began::Somehow => None,
    };
    // Whatever has no other source may have been there, where nobody knows what was.
    if let Some(began) = began
        && let Some(name) = without_a_source(case, &finder, &list, &adds, &began)
    {
        return name;
    }
    let sets = |kind: Kind| {
        adds.iter()
            .map(|(act, _)| act)
            .filter(move |act| act.kind == kind && act.end == End::Ok && act.ended < finder.id)
    };
    let old = |set: &Act| {
        let all_before = |element: &Value| {
            let mut of = adds.iter().filter(|(_, added)| added.contains(element));
            of.all(|(act, _)| act.ended < set.id)
        };
        list.iter().any(all_before)
    };
    if sets(Kind::Delete).any(old) {
        return Anomaly::ResurrectedDelete;
    }
    let others: Vec<Cow<'_, [Value]>> = case
        .acts
        .iter()
        .filter(|act| act.finds() && act.id != finder.id)
        .map(|act| elements.of(act.found()))
        .collect();
    // What is added more than once says nothing about order.
    let once: Vec<(&Act, Value)> = adds
        .iter()
        .filter_map(|(act, added)| Some((act, *added.first().filter(|_| added.len() == 1)?)))
        .filter(|(_, element)| {
            let times = adds.iter().flat_map(|(_, added)| added.iter());
            times.filter(|other| *other == element).count() == 1
        })
        .collect();
    if others.iter().any(|other| crossed(&list, other, &once)) || against_time(&list, &once) {
        return Anomaly::WrongOrder;
    }
    let seen = |added: &[Value]| {
        let mut finders = case.ever().filter(Act::finds);
        finders.any(|act| holds(&elements.of(act.found()), added))
    };
    if let Some(name) = without_an_element(&finder, &list, &adds, &others, &seen) {
        return name;
    }
    if finder.kind == Kind::Cas {
        return Anomaly::StaleCas;
    }
    match sets(Kind::Write).any(old) || sets(Kind::Cas).any(old) {
        true => Anomaly::StaleRead,
        false => Anomaly::Unclassified,
    }
}

/// The name of an element that is there too often, or that nobody can have added when it was found.
fn without_a_source(
    case: &Case<'_>,
    finder: &Act,
    list: &[Value],
    adds: &[(Act, Cow<'_, [Value]>)],
    began: &[Value],
) -> Option<Anomaly> {
    let begun = |act: &Act| act.id < finder.ended && act.id != finder.id;
    for element in list {
        let of = || adds.iter().filter(|(_, added)| added.contains(element));
        let failed_then = |act: &Act| act.end == End::Failed && act.ended <= case.until;
        let happened: usize = of()
            .filter(|(act, _)| begun(act) && !failed_then(act))
            .map(|(_, added)| added.iter().filter(|other| *other == element).count())
            .sum();
        let happened = happened + began.iter().filter(|other| *other == element).count();
        if happened == 0 {
            return Some(match (of().any(|(act, _)| begun(act)), of().next()) {
                (true, _) => Anomaly::AbortedRead,
                (false, Some(_)) => Anomaly::FutureRead,
                (false, None) => Anomaly::ValueFromNowhere,
            });
        }
        if list.iter().filter(|other| *other == element).count() > happened {
            return Some(Anomaly::DuplicateAppend);
        }
    }
    None
}

/// The name of a list that lacks an element which was there before it was looked at. `seen`: whether anybody ever
/// found these elements.
fn without_an_element(
    finder: &Act,
    list: &[Value],
    adds: &[(Act, Cow<'_, [Value]>)],
    others: &[Cow<'_, [Value]>],
    seen: &dyn Fn(&[Value]) -> bool,
) -> Option<Anomaly> {
    // Whatever is set anew takes the element away, unless it was before.
    let set_anew_after = |change: &Act| {
        let sets = |act: &Act| act.kind != Kind::Append && act.end != End::Failed;
        let mut sets = adds.iter().filter(|(act, _)| sets(act));
        sets.any(|(act, _)| act.ended > change.id && act.id < finder.ended)
    };
    let (change, added) = adds.iter().find(|(act, added)| {
        let appended = act.end == End::Ok && act.ended < finder.id;
        let found = || others.iter().any(|other| holds(other, added));
        let was_there = appended || (act.end != End::Failed && found());
        act.kind == Kind::Append && !holds(list, added) && was_there && !set_anew_after(act)
    })?;
    let went_on = adds
        .iter()
        .any(|(act, more)| act.id > change.ended && !more.is_empty() && holds(list, more));
    let forked = others
        .iter()
        .any(|other| !is_shorter(list, other) && !is_shorter(other, list) && **other != *list);
    let lost = went_on
        || forked
        || match claim(finder.at, change.at) {
            Some(claim) => claim == Claim::Gone,
            None => !seen(added),
        };
    Some(match lost {
        true => Anomaly::LostAppend,
        false => Anomaly::StaleRead,
    })
}

/// Whether what was added in one piece is there in one piece.
fn holds(list: &[Value], added: &[Value]) -> bool {
    added.is_empty() || list.windows(added.len()).any(|part| part == added)
}

/// Whether `longer` goes on where `list` ends.
fn is_shorter(list: &[Value], longer: &[Value]) -> bool {
    longer.len() > list.len() && longer.starts_with(list)
}

/// Whether two elements are in both lists, in opposite orders.
fn crossed(list: &[Value], other: &[Value], once: &[(&Act, Value)]) -> bool {
    let places = list
        .iter()
        .filter(|element| once.iter().any(|(_, known)| known == *element))
        .filter_map(|element| other.iter().position(|there| there == element));
    let places: Vec<usize> = places.collect();
    places.windows(2).any(|pair| pair[0] > pair[1])
}

/// Whether an element stands before one whose append had ended when its own began.
fn against_time(list: &[Value], once: &[(&Act, Value)]) -> bool {
    let placed: Vec<&Act> = list
        .iter()
        .filter_map(|element| once.iter().find(|(_, known)| known == element))
        .map(|(act, _)| *act)
        .collect();
    // The last begin of those before it.
    let mut begun = 0;
    placed.iter().any(|act| {
        let against = act.end == End::Ok && act.ended < begun;
        begun = begun.max(act.id);
        against
    })
}
