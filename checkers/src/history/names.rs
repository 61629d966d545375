//! Values that are not integers: their numbers and their text.
//!
//! What was written differently is different: the string `1` is not the number 1, `":a"` is not `:a`, and the string
//! `[1]` is not the list `[1]`. So a value is known by its text as a datum: a string as it is, but in quotes where it
//! would read as something else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Value;

/// Values that are not integers: their numbers and their text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    numbers: BTreeMap<String, Value>,
    texts: Vec<String>,
    lists: BTreeMap<Value, Vec<Value>>,
    /// Bytes that all of this holds, more or less.
    bytes: usize,
}

/// Where the numbers of named values begin: far below what a workload writes.
const FIRST_NAME: Value = Value::MIN / 2;

/// What a text or a list costs in its table beside its own bytes.
const BESIDE_A_TEXT: usize = 48;

/// So many integers are kept for them.
const MOST_NAMES: Value = 1 << 32;

/// Whether an integer is kept as the number of a named value: as a value of its own it would be taken for that one.
pub(crate) fn is_kept(value: Value) -> bool {
    (FIRST_NAME..FIRST_NAME + MOST_NAMES).contains(&value)
}

/// Why a file is refused that has such an integer as a value.
pub(crate) fn kept(value: Value) -> String {
    format!(
        "the value {value} can't be had: the 2^32 integers from {FIRST_NAME} on are kept for values that are no integers"
    )
}

/// A value that is not an integer, as whoever writes it must tell it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// A string: what it says.
    Text(Cow<'a, str>),
    /// A keyword, a boolean or a number that is no 64-bit integer, as EDN has it.
    Datum(&'a str),
    /// A list.
    List(&'a [Value]),
}

impl Names {
    /// The number of a string, given now if it has none.
    pub fn intern(&mut self, text: &str) -> Value {
        self.number(written(text).into_owned())
    }

    /// The number of a keyword, a boolean or a number that is no 64-bit integer, as EDN has it; given now if it has none.
    pub(crate) fn intern_datum(&mut self, datum: &str) -> Value {
        self.number(datum.to_owned())
    }

    /// The number of a value by the text that [`Names::iter`] gave; given now if it has none.
    pub(crate) fn intern_written(&mut self, text: &str) -> Value {
        let a_string = |text: String| !is_plain(&text);
        let quoted = serde_json::from_str(text).is_ok_and(a_string);
        if is_datum(text) || quoted {
            return self.number(text.to_owned());
        }
        self.intern(text)
    }

    /// The value that JSON says: an integer as itself, a string, a list or a datum of EDN by its name, null as absent.
    ///
    /// # Errors
    /// When it is no value, in words.
    pub(crate) fn intern_json(&mut self, raw: &str) -> Result<Option<Value>, String> {
        let no_value =
            || format!("the value {raw} is neither an integer, a string, a list nor null");
        if let Ok(value) = raw.parse::<Value>() {
            return if is_kept(value) {
                Err(kept(value))
            } else {
                Ok(Some(value))
            };
        }
        match serde_json::from_str::<serde_json::Value>(raw) {
            Ok(serde_json::Value::Null) => Ok(None),
            Ok(serde_json::Value::String(text)) => Ok(Some(self.intern(&text))),
            Ok(serde_json::Value::Array(items)) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    let item = self.intern_json(&item.to_string())?;
                    list.push(item.ok_or("a list with null in it")?);
                }
                Ok(Some(self.intern_list(&list)))
            }
            Ok(serde_json::Value::Object(members)) if members.len() == 1 => {
                let datum = members.get("edn").and_then(|datum| datum.as_str());
                let datum = datum.filter(|datum| is_datum(datum)).ok_or_else(no_value)?;
                Ok(Some(self.intern_datum(datum)))
            }
            _ => Err(no_value()),
        }
    }

    fn number(&mut self, text: String) -> Value {
        if let Some(value) = self.numbers.get(&text) {
            return *value;
        }
        let value = self.named(text.clone());
        self.bytes += text.len() + BESIDE_A_TEXT;
        self.numbers.insert(text, value);
        value
    }

    fn named(&mut self, text: String) -> Value {
        self.bytes += text.len() + BESIDE_A_TEXT;
        self.texts.push(text);
        FIRST_NAME + self.texts.len() as Value - 1
    }

    /// The number of a list, given now if it has none (the list-append spec).
    pub fn intern_list(&mut self, list: &[Value]) -> Value {
        let mut text = String::from("[");
        for (i, item) in list.iter().enumerate() {
            if i > 0 {
                text.push(' ');
            }
            // Where things stand side by side, a string needs its quotes.
            match self.get(*item) {
                Some(name) if is_plain(name) => text.push_str(&quoted(name)),
                _ => text.push_str(&self.text(*item)),
            }
        }
        text.push(']');
        let value = self.number(text);
        if !self.lists.contains_key(&value) {
            self.put_list(value, list.to_vec());
        }
        value
    }

    /// The number of a text as a list of its characters, given now if it has none (Porcupine's kv texts).
    pub fn intern_characters(&mut self, text: &str) -> Value {
        // No other value is known by a text that begins so.
        let known = format!("\0{text}");
        if let Some(value) = self.numbers.get(&known) {
            return *value;
        }
        let mut buffer = [0; 4];
        let characters = text.chars();
        let list = characters
            .map(|c| self.intern(c.encode_utf8(&mut buffer)))
            .collect();
        let value = self.named(quoted(text));
        self.bytes += known.len() + BESIDE_A_TEXT;
        self.numbers.insert(known, value);
        self.put_list(value, list);
        value
    }

    fn put_list(&mut self, value: Value, list: Vec<Value>) {
        self.bytes += list.len() * size_of::<Value>() + BESIDE_A_TEXT;
        self.lists.insert(value, list);
    }

    /// The elements of a list that was interned.
    #[must_use]
    pub fn list(&self, value: Value) -> Option<&[Value]> {
        self.lists.get(&value).map(Vec::as_slice)
    }

    /// The name of a value, where it is not an integer: a string in quotes where it would read as something else.
    #[must_use]
    pub fn get(&self, value: Value) -> Option<&str> {
        self.texts.get(self.place(value)?).map(String::as_str)
    }

    /// Whether a string is known.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.numbers.contains_key(&*written(text))
    }

    /// Whether there are texts that are lists of their characters.
    pub(crate) fn has_characters(&self) -> bool {
        let first = self.numbers.keys().next();
        first.is_some_and(|known| known.starts_with('\0'))
    }

    /// How many values were named before this one, where it is named.
    pub(crate) fn place(&self, value: Value) -> Option<usize> {
        let place = usize::try_from(value.wrapping_sub(FIRST_NAME)).ok()?;
        (place < self.texts.len()).then_some(place)
    }

    /// A value as text: its name, or the integer.
    #[must_use]
    pub fn text(&self, value: Value) -> Cow<'_, str> {
        match self.get(value) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(value.to_string()),
        }
    }

    /// What a value is, where it is not an integer.
    pub(crate) fn what(&self, value: Value) -> Option<Named<'_>> {
        if let Some(list) = self.list(value) {
            return Some(Named::List(list));
        }
        let name = self.get(value)?;
        if is_plain(name) {
            return Some(Named::Text(Cow::Borrowed(name)));
        }
        Some(match serde_json::from_str::<String>(name) {
            Ok(text) => Named::Text(Cow::Owned(text)),
            Err(_) => Named::Datum(name),
        })
    }

    /// Puts the values of the file in the place of the numbers that stand for them: a string as a string, a list as a
    /// list, anything else of EDN as `{"edn": ":a"}`.
    pub fn restore(&self, json: &mut serde_json::Value) {
        match json {
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.restore(item)),
            serde_json::Value::Object(members) => {
                members.values_mut().for_each(|member| self.restore(member));
            }
            // No other number that is told is negative and so large: indices and times have no sign.
            serde_json::Value::Number(number) => {
                if let Some(value) = number.as_i64().filter(|value| self.place(*value).is_some()) {
                    *json = self.json(value);
                }
            }
            _ => {}
        }
    }

    /// A value as JSON.
    fn json(&self, value: Value) -> serde_json::Value {
        let name = self.get(value).unwrap_or_default();
        match self.what(value) {
            // A text whose elements are characters is known by what it says.
            Some(Named::List(_)) if name.starts_with('"') => {
                serde_json::from_str(name).unwrap_or_default()
            }
            Some(Named::List(list)) => list.iter().map(|item| self.json(*item)).collect(),
            Some(Named::Text(text)) => serde_json::Value::from(text),
            Some(Named::Datum(datum)) => serde_json::json!({ "edn": datum }),
            None => serde_json::Value::from(value),
        }
    }

    /// The names in the order of their numbers, each as its text or as its list.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Option<&[Value]>)> {
        let number = |i: usize| FIRST_NAME + i as Value;
        let texts = self.texts.iter().enumerate();
        texts.map(move |(i, text)| (text.as_str(), self.list(number(i))))
    }

    /// How many bytes they hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many values are not integers.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether every value is an integer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// Whether a text as it is can only be a string.
fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    let begins = first.is_some_and(|c| {
        !matches!(c, ':' | '[' | '{' | '"' | '-' | '\'' | '\\' | '#')
            && !c.is_ascii_digit()
            && !c.is_control()
    });
    begins && !matches!(text, "true" | "false" | "nil" | "null")
}

/// A string as a datum: as it is, or in quotes where it would read as something else.
pub(crate) fn written(text: &str) -> Cow<'_, str> {
    match is_plain(text) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(quoted(text)),
    }
}

/// A string in quotes, escaped as both JSON and EDN understand it.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a text is what EDN has beside strings, integers and lists: a keyword, a boolean, a number that is no 64-bit
/// integer, a symbol (with a quote before it), a character, a number that is none, or a tagged text.
pub(crate) fn is_datum(text: &str) -> bool {
    let ends = |c: char| " \t\r\n,;\"()[]{}".contains(c);
    if let Some(tagged) = text.strip_prefix('#') {
        let named = matches!(tagged, "#NaN" | "#Inf" | "#-Inf");
        return named
            || tagged.split_once(' ').is_some_and(|(tag, datum)| {
                let begins = tag.starts_with(|c: char| c.is_ascii_alphabetic());
                let text = serde_json::from_str::<String>(datum);
                begins && !tag.contains(ends) && text.is_ok_and(|text| quoted(&text) == datum)
            });
    }
    if let Some(character) = text.strip_prefix('\\') {
        let mut rest = character.chars();
        let single = rest.next().is_some_and(|c| !ends(c) && !c.is_control());
        let code = rest.as_str();
        let coded = code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
        return single && (code.is_empty() || character.starts_with('u') && coded);
    }
    let digits = text.strip_suffix('N').unwrap_or(text);
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let known = text.starts_with([':', '\'']) || matches!(text, "true" | "false");
    !text.contains(ends) && (known || numeric && digits.parse::<Value>().is_err())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_alike_is_told_apart() {
        let mut names = Names::default();
        let number = names.intern("1");
        let list_of_number = names.intern_list(&[1]);
        let list_of_text = names.intern_list(&[number]);
        let values = [
            1,
            number,
            names.intern("[1]"),
            list_of_number,
            list_of_text,
            names.intern("[\"1\"]"),
            names.intern("\"1\""),
            names.intern(":a"),
            names.intern_datum(":a"),
            names.intern("true"),
            names.intern_datum("true"),
            names.intern("'a"),
            names.intern_datum("'a"),
            names.intern("a"),
            names.intern("\\a"),
            names.intern_datum("\\a"),
            names.intern("##NaN"),
            names.intern_datum("##NaN"),
            names.intern("#inst \"a\""),
            names.intern_datum("#inst \"a\""),
            names.intern("1.5"),
            names.intern_datum("1.5"),
            names.intern("nil"),
            names.intern(""),
            names.intern_characters(""),
            names.intern_characters("1"),
        ];
        let different: HashSet<Value> = values.into_iter().collect();
        assert_eq!(different.len(), values.len(), "{names:?}");
        assert_eq!(names.text(values[2]), "\"[1]\"");
        assert_eq!(names.text(values[8]), ":a");
        for datum in [
            ":a",
            "'a",
            "\\a",
            "\\u000a",
            "##NaN",
            "#inst \"a\"",
            "1.5",
            "true",
        ] {
            assert!(is_datum(datum), "{datum}");
        }
        for text in [
            "", "\\", "\\(", "\\ab", "##nan", "#", "#inst a", "# \"a\"", "'a b", "v",
        ] {
            assert!(!is_datum(text), "{text}");
        }
        let natural = names.intern("v1");
        assert_eq!(names.text(natural), "v1");
    }

    #[test]
    fn values_are_told_as_the_file_has_them() {
        let mut names = Names::default();
        let (jam, one, keyword) = (
            names.intern("jam"),
            names.intern("1"),
            names.intern_datum(":a"),
        );
        let list = names.intern_list(&[7, jam]);
        let text = names.intern_characters("x y");
        let mut told = serde_json::json!({
            "call": {"cas": {"old": jam, "new": one}},
            "outcome": {"ok": keyword},
            "legal": [list, null, 7, text],
            "unknown": list + 100,
            "client": u64::MAX,
        });
        names.restore(&mut told);
        let expected = serde_json::json!({
            "call": {"cas": {"old": "jam", "new": "1"}},
            "outcome": {"ok": {"edn": ":a"}},
            "legal": [[7, "jam"], null, 7, "x y"],
            "unknown": list + 100,
            "client": u64::MAX,
        });
        assert_eq!(told, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_string_is_what_it_was(texts in prop::collection::vec("[-:\\[\\]\"\\\\1aN. {\n\u{1}é'#]{0,4}|true|nil", 1..20)) {
            let mut names = Names::default();
            let mut again = Names::default();
            for text in &texts {
                let value = names.intern(text);
                let expected = Named::Text(Cow::Borrowed(text.as_str()));
                prop_assert_eq!(names.what(value), Some(expected));
                // As the binary format has it.
                let name = names.get(value).expect("a name").to_owned();
                prop_assert_eq!(again.intern_written(&name), value);
                prop_assert_eq!(again.get(value), Some(name.as_str()));
            }
            let different: HashSet<&String> = texts.iter().collect();
            prop_assert_eq!(names.len(), different.len());
        }
    }
}
