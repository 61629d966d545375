//! A streaming reader for EDN and JSON: both become the same small tree.
//!
//! Unknown tags are skipped, comments and `#_` discarded. Depth is bounded, so no input can exhaust the stack.

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
        match self {
            Self::Text(text) => quoted(text),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::in_full).collect();
                format!("[{}]", items.join(" "))
            }
            Self::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{} {}", key.in_full(), value.in_full()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            atom => atom.text(),
        }
    }

    /// As text, for messages.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Nil => "nil".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Number(text) | Self::Text(text) => text.clone(),
            Self::Keyword(text) => format!(":{text}"),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::text).collect();
                format!("[{}]", items.join(" "))
            }
            Self::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{} {}", key.text(), value.text()))
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
                        Some(other) => other as char,
                        None => return wrong("the string is not closed"),
                    };
                    bytes.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(byte) => bytes.push(byte),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn unicode(&mut self) -> Result<char> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.take()?.and_then(|byte| (byte as char).to_digit(16));
            let Some(digit) = digit else {
                return wrong("\\u without four hexadecimal digits");
            };
            code = code * 16 + digit;
        }
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
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
        Ok(String::from_utf8_lossy(&bytes).into_owned())
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
