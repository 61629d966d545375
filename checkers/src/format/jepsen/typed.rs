//! Events of a data type that is neither a register nor a list, in the formats that Jepsen and we write.
//!
//! Which type it is, the caller says, or a header does, or else the words for what is asked: a file that could be of
//! two types is asked about.

use super::line::{Line, kind};
use super::{Wrapping, log, shorten, walk};
use crate::format::text::Text;
use crate::format::tree::{Syntax, Tree};
use crate::format::{Error, Format};
use crate::history::{ClientId, NEVER};
use crate::types::operation::{Event, Pairing, Phase};
use crate::types::{ALL, DataType, Datum, Loaded, act_of};

/// So many events tell of which type a file is.
const TELLING: usize = 1000;

/// The syntax of a format that can hold events of any type; `None` is that of logs.
pub(in crate::format) fn syntax(format: Format) -> Option<Option<Syntax>> {
    match format {
        Format::Edn => Some(Some(Syntax::Edn)),
        Format::Json | Format::Jsonl => Some(Some(Syntax::Json)),
        Format::JepsenTxt | Format::JepsenLog => Some(None),
        _ => None,
    }
}

/// Gives each event to `take`; then what is to be said.
fn each(
    text: &Text<'_>,
    syntax: Option<Syntax>,
    take: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<Vec<String>, Error> {
    let Some(syntax) = syntax else {
        return log::walk(text, take);
    };
    let wrapping = Wrapping::of(text, syntax)?;
    walk(text, syntax, &wrapping, take)?;
    Ok(Vec::new())
}

/// The first events of a text, as far as they can be read.
fn beginning(text: &Text<'_>, syntax: Option<Syntax>) -> Vec<Line> {
    let mut lines = Vec::new();
    let enough = each(text, syntax, &mut |line| {
        lines.push(line);
        match lines.len() < TELLING {
            true => Ok(()),
            false => Err(String::new()),
        }
    });
    // Whatever is wrong behind them is told by who reads them.
    drop(enough);
    lines
}

/// Whether an event is one of a nemesis, or of nobody.
fn is_aside(line: &Line) -> bool {
    match &line.process {
        Tree::Nil => true,
        process => process
            .word()
            .is_some_and(|word| word.to_lowercase().starts_with("nemesis")),
    }
}

/// The type whose operations these are; `None` where they are a register's or a list's, or nobody's.
///
/// # Errors
/// When they could be those of several types: says which.
pub(in crate::format) fn sniff(
    text: &Text<'_>,
    syntax: Option<Syntax>,
) -> Result<Option<&'static dyn DataType>, String> {
    // Most files are told by their first words.
    let lines = beginning(text, syntax);
    let asked: Vec<&Line> = lines
        .iter()
        .filter(|line| line.kind == "invoke" && !is_aside(line))
        .collect();
    if asked.iter().all(|line| kind(&line.f).is_some()) {
        return Ok(None);
    }
    let fits = |of: &&'static dyn DataType| {
        of.is_sniffed()
            && asked.iter().all(|line| act_of(*of, &line.f).is_some())
            && lines.iter().filter(|line| line.kind == "ok").all(|line| {
                let found = Datum::of(&line.value);
                let finds = |act: &'static str| {
                    let keyed = found.pair().is_some_and(|(_, inner)| of.finds(act, inner));
                    keyed || of.finds(act, &found)
                };
                act_of(*of, &line.f).is_none_or(finds)
            })
    };
    let candidates: Vec<&'static dyn DataType> = ALL.iter().copied().filter(fits).collect();
    match candidates.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|of| format!("--spec {}", of.name()))
                .collect();
            Err(format!(
                "its operations are those of several data types: say which, {}",
                names.join(" or ")
            ))
        }
    }
}

/// Reads all events of a text as those of this type.
///
/// # Errors
/// When one can't be read or can't follow those before it; its place is named.
pub(in crate::format) fn read(
    text: &Text<'_>,
    syntax: Option<Syntax>,
    of: &'static dyn DataType,
) -> Result<Loaded, Error> {
    let mut notes = Vec::new();
    let lines = beginning(text, syntax);
    let keyed = is_keyed(&lines, of);
    let own = numbers_rise(text, syntax)?;
    let mut feed = Feed {
        of,
        keyed,
        own,
        events: 0,
        words: Vec::new(),
        pairing: Pairing::new(of),
    };
    let said = each(text, syntax, &mut |line| feed.take(line))?;
    if feed.events == 0 {
        return Err(text.malformed(
            0,
            "nothing in it is an event, which has a process, a type, an f and a value",
        ));
    }
    if keyed {
        notes.push(format!(
            "{}: values look like [key value]; each key is taken as a {} of its own",
            text.name,
            of.name()
        ));
    }
    if !own {
        notes.push(format!("{}: #N is the Nth event, from 0", text.name));
    }
    notes.extend(said);
    Ok(Loaded {
        of,
        ops: feed.pairing.finish(),
        notes,
        budget: None,
        gap: None,
        early: None,
    })
}

/// Whether every operation asks with a key and a value.
fn is_keyed(lines: &[Line], of: &dyn DataType) -> bool {
    let mut asked = lines
        .iter()
        .filter(|line| line.kind == "invoke" && act_of(of, &line.f).is_some())
        .peekable();
    asked.peek().is_some()
        && asked.all(|line| line.key.is_none() && of.is_keyed(&Datum::of(&line.value)))
}

/// Whether the events' own numbers rise, so that they can be called by them.
fn numbers_rise(text: &Text<'_>, syntax: Option<Syntax>) -> Result<bool, Error> {
    let mut last = None;
    let mut rise = true;
    each(text, syntax, &mut |line| {
        let index = line.index.filter(|index| *index < u64::from(NEVER));
        rise &= index.is_some() && index > last;
        last = index;
        Ok(())
    })?;
    Ok(rise)
}

/// Takes lines into operations.
struct Feed {
    of: &'static dyn DataType,
    keyed: bool,
    /// Whether events have their own numbers, and not those of their places.
    own: bool,
    events: u64,
    words: Vec<String>,
    pairing: Pairing,
}

/// From here on are the ids of clients that the file calls by a word.
const WORDS: ClientId = 1 << 40;

impl Feed {
    fn take(&mut self, line: Line) -> Result<(), String> {
        let index = line.index.filter(|_| self.own).unwrap_or(self.events);
        self.events += 1;
        let phase = match line.kind {
            "invoke" => Phase::Invoke,
            "ok" => Phase::Ok,
            "fail" => Phase::Fail,
            _ => Phase::Info,
        };
        let Some(client) = self.client(&line, phase)? else {
            return Ok(());
        };
        let mut key = line.key.as_ref().map(Datum::of);
        let mut value = Datum::of(&line.value);
        if self.keyed
            && let Some((of, inner)) = value.pair()
        {
            (key, value) = (Some(of.clone()), inner.clone());
        }
        self.pairing.take(Event {
            index,
            time_ns: line.time_ns,
            client,
            phase,
            f: line.f,
            key,
            value,
            node: None,
            error: line.error,
        })?;
        Ok(())
    }

    /// Who did it; `None` for what is no client, as a nemesis.
    fn client(&mut self, line: &Line, phase: Phase) -> Result<Option<ClientId>, String> {
        let word = match &line.process {
            Tree::Int(process) if *process >= 0 => return Ok(Some(process.cast_unsigned())),
            _ if is_aside(line) => {
                return match phase {
                    Phase::Info | Phase::Invoke if line.process != Tree::Nil => Ok(None),
                    Phase::Info => Ok(None),
                    _ => Err("an event without :process".to_owned()),
                };
            }
            process => process.name(),
        };
        if let Ok(number) = word.parse() {
            return Ok(Some(number));
        }
        if let Some(at) = self.words.iter().position(|known| *known == word) {
            return Ok(Some(WORDS + at as u64));
        }
        match phase {
            Phase::Invoke if act_of(self.of, &line.f).is_some() => {
                self.words.push(word);
                Ok(Some(WORDS + self.words.len() as u64 - 1))
            }
            Phase::Info => Ok(None),
            _ => Err(format!(
                "{} completes an operation but has none open",
                shorten(&word)
            )),
        }
    }
}
