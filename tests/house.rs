//! The arrows between the rooms: who may import whom. This test reads the sources and holds the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates of ours that a room names as `NAME::`.
const CRATES: &[&str] = &["checkers", "model", "machine"];

/// Room, and the rooms (or crates of ours) that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("shortage", &[]),
    ("exit", &[]),
    ("last_words", &[]),
    ("machine", &[]),
    ("node", &["wire", "shortage"]),
    ("host", &["shortage"]),
    ("proxy", &["wire", "host", "shortage"]),
    ("cluster", &["host", "shortage", "journal", "target"]),
    (
        "target",
        &[
            "checkers", "wire", "host", "shortage", "journal", "fault", "machine",
        ],
    ),
    ("testbed", &["machine", "proxy", "cluster", "target"]),
    ("workload", &["checkers"]),
    ("recorder", &["checkers"]),
    ("judge", &["checkers"]),
    ("fault", &[]),
    (
        "nemesis",
        &["fault", "cluster", "proxy", "recorder", "journal", "target"],
    ),
    ("scenario", &["workload", "fault", "checkers"]),
    (
        "oracle",
        &[
            "checkers",
            "model",
            "shortage",
            "host",
            "cluster",
            "fault",
            "last_words",
            "target",
        ],
    ),
    // Of the oracles what they find, as data; of the wire the token that a folder keeps.
    (
        "journal",
        &[
            "checkers", "wire", "exit", "recorder", "fault", "scenario", "oracle",
        ],
    ),
    (
        "run",
        &[
            "checkers", "wire", "shortage", "host", "proxy", "cluster", "workload", "recorder",
            "target", "judge", "fault", "nemesis", "scenario", "oracle", "journal", "exit",
            "testbed", "machine",
        ],
    ),
    ("report", &["checkers", "fault", "journal", "exit"]),
    (
        "campaign",
        &[
            "run",
            "scenario",
            "fault",
            "journal",
            "last_words",
            "report",
        ],
    ),
    (
        "tui",
        &["run", "fault", "oracle", "journal", "exit", "checkers"],
    ),
    (
        "cli",
        &[
            "machine", "run", "campaign", "report", "tui", "node", "shortage", "checkers", "model",
            "exit", "journal", "target", "fault",
        ],
    ),
    ("main", &["cli", "machine"]),
];

/// Tests and examples of a crate in the place of a room.
const OWN_PROGRAMS: &[&str] = &["machine/tests", "machine/examples"];

/// Crates that a pure library has no business with.
const FORBIDDEN_IN_CHECKERS: &[&str] = &[
    "tokio",
    "tonic",
    "openraft",
    "ratatui",
    "crossterm",
    "hyper",
    "std::net",
    "std::time",
    "std::path",
    "std::fs",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(dir).unwrap_or_else(|e| panic!("could not list {}: {e}", dir.display()))
    {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The source of a file without comments and without what only tests compile.
fn code(path: &Path) -> String {
    without_tests(&std::fs::read_to_string(path).expect("a source file is text"))
}

/// A source without comments and without the items that only tests compile, wherever they stand: such an item ends with
/// its first line, or with the brace in the column in which it began.
fn without_tests(text: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push(line.split("//").next().unwrap_or(""));
            continue;
        }
        let column = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(column));
        for skipped in lines.by_ref() {
            let attribute = skipped.trim_start().starts_with('#');
            let whole = skipped.ends_with(';') || skipped.ends_with(',') || skipped.ends_with('}');
            let first = skipped.len() - skipped.trim_start().len() == column && !attribute;
            if skipped.trim_end_matches([';', ',']) == end || (first && whole) {
                break;
            }
        }
    }
    kept.join("\n")
}

/// First segments of `crate::room` paths, and `checkers` where that crate is named.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut rooms = BTreeSet::new();
    for prefix in ["crate::", "whitewater::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            if let Some(list) = rest.strip_prefix('{') {
                // `use crate::{a::b, c}`: the first word of each part at depth one.
                let (mut depth, mut part) = (1, String::new());
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || (depth == 1 && c == ',') {
                        rooms.insert(word(part.trim()));
                        part.clear();
                    } else {
                        part.push(c);
                    }
                    if depth == 0 {
                        break;
                    }
                }
            } else {
                rooms.insert(word(rest));
            }
        }
    }
    for name in CRATES {
        let path = format!("{name}::");
        let whole = |at: usize| {
            let before = code[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        };
        if code.match_indices(&path).any(|(at, _)| whole(at)) {
            rooms.insert((*name).to_owned());
        }
    }
    rooms.remove("");
    rooms
}

/// Each room of `src/` with its files.
fn rooms() -> BTreeMap<String, Vec<PathBuf>> {
    let src = root().join("src");
    let mut rooms: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in rust_files(&src) {
        let below = file.strip_prefix(&src).expect("it is below src");
        // A crate's own tests are programs of their own: what they call `crate` is themselves.
        if OWN_PROGRAMS.iter().any(|dir| below.starts_with(dir)) {
            continue;
        }
        let first = below.components().next().expect("it has a name");
        let room = Path::new(first.as_os_str())
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        rooms.entry(room).or_default().push(file);
    }
    rooms
}

#[test]
fn every_room_imports_only_what_its_arrow_allows() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        // Of a crate of its own, `crate::` is itself, and Cargo holds what it may import.
        if room == "lib" || CRATES.contains(&room.as_str()) {
            continue;
        }
        let Some(allowed) = arrows.get(room.as_str()) else {
            wrong.push(format!("src/{room} is a room that the table does not know"));
            continue;
        };
        for file in files {
            for named in named_rooms(&code(&file)) {
                let known = CRATES.contains(&named.as_str()) || arrows.contains_key(named.as_str());
                if known && named != room && !allowed.contains(&named.as_str()) {
                    wrong.push(format!(
                        "{} names {named}, which {room} may not import",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_judge_and_the_model_know_no_clock_no_socket_no_path_and_no_runtime() {
    let mut wrong = Vec::new();
    let both = ["checkers/src", "checkers/model/src"].map(|dir| rust_files(&root().join(dir)));
    for file in both.concat() {
        let code = code(&file);
        for name in FORBIDDEN_IN_CHECKERS
            .iter()
            .filter(|name| code.contains(&format!("{name}::")))
        {
            wrong.push(format!("{} names {name}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_wire_includes_generated_code() {
    for file in rust_files(&root().join("src")) {
        let includes = code(&file).contains("include_proto!") || code(&file).contains("OUT_DIR");
        assert!(
            !includes || file.ends_with("src/wire.rs"),
            "{} includes generated code",
            file.display()
        );
    }
}

/// Rooms, or parts of them, that know the messages of our own node.
const KNOW_OUR_NODE: &[&str] = &["src/wire", "src/node", "src/target/kiwi", "src/proxy"];

#[test]
fn only_our_own_node_and_its_target_know_its_messages() {
    for file in rust_files(&root().join("src")) {
        let path = file.strip_prefix(root()).expect("it is below");
        let path = path.to_string_lossy();
        let knows = KNOW_OUR_NODE.iter().any(|known| path.starts_with(known));
        let code = code(&file);
        let named = code.contains("wire::kiwi") || code.contains("wire::chaos");
        assert!(knows || !named, "{path} names messages of our own node");
    }
}

#[test]
fn every_file_opens_with_what_its_room_is_for() {
    let all = ["src", "checkers/src", "checkers/model/src"];
    for file in all.map(|dir| rust_files(&root().join(dir))).concat() {
        let text = std::fs::read_to_string(&file).expect("a source file is text");
        assert!(
            text.starts_with("//!"),
            "{} does not open with //!",
            file.display()
        );
    }
}

/// A test that cannot fail is worth nothing: this one shows the reader of imports what it must find.
#[test]
fn the_reader_of_imports_finds_them_in_every_form() {
    let rooms = |code: &str| named_rooms(code).into_iter().collect::<Vec<_>>();
    assert_eq!(rooms("use crate::run::{Command, Notice};"), ["run"]);
    assert_eq!(
        rooms("use crate::{run::{A, B}, fault, checkers_like};"),
        ["checkers_like", "fault", "run"]
    );
    assert_eq!(rooms("let x = crate::node::start();"), ["node"]);
    assert_eq!(
        rooms("use whitewater::cli::run; use checkers::history::Event;"),
        ["checkers", "cli"]
    );
    assert_eq!(rooms("use machine::call::Call;"), ["machine"]);
    assert!(rooms("use std::fmt; state_machine::new();").is_empty());
}

#[test]
fn what_only_tests_compile_is_left_out_and_nothing_else() {
    let text = "\
mod a;
#[cfg(test)]
mod tests;
use b; // c
#[cfg(test)]
mod inline {
    fn d() {}
}
fn e() {
    #[cfg(test)]
    let f = g {
        h,
    };
    i();
}
#[cfg(test)]
#[derive(J)]
struct K {
    l: L,
}
fn m() {}";
    let kept = "mod a;\nuse b; \nfn e() {\n    i();\n}\nfn m() {}";
    assert_eq!(without_tests(text), kept);
}
