//! What folders lose if the power fails now: names made, moved and removed since their folder was synced.
//!
//! A change of names keeps what each name stood for before, not the call. Setting the names back is then right whether
//! the call succeeded, failed or never came to be. A move has two names and is one change: file systems journal it as one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::{Key, store};

/// What a name stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Was {
    Nothing,
    Folder(Key),
    /// A file, a symbolic link, ...; `kept`: the number of the hard link that keeps it, where the call may destroy it.
    Other {
        key: Key,
        kept: Option<u64>,
    },
}

impl Was {
    fn folder(&self) -> Option<Key> {
        if let Self::Folder(key) = self {
            Some(*key)
        } else {
            None
        }
    }

    fn key(&self) -> Option<Key> {
        match self {
            Self::Nothing => None,
            Self::Folder(key) | Self::Other { key, .. } => Some(*key),
        }
    }
}

#[derive(Clone, Debug)]
struct Slot {
    folder: Key,
    name: OsString,
    was: Was,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Destroys {
    This,
    No,
}

impl Slot {
    fn is(&self, other: &Self) -> bool {
        self.folder == other.folder && self.name == other.name
    }
}

/// What a change made that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Makes {
    Nothing,
    /// Something, but the call may still be on its way: which, a look at the name will say.
    NotSeen,
    This(Key),
}

#[derive(Debug)]
struct Change {
    seq: u64,
    slots: Vec<Slot>,
    makes: Makes,
    /// The folder that it removes.
    removes: Option<Key>,
    moves_folder: bool,
    /// A sync of it failed, so no later one writes it.
    failed: bool,
}

impl Change {
    fn new(seq: u64, slots: Vec<Slot>, makes: Makes) -> Self {
        Self {
            seq,
            slots,
            makes,
            removes: None,
            moves_folder: false,
            failed: false,
        }
    }

    fn is_in(&self, folder: Key) -> bool {
        self.slots.iter().any(|slot| slot.folder == folder)
    }

    fn is_reached(&self, reach: Reach) -> bool {
        match reach {
            Reach::All => true,
            Reach::File(key) => self.makes == Makes::This(key),
            Reach::Folder(key) => self.makes == Makes::This(key) || self.is_in(key),
        }
    }

    /// Whether undoing `older` would take away what this change, being durable, promises.
    fn needs(&self, older: &Self) -> bool {
        let same_name = self
            .slots
            .iter()
            .any(|slot| older.slots.iter().any(|old| old.is(slot)));
        let made_our_folder = matches!(older.makes, Makes::This(key) if self.is_in(key));
        let in_what_we_removed = self.removes.is_some_and(|key| older.is_in(key));
        // Out of order, two moves of folders could leave each inside the other.
        let both_move_folders = self.moves_folder && older.moves_folder;
        same_name || made_our_folder || in_what_we_removed || both_move_folders
    }
}

#[derive(Debug)]
struct Folder {
    /// Opened for its path only; at a power loss a removed folder is made anew and opened in its place.
    fd: OwnedFd,
    mode: Mode,
}

/// Which names a sync makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of this folder, and the folder's own name where it is new.
    Folder(Key),
    /// The name of this file, where it is new (as ext4, XFS and Btrfs do).
    File(Key),
    All,
}

/// The changes of names in one file system, oldest first.
#[derive(Debug)]
pub(super) struct Names {
    folders: BTreeMap<Key, Folder>,
    changes: Vec<Change>,
    store: OwnedFd,
}

impl Names {
    pub(super) fn new(store: OwnedFd) -> Self {
        Self {
            folders: BTreeMap::new(),
            changes: Vec::new(),
            store,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Before a call makes `name`, which does not stand for anything.
    pub(super) fn before_create(
        &mut self,
        seq: u64,
        folder: BorrowedFd,
        name: &OsStr,
    ) -> io::Result<()> {
        let slot = self.slot(seq, folder, name, Destroys::No)?;
        self.push(Change::new(seq, vec![slot], Makes::NotSeen));
        Ok(())
    }

    /// Before a call gives a file one more name.
    pub(super) fn before_link(
        &mut self,
        seq: u64,
        folder: BorrowedFd,
        name: &OsStr,
    ) -> io::Result<()> {
        let slot = self.slot(seq, folder, name, Destroys::No)?;
        self.push(Change::new(seq, vec![slot], Makes::Nothing));
        Ok(())
    }

    /// The call of this number made `key`.
    pub(super) fn created(&mut self, seq: u64, key: Key) {
        self.changes
            .iter_mut()
            .filter(|change| change.seq == seq)
            .for_each(|change| change.makes = Makes::This(key));
    }

    /// Before `name` is removed, a folder or anything else.
    pub(super) fn before_remove(
        &mut self,
        seq: u64,
        folder: BorrowedFd,
        name: &OsStr,
    ) -> io::Result<()> {
        let slot = self.slot(seq, folder, name, Destroys::This)?;
        if slot.was != Was::Nothing {
            let removes = slot.was.folder();
            self.push(Change {
                removes,
                ..Change::new(seq, vec![slot], Makes::Nothing)
            });
        }
        Ok(())
    }

    /// Before `from` becomes `to`, or, with `exchange`, each the other.
    pub(super) fn before_rename(
        &mut self,
        seq: u64,
        from: (BorrowedFd, &OsStr),
        to: (BorrowedFd, &OsStr),
        exchange: bool,
    ) -> io::Result<()> {
        let old = self.slot(seq, from.0, from.1, Destroys::No)?;
        if old.was == Was::Nothing {
            return Ok(());
        }
        let new = self.slot(
            seq,
            to.0,
            to.1,
            if exchange {
                Destroys::No
            } else {
                Destroys::This
            },
        )?;
        // Two names of one file: the kernel does nothing.
        if old.was.key() == new.was.key() {
            self.release(&new);
            return Ok(());
        }
        let removes = if exchange { None } else { new.was.folder() };
        let moves_folder = old.was.folder().is_some() || (exchange && new.was.folder().is_some());
        self.push(Change {
            removes,
            moves_folder,
            ..Change::new(seq, vec![old, new], Makes::Nothing)
        });
        Ok(())
    }

    /// The call of this number did nothing.
    pub(super) fn failed(&mut self, seq: u64) {
        self.drop_changes(|change| change.seq == seq);
    }

    fn push(&mut self, change: Change) {
        // Whoever takes a name over ends what could still be learnt by looking at it.
        for older in self
            .changes
            .iter_mut()
            .filter(|older| older.makes == Makes::NotSeen)
        {
            if older
                .slots
                .iter()
                .any(|slot| change.slots.iter().any(|new| new.is(slot)))
            {
                older.makes = Makes::Nothing;
            }
        }
        self.changes.push(change);
    }

    fn slot(
        &mut self,
        seq: u64,
        folder: BorrowedFd,
        name: &OsStr,
        destroys: Destroys,
    ) -> io::Result<Slot> {
        let key = self.folder(folder)?;
        self.look();
        let was = match look_at(folder, name)? {
            None => Was::Nothing,
            Some((_, FileType::Directory)) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = rustix::fs::openat(folder, name, flags, Mode::empty())?;
                Was::Folder(self.folder(inner.as_fd())?)
            }
            Some((key, _)) if destroys == Destroys::This => {
                rustix::fs::linkat(
                    folder,
                    name,
                    &self.store,
                    store::kept(seq),
                    AtFlags::empty(),
                )?;
                Was::Other {
                    key,
                    kept: Some(seq),
                }
            }
            Some((key, _)) => Was::Other { key, kept: None },
        };
        Ok(Slot {
            folder: key,
            name: name.to_owned(),
            was,
        })
    }

    /// Remembers a folder, so that it can be reached whatever it is called later.
    fn folder(&mut self, fd: BorrowedFd) -> io::Result<Key> {
        let stat = rustix::fs::fstat(fd)?;
        let key = Key::of(&stat);
        if let std::collections::btree_map::Entry::Vacant(entry) = self.folders.entry(key) {
            entry.insert(Folder {
                fd: fd.try_clone_to_owned()?,
                mode: Mode::from_raw_mode(stat.st_mode),
            });
        }
        Ok(key)
    }

    /// Learns what new names stand for, as soon as they do.
    fn look(&mut self) {
        for change in self
            .changes
            .iter_mut()
            .filter(|change| change.makes == Makes::NotSeen)
        {
            let slot = &change.slots[0];
            let seen = self
                .folders
                .get(&slot.folder)
                .and_then(|folder| look_at(folder.fd.as_fd(), &slot.name).ok());
            if let Some(Some((key, _))) = seen {
                change.makes = Makes::This(key);
            }
        }
    }

    /// A sync that began after change `upto` succeeded. Returns what has no name on the disk any more.
    pub(super) fn synced(&mut self, reach: Reach, upto: u64) -> Vec<Key> {
        self.look();
        let mut durable: Vec<bool> = self
            .changes
            .iter()
            .map(|change| change.seq <= upto && !change.failed && change.is_reached(reach))
            .collect();
        self.close(&mut durable);
        let mut flags = durable.iter();
        let gone = self.drop_changes(|_| *flags.next().expect("a flag for each change"));
        if self.changes.is_empty() {
            self.folders.clear();
        }
        gone
    }

    /// What must be durable because something newer is: a journal is written in order, and undoing these would take
    /// away what was promised.
    fn close(&self, durable: &mut [bool]) {
        for newer in (0..durable.len()).rev() {
            if !durable[newer] {
                continue;
            }
            for (older, durable) in durable[..newer].iter_mut().enumerate() {
                *durable |= self.changes[newer].needs(&self.changes[older]);
            }
        }
    }

    fn drop_changes(&mut self, mut which: impl FnMut(&Change) -> bool) -> Vec<Key> {
        let (gone, left) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| which(change));
        self.changes = left;
        let slots: Vec<Slot> = gone
            .into_iter()
            .flat_map(|change: Change| change.slots)
            .collect();
        slots.iter().filter_map(|slot| self.release(slot)).collect()
    }

    /// Lets go what was kept for a name.
    fn release(&self, slot: &Slot) -> Option<Key> {
        let Was::Other {
            key,
            kept: Some(kept),
        } = slot.was
        else {
            return None;
        };
        // Whatever is wrong with the store, the next power loss empties it.
        rustix::fs::unlinkat(&self.store, store::kept(kept), AtFlags::empty()).ok();
        Some(key)
    }

    /// A sync that began after change `upto` failed.
    pub(super) fn sync_failed(&mut self, reach: Reach, upto: u64) {
        self.look();
        for change in self.changes.iter_mut().filter(|change| change.seq <= upto) {
            change.failed |= change.is_reached(reach);
        }
    }

    /// The power fails: all changes but the oldest `stay` are undone.
    ///
    /// # Errors
    /// Where a name could not be set back. The folder is then neither one nor the other.
    pub(super) fn undo(&mut self, stay: usize) -> io::Result<()> {
        let mut made_anew = BTreeMap::new();
        for change in std::mem::take(&mut self.changes).drain(stay..).rev() {
            let mut wrong = Vec::new();
            for slot in &change.slots {
                let fd = self.fd(slot.folder)?;
                let stands =
                    look_at(fd, &slot.name)?.map(|(key, _)| *made_anew.get(&key).unwrap_or(&key));
                if stands == slot.was.key() {
                    continue;
                }
                if let Some(key) = stands {
                    self.put_aside(fd, &slot.name, key)?;
                }
                wrong.push(slot);
            }
            for slot in wrong {
                self.put_back(slot, &mut made_anew)?;
            }
        }
        self.folders.clear();
        store::empty(&self.store)
    }

    fn fd(&self, folder: Key) -> io::Result<BorrowedFd<'_>> {
        let missing = || io::Error::other("a folder whose names changed is not known");
        Ok(self.folders.get(&folder).ok_or_else(missing)?.fd.as_fd())
    }

    fn put_aside(&self, folder: BorrowedFd, name: &OsStr, key: Key) -> io::Result<()> {
        // Renaming one name of a file over another does nothing: then the second is taken away.
        if look_at(self.store.as_fd(), OsStr::new(&store::aside(key)))?.is_some() {
            return Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?);
        }
        Ok(rustix::fs::renameat(
            folder,
            name,
            &self.store,
            store::aside(key),
        )?)
    }

    fn put_back(&mut self, slot: &Slot, made_anew: &mut BTreeMap<Key, Key>) -> io::Result<()> {
        let Some(key) = slot.was.key() else {
            return Ok(());
        };
        let aside = store::aside(key);
        if look_at(self.store.as_fd(), OsStr::new(&aside))?.is_some() {
            return Ok(rustix::fs::renameat(
                &self.store,
                aside,
                self.fd(slot.folder)?,
                &slot.name,
            )?);
        }
        match slot.was {
            Was::Nothing => Ok(()),
            Was::Other {
                kept: Some(kept), ..
            } => {
                let fd = self.fd(slot.folder)?;
                Ok(rustix::fs::linkat(
                    &self.store,
                    store::kept(kept),
                    fd,
                    &slot.name,
                    AtFlags::empty(),
                )?)
            }
            Was::Other { kept: None, .. } => Err(io::Error::other(format!(
                "{} was moved, and is not where it was moved to",
                slot.name.display()
            ))),
            Was::Folder(key) => {
                let parent = self.fd(slot.folder)?;
                rustix::fs::mkdirat(parent, &slot.name, Mode::RWXU)?;
                if let Some(folder) = self.folders.get(&key) {
                    rustix::fs::chmodat(parent, &slot.name, folder.mode, AtFlags::empty())?;
                }
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(parent, &slot.name, flags, Mode::empty())?;
                made_anew.insert(Key::of(&rustix::fs::fstat(&fd)?), key);
                if let Some(folder) = self.folders.get_mut(&key) {
                    folder.fd = fd;
                }
                Ok(())
            }
        }
    }
}

/// What a name stands for, without following it; `None` where nothing does.
fn look_at(folder: BorrowedFd, name: &OsStr) -> io::Result<Option<(Key, FileType)>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some((
            Key::of(&stat),
            FileType::from_raw_mode(stat.st_mode),
        ))),
        // A folder that was removed has no names either.
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
