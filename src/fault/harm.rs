//! What links, disks and children suffer, by name.

use serde::{Deserialize, Serialize};

use super::Kind;

/// Which way the packets of a cut node or link stop.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Nothing passes.
    #[default]
    Both,
    /// What others send to the node stops; what it sends flows.
    In,
    /// What the node sends stops; what others send to it flows.
    Out,
}

/// How a child that starts again is ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// SIGTERM: gracefully.
    #[default]
    Term,
    /// SIGKILL: as it stands.
    Kill,
}

/// What becomes of bytes on their way, or of those who dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireHarm {
    /// At most so many bytes pass in a second.
    Bandwidth,
    /// They come in slices of so many bytes, a millisecond apart.
    Slicer,
    /// Now and then some are so many milliseconds late, and all behind them.
    Spikes,
    /// They are late, mostly less and seldom much more than so many milliseconds: an exponential distribution.
    LongTail,
    /// Each connection is reset after so many bytes, in the middle of whatever it carries.
    LimitData,
    /// The end of a connection arrives so many milliseconds after its last byte.
    SlowClose,
    /// The receiver is told that there will be no more bytes; what it sends back flows.
    HalfClose,
    /// Connections are reset, and so is every new one as soon as it is there.
    ResetPeer,
    /// Connections are reset, and new ones are refused.
    Refuse,
    /// Connections are reset, and nobody answers who dials.
    Unanswered,
}

impl WireHarm {
    /// Every one of them.
    pub const ALL: [WireHarm; 10] = [
        WireHarm::Bandwidth,
        WireHarm::Slicer,
        WireHarm::Spikes,
        WireHarm::LongTail,
        WireHarm::LimitData,
        WireHarm::SlowClose,
        WireHarm::HalfClose,
        WireHarm::ResetPeer,
        WireHarm::Refuse,
        WireHarm::Unanswered,
    ];

    /// Its name in a plan.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WireHarm::Bandwidth => "bandwidth",
            WireHarm::Slicer => "slicer",
            WireHarm::Spikes => "spikes",
            WireHarm::LongTail => "long-tail",
            WireHarm::LimitData => "limit-data",
            WireHarm::SlowClose => "slow-close",
            WireHarm::HalfClose => "half-close",
            WireHarm::ResetPeer => "reset-peer",
            WireHarm::Refuse => "refuse",
            WireHarm::Unanswered => "unanswered",
        }
    }

    /// What it does, in words, where it counts so much.
    #[must_use]
    pub(super) fn words(self, amount: u64) -> String {
        match self {
            WireHarm::Bandwidth => format!("at {amount} bytes a second"),
            WireHarm::Slicer => format!("in slices of {amount} bytes"),
            WireHarm::Spikes => format!("late by {amount} ms now and then"),
            WireHarm::LongTail => format!("late by {amount} ms on average, seldom much later"),
            WireHarm::LimitData => format!("reset after {amount} bytes"),
            WireHarm::SlowClose => format!("closes {amount} ms late"),
            WireHarm::HalfClose => "half closed".to_owned(),
            WireHarm::ResetPeer => "reset, and again as soon as it is dialled".to_owned(),
            WireHarm::Refuse => "reset, and refused".to_owned(),
            WireHarm::Unanswered => "reset, and dialled in vain".to_owned(),
        }
    }
}

/// What a child has no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitOf {
    /// No file may be written: EFBIG.
    FileSize,
    /// No file, and no connection, may be opened: EMFILE.
    OpenFiles,
}

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskHarm {
    /// Every sync takes so much longer.
    SlowSync,
    /// Every sync fails with EIO, and what was to be synced is lost. The node may stop; it is started again.
    SyncFails,
    /// No file grows. The node may stop; it is started again.
    Full,
    /// Every read fails with EIO. The node stops; it is started again.
    ReadFails,
    /// A sync that begins does not end. Taken out by letting it go on.
    HoldSync,
    /// Half of what is not synced reaches the file at once, whole or in part, as from a page cache. It ends with the
    /// power: what is neither synced nor written back is lost.
    WriteBack,
    /// All of what is not synced reaches the file at once, but for its last sectors. It ends with the power.
    TornWrites,
    /// Every sync says that it is done, and does nothing. Taken out by making it true. Outside of the fault model.
    LyingSync,
    /// Every read gives one bit that was not written. The node stops; it is started again. Outside of the fault model.
    FlippedBits,
}

impl DiskHarm {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DiskHarm::SlowSync => "slow syncs",
            DiskHarm::SyncFails => "failing syncs",
            DiskHarm::Full => "full",
            DiskHarm::ReadFails => "failing reads",
            DiskHarm::HoldSync => "no sync ends",
            DiskHarm::WriteBack => "writes back at random, then loses power",
            DiskHarm::TornWrites => "writes back in part, then loses power",
            DiskHarm::LyingSync => "syncs that lie",
            DiskHarm::FlippedBits => "reads with a flipped bit",
        }
    }

    /// Every one of them.
    pub const ALL: [DiskHarm; 9] = [
        DiskHarm::SlowSync,
        DiskHarm::SyncFails,
        DiskHarm::Full,
        DiskHarm::ReadFails,
        DiskHarm::HoldSync,
        DiskHarm::WriteBack,
        DiskHarm::TornWrites,
        DiskHarm::LyingSync,
        DiskHarm::FlippedBits,
    ];

    /// Its kind: what is outside of the fault model has a kind of its own, so that nobody draws it who has not named it.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            DiskHarm::LyingSync => Kind::LyingDisk,
            DiskHarm::FlippedBits => Kind::BitFlip,
            _ => Kind::Disk,
        }
    }

    /// Whether a node may end by itself under it, and be no finding.
    #[must_use]
    pub fn excuses_an_end(self) -> bool {
        matches!(
            self,
            DiskHarm::SyncFails | DiskHarm::Full | DiskHarm::ReadFails | DiskHarm::FlippedBits
        )
    }

    /// Whether what is not synced is lost where it ends: with the power, or because the sync has failed.
    #[must_use]
    pub fn loses_what_is_unsynced(self) -> bool {
        self.ends_in_a_power_loss() || self == DiskHarm::SyncFails
    }

    /// Whether it ends with the power of its node.
    #[must_use]
    pub fn ends_in_a_power_loss(self) -> bool {
        matches!(self, DiskHarm::WriteBack | DiskHarm::TornWrites)
    }
}
