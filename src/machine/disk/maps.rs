//! Files mapped into memory, shared and writable: written without a call, so no log can undo it. Noticed, and said.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Disk;
use crate::caller::Caller;
use crate::watcher::Answer;

/// What was seen of mappings.
#[derive(Default)]
pub(super) struct Maps {
    /// A file of the folder is mapped shared, for reading so far, and could be made writable.
    could_be_writable: AtomicBool,
}

impl Disk {
    /// `mmap`, shared.
    pub(super) fn map(&self, caller: &Caller) -> Answer {
        let args = caller.call().args;
        if caller.int(3) & libc::MAP_ANONYMOUS != 0 || !self.is_inside(caller, caller.int(4)) {
            return Answer::Pass;
        }
        let writable = caller
            .open_file(caller.int(4))
            .is_ok_and(|open| open.flags & libc::O_ACCMODE == libc::O_RDWR);
        if writable && args[2] & libc::PROT_WRITE as u64 != 0 {
            if let Ok(path) = caller.target(caller.int(4)) {
                self.mapped(&path);
            }
        } else if writable {
            self.maps.could_be_writable.store(true, Ordering::Relaxed);
        }
        Answer::Pass
    }

    /// `mprotect` to writable.
    pub(super) fn protect(&self, caller: &Caller) -> Answer {
        if !self.maps.could_be_writable.load(Ordering::Relaxed) {
            return Answer::Pass;
        }
        let args = caller.call().args;
        let (from, to) = (args[0], args[0].saturating_add(args[1]));
        let maps = std::fs::read_to_string(caller.proc("maps")).unwrap_or_default();
        for line in maps.lines() {
            let Some((path, begin, end)) = shared(line) else {
                continue;
            };
            let inside = path.starts_with(&self.folder) && !self.is_volatile(path);
            if inside && begin < to && from < end {
                self.mapped(path);
            }
        }
        Answer::Pass
    }

    fn mapped(&self, path: &Path) {
        let name = path.strip_prefix(&self.folder).unwrap_or(path);
        self.limit(format!(
            "it maps {} shared and writable, and what it writes there cannot be seen",
            name.display()
        ));
    }
}

/// File and range of a shared mapping of `/proc/PID/maps` (proc_pid_maps(5)).
fn shared(line: &str) -> Option<(&Path, u64, u64)> {
    let mut parts = line.splitn(6, ' ');
    let (range, rights) = (parts.next()?, parts.next()?);
    let (begin, end) = range.split_once('-')?;
    let path = parts.nth(3)?.trim_start();
    let hex = |number: &str| u64::from_str_radix(number, 16).ok();
    (rights.ends_with('s') && path.starts_with('/')).then_some((
        Path::new(path),
        hex(begin)?,
        hex(end)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_mapping_of_a_file_is_told_from_others() {
        let line = "7f00-7fff r--s 00000000 08:01 1234                       /data/a file";
        assert_eq!(
            shared(line),
            Some((Path::new("/data/a file"), 0x7f00, 0x7fff))
        );
        assert_eq!(shared(&line.replace("r--s", "r--p")), None);
        assert_eq!(shared("7f00-7fff rw-s 00000000 00:00 0 "), None);
    }
}
