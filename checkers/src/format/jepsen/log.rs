//! `history.txt` and the logs of Jepsen of every year: `P :type :f value` behind the name of the logger or by itself.
//!
//! ```text
//! INFO  jepsen.util - 0 :invoke :write 5                                                      2014
//! INFO [2018-06-07 13:14:10,000] jepsen worker 0 - jepsen.util 0 :invoke :write 5             2018
//! 2022-02-26 23:39:10,000{GMT} INFO [jepsen worker 0] jepsen.util: 0 :invoke :write 5         2020
//! ```
//!
//! Columns are apart by tabs or spaces, and forks put words of their own before the process. Lines about something
//! else are skipped; those of them that may be more are counted. The history ends where the checker's report begins,
//! which quotes operations as it likes.

use super::line::{Line, type_of};
use super::{Feed, Numbering};
use crate::format::text::Text;
use crate::format::tree::{Reader, Syntax, Tree};
use crate::format::{Error, Loaded};
use crate::history::Nil;

/// The logger of operations.
const LOGGER: &str = "jepsen.util";

/// What a log line says.
enum Said<'a> {
    /// This is an event, as the logger wrote it.
    Logged(&'a str),
    /// This is an event that stands by itself.
    Bare(&'a str),
    /// It has the word for a type of event, elsewhere than in an event.
    Unclear,
    /// The checker begins to report.
    Report,
    /// A test begins.
    Begin,
    /// Something else.
    Nothing,
}

/// Reads `history.txt` and Jepsen's logs.
///
/// # Errors
/// When an event can't be read or can't follow those before it, or when a second run follows; the line is named.
pub(in crate::format) fn read(text: &Text<'_>, nil: Nil) -> Result<Loaded, Error> {
    let mut feed = Feed::new(nil, Numbering::Place);
    let said = walk(text, &mut |line| feed.take(line))?;
    let mut loaded = feed.finish(text.name);
    loaded.notes.extend(said);
    Ok(loaded)
}

/// Gives each event to `take`; then what is to be said of lines that are none.
pub(super) fn walk(
    text: &Text<'_>,
    take: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<Vec<String>, Error> {
    let mut events = 0u64;
    let logged = is_logged(text.bytes);
    // How many, and the first.
    let (mut unclear, mut report) = ((0, 0), None);
    let mut behind = 0;
    for (at, line) in lines(text.bytes) {
        let said = said(&line);
        let event = match said {
            Said::Logged(event) => event,
            Said::Bare(event) if !logged && report.is_none() => event,
            Said::Report if events > 0 => {
                report = report.or(Some(at));
                continue;
            }
            Said::Begin if events > 0 && logged => {
                return Err(text.malformed(at, SECOND_RUN));
            }
            Said::Unclear | Said::Bare(_) if report.is_none() => {
                if unclear.0 == 0 {
                    unclear.1 = text.line(at);
                }
                unclear.0 += 1;
                continue;
            }
            Said::Unclear | Said::Bare(_) => {
                behind += 1;
                continue;
            }
            Said::Nothing | Said::Report | Said::Begin => continue,
        };
        if report.is_some() {
            return Err(text.malformed(at, SECOND_RUN));
        }
        let begins = at + line.len() - event_part(&line, event);
        events += 1;
        parse(event)
            .and_then(&mut *take)
            .map_err(|reason| text.malformed(begins, reason))?;
    }
    if events == 0 {
        return Err(text.malformed(0, "no line of it is a Jepsen event"));
    }
    let name = text.name;
    let mut notes = Vec::new();
    if let (lines @ 1.., first) = unclear {
        notes.push(format!(
            "{name}: {lines} lines with :invoke, :ok, :fail or :info in them are no events and were skipped, line {first} first"
        ));
    }
    if let Some(at) = report.filter(|_| behind > 0) {
        let line = text.line(at);
        notes.push(format!(
            "{name}: the checker's report begins at line {line}: {behind} lines in it that quote operations are no history"
        ));
    }
    Ok(notes)
}

/// Why a log of two runs is refused: its processes and keys begin anew.
const SECOND_RUN: &str = "a second run begins here: give each run a file of its own";

/// How many bytes an event takes at the end of its line; the whole line where it begins with it.
fn event_part(line: &str, event: &str) -> usize {
    match line.rfind(event) {
        Some(at) => line.len() - at,
        None => line.len(),
    }
}

/// The lines with their places, as far as they are text, without the colours of a terminal.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, String)> {
    let mut at = 0;
    bytes.split(|byte| *byte == b'\n').map(move |line| {
        let begins = at;
        at += line.len() + 1;
        (begins, uncoloured(&String::from_utf8_lossy(line)))
    })
}

/// Without the escape sequences that colour a terminal.
fn uncoloured(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let sequence = &rest[at + 2..];
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

/// Whether the logger of operations wrote any of it.
pub(in crate::format) fn is_logged(text: &[u8]) -> bool {
    let has_logger = text
        .windows(LOGGER.len())
        .any(|window| window == LOGGER.as_bytes());
    has_logger && lines(text).any(|(_, line)| matches!(said(&line), Said::Logged(_)))
}

/// Whether any line of it is an event.
pub(in crate::format) fn has_event(text: &[u8]) -> bool {
    lines(text).any(|(_, line)| matches!(said(&line), Said::Bare(_) | Said::Logged(_)))
}

/// Whether a line is an event from its first byte on.
pub(in crate::format) fn begins_with_event(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    matches!(said(&line), Said::Bare(event) if event.len() == line.trim_end().len())
}

fn said(line: &str) -> Said<'_> {
    let line = line.trim_end();
    let is_type = |word: &str| {
        word.strip_prefix(':')
            .and_then(type_of)
            .is_some_and(|kind| word[1..] == *kind)
    };
    let words = words(line);
    for three in words.windows(3) {
        let [process, kind, f] = three else {
            continue;
        };
        if !is_type(kind.1) {
            continue;
        }
        let before = &line[..process.0];
        let event = &line[process.0..];
        let named = f.1.starts_with([':', '"', '[']) || f.1 == "nil";
        let opens = |c: char| "{}()\"'`=,".contains(c);
        if !named || process.1.contains(opens) || process.1.starts_with('[') {
            break;
        }
        if before.contains(LOGGER) {
            return Said::Logged(event);
        }
        if is_stamp(before) {
            return Said::Bare(event);
        }
        break;
    }
    if is_report(line) {
        return Said::Report;
    }
    if line.contains("jepsen.core") && line.contains("Running test") {
        return Said::Begin;
    }
    let mut words = line.split(|c: char| c.is_whitespace() || "()[]{},\"".contains(c));
    match words.any(is_type) {
        true => Said::Unclear,
        false => Said::Nothing,
    }
}

/// The words of a line and where they begin.
fn words(line: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut from = 0;
    for part in line.split(|c: char| c.is_whitespace()) {
        if !part.is_empty() {
            words.push((from, part));
        }
        from += part.len();
        from += line[from..].chars().next().map_or(0, char::len_utf8);
    }
    words
}

/// Whether what stands before an event is a time, a level, a number of the line, or nothing.
fn is_stamp(before: &str) -> bool {
    before.split(|c: char| !c.is_alphanumeric()).all(|word| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let known = matches!(
            word,
            "" | "INFO" | "DEBUG" | "WARN" | "T" | "Z" | "UTC" | "GMT"
        );
        known
            || digits > 0
                && word
                    .chars()
                    .all(|c| c.is_ascii_digit() || matches!(c, 'T' | 'Z'))
    })
}

/// Whether the checker begins to report, or quotes.
fn is_report(line: &str) -> bool {
    let core = line.find("jepsen.core").map(|at| &line[at..]);
    let begins = [
        "Not linearizable",
        "Linearizable prefix was",
        "Followed by inconsistent operation",
        "Last consistent worldset was",
        "World with fixed history",
        "Analysis invalid!",
        "Everything looks good!",
        "{:valid?",
    ];
    let line = line.trim_start();
    begins.iter().any(|text| line.starts_with(text))
        || core.is_some_and(|text| text.contains("Analyzing") || text.contains("Run complete"))
}

fn parse(event: &str) -> Result<Line, String> {
    let mut reader = Reader::new(event.as_bytes(), Syntax::Edn);
    let mut items = Vec::new();
    while items.len() < 5 {
        match reader.next(false) {
            Ok(Some(tree)) => items.push(tree),
            Ok(None) => break,
            // The error that ends a line may be any text, and so may the value of what is not ok.
            Err(_) if items.len() == 4 => break,
            Err(_)
                if items.len() == 3 && [":fail", ":info"].contains(&items[1].text().as_str()) =>
            {
                break;
            }
            Err(trouble) => return Err(trouble.reason),
        }
    }
    let mut items = items.into_iter();
    let (Some(process), Some(kind), Some(f)) = (items.next(), items.next(), items.next()) else {
        return Err("an event needs a process, a type and an f".to_owned());
    };
    let mut line = Line {
        process,
        kind: kind
            .word()
            .and_then(type_of)
            .ok_or("an event needs a type")?,
        f: f.word().unwrap_or_default().to_owned(),
        value: items.next().unwrap_or(Tree::Nil),
        key: None,
        time_ns: 0,
        index: None,
        error: items.next().map(|tree| tree.text()),
    };
    line.unwrap_transaction()?;
    Ok(line)
}
