//! What is done to a node's disk and clock, by who has them in hand: the host that it runs on. And the counters of a defect
//! that was planted in it, which it tells itself.

use std::time::{Duration, Instant};

use super::{Asked, Ready};

/// Whom to ask for a disk or a clock that goes wrong.
pub trait Switches: Send + Sync {
    /// Harms a node's disk, or makes it whole, and gives what was seen of that.
    fn set_disk<'a>(&'a self, node: &'a Ready, switches: DiskSwitches) -> Asked<'a, DiskProof>;

    /// Looks at a node's disk.
    fn disk<'a>(&'a self, node: &'a Ready) -> Asked<'a, DiskSeen>;

    /// Steps a node's clocks forward and lets them run at `rate` from now on: 1 is as they should, 0 stands still. Gives
    /// what they show then; with the rate that they have and no step it only does that.
    fn set_clock<'a>(&'a self, node: &'a Ready, rate: f64, step: Duration) -> Asked<'a, ClockSeen>;
}

/// Whom to ask how often a node's planted defect was reached and triggered in this life.
pub trait Defects: Send + Sync {
    /// Asks.
    fn counters<'a>(&'a self, node: &'a Ready) -> Asked<'a, DefectCounters>;
}

/// What is wrong with a node's disk; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSwitches {
    /// Every sync takes so much longer.
    pub slow_sync: Duration,
    /// A sync says that it is done, and does nothing. Outside of the fault model.
    pub lying_sync: bool,
    /// Every sync fails with EIO, and what was to be synced is lost.
    pub sync_fails: bool,
    /// No file grows.
    pub full: bool,
    /// Every read fails with EIO.
    pub read_fails: bool,
    /// What is not synced is lost at a SIGKILL; but of so many in a thousand unsynced writes all or a part is kept.
    pub write_back_per_mille: u32,
    /// What is kept of such a write is never all of it: it ends between two sectors.
    pub torn: bool,
    /// A sync that begins does not end before this is taken out.
    pub hold_sync: bool,
    /// Every read gives one bit that was not written. Outside of the fault model.
    pub flip_reads: bool,
}

/// What was seen of a disk that was harmed, or made whole: what the calls of the node's own programs have met since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskProof {
    /// What is wrong with it now.
    pub wrong: DiskSwitches,
    /// Calls that met that since it is. Writing back meets nobody before the power is lost.
    pub met: u64,
    /// Where a bit was flipped: whether the disk now holds another one there than was written.
    pub flipped: bool,
}

impl DiskProof {
    /// Whether all that is wrong with it has been seen to be: at once where nothing is, or where nobody meets it yet. Files
    /// grow when they have to: that a full disk met nobody is told when it ends.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        let DiskSwitches {
            flip_reads,
            write_back_per_mille,
            full,
            ..
        } = self.wrong;
        let met = self.met > 0 || write_back_per_mille > 0 || flip_reads || full;
        (met || self.wrong == DiskSwitches::default()) && (self.flipped || !flip_reads)
    }
}

/// What a node's disk has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSeen {
    /// Bytes that were written and are only in memory now.
    pub unsynced_bytes: u64,
    /// Syncs since the child's start.
    pub syncs: u64,
    /// Syncs that have begun and not ended.
    pub syncing: u64,
    /// Operations that met a harm since the child's start.
    pub harmed: u64,
}

/// How often a planted defect had its chance, and took it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefectCounters {
    /// Its name; empty: none is planted.
    pub defect: String,
    /// The planted line ran.
    pub reached: u64,
    /// The bad fact was true.
    pub triggered: u64,
}

/// What a node's clock showed, at some instant between these two of the bench's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockSeen {
    /// When it was asked.
    pub asked: Instant,
    /// When the answer came.
    pub heard: Instant,
    /// What it showed, since some instant of its own.
    pub shows: Duration,
    /// How fast it says that it runs; 1 is as it should.
    pub rate: f64,
}

impl ClockSeen {
    /// Whether the clock, which showed this, can show `later` if it ran at `rate` since then and stepped by `step`
    /// beside; both bounds come from when it was asked and answered.
    #[must_use]
    pub fn leads_to(&self, later: &ClockSeen, rate: f64, step: Duration) -> bool {
        let least = later.asked.saturating_duration_since(self.heard);
        let most = later.heard.saturating_duration_since(self.asked);
        let Some(ran) = later.shows.checked_sub(self.shows + step) else {
            return false;
        };
        least.mul_f64(rate) <= ran + CLOCK_GRAIN && ran <= most.mul_f64(rate) + CLOCK_GRAIN
    }
}

/// What rounding may cost when clocks are compared.
const CLOCK_GRAIN: Duration = Duration::from_micros(1);
