//! What this node's host did not give it: counted for `Metrics`, logged, and kept for the exit code.
//!
//! A connection that could not be made or taken is tried again and only counted. A file that could not be written is the
//! end of the node, and the code that it exits with says why ([`Shortage`]'s table).

use std::{
    collections::HashMap,
    error::Error,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::shortage::{Shortage, TABLE};

/// A shortage is logged once in so long: it comes back with every try.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The counts; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shortages(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    met: [AtomicU64; TABLE.len()],
    /// What the log or the state met first: a database that has met it takes nothing any more.
    on_disk: OnceLock<Shortage>,
    logged: Mutex<Option<Instant>>,
}

impl Shortages {
    /// Counts the shortage that the error names, if it names one; `doing` is what failed.
    pub(crate) fn note(&self, doing: &str, error: &(dyn Error + 'static)) -> Option<Shortage> {
        let found = Shortage::of(error)?;
        let row = TABLE.iter().position(|row| row.shortage == found);
        let row = row.expect("every shortage has its row");
        self.0.met[row].fetch_add(1, Ordering::Relaxed);
        let mut logged = self.0.logged.lock().expect("no holder panics");
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            tracing::warn!("{doing}: the host has {found}");
        }
        Some(found)
    }

    /// The same for a file of the log or the state: what it meets first is what ends the node.
    pub(crate) fn note_on_disk(&self, error: &(dyn Error + 'static)) {
        if let Some(found) = self.note("writing log or state", error) {
            let _ = self.0.on_disk.set(found);
        }
    }

    /// What the log or the state met first.
    pub(crate) fn on_disk(&self) -> Option<Shortage> {
        self.0.on_disk.get().copied()
    }

    /// Those that were met at all, by name.
    pub(crate) fn counts(&self) -> HashMap<String, u64> {
        let counts = self.0.met.iter().map(|count| count.load(Ordering::Relaxed));
        let named = TABLE.iter().map(|row| row.name.to_owned()).zip(counts);
        named.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_is_met_is_counted_by_name_and_only_the_disk_ends_the_node() {
        let shortages = Shortages::default();
        let kernel = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        shortages.note("a call", &kernel(Errno::ADDRNOTAVAIL));
        shortages.note("a call", &kernel(Errno::CONNREFUSED));
        assert_eq!(shortages.on_disk(), None);
        shortages.note_on_disk(&kernel(Errno::IO));
        assert_eq!(shortages.on_disk(), None);
        shortages.note_on_disk(&kernel(Errno::NOSPC));
        shortages.note_on_disk(&kernel(Errno::NOMEM));
        assert_eq!(shortages.on_disk(), Some(Shortage::Space));
        let named = |name: &str| shortages.counts().get(name).copied();
        assert_eq!((named("ports"), named("space")), (Some(1), Some(1)));
        assert_eq!(named("open-files"), None);
    }
}
