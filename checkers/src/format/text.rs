//! A text as it is given, and what is taken off it before a reader sees it: byte order marks, the fences of a page
//! that it was pasted into, line numbers. What is taken off becomes spaces, so that places stay what they were.

use super::Error;
use super::jepsen::log;
use super::sniff::{Refusal, sniff};

/// A text and what its messages call it.
pub(super) struct Text<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
}

impl Text<'_> {
    /// The error that names a place, which is given in bytes from the beginning.
    pub(super) fn malformed(&self, at: usize, reason: impl Into<String>) -> Error {
        let (line, column) = place(self.bytes, at);
        Error::Malformed {
            name: self.name.to_owned(),
            line,
            // Where a line begins, its number says it all.
            column: Some(column).filter(|column| *column > 1),
            reason: reason.into(),
            advice: None,
        }
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> u64 {
        place(self.bytes, at).0
    }
}

/// Line and column of a byte, both from 1; columns are characters.
pub(super) fn place(bytes: &[u8], at: usize) -> (u64, u64) {
    let before = &bytes[..at.min(bytes.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let begins = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let column = before[begins..]
        .iter()
        .filter(|byte| **byte & 0xc0 != 0x80)
        .count();
    (line as u64 + 1, column as u64 + 1)
}

/// UTF-8's byte order mark.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// The text as UTF-8 without a byte order mark; UTF-16 is only known by its own.
///
/// # Errors
/// When UTF-16 has half a character.
pub(super) fn unmarked(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if let Some(rest) = bytes.strip_prefix(MARK) {
        return Ok(rest.to_vec());
    }
    let unit: fn([u8; 2]) -> u16 = match bytes.get(..2) {
        Some([0xff, 0xfe]) => u16::from_le_bytes,
        Some([0xfe, 0xff]) => u16::from_be_bytes,
        _ => return Ok(bytes),
    };
    let (pairs, odd) = bytes[2..].as_chunks::<2>();
    let text = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)));
    match text.collect::<Result<String, _>>() {
        Ok(text) if odd.is_empty() => Ok(text.into_bytes()),
        _ => Err(Refusal::of("UTF-16 with half a character in it")),
    }
}

/// Takes off what a page or a tool has put around a history; gives what is to be said about it.
///
/// # Errors
/// When several histories stand in one page.
pub(super) fn undress(bytes: &mut [u8]) -> Result<Vec<String>, Refusal> {
    let mut notes = Vec::new();
    if unfence(bytes)? {
        notes.push("what stands outside of the fences was not read".to_owned());
    }
    if unnumber(bytes) {
        notes.push("the numbers of its lines were taken off".to_owned());
    }
    Ok(notes)
}

/// The lines with their places.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes.split(|byte| *byte == b'\n').map(move |line| {
        let begins = at;
        at += line.len() + 1;
        (begins, line)
    })
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

/// Blanks what stands outside of the fenced block of a page; whether there is one.
fn unfence(bytes: &mut [u8]) -> Result<bool, Refusal> {
    let is_fence = |line: &[u8]| {
        let line = line.trim_ascii();
        let language = line
            .strip_prefix(b"```")
            .or_else(|| line.strip_prefix(b"~~~"));
        language.is_some_and(|word| {
            word.iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b" -_".contains(byte))
        })
    };
    let fences: Vec<_> = lines(bytes)
        .filter(|(_, line)| is_fence(line))
        .map(|(at, line)| (at, at + line.len()))
        .collect();
    if fences.is_empty() {
        return Ok(false);
    }
    let mut blocks: Vec<_> = fences
        .chunks(2)
        .map(|pair| (pair[0].1, pair.get(1).map_or(bytes.len(), |close| close.0)))
        .collect();
    if blocks.len() > 1 {
        blocks.retain(|(from, to)| sniff(&bytes[*from..*to]).is_ok());
    }
    let [(from, to)] = blocks[..] else {
        return Err(Refusal::of(format!(
            "{} fenced blocks that look like histories: only one can be judged at a time",
            blocks.len()
        )));
    };
    blank(&mut bytes[..from]);
    blank(&mut bytes[to..]);
    Ok(true)
}

/// Where the data begin behind a line's number.
fn behind_number(line: &[u8]) -> Option<(u64, usize)> {
    let text = std::str::from_utf8(line).ok()?;
    let rest = text.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let number = rest[..digits].parse().ok()?;
    let behind = &rest[digits..];
    let data = behind.trim_start_matches([' ', '\t', ':', '|', '.']);
    // A keyword keeps its colon, and a number without anything behind it is a value.
    (data.len() < behind.len()).then_some((number, text.len() - data.len()))
}

/// Blanks the numbers of lines, where every line has one; whether they have.
fn unnumber(bytes: &mut [u8]) -> bool {
    let mut numbers = Vec::new();
    let mut last = None;
    for (at, line) in lines(bytes).filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let Some((number, data)) = behind_number(line) else {
            return false;
        };
        if last.is_some_and(|last| number <= last) {
            return false;
        }
        let is_data = |text: &[u8]| {
            text.starts_with(b"{")
                || text.starts_with(b"[{")
                || text.starts_with(b"#")
                || log::begins_with_event(text)
        };
        // The first line tells: `0 :invoke :write 1` has no number before it, but begins with one.
        if numbers.is_empty()
            && (log::begins_with_event(line.trim_ascii()) || !is_data(&line[data..]))
        {
            return false;
        }
        last = Some(number);
        numbers.push((at, at + data));
    }
    for (from, to) in &numbers {
        blank(&mut bytes[*from..*to]);
    }
    !numbers.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut bytes = text.as_bytes().to_vec();
        undress(&mut bytes).unwrap_or_else(|refusal| panic!("{}", refusal.reason));
        let got = String::from_utf8(bytes).expect("text");
        assert_eq!(got.len(), text.len());
        let plain: Vec<&str> = got.split('\n').map(str::trim).collect();
        assert_eq!(plain.join("\n"), expected, "{text}");
    }

    #[test]
    fn numbers_of_lines_are_taken_off_and_processes_are_not() {
        check(
            "   8\t0\t:invoke\t:read\tnil\n   9\t0\t:ok\t:read\t1\n",
            "0\t:invoke\t:read\tnil\n0\t:ok\t:read\t1\n",
        );
        check(
            "8: {:process 0}\n9: {:process 1}",
            "{:process 0}\n{:process 1}",
        );
        check(
            "1 | {\"process\": 0}\n2 | {\"process\": 1}",
            "{\"process\": 0}\n{\"process\": 1}",
        );
        for kept in [
            "0\t:invoke\t:write\t1\n1\t:invoke\t:write\t2",
            "1 0 :invoke :read nil\n1 0 :ok :read 1",
            "8: {:process 0}\nand so on",
        ] {
            check(kept, kept);
        }
    }

    #[test]
    fn what_stands_outside_of_a_fence_is_no_history() {
        let page = "It said\n```edn\n{:process 0}\n```\nand then\n5 :ok :read 7\n";
        check(page, "\n\n{:process 0}\n\n\n\n");
        let two = "```\n0 :invoke :read nil\n```\n~~~\n0 :invoke :read nil\n~~~\n";
        undress(&mut two.as_bytes().to_vec()).expect_err("two histories");
    }

    #[test]
    fn utf_16_is_read_whichever_byte_comes_first() {
        let units: Vec<u16> = "\u{feff}é\u{1f600}".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [little, big] {
            let text =
                unmarked(bytes.clone()).unwrap_or_else(|refusal| panic!("{}", refusal.reason));
            assert_eq!(text, "é\u{1f600}".as_bytes());
            assert!(unmarked(bytes[..bytes.len() - 2].to_vec()).is_err());
            assert!(unmarked(bytes[..bytes.len() - 1].to_vec()).is_err());
        }
    }

    #[test]
    fn a_place_counts_characters() {
        assert_eq!(place("a\nébc".as_bytes(), 5), (2, 3));
        assert_eq!(place(b"", 0), (1, 1));
    }
}
