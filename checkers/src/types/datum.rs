//! A value as a file has it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use crate::format::tree::Tree;

/// A value as a file has it: what was written differently is different.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Datum {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
    /// A keyword, a number that is no 64-bit integer, a map, or another datum of EDN, as its text.
    Edn(String),
    /// A list.
    List(Vec<Datum>),
    /// A set, in the order of the file.
    Set(Vec<Datum>),
}

impl Datum {
    /// The same of what a reader has read.
    pub(crate) fn of(tree: &Tree) -> Self {
        let all = |items: &[Tree]| items.iter().map(Self::of).collect();
        match tree {
            Tree::Nil => Self::Nil,
            Tree::Bool(value) => Self::Bool(*value),
            Tree::Int(value) => Self::Int(*value),
            Tree::Text(text) => Self::Text(text.clone()),
            Tree::List(items) => Self::List(all(items)),
            Tree::Set(items) => Self::Set(all(items)),
            // What our own JSON has for a datum of EDN.
            Tree::Map(entries) => match entries.as_slice() {
                [(Tree::Text(name), Tree::Text(datum))] if name == "edn" => {
                    Self::Edn(datum.clone())
                }
                _ => Self::Edn(tree.name()),
            },
            other => Self::Edn(other.name()),
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        *self == Self::Nil
    }

    /// The integer that it is.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// What a list or a set holds.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The two of a list of two.
    #[must_use]
    pub fn pair(&self) -> Option<(&Self, &Self)> {
        match self {
            Self::List(items) if items.len() == 2 => Some((&items[0], &items[1])),
            _ => None,
        }
    }

    /// As JSON; a datum that JSON has no word for is `{"edn": ":a"}`.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Nil => json!(null),
            Self::Bool(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Text(text) => json!(text),
            Self::Edn(text) => json!({ "edn": text }),
            Self::List(items) | Self::Set(items) => items.iter().map(Self::json).collect(),
        }
    }

    /// The same of what JSON has.
    #[must_use]
    pub fn of_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Nil,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Edn(number.to_string()),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::of_json).collect()),
            Value::Object(members) => match members.get("edn") {
                Some(Value::String(datum)) if members.len() == 1 => Self::Edn(datum.clone()),
                _ => Self::Edn(value.to_string()),
            },
        }
    }

    /// As EDN.
    #[must_use]
    pub fn edn(&self) -> String {
        let all = |items: &[Self]| {
            let items: Vec<String> = items.iter().map(Self::edn).collect();
            items.join(" ")
        };
        match self {
            Self::Nil => "nil".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Text(text) => crate::history::quoted(text),
            Self::Edn(text) => text.clone(),
            Self::List(items) => format!("[{}]", all(items)),
            Self::Set(items) => format!("#{{{}}}", all(items)),
        }
    }
}

/// For people: strings without quotes, where nothing is beside them.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            other => f.write_str(&other.edn()),
        }
    }
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Datum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|value| Self::of_json(&value))
    }
}
