//! A file in blocks of whole lines: one thread reads, unpacks and takes lines apart, another takes what they say.

use std::io::Read;
use std::sync::mpsc::{Receiver, sync_channel};

use super::line::{self, Line};
use super::{Bad, Error, Refused, Sink, take_any, take_ours};

/// Bytes of a block, where its lines are not longer.
const BLOCK: usize = 1 << 19;

/// Blocks under way between the two threads at most.
const UNDER_WAY: usize = 3;

/// Whole lines of a file.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Where the lines begin in it.
    pub(super) from: usize,
    /// The number of the first line, from 1.
    pub(super) first_line: u64,
    /// Whether the file ends with it.
    pub(super) last: bool,
    lines: Vec<Parsed>,
}

/// A line: where it stands, and what it says where it has our shape.
#[derive(Debug)]
struct Parsed {
    from: usize,
    to: usize,
    line: Option<Line>,
}

impl Block {
    /// Takes the lines apart.
    pub(super) fn parse(&mut self) {
        self.lines.clear();
        let mut from = self.from;
        while from < self.bytes.len() {
            let rest = &self.bytes[from..];
            let length = rest.iter().position(|byte| *byte == b'\n');
            let length = length.unwrap_or(rest.len());
            self.lines.push(Parsed {
                from,
                to: from + length,
                line: line::parse(&rest[..length]),
            });
            from += length + 1;
        }
    }

    /// Gives the lines to the sink; the number of the last one where it is only half written.
    pub(super) fn give(&self, sink: &mut impl Sink) -> Result<Option<u64>, Bad> {
        for (i, parsed) in self.lines.iter().enumerate() {
            let text = &self.bytes[parsed.from..parsed.to];
            let taken = match &parsed.line {
                Some(line) => take_ours(sink, text, line).map_err(Refused::from),
                None if text.trim_ascii().is_empty() => Ok(()),
                None => take_any(sink, text),
            };
            let Err(Refused { reason, cut }) = taken else {
                continue;
            };
            let line = self.first_line + i as u64;
            if cut && parsed.to == self.bytes.len() {
                // It lacks its end: its writer was stopped while writing it.
                return Ok(Some(line));
            }
            return Err(Bad { line, reason });
        }
        let line = self.first_line + (self.lines.len() as u64).saturating_sub(1);
        sink.pause().map_err(|error| Bad {
            line,
            reason: error.to_string(),
        })?;
        Ok(None)
    }
}

/// Cuts what a reader gives into blocks.
pub(super) struct Blocks<'a, R> {
    input: R,
    name: &'a str,
    /// The beginning of a line whose end is not there yet.
    tail: Vec<u8>,
    ended: bool,
}

impl<'a, R: Read> Blocks<'a, R> {
    pub(super) fn new(input: R, name: &'a str) -> Self {
        Self {
            input,
            name,
            tail: Vec::new(),
            ended: false,
        }
    }

    /// The next block, in the buffer given; `None` after the last.
    pub(super) fn next(&mut self, mut bytes: Vec<u8>) -> Result<Option<Block>, Error> {
        if self.ended {
            return Ok(None);
        }
        bytes.clear();
        bytes.append(&mut self.tail);
        let mut searched = 0;
        loop {
            let wanted = BLOCK - bytes.len() % BLOCK;
            bytes.reserve(wanted);
            let read = (&mut self.input)
                .take(wanted as u64)
                .read_to_end(&mut bytes)
                .map_err(|source| Error::Io {
                    name: self.name.to_owned(),
                    source,
                })?;
            if read < wanted {
                self.ended = true;
                break;
            }
            let newline = bytes[searched..].iter().rposition(|byte| *byte == b'\n');
            if let Some(newline) = newline {
                let end = searched + newline + 1;
                self.tail.extend_from_slice(&bytes[end..]);
                bytes.truncate(end);
                break;
            }
            searched = bytes.len();
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Block {
            bytes,
            last: self.ended,
            ..Block::default()
        }))
    }
}

/// Gives all blocks to the sink, which is on a thread of its own; it comes back with the number of a half-written last
/// line, or with the first line that it could not take.
pub(super) fn pump<S: Sink, R: Read>(
    blocks: &mut Blocks<'_, R>,
    first: Block,
    sink: S,
) -> Result<Result<(S, Option<u64>), Bad>, Error> {
    std::thread::scope(|scope| {
        let (full, taken) = sync_channel::<Block>(UNDER_WAY);
        let (empty, again) = sync_channel::<Block>(UNDER_WAY + 2);
        let taker = scope.spawn(move || take(sink, &taken, |block| drop(empty.try_send(block))));
        let mut failed = None;
        let mut next = Some(first);
        while let Some(mut block) = next {
            block.parse();
            let line = block.first_line + block.lines.len() as u64;
            // A sink that has stopped says why below.
            if full.send(block).is_err() {
                break;
            }
            let used = again.try_recv().unwrap_or_default();
            next = match blocks.next(used.bytes) {
                Ok(Some(block)) => Some(Block {
                    first_line: line,
                    lines: used.lines,
                    ..block
                }),
                Ok(None) => None,
                Err(error) => {
                    failed = Some(error);
                    None
                }
            };
        }
        drop(full);
        let taken = match taker.join() {
            Ok(taken) => taken,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match (taken, failed) {
            // What is wrong with a line comes before what is wrong with the bytes after it.
            (Ok(_), Some(error)) => Err(error),
            (taken, _) => Ok(taken),
        }
    })
}

/// The other end of [`pump`].
fn take<S: Sink>(
    mut sink: S,
    blocks: &Receiver<Block>,
    done: impl Fn(Block),
) -> Result<(S, Option<u64>), Bad> {
    let mut cut = None;
    for block in blocks {
        cut = block.give(&mut sink)?;
        done(block);
    }
    Ok((sink, cut))
}
