//! Text to trees, one datum after the other.

use super::{Tree, number};

/// Which of the two it is; they differ in the colon after a key, and in what a bare word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Syntax {
    Edn,
    Json,
}

/// Why there is no datum.
#[derive(Debug)]
pub(in crate::format) struct Trouble {
    pub(in crate::format) reason: String,
    /// Where it was noticed, in bytes from the beginning.
    pub(in crate::format) at: usize,
}

/// The deepest nesting that is read.
const DEEPEST: u32 = 100;

/// Reads data one after the other.
pub(in crate::format) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    began: usize,
    syntax: Syntax,
}

type Result<T> = std::result::Result<T, Trouble>;

fn half(code: u32) -> String {
    format!("\\u{code:04x} is half a surrogate pair")
}

/// Whether a byte ends a word.
fn ends_a_word(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' | b'"' | b'(' | b')' | b'[' | b']' | b'{' | b'}'
    )
}

impl<'a> Reader<'a> {
    pub(in crate::format) fn new(bytes: &'a [u8], syntax: Syntax) -> Self {
        Self::from(bytes, 0, syntax)
    }

    /// A reader that begins at a place within a text.
    pub(in crate::format) fn from(bytes: &'a [u8], at: usize, syntax: Syntax) -> Self {
        Self {
            bytes,
            at,
            began: at,
            syntax,
        }
    }

    /// Where the datum begins that was read last, or that could not be read.
    pub(in crate::format) fn began(&self) -> usize {
        self.began
    }

    /// How far it has read.
    pub(in crate::format) fn at(&self) -> usize {
        self.at
    }

    /// The comment with which the text begins, if it does; the beginning of a long one.
    pub(in crate::format) fn first_comment(&mut self) -> Option<String> {
        if self.peek() != Some(b';') {
            return None;
        }
        let line = self.bytes[self.at..].split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        Some(String::from_utf8_lossy(&line[..line.len().min(1 << 16)]).into_owned())
    }

    /// If the next datum is a list, steps into it; whether it did.
    pub(in crate::format) fn open_list(&mut self) -> Result<bool> {
        self.open(b"[(")
    }

    /// If the next datum is a map, steps into it; whether it did.
    pub(in crate::format) fn open_map(&mut self) -> Result<bool> {
        self.open(b"{")
    }

    fn open(&mut self, brackets: &[u8]) -> Result<bool> {
        let next = self.skip(0)?;
        self.began = self.at;
        let opens = next.is_some_and(|byte| brackets.contains(&byte));
        self.at += usize::from(opens);
        Ok(opens)
    }

    /// The first byte of the next datum, without reading it.
    pub(in crate::format) fn ahead(&mut self) -> Result<Option<u8>> {
        self.skip(0)
    }

    /// The next datum; `None` at the end, which inside of a list is its closing bracket.
    pub(in crate::format) fn next(&mut self, inside: bool) -> Result<Option<Tree>> {
        let next = self.skip(0)?;
        match next {
            None if inside => self.wrong("the list is not closed"),
            None => Ok(None),
            Some(b']' | b')') if inside => {
                self.at += 1;
                Ok(None)
            }
            Some(_) => {
                self.began = self.at;
                self.datum(0).map(Some)
            }
        }
    }

    /// The key of the next entry of a map that was stepped into; `None` at its end.
    pub(in crate::format) fn next_key(&mut self) -> Result<Option<Tree>> {
        match self.skip(0)? {
            Some(b'}') => {
                self.at += 1;
                Ok(None)
            }
            None => self.wrong("the map is not closed"),
            Some(_) => self.key(0).map(Some),
        }
    }

    /// Whether nothing follows; what does is wrong.
    pub(in crate::format) fn end(&mut self) -> Result<()> {
        match self.skip(0)? {
            None => Ok(()),
            Some(byte) => {
                self.began = self.at;
                self.wrong(format!("{:?} after the end of the list", byte as char))
            }
        }
    }

    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Trouble {
            reason: reason.into(),
            at: self.at,
        })
    }

    /// Bytes as text.
    fn exactly(&self, bytes: Vec<u8>) -> Result<String> {
        String::from_utf8(bytes).map_or_else(|_| self.wrong("bytes that are no UTF-8"), Ok)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// Skips what means nothing; gives the byte after it.
    fn skip(&mut self, depth: u32) -> Result<Option<u8>> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',') => self.at += 1,
                Some(b';') => while !matches!(self.take(), None | Some(b'\n')) {},
                Some(b'#') if self.bytes[self.at..].starts_with(b"#_") => {
                    self.at += 2;
                    self.datum(depth + 1)?;
                }
                // What stands before a datum about it.
                Some(b'^') if self.syntax == Syntax::Edn => {
                    self.at += 1;
                    self.datum(depth + 1)?;
                }
                byte => return Ok(byte),
            }
        }
    }

    fn datum(&mut self, depth: u32) -> Result<Tree> {
        if depth > DEEPEST {
            return self.wrong(format!("nested more than {DEEPEST} deep"));
        }
        match self.skip(depth)? {
            None => self.wrong("the file ends in the middle of a datum"),
            Some(b'[') => self.list(b']', depth).map(Tree::List),
            Some(b'(') => self.list(b')', depth).map(Tree::List),
            Some(b'{') => self.map(depth),
            Some(b'"') => self.string().map(Tree::Text),
            Some(b'#') => self.tagged(depth),
            Some(b'\\') if self.syntax == Syntax::Edn => self.character(),
            Some(byte @ (b']' | b')' | b'}')) => {
                self.wrong(format!("{:?} closes nothing", byte as char))
            }
            Some(_) => self.atom(),
        }
    }

    fn list(&mut self, close: u8, depth: u32) -> Result<Vec<Tree>> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            match self.skip(depth)? {
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(items);
                }
                Some(_) => items.push(self.datum(depth + 1)?),
                None => return self.wrong("the list is not closed"),
            }
        }
    }

    fn map(&mut self, depth: u32) -> Result<Tree> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            match self.skip(depth)? {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Tree::Map(entries));
                }
                None => return self.wrong("the map is not closed"),
                Some(_) => {}
            }
            let key = self.key(depth)?;
            entries.push((key, self.datum(depth + 1)?));
        }
    }

    /// A key, and where it is JSON the colon after it.
    fn key(&mut self, depth: u32) -> Result<Tree> {
        let key = self.datum(depth + 1)?;
        if self.syntax == Syntax::Json {
            match self.skip(depth)? {
                Some(b':') => self.at += 1,
                _ => return self.wrong("a key without a colon after it"),
            };
        } else if self.skip(depth)? == Some(b'}') {
            return self.wrong(format!("the key {} has no value", key.text()));
        }
        Ok(key)
    }

    /// `#{..}` is a set, `##NaN` a number that is none, `#"x"` a pattern, `#<x>` what could not be written, `#tag x` the
    /// datum x under a tag.
    fn tagged(&mut self, depth: u32) -> Result<Tree> {
        self.at += 1;
        match self.peek() {
            Some(b'{') => self.list(b'}', depth).map(Tree::Set),
            Some(b'"') => {
                let text = self.up_to(b'"')?;
                Ok(Tree::Tagged("re".to_owned(), Box::new(Tree::Text(text))))
            }
            Some(b'<') => {
                let text = self.up_to(b'>')?;
                Ok(Tree::Tagged("<>".to_owned(), Box::new(Tree::Text(text))))
            }
            Some(b'#') => {
                self.at += 1;
                let word = self.word()?;
                match word.as_str() {
                    "NaN" | "Inf" | "-Inf" => Ok(Tree::Literal(format!("##{word}"))),
                    _ => self.wrong(format!(
                        "##{word} is not known; ##NaN, ##Inf and ##-Inf are"
                    )),
                }
            }
            _ => {
                let tag = self.word()?;
                let datum = self.datum(depth + 1)?;
                Ok(Tree::Tagged(tag, Box::new(datum)))
            }
        }
    }

    /// As it stands, from one byte up to another one that has no backslash before it.
    fn up_to(&mut self, close: u8) -> Result<String> {
        self.at += 1;
        let from = self.at;
        loop {
            match self.take() {
                None => return self.wrong(format!("{:?} is missing", close as char)),
                Some(b'\\') => {
                    self.take();
                }
                Some(byte) if byte == close => {
                    let bytes = self.bytes[from..self.at - 1].to_vec();
                    return self.exactly(bytes);
                }
                Some(_) => {}
            }
        }
    }

    /// `\a`, `\newline`, `\u0041`, and any single character after a backslash.
    fn character(&mut self) -> Result<Tree> {
        self.at += 1;
        let from = self.at;
        self.take();
        while self.peek().is_some_and(|byte| byte & 0xc0 == 0x80) {
            self.at += 1;
        }
        if self.bytes[from..self.at]
            .iter()
            .all(u8::is_ascii_alphanumeric)
        {
            self.word()?;
        }
        let word = self.exactly(self.bytes[from..self.at].to_vec())?;
        let mut characters = word.chars();
        let c = match (characters.next(), characters.as_str()) {
            (None, _) => return self.wrong("a backslash at the end"),
            (Some(c), "") => c,
            (Some('u'), code) if code.len() == 4 => {
                let code = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                match code {
                    Some(c) => c,
                    None => return self.wrong(format!("the character \\{word} is not known")),
                }
            }
            _ => match word.as_str() {
                "newline" => '\n',
                "space" => ' ',
                "tab" => '\t',
                "return" => '\r',
                "formfeed" => '\u{c}',
                "backspace" => '\u{8}',
                _ => return self.wrong(format!("the character \\{word} is not known")),
            },
        };
        let bare = c.is_alphanumeric() || c.is_ascii_graphic() && !ends_a_word(c as u8);
        Ok(Tree::Literal(match u32::from(c) {
            _ if bare => format!("\\{c}"),
            code @ ..=0xffff => format!("\\u{code:04x}"),
            _ => format!("\\{c}"),
        }))
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.take() {
                None => return self.wrong("the string is not closed"),
                Some(b'"') => break,
                Some(b'\\') => {
                    let escaped = match self.take() {
                        Some(b'n') => '\n',
                        Some(b't') => '\t',
                        Some(b'r') => '\r',
                        Some(b'b') => '\u{8}',
                        Some(b'f') => '\u{c}',
                        Some(b'u') => self.unicode()?,
                        Some(same @ (b'"' | b'\\' | b'/')) => same as char,
                        Some(other) => {
                            return self.wrong(format!(
                                "the escape \\{} is not known",
                                other.escape_ascii()
                            ));
                        }
                        None => return self.wrong("the string is not closed"),
                    };
                    bytes.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(byte) => bytes.push(byte),
            }
        }
        self.exactly(bytes)
    }

    /// The rest of `\uXXXX`, and of the second half where that is the first of a surrogate pair.
    fn unicode(&mut self) -> Result<char> {
        let first = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return match char::from_u32(first) {
                Some(c) => Ok(c),
                None => self.wrong(half(first)),
            };
        }
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return self.wrong(half(first));
        }
        self.at += 2;
        let second = self.code_unit()?;
        if !(0xdc00..0xe000).contains(&second) {
            return self.wrong(half(first));
        }
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(code).map_or_else(|| self.wrong(half(first)), Ok)
    }

    /// Four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.take().and_then(|byte| (byte as char).to_digit(16));
            let Some(digit) = digit else {
                return self.wrong("\\u without four hexadecimal digits");
            };
            code = code * 16 + digit;
        }
        Ok(code)
    }

    /// Everything up to the next delimiter.
    fn word(&mut self) -> Result<String> {
        let from = self.at;
        while let Some(byte) = self.peek()
            && !ends_a_word(byte)
            && !(byte == b':' && self.syntax == Syntax::Json)
        {
            self.at += 1;
        }
        self.exactly(self.bytes[from..self.at].to_vec())
    }

    fn atom(&mut self) -> Result<Tree> {
        let word = self.word()?;
        if word.is_empty() {
            let byte = self.take().unwrap_or_default();
            return self.wrong(format!("{:?} begins nothing", byte as char));
        }
        match (word.as_str(), self.syntax) {
            ("nil" | "null", _) => return Ok(Tree::Nil),
            ("true", _) => return Ok(Tree::Bool(true)),
            ("false", _) => return Ok(Tree::Bool(false)),
            // As Python writes them.
            ("NaN", Syntax::Json) => return Ok(Tree::Literal("##NaN".to_owned())),
            ("Infinity", Syntax::Json) => return Ok(Tree::Literal("##Inf".to_owned())),
            ("-Infinity", Syntax::Json) => return Ok(Tree::Literal("##-Inf".to_owned())),
            (_, Syntax::Json) => {
                return match number(&word) {
                    Some(number) => Ok(number),
                    None => self.wrong(format!("{word:?} is no JSON: a string stands in quotes")),
                };
            }
            (_, Syntax::Edn) => {}
        }
        if let Some(keyword) = word.strip_prefix(':') {
            return Ok(Tree::Keyword(keyword.to_owned()));
        }
        let unsigned = word.trim_start_matches(['-', '+']);
        if word.len() > unsigned.len() + 1 || !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            let symbol = word.strip_prefix('\'').unwrap_or(&word);
            return Ok(Tree::Symbol(symbol.to_owned()));
        }
        if unsigned.starts_with('0')
            && unsigned.len() > 1
            && unsigned.bytes().all(|b| b.is_ascii_digit())
        {
            return self.wrong(format!(
                "{word} may be octal: a number has no zero before it"
            ));
        }
        let digits = word.strip_suffix(['N', 'M']).unwrap_or(&word);
        Ok(number(digits).unwrap_or_else(|| Tree::Number(word.trim_start_matches('+').to_owned())))
    }
}

#[cfg(test)]
mod tests;
