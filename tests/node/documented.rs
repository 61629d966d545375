//! The tables in the node's documentation are true: every row names tests that exist, and nothing is left out.

use std::{collections::BTreeSet, fs, path::PathBuf};

/// PROTOCOL's table "What the document or Kiwi gets wrong" has so many rows.
const TRAPS: usize = 17;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

/// A row's cells.
type Row = Vec<String>;

/// The tables in the documentation of `src/node/mod.rs`, without their heads.
fn tables() -> Vec<Vec<Row>> {
    let source = text("src/node/mod.rs").expect("the module");
    let mut tables = Vec::new();
    let mut inside = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.trim();
        if !line.starts_with('|') {
            inside = false;
            continue;
        }
        if !inside {
            tables.push(Vec::new());
            inside = true;
        }
        let cells = line.trim_matches('|').split(" | ");
        let row: Row = cells.map(|cell| cell.trim().to_owned()).collect();
        tables.last_mut().expect("just pushed").push(row);
    }
    for table in &mut tables {
        assert!(table[1][0].starts_with("---"), "{table:?}");
        table.drain(..2);
    }
    tables
}

/// The tests that a cell names: what stands in backticks and is a path.
fn tests(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.contains("::")).collect()
}

fn exists(test: &str) -> bool {
    let (place, name) = test.rsplit_once("::").expect("a path");
    let files = match place.strip_suffix("::tests") {
        Some(module) => vec![
            format!("src/node/{module}.rs"),
            format!("src/node/{module}/tests.rs"),
        ],
        None => vec![
            format!("tests/node/{place}.rs"),
            format!("tests/{place}.rs"),
        ],
    };
    let head = format!("fn {name}(");
    files
        .iter()
        .filter_map(|file| text(file))
        .any(|text| is_test(&text, &head))
}

/// Whether the function stands right below an attribute that makes it a test.
fn is_test(text: &str, head: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.windows(2).any(|pair| {
        let marked = pair[0] == "#[test]" || pair[0].starts_with("#[tokio::test");
        marked && pair[1].contains(head)
    })
}

fn rpcs() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in ["raft", "admin", "client"] {
        let text = text(&format!("proto/{file}.proto")).expect("a file");
        let mut service = "";
        for line in text.lines() {
            let mut words = line.split([' ', '(']).filter(|word| !word.is_empty());
            match (words.next(), words.next()) {
                (Some("service"), Some(name)) => service = name,
                (Some("rpc"), Some(name)) => drop(all.insert(format!("{service}.{name}"))),
                _ => {}
            }
        }
    }
    all
}

#[test]
fn every_row_names_a_test_that_there_is() {
    let mut wrong = Vec::new();
    for row in tables().iter().flatten() {
        let named = tests(row.last().expect("a cell"));
        if named.is_empty() {
            wrong.push(format!("{:?} names no test", row[0]));
        }
        let absent = named.into_iter().filter(|test| !exists(test));
        wrong.extend(absent.map(|test| format!("{:?} names {test}, which is no test", row[0])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!exists("serving::no_such_test"), "and it can say no");
    assert!(
        !exists("convert::tests::append_request"),
        "nor is a helper a test"
    );
}

#[test]
fn every_rpc_every_plan_and_every_trap_has_its_row() {
    let tables = tables();
    let [of_rpcs, of_plans, of_traps] = tables.as_slice() else {
        panic!("three tables, not {}", tables.len());
    };
    let listed: BTreeSet<String> = of_rpcs.iter().map(|row| row[0].clone()).collect();
    let rpcs = rpcs();
    assert_eq!(rpcs.len(), 16, "{rpcs:?}");
    let missing: Vec<_> = rpcs.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let plans: Vec<_> = of_plans.iter().map(|row| row[0].as_str()).collect();
    for plan in [
        "StreamAppend",
        "InstallSnapshot",
        "connection pool",
        "latency",
    ] {
        assert!(plans.iter().any(|row| row.starts_with(plan)), "{plan}");
    }
    assert_eq!(of_traps.len(), TRAPS);
}
