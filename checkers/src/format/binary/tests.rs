//! A binary log is read back as it was written, and a damaged or hostile one is refused.

use super::*;
use crate::format::{Format, Loaded, jsonl, read};

fn a_history() -> History {
    let text = concat!(
        "{\"whitewater\":1,\"spec\":\"register\",\"seed\":7}\n",
        "{\"index\":0,\"time_ns\":9,\"client\":3,\"type\":\"invoke\",\"f\":\"cas\",\"key\":\"k\",\"value\":[-1,\"b\"],\"node\":2}\n",
        "{\"index\":4,\"time_ns\":5,\"client\":4,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"\u{e9}\"}\n",
        "{\"index\":5,\"time_ns\":6,\"client\":4,\"type\":\"ok\",\"value\":[1,\"b\"],\"at\":{\"term\":1,\"index\":9}}\n",
        "{\"index\":6,\"time_ns\":6,\"type\":\"mark\",\"value\":\"kill\"}\n",
        "{\"index\":7,\"time_ns\":7,\"client\":3,\"type\":\"info\",\"node\":1,\"error\":\"timed out\"}\n",
        "{\"index\":8,\"time_ns\":8,\"client\":5,\"type\":\"invoke\",\"f\":\"delete\",\"key\":\"k\"}\n",
        "{\"index\":9,\"time_ns\":8,\"client\":5,\"type\":\"fail\"}\n",
        "{\"index\":10,\"time_ns\":9,\"type\":\"gap\",\"lost\":300}\n",
        "{\"index\":310,\"time_ns\":9,\"client\":7,\"type\":\"invoke\",\"f\":\"cas\",\"key\":\"k\",\"value\":[1,2]}\n",
        "{\"index\":311,\"time_ns\":9,\"client\":7,\"type\":\"fail\",\"value\":-5,\"at\":{\"term\":1,\"index\":9}}\n",
        "{\"index\":312,\"time_ns\":9,\"client\":7,\"type\":\"invoke\",\"f\":\"cas\",\"key\":\"k\",\"value\":[1,3]}\n",
        "{\"index\":313,\"time_ns\":9,\"client\":7,\"type\":\"fail\",\"value\":null,\"at\":{\"term\":1,\"index\":9}}\n",
        "{\"index\":314,\"time_ns\":9,\"client\":6,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k\"}\n",
    );
    let loaded = read(text.as_bytes(), "h", Some(Format::Jsonl), None);
    loaded.expect("a history").history
}

fn bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, &a_history()).expect("a vector takes everything");
    bytes
}

fn load(bytes: &[u8]) -> Result<Loaded, Error> {
    read(bytes, "h.ww", None, None)
}

#[test]
fn what_is_written_is_read_back() {
    let again = load(&bytes()).expect("a history").history;
    let as_text = |history: &History| {
        let mut text = Vec::new();
        jsonl::write(&mut text, history).expect("a vector takes everything");
        String::from_utf8(text).expect("JSON is UTF-8")
    };
    assert_eq!(as_text(&again), as_text(&a_history()));
}

#[test]
fn a_completion_that_contradicts_its_call_is_refused() {
    let event = |index, kind| Event {
        index,
        time_ns: index,
        client: Some(1),
        node: None,
        kind,
    };
    let key = || "k".to_owned();
    let ok = |found| EventKind::Complete {
        outcome: Outcome::Ok(found),
        at: None,
        error: None,
    };
    let cas = Call::Cas { old: 1, new: 2 };
    for (call, again, expected) in [
        (Call::Write(1), Some(1), Ok(())),
        (Call::Write(1), None, Ok(())),
        (
            Call::Write(1),
            Some(2),
            Err("2, but client 1 asked for a write of 1"),
        ),
        (cas, Some(2), Ok(())),
        (
            cas,
            Some(3),
            Err("3, but client 1 asked for a cas of [1 2]"),
        ),
        (
            Call::Delete,
            Some(3),
            Err("3, but client 1 asked for a delete"),
        ),
    ] {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, &Header::default()).expect("room");
        for event in [
            event(0, EventKind::Invoke { key: key(), call }),
            event(1, ok(again)),
        ] {
            writer.event(&event).expect("room");
        }
        writer.finish().expect("room");
        let read = load(&bytes).map(|loaded| assert_eq!(loaded.history.len(), 1));
        let expected = expected.map_err(|why| format!("h.ww:2: the completion says {why}"));
        assert_eq!(read.map_err(|error| error.to_string()), expected);
    }
}

#[test]
fn a_half_written_last_block_is_tolerated_and_said() {
    let bytes = bytes();
    let loaded = load(&bytes[..bytes.len() - 1]).expect("a history");
    assert_eq!(loaded.history.len(), 0);
    assert_eq!(
        loaded.notes,
        ["h.ww: the last block, after 0 events, is only half written; it was ignored"]
    );
}

#[test]
fn a_changed_byte_is_noticed_wherever_it_is() {
    let bytes = bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        match load(&changed) {
            Err(error) => assert!(error.to_string().starts_with("h.ww:1: "), "{error}"),
            // The length of a block: then the file ends within it.
            Ok(loaded) => assert_eq!(loaded.notes.len(), 1, "byte {at}"),
        }
    }
}

#[test]
fn a_value_that_is_named_twice_is_malformed() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &Header::default()).expect("a vector");
    for _ in 0..2 {
        writer.block.push(NAME);
        writer.text("a");
    }
    writer.finish().expect("a vector");
    let error = load(&bytes).expect_err("the numbers of all after it would be others");
    assert_eq!(error.to_string(), "h.ww:1: a value is named twice");
}

#[test]
fn a_number_of_a_name_is_no_value_before_it_is_named() {
    let first = i64::MIN / 2;
    for (named, value) in [
        (false, first),
        (true, first + 1),
        (false, first + (1 << 32) - 1),
    ] {
        for found in [false, true] {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes, &Header::default()).expect("a vector");
            if named {
                writer.block.push(NAME);
                writer.text("foo");
            }
            let call = if found {
                Call::Read
            } else {
                Call::Write(value)
            };
            let key = "k".to_owned();
            let invoke = EventKind::Invoke { key, call };
            let ok = EventKind::Complete {
                outcome: Outcome::Ok(Some(value)),
                at: None,
                error: None,
            };
            for (index, kind) in (0..).zip([invoke, ok]) {
                let event = Event {
                    index,
                    time_ns: 0,
                    client: Some(1),
                    node: None,
                    kind,
                };
                writer.event(&event).expect("a vector");
            }
            writer.finish().expect("a vector");
            let error = load(&bytes).expect_err("nobody named it").to_string();
            assert!(
                error.contains(&format!("the value {value} can't be had")),
                "{error}"
            );
        }
    }
}

/// What comes of lists that name each other: each is the places of its items among the named values.
fn lists_of_lists(lists: &[Vec<i64>]) -> Result<Loaded, Error> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &Header::default()).expect("a vector");
    for items in lists {
        writer.block.push(LIST);
        writer.number(items.len() as u64);
        for place in items {
            writer.signed(i64::MIN / 2 + place);
        }
    }
    writer.finish().expect("a vector");
    load(&bytes)
}

#[test]
fn lists_that_name_each_other_stay_within_bounds() {
    let chain = |items: usize, lists: i64| -> Vec<Vec<i64>> {
        let begin = std::iter::once(Vec::new());
        begin
            .chain((1..lists).map(|list| vec![list - 1; items]))
            .collect()
    };
    let loaded = lists_of_lists(&chain(1, 128)).expect("as deep as can be");
    assert_eq!(loaded.history.names.len(), 128);
    let first = i64::MIN / 2;
    for (lists, expected) in [
        (
            chain(1, 129),
            "lists are nested more than 128 deep".to_owned(),
        ),
        (
            chain(2, 40),
            "the text of a list has more than 16777216 bytes".to_owned(),
        ),
        // Itself, and one that is still to come.
        (vec![vec![0]], format!("the value {first} can't be had")),
        (
            vec![vec![], vec![0, 2], vec![]],
            format!("the value {} can't be had", first + 2),
        ),
    ] {
        let error = lists_of_lists(&lists).expect_err(&expected).to_string();
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_long_list_of_integers_is_read_back() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &Header::default()).expect("a vector");
    writer.block.push(LIST);
    writer.number(1_000_000);
    for item in 0..1_000_000 {
        writer.signed(item % 10);
    }
    writer.finish().expect("a vector");
    assert_eq!(load(&bytes).expect("a list").history.names.len(), 1);
}

#[test]
fn the_largest_numbers_fit() {
    let mut writer = Writer::new(Vec::new(), &Header::default()).expect("a vector");
    let numbers = [i64::MIN, i64::MAX, -1, 0, 63, 64];
    for number in numbers {
        writer.signed(number);
    }
    let block = std::mem::take(&mut writer.block);
    let mut rest = Rest(&block);
    assert_eq!(numbers.map(|_| rest.signed()), numbers.map(Some));
}

#[test]
fn numbers_of_every_length_are_read_whatever_follows() {
    let mut numbers = vec![0, 0x7f, 0x80, u64::MAX];
    numbers
        .extend((0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1, 0x5555_5555_5555_5555 >> bit]));
    for after in 0..10 {
        for number in &numbers {
            let mut writer = Writer::new(Vec::new(), &Header::default()).expect("a vector");
            writer.number(*number);
            let mut block = std::mem::take(&mut writer.block);
            block.resize(block.len() + after, 0xff);
            let mut rest = Rest(&block);
            assert_eq!((rest.number(), rest.0.len()), (Some(*number), after));
            // Cut within the number: it is none.
            let length = block.len() - after;
            assert_eq!(Rest(&block[..length - 1]).number(), None);
        }
    }
}
