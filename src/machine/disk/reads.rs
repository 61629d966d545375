//! Reads of the folder's files, where they fail or give a wrong bit. Otherwise the kernel carries them out.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use super::Disk;
use super::data::{error_reply, vector};
use crate::call::Reply;
use crate::caller::Caller;
use crate::watcher::Answer;

/// At most so many bytes are read at once (bytes): a read may always give fewer.
const MOST: u64 = 16 << 20;

impl Disk {
    /// `read`, `pread64`, `readv`, `preadv`, `preadv2`.
    pub(super) fn read(&self, caller: &Caller) -> Answer {
        let harms = self.harms();
        let wrong = harms.reads_fail || harms.reads_flip;
        if !wrong || !self.is_inside(caller, caller.int(0)) {
            return Answer::Pass;
        }
        if harms.reads_fail {
            self.now().met.reads += 1;
            return Reply::Errno(libc::EIO).into();
        }
        match self.read_wrong(caller) {
            Ok(Some(read)) => Reply::Value(read).into(),
            Ok(None) => Answer::Pass,
            Err(error) => error_reply(&error).into(),
        }
    }

    /// Carries the read out, and gives the program one bit that was not read; `None`: the kernel is to do it.
    fn read_wrong(&self, caller: &Caller) -> io::Result<Option<i64>> {
        let args = caller.call().args;
        let pieces = match caller.call().nr {
            libc::SYS_read | libc::SYS_pread64 => Some(vec![(args[1], args[2])]),
            _ => vector(caller),
        };
        let (Some(pieces), Ok(file)) = (pieces, caller.take(caller.int(0))) else {
            return Ok(None);
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let asked = pieces
            .iter()
            .fold(0u64, |sum, piece| sum.saturating_add(piece.1))
            .min(MOST);
        let mut bytes = vec![0; usize::try_from(asked).unwrap_or_default()];
        let read = read(caller, &file, &mut bytes)?;
        if read == 0 {
            return Ok(Some(0));
        }
        let bytes = &mut bytes[..read];
        let bit = {
            let mut now = self.now();
            now.met.flipped += 1;
            // Another one each time, and the same ones in each run.
            now.met.flipped.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (8 * read as u64)
        };
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        let mut rest = &*bytes;
        for (at, length) in pieces {
            let (part, behind) = rest.split_at(rest.len().min(length as usize));
            if !part.is_empty() {
                caller.write(at, part)?;
            }
            rest = behind;
        }
        Ok(Some(read as i64))
    }
}

/// Reads where the call says: at the open file's position, which moves on, or at its fourth argument.
fn read(caller: &Caller, file: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
    let at = caller.call().args[3];
    let by_position = match caller.call().nr {
        libc::SYS_read | libc::SYS_readv => true,
        libc::SYS_preadv2 => at == u64::MAX,
        _ => false,
    };
    Ok(match by_position {
        true => rustix::io::read(file, into)?,
        false => rustix::io::pread(file, into, at)?,
    })
}
