//! Sees what a disk does: writes, syncs and reads a file of its own on it, the way in which log and state do.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use redb::StorageBackend;

use super::{Disk, PAGE};

/// Pages of the probe's file.
const PAGES: u64 = 16;
/// A sync that has not ended after this is held.
const HELD_AFTER: Duration = Duration::from_millis(25);

/// What a file of its own met on this disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Bytes that were in the file before the sync, of [`Probe::BYTES`].
    pub(crate) early_bytes: u64,
    /// The same after the sync.
    pub(crate) synced_bytes: u64,
    /// How long the sync took; `None`: it is held.
    pub(crate) sync: Option<Duration>,
    /// What the sync, and before it the growth of the file, failed with.
    pub(crate) write_error: String,
    /// What reading failed with.
    pub(crate) read_error: String,
    /// Whether what was read was what had been written.
    pub(crate) read_right: bool,
}

impl Probe {
    /// What is written.
    pub(crate) const BYTES: u64 = PAGES * PAGE;
}

impl Disk {
    /// Tries this disk on a new file at `path`, which is gone afterwards. Takes as long as a sync does now.
    ///
    /// # Errors
    /// When the file cannot be made or removed.
    pub(crate) fn probe(&self, path: &Path) -> io::Result<Probe> {
        // A kill in the middle of a probe leaves one behind.
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = self.open(path)?;
        file.is_probe = true;
        let file = std::sync::Arc::new(file);
        let mut seen = Probe::default();
        let written = vec![0xa5; Probe::BYTES as usize];
        // One write for each page, as redb does it.
        let pages = written.chunks(PAGE as usize).enumerate();
        let grown = file.set_len(Probe::BYTES).and_then(|()| {
            let mut each = pages.map(|(at, page)| file.write(at as u64 * PAGE, page));
            each.try_for_each(|page| page)
        });
        seen.early_bytes = in_file(path)?;
        match grown {
            Err(error) => seen.write_error = error.to_string(),
            Ok(()) => {
                let (done, wait) = std::sync::mpsc::channel();
                let (syncing, began) = (file.clone(), Instant::now());
                let hold = self.harm().hold_sync;
                let sync = std::thread::Builder::new().name("disk-probe".to_owned());
                sync.spawn(move || {
                    // A probe that has ended was not waited for.
                    let _ = done.send((syncing.sync_data(), began.elapsed()));
                })?;
                let ended = match hold {
                    true => wait.recv_timeout(HELD_AFTER).ok(),
                    false => wait.recv().ok(),
                };
                match ended {
                    Some((Ok(()), took)) => seen.sync = Some(took),
                    Some((Err(error), took)) => {
                        seen.sync = Some(took);
                        seen.write_error = error.to_string();
                    }
                    None => {}
                }
            }
        }
        seen.synced_bytes = in_file(path)?;
        let mut read = vec![0; written.len()];
        match file.read(0, &mut read) {
            Ok(()) => seen.read_right = read == written,
            Err(error) => seen.read_error = error.to_string(),
        }
        std::fs::remove_file(path)?;
        Ok(seen)
    }
}

/// How many of the bytes that were written are in the file itself.
fn in_file(path: &Path) -> io::Result<u64> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.iter().filter(|&&byte| byte == 0xa5).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::Harm;
    use super::*;

    fn probe(harm: Harm) -> Probe {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        disk.set(harm).unwrap();
        let seen = disk.probe(&folder.path().join("probe")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // A held sync goes on, and ends its thread.
        disk.set(Harm::default()).unwrap();
        seen
    }

    #[test]
    fn a_probe_tells_every_harm_from_a_whole_disk() {
        let whole = probe(Harm::default());
        let all = Probe::BYTES;
        assert_eq!((whole.early_bytes, whole.synced_bytes), (all, all));
        assert!(whole.read_right && whole.write_error.is_empty() && whole.sync.is_some());

        let losing = Harm {
            lose_unsynced: true,
            ..Harm::default()
        };
        let seen = probe(losing);
        assert_eq!((seen.early_bytes, seen.synced_bytes), (0, all));
        let seen = probe(Harm {
            write_back_per_mille: 500,
            ..losing
        });
        assert!(0 < seen.early_bytes && seen.early_bytes < all && seen.synced_bytes == all);
        let seen = probe(Harm {
            write_back_per_mille: 1_000,
            torn: true,
            ..losing
        });
        assert!(0 < seen.early_bytes && seen.early_bytes < all && seen.synced_bytes == all);

        let with = |set: fn(&mut Harm)| {
            let mut harm = Harm::default();
            set(&mut harm);
            probe(harm)
        };
        let slow = with(|harm| harm.slow_sync = Duration::from_millis(30));
        assert!(slow.sync >= Some(Duration::from_millis(30)));
        let lying = with(|harm| harm.lying_sync = true);
        assert!(lying.synced_bytes == 0 && lying.sync.is_some() && lying.read_right);
        assert!(!with(|harm| harm.sync_fails = true).write_error.is_empty());
        assert!(!with(|harm| harm.full = true).write_error.is_empty());
        assert!(!with(|harm| harm.read_fails = true).read_error.is_empty());
        assert_eq!(with(|harm| harm.hold_sync = true).sync, None);
        let flips = with(|harm| harm.flip_reads = true);
        assert!(flips.read_error.is_empty() && !flips.read_right);
    }
}
