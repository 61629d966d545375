//! From a file's text to a [`Description`], or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use toml::de::DeTable;

use super::asks::{formed, leader, ready, state};
use super::client::{ClientOptions, choice, environment, pattern};
use super::find::{Find, Version};
use super::modes::modes;
use super::reader::{Complaints, Placed, Table};
use super::{Content, DataType, Description, Malformed, On, Prepare, Process, StopSignal};

/// Words that mean something wherever a node is meant.
const WORDS: [&str; 8] = [
    "node",
    "id",
    "ip",
    "dir",
    "program",
    "first.node",
    "first.id",
    "first.ip",
];
/// Those that mean something in a request of a client beside them.
const OF_AN_OPERATION: [&str; 4] = ["key", "value", "old", "new"];
/// Nodes of a target.
const NODES: [u64; 2] = [1, 9];
/// Programs that start something with another parent: no fault of the bench would meet it.
const LEAVES: [&str; 8] = [
    "docker",
    "podman",
    "nerdctl",
    "kubectl",
    "systemctl",
    "systemd-run",
    "ssh",
    "at",
];
/// Programs that want to be somebody else, which no child of the bench can become.
const RISES: [&str; 6] = ["sudo", "su", "doas", "runuser", "pkexec", "setpriv"];

/// Reads a file that the description names.
pub(super) type Reads<'a> = &'a dyn Fn(&str) -> io::Result<String>;

/// The words of a question to a node.
pub(super) fn ask_words<'a>(set: &[&'a str]) -> Vec<&'a str> {
    WORDS.iter().chain(set).copied().collect()
}

/// The words of a client's request.
pub(super) fn operation_words<'a>(set: &[&'a str]) -> Vec<&'a str> {
    WORDS
        .iter()
        .chain(&OF_AN_OPERATION)
        .chain(set)
        .copied()
        .collect()
}

pub(super) fn read(
    text: &str,
    file: &str,
    from: Reads<'_>,
) -> Result<(Description, Vec<String>), Malformed> {
    let malformed = |wrong| Malformed {
        file: file.to_owned(),
        wrong,
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let complaints = Complaints::new(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            complaints.add(at, format!("this is no TOML: {}", error.message()));
        }
        return Err(malformed(complaints.by_line()));
    }
    let complaints = Complaints::new(text);
    let mut warnings = Vec::new();
    let table = Table::of_the_file(document.get_ref(), &complaints);
    let described = describe(&table, from, &mut warnings);
    table.done();
    let wrong = complaints.by_line();
    match described {
        Some(description) if wrong.is_empty() => Ok((description, warnings)),
        _ => Err(malformed(wrong)),
    }
}

fn describe(table: &Table<'_>, from: Reads<'_>, warnings: &mut Vec<String>) -> Option<Description> {
    let name = table.need("name", "what the target is called");
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is.chars().all(is_of_a_name) {
        table.complain_at(name.at, "name can have letters, digits, - _ and .");
    }
    let about = table
        .text("about")
        .map(|about| about.is)
        .unwrap_or_default();
    let nodes = table.number("nodes", NODES).unwrap_or(3);
    let spec = choice(table, "spec", &DataType::all(), DataType::name);
    let set = own_words(table, "set", &BTreeMap::new());
    let own: Vec<&str> = set.keys().map(String::as_str).collect();
    let words = ask_words(&own);
    let find = find(table);
    let prepare = table.tables("prepare").into_iter();
    let prepare = prepare
        .filter_map(|one| prepared(one, &words, from))
        .collect();
    let process = processes(table, &words, warnings);
    let client = table.table("client");
    let by_itself = client.is_some().then(|| table.table("client")).flatten();
    let by_itself = by_itself.and_then(|client| ClientOptions::read(client, &own, spec));
    let modes = modes(table, client.as_ref(), by_itself.as_ref(), &set, spec);
    let form = table.tables("form").into_iter();
    Some(Description {
        name: name.is,
        about,
        nodes,
        spec,
        find: find?,
        prepare,
        process,
        form: form.filter_map(|one| formed(one, &words)).collect(),
        leader: table.table("leader").and_then(|one| leader(one, &words)),
        state: table.table("state").and_then(|one| state(one, &words)),
        ready: ready(table, &words)?,
        modes,
        set,
    })
}

/// The words that a file has of its own, and what they mean; those of a mode are some of the file's.
pub(super) fn own_words(
    table: &Table<'_>,
    key: &'static str,
    file: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let is_of_a_word =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let mut words = file.clone();
    for (word, Placed { at, is }) in table.pairs(key) {
        let taken = WORDS
            .iter()
            .chain(&OF_AN_OPERATION)
            .any(|known| *known == word);
        if taken || word.is_empty() || !word.chars().all(is_of_a_word) {
            let why = "is no word of its own: small letters, digits, - and _, and none that means something already";
            table.complain_at(at, format!("{word:?} {why}"));
        } else if key == "set" && table.at() > 0 && !file.contains_key(&word) {
            let why = "is no word of this file: give it a meaning in [set] at the top, and another one in a mode";
            table.complain_at(at, format!("{word:?} {why}"));
        }
        words.insert(word, is);
    }
    words
}

fn find(file: &Table<'_>) -> Option<Find> {
    let Some(table) = file.table("find") else {
        let how = "add program = [\"...\"] and install = \"the command that installs it\"";
        file.complain(format!(
            "the file has no [find], which says what it starts: {how}"
        ));
        return None;
    };
    let programs = table.texts("program").unwrap_or_default();
    if programs.is_empty() {
        table.complain(
            "[find] has no program: the names to look for on PATH, the first that exists is taken",
        );
    }
    let version = table.table("version").map(|version| {
        let run = version.templates("run", &["program"]).unwrap_or_default();
        if run.is_empty() {
            version.complain("[find.version] has no run: as run = [\"{program}\", \"--version\"]");
        }
        let limit = |key| version.text(key).map(|limit| limit.is);
        let read = Version {
            run,
            pattern: pattern(&version, "match"),
            at_least: limit("at_least"),
            below: limit("below"),
        };
        version.done();
        read
    });
    let install = table.need("install", "the one command that installs it").is;
    let program = programs.into_iter().map(|program| program.is).collect();
    table.done();
    Some(Find {
        program,
        install,
        version,
        only: Vec::new(),
    })
}

pub(super) fn on(table: &Table<'_>) -> On {
    choice(
        table,
        "on",
        &[On::All, On::First, On::Others],
        |on| match on {
            On::All => "all",
            On::First => "first",
            On::Others => "others",
        },
    )
}

fn prepared(table: Table<'_>, words: &[&str], from: Reads<'_>) -> Option<Prepare> {
    let file = table.need_template("file", words, "where, as \"{dir}/its.conf\"");
    let given = [
        table.template("text", words).map(Content::Text),
        table
            .text("verbatim")
            .map(|text| Content::Verbatim(text.is)),
        table.text("from").and_then(|name| match from(&name.is) {
            Ok(text) => Some(Content::Verbatim(text)),
            Err(error) => {
                table.complain_at(name.at, format!("could not read {:?}: {error}", name.is));
                None
            }
        }),
    ];
    let said = ["text", "verbatim", "from"]
        .iter()
        .filter(|key| table.has(key))
        .count();
    if said != 1 {
        let how = "text with placeholders, verbatim, or the name of a file in from";
        table.complain(format!(
            "[[prepare]] says in one way what is in its file: {how}"
        ));
    }
    let on = on(&table);
    table.done();
    Some(Prepare {
        on,
        file,
        content: given.into_iter().flatten().next()?,
    })
}

fn processes(file: &Table<'_>, words: &[&str], warnings: &mut Vec<String>) -> Vec<Process> {
    let tables = file.tables("process");
    if tables.is_empty() && !file.has("process") {
        let how = "add run = [\"{program}\", \"--its-flags\", ...]";
        file.complain(format!(
            "the file has no [[process]], which says what a node is: {how}"
        ));
    }
    let mut processes: Vec<Process> = Vec::new();
    for table in tables {
        let texts = table.texts("run").unwrap_or_default();
        let run = table.templates("run", words).unwrap_or_default();
        let Some(program) = texts.first() else {
            table.complain(
                "[[process]] has no run: as run = [\"{program}\", \"--data-dir\", \"{dir}\"]",
            );
            continue;
        };
        let base = base_name(&program.is);
        stays_inside(&table, program, &base, warnings);
        let signals = [
            StopSignal::Term,
            StopSignal::Int,
            StopSignal::Quit,
            StopSignal::Hup,
        ];
        let name = table.text("name").map(|name| name.is);
        let process = Process {
            name: name.unwrap_or_else(|| base.clone()),
            on: on(&table),
            run,
            cwd: table.template("cwd", words),
            stop_signal: choice(&table, "stop_signal", &signals, |signal| match signal {
                StopSignal::Term => "SIGTERM",
                StopSignal::Int => "SIGINT",
                StopSignal::Quit => "SIGQUIT",
                StopSignal::Hup => "SIGHUP",
            }),
            volatile: table
                .texts("volatile")
                .unwrap_or_default()
                .into_iter()
                .map(|v| v.is)
                .collect(),
            env: environment(&table, words),
        };
        if processes.iter().any(|other| other.name == process.name) {
            let why = format!(
                "there is another process {:?}: give each a name",
                process.name
            );
            table.complain(why);
        }
        processes.push(process);
        table.done();
    }
    processes
}

/// Whether what this program starts has another parent than itself.
pub(super) fn leaves(program: &str) -> bool {
    LEAVES.contains(&base_name(program).as_str())
}

fn base_name(program: &str) -> String {
    match program {
        "{program}" => "node".to_owned(),
        path => Path::new(path)
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
    }
}

/// Whether what a process starts will be a child of the bench, where faults meet it.
fn stays_inside(
    table: &Table<'_>,
    program: &Placed<String>,
    base: &str,
    warnings: &mut Vec<String>,
) {
    if RISES.contains(&base) {
        let why = "a child of the bench cannot become another user (no_new_privs): name the program itself";
        table.complain_at(program.at, format!("{base} does not work here: {why}"));
    } else if LEAVES.contains(&base) {
        let why = "has another parent, so that no fault meets it: name the program itself";
        warnings.push(format!("what {base} starts {why}"));
    }
}
