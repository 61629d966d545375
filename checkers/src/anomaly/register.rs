//! Names for what goes wrong with one cell.

use rustc_hash::FxHashSet;

use super::{Act, Anomaly, Began, Case, Claim, claim};
use crate::history::{At, End, Kind, Value};

/// So many reads that miss a change say that it is lost, where nothing else tells.
const MISSED_BY: usize = 2;

pub(super) fn name(case: &Case<'_>) -> Anomaly {
    let Some(finder) = case.finder() else {
        return Anomaly::Unclassified;
    };
    if taken_twice(case) {
        return match later_term(case, &finder) {
            true => Anomaly::LostWrite,
            false => Anomaly::DoubleCas,
        };
    }
    if let Some(value) = finder.found()
        && let Some(name) = without_a_source(case, &finder, value)
    {
        return name;
    }
    if compared_too_early(case) {
        return Anomaly::StaleCas;
    }
    let Some(change) = replacement(case, &finder) else {
        return match finder.kind {
            // All that came before it has an order, and what it found was written: it must have been replaced.
            Kind::Cas => Anomaly::StaleCas,
            _ => Anomaly::StaleRead,
        };
    };
    if left_by_a_failure(case, &finder, &change) {
        return Anomaly::AbortedRead;
    }
    replaced(case, &finder, &change)
}

/// What the finder found had been replaced by `change`.
fn replaced(case: &Case<'_>, finder: &Act, change: &Act) -> Anomaly {
    let change_at = stands_at(case, change);
    if finder.kind == Kind::Cas {
        // That it compared too early is the nearest reading, unless the leaders changed between: then its log lacks it.
        return match (finder.at, change_at) {
            (Some(finder), Some(change)) if finder.term > change.term => Anomaly::LostWrite,
            _ => Anomaly::StaleCas,
        };
    }
    if change.kind == Kind::Delete && finder.value.is_some() {
        return match claim(finder.at, change_at) {
            Some(Claim::Late) => Anomaly::StaleRead,
            Some(Claim::Gone) | None => Anomaly::ResurrectedDelete,
        };
    }
    let lost = match claim(finder.at, change_at) {
        Some(claim) => claim == Claim::Gone && !was_seen(case, change, finder.ended),
        None => !was_seen(case, change, change.id) && missed_by(case, finder, change) >= MISSED_BY,
    };
    match lost {
        true => Anomaly::LostWrite,
        false => Anomaly::StaleRead,
    }
}

/// Where the change stands in the log: as it was answered, or as who found it first was.
fn stands_at(case: &Case<'_>, change: &Act) -> Option<At> {
    let found = |act: &&Act| act.finds() && act.found() == change.value && act.id > change.id;
    change.at.or_else(|| {
        case.acts
            .iter()
            .filter(found)
            .filter_map(|act| act.at)
            .min()
    })
}

/// Of the cas that took one value away more happened than there were writes of it.
fn taken_twice(case: &Case<'_>) -> bool {
    let takes = |act: &&Act| act.kind == Kind::Cas && act.old != act.value && happened(case, act);
    case.acts.iter().filter(takes).any(|cas| {
        let took = case.acts.iter().filter(takes);
        let took = took.filter(|other| other.old == cas.old).count();
        let wrote = case.acts.iter().filter(|act| act.may_have_happened());
        let wrote = wrote.filter(|act| act.value == cas.old).count();
        let wrote = wrote + usize::from(case.began() == Began::With(cas.old));
        took > wrote.max(1)
    })
}

/// Whether a cas succeeded although, by the log, something else had come between what it compared with and itself. A
/// read shows it, where the cas and what came between overlap. In a later term the log may have lost what came between.
fn compared_too_early(case: &Case<'_>) -> bool {
    let changes = || {
        case.acts
            .iter()
            .filter(|act| act.changes() && act.end == End::Ok)
    };
    let placed = |act: &Act, at: At| act.at.is_some_and(|own| own < at);
    changes().filter(|act| act.kind == Kind::Cas).any(|cas| {
        let Some(at) = cas.at else { return false };
        let wrote = changes().filter(|act| act.value == cas.old && placed(act, at));
        let Some(wrote) = wrote.filter_map(|act| act.at).max() else {
            return false;
        };
        changes().any(|other| {
            let between = other
                .at
                .is_some_and(|own| own > wrote && own.term == at.term);
            between && placed(other, at) && other.value != cas.old
        })
    })
}

/// Whether the last of the cas that took a value away was answered in a later term than the first: then the log lost
/// the first one, and the comparison was right.
fn later_term(case: &Case<'_>, finder: &Act) -> bool {
    let others = case.acts.iter().filter(|act| {
        act.kind == Kind::Cas && act.id != finder.id && act.old == finder.old && act.old.is_some()
    });
    let first = others.filter_map(|act| act.at).min();
    matches!((first, finder.at), (Some(first), Some(last)) if last.term > first.term)
}

/// Whether it certainly took effect: it said so, or somebody found what it left.
fn happened(case: &Case<'_>, act: &Act) -> bool {
    let found = |other: &Act| other.finds() && other.found() == act.value && other.id != act.id;
    act.end == End::Ok || (act.end == End::Unknown && case.acts.iter().any(found))
}

/// The name of a value that nobody can have written when it was found.
fn without_a_source(case: &Case<'_>, finder: &Act, value: Value) -> Option<Anomaly> {
    let of_value = |act: &Act| act.changes() && act.value == Some(value) && act.id != finder.id;
    let begun = |act: &Act| act.id < finder.ended;
    // Where nobody knows what was there, it was what somebody had found before.
    let found = |act: Act| act.finds() && act.found() == Some(value) && act.id < finder.id;
    let somehow = case.whole.is_some() && case.began() == Began::Somehow;
    if case.began() == Began::With(Some(value)) || somehow && case.before().any(found) {
        return None;
    }
    if case
        .acts
        .iter()
        .any(|act| of_value(act) && begun(act) && act.may_have_happened())
    {
        return (!grounded(case, finder, value)).then_some(Anomaly::ValueFromNowhere);
    }
    // The counterexample leaves out what had certainly been replaced, and whatever failed.
    if case.whole.is_none() {
        return Some(Anomaly::Unclassified);
    }
    if case
        .before()
        .any(|act| of_value(&act) && begun(&act) && act.may_have_happened())
    {
        return None;
    }
    if case.before().any(|act| of_value(&act) && begun(&act)) {
        return Some(Anomaly::AbortedRead);
    }
    Some(match case.ever().any(|act| of_value(&act)) {
        true => Anomaly::FutureRead,
        false => Anomaly::ValueFromNowhere,
    })
}

/// Whether the value can have come about without the finder: cas can stand on each other in a circle.
fn grounded(case: &Case<'_>, finder: &Act, value: Value) -> bool {
    let mut there: FxHashSet<Value> = FxHashSet::default();
    if let Began::With(value) = case.began() {
        there.extend(value);
    }
    let changes: Vec<Act> = case
        .before()
        .filter(|act| act.may_have_happened() && act.id < finder.ended && act.id != finder.id)
        .collect();
    loop {
        let before = there.len();
        for act in &changes {
            let stands = act.kind != Kind::Cas || act.old.is_some_and(|old| there.contains(&old));
            there.extend(act.value.filter(|_| stands));
        }
        if there.contains(&value) || there.len() == before {
            return there.contains(&value);
        }
    }
}

/// The last change that had certainly happened when the finder began, and that left something else.
fn replacement(case: &Case<'_>, finder: &Act) -> Option<Act> {
    let counts = |act: &Act| act.changes() && act.value != finder.found() && act.id != finder.id;
    let mut ordered = case.order.iter().rev().filter_map(|id| case.act(*id));
    if let Some(last) = ordered.find(|act| counts(act) && by(case, act, finder.id)) {
        return Some(*last);
    }
    let shown = case.acts.iter().copied();
    let shown = shown.filter(|act| counts(act) && by(case, act, finder.id));
    shown.max_by_key(|act| act.id).or_else(|| {
        let ended = |act: &Act| act.end == End::Ok && act.ended < finder.id;
        case.before()
            .filter(|act| counts(act) && ended(act))
            .max_by_key(|act| act.id)
    })
}

/// Whether the change had certainly happened by then: it had ended, or somebody had found what it left.
fn by(case: &Case<'_>, act: &Act, moment: u64) -> bool {
    let found = |other: &Act| {
        other.finds()
            && other.found() == act.value
            && other.ended < moment
            && other.ended > act.id
            && other.id != act.id
    };
    let ended = act.end == End::Ok && act.ended < moment;
    ended || (act.end != End::Failed && case.acts.iter().any(found))
}

/// Whether an operation that failed after `change` had begun would have left what the finder found.
fn left_by_a_failure(case: &Case<'_>, finder: &Act, change: &Act) -> bool {
    case.whole.is_some()
        && case.before().any(|act| {
            act.changes()
                && act.end == End::Failed
                && act.value == finder.found()
                && act.ended > change.id
                && act.id < finder.ended
        })
}

/// Whether somebody whose answer came after `moment` certainly found what the change left.
fn was_seen(case: &Case<'_>, change: &Act, moment: u64) -> bool {
    let others: Vec<Act> = case
        .ever()
        .filter(|act| act.may_have_happened() && act.value == change.value && act.id != change.id)
        .collect();
    case.ever()
        .filter(|act| act.finds() && act.found() == change.value && act.id != change.id)
        .filter(|act| act.ended > moment)
        .any(|act| {
            let another = |other: &Act| other.id < act.ended && other.ended > change.id;
            // One that was there before it had been replaced by the time that whoever found it began.
            !others.iter().any(another) && (others.is_empty() || act.id > change.id)
        })
}

/// How many reads that began after the change had ended went on finding what the finder did.
fn missed_by(case: &Case<'_>, finder: &Act, change: &Act) -> usize {
    let writes_it =
        |act: &Act| act.may_have_happened() && act.value == finder.value && act.id > change.ended;
    let anew = case.ever().find(writes_it).map_or(u64::MAX, |act| act.id);
    case.ever()
        .filter(|act| act.kind == Kind::Read && act.end == End::Ok && act.value == finder.value)
        .filter(|act| act.id > change.ended && act.ended < anew)
        .count()
}
