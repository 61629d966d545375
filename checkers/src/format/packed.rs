//! The bytes of a file up to where there are no more, whyever: a compressed text that a crash has cut off ends there, a
//! disk that gives no more, too. What came before counts; why it ended early is told beside it.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Read};

use super::Error;

/// A reader of the plain bytes; gzip and zstd are unpacked.
///
/// # Errors
/// When there is nothing to look at.
pub(super) fn unpack<'a>(mut input: impl BufRead + 'a) -> io::Result<(Box<dyn Read + 'a>, bool)> {
    let magic = input.fill_buf()?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        let plain = flate2::bufread::MultiGzDecoder::new(input);
        return Ok((Box::new(plain), true));
    }
    if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok((Box::new(zstd::Decoder::with_buffer(input)?), true));
    }
    Ok((Box::new(input), false))
}

/// What is known of the end of a file's bytes, once they were read.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Why there are no more, although the file does not end there.
    early: RefCell<Option<io::Error>>,
    bytes: Cell<u64>,
    /// Newlines of a compressed text.
    lines: Cell<u64>,
}

impl End {
    fn is_early(&self) -> bool {
        self.early.borrow().is_some()
    }

    /// Leaves out the line in which the bytes ended early: where a line is an event, half of it may be a whole one that
    /// says something else.
    pub(super) fn keep_whole_lines(&self, bytes: &mut Vec<u8>) {
        if self.is_early() {
            let newline = bytes.iter().rposition(|byte| *byte == b'\n');
            bytes.truncate(newline.map_or(0, |newline| newline + 1));
        }
    }

    /// Why the bytes ended early, if they did: malformed input where they were compressed and are not whole, and the
    /// line that is lacking; an error of the host where it did not give them.
    pub(super) fn why(&self, name: &str) -> Option<Error> {
        let source = self.early.take()?;
        let name = name.to_owned();
        // What an unpacker has to say has no number of the kernel's.
        if source.raw_os_error().is_some() {
            return Some(Error::Io { name, source });
        }
        let reason = if source.kind() == io::ErrorKind::UnexpectedEof {
            "the compressed text is cut off here".to_owned()
        } else if self.bytes.get() > 0 && source.to_string() == "invalid gzip header" {
            // The unpacker looks for a further member behind one whose checksum was right.
            "behind the compressed text there is something else".to_owned()
        } else {
            let doubt = "what was read before may not be what was written";
            format!("the compressed text is damaged here ({source}); {doubt}")
        };
        Some(Error::Malformed {
            name,
            line: self.lines.get() + 1,
            column: None,
            reason,
            advice: None,
        })
    }

    /// What is to be said of a text that could not be taken, `error`, where its bytes had ended early.
    pub(super) fn explain(&self, name: &str, error: Error) -> Error {
        match (self.why(name), error) {
            (Some(why @ (Error::Io { .. } | Error::Begun { .. } | Error::Unclear { .. })), _) => {
                why
            }
            (Some(why), _) if self.bytes.get() == 0 => why,
            (Some(Error::Malformed { reason: why, .. }), mut error) => {
                if let Error::Malformed { reason, .. } = &mut error {
                    *reason = format!("{reason}; {why}");
                }
                error
            }
            (None, error) => error,
        }
    }
}

/// Bytes that end where they cannot be read; why is left in an [`End`].
pub(super) struct Bytes<'a, R> {
    input: R,
    packed: bool,
    end: &'a End,
}

impl<'a, R: Read> Bytes<'a, R> {
    pub(super) fn new(input: R, packed: bool, end: &'a End) -> Self {
        Self { input, packed, end }
    }
}

impl<R: Read> Read for Bytes<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.end.is_early() {
            return Ok(0);
        }
        match self.input.read(into) {
            Ok(read) => {
                self.end.bytes.set(self.end.bytes.get() + read as u64);
                if self.packed {
                    self.end
                        .lines
                        .set(self.end.lines.get() + newlines(&into[..read]));
                }
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.end.early.replace(Some(error));
                Ok(0)
            }
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::{self as format, Format, Loaded, read_to_its_end};
    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        // Stored, not deflated: where the bytes are cut the text is cut.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn jsonl(events: u64) -> String {
        let mut text = "{\"whitewater\":1,\"spec\":\"register\"}\n".to_owned();
        for i in 0..events {
            let (index, value) = (2 * i, i + 1);
            text += &format!(
                "{{\"index\":{index},\"time_ns\":{index},\"client\":1,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":{value}}}\n"
            );
            let index = index + 1;
            text += &format!(
                "{{\"index\":{index},\"time_ns\":{index},\"client\":1,\"type\":\"ok\"}}\n"
            );
        }
        text
    }

    fn early(bytes: &[u8], format: Format) -> (Loaded, String) {
        assert!(
            format::read(bytes, "h", Some(format), None).is_err(),
            "whoever wants the whole is refused"
        );
        let mut loaded = read_to_its_end(bytes, "h", Some(format), None).unwrap();
        let why = loaded.early.take().expect("it ended early").to_string();
        (loaded, why)
    }

    #[test]
    fn a_gzip_that_is_cut_off_anywhere_gives_its_whole_events_and_the_line_that_is_lacking() {
        let text = jsonl(6);
        let whole = gzip(&text);
        let begin = whole
            .windows(12)
            .position(|window| window == b"{\"whitewater")
            .expect("it is stored");
        for cut in text.find('\n').unwrap() + 1..text.len() {
            let (loaded, why) = early(&whole[..begin + cut], Format::Jsonl);
            let lines = text[..cut].matches('\n').count();
            assert!(
                why.starts_with(&format!("h:{}: the compressed text is cut off", lines + 1)),
                "{why}"
            );
            let whole = |line: &&str| line.contains("invoke") && line.ends_with('}');
            let invocations = text[..cut].lines().filter(whole).count();
            assert_eq!(loaded.history.len(), invocations, "cut at {cut}");
        }
    }

    #[test]
    fn a_wrong_checksum_and_bytes_behind_the_end_leave_the_events_and_are_told() {
        let text = jsonl(3);
        let mut wrong = gzip(&text);
        let length = wrong.len();
        wrong[length - 6] ^= 1;
        let (loaded, why) = early(&wrong, Format::Jsonl);
        assert_eq!(loaded.history.len(), 3);
        assert!(why.starts_with("h:8:") && why.contains("damaged"), "{why}");
        let more = [gzip(&text), b"a good deal of garbage".to_vec()].concat();
        let (loaded, why) = early(&more, Format::Jsonl);
        assert_eq!(loaded.history.len(), 3);
        assert!(why.contains("something else"), "{why}");
        // Two members are one text: that is what gzip files may be.
        let (head, tail) = text.split_at(200);
        let two = [gzip(head), gzip(tail)].concat();
        assert_eq!(
            format::read(&*two, "h", None, None).unwrap().history.len(),
            3
        );
    }

    #[test]
    fn half_a_line_of_a_log_is_no_line_when_its_end_was_cut_off() {
        let text = "0 :invoke :write 17\n0 :ok :write 17\n1 :invoke :read nil\n1 :ok :read 17\n";
        let whole = gzip(text);
        let begin = whole.windows(2).position(|window| window == b"0 ");
        // With its last digit and the newline the last line reads as another value.
        let cut = begin.unwrap() + text.len() - 2;
        let (loaded, why) = early(&whole[..cut], Format::JepsenTxt);
        assert!(why.starts_with("h:4:"), "{why}");
        let read = |loaded: &Loaded| loaded.history.operations().nth(1).unwrap().completed;
        assert_eq!(read(&loaded), None);
        // Not compressed, a last line without a newline is one.
        let plain = format::read(text.trim_end().as_bytes(), "h", None, None).unwrap();
        assert!(read(&plain).is_some());
    }

    #[test]
    fn a_zstd_that_is_cut_off_gives_what_it_has() {
        let mut text = jsonl(20_000);
        text += "\n";
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        let (loaded, why) = early(&packed[..packed.len() - 10], Format::Jsonl);
        assert!(why.contains("cut off"), "{why}");
        assert!((1000..20_000).contains(&loaded.history.len()));
    }

    /// A disk that gives these bytes and then an error.
    struct Broken<'a>(&'a [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.is_empty() {
                true => Err(io::Error::from_raw_os_error(5)),
                false => self.0.read(into),
            }
        }
    }

    #[test]
    fn what_a_disk_gave_before_it_failed_counts_and_the_failure_is_the_hosts() {
        for packed in [false, true] {
            let text = jsonl(3);
            let bytes = match packed {
                true => gzip(&text),
                false => text.clone().into_bytes(),
            };
            let cut = bytes.len() - 30;
            let input = io::BufReader::new(Broken(&bytes[..cut]));
            let loaded = read_to_its_end(input, "h", None, None).unwrap();
            assert_eq!(loaded.history.len(), 3);
            assert!(matches!(loaded.early, Some(Error::Io { .. })), "{packed}");
            let input = io::BufReader::new(Broken(b""));
            let nothing = read_to_its_end(input, "h", None, None);
            assert!(matches!(nothing, Err(Error::Io { .. })));
        }
    }

    #[test]
    fn a_cut_that_leaves_no_history_says_both() {
        let text = jsonl(3);
        let whole = gzip(&text);
        let begin = whole
            .windows(2)
            .position(|window| window == b"{\"")
            .unwrap();
        let header = read_to_its_end(&whole[..begin + 20], "h", Some(Format::Jsonl), None);
        let error = header.expect_err("half a header").to_string();
        assert!(
            error.contains("header") && error.contains("cut off"),
            "{error}"
        );
        let nothing = read_to_its_end(&whole[..5], "h", None, None);
        let error = nothing.expect_err("nothing").to_string();
        assert_eq!(error, "h:1: the compressed text is cut off here");
    }
}
