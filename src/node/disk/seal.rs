//! The node's own distrust of its disk: a checksum of every page that it has written, looked at whenever the page is
//! read, by redb or by the scrub. A page that comes back otherwise is an error, and so the node's end, never an answer.
//!
//! The checksums live in memory, for as long as the file is open. What was written in an earlier life is checked by
//! redb's own checksums when the file is opened.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{BackendError, StorageBackend};

use super::{DiskFile, PAGE};

/// Pages that one step of the scrub reads.
const SCRUB_PAGES: usize = 256;

/// A file whose pages are known by their checksums.
#[derive(Debug)]
pub(super) struct Sealed {
    file: DiskFile,
    /// The CRC-32 of each whole page that was written since the file was opened, by its number.
    sums: RwLock<BTreeMap<u64, u32>>,
    /// The page at which the scrub goes on.
    next: AtomicU64,
}

/// What redb holds; the file's disk knows it, too.
#[derive(Debug)]
pub(super) struct Handle(pub(super) Arc<Sealed>);

impl Sealed {
    pub(super) fn over(file: DiskFile) -> Sealed {
        Sealed {
            file,
            sums: RwLock::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Reads the next pages that were written, and begins again behind the last one.
    pub(super) fn scrub(&self) -> io::Result<()> {
        let from = self.next.load(Ordering::Relaxed);
        let pages: Vec<u64> = {
            let sums = self.sums.read().expect("no holder panics");
            let numbers = sums.range(from..).map(|(number, _)| *number);
            numbers.take(SCRUB_PAGES).collect()
        };
        let next = match pages.last() {
            Some(last) if pages.len() == SCRUB_PAGES => last + 1,
            _ => 0,
        };
        self.next.store(next, Ordering::Relaxed);
        let mut page = [0; PAGE as usize];
        for number in pages {
            let sums = self.sums.read().expect("no holder panics");
            // The file may have become shorter meanwhile.
            if sums.contains_key(&number) {
                self.file.read(number * PAGE, &mut page)?;
                check(&sums, number, &page)?;
            }
        }
        Ok(())
    }

    /// Reads whole pages around what is wanted, and checks those that are known.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let sums = self.sums.read().expect("no holder panics");
        let end = offset + out.len() as u64;
        let (first, behind) = (offset / PAGE, end.div_ceil(PAGE));
        if sums.range(first..behind).next().is_none() {
            return self.file.read(offset, out);
        }
        let from = first * PAGE;
        let to = (behind * PAGE).min(self.file.len()?.max(end));
        let mut pages = vec![0; (to - from) as usize];
        self.file.read(from, &mut pages)?;
        for (number, page) in (first..).zip(pages.chunks(PAGE as usize)) {
            check(&sums, number, page)?;
        }
        let within = (offset - from) as usize;
        out.copy_from_slice(&pages[within..within + out.len()]);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut sums = self.sums.write().expect("no holder panics");
        let mut written = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let position = offset + at as u64;
            let (number, within) = (position / PAGE, (position % PAGE) as usize);
            let part = &data[at..][..(PAGE as usize - within).min(data.len() - at)];
            let sum = if part.len() == PAGE as usize {
                Some(crc32fast::hash(part))
            } else {
                self.patched(&sums, number, within, part)?
            };
            written.push((number, sum));
            at += part.len();
        }
        // Should the write fail half way, nothing is known of what it was for.
        for (number, _) in &written {
            sums.remove(number);
        }
        self.file.write(offset, data)?;
        let known = written.into_iter();
        sums.extend(known.filter_map(|(number, sum)| Some((number, sum?))));
        Ok(())
    }

    /// The checksum of a page of which only a part is written; `None` where the file does not hold a whole page there.
    fn patched(
        &self,
        sums: &BTreeMap<u64, u32>,
        number: u64,
        within: usize,
        part: &[u8],
    ) -> io::Result<Option<u32>> {
        if (number + 1) * PAGE > self.file.len()? {
            return Ok(None);
        }
        let mut page = [0; PAGE as usize];
        self.file.read(number * PAGE, &mut page)?;
        check(sums, number, &page)?;
        page[within..within + part.len()].copy_from_slice(part);
        Ok(Some(crc32fast::hash(&page)))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut sums = self.sums.write().expect("no holder panics");
        // A page that is only partly left, and what grows later, is not what was written.
        sums.split_off(&(length / PAGE));
        self.file.set_len(length)
    }
}

/// A page that is known has to be what was written; of others nothing is known.
fn check(sums: &BTreeMap<u64, u32>, number: u64, page: &[u8]) -> io::Result<()> {
    match sums.get(&number) {
        Some(&sum) if sum != crc32fast::hash(page) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("page {number} of the file is not what was written there"),
        )),
        _ => Ok(()),
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.0.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Disk;
    use super::*;

    fn sealed() -> (tempfile::TempDir, Sealed) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Disk::default().open(&folder.path().join("f"));
        (folder, Sealed::over(file.expect("a new file")))
    }

    fn all(file: &Sealed) -> io::Result<Vec<u8>> {
        let mut out = vec![0; file.file.len()? as usize];
        file.read(0, &mut out).map(|()| out)
    }

    #[test]
    fn what_was_written_is_read_wherever_it_begins_and_ends() {
        let (_folder, file) = sealed();
        file.set_len(3 * PAGE).unwrap();
        let mut expected = vec![0; 3 * PAGE as usize];
        for (offset, length, byte) in [
            (0, 320, 1),
            (4_000, 200, 2),
            (4_096, 4_096, 3),
            (9_000, 7, 4),
        ] {
            file.write(offset as u64, &vec![byte; length]).unwrap();
            expected[offset..offset + length].fill(byte);
            assert_eq!(all(&file).unwrap(), expected);
            let mut part = [9; 100];
            file.read(4_050, &mut part).unwrap();
            assert_eq!(part, expected[4_050..4_150]);
            file.scrub().unwrap();
        }
        file.set_len(PAGE).unwrap();
        file.set_len(2 * PAGE).unwrap();
        expected.truncate(2 * PAGE as usize);
        expected[PAGE as usize..].fill(0);
        assert_eq!(all(&file).unwrap(), expected);
    }

    #[test]
    fn a_bit_that_changed_in_the_file_is_an_error_of_the_read_and_of_the_scrub() {
        let (folder, file) = sealed();
        file.set_len(2 * PAGE).unwrap();
        file.write(0, &[7; 2 * PAGE as usize]).unwrap();
        let path = folder.path().join("f");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[5_000] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let mut out = [0; 10];
        file.read(100, &mut out).unwrap();
        let noticed = file.read(4_096, &mut out).unwrap_err();
        assert_eq!(noticed.kind(), io::ErrorKind::InvalidData);
        assert!(file.scrub().unwrap_err().to_string().contains("page 1"));
        assert!(
            file.write(4_100, b"beside").is_err(),
            "nor is it built upon"
        );
    }

    #[test]
    fn an_older_page_in_the_place_of_the_one_that_was_written_is_noticed() {
        let (folder, file) = sealed();
        file.set_len(PAGE).unwrap();
        file.write(0, &[6; PAGE as usize]).unwrap();
        let path = folder.path().join("f");
        let older = std::fs::read(&path).unwrap();
        file.write(0, &[7; PAGE as usize]).unwrap();
        assert_eq!(all(&file).unwrap(), [7; PAGE as usize]);
        std::fs::write(&path, older).unwrap();
        assert!(all(&file).is_err());
        assert!(file.scrub().is_err());
    }
}
