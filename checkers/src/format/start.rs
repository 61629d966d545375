//! What keys held before the first event, as somebody writes it: `0`, `"jam"`, `[1 2]`, `:a`, `nil`, or `any`.

use serde_json::{Value as Json, json};

use super::tree::{Reader, Syntax, Tree};
use crate::history::{ANY, quoted, quotes_needed};

/// What a header's `initial` is for a text, which is written as EDN, JSON or logs write values: an integer, a list, a
/// string with its quotes or, where it can be nothing else, without; `nil` or `null` for absent. `any` without quotes
/// says that nobody knows.
///
/// # Errors
/// When it is no value, in words.
pub fn initial(text: &str) -> Result<Json, String> {
    let text = text.trim();
    if let Ok(object @ Json::Object(_)) = serde_json::from_str(text) {
        return Ok(object);
    }
    let mut reader = Reader::new(text.as_bytes(), Syntax::Edn);
    let tree = match reader.next(false) {
        Ok(Some(tree)) if reader.at() == text.len() => tree,
        // Words are a string, unless they begin as something else.
        _ if text.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
            return Ok(Json::String(text.to_owned()));
        }
        _ => {
            return Err(format!(
                "{text:?} is no value: an integer, a string, a list, nil or any is"
            ));
        }
    };
    match tree {
        Tree::Symbol(word) if word == ANY => Ok(Json::String(ANY.to_owned())),
        Tree::Symbol(word) if word == "null" => Ok(Json::Null),
        Tree::Symbol(word) => Ok(Json::String(word)),
        Tree::Text(text) if quotes_needed(&text) => Ok(Json::String(quoted(&text))),
        tree => json_of(&tree).ok_or_else(|| format!("{text} can't be judged as a value")),
    }
}

/// A datum as our own format has it; a map and a set are none.
fn json_of(tree: &Tree) -> Option<Json> {
    Some(match tree {
        Tree::Nil => Json::Null,
        Tree::Int(value) => json!(value),
        Tree::Text(text) => json!(text),
        Tree::List(items) => Json::Array(items.iter().map(json_of).collect::<Option<_>>()?),
        Tree::Map(_) | Tree::Set(_) => return None,
        other => json!({ "edn": other.name() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_read_as_any_format_writes_it() {
        for (text, expected) in [
            ("0", json!(0)),
            ("-7", json!(-7)),
            ("jam", json!("jam")),
            ("\"jam\"", json!("jam")),
            ("x 0 0 y", json!("x 0 0 y")),
            ("\"0\"", json!("0")),
            ("[1 2]", json!([1, 2])),
            ("[1, \"a\"]", json!([1, "a"])),
            ("(1 [2])", json!([1, [2]])),
            (":a", json!({"edn": ":a"})),
            ("{\"edn\": \":a\"}", json!({"edn": ":a"})),
            ("1.5", json!({"edn": "1.5"})),
            ("42.0", json!(42)),
            ("nil", Json::Null),
            ("null", Json::Null),
            ("any", json!("any")),
            ("\"any\"", json!("\"any\"")),
        ] {
            assert_eq!(initial(text).as_ref(), Ok(&expected), "{text}");
        }
        for text in ["", "[1", "\"a", "{:a 1}", "#{1}", "1 2"] {
            assert!(initial(text).is_err(), "{text}: {:?}", initial(text));
        }
    }
}
