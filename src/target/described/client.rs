//! `[client]`: how operations are asked, by protocol.

use std::collections::BTreeMap;

use checkers::types;
use serde::Serialize;

use super::DataType;
use super::parse::{ask_words, operation_words};
use super::question::{Pattern, Request};
use super::reader::Table;
use crate::target::protocol::etcd::EtcdReads;
use crate::target::protocol::http::{HttpOperation, HttpOptions};
use crate::target::protocol::resp::{Resp, RespReads};
use crate::target::protocol::typed::Workload;
use crate::target::template::Template;

/// How clients talk to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
pub enum ClientOptions {
    /// etcd's, version 3.
    Etcd {
        /// Where it listens, at the node's address.
        port: u16,
        /// What a read asks for.
        read: EtcdReads,
    },
    /// Redis'.
    Resp {
        /// Where it listens, at the node's address.
        port: u16,
        /// Which command a read is.
        read: RespReads,
        /// For AUTH, where the server has users.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// For AUTH.
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<String>,
    },
    /// HTTP/1.1, by templates.
    Http(Box<HttpOptions>),
    /// A program of the user's own, by JSON lines.
    Lines {
        /// Where the nodes listen, at their addresses: the program is told.
        port: u16,
        /// The program and its arguments.
        run: Vec<Template>,
        /// What stands in its environment beside the bench's own.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, Template>,
    },
    /// Maelstrom's: the bench is the network.
    Maelstrom {
        /// By which of its messages operations are asked.
        workload: Workload,
    },
}

/// The protocols' names, as files write them.
pub(super) const PROTOCOLS: [&str; 5] = ["etcd", "resp", "http", "lines", "maelstrom"];

/// Every port there is.
const PORTS: [u64; 2] = [1, 65_535];

impl ClientOptions {
    /// The protocol's name.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            ClientOptions::Etcd { .. } => "etcd",
            ClientOptions::Resp { .. } => "resp",
            ClientOptions::Http(_) => "http",
            ClientOptions::Lines { .. } => "lines",
            ClientOptions::Maelstrom { .. } => "maelstrom",
        }
    }

    /// The operations that it cannot do, which are then not drawn.
    #[must_use]
    pub fn lacks(&self) -> Vec<&'static str> {
        match self {
            ClientOptions::Http(options) => options.lacks(),
            ClientOptions::Maelstrom {
                workload: Workload::LinKv,
            } => vec!["delete"],
            _ => Vec::new(),
        }
    }

    /// Reads the table; `set` are the file's own words.
    pub(super) fn read(table: Table<'_>, set: &[&str], spec: DataType) -> Option<ClientOptions> {
        let what = format!("name one of {}", PROTOCOLS.join(", "));
        let protocol = table.need("protocol", &what);
        let port = |usual: Option<u16>| {
            let port = table.number("port", PORTS);
            if port.is_none() && usual.is_none() && !table.has("port") {
                table.complain(format!(
                    "{} has no port: where the nodes listen",
                    table.name()
                ));
            }
            let port = port.and_then(|port| u16::try_from(port).ok());
            port.or(usual).unwrap_or_default()
        };
        let options = match protocol.is.as_str() {
            "etcd" => ClientOptions::Etcd {
                port: port(Some(2379)),
                read: choice(&table, "read", &EtcdReads::ALL, EtcdReads::name),
            },
            "resp" => ClientOptions::Resp {
                port: port(Some(6379)),
                read: choice(&table, "read", &RespReads::ALL, RespReads::name),
                user: table.text("user").map(|user| user.is),
                password: table.text("password").map(|password| password.is),
            },
            "http" => ClientOptions::Http(Box::new(http(&table, set, spec))),
            "lines" => {
                let words = ask_words(set);
                let run = table.templates("run", &words).unwrap_or_default();
                if run.is_empty() {
                    let what = "the client program and its arguments, as run = [\"python3\", \"client.py\"]";
                    table.complain(format!("{} has no run: {what}", table.name()));
                }
                let env = environment(&table, &words);
                ClientOptions::Lines {
                    port: port(None),
                    run,
                    env,
                }
            }
            "maelstrom" => ClientOptions::Maelstrom {
                workload: workload(&table, spec),
            },
            "" => return None,
            other => {
                let why = format!("nobody speaks {other:?}: {what}");
                table.complain_at(protocol.at, why);
                return None;
            }
        };
        if let Some(why) = options.cannot_ask_for(spec) {
            table.complain_at(protocol.at, why);
        }
        table.done();
        Some(options)
    }

    /// Why no client of this protocol asks for operations of that type.
    fn cannot_ask_for(&self, spec: DataType) -> Option<String> {
        let name = spec.name();
        let asks = match self {
            ClientOptions::Etcd { .. } => false,
            ClientOptions::Resp { .. } => Resp::ASKS_FOR.contains(&name),
            _ => true,
        };
        (spec.other().is_some() && !asks).then(|| {
            let protocol = self.protocol();
            format!("{protocol} has no operations of a {name}: http, lines and maelstrom can have")
        })
    }
}

/// By which messages a Maelstrom node is asked.
fn workload(table: &Table<'_>, spec: DataType) -> Workload {
    let usual = Workload::of(spec.other());
    if !table.has("workload") {
        return usual;
    }
    let workload = choice(table, "workload", &Workload::ALL, Workload::name);
    if !workload.fits(spec.other()) {
        let (workload, spec) = (workload.name(), spec.name());
        let why = format!("workload = {workload:?} has no operations of a {spec}");
        let at = table.text("workload").map_or(table.at(), |said| said.at);
        table.complain_at(at, why);
    }
    workload
}

/// A table of texts with placeholders.
pub(super) fn environment(table: &Table<'_>, words: &[&str]) -> BTreeMap<String, Template> {
    let pairs = table.pairs("env").into_iter();
    pairs
        .filter_map(|(name, text)| Some((name, table.templated(&text, words)?)))
        .collect()
}

/// One of a few words; the first where none is said.
pub(super) fn choice<T: Copy>(
    table: &Table<'_>,
    key: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> T {
    let Some(said) = table.text(key) else {
        return all[0];
    };
    let found = all.iter().copied().find(|one| name(*one) == said.is);
    found.unwrap_or_else(|| {
        let names: Vec<_> = all.iter().copied().map(name).collect();
        let why = format!("{key} can be {}, and not {:?}", names.join(" or "), said.is);
        table.complain_at(said.at, why);
        all[0]
    })
}

/// What a status can be.
const STATUSES: [u64; 2] = [100, 599];

fn statuses(table: &Table<'_>, key: &'static str) -> Vec<u16> {
    let numbers = table.numbers(key, STATUSES).unwrap_or_default().into_iter();
    numbers
        .filter_map(|status| u16::try_from(status).ok())
        .collect()
}

fn http(table: &Table<'_>, set: &[&str], spec: DataType) -> HttpOptions {
    let words = operation_words(set);
    let base = "http://{ip}:8080, or where its nodes listen";
    let headers = table.pairs("headers").into_iter();
    let operation = |key| {
        let inner = table.table(key)?;
        let read = http_operation(&inner, &words);
        inner.done();
        read
    };
    let options = HttpOptions {
        base: table.need_template("base", &ask_words(set), base),
        headers: headers
            .filter_map(|(name, text)| Some((name, table.templated(&text, &words)?)))
            .collect(),
        not_applied: statuses(table, "not_applied"),
        not_applied_match: pattern(table, "not_applied_match"),
        leader: table.text("leader").map(|leader| leader.is),
        read: operation("read"),
        write: operation("write"),
        cas: operation("cas"),
        delete: operation("delete"),
        others: others(spec)
            .filter_map(|act| Some((act.to_owned(), operation(act)?)))
            .collect(),
    };
    for act in others(spec).filter(|act| !options.others.contains_key(*act)) {
        let (name, spec) = (table.name(), spec.name());
        table.complain(format!(
            "{name} needs [client.{act}], which a {spec} is asked for, as post = \"/{act}/{{key}}\""
        ));
    }
    if spec.other().is_some() {
        let acts = spec.other().map(types::DataType::operations);
        let reads = acts.is_some_and(|acts| acts.iter().any(|words| words[0] == "read"));
        if reads && options.read.is_none() {
            let name = table.name();
            table.complain(format!("{name} needs [client.read]: what one asks for"));
        }
        return options;
    }
    if options.read.is_none() || options.write.is_none() {
        table.complain(format!(
            "{name} needs [{path}.read] and [{path}.write]: what one asks for, as get = \"/kv/{{key}}\"",
            name = table.name(),
            path = "client"
        ));
    }
    options
}

/// What a workload asks for beside reads.
fn others(spec: DataType) -> impl Iterator<Item = &'static str> {
    let acts = spec.other().map(types::DataType::operations);
    let acts = acts.unwrap_or_default().iter().map(|words| words[0]);
    acts.filter(|act| !matches!(*act, "read" | "final" | "drain" | "subtract"))
}

fn http_operation(table: &Table<'_>, words: &[&str]) -> Option<HttpOperation> {
    let request = request(table, words)?;
    let pointer = |key| {
        let text = table.text(key)?;
        if !text.is.is_empty() && !text.is.starts_with('/') {
            let why =
                format!("{key} is a JSON pointer, as \"/value\", or \"\" for the whole answer");
            table.complain_at(text.at, why);
        }
        Some(text.is)
    };
    Some(HttpOperation {
        request,
        body: table.template("body", words),
        value: pointer("value").unwrap_or_default(),
        absent: statuses(table, "absent"),
        absent_match: pattern(table, "absent_match"),
        ok_match: pattern(table, "ok_match"),
        differed: statuses(table, "differed"),
        differed_match: pattern(table, "differed_match"),
        found: pointer("found"),
    })
}

/// Which of get, post, put and delete a table has: exactly one.
pub(super) fn request(table: &Table<'_>, words: &[&str]) -> Option<Request> {
    let (get, post) = (table.template("get", words), table.template("post", words));
    let (put, delete) = (
        table.template("put", words),
        table.template("delete", words),
    );
    let mut all = [
        get.map(Request::Get),
        post.map(Request::Post),
        put.map(Request::Put),
        delete.map(Request::Delete),
    ]
    .into_iter()
    .flatten();
    match (all.next(), all.next()) {
        (Some(request), None) => Some(request),
        (None, _) => {
            let said = ["get", "post", "put", "delete"]
                .iter()
                .any(|key| table.has(key));
            // One whose placeholders are wrong has been told of.
            if !said {
                let why = "has no request: one of get, post, put, delete";
                table.complain(format!("{} {why}", table.name()));
            }
            None
        }
        (Some(_), Some(_)) => {
            let why = "has several requests: one of get, post, put, delete";
            table.complain(format!("{} {why}", table.name()));
            None
        }
    }
}

/// A regular expression.
pub(super) fn pattern(table: &Table<'_>, key: &'static str) -> Option<Pattern> {
    let text = table.text(key)?;
    match Pattern::new(&text.is) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let error = error.to_string();
            let last = error
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            let why = format!("{key} is no regular expression: {last}");
            table.complain_at(text.at, why);
            None
        }
    }
}
