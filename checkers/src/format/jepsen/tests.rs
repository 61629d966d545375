//! What Jepsen writes is read for what it says, or refused; what we write as EDN is read back.

use super::*;
use crate::format::{self, Format};
use crate::history::History;
use crate::linear::{Options, check};

fn load(text: &str, format: Format) -> Result<Loaded, String> {
    format::read(text.as_bytes(), "h", Some(format), None).map_err(|error| error.to_string())
}

/// A write and a read of something else, each by a process.
fn two(writer: &str, reader: &str) -> String {
    format!(
        "[{{\"type\":\"invoke\",\"f\":\"write\",\"process\":{writer},\"value\":1}},
              {{\"type\":\"ok\",\"f\":\"write\",\"process\":{writer},\"value\":1}},
              {{\"type\":\"invoke\",\"f\":\"read\",\"process\":{reader},\"value\":null}},
              {{\"type\":\"ok\",\"f\":\"read\",\"process\":{reader},\"value\":2}}]"
    )
}

#[test]
fn a_process_is_a_number_or_a_word_or_malformed() {
    for (writer, reader) in [
        ("0", "1"),
        ("\"0\"", "\"1\""),
        ("0", "\"0\""),
        ("\"w-0\"", "\"w-1\""),
        ("0", "\"a\""),
        ("\"a\"", "0"),
        ("\"a\"", "1"),
        ("1", "\"01\""),
    ] {
        let history = load(&two(writer, reader), Format::Json)
            .expect(writer)
            .history;
        assert_eq!(history.len(), 2, "{writer} {reader}");
        let verdict = check(&history, &Options::default()).verdict;
        assert_eq!(verdict.name(), "violation", "{writer} {reader}");
        let same = history.client(0) == history.client(1);
        assert_eq!(same, writer.trim_matches('"') == reader.trim_matches('"'));
    }
    for process in ["1.5", "true", "[1]", "{}", "\"\"", "\" \""] {
        let error = load(&two("0", process), Format::Json).expect_err(process);
        assert!(error.contains("the process must be a number"), "{error}");
    }
    let error = load(&two("0", "null"), Format::Json).expect_err("nobody's");
    assert_eq!(error, "h:3:15: an event without :process");
}

#[test]
fn a_word_that_only_tells_what_it_does_is_no_client() {
    let events = |process: &str, kind: &str, f: &str| {
        format!("{{:process {process}, :type {kind}, :f {f}, :value nil}}\n")
    };
    let write = "{:process 0, :type :invoke, :f :write, :value 1}\n{:process 0, :type :ok, :f :write, :value 1}\n";
    for (process, kind, f) in [
        (":nemesis", ":info", ":start"),
        ("\"chaos\"", ":info", ":cut"),
        (":nemesis", ":invoke", ":kill"),
        ("nil", ":info", ":phase"),
    ] {
        let text = [write, &events(process, kind, f)].concat();
        let history = load(&text, Format::Edn).expect(process).history;
        assert_eq!((history.len(), history.marks.len()), (1, 1), "{process}");
    }
    for (process, kind, f, expected) in [
        (
            ":w1",
            ":invoke",
            ":increment",
            "the f \"increment\" is not known",
        ),
        (
            ":w1",
            ":ok",
            ":read",
            ":w1 completes an operation but has none open",
        ),
    ] {
        let text = [write, &events(process, kind, f)].concat();
        let error = load(&text, Format::Edn).expect_err(process);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_log_line_that_may_be_an_event_is_not_dropped_silently() {
    let good = "0 :invoke :write 1\n0 :ok :write 1\nnothing of ours\n";
    assert_eq!(load(good, Format::JepsenTxt).expect("a log").notes.len(), 0);
    let words = load(&format!("{good}w1 :invoke :read nil\n"), Format::JepsenTxt);
    assert_eq!(words.expect("a client of a name").history.len(), 2);
    let odd = format!("{good}{{:process 1, :type :invoke, :f :read}}\nworker 1 :ok :read 2\n");
    let notes = load(&odd, Format::JepsenTxt).expect("a log").notes;
    let note = "h: 2 lines with :invoke, :ok, :fail or :info in them are no events and were skipped, line 4 first";
    assert_eq!(notes, [note]);
}

#[test]
fn the_error_that_ends_a_log_line_may_be_any_text() {
    for error in [r#""C:\data" not found"#, ":timed-out", r#"#"\d+""#, "}"] {
        let text = format!("0 :invoke :write 1\n0 :info :write 1 {error}\n");
        let history = load(&text, Format::JepsenTxt).expect(error).history;
        assert_eq!(history.len(), 1, "{error}");
    }
    let error = load("0 :invoke :write \"\\d\"\n", Format::JepsenTxt);
    error.expect_err("a value is judged");
}

#[test]
fn what_looks_alike_is_told_apart_and_stays_so_in_every_format() {
    let values = [
        "1", "\"1\"", "1.5", "\"1.5\"", ":a", "\":a\"", "true", "\"true\"", "[1]",
    ];
    let values = values
        .into_iter()
        .chain(["\"[1]\"", "[\"1\"]", "\"\"", "\"a b\"", "\"\\u0007\""]);
    let values: Vec<&str> = values.collect();
    for wrote in &values {
        for found in &values {
            let text = format!(
                "{{:process 0, :type :invoke, :f :write, :value [:k {wrote}]}}
                     {{:process 0, :type :ok, :f :write, :value [:k {wrote}]}}
                     {{:process 0, :type :invoke, :f :read, :value [:k nil]}}
                     {{:process 0, :type :ok, :f :read, :value [:k {found}]}}"
            );
            let mut history = load(&text, Format::Edn).expect("well formed").history;
            let expected = if wrote == found {
                "linearizable"
            } else {
                "violation"
            };
            for format in [Format::Jsonl, Format::Binary, Format::Edn, Format::Jsonl] {
                let verdict = check(&history, &Options::default()).verdict;
                assert_eq!(verdict.name(), expected, "{wrote} {found}");
                let mut bytes = Vec::new();
                format::write(&mut bytes, &history, format).expect("a vector");
                let again = format::read(bytes.as_slice(), "h", Some(format), None);
                let again = again.unwrap_or_else(|error| panic!("{wrote} {found}: {error}"));
                let texts = |history: &History| {
                    let values = history.operations().map(|op| match op.outcome {
                        Outcome::Ok(Some(value)) => history.names.text(value).into_owned(),
                        _ => String::new(),
                    });
                    (values.collect::<Vec<_>>(), history.keys[0].name.clone())
                };
                let (values, key) = texts(&history);
                assert_eq!(texts(&again.history), (values, key), "{wrote} {found}");
                history = again.history;
            }
        }
    }
}

#[test]
fn keys_that_look_alike_are_apart() {
    let keys = [
        "1", "\"1\"", ":k", "\":k\"", "[1]", "[\"1\"]", "\"[1]\"", "true", "\"true\"",
    ];
    let mut text = String::new();
    for (value, key) in keys.iter().enumerate() {
        for kind in [":invoke", ":ok"] {
            text.push_str(&format!(
                "{{:process 0, :type {kind}, :f :write, :value [{key} {value}]}}\n"
            ));
        }
    }
    let mut history = load(&text, Format::Edn).expect("well formed").history;
    for format in [Format::Edn, Format::Jsonl, Format::Edn, Format::Binary] {
        assert_eq!(history.keys.len(), keys.len(), "{:?}", history.keys);
        let mut bytes = Vec::new();
        format::write(&mut bytes, &history, format).expect("a vector");
        let again = format::read(bytes.as_slice(), "h", Some(format), None);
        history = again.expect("a history").history;
    }
}

#[test]
fn a_completion_must_be_of_what_was_asked() {
    let with = |f: &str, value: &str| {
        let text = format!(
            "{{:process 0, :type :invoke, :f :write, :value [:x 1]}}
                 {{:process 0, :type :info, :f {f}, :value {value}}}"
        );
        load(&text, Format::Edn).map(|loaded| loaded.history.len())
    };
    for (f, value) in [
        (":write", "[:x 1]"),
        (":w", "nil"),
        (":write", ":timed-out"),
    ] {
        assert_eq!(with(f, value), Ok(1), "{f} {value}");
    }
    for (f, value, expected) in [
        (
            ":read",
            "[:x 1]",
            "of a read, but client 0 asked for a write",
        ),
        (
            ":write",
            "[:y 1]",
            "of key :y, but client 0 asked for key :x",
        ),
    ] {
        let error = with(f, value).expect_err("it contradicts");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_ok_read_of_nil_is_the_empty_list_whenever_the_lists_are_known() {
    let read = "{:process 1, :type :invoke, :f :read, :value [:k nil]}
            {:process 1, :type :ok, :f :read, :value [:k nil]}
            {:process 1, :type :ok, :f :read, :value [:k nil]}\n";
    let append = "{:process 0, :type :invoke, :f :append, :value [:k 1]}
            {:process 0, :type :ok, :f :append, :value [:k 1]}\n";
    for (text, expected) in [
        (format!("{read}{append}"), "linearizable"),
        (format!("{append}{read}"), "violation"),
        (format!("{read}{append}{read}"), "violation"),
    ] {
        let history = load(&text, Format::Edn).expect("well formed").history;
        let ignored = |lint: &crate::history::Lint| lint.to_string().contains("ignored (Knossos");
        assert!(!history.lints.iter().any(ignored), "{:?}", history.lints);
        let verdict = check(&history, &Options::default()).verdict;
        assert_eq!(verdict.name(), expected, "{text}");
    }
}

#[test]
fn a_read_of_a_list_that_found_nil_and_failed_is_left_out_whatever_came_first() {
    let event = |process: u64, kind: &str, f: &str, value: &str| {
        format!("{{:process {process}, :type :{kind}, :f :{f}, :value [:k {value}]}}\n")
    };
    // An empty list after an append that ended would be a violation.
    let append = event(0, "invoke", "append", "1") + &event(0, "ok", "append", "1");
    let invoke = event(1, "invoke", "read", "nil");
    let (nil, fail) = (
        event(1, "ok", "read", "nil"),
        event(1, "fail", "read", "nil"),
    );
    for (answers, expected, doubts) in [
        ([&nil, &fail], "linearizable", 1),
        ([&fail, &nil], "linearizable", 1),
        ([&fail, &fail], "linearizable", 0),
        ([&nil, &nil], "violation", 0),
    ] {
        let [first, second] = answers;
        let text = [&append, &invoke, first, second]
            .map(String::as_str)
            .concat();
        let history = load(&text, Format::Edn).expect("well formed").history;
        let in_doubt = |lint: &&crate::history::Lint| {
            lint.to_string()
                == "client 1 completes its read #2 both with nil, the empty list, and as failed: it is left out"
        };
        assert_eq!(
            history.lints.iter().filter(in_doubt).count(),
            doubts,
            "{text}"
        );
        let verdict = check(&history, &Options::default()).verdict;
        assert_eq!(verdict.name(), expected, "{text}");
    }
}

/// What comes of a history in our own format that is written as EDN and found out what it is.
fn through_edn(text: &str) -> [(History, &'static str); 2] {
    let history = load(text, Format::Jsonl).expect("well formed").history;
    let mut bytes = Vec::new();
    write_edn(&mut bytes, &history).expect("a vector");
    let again = format::read(bytes.as_slice(), "h", None, None).expect("well formed");
    assert_eq!(again.notes[0], "h: read as edn");
    [history, again.history].map(|history| {
        let verdict = check(&history, &Options::default()).verdict;
        (history, verdict.name())
    })
}

#[test]
fn edn_of_ours_says_what_nil_means_and_which_spec_it_is() {
    let line =
        |index: u64, rest: &str| format!("{{\"index\":{index},\"client\":1,\"type\":{rest}}}\n");
    let read = |index: u64, found: &str| {
        line(index, "\"invoke\",\"f\":\"read\",\"key\":\"k\"")
            + &line(index + 1, &format!("\"ok\",\"value\":{found}"))
    };
    let write = |index: u64, value: &str| {
        let invoke = "\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":";
        line(index, &format!("{invoke}{value}")) + &line(index + 1, "\"ok\"")
    };
    for (spec, events, expected) in [
        ("register", read(0, "null") + &write(2, "1"), "linearizable"),
        ("register", write(0, "1") + &read(2, "null"), "violation"),
        (
            "list-append",
            read(0, "null") + &read(2, "[]"),
            "linearizable",
        ),
        (
            "list-append",
            write(0, "[1,2]") + &read(2, "null"),
            "violation",
        ),
        (
            "list-append",
            write(0, "[]") + &read(2, "null"),
            "linearizable",
        ),
        (
            "list-append",
            write(0, "[1,2]") + &read(2, "[1,2]"),
            "linearizable",
        ),
        ("list-append", String::new(), "linearizable"),
    ] {
        let text = format!("{{\"whitewater\":1,\"spec\":\"{spec}\"}}\n{events}");
        for (history, verdict) in through_edn(&text) {
            assert_eq!(history.header.spec, spec);
            assert_eq!(verdict, expected, "{text}");
        }
    }
}

#[test]
fn a_process_of_any_number_is_read_back() {
    for client in [0, 1 << 62, 1 << 63, u64::MAX] {
        let text = format!(
            "{{\"whitewater\":1}}\n{{\"index\":0,\"client\":{client},\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k\"}}\n{{\"index\":1,\"client\":{client},\"type\":\"ok\",\"value\":null}}\n"
        );
        for (history, _) in through_edn(&text) {
            assert_eq!(history.client(0), client);
        }
    }
}

#[test]
fn only_a_first_line_of_ours_says_anything_and_a_caller_says_more() {
    let events = "{:process 0, :type :invoke, :f :write, :value 1}
            {:process 0, :type :ok, :f :write, :value 1}
            {:process 0, :type :invoke, :f :read, :value nil}
            {:process 0, :type :ok, :f :read, :value nil}\n";
    let ours = "; whitewater: spec register, nil is absent\n";
    for (before, nil, expected) in [
        ("", None, "linearizable"),
        ("; spec register, nil is absent\n", None, "linearizable"),
        ("; whitewater: nil is absent\n", None, "linearizable"),
        (&format!("\n{ours}"), None, "linearizable"),
        (ours, None, "violation"),
        (&ours.replace('\n', "\r\n"), None, "violation"),
        (ours, Some(Nil::Any), "linearizable"),
        ("", Some(Nil::Absent), "violation"),
    ] {
        let text = format!("{before}{events}");
        let loaded = format::read(text.as_bytes(), "h", None, nil).expect("well formed");
        let verdict = check(&loaded.history, &Options::default()).verdict;
        assert_eq!(verdict.name(), expected, "{before:?} {nil:?}");
    }
    for (claim, reason) in [
        (
            "queue, nil is absent",
            "h:1: the first line claims a spec that is not known: queue, nil is absent",
        ),
        (
            "register",
            "h:1: the first line claims a spec that is not known: register",
        ),
    ] {
        let text = format!("; whitewater: spec {claim}\n{events}");
        assert_eq!(load(&text, Format::Edn).expect_err(claim), reason);
    }
    let append = format!("{ours}{}", events.replace(":write", ":append"));
    let error = load(&append, Format::Edn).expect_err("it said register");
    assert_eq!(error, "h:2: a register has no append");
}

#[test]
fn a_gap_has_no_place_in_edn_and_is_refused_by_name() {
    let text = "{\"whitewater\":1}\n{\"index\":4,\"type\":\"gap\",\"lost\":2}\n";
    let history = crate::format::read(text.as_bytes(), "h", None, None)
        .expect("a history")
        .history;
    let error = write_edn(&mut Vec::new(), &history).expect_err("no word for it");
    assert_eq!(
        error.to_string(),
        "2 events are lost in a gap at #4, which EDN has no word for; jsonl and binary do"
    );
}

#[test]
fn events_keep_their_own_numbers_where_these_rise() {
    let events = |indices: [i64; 4]| {
        let [a, b, c, d] = indices;
        format!(
            "{{:index {a}, :process 0, :type :invoke, :f :write, :value 1}}
             {{:index {b}, :process 0, :type :ok, :f :write, :value 1}}
             {{:index {c}, :process 1, :type :invoke, :f :read, :value nil}}
             {{:index {d}, :process 1, :type :ok, :f :read, :value 1}}"
        )
    };
    for (indices, expected) in [
        ([5, 9, 30, 31], [5, 9, 30, 31]),
        ([-1, -1, -1, -1], [0, 1, 2, 3]),
        // One number an operation; the same for all; too large to be one.
        ([4, 4, 7, 7], [0, 1, 2, 3]),
        ([0, 0, 0, 0], [0, 1, 2, 3]),
        ([1, 2, 3, 1 << 40], [0, 1, 2, 3]),
    ] {
        let history = load(&events(indices), Format::Edn)
            .expect("in order")
            .history;
        let numbers: Vec<u64> = history
            .to_events()
            .iter()
            .map(|event| event.index)
            .collect();
        assert_eq!(numbers, expected, "{indices:?}");
    }
    for indices in [[5, 9, 3, 31], [5, 30, 9, 31], [0, 1, 2, 1]] {
        let error = load(&events(indices), Format::Edn).expect_err("out of order");
        assert!(error.contains("the events are not in order"), "{error}");
    }
}

#[test]
fn a_logged_event_is_found_in_whatever_is_before_it_and_ends_with_the_report() {
    let log = |before: &str| format!("{before}0\t:invoke\t:write\t1\n{before}0\t:ok\t:write\t1\n");
    for before in [
        "",
        "INFO  jepsen.util - ",
        "INFO [2018-06-07 13:14:10,000] jepsen worker 0 - jepsen.util ",
        "2022-02-26 23:39:10,000{GMT}\tINFO\t[jepsen worker 0] jepsen.util: ",
        "2022-02-26 23:39:10,000{GMT} INFO [jepsen worker 0] jepsen.util: [ 1345013587 ] ",
        "2024-01-01T10:00:00.123Z ",
        "[10:00:00] INFO ",
    ] {
        let text = log(before);
        let loaded = format::read(text.as_bytes(), "h", None, None).expect(before);
        assert_eq!(loaded.history.len(), 1, "{before}");
        let quoting = format!("{text}{{:valid? true}}\n0 :ok :read 9\n");
        let loaded = format::read(quoting.as_bytes(), "h", None, None).expect(before);
        assert_eq!(loaded.history.len(), 1, "{before}");
    }
    for prose in ["he said 0 ", "(", "worker "] {
        let error = load(&log(prose), Format::JepsenTxt).expect_err(prose);
        assert!(error.contains("no line of it is a Jepsen event"), "{error}");
    }
}

#[test]
fn a_result_that_may_be_a_status_is_not_taken_for_what_was_found() {
    let answer = |members: &str| {
        format!(
            "{{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"a\"}}\n{{\"process\":1,\"type\":\"ok\",\"f\":\"read\",{members}}}"
        )
    };
    let found = |members: &str| {
        let history = load(&answer(members), Format::Json)?.history;
        let found = match history.operation(0).outcome {
            Outcome::Ok(Some(value)) => history.names.text(value).into_owned(),
            other => format!("{other:?}"),
        };
        Ok::<String, String>(found)
    };
    assert_eq!(found("\"result\":\"jam\"").as_deref(), Ok("jam"));
    assert_eq!(found("\"value\":null,\"result\":4").as_deref(), Ok("4"));
    assert_eq!(found("\"value\":4,\"result\":4.0").as_deref(), Ok("4"));
    for members in [
        "\"value\":null,\"result\":\"ok\"",
        "\"value\":3,\"result\":4",
    ] {
        found(members).expect_err(members);
    }
}
