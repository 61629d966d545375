//! Reads what a node is asked: `[ready]`, `[form]`, `[leader]`, `[state]`.

use super::client::{choice, pattern, request};
use super::parse::on;
use super::path::{Expression, JsonPath};
use super::question::{Ask, Handshake, HttpAsk, Leader, Ready, ReadyBy, RespAsk, RunAsk, State};
use super::reader::{Placed, Table};
use super::{Form, On};

/// How long a node may take to be ready, in seconds.
const READY_WITHIN_S: [u64; 2] = [1, 600];
/// The same, where the file does not say.
const READY_WITHIN: u64 = 30;

fn ask(table: &Table<'_>, words: &[&str]) -> Option<Ask> {
    let mut found = Vec::new();
    if let Some(http) = table.table("http") {
        let headers = http.pairs("headers").into_iter();
        let headers =
            headers.filter_map(|(name, text)| Some((name, http.templated(&text, words)?)));
        let headers = headers.collect();
        let request = request(&http, words);
        let body = http.template("body", words);
        let pattern = pattern(&http, "match");
        found.push(request.map(|request| {
            Ask::Http(HttpAsk {
                request,
                body,
                pattern,
                headers,
            })
        }));
        told_within(http);
    }
    if let Some(run) = table.table("run") {
        let command = run.templates("command", words).unwrap_or_default();
        if command.is_empty() {
            run.complain(format!(
                "{} has no command: a program and its arguments",
                run.name()
            ));
        }
        let pattern = pattern(&run, "match");
        found.push(Some(Ask::Run(RunAsk { command, pattern })));
        told_within(run);
    }
    if let Some(resp) = table.table("resp") {
        let at = resp.need_template("at", words, "host and port, as \"{ip}:6379\"");
        let command = resp.templates("command", words).unwrap_or_default();
        if command.is_empty() {
            resp.complain(format!(
                "{} has no command: as command = [\"ROLE\"]",
                resp.name()
            ));
        }
        let pattern = pattern(&resp, "match");
        found.push(Some(Ask::Resp(RespAsk {
            at,
            command,
            pattern,
        })));
        told_within(resp);
    }
    if found.len() > 1 {
        table.complain(format!(
            "{} asks in several ways: one of http, run, resp",
            table.name()
        ));
    }
    found.into_iter().next().flatten()
}

/// What may stand within a question or beside it.
const TOLD: [&str; 4] = ["leader", "term", "index", "hash"];

/// Ends the reading of a question: what is told of its answer may stand in it.
fn told_within(table: Table<'_>) {
    for key in TOLD {
        table.has(key);
    }
    table.done();
}

/// What is told of an answer, within the question or beside it.
fn told(table: &Table<'_>, key: &'static str) -> Option<Placed<String>> {
    let within = ["http", "run", "resp"].into_iter();
    let mut within = within
        .filter(|by| table.has(by))
        .filter_map(|by| table.table(by));
    let beside = table.text(key);
    beside.or_else(|| within.find_map(|by| by.text(key)))
}

fn path(table: &Table<'_>, key: &'static str) -> Option<JsonPath> {
    let said = told(table, key)?;
    match JsonPath::new(&said.is) {
        Ok(path) => Some(path),
        Err(error) => {
            table.complain_at(said.at, error.to_string());
            None
        }
    }
}

fn need_ask(table: &Table<'_>, words: &[&str]) -> Option<Ask> {
    if !["http", "run", "resp"].iter().any(|by| table.has(by)) {
        table.complain(format!(
            "{} asks nothing: one of http, run, resp",
            table.name()
        ));
    }
    ask(table, words)
}

pub(super) fn formed(table: Table<'_>, words: &[&str]) -> Option<Form> {
    // A cluster is formed by one of its nodes, unless the file says otherwise.
    let on = if table.has("on") {
        on(&table)
    } else {
        On::First
    };
    let ask = need_ask(&table, words);
    table.done();
    Some(Form { on, ask: ask? })
}

pub(super) fn leader(table: Table<'_>, words: &[&str]) -> Option<Leader> {
    let ask = need_ask(&table, words);
    let term = path(&table, "term");
    let Some(said) = told(&table, "leader") else {
        table.complain("[leader] has no leader: when the answer says that the node leads, as leader = \"role == 'master'\"");
        return None;
    };
    let leader = Expression::new(&said.is);
    if let Err(error) = &leader {
        table.complain_at(said.at, error.to_string());
    }
    table.done();
    Some(Leader {
        leader: leader.ok()?,
        term,
        ask: ask?,
    })
}

pub(super) fn state(table: Table<'_>, words: &[&str]) -> Option<State> {
    let ask = need_ask(&table, words);
    let (index, hash) = (path(&table, "index"), path(&table, "hash"));
    for key in ["index", "hash"] {
        if told(&table, key).is_none() {
            table.complain(format!(
                "[state] has no {key}: where it stands in the answer"
            ));
        }
    }
    table.done();
    Some(State {
        index: index?,
        hash: hash?,
        ask: ask?,
    })
}

pub(super) fn ready(file: &Table<'_>, words: &[&str]) -> Option<Ready> {
    let Some(table) = file.table("ready") else {
        let how = "add tcp = \"{ip}:PORT\", or http, run, resp, log";
        file.complain(format!(
            "the file has no [ready], which says when a node is: {how}"
        ));
        return None;
    };
    let within_s = table
        .number("within_s", READY_WITHIN_S)
        .unwrap_or(READY_WITHIN);
    let tcp = table.template("tcp", words).map(ReadyBy::Tcp);
    let log = pattern(&table, "log").map(ReadyBy::Log);
    let init = table.has("init").then(|| {
        let all = [Handshake::Maelstrom];
        let name = |Handshake::Maelstrom| "maelstrom";
        ReadyBy::Init(choice(&table, "init", &all, name))
    });
    let asked = ask(&table, words).map(ReadyBy::Ask);
    let ways = ["tcp", "log", "init", "http", "run", "resp"]
        .iter()
        .filter(|way| table.has(way))
        .count();
    if ways != 1 {
        table.complain(
            "[ready] says in one way when a node is ready: one of tcp, http, run, resp, log",
        );
    }
    table.done();
    let by = tcp.or(log).or(init).or(asked)?;
    Some(Ready { within_s, by })
}
