//! A history that is judged on its way comes out as the whole does.

use super::*;
use crate::format::jsonl;
use crate::generate::{Generator, Recipe, Violation};
use crate::linear::check;

fn text(violate: Option<Violation>, seed: u64) -> Vec<u8> {
    written(Recipe {
        ops: 20_000,
        clients: 8,
        keys: 3,
        pending: 0.02,
        failed: 0.02,
        violate,
        seed,
        ..Recipe::default()
    })
}

/// As a file has it.
fn written(recipe: Recipe) -> Vec<u8> {
    let mut text = Vec::new();
    jsonl::write_header(&mut text, &recipe.header()).expect("a vector takes everything");
    for event in Generator::new(recipe) {
        jsonl::write_event(&mut text, &event).expect("a vector takes everything");
    }
    text
}

/// The same of keys that held something at first.
fn begun(initial: Initial, violate: Option<Violation>, seed: u64) -> Vec<u8> {
    written(Recipe {
        ops: 20_000,
        clients: 8,
        keys: 3,
        pending: 0.02,
        cas: 0.1,
        initial,
        violate,
        seed,
        ..Recipe::default()
    })
}

#[test]
fn keys_begin_on_their_way_as_they_do_in_the_whole() {
    for (seed, initial) in [(1, Initial::Value(0)), (2, Initial::Any), (3, Initial::Any)] {
        for violate in [None, Some(Violation::StaleRead)] {
            let text = begun(initial, violate, seed);
            let loaded = format::read(text.as_slice(), "h", None, None).expect("a history");
            let whole = check(&loaded.history, &Options::default()).verdict;
            let streamed = streamed(&text, 1 << 20).expect("a history").verdict;
            match (&streamed, &whole) {
                (Verdict::Linearizable, Verdict::Linearizable) => assert!(violate.is_none()),
                (Verdict::Violation(streamed), Verdict::Violation(whole)) => {
                    assert!(violate.is_some());
                    assert_eq!(streamed.event, whole.event);
                }
                other => panic!("{seed} {initial:?} {violate:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_caller_says_how_keys_began_and_the_header_no_longer_does() {
    let text = begun(Initial::Value(0), None, 4);
    for memory in [1 << 20, 1 << 30] {
        for (initial, expected) in [
            (None, "linearizable"),
            (Some("0"), "linearizable"),
            (Some("any"), "linearizable"),
            (Some("nil"), "violation"),
            (Some("-5"), "violation"),
        ] {
            let reading = Reading {
                initial: initial.map(|text| format::initial(text).expect(text)),
                ..Reading::default()
            };
            let options = Options {
                memory,
                ..Options::default()
            };
            let verdict = match read(text.as_slice(), "h", &reading, &options).expect("a history") {
                Read::Whole(loaded) => check(&loaded.history, &options).verdict,
                Read::Judged(streamed) => streamed.verdict,
                Read::Typed(_) => panic!("it is a register"),
            };
            assert_eq!(verdict.name(), expected, "{initial:?} in {memory}");
            if let (Some("nil"), Verdict::Violation(found)) = (initial, verdict) {
                let said = found.why.join(" ");
                assert!(said.contains("--initial 0 "), "{said}");
                assert!(said.contains("--initial any "), "{said}");
            }
        }
    }
}

/// Reads within a memory that the history exceeds on its way.
fn streamed(text: &[u8], memory: u64) -> Result<Streamed, Error> {
    let options = Options {
        memory,
        ..Options::default()
    };
    match read(text, "h", &Reading::default(), &options)? {
        Read::Judged(streamed) => Ok(*streamed),
        Read::Whole(_) | Read::Typed(_) => panic!("it was to be too large"),
    }
}

#[test]
fn the_verdict_is_that_of_the_whole() {
    for (seed, violate) in [
        (1, None),
        (2, Some(Violation::StaleRead)),
        (3, Some(Violation::FutureRead)),
        (4, Some(Violation::AbortedRead)),
    ] {
        let text = text(violate, seed);
        let loaded = format::read(text.as_slice(), "h", None, None).expect("a history");
        let whole = check(&loaded.history, &Options::default());
        let streamed = streamed(&text, 1 << 20).expect("a history");
        assert_eq!(streamed.ops, whole.ops);
        assert_eq!(streamed.keys, 3);
        match (&streamed.verdict, &whole.verdict) {
            (Verdict::Linearizable, Verdict::Linearizable) => assert!(violate.is_none()),
            (Verdict::Violation(streamed), Verdict::Violation(whole)) => {
                assert_eq!(streamed.event, whole.event);
            }
            other => panic!("{violate:?}: {other:?}"),
        }
    }
}

#[test]
fn a_long_history_of_lists_is_kept_whole_and_holds() {
    let mut text = b"{\"whitewater\":1,\"spec\":\"list-append\"}\n".to_vec();
    let mut index = 0;
    let mut event = |rest: String| {
        let line = format!("{{\"index\":{index},\"client\":1,{rest}}}\n");
        text.extend_from_slice(line.as_bytes());
        index += 1;
    };
    for i in 0..20_000 {
        let key = i / 2;
        if i % 2 == 0 {
            event(format!(
                "\"type\":\"invoke\",\"f\":\"append\",\"key\":\"k{key}\",\"value\":{i}"
            ));
            event("\"type\":\"ok\"".to_owned());
        } else {
            event(format!(
                "\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k{key}\""
            ));
            event(format!("\"type\":\"ok\",\"value\":[{}]", i - 1));
        }
    }
    let options = Options {
        memory: 1 << 20,
        ..Options::default()
    };
    let came = read(text.as_slice(), "h", &Reading::default(), &options).expect("a history");
    let Read::Whole(loaded) = came else {
        panic!("lists can't be judged on their way");
    };
    assert!(loaded.notes[0].contains("kept whole"), "{:?}", loaded.notes);
    assert_eq!(loaded.history.len(), 20_000);
    assert!(check(&loaded.history, &options).verdict.holds());
}

/// What whoever reads the whole says of a text, and what is said on its way.
fn both(text: &[u8]) -> [String; 2] {
    let whole = format::read(text, "h", None, None).map(|loaded| loaded.history);
    let whole = whole.map(|history| check(&history, &Options::default()).verdict);
    let streamed = streamed(text, 1 << 20).map(|streamed| {
        let note = streamed.notes.last().expect("a note");
        assert!(note.contains("lints were not looked for"), "{note}");
        streamed.verdict
    });
    [whole, streamed].map(|came| match came {
        Ok(verdict) => verdict.name().to_owned(),
        Err(error) => error.to_string(),
    })
}

#[test]
fn a_second_completion_is_taken_as_in_the_whole() {
    let plain = text(None, 6);
    let events = plain.iter().filter(|byte| **byte == b'\n').count() - 1;
    let write = "\"type\":\"invoke\",\"f\":\"write\",\"key\":\"new\",\"value\":1";
    let read = "\"type\":\"invoke\",\"f\":\"read\",\"key\":\"new\"";
    let cases: [(&[&str], &str); 8] = [
        (
            &[write, "\"type\":\"ok\",\"value\":2"],
            "the completion says 2, but client 900000 asked for a write of 1",
        ),
        (
            &[write, "\"type\":\"ok\"", "\"type\":\"ok\",\"value\":2"],
            "the completion says 2, but client 900000 asked for a write of 1",
        ),
        (
            &[write, "\"type\":\"ok\"", "\"type\":\"ok\""],
            "linearizable",
        ),
        (
            &[write, "\"type\":\"info\"", "\"type\":\"ok\""],
            "linearizable",
        ),
        (
            &[read, "\"type\":\"info\"", "\"type\":\"fail\""],
            "linearizable",
        ),
        (
            &[
                read,
                "\"type\":\"ok\",\"value\":null",
                "\"type\":\"ok\",\"value\":null",
            ],
            "linearizable",
        ),
        (
            &[
                read,
                "\"type\":\"ok\",\"value\":null",
                "\"type\":\"ok\",\"value\":7",
            ],
            "with another outcome",
        ),
        (
            &[write, "\"type\":\"ok\"", "\"type\":\"fail\""],
            "with another outcome",
        ),
    ];
    for (lines, expected) in cases {
        // At the end, and between what is kept and what passes.
        for at_once in [false, true] {
            let client = 900_000;
            let mut text = Vec::new();
            let mut plain = plain.split_inclusive(|byte| *byte == b'\n');
            text.extend_from_slice(plain.next().expect("a header"));
            let mut index = 0;
            let mut add = |text: &mut Vec<u8>, line: &str| {
                let line = format!("{{\"index\":{index},\"client\":{client},{line}}}\n");
                index += 1;
                text.extend_from_slice(line.as_bytes());
            };
            let left = if at_once { lines.len() - 1 } else { 0 };
            if at_once {
                for line in &lines[..left] {
                    add(&mut text, line);
                }
            }
            for line in plain {
                let line = String::from_utf8_lossy(line);
                let (_, rest) = line.split_once(",\"client\":").expect("an event");
                let (id, rest) = rest.split_once(',').expect("an event");
                let line = format!("{{\"index\":{index},\"client\":{id},{rest}");
                index += 1;
                text.extend_from_slice(line.as_bytes());
            }
            for line in &lines[left..] {
                let line = format!("{{\"index\":{index},\"client\":{client},{line}}}\n");
                index += 1;
                text.extend_from_slice(line.as_bytes());
            }
            assert_eq!(index, events + lines.len());
            let [whole, streamed] = both(&text);
            assert_eq!(whole, streamed, "{lines:?} {at_once}");
            assert!(whole.contains(expected), "{lines:?}: {whole}");
        }
    }
}

#[test]
fn an_index_must_rise_past_what_is_not_replayed() {
    let mut online = Gauge {
        options: Options::default(),
        nil: Nil::Absent,
        taking: Taking::Whole(Box::new(Builder::new(Header::default()))),
        kept_for_its_lists: false,
    };
    let from = |index| Moment {
        index,
        time_ns: 0,
        client: 1,
        node: None,
    };
    let failed =
        |gauge: &mut Gauge, index| gauge.complete(from(index), Outcome::Failed, None, None);
    online
        .invoke(from(1), "k", Call::Write(1))
        .expect("it rises");
    for index in [5, 9] {
        failed(&mut online, index).expect("it rises");
    }
    online.mark(12, 0, "phase").expect("it rises");
    online.let_go().expect("well formed");
    for index in [6, 10, 12] {
        let expected = Err(Malformed::IndexNotRising { index, last: 12 });
        assert_eq!(failed(&mut online, index), expected);
    }
    failed(&mut online, 13).expect("it rises");
}

#[test]
fn what_is_kept_counts_with_its_texts() {
    let long = "x".repeat(30_000);
    let write = |key: &str, value: &str| {
        format!("\"invoke\",\"f\":\"write\",\"key\":\"{key}\",\"value\":{value}")
    };
    let (mut marks, mut names, mut keys, mut errors) = (vec![], vec![], vec![], vec![]);
    for i in 0..100 {
        let text = format!("{long}{i}");
        marks.push([format!("\"mark\",\"value\":\"{text}\""), String::new()]);
        names.push([write("k", &format!("\"{text}\"")), "\"ok\"".to_owned()]);
        keys.push([write(&text, "1"), "\"ok\"".to_owned()]);
        let failed = format!("\"fail\",\"error\":\"{text}\"");
        errors.push([write("k", &i.to_string()), failed]);
    }
    for lines in [marks, names, keys, errors] {
        let mut text = "{\"whitewater\":1}\n".to_owned();
        // Three million bytes and more, in few operations.
        let ends = (0..1_000).map(|_| {
            let read = "\"invoke\",\"f\":\"read\",\"key\":\"end\"".to_owned();
            [read, "\"ok\",\"value\":null".to_owned()]
        });
        let all = lines.into_iter().chain(ends).flatten();
        for (index, line) in (0..).zip(all.filter(|line| !line.is_empty())) {
            let line = format!("{{\"index\":{index},\"client\":1,\"type\":{line}}}\n");
            text.push_str(&line);
        }
        let streamed = streamed(text.as_bytes(), 2 << 20);
        assert!(streamed.expect("a history").verdict.holds());
    }
}

#[test]
fn a_bad_line_is_named_after_the_history_was_let_go() {
    let mut text = text(None, 5);
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    text.extend_from_slice(b"{\"index\":7,\"type\":\"mark\",\"value\":\"late\"}\n");
    let error = streamed(&text, 1 << 20).expect_err("an index that falls");
    let expected = format!("h:{}: event index 7 does not come after ", lines + 1);
    assert!(error.to_string().starts_with(&expected), "{error}");
}
