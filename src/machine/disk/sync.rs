//! Syncs, and every harm that they can meet: one `match`.
//!
//! ```text
//!  fsync ── begin (what is recorded by now) ── wait: latency, longer, until let go ── end: durable, failed, a lie
//!                     ╰──────────────── state: one more sync under way ────────────────╯
//! ```

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::harm::SyncHarm;
use super::undo::{Sync, Synced, What};
use super::{Disk, Syncs};
use crate::call::Reply;
use crate::caller::Caller;
use crate::watcher::Answer;

/// How often a sync that waits looks whether its program still lives.
const LOOK: Duration = Duration::from_millis(50);

/// What a sync waits for.
enum Until {
    Time(Instant),
    /// Held ones were let go more often than this.
    LetGo(u64),
}

/// What the machine's own disk is asked for, where it is real.
pub(super) enum Real {
    /// `fsync` of this.
    File(OwnedFd),
    /// `fdatasync` of this.
    Data(OwnedFd),
    /// `sync`.
    All,
}

impl Disk {
    /// `fsync`, `fdatasync`: of a file or a folder.
    pub(super) fn sync_one(&self, caller: &Caller) -> Answer {
        let Ok(path) = caller.target(caller.int(0)) else {
            return Answer::Pass;
        };
        if !path.starts_with(&self.folder) || self.is_volatile(&path) {
            return Answer::Pass;
        }
        let Ok(file) = caller.take(caller.int(0)) else {
            return Answer::Pass;
        };
        let sync = self.log().begin_sync(What::Of(file.as_fd()));
        let real = match caller.call().nr {
            libc::SYS_fdatasync => Real::Data(file),
            _ => Real::File(file),
        };
        sync.map_or(Answer::Pass, |sync| {
            self.sync_later(caller, sync, real, Reply::Value(0))
        })
    }

    pub(super) fn sync_file_system(&self, caller: &Caller) -> Answer {
        match caller.target(caller.int(0)) {
            Ok(path) if path.starts_with(&self.folder) => self.sync_all(caller),
            _ => Answer::Pass,
        }
    }

    pub(super) fn sync_all(&self, caller: &Caller) -> Answer {
        let sync = self.log().begin_sync(What::Everything);
        sync.map_or(Answer::Pass, |sync| {
            self.sync_later(caller, sync, Real::All, Reply::Value(0))
        })
    }

    /// Answers with `done` when the sync has ended well.
    pub(super) fn sync_later(
        &self,
        caller: &Caller,
        sync: Sync,
        real: Real,
        done: Reply,
    ) -> Answer {
        let (harm, let_go) = {
            let mut now = self.now();
            let harm = now.harms.sync;
            if harm == SyncHarm::FailOnce {
                now.harms.sync = SyncHarm::None;
            }
            (harm, now.let_go)
        };
        let Some(disk) = self.me.upgrade() else {
            return Answer::Pass;
        };
        let caller = caller.clone();
        // A copy of the program's descriptor keeps its flock(2), also when the program is gone: let go what is not needed.
        let real = (self.syncs == Syncs::Real).then_some(real);
        Answer::later(move || {
            let ended = disk.sync_ends(&caller, harm, let_go, real.as_ref());
            let how = match &ended {
                // Nobody was told that it ended, so nothing was promised.
                _ if caller.is_gone() => Synced::Lied,
                Ok(how) => *how,
                Err(_) => Synced::Failed,
            };
            disk.log().end_sync(sync, how);
            disk.now().syncs += 1;
            match ended {
                Err(error) if how == Synced::Failed => {
                    Reply::Errno(error.raw_os_error().unwrap_or(libc::EIO))
                }
                _ => done,
            }
        })
    }

    /// Waits, and says how the sync ended.
    fn sync_ends(
        &self,
        caller: &Caller,
        harm: SyncHarm,
        let_go: u64,
        real: Option<&Real>,
    ) -> io::Result<Synced> {
        let latency = if let Syncs::Virtual(latency) = self.syncs {
            latency
        } else {
            Duration::ZERO
        };
        let usual = || Until::Time(Instant::now() + latency);
        let really = || {
            match real {
                None => {}
                Some(Real::File(file)) => rustix::fs::fsync(file)?,
                Some(Real::Data(file)) => rustix::fs::fdatasync(file)?,
                Some(Real::All) => rustix::fs::sync(),
            }
            Ok(Synced::Durable)
        };
        match harm {
            SyncHarm::None => {
                self.wait(caller, &usual());
                really()
            }
            SyncHarm::Slow(longer) => {
                self.now().met.slow += 1;
                self.wait(caller, &Until::Time(Instant::now() + latency + longer));
                really()
            }
            SyncHarm::Held => {
                self.now().met.held += 1;
                self.wait(caller, &Until::LetGo(let_go));
                really()
            }
            SyncHarm::FailOnce | SyncHarm::Fail => {
                self.now().met.failed += 1;
                self.wait(caller, &usual());
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            SyncHarm::Lie => {
                self.now().met.lied += 1;
                self.wait(caller, &usual());
                Ok(Synced::Lied)
            }
        }
    }

    fn wait(&self, caller: &Caller, until: &Until) {
        let mut now = self.now();
        loop {
            let left = match until {
                Until::Time(end) => end.saturating_duration_since(Instant::now()),
                Until::LetGo(before) if now.let_go > *before => Duration::ZERO,
                Until::LetGo(_) => LOOK,
            };
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(now, left.min(LOOK));
            now = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            if caller.is_gone() {
                return;
            }
        }
    }
}
