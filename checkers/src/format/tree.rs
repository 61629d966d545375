//! A reader for EDN and JSON: both become the same small tree.
//!
//! Comments, `#_` and metadata are discarded. Depth is bounded, so no input can exhaust the stack. A datum is taken
//! exactly or not at all: half a surrogate pair, an escape that nobody knows and bytes that are no UTF-8 are wrong,
//! since different texts would read as the same, and a symbol, a character and a tagged literal are never taken for
//! the text that they look like. A number is its value, however it was written: 42.0 is 42.

mod number;
mod reader;

pub(super) use number::number;
pub(super) use reader::{Reader, Syntax, Trouble};

use crate::history::{quoted, written};

/// One datum.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Nil,
    Bool(bool),
    Int(i64),
    /// A number that is no 64-bit integer: one text a number.
    Number(String),
    /// A string.
    Text(String),
    /// Without its colon.
    Keyword(String),
    /// A name that stands for itself.
    Symbol(String),
    /// A character, as `\a` or `\u000a`, or one of `##NaN`, `##Inf` and `##-Inf`.
    Literal(String),
    /// A vector or a list, which are equal to each other.
    List(Vec<Tree>),
    Set(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    /// `#tag datum`.
    Tagged(String, Box<Tree>),
}

impl Tree {
    /// The value under a key, which may be a keyword or a string.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let named = |key: &Self| matches!(key, Self::Keyword(k) | Self::Text(k) if k == name);
        entries.iter().find(|(key, _)| named(key)).map(|(_, v)| v)
    }

    /// A keyword, string or symbol.
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Keyword(word) | Self::Text(word) | Self::Symbol(word) => Some(word),
            _ => None,
        }
    }

    /// The name of what it is: different data have different names, however they look.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Text(text) => written(text).into_owned(),
            other => other.in_full(),
        }
    }

    /// With every string in quotes.
    fn in_full(&self) -> String {
        self.with(quoted)
    }

    /// As text, for messages.
    pub(super) fn text(&self) -> String {
        self.with(str::to_owned)
    }

    /// With every string as this makes it.
    fn with(&self, string: fn(&str) -> String) -> String {
        let all = |items: &[Self]| {
            let items: Vec<String> = items.iter().map(|item| item.with(string)).collect();
            items.join(" ")
        };
        match self {
            Self::Nil => "nil".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Number(text) | Self::Literal(text) => text.clone(),
            Self::Text(text) => string(text),
            Self::Keyword(text) => format!(":{text}"),
            Self::Symbol(text) => format!("'{text}"),
            Self::List(items) => format!("[{}]", all(items)),
            Self::Set(items) => format!("#{{{}}}", all(items)),
            Self::Tagged(tag, datum) => format!("#{tag} {}", datum.with(string)),
            Self::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{} {}", key.with(string), value.with(string)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}
