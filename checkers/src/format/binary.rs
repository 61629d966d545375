//! A log beside JSONL: the same events as records, a tenth of the size and much faster to read.
//!
//! ```text
//!  magic    "wwlog", a zero byte, the version (1), a newline
//!  blocks   length: u32, crc-32 of the payload: u32, payload          (little endian)
//!           the first payload is the header as JSON; the others are records, back to back
//!  record   a byte: what it is in the low half, what it has in the high half; then, each where it applies:
//!           index and time, as differences to the event before; client; node; at; key; values; text
//!           (of a gap, how many events are lost in place of the client)
//! ```
//!
//! Numbers are varints (seven bits a byte, lowest first), signed ones zigzag. A key is its number in order of
//! appearance, followed by its name the first time. Values that are not integers are declared before the first event,
//! in order. A last block that was cut off by a crash of its writer is tolerated, and nothing else.

use std::io::{self, Read, Write};

use super::Error;
use super::sink::{Again, Moment, Sink, repeats_call};
use crate::history::{
    At, Call, Event, EventKind, Header, History, Kind, Malformed, Outcome, Value, is_kept, kept,
};

/// The first eight bytes of a file; the seventh is the version.
pub const MAGIC: [u8; 8] = *b"wwlog\0\x01\n";

/// A block is written when it has grown to this.
const BLOCK: usize = 1 << 16;

/// A longer block is none of ours.
const LONGEST: u32 = 1 << 28;

/// Lists in lists are read up to this depth: text formats have no deeper ones.
const DEEPEST: u8 = 128;

/// A list whose text is longer is none of ours. Lists name others in few bytes, and have them in full in their texts.
const LONGEST_LIST: usize = 1 << 24;

const READ: u8 = 0;
const WRITE: u8 = 1;
const CAS: u8 = 2;
const DELETE: u8 = 3;
const APPEND: u8 = 4;
const OK: u8 = 5;
const FAIL: u8 = 6;
const INFO: u8 = 7;
const MARK: u8 = 8;
const NAME: u8 = 9;
const LIST: u8 = 10;
const GAP: u8 = 11;
const DIFFERED: u8 = 12;

const HAS_NODE: u8 = 0x10;
const HAS_AT: u8 = 0x20;
const HAS_VALUE: u8 = 0x40;
const HAS_ERROR: u8 = 0x80;

/// Writes events as they come.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    block: Vec<u8>,
    keys: rustc_hash::FxHashMap<String, u64>,
    index: u64,
    time_ns: u64,
}

/// Why an operation of another type cannot be written.
fn other_type() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        crate::history::Malformed::OtherType,
    )
}

impl<W: Write> Writer<W> {
    /// Writes the magic and the header.
    ///
    /// # Errors
    /// When `out` does.
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        let mut writer = Self {
            out,
            block: serde_json::to_vec(header)?,
            keys: rustc_hash::FxHashMap::default(),
            index: 0,
            time_ns: 0,
        };
        writer.flush_block()?;
        Ok(writer)
    }

    /// Writes one event.
    ///
    /// # Errors
    /// When `out` does.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut tag = match &event.kind {
            EventKind::Invoke { call, .. } => match call {
                Call::Read => READ,
                Call::Write(_) => WRITE,
                Call::Cas { .. } => CAS,
                Call::Delete => DELETE,
                Call::Append(_) => APPEND,
            },
            EventKind::Complete { outcome, at, error } => {
                let what = match outcome {
                    Outcome::Ok(None) => OK,
                    Outcome::Ok(Some(_)) => OK | HAS_VALUE,
                    Outcome::Failed => FAIL,
                    Outcome::Differed(None) => DIFFERED,
                    Outcome::Differed(Some(_)) => DIFFERED | HAS_VALUE,
                    Outcome::Unknown => INFO,
                };
                let at = if at.is_some() { HAS_AT } else { 0 };
                what | at | if error.is_some() { HAS_ERROR } else { 0 }
            }
            EventKind::Mark(_) => MARK,
            EventKind::Gap { .. } => GAP,
            EventKind::Typed(_) => return Err(other_type()),
        };
        if event.node.is_some() {
            tag |= HAS_NODE;
        }
        self.block.push(tag);
        self.number(event.index.wrapping_sub(self.index));
        self.signed(event.time_ns.wrapping_sub(self.time_ns).cast_signed());
        (self.index, self.time_ns) = (event.index, event.time_ns);
        match &event.kind {
            EventKind::Mark(text) => self.text(text),
            EventKind::Gap { lost } => self.number(*lost),
            EventKind::Invoke { .. } | EventKind::Complete { .. } | EventKind::Typed(_) => {
                self.number(event.client.unwrap_or_default());
            }
        }
        if let Some(node) = event.node {
            self.number(node);
        }
        match &event.kind {
            EventKind::Invoke { key, call } => {
                self.key(key);
                match *call {
                    Call::Read | Call::Delete => {}
                    Call::Write(value) | Call::Append(value) => self.signed(value),
                    Call::Cas { old, new } => {
                        self.signed(old);
                        self.signed(new);
                    }
                }
            }
            EventKind::Complete { outcome, at, error } => {
                if let Some(at) = at {
                    self.number(at.term);
                    self.number(at.index);
                }
                if let Outcome::Ok(Some(value)) | Outcome::Differed(Some(value)) = outcome {
                    self.signed(*value);
                }
                if let Some(error) = error {
                    self.text(error);
                }
            }
            EventKind::Mark(_) | EventKind::Gap { .. } | EventKind::Typed(_) => {}
        }
        if self.block.len() >= BLOCK {
            self.flush_block()?;
        }
        Ok(())
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// When `out` does.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush_block()?;
        self.out.flush()
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            let length = self.block.len() as u32;
            self.out.write_all(&length.to_le_bytes())?;
            let crc = crc32fast::hash(&self.block);
            self.out.write_all(&crc.to_le_bytes())?;
            self.out.write_all(&self.block)?;
            self.block.clear();
        }
        Ok(())
    }

    fn key(&mut self, key: &str) {
        if let Some(number) = self.keys.get(key) {
            let number = *number;
            return self.number(number);
        }
        let number = self.keys.len() as u64;
        self.keys.insert(key.to_owned(), number);
        self.number(number);
        self.text(key);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.block.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.block.push(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.block.extend_from_slice(text.as_bytes());
    }
}

/// Writes a whole history.
///
/// # Errors
/// When `out` does.
pub fn write(out: &mut impl Write, history: &History) -> io::Result<()> {
    let mut writer = Writer::new(out, &history.header)?;
    for (text, list) in history.names.iter() {
        match list {
            None => {
                writer.block.push(NAME);
                writer.text(text);
            }
            Some(items) => {
                writer.block.push(LIST);
                writer.number(items.len() as u64);
                for item in items {
                    writer.signed(*item);
                }
            }
        }
    }
    for event in history.to_events() {
        writer.event(&event)?;
    }
    writer.finish()
}

/// Reads events into what `begin` makes of the header, and gives it back with what is to be said. Where a message names
/// a line, it is the event's number, from 1.
pub(crate) fn read_into<S: Sink>(
    mut input: impl Read,
    name: &str,
    begin: impl FnOnce(Header) -> S,
) -> Result<(S, Vec<String>), Error> {
    let malformed = |line: u64, reason: String| Error::Malformed {
        name: name.to_owned(),
        line: line.max(1),
        column: None,
        reason,
        advice: None,
    };
    let failed = |source| Error::Io {
        name: name.to_owned(),
        source,
    };
    let mut magic = Vec::new();
    let mut start = (&mut input).take(MAGIC.len() as u64);
    start.read_to_end(&mut magic).map_err(failed)?;
    if magic != MAGIC {
        return Err(malformed(1, "it is no binary log of version 1".to_owned()));
    }
    let mut payload = Vec::new();
    let header = match next_block(&mut input, &mut payload).map_err(failed)? {
        Block::Whole => super::jsonl::parse_header(&payload),
        Block::End | Block::Cut => Err("the header is missing".to_owned()),
        Block::Broken => Err("the header is damaged".to_owned()),
    };
    let mut sink = begin(header.map_err(|reason| malformed(1, reason))?);
    let mut reader = Reader::default();
    let mut notes = Vec::new();
    loop {
        match next_block(&mut input, &mut payload).map_err(failed)? {
            Block::End => break,
            Block::Cut => {
                notes.push(format!(
                    "{name}: the last block, after {} events, is only half written; it was ignored",
                    reader.events
                ));
                break;
            }
            Block::Broken => {
                let reason = "the block that begins with this event is damaged".to_owned();
                return Err(malformed(reader.events + 1, reason));
            }
            Block::Whole => {}
        }
        let mut rest = Rest(&payload);
        while !rest.0.is_empty() {
            let taken = reader.record(&mut rest, &mut sink);
            taken.map_err(|reason| malformed(reader.events, reason))?;
        }
        let paused = sink.pause();
        paused.map_err(|error| malformed(reader.events, error.to_string()))?;
    }
    Ok((sink, notes))
}

/// How reading a block ended.
enum Block {
    Whole,
    /// There is no further one.
    End,
    /// The file ends within it.
    Cut,
    /// Its checksum is another.
    Broken,
}

fn next_block(input: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<Block> {
    let mut head = Vec::with_capacity(8);
    input.take(8).read_to_end(&mut head)?;
    let Some((length, crc)) = head.split_first_chunk::<4>() else {
        return Ok(if head.is_empty() {
            Block::End
        } else {
            Block::Cut
        });
    };
    let Some((crc, _)) = crc.split_first_chunk::<4>() else {
        return Ok(Block::Cut);
    };
    let length = u32::from_le_bytes(*length);
    if length > LONGEST {
        return Ok(Block::Broken);
    }
    payload.clear();
    let read = input.take(u64::from(length)).read_to_end(payload)?;
    if read < length as usize {
        return Ok(Block::Cut);
    }
    let whole = crc32fast::hash(payload) == u32::from_le_bytes(*crc);
    Ok(if whole { Block::Whole } else { Block::Broken })
}

/// What has to be known of the records before.
#[derive(Default)]
struct Reader {
    keys: Vec<String>,
    index: u64,
    time_ns: u64,
    events: u64,
    /// How deep each named value is: 0 for what is no list.
    depths: Vec<u8>,
}

impl Reader {
    /// Takes a value that is not an integer: it gets the number that it had in the writer, since all come in order.
    fn name(&mut self, what: u8, rest: &mut Rest<'_>, sink: &mut impl Sink) -> Result<(), String> {
        let short = || "the record ends too early".to_owned();
        let before = sink.names().len();
        let mut depth = 0;
        if what == NAME {
            let text = rest.text().ok_or_else(short)?;
            sink.names().intern_written(text);
        } else {
            let items = rest.items().ok_or_else(short)?;
            let mut length = 0;
            for item in &items {
                may_be(*item, sink)?;
                if let Some(place) = sink.names().place(*item) {
                    depth = depth.max(self.depths.get(place).copied().unwrap_or(0));
                }
                // An integer is no longer in the text than some twenty times what it takes here.
                length += sink.names().get(*item).map_or(1, str::len);
            }
            depth += 1;
            if depth > DEEPEST {
                return Err(format!("lists are nested more than {DEEPEST} deep"));
            }
            if length > LONGEST_LIST {
                return Err(format!(
                    "the text of a list has more than {LONGEST_LIST} bytes"
                ));
            }
            sink.names().intern_list(&items);
        }
        if sink.names().len() == before {
            return Err("a value is named twice".to_owned());
        }
        self.depths.push(depth);
        Ok(())
    }

    /// Takes one record.
    fn record(&mut self, rest: &mut Rest<'_>, sink: &mut impl Sink) -> Result<(), String> {
        let short = || "the record ends too early".to_owned();
        let tag = rest.byte().ok_or_else(short)?;
        let what = tag & 0x0f;
        if what == NAME || what == LIST {
            return self.name(what, rest, sink);
        }
        self.events += 1;
        self.index = self.index.wrapping_add(rest.number().ok_or_else(short)?);
        let passed = rest.signed().ok_or_else(short)?.cast_unsigned();
        self.time_ns = self.time_ns.wrapping_add(passed);
        let malformed = |error: Malformed| error.to_string();
        if what == MARK {
            let text = rest.text().ok_or_else(short)?;
            if tag & HAS_NODE != 0 {
                rest.number().ok_or_else(short)?;
            }
            return sink.mark(self.index, self.time_ns, text).map_err(malformed);
        }
        if what == GAP {
            let lost = rest.number().ok_or_else(short)?;
            if tag & HAS_NODE != 0 {
                rest.number().ok_or_else(short)?;
            }
            return sink.gap(self.index, self.time_ns, lost).map_err(malformed);
        }
        let client = rest.number().ok_or_else(short)?;
        let node = match tag & HAS_NODE {
            0 => None,
            _ => Some(rest.number().ok_or_else(short)?),
        };
        let from = Moment {
            index: self.index,
            time_ns: self.time_ns,
            client,
            node,
        };
        if what <= APPEND {
            let number = rest.number().ok_or_else(short)?;
            if number == self.keys.len() as u64 {
                self.keys.push(rest.text().ok_or_else(short)?.to_owned());
            }
            let Some(key) = self.keys.get(number as usize) else {
                return Err(format!("key {number} was never named"));
            };
            let call = rest.call(what).ok_or_else(short)?;
            match call {
                Call::Read | Call::Delete => {}
                Call::Write(value) | Call::Append(value) => may_be(value, sink)?,
                Call::Cas { old, new } => {
                    may_be(old, sink)?;
                    may_be(new, sink)?;
                }
            }
            return sink.invoke(from, key, call).map_err(malformed);
        }
        let (found, at, error) = rest.answer(tag).ok_or_else(short)?;
        if let Some(found) = found {
            may_be(found, sink)?;
        }
        let outcome = match what {
            OK if found.is_none() => Outcome::Ok(None),
            OK if sink.open_call(client) == Some(Kind::Read) => Outcome::Ok(found),
            OK => {
                if let Some(again) = found {
                    repeats_call(sink, client, Again::Value(again))?;
                }
                Outcome::Ok(None)
            }
            DIFFERED if sink.open_call(client) == Some(Kind::Cas) => Outcome::Differed(found),
            FAIL | DIFFERED => Outcome::Failed,
            INFO => Outcome::Unknown,
            other => return Err(format!("records of kind {other} are not known")),
        };
        sink.complete(from, outcome, at, error).map_err(malformed)
    }
}

/// Refuses the number of a named value that was not declared: one that is declared later would be taken for it.
#[inline]
fn may_be(value: Value, sink: &mut impl Sink) -> Result<(), String> {
    if is_kept(value) && sink.names().get(value).is_none() {
        return Err(kept(value));
    }
    Ok(())
}

/// What is left of a block.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Up to eight bytes at once where there are as many: the first without its top bit set is the last.
    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        const TOPS: u64 = 0x8080_8080_8080_8080;
        if let Some((first, rest)) = self.0.split_first()
            && *first < 0x80
        {
            self.0 = rest;
            return Some(u64::from(*first));
        }
        if let Some(word) = self.0.first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            let ends = !word & TOPS;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                // The sevens move together: into pairs, fours, and all eight.
                let sevens = word & !TOPS & (u64::MAX >> (64 - bits));
                let pairs = sevens & 0x007f_007f_007f_007f | (sevens & 0x7f00_7f00_7f00_7f00) >> 1;
                let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
                let all = fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4;
                self.0 = &self.0[bits as usize / 8..];
                return Some(all);
            }
        }
        self.long_number()
    }

    #[cold]
    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[inline(always)]
    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    #[inline(always)]
    fn call(&mut self, what: u8) -> Option<Call> {
        Some(match what {
            READ => Call::Read,
            WRITE => Call::Write(self.signed()?),
            DELETE => Call::Delete,
            APPEND => Call::Append(self.signed()?),
            _ => Call::Cas {
                old: self.signed()?,
                new: self.signed()?,
            },
        })
    }

    #[inline(always)]
    #[allow(clippy::type_complexity)]
    fn answer(&mut self, tag: u8) -> Option<(Option<Value>, Option<At>, Option<&'a str>)> {
        let (mut found, mut at, mut error) = (None, None, None);
        if tag & HAS_AT != 0 {
            let (term, index) = (self.number()?, self.number()?);
            at = Some(At { term, index });
        }
        if tag & HAS_VALUE != 0 {
            found = Some(self.signed()?);
        }
        if tag & HAS_ERROR != 0 {
            error = Some(self.text()?);
        }
        Some((found, at, error))
    }

    fn items(&mut self) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        for _ in 0..self.number()? {
            items.push(self.signed()?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests;
