//! A file of lines that grows while a run goes on, and outlives a moment in which nothing can be written.
//!
//! What cannot be written waits in memory, in its order, and goes into the file when there is room: a line that was begun
//! is completed from where it stopped, before another one follows. The room in memory is bounded. Where that is full, too,
//! lines are lost, and one line in their place says how many: the *gap*.
//!
//! ```text
//!   push ──▶ file                                        as long as it can be written
//!   push ──▶ waiting ──▶ file                            later, in the same order
//!   push ──▶ lost: counted ──▶ one line for all of them  where too much waits
//! ```
//!
//! A line that waits is not in the file: `kill -9` loses what waits, and nothing else.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

/// At most so many bytes go into one write.
const PIECE: usize = 1 << 20;

/// Writes the line that stands for so many lost ones, the first of which had this tag.
pub(crate) type GapLine<T> = fn(first: &T, lost: u64, line: &mut Vec<u8>);

/// A file that is appended to. Each line comes with a tag, by which its gap would be named.
#[derive(Debug)]
pub(crate) struct Lines<T, F = File> {
    file: F,
    /// What waits, from `begun` on; before that it is in the file.
    waiting: Vec<u8>,
    begun: usize,
    /// Bytes that may wait.
    most: usize,
    gap_line: GapLine<T>,
    /// The first of the lines that are being lost, and how many they are by now.
    gap: Option<(T, u64)>,
    lost: u64,
    trouble: Option<io::Error>,
}

impl<T, F: Write> Lines<T, F> {
    /// Appends to this file, and lets at most so many bytes wait.
    pub(crate) fn new(file: F, most: usize, gap_line: GapLine<T>) -> Lines<T, F> {
        Lines {
            file,
            waiting: Vec::new(),
            begun: 0,
            most,
            gap_line,
            gap: None,
            lost: 0,
            trouble: None,
        }
    }

    /// Appends a whole line, its end included: into the file, or to what waits, or to what is lost.
    pub(crate) fn push(&mut self, tag: T, line: &[u8]) {
        if self.waiting.is_empty() && self.gap.is_none() {
            let written = self.write(line);
            self.waiting.extend_from_slice(&line[written..]);
            return;
        }
        self.flush();
        if let Some((_, lost)) = &mut self.gap {
            *lost += 1;
            self.lost += 1;
        } else if self.waits() + line.len() > self.most {
            self.gap = Some((tag, 1));
            self.lost += 1;
        } else {
            self.waiting.extend_from_slice(line);
            self.flush();
        }
    }

    /// Writes what waits, as far as that can be done now.
    pub(crate) fn flush(&mut self) {
        self.drain();
        // Not at the first byte of room, or every second line would be a gap.
        if self.waits() <= self.most / 2
            && let Some((first, lost)) = self.gap.take()
        {
            (self.gap_line)(&first, lost, &mut self.waiting);
            self.drain();
        }
    }

    /// Bytes that are not in the file yet.
    pub(crate) fn waits(&self) -> usize {
        self.waiting.len() - self.begun
    }

    /// Lines that never will be.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Why something waits or was lost; what is over and cost nothing is no trouble.
    pub(crate) fn trouble(&self) -> Option<&io::Error> {
        let troubled = self.waits() > 0 || self.lost > 0;
        self.trouble.as_ref().filter(|_| troubled)
    }

    fn drain(&mut self) {
        while self.begun < self.waiting.len() {
            let end = self.waiting.len().min(self.begun + PIECE);
            // The borrow of what waits ends before the count changes.
            let piece = std::mem::take(&mut self.waiting);
            let written = self.write(&piece[self.begun..end]);
            self.waiting = piece;
            self.begun += written;
            if self.begun < end {
                return;
            }
        }
        self.waiting.clear();
        self.begun = 0;
    }

    /// Writes as much as can be written; gives how much that was.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => {
                    self.trouble = Some(ErrorKind::WriteZero.into());
                    break;
                }
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.trouble = Some(error);
                    break;
                }
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    #[derive(Debug, Default)]
    struct Disk {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::Error::from_raw_os_error(28));
            }
            self.room -= count;
            self.text.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gap(first: &u64, lost: u64, line: &mut Vec<u8>) {
        line.extend_from_slice(format!("gap {first} {lost}\n").as_bytes());
    }

    fn lines(room: usize, most: usize) -> Lines<u64, Disk> {
        let disk = Disk {
            room,
            ..Disk::default()
        };
        Lines::new(disk, most, gap)
    }

    fn push(lines: &mut Lines<u64, Disk>, numbers: std::ops::Range<u64>) {
        for number in numbers {
            lines.push(number, format!("line {number}\n").as_bytes());
        }
    }

    fn text(lines: &Lines<u64, Disk>) -> String {
        String::from_utf8(lines.file.text.clone()).unwrap()
    }

    fn whole(numbers: std::ops::Range<u64>) -> String {
        numbers.map(|number| format!("line {number}\n")).collect()
    }

    #[test]
    fn a_moment_without_space_loses_nothing_wherever_it_cuts_a_line() {
        for room in 0..40 {
            let mut lines = lines(room, 1_000);
            push(&mut lines, 1..6);
            assert_eq!(text(&lines), whole(1..6)[..room.min(35)], "{room}");
            assert_eq!(lines.trouble().is_some(), room < 35);
            lines.file.room = 1_000;
            push(&mut lines, 6..9);
            assert_eq!(text(&lines), whole(1..9), "{room}");
            assert!(lines.waits() == 0 && lines.lost() == 0 && lines.trouble().is_none());
        }
    }

    #[test]
    fn what_waits_is_written_without_another_line() {
        let mut lines = lines(3, 1_000);
        push(&mut lines, 1..4);
        lines.file.room = 10;
        lines.flush();
        assert_eq!(text(&lines), whole(1..4)[..13]);
        lines.file.room = 1_000;
        lines.flush();
        assert_eq!(text(&lines), whole(1..4));
    }

    #[test]
    fn where_too_much_waits_one_line_says_how_many_are_lost_and_which_was_the_first() {
        // Four lines of seven bytes may wait, and a part of one.
        let mut lines = lines(3, 30);
        push(&mut lines, 1..8);
        assert_eq!(lines.lost(), 3, "5, 6 and 7");
        assert_eq!(text(&lines), "lin");
        // A little room is no end of the gap.
        lines.file.room = 5;
        push(&mut lines, 8..9);
        assert_eq!(lines.lost(), 4);
        lines.file.room = 1_000;
        push(&mut lines, 9..11);
        let told = format!("{}gap 5 4\n{}", whole(1..5), whole(9..11));
        assert_eq!(text(&lines), told);
        assert_eq!(lines.trouble().unwrap().raw_os_error(), Some(28));
    }

    #[test]
    fn the_gap_is_told_without_another_line_too() {
        let mut lines = lines(0, 7);
        push(&mut lines, 1..4);
        lines.file.room = 1_000;
        lines.flush();
        assert_eq!(text(&lines), format!("{}gap 2 2\n", whole(1..2)));
    }
}
