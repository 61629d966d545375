//! What can be wrong with a disk, as data, and what was met of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What a sync meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncHarm {
    /// Nothing: it takes the disk's usual time and succeeds.
    #[default]
    None,
    /// It takes so much longer.
    Slow(Duration),
    /// It does not end before it is let go ([`Disk::let_go`](super::Disk::let_go)).
    Held,
    /// The next one fails with `EIO`, those after it succeed, as Linux has it: what failed is not written any more.
    FailOnce,
    /// Each fails with `EIO`.
    Fail,
    /// It says that it succeeded, and nothing is durable.
    Lie,
}

/// A disk without room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Files can still grow by so many bytes, taken together.
    pub left: u64,
    /// Which limit it is.
    pub limit: Limit,
}

/// Which limit a full disk has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `ENOSPC`.
    Space,
    /// `EDQUOT`.
    Quota,
}

/// All that is wrong with a disk now. The default: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harms {
    /// What syncs meet, synchronous writes at their end too.
    pub sync: SyncHarm,
    /// Whether what grows a file fails.
    pub full: Option<Full>,
    /// Each so-manieth write of more than one byte writes half of it; 0 for none.
    pub short_writes: u64,
    /// Reads fail with `EIO`. Only where the disk was told at its start that this may come
    /// ([`Settings::reads`](super::Settings::reads)).
    pub reads_fail: bool,
    /// Each read gives one bit that is not the one on the disk. Only where the disk was told so, too.
    pub reads_flip: bool,
}

/// How often calls met a harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Syncs that took longer.
    pub slow: u64,
    /// Syncs that were held.
    pub held: u64,
    /// Syncs that failed.
    pub failed: u64,
    /// Syncs that lied.
    pub lied: u64,
    /// Calls that found no room.
    pub full: u64,
    /// Writes that wrote less than they were asked for.
    pub short: u64,
    /// Reads that failed.
    pub reads: u64,
    /// Reads that gave a wrong bit.
    pub flipped: u64,
}

/// How a disk is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Bytes written and not synced (each as often as it was written).
    pub unsynced_bytes: u64,
    /// Names made, moved or removed and not synced.
    pub unsynced_names: usize,
    /// Syncs that have ended, however.
    pub syncs: u64,
    /// Syncs that are under way.
    pub syncs_under_way: usize,
    /// Calls that met a harm.
    pub met: Met,
    /// Files outside of the folder that were written to, with how often: the first 64 of them.
    pub outside: BTreeMap<PathBuf, u64>,
    /// Why a power loss would not be exact; none where it is offered.
    pub limits: Vec<String>,
}
