//! What a text is: its format by what stands in it, or why it is none that can be read.

use super::members::{Member, Members};
use super::tree::{Reader, Syntax, Tree};
use super::{Format, intervals, jepsen};

/// Why a text is no history, and what would be one.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) advice: Option<String>,
    /// Where, in bytes from the beginning.
    pub(super) at: usize,
}

impl Refusal {
    pub(super) fn of(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            advice: None,
            at: 0,
        }
    }

    fn with(reason: &str, advice: &str) -> Self {
        Self {
            advice: Some(advice.to_owned()),
            ..Self::of(reason)
        }
    }
}

/// What files begin with that are no text, and what to do about them.
const OTHERS: [(&[u8], &str, &str); 11] = [
    (
        b"\x89PNG",
        "a picture (PNG)",
        "give the history that it was drawn from",
    ),
    (
        b"\xff\xd8\xff",
        "a picture (JPEG)",
        "give the history that it was drawn from",
    ),
    (
        b"GIF8",
        "a picture (GIF)",
        "give the history that it was drawn from",
    ),
    (b"%PDF", "a PDF", "give the history as text"),
    (
        b"PK\x03\x04",
        "a zip archive",
        "unpack it and give the history in it",
    ),
    (
        b"7z\xbc\xaf\x27\x1c",
        "a 7z archive",
        "unpack it and give the history in it",
    ),
    (
        b"\xfd7zXZ",
        "packed with xz",
        "unpack it; gzip and zstd are read as they are",
    ),
    (
        b"BZh",
        "packed with bzip2",
        "unpack it; gzip and zstd are read as they are",
    ),
    (
        b"JEPSEN",
        "Jepsen's own store (test.jepsen)",
        "give the history.edn beside it",
    ),
    (b"\x7fELF", "a program", "give a history"),
    (b"SQLite format 3", "a database (SQLite)", "give a history"),
];

/// The format of a text, without a byte order mark.
///
/// # Errors
/// When it is none of those that can be read.
pub(super) fn sniff(text: &[u8]) -> Result<Format, Refusal> {
    if text.trim_ascii().is_empty() {
        let reason = if text.is_empty() {
            "the file is empty"
        } else {
            "there is nothing in it but white space"
        };
        return Err(Refusal::of(reason));
    }
    if let Some((_, what, advice)) = OTHERS.iter().find(|(magic, ..)| text.starts_with(magic)) {
        return Err(Refusal::with(
            &format!("it is {what}, and no history"),
            advice,
        ));
    }
    if text.get(257..262) == Some(b"ustar") {
        return Err(Refusal::with(
            "it is a tar archive, and no history",
            "unpack it and give the history in it",
        ));
    }
    if text.contains(&0) {
        return Err(Refusal::with(
            "it is no text, and no history that is known",
            "`whitewater list formats` has those that can be read",
        ));
    }
    if text.starts_with(jepsen::CLAIM.as_bytes()) {
        return Ok(Format::Edn);
    }
    if jepsen::log::is_logged(text) {
        return Ok(Format::JepsenLog);
    }
    let begins = first_datum(text);
    let line = text[begins..].split(|byte| *byte == b'\n').next();
    match text.get(begins) {
        // `[10:00:00] 0 :invoke :read nil` is no list.
        Some(b'[') if line.is_some_and(jepsen::log::has_event) => Ok(Format::JepsenTxt),
        Some(b'<') => Err(Refusal::with(
            "it is a page (HTML or XML), and no history",
            "give the history that it shows",
        )),
        Some(b'{' | b'[' | b'(' | b'#') => Ok(of_data(&text[begins..])),
        _ if jepsen::log::has_event(text) => Ok(Format::JepsenTxt),
        _ if intervals::csv::is_one(text) => Ok(Format::Csv),
        _ => Err(nothing_known(text, begins)),
    }
}

/// Where the first datum stands, behind white space and comments.
fn first_datum(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += text[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        if text.get(at) != Some(&b';') {
            return at;
        }
        let line = text[at..].iter().position(|byte| *byte == b'\n');
        at = line.map_or(text.len(), |newline| at + newline);
    }
}

/// Which of those that are made of maps and lists.
fn of_data(text: &[u8]) -> Format {
    let syntax = if is_json(text) {
        Syntax::Json
    } else {
        Syntax::Edn
    };
    let plain = match syntax {
        Syntax::Json => Format::Json,
        Syntax::Edn => Format::Edn,
    };
    let mut reader = Reader::new(text, syntax);
    let _ = reader.open_list();
    let Ok(Some(first)) = reader.next(true) else {
        return plain;
    };
    let Tree::Map(entries) = &first else {
        return plain;
    };
    let Ok(members) = Members::of(entries) else {
        return plain;
    };
    if syntax == Syntax::Edn {
        let f = first.get("f").and_then(Tree::word).unwrap_or_default();
        let a_text = matches!(first.get("key"), Some(Tree::Text(_)));
        let kv = a_text && ["get", "put", "append"].contains(&f) && first.get("process").is_some();
        return if kv { Format::PorcupineKv } else { plain };
    }
    let timed = members.get(Member::Begin).is_some() && members.get(Member::End).is_some();
    match first.get("Input") {
        Some(Tree::Map(_)) if first.get("Call").is_some() => {
            let etcd = first
                .get("Input")
                .is_some_and(|input| input.get("Type").is_some());
            if etcd {
                Format::Etcd
            } else {
                Format::Porcupine
            }
        }
        _ if timed && members.get(Member::F).is_some() => Format::Intervals,
        _ => plain,
    }
}

/// Whether data are JSON and not EDN: what tells is the colon behind the first string that is a key, or else how words
/// are written.
fn is_json(text: &[u8]) -> bool {
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' if in_string => {
                in_string = false;
                let rest = text[at + 1..].trim_ascii_start();
                if let Some(behind) = rest.strip_prefix(b":") {
                    let word = behind.iter().take_while(|byte| byte.is_ascii_alphabetic());
                    let word = &behind[..word.count()];
                    return word.is_empty()
                        || matches!(word, b"null" | b"true" | b"false" | b"NaN" | b"Infinity");
                }
            }
            b'"' => in_string = true,
            // EDN's keywords, sets and tags.
            b':' | b'#' if !in_string => return false,
            _ => {}
        }
    }
    // A list of strings and numbers.
    text.contains(&b'"')
}

fn nothing_known(text: &[u8], begins: usize) -> Refusal {
    let line = text[begins..]
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let has = |word: &str| {
        text.windows(word.len())
            .any(|window| window == word.as_bytes())
    };
    let nearest = if has(":invoke") || has("invoke") {
        "nearest is jepsen-txt, with lines such as `0 :invoke :write 5`, the process first"
    } else if line.contains([',', ';', '\t']) {
        "nearest is csv, whose first line names its columns, such as call_ns,return_ns,client,op,key,value,output"
    } else {
        "nearest is json, one object an event: {\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":5}"
    };
    Refusal {
        reason: format!(
            "no format is known that begins like {:?}",
            jepsen::shorten(line.trim())
        ),
        advice: Some(format!("{nearest}; `whitewater list formats` has them all")),
        at: begins,
    }
}
