//! Takes a line of ours apart in the one shape in which our recorder and `gen` write it: members in order, no spaces,
//! plain numbers, nothing escaped. Ten times faster than a general parser; whatever looks different is left to that
//! one, which understands each line that this one does in the same way.

use crate::history::{At, Call, Value, is_kept};

/// A line in our own shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) index: u64,
    pub(super) time_ns: u64,
    pub(super) client: u64,
    pub(super) node: Option<u64>,
    pub(super) what: What,
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Invoke {
        key: Text,
        call: Call,
    },
    Complete {
        end: Ended,
        at: Option<At>,
        error: Option<Text>,
    },
}

/// A piece of the line: so that a line can go to another thread together with the block that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    from: u32,
    to: u32,
}

impl Text {
    /// The text, out of its line.
    pub(super) fn of(self, line: &[u8]) -> &str {
        let bytes = line.get(self.from as usize..self.to as usize);
        bytes
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

/// How an operation ended; what a value means depends on what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Ok, without a `value`.
    Ok,
    /// Ok, and this is the `value`; `None` is null.
    Found(Option<Value>),
    Failed,
    /// Failed, and this is the `value`.
    Differed(Option<Value>),
    Unknown,
}

/// The line, without its newline, if it has our shape.
#[inline]
pub(super) fn parse(line: &[u8]) -> Option<Line> {
    let whole = u32::try_from(line.len()).ok()?;
    let mut rest = Rest { left: line, whole };
    rest.skip(b"{\"index\":")?;
    let index = rest.number()?;
    rest.skip(b",\"time_ns\":")?;
    let time_ns = rest.number()?;
    rest.skip(b",\"client\":")?;
    let client = rest.number()?;
    rest.skip(b",\"type\":\"")?;
    let (node, what) = match rest.left.first()? {
        b'o' => {
            rest.skip(b"ok\"")?;
            let end = match rest.skip(b",\"value\":") {
                Some(()) => Ended::Found(rest.nullable()?),
                None => Ended::Ok,
            };
            completion(&mut rest, end)?
        }
        b'f' => {
            rest.skip(b"fail\"")?;
            let end = match rest.skip(b",\"value\":") {
                Some(()) => Ended::Differed(rest.nullable()?),
                None => Ended::Failed,
            };
            completion(&mut rest, end)?
        }
        _ if rest.skip(b"info\"").is_some() => completion(&mut rest, Ended::Unknown)?,
        _ => {
            rest.skip(b"invoke\",\"f\":\"")?;
            invocation(&mut rest)?
        }
    };
    rest.skip(b"}")?;
    let line = Line {
        index,
        time_ns,
        client,
        node,
        what,
    };
    rest.left.is_empty().then_some(line)
}

fn invocation(rest: &mut Rest<'_>) -> Option<(Option<u64>, What)> {
    let f = *rest.left.first()?;
    match f {
        b'r' => rest.skip(b"read\",\"key\":\"")?,
        b'w' => rest.skip(b"write\",\"key\":\"")?,
        b'c' => rest.skip(b"cas\",\"key\":\"")?,
        _ => rest.skip(b"delete\",\"key\":\"")?,
    }
    let key = rest.text()?;
    let call = match f {
        b'r' => Call::Read,
        b'w' => {
            rest.skip(b",\"value\":")?;
            Call::Write(rest.value()?)
        }
        b'c' => {
            rest.skip(b",\"value\":[")?;
            let old = rest.value()?;
            rest.skip(b",")?;
            let new = rest.value()?;
            rest.skip(b"]")?;
            Call::Cas { old, new }
        }
        _ => Call::Delete,
    };
    Some((rest.node()?, What::Invoke { key, call }))
}

fn completion(rest: &mut Rest<'_>, end: Ended) -> Option<(Option<u64>, What)> {
    let node = rest.node()?;
    let mut at = None;
    if rest.skip(b",\"at\":{\"term\":").is_some() {
        let term = rest.number()?;
        rest.skip(b",\"index\":")?;
        let index = rest.number()?;
        rest.skip(b"}")?;
        at = Some(At { term, index });
    }
    let mut error = None;
    if rest.skip(b",\"error\":\"").is_some() {
        error = Some(rest.text()?);
    }
    Some((node, What::Complete { end, at, error }))
}

/// What is left of a line.
struct Rest<'a> {
    left: &'a [u8],
    /// The length of the line.
    whole: u32,
}

impl Rest<'_> {
    fn skip<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (head, tail) = self.left.split_first_chunk::<N>()?;
        if head != text {
            return None;
        }
        self.left = tail;
        Some(())
    }

    /// Digits as JSON has them: no leading zero. Nineteen of them fit into 64 bits; more are left to others.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        let mut digits = 0;
        // Eight at once, while there are as many.
        while let Some((head, tail)) = self.left.split_first_chunk::<8>()
            && digits <= 8
            && let Some(eight) = eight_digits(u64::from_le_bytes(*head))
        {
            if digits == 0 && head[0] == b'0' {
                return None;
            }
            number = number * 100_000_000 + eight;
            digits += 8;
            self.left = tail;
        }
        let first = self.left.first().copied();
        let before = digits;
        while let Some((digit, tail)) = self.left.split_first()
            && digit.is_ascii_digit()
        {
            if digits == 19 {
                return None;
            }
            number = number * 10 + u64::from(digit - b'0');
            digits += 1;
            self.left = tail;
        }
        let zero_first = before == 0 && first == Some(b'0') && digits > 1;
        (digits > 0 && !zero_first).then_some(number)
    }

    /// An integer; `-0`, what is too large and what no file may have are left to others.
    fn value(&mut self) -> Option<Value> {
        let negative = self.skip(b"-").is_some();
        let number = Value::try_from(self.number()?).ok()?;
        match (negative, number) {
            (true, 0) => None,
            (true, _) if is_kept(-number) => None,
            (true, _) => Some(-number),
            (false, _) => Some(number),
        }
    }

    fn nullable(&mut self) -> Option<Option<Value>> {
        if self.skip(b"null").is_some() {
            return Some(None);
        }
        self.value().map(Some)
    }

    /// The rest of a string: printable ASCII, nothing escaped.
    fn text(&mut self) -> Option<Text> {
        let end = self
            .left
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | ..=0x1f | 0x7f..))?;
        if self.left[end] != b'"' {
            return None;
        }
        let from = self.whole - self.left.len() as u32;
        self.left = &self.left[end + 1..];
        let to = from + end as u32;
        Some(Text { from, to })
    }

    fn node(&mut self) -> Option<Option<u64>> {
        if self.skip(b",\"node\":").is_some() {
            return self.number().map(Some);
        }
        Some(None)
    }
}

/// Eight ASCII digits, the first in the lowest byte, as a number (Lemire, *Quickly parsing eight digits*, 2018).
fn eight_digits(word: u64) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let high = word & 0xf0f0_f0f0_f0f0_f0f0;
    let carry = (word.wrapping_add(0x0606_0606_0606_0606)) & 0xf0f0_f0f0_f0f0_f0f0;
    if high != ZEROS || carry != ZEROS {
        return None;
    }
    let word = word - ZEROS;
    let word = word.wrapping_mul(10).wrapping_add(word >> 8);
    let low = (word & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let top = ((word >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some(low.wrapping_add(top) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<u64> {
        let left = text.as_bytes();
        Rest { left, whole: 0 }.number()
    }

    #[test]
    fn numbers_of_every_length_are_read() {
        let mut expected: u64 = 1;
        for digit in (2..10).chain(0..10) {
            let text = format!("{expected},");
            assert_eq!(number(&text), Some(expected), "{text}");
            expected = expected * 10 + digit;
        }
        for text in [
            "",
            "00,",
            "01",
            "012345678",
            "0123456789",
            "99999999999999999999",
            "x",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("12345678"), Some(12_345_678));
    }

    #[test]
    fn what_looks_different_is_left_to_others() {
        let ours = br#"{"index":1,"time_ns":2,"client":3,"type":"ok","value":-4,"node":5}"#;
        assert!(parse(ours).is_some());
        for (from, to) in [
            (":1,", ": 1,"),
            ("-4", "-0"),
            ("-4", "-4611686018427387904"),
            ("-4", "4.0"),
            ("-4", "[4]"),
            ("\"ok\"", "\"o\\u006b\""),
            ("5}", "5} "),
            ("5}", "5,\"node\":5}"),
            ("5}", "18446744073709551615}"),
        ] {
            let other = String::from_utf8_lossy(ours).replace(from, to);
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }
}
