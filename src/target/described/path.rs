//! What is read out of a node's answer: a path into JSON, or a comparison of two.
//!
//! ```text
//!  header.member_id                names, and numbers of a list's items, with dots between; "." is the whole
//!  header.member_id == leader      true where both are there and the same, a number or its text
//!  role == 'leader'                a text in single quotes
//!  leader                          true where it is there and neither false, null, 0 nor empty
//! ```

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Where in an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonPath(String);

/// Why a text is no path and no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path into JSON: names and numbers with dots between, as header.member_id")]
pub struct NoPath(String);

impl JsonPath {
    /// # Errors
    /// If it is none.
    pub fn new(source: &str) -> Result<JsonPath, NoPath> {
        let is_of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':');
        let is_name = |name: &str| !name.is_empty() && name.chars().all(is_of_a_name);
        if source == "." || source.split('.').all(is_name) {
            return Ok(JsonPath(source.to_owned()));
        }
        Err(NoPath(source.to_owned()))
    }

    /// What stands there.
    #[must_use]
    pub fn of<'v>(&self, answer: &'v Value) -> Option<&'v Value> {
        if self.0 == "." {
            return Some(answer);
        }
        self.0
            .split('.')
            .try_fold(answer, |value, name| match value {
                Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                value => value.get(name),
            })
    }

    /// The same as text: numbers as they are written.
    #[must_use]
    pub fn text_of(&self, answer: &Value) -> Option<String> {
        self.of(answer).and_then(text)
    }
}

/// A number, a text or a truth, as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Something that is true of an answer, or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Expression {
    source: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    IsTrue(JsonPath),
    Same(JsonPath, JsonPath),
    Is(JsonPath, String),
}

impl Expression {
    /// # Errors
    /// If it is none.
    pub fn new(source: &str) -> Result<Expression, NoPath> {
        let what = match source.split_once("==") {
            None => What::IsTrue(JsonPath::new(source.trim())?),
            Some((left, right)) => {
                let (left, right) = (JsonPath::new(left.trim())?, right.trim());
                let quoted = right.strip_prefix('\'').and_then(|r| r.strip_suffix('\''));
                match quoted {
                    Some(text) => What::Is(left, text.to_owned()),
                    None => What::Same(left, JsonPath::new(right)?),
                }
            }
        };
        let source = source.to_owned();
        Ok(Expression { source, what })
    }

    /// Whether it is true of the answer.
    #[must_use]
    pub fn holds(&self, answer: &Value) -> bool {
        match &self.what {
            What::IsTrue(path) => match path.of(answer) {
                None => false,
                Some(Value::String(text)) => !text.is_empty() && text != "false" && text != "0",
                Some(Value::Number(number)) => number.as_f64() != Some(0.0),
                Some(Value::Array(items)) => !items.is_empty(),
                Some(Value::Object(_)) => true,
                Some(value) => *value == Value::Bool(true),
            },
            What::Same(left, right) => {
                let left = left.text_of(answer);
                left.is_some() && left == right.text_of(answer)
            }
            What::Is(path, text) => path.text_of(answer).as_ref() == Some(text),
        }
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_are_true_of_answers_that_say_so() {
        let status = json!({
            "header": { "member_id": "10276657743932975437" },
            "leader": "10276657743932975437", "raftTerm": "2", "role": "leader", "zero": 0, "none": null, "id": 7,
            "list": ["master", 14], "seven": "7",
        });
        for (source, expected) in [
            ("header.member_id == leader", true),
            ("header.member_id == raftTerm", false),
            ("header.nothing == nothing.either", false),
            ("none == none", false),
            ("id == seven", true),
            ("role == 'leader'", true),
            ("role == 'follower'", false),
            ("list.0 == 'master'", true),
            ("list.1 == 'master'", false),
            ("list.2", false),
            ("leader", true),
            ("zero", false),
            ("none", false),
            (".", true),
        ] {
            let expression = Expression::new(source).unwrap();
            assert_eq!(expression.holds(&status), expected, "{source}");
        }
        let term = JsonPath::new("raftTerm").unwrap();
        assert_eq!(term.text_of(&status), Some("2".to_owned()));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for source in ["", "a..b", "a b", "a == ", "a = b", "== 'x'", "$.a"] {
            assert!(Expression::new(source).is_err(), "{source}");
        }
    }
}
