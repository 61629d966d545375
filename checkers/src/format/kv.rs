//! Porcupine's kv texts: texts by key, put, appended to and got, one map a line.
//!
//! ```text
//! {:process 0, :type :invoke, :f :append, :key "3", :value "x 0 0 y"}
//! {:process 1, :type :ok, :f :get, :key "3", :value "x 0 0 y"}
//! ```
//!
//! A key is a list whose elements are characters (spec `list-append`); one that was never put is the empty text, and
//! this is checked. What has no completion may have taken effect.

use super::jepsen::{shorten, trouble};
use super::sink::{Again, answers, repeats_call};
use super::text::Text;
use super::tree::{Reader, Syntax, Tree};
use super::{Error, Loaded};
use crate::history::{Answer, Builder, Call, Header, Kind, LIST_APPEND, Nil, Outcome, Value};

/// Reads such a text.
///
/// # Errors
/// When a datum can't be read or can't follow those before it; its place is named.
pub(super) fn read(text: &Text<'_>, nil: Nil) -> Result<Loaded, Error> {
    let mut reader = Reader::new(text.bytes, Syntax::Edn);
    let mut builder = Builder::new(Header {
        spec: LIST_APPEND.to_owned(),
        ..Header::default()
    });
    builder.nil(nil);
    let mut index = 0;
    loop {
        let tree = match reader.next(false) {
            Ok(Some(tree)) => tree,
            Ok(None) => break,
            Err(found) => return Err(trouble(text, reader.began(), found)),
        };
        take(&mut builder, index, &tree)
            .map_err(|reason| text.malformed(reader.began(), reason))?;
        index += 1;
    }
    Ok(Loaded {
        history: builder.finish(),
        notes: vec![format!(
            "{}: keys are taken as texts that are appended to (list-append)",
            text.name
        )],
        early: None,
    })
}

/// Takes one map into the history.
fn take(builder: &mut Builder, index: u64, tree: &Tree) -> Result<(), String> {
    if !matches!(tree, Tree::Map(_)) {
        let text = shorten(&tree.text());
        return Err(format!("an event must be a map, not {text}"));
    }
    let word = |name: &str| {
        let word = tree.get(name).and_then(Tree::word);
        word.ok_or_else(|| format!("an event without :{name}"))
    };
    let client = match tree.get("process") {
        Some(Tree::Int(process)) => *process as u64,
        Some(other) => {
            let text = shorten(&other.text());
            return Err(format!("the process must be a number, not {text}"));
        }
        None => return Err("an event without :process".to_owned()),
    };
    let (kind, f) = (word("type")?, word("f")?);
    let key = match tree.get("key") {
        Some(Tree::Text(key)) => Some(key.as_str()),
        Some(other) => {
            let text = shorten(&other.text());
            return Err(format!("the key must be a string, not {text}"));
        }
        None => None,
    };
    if kind == "invoke" {
        let key = key.ok_or("an invocation without :key")?;
        let value = tree.get("value").unwrap_or(&Tree::Nil);
        let call = match f {
            "get" => Call::Read,
            "put" => Call::Write(text(builder, f, value)?),
            "append" => Call::Append(text(builder, f, value)?),
            other => return Err(unknown_f(other)),
        };
        return builder
            .invoke(index, 0, client, None, key, call)
            .map_err(|error| error.to_string());
    }
    let asked = match f {
        "get" => Kind::Read,
        "put" => Kind::Write,
        "append" => Kind::Append,
        other => return Err(unknown_f(other)),
    };
    answers(builder, client, Some(asked), key)?;
    let outcome = match (kind, f) {
        ("ok", "get") => match tree.get("value") {
            Some(Tree::Nil) => Outcome::Ok(None),
            Some(value) => Outcome::Ok(Some(text(builder, f, value)?)),
            None => return Err("an ok get without a :value".to_owned()),
        },
        ("ok", _) => {
            match tree.get("value") {
                None | Some(Tree::Nil) => {}
                Some(value) => {
                    let again = Again::Value(text(builder, f, value)?);
                    repeats_call(builder, client, again)?;
                }
            }
            Outcome::Ok(None)
        }
        ("fail", _) => Outcome::Failed,
        ("info", _) => Outcome::Unknown,
        (other, _) => {
            return Err(format!(
                "the type {other:?} is not known; invoke, ok, fail and info are"
            ));
        }
    };
    let answer = Answer {
        outcome,
        at: None,
        node: None,
    };
    let error = tree.get("error").map(Tree::text);
    builder
        .complete(index, 0, client, answer, error.as_deref())
        .map_err(|error| error.to_string())
}

fn unknown_f(f: &str) -> String {
    format!("the f {f:?} is not known; get, put and append are")
}

/// A text by its number, its characters noted.
fn text(builder: &mut Builder, f: &str, value: &Tree) -> Result<Value, String> {
    match value {
        Tree::Text(text) => Ok(builder.names().intern_characters(text)),
        other => {
            let text = shorten(&other.text());
            Err(format!("the value of a {f} must be a string, not {text}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::linear::{Options, check};

    fn verdict(text: &str) -> &'static str {
        let loaded = crate::format::read(text.as_bytes(), "kv", None, None).expect("well formed");
        assert!(
            loaded.notes[0].contains("porcupine-kv"),
            "{:?}",
            loaded.notes
        );
        check(&loaded.history, &Options::default()).verdict.name()
    }

    const APPENDS: &str = "{:process 0, :type :invoke, :f :append, :key \"1\", :value \"x\"}\n\
        {:process 1, :type :invoke, :f :append, :key \"1\", :value \"yz\"}\n\
        {:process 0, :type :ok, :f :append, :key \"1\", :value \"x\"}\n\
        {:process 1, :type :ok, :f :append, :key \"1\", :value \"yz\"}\n\
        {:process 0, :type :invoke, :f :get, :key \"1\", :value nil}\n";

    #[test]
    fn overlapping_appends_take_either_order_and_are_not_torn() {
        for (found, expected) in [
            ("xyz", "linearizable"),
            ("yzx", "linearizable"),
            ("yxz", "violation"),
            ("yz", "violation"),
            ("", "violation"),
        ] {
            let read =
                format!("{{:process 0, :type :ok, :f :get, :key \"1\", :value \"{found}\"}}\n");
            assert_eq!(verdict(&format!("{APPENDS}{read}")), expected, "{found}");
        }
    }
}
