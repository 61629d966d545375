//! What one file loses if the power fails now: every change since its last sync, with what was there before.
//!
//! A change comes in before the kernel carries it out, because afterwards the old bytes are gone. It leaves when a sync
//! makes it durable, or at a power loss, which puts the old bytes back, newest change first.
//!
//! ```text
//! durable ── write ── write ══ truncate ══ write ── write        ── one version to the next
//!    0         1        2         3          4        5          ══ a cut: no state mixes its two sides
//! ```
//!
//! A shrinking truncate or a punched hole frees blocks: a file system journals it together with the size, so bytes from
//! before it never stand beside bytes from after it. Such a change is a *cut*; between cuts pages are written back in any
//! order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom};

/// The grain of writing back: a page goes to the disk as a whole (bytes).
pub const PAGE: u64 = 4096;
/// The grain of a torn write: a disk writes a sector as a whole (bytes).
pub const SECTOR: u64 = 512;
/// From this many changes on, an append that continues the last one joins it, so that a log that is never synced does
/// not grow the bench's memory without a limit.
const MANY: usize = 4096;
/// From this many bytes on, zeros are punched, not written.
const LONG_HOLE: u64 = 65_536;

/// What a range of a file held.
#[derive(Debug)]
enum Was {
    Bytes(Vec<u8>),
    Zeros(u64),
}

/// One range and what it held.
#[derive(Debug)]
struct Extent {
    at: u64,
    was: Was,
}

impl Extent {
    fn end(&self) -> u64 {
        self.at
            + match &self.was {
                Was::Bytes(bytes) => bytes.len() as u64,
                Was::Zeros(len) => *len,
            }
    }

    /// The part of this extent that lies in `[from, to)`.
    fn part(&self, from: u64, to: u64) -> Option<Self> {
        let (from, to) = (from.max(self.at), to.min(self.end()));
        (from < to).then(|| Self {
            at: from,
            was: match &self.was {
                Was::Bytes(bytes) => {
                    Was::Bytes(bytes[(from - self.at) as usize..(to - self.at) as usize].to_vec())
                }
                Was::Zeros(_) => Was::Zeros(to - from),
            },
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Bytes from here, this many.
    Write { at: u64, len: u64 },
    /// A shrinking truncate, a punched or zeroed range.
    Cut,
    /// The size alone grew to this.
    Grow { size: u64 },
}

/// One change that is not durable.
#[derive(Debug)]
struct Change {
    seq: u64,
    kind: Kind,
    old_size: u64,
    old: Vec<Extent>,
    /// A sync of it failed: no later sync writes it (the page is clean by then), only a newer write of the same page.
    failed: bool,
}

impl Change {
    fn kept(&self) -> u64 {
        let bytes = |extent: &Extent| match &extent.was {
            Was::Bytes(bytes) => bytes.len() as u64,
            Was::Zeros(_) => 0,
        };
        self.old.iter().map(bytes).sum()
    }

    /// Forgets what `[from, to)` held, and that the file was shorter than `size`: this part is durable now.
    fn settle(&mut self, from: u64, to: u64, size: u64) {
        self.old = self
            .old
            .iter()
            .flat_map(|extent| [extent.part(0, from), extent.part(to, u64::MAX)])
            .flatten()
            .collect();
        self.old_size = self.old_size.max(size);
    }
}

/// Which of a file's changes a power loss undoes. The default: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// This many changes stay, the newer ones are undone.
    pub(super) stay: usize,
    /// The final size is the one after this many changes (within the same cuts as `stay`).
    pub(super) size_after: usize,
    /// Pages that lost more than that: (page, changes that stay).
    pub(super) pages: Vec<(u64, usize)>,
    /// The last change that stays is torn: these sectors of it are lost.
    pub(super) lost_sectors: Vec<u64>,
}

/// A file and its changes, oldest first.
#[derive(Debug)]
pub(super) struct FileLog {
    file: File,
    changes: Vec<Change>,
}

impl FileLog {
    /// A log over `file`, a description of our own, open for reading and writing, without `O_APPEND`.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            changes: Vec::new(),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn is_clean(&self) -> bool {
        self.changes.is_empty()
    }

    /// The number of the oldest change.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.changes.first().map(|change| change.seq)
    }

    /// The file's size now (bytes).
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// How many bytes would change at a power loss: those written since, each as often as it was written.
    pub(super) fn unsynced(&self) -> u64 {
        let bytes = |change: &Change| {
            change
                .old
                .iter()
                .map(|extent| extent.end() - extent.at)
                .sum::<u64>()
        };
        self.changes.iter().map(bytes).sum()
    }

    /// Bytes of memory that the old contents take.
    pub(super) fn kept(&self) -> u64 {
        self.changes.iter().map(Change::kept).sum()
    }

    /// Those of the newest change alone.
    pub(super) fn kept_by_last(&self) -> u64 {
        self.changes.last().map_or(0, Change::kept)
    }

    /// Before `len` bytes are written at `at`. `join` allows a long log to join appends, which is wrong while a sync is
    /// under way: the joined change would have begun before it and ended after it.
    pub(super) fn before_write(
        &mut self,
        seq: u64,
        at: u64,
        len: u64,
        join: bool,
    ) -> io::Result<()> {
        let size = self.size()?;
        let end = at.saturating_add(len);
        if join && at == size && self.join_append(seq, at, len) {
            return Ok(());
        }
        let mut old = Vec::new();
        if at < size {
            let mut bytes = vec![0; (end.min(size) - at) as usize];
            self.file.read_exact_at(&mut bytes, at)?;
            old.push(Extent {
                at,
                was: Was::Bytes(bytes),
            });
        }
        if end > size {
            let from = at.max(size);
            old.push(Extent {
                at: from,
                was: Was::Zeros(end - from),
            });
        }
        self.push(seq, Kind::Write { at, len }, size, old);
        Ok(())
    }

    fn join_append(&mut self, seq: u64, from: u64, more: u64) -> bool {
        if self.changes.len() < MANY {
            return false;
        }
        let Some(last) = self.changes.last_mut() else {
            return false;
        };
        let Kind::Write { at, len } = last.kind else {
            return false;
        };
        let [
            Extent {
                at: zeros_at,
                was: Was::Zeros(zeros),
            },
        ] = &mut last.old[..]
        else {
            return false;
        };
        if last.failed || at + len != from || *zeros_at != at || *zeros != len {
            return false;
        }
        *zeros += more;
        last.kind = Kind::Write {
            at,
            len: len + more,
        };
        last.seq = seq;
        true
    }

    /// Before the size becomes `size`.
    pub(super) fn before_resize(&mut self, seq: u64, size: u64) -> io::Result<()> {
        let old_size = self.size()?;
        if size < old_size {
            let old = self.read_sparse(size, old_size)?;
            self.push(seq, Kind::Cut, old_size, old);
        } else if size > old_size {
            self.push(seq, Kind::Grow { size }, old_size, Vec::new());
        }
        Ok(())
    }

    /// Before `[at, at + len)` becomes zeros.
    pub(super) fn before_erase(&mut self, seq: u64, at: u64, len: u64) -> io::Result<()> {
        let size = self.size()?;
        let old = self.read_sparse(at.min(size), at.saturating_add(len).min(size))?;
        self.push(seq, Kind::Cut, size, old);
        Ok(())
    }

    fn push(&mut self, seq: u64, kind: Kind, old_size: u64, old: Vec<Extent>) {
        self.changes.push(Change {
            seq,
            kind,
            old_size,
            old,
            failed: false,
        });
    }

    /// What `[from, to)` holds, its holes as zeros without reading them.
    fn read_sparse(&self, from: u64, to: u64) -> io::Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let mut at = from;
        while at < to {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => data.min(to),
                Err(rustix::io::Errno::NXIO) => to,
                Err(_) => at,
            };
            if data > at {
                extents.push(Extent {
                    at,
                    was: Was::Zeros(data - at),
                });
            }
            if data == to {
                break;
            }
            let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(data))
                .unwrap_or(to)
                .clamp(data + 1, to);
            let mut bytes = vec![0; (hole - data) as usize];
            self.file.read_exact_at(&mut bytes, data)?;
            extents.push(Extent {
                at: data,
                was: Was::Bytes(bytes),
            });
            at = hole;
        }
        Ok(extents)
    }

    /// The write of this number was asked for `asked` bytes and wrote `done` of them.
    pub(super) fn wrote(&mut self, seq: u64, asked: u64, done: u64) {
        let Some(index) = self.changes.iter().rposition(|change| change.seq == seq) else {
            return;
        };
        let change = &mut self.changes[index];
        let Kind::Write { at, len } = &mut change.kind else {
            return;
        };
        *len -= asked - done;
        let (len, end) = (*len, *at + *len);
        if len == 0 {
            self.changes.remove(index);
        } else if done < asked {
            change.old = change
                .old
                .iter()
                .filter_map(|extent| extent.part(0, end))
                .collect();
        }
    }

    /// The call of this number did nothing.
    pub(super) fn failed(&mut self, seq: u64) {
        self.changes.retain(|change| change.seq != seq);
    }

    /// A sync that began after change `upto`, at a file of `size` bytes, succeeded.
    pub(super) fn synced(&mut self, upto: u64, size: u64) {
        self.settle_cuts(upto + 1);
        let (durable, mut left): (Vec<_>, Vec<_>) = self
            .changes
            .drain(..)
            .partition(|change| change.seq <= upto && !change.failed);
        for change in left
            .iter_mut()
            .filter(|change| change.failed && change.seq <= upto)
        {
            let failed_at = change.seq;
            for newer in durable.iter().filter(|newer| newer.seq > failed_at) {
                if let Kind::Grow { size } = newer.kind {
                    change.old_size = change.old_size.max(size);
                }
                for extent in &newer.old {
                    let (from, to) = pages(extent.at, extent.end());
                    change.settle(from, to, to.min(size));
                }
            }
        }
        self.changes = left;
    }

    /// The write of this number was durable when it was answered (`O_DSYNC`, `RWF_DSYNC`): older changes of its pages
    /// must not be undone over it.
    pub(super) fn write_synced(&mut self, seq: u64) {
        let Some(index) = self.changes.iter().rposition(|change| change.seq == seq) else {
            return;
        };
        let write = self.changes.remove(index);
        let Kind::Write { at, len } = write.kind else {
            return;
        };
        self.settle_cuts(seq);
        let size = write.old_size.max(at + len);
        let (from, to) = pages(at, at + len);
        for change in self.changes.iter_mut().filter(|change| change.seq < seq) {
            change.settle(from, to, to.min(size));
        }
    }

    /// A cut older than `before` is in the journal that the sync wrote, and everything older than the cut with it.
    fn settle_cuts(&mut self, before: u64) {
        let cut = self
            .changes
            .iter()
            .rposition(|change| change.seq < before && change.kind == Kind::Cut);
        if let Some(cut) = cut {
            self.changes.drain(..=cut);
        }
    }

    /// A sync that began after change `upto` failed.
    pub(super) fn sync_failed(&mut self, upto: u64) {
        self.changes
            .iter_mut()
            .filter(|change| change.seq <= upto)
            .for_each(|change| change.failed = true);
    }

    /// The synchronous write of this number failed at its sync.
    pub(super) fn write_failed(&mut self, seq: u64) {
        self.changes
            .iter_mut()
            .filter(|change| change.seq == seq)
            .for_each(|change| change.failed = true);
    }

    /// Flips `mask`'s bits of the byte at `at` as the disk holds it: in the file, or, where the byte was overwritten
    /// since the last sync, in what a power loss would bring back.
    ///
    /// # Errors
    /// `InvalidInput` where the disk has no such byte.
    pub(super) fn flip(&mut self, at: u64, mask: u8) -> io::Result<()> {
        let durable_size = self
            .changes
            .first()
            .map_or(self.size()?, |change| change.old_size);
        if at >= durable_size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the disk holds no such byte",
            ));
        }
        for extent in self.changes.iter_mut().flat_map(|change| &mut change.old) {
            if extent.at <= at && at < extent.end() {
                let index = (at - extent.at) as usize;
                if let Was::Zeros(len) = extent.was {
                    extent.was = Was::Bytes(vec![0; len as usize]);
                }
                if let Was::Bytes(bytes) = &mut extent.was {
                    bytes[index] ^= mask;
                }
                return Ok(());
            }
        }
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at)?;
        self.file.write_all_at(&[byte[0] ^ mask], at)
    }

    /// How many changes there are, and between which numbers of changes no cut lies: `(first, last)` for each stretch.
    pub(super) fn stretches(&self) -> Vec<(usize, usize)> {
        let mut stretches = Vec::new();
        let mut first = 0;
        for (index, change) in self.changes.iter().enumerate() {
            if change.kind == Kind::Cut {
                stretches.push((first, index));
                first = index + 1;
            }
        }
        stretches.push((first, self.changes.len()));
        stretches
    }

    /// The pages that the changes `[first, last)` touched, in order.
    pub(super) fn pages_touched(&self, first: usize, last: usize) -> Vec<u64> {
        let mut touched: Vec<u64> = self.changes[first..last]
            .iter()
            .flat_map(|change| &change.old)
            .flat_map(|extent| extent.at / PAGE..extent.end().div_ceil(PAGE))
            .collect();
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// The sectors that the change of this index wrote; none where it is no write.
    pub(super) fn sectors_written(&self, index: usize) -> Vec<u64> {
        let change = &self.changes[index];
        if !matches!(change.kind, Kind::Write { .. }) {
            return Vec::new();
        }
        change
            .old
            .iter()
            .flat_map(|extent| extent.at / SECTOR..extent.end().div_ceil(SECTOR))
            .collect()
    }

    /// The size after so many changes.
    fn size_after(&self, changes: usize) -> io::Result<u64> {
        self.changes
            .get(changes)
            .map_or_else(|| self.size(), |next| Ok(next.old_size))
    }

    /// The power fails: the file becomes what `choice` says, and nothing is unsynced any more.
    ///
    /// # Errors
    /// Where the old bytes could not be written back. The file is then neither one nor the other.
    pub(super) fn undo(&mut self, choice: &Choice) -> io::Result<()> {
        let mut size = self.size_after(choice.size_after)?;
        if let Some(lost) = choice.lost_sectors.last() {
            // A torn write reached as far as its last sector that was written.
            let (index, old_size) = (choice.stay - 1, self.changes[choice.stay - 1].old_size);
            let written = self.sectors_written(index);
            let reached = written
                .iter()
                .rev()
                .find(|sector| !choice.lost_sectors.contains(sector));
            let end = reached.map_or(0, |sector| (sector + 1) * SECTOR);
            if written.last() == Some(lost) {
                size = old_size.max(end.min(size));
            }
        }
        for change in self.changes[choice.stay..].iter().rev() {
            self.put_back(change, 0, size)?;
        }
        for &(page, stay) in &choice.pages {
            for change in self.changes[stay..choice.stay].iter().rev() {
                self.put_back(change, page * PAGE, ((page + 1) * PAGE).min(size))?;
            }
        }
        for sector in &choice.lost_sectors {
            self.put_back(
                &self.changes[choice.stay - 1],
                sector * SECTOR,
                ((sector + 1) * SECTOR).min(size),
            )?;
        }
        self.file.set_len(size)?;
        self.changes.clear();
        Ok(())
    }

    fn put_back(&self, change: &Change, from: u64, to: u64) -> io::Result<()> {
        for extent in change.old.iter().filter_map(|extent| extent.part(from, to)) {
            match &extent.was {
                Was::Bytes(bytes) => self.file.write_all_at(bytes, extent.at)?,
                Was::Zeros(len) => self.erase(extent.at, *len)?,
            }
        }
        Ok(())
    }

    fn erase(&self, at: u64, len: u64) -> io::Result<()> {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if len >= LONG_HOLE && rustix::fs::fallocate(&self.file, punch, at, len).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; len.min(LONG_HOLE) as usize];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(LONG_HOLE);
            self.file.write_all_at(&zeros[..step as usize], at + done)?;
            done += step;
        }
        Ok(())
    }
}

/// `[from, to)` rounded out to whole pages.
fn pages(from: u64, to: u64) -> (u64, u64) {
    (from / PAGE * PAGE, to.div_ceil(PAGE) * PAGE)
}
