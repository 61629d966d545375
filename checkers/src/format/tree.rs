//! A streaming reader for EDN and JSON: both become the same small tree.
//!
//! Unknown tags are skipped, comments and `#_` discarded. Depth is bounded, so no input can exhaust the stack. A text
//! is taken exactly or not at all: half a surrogate pair, an escape that nobody knows and bytes that are no UTF-8 are
//! wrong, since different texts would read as the same.

use std::io::BufRead;

use crate::history::{quoted, written};

/// One datum.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Nil,
    Bool(bool),
    Int(i64),
    /// A number that is no 64-bit integer, as it was written.
    Number(String),
    /// A string, or a symbol.
    Text(String),
    /// Without its colon.
    Keyword(String),
    /// A vector, list or set.
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
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
            Self::Keyword(word) | Self::Text(word) => Some(word),
            _ => None,
        }
    }

    /// The name of what it is: different data have different names, however they look.
    pub(super) fn name(&self) -> String {
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
        match self {
            Self::Nil => "nil".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Number(text) => text.clone(),
            Self::Text(text) => string(text),
            Self::Keyword(text) => format!(":{text}"),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.with(string)).collect();
                format!("[{}]", items.join(" "))
            }
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

/// Which of the two it is; they differ in the colon after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Edn,
    Json,
}

/// Why there is no datum.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(std::io::Error),
    Syntax(String),
}

/// The deepest nesting that is read.
const DEEPEST: u32 = 100;

/// Reads data one after the other.
pub(super) struct Reader<R> {
    input: R,
    syntax: Syntax,
    line: u64,
}

type Result<T> = std::result::Result<T, Trouble>;

fn wrong<T>(reason: impl Into<String>) -> Result<T> {
    Err(Trouble::Syntax(reason.into()))
}

fn half(code: u32) -> String {
    format!("\\u{code:04x} is half a surrogate pair")
}

/// Bytes as text.
fn exactly(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_or_else(|_| wrong("bytes that are no UTF-8"), Ok)
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(input: R, syntax: Syntax) -> Self {
        Self {
            input,
            syntax,
            line: 1,
        }
    }

    /// The line that is being read, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The comment with which the text begins, if it does; the beginning of a long one.
    pub(super) fn first_comment(&mut self) -> Result<Option<String>> {
        if self.peek()? != Some(b';') {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while let Some(byte) = self.take()?
            && byte != b'\n'
        {
            if bytes.len() < 256 {
                bytes.push(byte);
            }
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// If the next datum is a list, steps into it; whether it did.
    pub(super) fn open_list(&mut self) -> Result<bool> {
        match self.skip()? {
            Some(b'[' | b'(') => {
                self.take()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The next datum; `None` at the end, which inside of a list is its closing bracket.
    pub(super) fn next(&mut self, inside: bool) -> Result<Option<Tree>> {
        match self.skip()? {
            None if inside => wrong("the list is not closed"),
            None => Ok(None),
            Some(b']' | b')') if inside => {
                self.take()?;
                match self.skip()? {
                    None => Ok(None),
                    Some(byte) => wrong(format!("{:?} after the end of the list", byte as char)),
                }
            }
            Some(_) => self.datum(0).map(Some),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        Ok(self.input.fill_buf().map_err(Trouble::Io)?.first().copied())
    }

    fn take(&mut self) -> Result<Option<u8>> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.line += u64::from(byte == b'\n');
            self.input.consume(1);
        }
        Ok(byte)
    }

    /// Skips what means nothing; gives the byte after it.
    fn skip(&mut self) -> Result<Option<u8>> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',') => {
                    self.take()?;
                }
                Some(b';') => while !matches!(self.take()?, None | Some(b'\n')) {},
                byte => return Ok(byte),
            }
        }
    }

    fn datum(&mut self, depth: u32) -> Result<Tree> {
        if depth > DEEPEST {
            return wrong(format!("nested more than {DEEPEST} deep"));
        }
        match self.skip()? {
            None => wrong("the file ends in the middle of a datum"),
            Some(b'[') => self.list(b']', depth),
            Some(b'(') => self.list(b')', depth),
            Some(b'{') => self.map(depth),
            Some(b'"') => self.string().map(Tree::Text),
            Some(b'#') => self.tagged(depth),
            Some(byte @ (b']' | b')' | b'}')) => {
                wrong(format!("{:?} closes nothing", byte as char))
            }
            Some(_) => self.atom(),
        }
    }

    fn list(&mut self, close: u8, depth: u32) -> Result<Tree> {
        self.take()?;
        let mut items = Vec::new();
        loop {
            match self.skip()? {
                Some(byte) if byte == close => {
                    self.take()?;
                    return Ok(Tree::List(items));
                }
                Some(_) => items.push(self.datum(depth + 1)?),
                None => return wrong("the list is not closed"),
            }
        }
    }

    fn map(&mut self, depth: u32) -> Result<Tree> {
        self.take()?;
        let mut entries = Vec::new();
        loop {
            match self.skip()? {
                Some(b'}') => {
                    self.take()?;
                    return Ok(Tree::Map(entries));
                }
                None => return wrong("the map is not closed"),
                Some(_) => {}
            }
            let key = self.datum(depth + 1)?;
            if self.syntax == Syntax::Json {
                match self.skip()? {
                    Some(b':') => self.take()?,
                    _ => return wrong("a key without a colon after it"),
                };
            } else if self.skip()? == Some(b'}') {
                return wrong(format!("the key {} has no value", key.text()));
            }
            entries.push((key, self.datum(depth + 1)?));
        }
    }

    /// `#{..}` is a set, `#_x` is nothing, `#tag x` is x.
    fn tagged(&mut self, depth: u32) -> Result<Tree> {
        self.take()?;
        match self.peek()? {
            Some(b'{') => {
                let set = self.list(b'}', depth)?;
                Ok(set)
            }
            Some(b'_') => {
                self.take()?;
                self.datum(depth + 1)?;
                self.datum(depth + 1)
            }
            _ => {
                self.word()?;
                self.datum(depth + 1)
            }
        }
    }

    fn string(&mut self) -> Result<String> {
        self.take()?;
        let mut bytes = Vec::new();
        loop {
            match self.take()? {
                None => return wrong("the string is not closed"),
                Some(b'"') => break,
                Some(b'\\') => {
                    let escaped = match self.take()? {
                        Some(b'n') => '\n',
                        Some(b't') => '\t',
                        Some(b'r') => '\r',
                        Some(b'b') => '\u{8}',
                        Some(b'f') => '\u{c}',
                        Some(b'u') => self.unicode()?,
                        Some(same @ (b'"' | b'\\' | b'/')) => same as char,
                        Some(other) => {
                            return wrong(format!(
                                "the escape \\{} is not known",
                                other.escape_ascii()
                            ));
                        }
                        None => return wrong("the string is not closed"),
                    };
                    bytes.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(byte) => bytes.push(byte),
            }
        }
        exactly(bytes)
    }

    /// The rest of `\uXXXX`, and of the second half where that is the first of a surrogate pair.
    fn unicode(&mut self) -> Result<char> {
        let first = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return match char::from_u32(first) {
                Some(c) => Ok(c),
                None => wrong(half(first)),
            };
        }
        if self.peek()? != Some(b'\\') {
            return wrong(half(first));
        }
        self.take()?;
        if self.peek()? != Some(b'u') {
            return wrong(half(first));
        }
        self.take()?;
        let second = self.code_unit()?;
        if !(0xdc00..0xe000).contains(&second) {
            return wrong(half(first));
        }
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(code).map_or_else(|| wrong(half(first)), Ok)
    }

    /// Four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.take()?.and_then(|byte| (byte as char).to_digit(16));
            let Some(digit) = digit else {
                return wrong("\\u without four hexadecimal digits");
            };
            code = code * 16 + digit;
        }
        Ok(code)
    }

    /// Everything up to the next delimiter.
    fn word(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(byte) = self.peek()? {
            let ends = matches!(
                byte,
                b' ' | b'\t'
                    | b'\r'
                    | b'\n'
                    | b','
                    | b';'
                    | b'"'
                    | b'('
                    | b')'
                    | b'['
                    | b']'
                    | b'{'
                    | b'}'
            ) || (byte == b':' && self.syntax == Syntax::Json);
            if ends {
                break;
            }
            bytes.push(byte);
            self.take()?;
        }
        exactly(bytes)
    }

    fn atom(&mut self) -> Result<Tree> {
        let word = self.word()?;
        if word.is_empty() {
            let byte = self.take()?.unwrap_or_default();
            return wrong(format!("{:?} begins nothing", byte as char));
        }
        if let Some(keyword) = word.strip_prefix(':') {
            return Ok(Tree::Keyword(keyword.to_owned()));
        }
        let digits = word.strip_suffix('N').unwrap_or(&word);
        Ok(match word.as_str() {
            "nil" | "null" => Tree::Nil,
            "true" => Tree::Bool(true),
            "false" => Tree::Bool(false),
            _ => match digits.parse() {
                Ok(value) => Tree::Int(value),
                Err(_) if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                    Tree::Number(word)
                }
                Err(_) => Tree::Text(word),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands on the second line, in both syntaxes.
    fn check(text: &[u8], expected: std::result::Result<&str, &str>) {
        for syntax in [Syntax::Edn, Syntax::Json] {
            let text = [b"\n", text].concat();
            let mut reader = Reader::new(text.as_slice(), syntax);
            let read = match reader.next(false) {
                Ok(Some(Tree::Text(text))) => Ok(text),
                Err(Trouble::Syntax(reason)) => Err(reason),
                other => panic!("{other:?}"),
            };
            assert_eq!(read.as_deref().map_err(String::as_str), expected);
            assert_eq!(reader.line(), 2);
        }
    }

    #[test]
    fn a_text_is_taken_exactly_or_refused() {
        check(br#""\uD83D\uDE00""#, Ok("\u{1f600}"));
        check(br#""\ud83d\ude01\ud83d\ude02""#, Ok("\u{1f601}\u{1f602}"));
        check(
            br#""\udbff\udfff\ue000\ud7ff""#,
            Ok("\u{10ffff}\u{e000}\u{d7ff}"),
        );
        check(
            "\"\u{1f600}\\n\\\\\\/\\\"\"".as_bytes(),
            Ok("\u{1f600}\n\\/\""),
        );
        for (text, half) in [
            (&br#""\uD83D""#[..], "d83d"),
            (br#""\uD83Dx""#, "d83d"),
            (br#""\uD83D\n""#, "d83d"),
            (br#""\uD83D\u0041""#, "d83d"),
            (br#""\uD83D\uD83D\uDE00""#, "d83d"),
            (br#""\uDE00""#, "de00"),
        ] {
            check(text, Err(&format!("\\u{half} is half a surrogate pair")));
        }
        for text in [&b"\"\xff\""[..], b"\"\xfe\"", b"v\xff", b"\"\xf0\x9f\""] {
            check(text, Err("bytes that are no UTF-8"));
        }
        // "\101" would be taken for "101".
        check(br#""\101""#, Err("the escape \\1 is not known"));
    }
}
