//! A fault's words in the terms of those who do it: the proxy's actions, the kernel's limits, the disk's switches. And
//! whether what a probe of a disk saw is what was switched on.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::cluster::Limit;
use crate::fault::{Act, DiskHarm, LimitOf, Of, Only};
use crate::proxy::{Action, Delay, Match, Method, Methods};
use crate::target::{DiskProof, DiskSwitches};

/// gRPC's UNAVAILABLE: what a request is answered that is refused on its way.
const UNAVAILABLE: u8 = 14;
/// At most so many requests wait while others overtake them.
const MOST_HELD: u32 = 16;

impl From<LimitOf> for Limit {
    fn from(of: LimitOf) -> Limit {
        match of {
            LimitOf::FileSize => Limit::FileSize,
            LimitOf::OpenFiles => Limit::OpenFiles,
        }
    }
}

pub(super) fn action(act: Act, time: Duration) -> Action {
    match act {
        Act::Drop => Action::DropRequest,
        Act::DropResponse => Action::DropResponse,
        Act::DelayRequest => Action::DelayRequest(Delay::around(time, time / 4)),
        Act::DelayResponse => Action::DelayResponse(Delay::around(time, time / 4)),
        Act::Duplicate => Action::Duplicate {
            copies: 1,
            gap: time,
        },
        Act::Reorder => Action::Reorder {
            window: time,
            most_held: MOST_HELD,
        },
        Act::Refuse => Action::Fail(UNAVAILABLE),
        Act::Replay => Action::Replay,
        Act::CutStream => Action::CutStream { after: 1 },
        Act::Stall => Action::Stall { after: 1 },
        Act::Corrupt => Action::Corrupt,
    }
}

/// Which messages are meant: so many in a thousand of those.
pub(super) fn matching(of: Of, only: Only, per_mille: u32) -> Match {
    let range = |[least, most]: [u64; 2]| -> RangeInclusive<u64> { least..=most };
    Match {
        methods: methods(of),
        kind: only.kind.map(String::from),
        terms: only.terms.map(range),
        entries: only.entries.map(range),
        nth: only.nth.map(range),
        per_mille,
    }
}

fn methods(of: Of) -> Methods {
    match of {
        Of::Peers => Methods::All,
        Of::Votes => Methods::Votes,
        Of::Appends => Methods::Appends,
        Of::Heartbeats => Methods::Heartbeats,
        Of::Snapshots => Methods::Snapshots,
        Of::Clients => Methods::Clients,
        Of::Writes => Methods::Only(Method::Write),
        Of::Reads => Methods::Only(Method::Read),
    }
}

pub(super) fn switches(harm: DiskHarm, time: Duration) -> DiskSwitches {
    DiskSwitches {
        slow_sync: if harm == DiskHarm::SlowSync {
            time
        } else {
            Duration::ZERO
        },
        sync_fails: harm == DiskHarm::SyncFails,
        full: harm == DiskHarm::Full,
        read_fails: harm == DiskHarm::ReadFails,
        hold_sync: harm == DiskHarm::HoldSync,
        lying_sync: harm == DiskHarm::LyingSync,
        flip_reads: harm == DiskHarm::FlippedBits,
        torn: harm == DiskHarm::TornWrites,
        write_back_per_mille: match harm {
            DiskHarm::WriteBack => 500,
            DiskHarm::TornWrites => 1_000,
            _ => 0,
        },
    }
}

/// Whether a disk does no harm.
pub(super) fn is_whole(seen: &DiskProof) -> bool {
    seen.wrong == DiskSwitches::default()
}

/// Whether what was seen of a disk is what this harm does.
pub(super) fn disk_is(harm: DiskHarm, time: Duration, seen: &DiskProof) -> bool {
    seen.wrong == switches(harm, time) && seen.is_seen()
}
