//! What travels on a Redis connection: frames, behind limits on their shape and their size.

use std::io;

use bytes::BytesMut;
use redis_protocol::{codec::Resp2, error::RedisProtocolError, resp2::types::BytesFrame};
use tokio_util::codec::{Decoder, Encoder};

use super::{MAX_ARGUMENTS, MAX_COMMAND};

/// Bytes of a command that is a plain line.
const MAX_LINE: usize = 64 << 10;

/// The crate's codec, behind a check of the shape: an array of strings, not too many, not too large; or a plain line of
/// words, as one types it. (The crate's parser follows any nesting, and starts over for each packet.)
#[derive(Debug, Default)]
pub(super) struct Limited(Resp2);

impl Decoder for Limited {
    type Item = BytesFrame;
    type Error = RedisProtocolError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<BytesFrame>, RedisProtocolError> {
        while source.first().is_some_and(|first| *first != b'*') {
            let Some(words) = line(source)? else {
                return Ok(None);
            };
            // An empty line is nothing.
            if !words.is_empty() {
                return Ok(Some(BytesFrame::Array(words)));
            }
        }
        match measure(source)? {
            Some(length) => self.0.decode(&mut source.split_to(length)),
            None => Ok(None),
        }
    }
}

/// Takes a line and gives its words; `None` while it has not come whole. (Quotes are not understood, so refused.)
fn line(source: &mut BytesMut) -> io::Result<Option<Vec<BytesFrame>>> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let Some(end) = source.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return match source.len() < MAX_LINE {
            true => Ok(None),
            false => refuse("a line is too long"),
        };
    };
    let line = source.split_to(end + 1).freeze();
    if line.contains(&b'"') || line.contains(&b'\'') {
        return refuse("quotes in a line are not understood");
    }
    let words = line.split(u8::is_ascii_whitespace);
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    if words.len() > MAX_ARGUMENTS {
        return refuse("too many arguments");
    }
    Ok(Some(
        words
            .into_iter()
            .map(|word| BytesFrame::BulkString(line.slice_ref(word)))
            .collect(),
    ))
}

impl Encoder<BytesFrame> for Limited {
    type Error = RedisProtocolError;

    fn encode(
        &mut self,
        frame: BytesFrame,
        target: &mut BytesMut,
    ) -> Result<(), RedisProtocolError> {
        self.0.encode(frame, target)
    }
}

/// The length of the command at the beginning of `source`; `None` while it has not come whole.
fn measure(source: &[u8]) -> io::Result<Option<usize>> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let mut at = 0;
    let Some(count) = header(source, &mut at, b'*')? else {
        return Ok(None);
    };
    if count == 0 || count > MAX_ARGUMENTS {
        return refuse("too few or too many arguments");
    }
    for _ in 0..count {
        let Some(length) = header(source, &mut at, b'$')? else {
            return Ok(None);
        };
        at = at.saturating_add(length).saturating_add(2);
        if at > MAX_COMMAND {
            return refuse("the command is too large");
        }
    }
    Ok((source.len() >= at).then_some(at))
}

/// A number after its mark, ended by CRLF; moves `at` behind it.
fn header(source: &[u8], at: &mut usize, mark: u8) -> io::Result<Option<usize>> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let Some(rest) = source.get(*at..).filter(|rest| !rest.is_empty()) else {
        return Ok(None);
    };
    if rest[0] != mark {
        return refuse("a command is an array of strings");
    }
    let Some(end) = rest.iter().take(16).position(|byte| *byte == b'\n') else {
        return if rest.len() < 16 {
            Ok(None)
        } else {
            refuse("a number is too long")
        };
    };
    let digits = rest[1..end].strip_suffix(b"\r").unwrap_or_default();
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    let Some(number) = number else {
        return refuse("a number is none");
    };
    *at += end + 1;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::node::resp::arguments;

    #[test]
    fn a_command_is_measured_only_when_it_is_whole() {
        let command = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        for length in 0..command.len() {
            assert!(matches!(measure(&command[..length]), Ok(None)), "{length}");
        }
        let mut two = command.to_vec();
        two.extend(b"*1\r\n$4\r\nPING\r\n");
        assert!(matches!(measure(&two), Ok(Some(length)) if length == command.len()));
    }

    #[test]
    fn nesting_size_and_nonsense_are_refused() {
        for text in [
            "*1\r\n*1\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2000\r\n",
            "*1\r\n$99999999999\r\n",
            "*1\r\n$5000000\r\n",
            "*1\n$1\r\n",
            "*11111111111111111111",
        ] {
            assert!(measure(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    fn decoded(text: &str) -> Vec<Vec<Bytes>> {
        let mut source = BytesMut::from(text);
        let mut codec = Limited::default();
        let mut all = Vec::new();
        while let Some(frame) = codec.decode(&mut source).expect("valid") {
            all.push(arguments(frame).expect("a command"));
        }
        all
    }

    #[test]
    fn a_line_is_a_command_of_words() {
        let words = |words: &[&'static str]| words.iter().map(|word| Bytes::from(*word)).collect();
        let expected: Vec<Vec<Bytes>> = vec![
            words(&["PING"]),
            words(&["SET", "k", "v"]),
            words(&["GET", "k"]),
            words(&["PING"]),
        ];
        let text = "PING\r\n\r\n  SET k\tv \n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\nunfinished";
        assert_eq!(decoded(text), expected);
    }

    #[test]
    fn lines_that_cannot_be_understood_are_refused() {
        let long = "x".repeat(MAX_LINE);
        let many = "x ".repeat(MAX_ARGUMENTS + 1) + "\n";
        for text in [r#"SET k "a b""#.to_owned() + "\n", long, many] {
            let decoded = Limited::default().decode(&mut BytesMut::from(text.as_str()));
            assert!(decoded.is_err(), "{}", &text[..8]);
        }
    }

    #[test]
    fn the_codec_gives_the_commands_arguments() {
        let mut source = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nrest"[..]);
        let frame = Limited::default()
            .decode(&mut source)
            .expect("valid")
            .expect("whole");
        assert_eq!(
            arguments(frame),
            Some(vec![Bytes::from("GET"), Bytes::from("k")])
        );
        assert_eq!(&source[..], b"rest");
    }
}
