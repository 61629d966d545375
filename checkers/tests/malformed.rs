//! Every malformed file of the corpus, and what its reader says: the file, the line, the reason.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use checkers::format;

/// File, line, reason.
const MESSAGES: &[(&str, u64, &str)] = &[
    ("after-the-end.edn", 2, "'{' after the end of the list"),
    ("append-to-a-register.jsonl", 2, "a register has no append"),
    (
        "cas-completed-as-another.edn",
        4,
        "the completion says [1 3], but client 0 asked for a cas of [1 2]",
    ),
    (
        "cas-of-one-value.edn",
        1,
        "the value of a cas must be [old new], not 3",
    ),
    (
        "cas-of-one-value.jsonl",
        2,
        "a cas' value must be [old, new]",
    ),
    (
        "completed-as-another-operation.jsonl",
        3,
        "the completion is of a write, but client 1 asked for a read",
    ),
    (
        "completed-on-another-key.edn",
        2,
        "the completion is of key :y, but client 0 asked for key :x",
    ),
    (
        "completed-twice-differently.jsonl",
        4,
        "client 1 completes its operation #0 a second time, with another outcome",
    ),
    (
        "completed-with-another-value.jsonl",
        3,
        "the completion says 2, but client 1 asked for a write of 1",
    ),
    (
        "completes-nothing.txt",
        3,
        "client 1 completes an operation but has none open",
    ),
    (
        "completion-without-invocation.jsonl",
        2,
        "client 1 completes an operation but has none open",
    ),
    (
        "gap-of-nothing.jsonl",
        3,
        "a gap must say how many events are lost, at least one",
    ),
    (
        "half-a-line-in-the-middle.jsonl",
        2,
        "EOF while parsing a string (column 30)",
    ),
    (
        "half-a-surrogate-pair.json",
        2,
        r"\ud83d is half a surrogate pair",
    ),
    (
        "index-goes-back.jsonl",
        3,
        "event index 4 does not come after 5",
    ),
    (
        "integer-kept-for-names.jsonl",
        2,
        "the value -4611686018427387904 can't be had: the 2^32 integers from -4611686018427387904 on are kept for values that are no integers",
    ),
    (
        "last-line-that-is-not-cut.jsonl",
        3,
        "an ok read without a value (null is absent)",
    ),
    ("no-colon.json", 2, "a key without a colon after it"),
    (
        "no-header.jsonl",
        1,
        "the first line is not a whitewater header: missing field `whitewater` (column 71)",
    ),
    (
        "no-such-type.jsonl",
        2,
        r#"the type "maybe" is not known; invoke, ok, fail, info, mark and gap are"#,
    ),
    ("no-type.edn", 2, "an event without :type"),
    ("not-a-map.edn", 2, "an event must be a map, not :ok"),
    (
        "not-closed.edn",
        1,
        "the map is not closed (seen at line 2)",
    ),
    (
        "not-closed.json",
        1,
        "the list is not closed (seen at line 3)",
    ),
    (
        "nothing-known.txt",
        1,
        "no format is known that begins like \"this is\"",
    ),
    (
        "ok-read-without-value.jsonl",
        3,
        "an ok read without a value (null is absent)",
    ),
    (
        "put-completed-as-another.txt",
        2,
        r#"the completion says "y", but client 0 asked for a write of "x""#,
    ),
    (
        "put-of-a-number.txt",
        2,
        "the value of a put must be a string, not 3",
    ),
    (
        "read-twice-differently.jsonl",
        4,
        "client 1 completes its operation #0 a second time, with another outcome",
    ),
    (
        "transaction-of-two.edn",
        1,
        "a transaction of 2 micro-operations: only single operations are judged here",
    ),
    (
        "two-open.jsonl",
        3,
        "client 1 begins an operation while its operation #0 is open",
    ),
    (
        "unknown-claim.edn",
        1,
        "the first line claims a spec that is not known: stack, nil is absent",
    ),
    (
        "unknown-f.jsonl",
        2,
        r#"the f "increment" is not known; read, write, cas, delete and append are"#,
    ),
    (
        "unknown-f.log",
        2,
        r#"the f "multiply" is not known; read, write, cas, delete and append are"#,
    ),
    (
        "unknown-spec.jsonl",
        1,
        r#"the spec "stack" is not known; register and list-append are"#,
    ),
    (
        "unknown-type.json",
        2,
        r#"the type "done" is not known; invoke, ok, fail and info are"#,
    ),
    (
        "unknown-version.jsonl",
        1,
        "version 99 of the format is not known; 1 is",
    ),
    ("archive.txt", 1, "it is a zip archive, and no history"),
    (
        "conditional-on-a-version.edn",
        2,
        "a write that names version 12: only values are judged, and no condition on their version",
    ),
    ("empty.edn", 1, "the file is empty"),
    ("long-datum.edn", 2, "'}' closes nothing (seen at line 6)"),
    (
        "micro-operation-of-another-kind.edn",
        1,
        "a read that holds the micro-operation [[:w 3 8]]",
    ),
    (
        "none-or-a-value.csv",
        1,
        "\"none\" is written as a value here, and read where there may be none: nobody can tell them apart",
    ),
    (
        "not-in-order.json",
        3,
        "index 2 stands behind 5: the events are not in order",
    ),
    ("page.html", 1, "it is a page (HTML or XML), and no history"),
    ("picture.edn", 1, "it is a picture (PNG), and no history"),
    (
        "returned-before-called.csv",
        3,
        "an operation that returned before it was called",
    ),
    (
        "says-two-things.jsonl",
        2,
        "two members say what was found: 3 and 4",
    ),
    (
        "two-micro-operations.json",
        1,
        "a transaction of 2 micro-operations: only single operations are judged here",
    ),
    (
        "two-runs.log",
        7,
        "a second run begins here: give each run a file of its own",
    ),
    (
        "unknown-output.csv",
        2,
        "what the output maybe of a write means is not known",
    ),
    (
        "begins-as-no-value.jsonl",
        1,
        "initial: the value {\"value\":3} is neither an integer, a string, a list nor null",
    ),
    (
        "list-that-begins-as-a-number.jsonl",
        1,
        "initial: each key is a list, and can't begin as 3",
    ),
    (
        "unknown-request.json",
        1,
        "the request \"merge\" is not known; range, txn, leaseGrant, leaseRevoke, compact and defragment are",
    ),
    (
        "wrapped-twice.json",
        2,
        "a second list of events: only one can be judged at a time",
    ),
];

/// In which column begins what is wrong, where that is not the beginning of its line.
const COLUMNS: &[(&str, u64)] = &[
    ("half-a-surrogate-pair.json", 2),
    ("no-colon.json", 2),
    ("no-type.edn", 2),
    ("not-a-map.edn", 2),
    ("not-in-order.json", 2),
    ("transaction-of-two.edn", 2),
    ("unknown-f.log", 21),
    ("wrapped-twice.json", 11),
];

#[test]
fn every_malformed_file_has_a_message_that_helps() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../histories/malformed");
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let file = BufReader::new(File::open(&path).expect("it can be opened"));
        match format::read(file, &name, None, None) {
            Ok(_) => panic!("{name} was read"),
            Err(error) => said.insert(name, error.to_string()),
        };
    }
    let expected: BTreeMap<String, String> = MESSAGES
        .iter()
        .map(|(name, line, reason)| {
            let column = COLUMNS.iter().find(|(file, _)| file == name);
            let column = column.map_or_else(String::new, |(_, column)| format!(":{column}"));
            (
                (*name).to_owned(),
                format!("{name}:{line}{column}: {reason}"),
            )
        })
        .collect();
    assert!(expected.len() >= 20);
    assert_eq!(said, expected);
}
