//! One file per format: text to [`History`] and back.
//!
//! Readers take any [`BufRead`] and the name that their messages shall use; opening files is the
//! caller's business. A reader never panics, whatever it is fed.
//!
//! | name | what it is | a read of nil |
//! | --- | --- | --- |
//! | `jsonl` | ours, one event a line | absent, checked |
//! | `binary` | the same as records, a tenth of the size | absent, checked |
//! | `edn` | Jepsen and Knossos | says nothing (Knossos' rule), unless its first line is ours and says more |
//! | `json` | the same as JSON, as elle-cli takes it | says nothing |
//! | `jepsen-txt` | Jepsen's `history.txt` | says nothing |
//! | `jepsen-log` | Jepsen's logs of every year, to where the checker reports | absent, checked |
//! | `porcupine-kv` | the key-value texts that Porcupine ships | the empty text, checked |
//! | `porcupine` | Porcupine's operations of its key-value model, as JSON | the empty text, checked |
//! | `etcd` | the operations of etcd's robustness reports | absent, checked |
//! | `intervals` | operations as JSON, each with the times of its call and its return | says nothing |
//! | `csv` | the same as CSV, whose first line names the columns | says nothing |
//!
//! Where keys are lists (spec `list-append`), a read of nil found the empty list, whatever the format: that is checked.

pub mod binary;
mod intervals;
pub mod jepsen;
pub mod jsonl;
mod kv;
mod members;
mod packed;
pub(crate) mod sink;
mod sniff;
mod start;
mod text;
pub(crate) mod tree;
mod types;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};

use serde::de::IgnoredAny;

use crate::generate::UnknownName;
use crate::history::{Builder, Header, History, Nil};
use crate::types::DataType;
use packed::{Bytes, End};
use sink::Sink;
use sniff::{Refusal, sniff};
pub use start::initial;
use text::Text;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that can't be understood, or that can't follow the lines before it.
    #[error("{name}:{line}{}: {reason}", .column.map(|column| format!(":{column}")).unwrap_or_default())]
    Malformed {
        /// The file, as the caller called it.
        name: String,
        /// The line, from 1, in which begins what can't be understood.
        line: u64,
        /// Where in the line it begins, from 1, unless that is its beginning.
        column: Option<u64>,
        /// What is wrong, in words.
        reason: String,
        /// What the file was taken for, and what would be read.
        advice: Option<String>,
    },
    /// Its keys can't have begun as the caller says.
    #[error("{name}: {reason}")]
    Begun {
        /// The file, as the caller called it.
        name: String,
        /// Why not, in words.
        reason: String,
    },
    /// Nobody says of which data type it is, and it could be of several.
    #[error("{name}: {reason}")]
    Unclear {
        /// The file, as the caller called it.
        name: String,
        /// Which, in words.
        reason: String,
    },
    /// The bytes could not be read.
    #[error("{name}: {source}")]
    Io {
        /// The file, as the caller called it.
        name: String,
        /// What the reader said.
        source: io::Error,
    },
}

/// A history that was read, and what its reader has to say about it.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The history.
    pub history: History,
    /// What was tolerated or assumed, as sentences: shown beside the verdict.
    pub notes: Vec<String>,
    /// Why there is no more of it, where its bytes ended before they should: what is there is a beginning.
    pub early: Option<Error>,
}

/// A format by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ours, one event a line.
    Jsonl,
    /// The same as records.
    Binary,
    /// Jepsen's and Knossos' EDN.
    Edn,
    /// The same as JSON.
    Json,
    /// Jepsen's `history.txt`.
    JepsenTxt,
    /// Jepsen's logs of every year.
    JepsenLog,
    /// The key-value texts that Porcupine ships.
    PorcupineKv,
    /// Porcupine's operations as JSON.
    Porcupine,
    /// The operations of etcd's robustness reports.
    Etcd,
    /// Operations with their times, as JSON.
    Intervals,
    /// The same as CSV.
    Csv,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 11] = [
        Self::Jsonl,
        Self::Binary,
        Self::Edn,
        Self::Json,
        Self::JepsenTxt,
        Self::JepsenLog,
        Self::PorcupineKv,
        Self::Porcupine,
        Self::Etcd,
        Self::Intervals,
        Self::Csv,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Binary => "binary",
            Self::Edn => "edn",
            Self::Json => "json",
            Self::JepsenTxt => "jepsen-txt",
            Self::JepsenLog => "jepsen-log",
            Self::PorcupineKv => "porcupine-kv",
            Self::Porcupine => "porcupine",
            Self::Etcd => "etcd",
            Self::Intervals => "intervals",
            Self::Csv => "csv",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Jsonl => "whitewater's own: one JSON object a line, the first one a header",
            Self::Binary => "the same as records, a tenth of the size",
            Self::Edn => "Jepsen and Knossos: a vector or a stream of maps",
            Self::Json => "the same as JSON, as elle-cli takes it",
            Self::JepsenTxt => "Jepsen's history.txt",
            Self::JepsenLog => "Jepsen's logs (jepsen.log) of every year",
            Self::PorcupineKv => "the key-value texts that Porcupine ships: get, put, append",
            Self::Porcupine => {
                "Porcupine's operations as JSON: ClientId, Input, Call, Output, Return"
            }
            Self::Etcd => "etcd's robustness reports: operations.json, or the report's folder",
            Self::Intervals => "operations as JSON, each with the times of its call and its return",
            Self::Csv => "the same as CSV: call_ns,return_ns,client,op,key,value,output",
        }
    }

    /// What an ok read of nil means in it, unless the caller says otherwise.
    #[must_use]
    pub fn nil(self) -> Nil {
        match self {
            Self::Jsonl | Self::Binary | Self::JepsenLog | Self::PorcupineKv => Nil::Absent,
            Self::Porcupine | Self::Etcd => Nil::Absent,
            Self::Edn | Self::Json | Self::JepsenTxt | Self::Intervals | Self::Csv => Nil::Any,
        }
    }

    /// Whether a text is in one of our own formats, which are read on their way: as its beginning says.
    fn ours(beginning: &[u8]) -> Option<Self> {
        if beginning.starts_with(&binary::MAGIC) {
            return Some(Self::Binary);
        }
        let first = beginning
            .split(|byte| *byte == b'\n')
            .find(|line| !line.trim_ascii().is_empty())
            .unwrap_or_default();
        let ours = match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(first) {
            Ok(members) => {
                // Without its header, it still has the members that nobody else has together.
                let all = ["index", "time_ns", "client", "type"];
                let all = all.iter().all(|name| members.contains_key(*name));
                members.contains_key("whitewater") || all && !members.contains_key("process")
            }
            // A header that is damaged, or longer than a beginning.
            Err(error) => first.starts_with(b"{\"whitewater\"") || error.is_eof() && claims(first),
        };
        ours.then_some(Self::Jsonl)
    }
}

/// Whether the beginning of an object has the member that says which version of our format it begins.
fn claims(beginning: &[u8]) -> bool {
    const NAME: &str = "\"whitewater\"";
    let text = String::from_utf8_lossy(beginning);
    let mut named = text.match_indices(NAME);
    named.any(|(at, _)| text[at + NAME.len()..].trim_start().starts_with(':'))
}

impl std::str::FromStr for Format {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let named = Self::ALL.into_iter().find(|format| format.name() == text);
        named.ok_or_else(|| UnknownName {
            name: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// How much of a text tells whether it is ours.
const BEGINNING: usize = 4096;

/// Reads a history in the given format, or in the one that its beginning looks like. gzip and zstd are unpacked.
///
/// # Errors
/// When the text is no history in that format, or there is not all of it; the file and the line are named.
pub fn read(
    input: impl BufRead,
    name: &str,
    format: Option<Format>,
    nil: Option<Nil>,
) -> Result<Loaded, Error> {
    let mut loaded = read_to_its_end(input, name, format, nil)?;
    match loaded.early.take() {
        Some(early) => Err(early),
        None => Ok(loaded),
    }
}

/// As [`read`], and a file that ends early (a compressed one that is cut off or damaged, a disk that fails) is read to
/// there: see [`Loaded::early`].
///
/// # Errors
/// When what can be read is no history in that format; the file and the line are named.
pub fn read_to_its_end(
    input: impl BufRead,
    name: &str,
    format: Option<Format>,
    nil: Option<Nil>,
) -> Result<Loaded, Error> {
    let begin = |header, nil| {
        let mut builder = Builder::new(header);
        builder.nil(nil);
        builder
    };
    let how = How {
        format,
        nil,
        types: Types::None,
    };
    let (came, early) = read_into(input, name, how, begin)?;
    let loaded = match came {
        Came::Whole(loaded) => *loaded,
        // Nobody has asked for one.
        Came::Typed(_) => Loaded::default(),
        Came::Through(builder, notes) => Loaded {
            history: builder.finish(),
            notes,
            early: None,
        },
    };
    Ok(Loaded { early, ..loaded })
}

/// The plain bytes of a file to their end; gzip and zstd are unpacked. Gives also why they ended early, if they did.
///
/// # Errors
/// When there are none, because the file can't be read.
pub fn text(input: impl BufRead, name: &str) -> Result<(Vec<u8>, Option<Error>), Error> {
    let fail = |source| Error::Io {
        name: name.to_owned(),
        source,
    };
    let (plain, packed) = packed::unpack(input).map_err(fail)?;
    let end = End::default();
    let mut text = Vec::new();
    let read = Bytes::new(plain, packed, &end).read_to_end(&mut text);
    read.map_err(fail)?;
    Ok((text, end.why(name)))
}

/// How a file is to be read.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) format: Option<Format>,
    pub(crate) nil: Option<Nil>,
    pub(crate) types: Types,
}

/// Which data types beside the register and the list are looked for.
#[derive(Clone, Copy)]
pub(crate) enum Types {
    /// None.
    None,
    /// Only those that a header names.
    Named,
    /// This one, unless its header says another.
    This(&'static dyn DataType),
    /// Whichever its header or its operations name.
    Any,
}

/// What came of a file.
pub(crate) enum Came<S> {
    /// A history of a data type beside the register and the list.
    Typed(Box<crate::types::Loaded>),
    /// A whole history: formats that are not ours.
    Whole(Box<Loaded>),
    /// Its events went into this; and what is to be said.
    Through(S, Vec<String>),
}

/// As [`read_to_its_end`], and events of our own formats go into what `begin` makes of their header; gives also why the
/// file ended early, if it did.
pub(crate) fn read_into<S: Sink>(
    input: impl BufRead,
    name: &str,
    how: How,
    begin: impl FnOnce(Header, Nil) -> S,
) -> Result<(Came<S>, Option<Error>), Error> {
    let (plain, packed) = packed::unpack(input).map_err(|source| Error::Io {
        name: name.to_owned(),
        source,
    })?;
    let end = End::default();
    let plain = BufReader::new(Bytes::new(plain, packed, &end));
    match read_plain(plain, &end, name, how, begin) {
        Ok(came) => Ok((came, end.why(name))),
        Err(error) => Err(end.explain(name, error)),
    }
}

fn read_plain<S: Sink>(
    mut input: impl BufRead,
    end: &End,
    name: &str,
    how: How,
    begin: impl FnOnce(Header, Nil) -> S,
) -> Result<Came<S>, Error> {
    let fail = |source| Error::Io {
        name: name.to_owned(),
        source,
    };
    let mut beginning = Vec::new();
    let mut start = (&mut input).take(BEGINNING as u64);
    start.read_to_end(&mut beginning).map_err(fail)?;
    let unmarked = beginning.strip_prefix(text::MARK).unwrap_or(&beginning);
    let ours = how
        .format
        .is_none()
        .then(|| Format::ours(unmarked))
        .flatten();
    let begin = |header| begin(header, how.nil.unwrap_or(Nil::Absent));
    let through = |(sink, notes)| Came::Through(sink, notes);
    match how.format.or(ours) {
        Some(Format::Jsonl) => match types::of_jsonl(unmarked, name, how.types)? {
            Some(of) => {
                let mut bytes = unmarked.to_vec();
                input.read_to_end(&mut bytes).map_err(fail)?;
                end.keep_whole_lines(&mut bytes);
                types::read_jsonl(&bytes, name, of).map(|loaded| Came::Typed(Box::new(loaded)))
            }
            None => jsonl::read_into(unmarked.chain(input), name, begin).map(through),
        },
        Some(Format::Binary) => {
            binary::read_into(beginning.as_slice().chain(input), name, begin).map(through)
        }
        foreign => {
            input.read_to_end(&mut beginning).map_err(fail)?;
            end.keep_whole_lines(&mut beginning);
            let how = How {
                format: foreign,
                ..how
            };
            read_foreign(beginning, name, how)
        }
    }
}

/// Reads what is not ours, whole.
fn read_foreign<S>(bytes: Vec<u8>, name: &str, how: How) -> Result<Came<S>, Error> {
    let (format, nil) = (how.format, how.nil);
    let refused = |refusal: Refusal, bytes: &[u8]| {
        let mut error = Text { name, bytes }.malformed(refusal.at, refusal.reason);
        if let Error::Malformed { advice, .. } = &mut error {
            *advice = refusal.advice;
        }
        error
    };
    let mut bytes = text::unmarked(bytes).map_err(|refusal| refused(refusal, &[]))?;
    let mut notes = text::undress(&mut bytes).map_err(|refusal| refused(refusal, &[]))?;
    let sniffed = match format {
        Some(_) => None,
        None => Some(sniff(&bytes).map_err(|refusal| refused(refusal, &bytes))?),
    };
    if let Some(format) = sniffed {
        notes.insert(0, format!("read as {}", format.name()));
    }
    let format = format.or(sniffed).unwrap_or(Format::Json);
    let text = Text {
        name,
        bytes: &bytes,
    };
    let said = |notes: Vec<String>| {
        let notes = notes.into_iter();
        notes
            .map(|note| format!("{name}: {note}"))
            .collect::<Vec<_>>()
    };
    if let Some(of) = types::of_foreign(&text, format, how.types)? {
        let loaded = types::read_foreign(&text, format, of);
        let mut loaded = loaded.map_err(|error| with_advice(error, format, sniffed.is_some()))?;
        loaded.notes.splice(0..0, said(notes));
        return Ok(Came::Typed(Box::new(loaded)));
    }
    let or_nil = nil.unwrap_or(format.nil());
    let read = match format {
        Format::Edn => jepsen::read_edn(&text, nil),
        Format::JepsenTxt | Format::JepsenLog => jepsen::log::read(&text, or_nil),
        Format::PorcupineKv => kv::read(&text, or_nil),
        Format::Porcupine => intervals::porcupine::read(&text),
        Format::Etcd => intervals::etcd::read(&text),
        Format::Intervals => intervals::rows::read(&text, nil),
        Format::Csv => intervals::csv::read(&text, nil),
        Format::Jsonl | Format::Binary | Format::Json => jepsen::read_json(&text, or_nil),
    };
    let mut loaded = read.map_err(|error| with_advice(error, format, sniffed.is_some()))?;
    loaded.notes.splice(0..0, said(notes));
    Ok(Came::Whole(Box::new(loaded)))
}

/// The error with what the file was taken for, and what is read in that format.
fn with_advice(mut error: Error, format: Format, sniffed: bool) -> Error {
    if let Error::Malformed { advice, .. } = &mut error {
        let (name, about) = (format.name(), format.about());
        let other = if sniffed {
            ", which is what it looks like; --format NAME reads it as another"
        } else {
            ""
        };
        *advice = Some(format!("read as {name} ({about}){other}"));
    }
    error
}

/// Writes a history; the formats that can be written are `jsonl`, `binary` and `edn`.
///
/// # Errors
/// When `out` does, or when the format is for reading only.
pub fn write(out: &mut impl Write, history: &History, format: Format) -> io::Result<()> {
    match format {
        Format::Jsonl => jsonl::write(out, history),
        Format::Binary => binary::write(out, history),
        Format::Edn => jepsen::write_edn(out, history),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "{} is for reading only; jsonl, binary and edn can be written",
                format.name()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, format: Format) -> Result<Loaded, Error> {
        read(text.as_bytes(), "h", Some(format), None)
    }

    #[test]
    fn our_header_is_known_in_whatever_order_its_members_stand() {
        let long = "x".repeat(5_000);
        for header in [
            "{\"whitewater\":1}",
            "{ \"whitewater\" : 1 }",
            "{\"spec\":\"register\",\"whitewater\":1}",
            "\n {\"seed\":7 , \"whitewater\":1,\"spec\":\"register\"}",
            &format!("{{\"whitewater\":1,\"note\":\"{long}\"}}"),
            &format!("{{\"spec\":\"register\", \"whitewater\": 1,\"note\":\"{long}\"}}"),
        ] {
            let beginning = &header.as_bytes()[..header.len().min(BEGINNING)];
            assert_eq!(Format::ours(beginning), Some(Format::Jsonl), "{header}");
            let read =
                "{\"index\":0,\"client\":1,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k\"}";
            let text = format!("{}\n{read}\n", header.trim_start());
            let loaded = super::read(text.as_bytes(), "h", None, None).expect(header);
            assert_eq!(loaded.history.len(), 1, "{header}");
        }
        for other in [
            "{\"type\":\"invoke\",\"f\":\"read\",\"value\":\"whitewater\",\"process\":1}",
            "{\"type\":\"invoke\",\"f\":\"write\",\"value\":{\"whitewater\":1},\"process\":1}",
        ] {
            assert_eq!(Format::ours(other.as_bytes()), None, "{other}");
            assert_eq!(sniff(other.as_bytes()).ok(), Some(Format::Json), "{other}");
        }
    }

    #[test]
    fn an_integer_that_stands_for_named_values_is_no_value() {
        let first = i64::MIN / 2;
        let jsonl = |wrote: &str, found: &str| {
            let header = "{\"whitewater\":1,\"spec\":\"register\"}\n";
            let line = |index, rest: &str| {
                format!("{{\"index\":{index},\"time_ns\":0,\"client\":1,\"type\":{rest}}}\n")
            };
            [
                header,
                &line(
                    0,
                    &format!("\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":{wrote}"),
                ),
                &line(1, "\"ok\""),
                &line(2, "\"invoke\",\"f\":\"read\",\"key\":\"k\""),
                &line(3, &format!("\"ok\",\"value\":{found}")),
            ]
            .concat()
        };
        let log = |wrote: &str, found: &str| {
            format!(
                "0 :invoke :write {wrote}\n0 :ok :write {wrote}\n0 :invoke :read nil\n0 :ok :read {found}\n"
            )
        };
        let edn = |wrote: &str, found: &str| {
            let map = |kind: &str, f: &str, value: &str| {
                format!("{{:process 0, :type {kind}, :f {f}, :value {value}}}\n")
            };
            [
                map(":invoke", ":write", wrote),
                map(":ok", ":write", wrote),
                map(":invoke", ":read", "nil"),
                map(":ok", ":read", found),
            ]
            .concat()
        };
        for last in [0, 1, (1 << 32) - 1] {
            let value = (first + last).to_string();
            for (wrote, found) in [
                (value.as_str(), "\"foo\""),
                ("\"foo\"", value.as_str()),
                ("1", &format!("[1 {value}]")),
            ] {
                for (text, format) in [
                    (jsonl(wrote, &found.replace(' ', ",")), Format::Jsonl),
                    (log(wrote, found), Format::JepsenTxt),
                    (edn(wrote, found), Format::Edn),
                ] {
                    let error = load(&text, format).expect_err(&text).to_string();
                    let expected = format!("the value {value} can't be had");
                    assert!(error.contains(&expected), "{error}");
                }
            }
        }
        for beside in [first - 1, first + (1 << 32)] {
            let value = beside.to_string();
            for (text, format) in [
                (jsonl(&value, &value), Format::Jsonl),
                (log(&value, &value), Format::JepsenTxt),
                (edn(&value, &value), Format::Edn),
            ] {
                assert_eq!(load(&text, format).expect(&text).history.len(), 2);
            }
        }
    }
}
