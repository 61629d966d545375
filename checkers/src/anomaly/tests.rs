//! Hand-made histories, each with the name that it must get.
//!
//! One operation is `what begin-end`, where begin and end are the events' places: `w1 0-1` writes 1, `d 2-3` deletes,
//! `c1>2 4-5` is a cas, `r1 6-7` found 1, `r- 6-7` found nothing, `a1 0-1` appends, `r[1,2] 2-3` found a list. Behind an
//! end, `!` is failed and `?` unknown, `@3.17` the log id of the answer; `0-` never ended.

use super::{Anomaly, of};
use crate::history::{History, Nil};
use crate::linear::{Options, check, strict};
use crate::verdict::{Counterexample, Verdict};

fn history(text: &str) -> History {
    let mut events: Vec<(u64, String)> = Vec::new();
    for (client, op) in text.split('|').enumerate() {
        let words: Vec<&str> = op.split_whitespace().collect();
        let [what, when] = words[..] else {
            panic!("{op:?} is no operation");
        };
        let (begin, rest) = when.split_once('-').expect("a begin and an end");
        let (rest, at) = rest
            .split_once('@')
            .map_or((rest, ""), |(end, at)| (end, at));
        let (end, how) = match (rest.strip_suffix('!'), rest.strip_suffix('?')) {
            (Some(end), _) => (end, "fail"),
            (_, Some(end)) => (end, "info"),
            _ => (rest, "ok"),
        };
        let (f, asked, found) = match (what.split_at(1), what.split_once('>')) {
            ((_, from), Some((_, to))) => {
                let from = from.split_once('>').expect("a cas").0;
                ("cas", format!("[{from},{to}]"), "null".to_owned())
            }
            (("w", value), _) => ("write", value.to_owned(), "null".to_owned()),
            (("a", value), _) => ("append", value.to_owned(), "null".to_owned()),
            (("d", _), _) => ("delete", "null".to_owned(), "null".to_owned()),
            (("r", "-"), _) => ("read", "null".to_owned(), "null".to_owned()),
            (("r", value), _) => ("read", "null".to_owned(), value.to_owned()),
            _ => panic!("{what:?} is no operation"),
        };
        let line = |index: u64, kind: &str, more: &str| {
            let head = format!(r#"{{"index":{index},"client":{client},"type":"{kind}""#);
            (index, format!("{head}{more}}}"))
        };
        let more = format!(r#","f":"{f}","key":"x","value":{asked}"#);
        events.push(line(begin.parse().expect("an event"), "invoke", &more));
        if let Ok(end) = end.parse() {
            let value = match (f, how) {
                ("read", "ok") => format!(r#","value":{found}"#),
                _ => String::new(),
            };
            let at = at.split_once('.').map_or(String::new(), |(term, index)| {
                format!(r#","at":{{"term":{term},"index":{index}}}"#)
            });
            events.push(line(end, how, &(value + &at)));
        }
    }
    events.sort();
    let spec = if text.contains('a') || text.contains('[') {
        "list-append"
    } else {
        "register"
    };
    let mut lines = format!("{{\"whitewater\":1,\"spec\":\"{spec}\"}}\n");
    for (_, event) in events {
        lines += &event;
        lines.push('\n');
    }
    let loaded = crate::format::jsonl::read(lines.as_bytes(), "h", Nil::Absent);
    loaded.unwrap_or_else(|e| panic!("{text}: {e}")).history
}

fn violation(text: &str) -> (History, Counterexample) {
    let history = history(text);
    let options = Options::default();
    let mut verdict = check(&history, &options).verdict;
    if verdict.holds() {
        verdict = strict::check(&history, &options);
    }
    match verdict {
        Verdict::Violation(found) => (history, *found),
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn named(text: &str, expected: Anomaly) {
    let (history, found) = violation(text);
    assert_eq!(of(&found, Some(&history)), expected, "{text}: {found:#?}");
}

#[test]
fn a_read_of_what_was_replaced_is_stale() {
    use Anomaly::StaleRead;
    named("w1 0-1 | w2 2-3 | r1 4-5", StaleRead);
    named("w1 0-1 | c1>2 2-3 | r1 4-5", StaleRead);
    // The initial value is one, too.
    named("w1 0-1 | r- 2-3", StaleRead);
    // An unknown write took effect, since somebody found it.
    named("w1 0-1 | w2 2-9? | r2 3-4 | r1 5-6", StaleRead);
    // Two values, each before the other.
    named("w1 0-3 | w2 1-2 | r1 4-5 | r2 6-7 | r1 8-9", StaleRead);
    // Values repeat: both writes of 1 had been replaced.
    named("w1 0-1 | w2 2-3 | w1 4-5 | w2 6-7 | r1 8-9", StaleRead);
    named("w1 0-9? | w2 1-2 | r1 3-4 | w2 5-6 | r1 7-8", StaleRead);
    // The log ids: the node had not come as far as the write, or had not heard of its term.
    named(
        "w1 0-1@1.4 | w2 2-3@1.5 | r1 4-5@1.4 | r1 6-7@1.4",
        StaleRead,
    );
    named("w1 0-1@1.4 | w2 2-3@2.5 | r1 4-5@1.90", StaleRead);
    named("w1 0-1@1.4 | d 2-3@2.5 | r1 4-5@1.90", StaleRead);
    named("w1 0-1@1.4 | d 2-3@1.9 | r1 4-5@1.6", StaleRead);
    // It was there later: then it was not lost, whatever the log ids say.
    named(
        "w1 0-1@1.4 | w2 2-3@1.5 | r1 4-5@1.6 | r2 6-7@1.6",
        StaleRead,
    );
}

#[test]
fn a_write_that_the_log_behind_it_lacks_is_lost() {
    use Anomaly::LostWrite;
    named("w1 0-1@1.4 | w2 2-3@1.5 | r1 4-5@2.5", LostWrite);
    named("w1 0-1@1.4 | w2 2-3@1.5 | r1 4-5@1.5", LostWrite);
    named("w1 0-1@1.4 | c1>2 2-3@1.5 | r1 4-5@2.6", LostWrite);
    named("w1 0-1@1.4 | r- 2-3@2.5", LostWrite);
    // Found first and gone later.
    named("w1 0-1@1.4 | w2 2-9? | r2 3-4@1.5 | r1 5-6@2.6", LostWrite);
    // A cas that compares in a later term with what came before.
    named("w1 0-1@1.4 | w2 2-3@1.5 | c1>3 4-5@2.6", LostWrite);
    named("w1 0-1@1.4 | c1>2 2-3@1.5 | c1>3 4-5@2.6", LostWrite);
}

#[test]
fn without_log_ids_a_write_is_lost_that_two_reads_missed_and_nobody_ever_found() {
    named("w1 0-1 | w2 2-3 | r1 4-5 | r1 6-7", Anomaly::LostWrite);
    named(
        "w1 0-1 | w2 2-3 | r1 4-5 | r2 6-7 | r1 8-9",
        Anomaly::StaleRead,
    );
    // Between the two somebody wrote 1 again.
    named(
        "w1 0-1 | w2 2-3 | r1 4-5 | w1 6-7 | r1 8-9",
        Anomaly::StaleRead,
    );
}

#[test]
fn what_was_deleted_and_comes_back_is_resurrected() {
    named("w1 0-1 | d 2-3 | r1 4-5", Anomaly::ResurrectedDelete);
    named(
        "w1 0-1@1.4 | d 2-3@1.5 | r1 4-5@2.6",
        Anomaly::ResurrectedDelete,
    );
    // Absent itself is no value that comes back.
    named("d 0-1 | w1 2-3 | r- 4-5", Anomaly::StaleRead);
}

#[test]
fn what_only_a_failure_would_have_left_was_aborted() {
    use Anomaly::AbortedRead;
    named("w1 0-1! | r1 2-3", AbortedRead);
    named("w1 0-1 | c1>2 2-3! | r2 4-5", AbortedRead);
    named("w1 0-1! | c1>2 2-3", AbortedRead);
    // It failed after it had been found.
    named("w1 0-3! | r1 1-2", AbortedRead);
    // A delete that failed, and took effect.
    named("w1 0-1 | d 2-3! | r- 4-5", AbortedRead);
    // 1 had been written long before, too; the failed write of it is nearer.
    named("w1 0-1 | w2 2-3 | w1 4-5! | r1 6-7", AbortedRead);
}

#[test]
fn what_nobody_had_written_is_of_the_future_or_from_nowhere() {
    named("r1 0-1 | w1 2-3", Anomaly::FutureRead);
    named("w2 0-1 | c1>3 2-3 | w1 4-5", Anomaly::FutureRead);
    named("w2 0-1 | r1 2-3", Anomaly::ValueFromNowhere);
    named("c7>8 0-1", Anomaly::ValueFromNowhere);
    // Two cas that stand on each other.
    named("c1>2 0-2 | c2>1 1-3", Anomaly::ValueFromNowhere);
}

#[test]
fn cas_that_compared_with_what_is_not_there_have_names_of_their_own() {
    named("w1 0-1 | c1>2 2-3 | c1>3 4-5", Anomaly::DoubleCas);
    named("w1 0-1 | c1>2 2-5 | c1>3 3-4", Anomaly::DoubleCas);
    named(
        "w1 0-1@1.4 | c1>2 2-3@1.5 | c1>3 4-5@1.6",
        Anomaly::DoubleCas,
    );
    named("w1 0-1 | w2 2-3 | c1>3 4-5", Anomaly::StaleCas);
    named("w1 0-1@1.4 | w2 2-3@1.5 | c1>3 4-5@1.6", Anomaly::StaleCas);
    named("w1 0-1 | d 2-3 | c1>3 4-5", Anomaly::StaleCas);
    // The cas and the write overlap; the log says which came first, and a read shows that it was forgotten.
    named(
        "w1 0-1@2.5 | w2 2-5@2.6 | c1>3 3-6@2.7 | r3 7-8@2.7",
        Anomaly::StaleCas,
    );
    named("w1 0-1 | c1>3 2-3! | r1 4-5", Anomaly::RefusedCas);
}

#[test]
fn lists_lose_double_and_turn_what_was_appended() {
    named("a1 0-1 | a2 2-3 | r[2] 4-5", Anomaly::LostAppend);
    named("a1 0-1 | a2 2-3 | r[1] 4-5", Anomaly::LostAppend);
    named("a1 0-1 | r- 2-3", Anomaly::LostAppend);
    named(
        "a1 0-1 | a2 2-9? | a3 3-8? | r[1,2] 4-5 | r[1,3] 6-7",
        Anomaly::LostAppend,
    );
    named(
        "a1 0-1 | a2 2-3 | r[1,2] 4-5 | r[1] 6-7",
        Anomaly::StaleRead,
    );
    named("a1 0-1@1.4 | a2 2-3@1.5 | r[1] 4-5@1.4", Anomaly::StaleRead);
    named(
        "a1 0-1@1.4 | a2 2-3@1.5 | r[1] 4-5@2.6",
        Anomaly::LostAppend,
    );
    named("a1 0-1 | r[1,1] 2-3", Anomaly::DuplicateAppend);
    named("a1 0-1 | a2 2-3 | r[2,1] 4-5", Anomaly::WrongOrder);
    named(
        "a1 0-2 | a2 1-3 | r[2,1] 4-5 | r[1,2] 6-7",
        Anomaly::WrongOrder,
    );
    named("a1 0-1! | r[1] 2-3", Anomaly::AbortedRead);
    named("r[1] 0-1 | a1 2-3", Anomaly::FutureRead);
    named("a1 0-1 | r[1,7] 2-3", Anomaly::ValueFromNowhere);
    named("a1 0-1 | d 2-3 | r[1] 4-5", Anomaly::ResurrectedDelete);
    named("a1 0-1 | w2 2-3 | r[1] 4-5", Anomaly::StaleRead);
}

#[test]
fn without_the_history_what_a_counterexample_does_not_say_is_not_guessed() {
    let alone = |text: &str| of(&violation(text).1, None);
    assert_eq!(alone("w1 0-1 | w2 2-3 | r1 4-5"), Anomaly::StaleRead);
    assert_eq!(alone("w1 0-1 | c1>2 2-3 | c1>3 4-5"), Anomaly::DoubleCas);
    assert_eq!(
        alone("w1 0-1@1.4 | w2 2-3@1.5 | r1 4-5@2.6"),
        Anomaly::LostWrite
    );
    // The failed write is not in it.
    assert_eq!(alone("w1 0-1! | r1 2-3"), Anomaly::Unclassified);
}

#[test]
fn names_are_written_as_they_are_printed() {
    for anomaly in Anomaly::ALL.into_iter().chain(Anomaly::OF_OTHER_TYPES) {
        assert_eq!(Anomaly::named(anomaly.name()), Some(anomaly));
        let written = serde_json::to_string(&anomaly).expect("it is a word");
        assert_eq!(written, format!("\"{anomaly}\""));
        assert_eq!(
            serde_json::from_str::<Anomaly>(&written).ok(),
            Some(anomaly)
        );
    }
}
