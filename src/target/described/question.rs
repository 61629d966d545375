//! What a node is asked beside the operations of clients: whether it is ready, whether it leads, what its state is.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Serialize, Serializer};

use super::path::{Expression, JsonPath};
use crate::target::template::Template;

/// A regular expression, as it was written.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// If it is none.
    pub fn new(source: &str) -> Result<Pattern, regex::Error> {
        Regex::new(source).map(Pattern)
    }

    /// Whether it is found in the text.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// What its first group, or all of it where it has none, is in the text.
    #[must_use]
    pub fn first_group<'t>(&self, text: &'t str) -> Option<&'t str> {
        let found = self.0.captures(text)?;
        Some(found.get(1).or_else(|| found.get(0))?.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.as_str())
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// A request of HTTP: its method, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// GET.
    Get(Template),
    /// POST.
    Post(Template),
    /// PUT.
    Put(Template),
    /// DELETE.
    Delete(Template),
}

impl Request {
    /// The method's name.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Request::Get(_) => "GET",
            Request::Post(_) => "POST",
            Request::Put(_) => "PUT",
            Request::Delete(_) => "DELETE",
        }
    }

    /// Where to.
    #[must_use]
    pub fn to(&self) -> &Template {
        match self {
            Request::Get(to) | Request::Post(to) | Request::Put(to) | Request::Delete(to) => to,
        }
    }
}

/// A question in HTTP: an answer of 200 to 299 is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpAsk {
    /// What is asked for.
    #[serde(flatten)]
    pub request: Request,
    /// What is sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// What must be in the answer.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Its headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
}

/// A program that is run for its answer: it must end with 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunAsk {
    /// The program and its arguments.
    pub command: Vec<Template>,
    /// What must be in what it prints.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
}

/// A command in the Redis protocol: an answer that is no error is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RespAsk {
    /// Host and port.
    pub at: Template,
    /// The command and its arguments.
    pub command: Vec<Template>,
    /// What must be in the answer, written as JSON.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
}

/// A question to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// In HTTP.
    Http(HttpAsk),
    /// By a program.
    Run(RunAsk),
    /// In the Redis protocol.
    Resp(RespAsk),
}

/// How one sees that a node is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// It has this long; what it is, is a bench error then, never a verdict.
    pub within_s: u64,
    /// By what.
    #[serde(flatten)]
    pub by: ReadyBy,
}

/// By what one sees that a node is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyBy {
    /// It accepts connections here.
    Tcp(Template),
    /// It prints this.
    Log(Pattern),
    /// It answers the first message of its protocol.
    Init(Handshake),
    /// It answers.
    #[serde(untagged)]
    Ask(Ask),
}

/// A protocol that begins with an initialisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Handshake {
    /// `init`, answered by `init_ok`.
    Maelstrom,
}

/// How one sees whether a node leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leader {
    /// Whether it does, of the answer.
    pub leader: Expression,
    /// In which term, of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<JsonPath>,
    /// What is asked.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What members are compared by: equal at an equal index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// The index, of the answer.
    pub index: JsonPath,
    /// What must be equal, of the answer.
    pub hash: JsonPath,
    /// What is asked.
    #[serde(flatten)]
    pub ask: Ask,
}
