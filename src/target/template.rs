//! Text with placeholders: `--name {node} --initial-cluster {members: {node}=http://{ip}:2380 | ,}`.
//!
//! ```text
//!  {node}                       a word: what it means is said when the text is filled
//!  {members: TEXT | SEPARATOR}  TEXT once for each member, its own words in it, with SEPARATOR between (a comma if unsaid)
//!  {others: TEXT | SEPARATOR}   the same without the node itself
//!  {{node}}                     the word itself, in braces
//! ```
//!
//! Every other brace stands for itself, so that JSON can be written as it is. Words are checked when the text is read:
//! filling it cannot fail.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

/// A text with placeholders, all of them known.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Word(String),
    List {
        whose: Whose,
        each: Vec<Part>,
        separator: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Members,
    Others,
}

/// Why a text cannot be a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It has a word in braces that means nothing there.
    #[error("nobody knows {{{word}}}: there {are} {known}; braces that are meant as such are written {{{{{word}}}}}", are = if known.contains(", ") { "are" } else { "is" })]
    UnknownWord {
        /// The word.
        word: String,
        /// Those that mean something.
        known: String,
    },
    /// A list of members without its end.
    #[error("{{{0}: ...}} has no closing brace")]
    Open(&'static str),
}

/// What the words mean for one node.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The node's own, and those that are the same for everybody.
    pub own: BTreeMap<String, String>,
    /// Each member's own, in the order of their ids.
    pub members: Vec<BTreeMap<String, String>>,
    /// Which of the members the node is, if it is one.
    pub myself: Option<usize>,
}

impl Words {
    /// The same, with one more word.
    #[must_use]
    pub fn with(mut self, word: &str, meaning: impl Into<String>) -> Words {
        self.own.insert(word.to_owned(), meaning.into());
        self
    }
}

impl Template {
    /// Reads a text in which these words mean something.
    ///
    /// # Errors
    /// If it has another word in braces, or a list without its end.
    pub fn parse(source: &str, words: &[&str]) -> Result<Template, TemplateError> {
        Ok(Template {
            source: source.to_owned(),
            parts: parts(source, words)?,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether this word is in it, also within a list.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        fn within(parts: &[Part], word: &str) -> bool {
            parts.iter().any(|part| match part {
                Part::Text(_) => false,
                Part::Word(one) => one == word,
                Part::List { each, .. } => within(each, word),
            })
        }
        within(&self.parts, word)
    }

    /// The text with everything in its place.
    ///
    /// # Panics
    /// If a word that was announced to [`parse`](Self::parse) has no meaning in `words`.
    #[must_use]
    pub fn fill(&self, words: &Words) -> String {
        let mut filled = String::new();
        fill(&self.parts, words, None, &mut filled);
        filled
    }
}

fn fill(
    parts: &[Part],
    words: &Words,
    member: Option<&BTreeMap<String, String>>,
    filled: &mut String,
) {
    for part in parts {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Word(word) => {
                let meaning = member
                    .and_then(|member| member.get(word))
                    .or_else(|| words.own.get(word));
                filled.push_str(
                    meaning
                        .unwrap_or_else(|| panic!("{{{word}}} was announced, and means nothing")),
                );
            }
            Part::List {
                whose,
                each,
                separator,
            } => {
                let mut first = true;
                for (at, member) in words.members.iter().enumerate() {
                    if *whose == Whose::Others && words.myself == Some(at) {
                        continue;
                    }
                    if !std::mem::take(&mut first) {
                        filled.push_str(separator);
                    }
                    fill(each, words, Some(member), filled);
                }
            }
        }
    }
}

fn parts(source: &str, words: &[&str]) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(length) = escaped(rest) {
            text.push_str(&rest[1..length - 1]);
            rest = &rest[length..];
            continue;
        }
        let inner = &rest[1..];
        let name = &inner[..inner.find(|c| !is_of_a_word(c)).unwrap_or(inner.len())];
        let after = &inner[name.len()..];
        let list = match name {
            "members" => Some((Whose::Members, "members")),
            "others" => Some((Whose::Others, "others")),
            _ => None,
        };
        if let (Some((whose, name)), true) = (list, after.starts_with(':')) {
            let end = closing(after).ok_or(TemplateError::Open(name))?;
            let inside = &after[1..end];
            let inside = inside.strip_prefix(' ').unwrap_or(inside);
            let (each, separator) = inside.rsplit_once(" | ").unwrap_or((inside, ","));
            flush(&mut text, &mut parts);
            parts.push(Part::List {
                whose,
                each: self::parts(each, words)?,
                separator: separator.to_owned(),
            });
            rest = &after[end + 1..];
        } else if !name.is_empty() && after.starts_with('}') {
            if !words.contains(&name) {
                return Err(TemplateError::UnknownWord {
                    word: name.to_owned(),
                    known: known(words),
                });
            }
            flush(&mut text, &mut parts);
            parts.push(Part::Word(name.to_owned()));
            rest = &after[1..];
        } else {
            text.push('{');
            rest = inner;
        }
    }
    text.push_str(rest);
    flush(&mut text, &mut parts);
    Ok(parts)
}

fn flush(text: &mut String, parts: &mut Vec<Part>) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

fn known(words: &[&str]) -> String {
    match words {
        [] => "none".to_owned(),
        words => {
            let words: Vec<String> = words.iter().map(|word| format!("{{{word}}}")).collect();
            words.join(", ")
        }
    }
}

/// Small letters, digits, dots and dashes: JSON has none of these right behind a brace.
fn is_of_a_word(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_')
}

/// The length of `{{word}}` at the beginning, if that is what is there.
fn escaped(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("{{")?;
    let end = inner.find(|c| !is_of_a_word(c))?;
    (end > 0 && inner[end..].starts_with("}}")).then_some(end + 4)
}

/// Where the brace is that closes what was opened before this text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &[&str] = &["node", "id", "ip", "value"];

    fn words() -> Words {
        let member = |id: u64| {
            BTreeMap::from([
                ("node".to_owned(), format!("n{id}")),
                ("id".to_owned(), id.to_string()),
                ("ip".to_owned(), format!("127.9.0.{id}")),
            ])
        };
        Words {
            own: member(2),
            members: vec![member(1), member(2), member(3)],
            myself: Some(1),
        }
        .with("value", "17")
    }

    fn check(source: &str, expected: &str) {
        let template = Template::parse(source, WORDS).unwrap();
        assert_eq!(template.fill(&words()), expected, "{source}");
        assert_eq!(template.source(), source);
    }

    #[test]
    fn words_and_lists_of_members_are_filled_and_other_braces_stay() {
        for (source, expected) in [
            ("", ""),
            ("--name", "--name"),
            ("{node}", "n2"),
            ("http://{ip}:{value}", "http://127.9.0.2:17"),
            (
                "{members: {node}=http://{ip}:1 | ,}",
                "n1=http://127.9.0.1:1,n2=http://127.9.0.2:1,n3=http://127.9.0.3:1",
            ),
            ("{others: {id} |  }!", "1 3!"),
            ("{members:{id}}", "1,2,3"),
            (
                "[{members: [{id},\"{ip}:1\"] | ,}]",
                "[[1,\"127.9.0.1:1\"],[2,\"127.9.0.2:1\"],[3,\"127.9.0.3:1\"]]",
            ),
            ("{\"key\":{\"value\":{value}}}", "{\"key\":{\"value\":17}}"),
            ("{}", "{}"),
            ("a { b } c {", "a { b } c {"),
            ("{{node}}", "{node}"),
            ("{{\"a\":{value}}}", "{{\"a\":17}}"),
            ("\u{e4}{node}\u{e4}", "\u{e4}n2\u{e4}"),
        ] {
            check(source, expected);
        }
    }

    #[test]
    fn a_word_that_nobody_knows_is_refused_also_within_a_list() {
        for source in [
            "{nod}",
            "x{members: {nod} | ,}",
            "{members}",
            "{node }{nodes}",
        ] {
            let error = Template::parse(source, WORDS).unwrap_err();
            let TemplateError::UnknownWord { word, known } = &error else {
                panic!("{source}: {error}");
            };
            assert!(source.contains(&format!("{{{word}}}")), "{source}: {word}");
            assert_eq!(known, "{node}, {id}, {ip}, {value}");
        }
        let open = Template::parse("{members: {node}", WORDS).unwrap_err();
        assert_eq!(open.to_string(), "{members: ...} has no closing brace");
    }
}
