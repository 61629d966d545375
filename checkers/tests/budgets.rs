//! A verdict is never kept waiting by what comes after it, and says what it did not find out.

mod support;

use checkers::format::jsonl;
use checkers::history::{Call, Event, EventKind, Header, History, Outcome};
use checkers::linear::online::Online;
use checkers::linear::stream::{self, Read, Reading};
use checkers::linear::{Options, check};
use checkers::verdict::{Counterexample, Verdict};
use support::random;

fn violation(verdict: Verdict) -> Counterexample {
    match verdict {
        Verdict::Violation(found) => *found,
        other => panic!("{other:?}"),
    }
}

/// So many writes of 1 that never end, and then once more often a write of 2 and a read of 1: all of it is the evidence.
fn all_needed(writes: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut push = |client, kind| {
        let index = events.len() as u64;
        events.push(Event {
            index,
            time_ns: index,
            client: Some(client),
            node: None,
            kind,
        });
    };
    let invoke = |call| EventKind::Invoke {
        key: "k".to_owned(),
        call,
    };
    let end = |outcome| EventKind::Complete {
        outcome,
        at: None,
        error: None,
    };
    for client in 0..writes {
        push(client + 10, invoke(Call::Write(1)));
        push(client + 10, end(Outcome::Unknown));
    }
    for _ in 0..=writes {
        push(1, invoke(Call::Write(2)));
        push(1, end(Outcome::Ok(None)));
        push(1, invoke(Call::Read));
        push(1, end(Outcome::Ok(Some(1))));
    }
    events
}

#[test]
fn evidence_that_takes_everything_is_shown_without_shrinking_it_to_the_end() {
    let events = all_needed(3_000);
    let last = events.len() as u64 - 1;
    let history = History::from_events(Header::default(), &events).expect("well formed");
    let whole = violation(check(&history, &Options::default()).verdict);

    let mut online = Online::new(Options::default());
    let alarm = events.iter().find_map(|event| online.push(event));

    let mut text = Vec::new();
    jsonl::write(&mut text, &history).expect("a vector takes everything");
    let options = Options {
        memory: 1 << 18,
        ..Options::default()
    };
    let streamed = match stream::read(text.as_slice(), "h", &Reading::default(), &options) {
        Ok(Read::Judged(judged)) => Some(violation(judged.verdict)),
        Ok(Read::Whole(_) | Read::Typed(_)) => panic!("it was to be too large"),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(streamed.map(|found| found.event), Some(last));
    let alarm = *alarm.expect("an alarm");
    for found in [whole, alarm] {
        assert_eq!((found.event, found.at_the_latest), (last, false));
        assert!(found.unshrunk, "{} operations", found.operations.len());
        let said = found.why.last().expect("it is said");
        assert!(said.contains("not shrunk to the end"), "{said}");
        assert!(checkers::explain::text(&found, None).len() < 100_000);
    }
}

#[test]
fn an_event_that_a_budget_did_not_suffice_to_find_is_named_at_the_latest() {
    let (mut late, mut exact) = (0, 0);
    for seed in 0..1_500 {
        let events = random::long(seed);
        let history = History::from_events(Header::default(), &events).expect("well formed");
        let Verdict::Violation(truth) = check(&history, &Options::default()).verdict else {
            continue;
        };
        for budget in [15, 30, 60] {
            let options = Options {
                budget,
                ..Options::default()
            };
            let Verdict::Violation(found) = check(&history, &options).verdict else {
                continue;
            };
            assert!(found.event >= truth.event, "seed {seed}, budget {budget}");
            let same = found.event == truth.event;
            assert!(same || found.at_the_latest, "seed {seed}, budget {budget}");
            late += usize::from(!same);
            exact += usize::from(!found.at_the_latest);
            let said = checkers::explain::text(&found, None);
            assert_eq!(
                said.contains("at the latest"),
                found.at_the_latest,
                "{said}"
            );
        }
    }
    assert!(late > 0, "a budget that always suffices proves nothing");
    assert!(exact > 200, "{exact}");
}
