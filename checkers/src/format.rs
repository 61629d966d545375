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
//! | `jepsen-log` | the logs of etcd that Porcupine ships | absent, checked |
//! | `porcupine-kv` | the key-value texts that Porcupine ships | the empty text, checked |
//!
//! Where keys are lists (spec `list-append`), a read of nil found the empty list, whatever the format: that is checked.

pub mod binary;
pub mod jepsen;
pub mod jsonl;
pub mod kv;
pub(crate) mod sink;
mod tree;

use std::io::{self, BufRead, BufReader, Read, Write};

use crate::generate::UnknownName;
use crate::history::{Builder, Header, History, Nil};
use sink::Sink;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that can't be understood, or that can't follow the lines before it.
    #[error("{name}:{line}: {reason}")]
    Malformed {
        /// The file, as the caller called it.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, in words.
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
    /// The logs that Porcupine ships.
    JepsenLog,
    /// The key-value texts that Porcupine ships.
    PorcupineKv,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] = [
        Self::Jsonl,
        Self::Binary,
        Self::Edn,
        Self::Json,
        Self::JepsenTxt,
        Self::JepsenLog,
        Self::PorcupineKv,
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
            Self::JepsenLog => "the Jepsen logs of etcd that Porcupine ships",
            Self::PorcupineKv => "the key-value texts that Porcupine ships: get, put, append",
        }
    }

    /// What an ok read of nil means in it, unless the caller says otherwise.
    #[must_use]
    pub fn nil(self) -> Nil {
        match self {
            Self::Jsonl | Self::Binary | Self::JepsenLog | Self::PorcupineKv => Nil::Absent,
            Self::Edn | Self::Json | Self::JepsenTxt => Nil::Any,
        }
    }

    /// The format of a text that begins like this.
    #[must_use]
    pub fn detect(beginning: &[u8]) -> Self {
        if beginning.starts_with(&binary::MAGIC) {
            return Self::Binary;
        }
        if beginning.starts_with(jepsen::CLAIM.as_bytes()) {
            return Self::Edn;
        }
        let text = String::from_utf8_lossy(beginning);
        let mut lines = text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty() && !line.starts_with(';'));
        let first = lines.next().unwrap_or_default();
        let maps = text
            .trim_start()
            .trim_start_matches(['[', '('])
            .trim_start();
        if text.contains("jepsen.util - ") {
            Self::JepsenLog
        } else if first.starts_with("{\"whitewater\"") || first.contains("\"time_ns\"") {
            Self::Jsonl
        } else if maps.starts_with("{\"") || maps.starts_with("{ \"") {
            Self::Json
        } else if first.starts_with("{:process")
            && first.contains(":key \"")
            && [":f :get", ":f :put", ":f :append"]
                .iter()
                .any(|f| first.contains(f))
        {
            Self::PorcupineKv
        } else if first.starts_with(['{', '[', '(', '#']) {
            Self::Edn
        } else if first
            .split_ascii_whitespace()
            .nth(1)
            .is_some_and(|word| word.starts_with(':'))
        {
            Self::JepsenTxt
        } else {
            Self::Jsonl
        }
    }
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

/// How much of a text its format is guessed from.
const BEGINNING: usize = 4096;

/// Reads a history in the given format, or in the one that its beginning looks like. gzip and zstd are unpacked.
///
/// # Errors
/// When the text is no history in that format; the file and the line are named.
pub fn read(
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
    match read_into(input, name, format, nil, begin)? {
        Came::Whole(loaded) => Ok(*loaded),
        Came::Through(builder, notes) => Ok(Loaded {
            history: builder.finish(),
            notes,
        }),
    }
}

/// What came of a file.
pub(crate) enum Came<S> {
    /// A whole history: formats that are not ours.
    Whole(Box<Loaded>),
    /// Its events went into this; and what is to be said.
    Through(S, Vec<String>),
}

/// As [`read`], and events of our own formats go into what `begin` makes of their header.
pub(crate) fn read_into<S: Sink>(
    mut input: impl BufRead,
    name: &str,
    format: Option<Format>,
    nil: Option<Nil>,
    begin: impl FnOnce(Header, Nil) -> S,
) -> Result<Came<S>, Error> {
    let fail = |source| Error::Io {
        name: name.to_owned(),
        source,
    };
    let magic = input.fill_buf().map_err(fail)?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        let plain = BufReader::new(flate2::bufread::MultiGzDecoder::new(input));
        return read_plain(plain, name, format, nil, begin);
    }
    if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let plain = zstd::Decoder::with_buffer(input).map_err(fail)?;
        return read_plain(BufReader::new(plain), name, format, nil, begin);
    }
    read_plain(input, name, format, nil, begin)
}

fn read_plain<S: Sink>(
    mut input: impl BufRead,
    name: &str,
    format: Option<Format>,
    nil: Option<Nil>,
    begin: impl FnOnce(Header, Nil) -> S,
) -> Result<Came<S>, Error> {
    let mut beginning = Vec::new();
    let mut note = None;
    let format = match format {
        Some(format) => format,
        None => {
            let mut start = (&mut input).take(BEGINNING as u64);
            start
                .read_to_end(&mut beginning)
                .map_err(|source| Error::Io {
                    name: name.to_owned(),
                    source,
                })?;
            let format = Format::detect(&beginning);
            if !matches!(format, Format::Jsonl | Format::Binary) {
                note = Some(format!("{name}: read as {}", format.name()));
            }
            format
        }
    };
    let said = nil;
    let nil = nil.unwrap_or(format.nil());
    let input = beginning.as_slice().chain(input);
    let through = |(sink, notes)| Came::Through(sink, notes);
    let begin = |header| begin(header, nil);
    let mut loaded = match format {
        Format::Jsonl => return jsonl::read_into(input, name, begin).map(through),
        Format::Binary => return binary::read_into(input, name, begin).map(through),
        Format::Edn => jepsen::read_edn(input, name, said),
        Format::Json => jepsen::read_json(input, name, nil),
        Format::JepsenTxt | Format::JepsenLog => jepsen::read_log(input, name, nil),
        Format::PorcupineKv => kv::read(input, name, nil),
    }?;
    if let Some(note) = note {
        loaded.notes.insert(0, note);
    }
    Ok(Came::Whole(Box::new(loaded)))
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
        Format::Json | Format::JepsenTxt | Format::JepsenLog | Format::PorcupineKv => {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "{} is for reading only; jsonl, binary and edn can be written",
                    format.name()
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, format: Format) -> Result<Loaded, Error> {
        read(text.as_bytes(), "h", Some(format), None)
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
