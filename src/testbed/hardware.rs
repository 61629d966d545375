//! What a node's programs run on, beside the network: a disk that can lose power and go wrong, and clocks.
//!
//! In: what is to be wrong, in the words of [`Switches`](crate::target::Switches). Out: what the disk and the clock of the
//! crate `machine` say that they do, and how many calls of the node's own programs have met it. Each life of a node begins
//! on hardware that is whole, a bit that was flipped at rest included; what is not synced stays so from one life to the
//! next, until the power is lost.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use machine::clock::Clock;
use machine::disk::harm::{Full, Harms, Limit, Met, SyncHarm};
use machine::disk::undo::PowerLoss;
use machine::disk::{Disk, Settings, Syncs};
use machine::watcher::Watcher;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cluster::Equipment;
use crate::target::{ClockSeen, DiskProof, DiskSeen, DiskSwitches};

/// No clock runs so much too fast: what it would skip is a step.
const FASTEST: f64 = 100.0;

/// The disk and the clocks of one node.
pub(super) struct Hardware {
    node: u64,
    /// What is on the disk.
    data: PathBuf,
    /// Where the disk may keep what it needs for a power loss.
    beside: PathBuf,
    equipment: Equipment,
    clock: Option<Arc<Clock>>,
    now: Mutex<Now>,
}

/// What changes.
#[derive(Default)]
struct Now {
    /// Made at the first start, and after a wipe.
    disk: Option<Arc<Disk>>,
    /// How many disks there have been.
    disks: u64,
    wrong: DiskSwitches,
    /// What calls had met before this was wrong.
    met: Met,
    flipped: Option<Flipped>,
    /// Syncs and calls that had met a harm before this life.
    before: (u64, u64),
    losses: u64,
}

/// A bit that was flipped.
struct Flipped {
    path: PathBuf,
    at: u64,
    mask: u8,
    /// What the byte is then.
    is: u8,
}

impl Hardware {
    /// Of a node whose files are in `data`; `beside` is a folder of its own on the same file system.
    pub(super) fn new(node: u64, data: PathBuf, beside: PathBuf, equipment: Equipment) -> Hardware {
        Hardware {
            node,
            data,
            beside,
            equipment,
            clock: equipment.clock.then(Clock::on_demand),
            now: Mutex::default(),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A life begins, on a disk and with clocks that are whole: who is to hear its calls. Its data folder is there.
    ///
    /// # Errors
    /// When there can be no such disk.
    pub(super) fn begin(&self, volatile: Vec<String>) -> io::Result<Vec<Arc<dyn Watcher>>> {
        let mut now = self.now();
        if self.equipment.disk && now.disk.is_none() {
            now.disks += 1;
            now.disk = Some(Disk::new(Settings {
                folder: self.data.clone(),
                store: self.beside.join(format!("unsynced-{}", now.disks)),
                volatile,
                syncs: Syncs::default(),
                reads: self.equipment.reads,
            })?);
        }
        now.wrong = DiskSwitches::default();
        self.flip_back(&mut now);
        let mut watchers: Vec<Arc<dyn Watcher>> = Vec::new();
        if let Some(disk) = now.disk.clone() {
            disk.harm(Harms::default());
            let state = disk.state();
            now.before = (state.syncs, all(&state.met));
            watchers.push(disk);
        }
        if let Some(clock) = &self.clock {
            clock.restart();
            watchers.push(Arc::new(clock.clone()));
        }
        Ok(watchers)
    }

    /// Another data folder is made before the next life.
    pub(super) fn wiped(&self) {
        let mut now = self.now();
        now.disk = None;
        now.flipped = None;
    }

    fn unwatched(&self, what: &str) -> io::Error {
        let why = format!("{what} of n{} are not watched in this run", self.node);
        io::Error::new(io::ErrorKind::Unsupported, why)
    }

    /// Makes this wrong with the disk, and nothing else. What lying syncs have said is made true where they end.
    ///
    /// # Errors
    /// When the disk cannot do that here.
    pub(super) fn set_disk(&self, wrong: DiskSwitches) -> io::Result<()> {
        let mut now = self.now();
        let disk = now.disk.clone().ok_or_else(|| self.unwatched("writes"))?;
        if wrong.read_fails && !self.equipment.reads {
            return Err(self.unwatched("reads"));
        }
        self.flip_back(&mut now);
        if wrong.flip_reads {
            let seed = self.seed(disk.state().syncs);
            now.flipped = Some(self.flip(&disk, seed)?);
        }
        disk.harm(Harms {
            // Where nobody hears them, there is the bit at rest.
            reads_flip: wrong.flip_reads && self.equipment.reads,
            ..harms(&wrong)
        });
        if now.wrong.lying_sync && !wrong.lying_sync {
            disk.write_out()?;
        }
        now.wrong = wrong;
        now.met = disk.state().met;
        Ok(())
    }

    /// What is wrong with the disk, and how many calls have met it.
    pub(super) fn proof(&self) -> DiskProof {
        let now = self.now();
        let met = now.disk.as_ref().map(|disk| disk.state().met);
        let met = met.map_or(0, |met| of(&now.wrong, &met) - of(&now.wrong, &now.met));
        DiskProof {
            wrong: now.wrong,
            met,
            flipped: now.flipped.as_ref().is_some_and(Flipped::is_there),
        }
    }

    /// Makes the disk whole, unless its harm has been met by now; gives what is so then.
    pub(super) fn whole_unless_met(&self) -> DiskProof {
        let mut now = self.now();
        if let Some(disk) = &now.disk {
            let wrong = disk.harms();
            disk.harm(Harms::default());
            // Nobody meets it from here on.
            if of(&now.wrong, &disk.state().met) > of(&now.wrong, &now.met) {
                disk.harm(wrong);
            } else {
                now.wrong = DiskSwitches::default();
            }
        }
        drop(now);
        self.proof()
    }

    /// What the disk has to do.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn look_at_disk(&self) -> io::Result<DiskSeen> {
        let now = self.now();
        let disk = now.disk.as_ref().ok_or_else(|| self.unwatched("writes"))?;
        let state = disk.state();
        let (syncs, harmed) = now.before;
        Ok(DiskSeen {
            unsynced_bytes: state.unsynced_bytes,
            syncs: state.syncs - syncs,
            syncing: state.syncs_under_way as u64,
            harmed: all(&state.met) - harmed,
        })
    }

    /// Why its power cannot be lost.
    pub(super) fn keeps_power(&self) -> Option<String> {
        let now = self.now();
        let Some(disk) = &now.disk else {
            return Some(self.unwatched("writes").to_string());
        };
        let limits = disk.state().limits;
        (!limits.is_empty()).then(|| {
            let node = self.node;
            format!("n{node} offers no power loss: {}", limits.join("; "))
        })
    }

    /// The power has failed, and all processes are gone. What of the unsynced writes is kept is drawn where the disk writes
    /// back.
    ///
    /// # Errors
    /// When the files could not be set back.
    pub(super) fn power_fails(&self) -> io::Result<()> {
        let mut now = self.now();
        let disk = now.disk.clone().ok_or_else(|| self.unwatched("writes"))?;
        now.losses += 1;
        let seed = self.seed(now.losses);
        let how = match now.wrong {
            DiskSwitches { torn: true, .. } => PowerLoss::Torn(seed),
            DiskSwitches {
                write_back_per_mille: 1..,
                ..
            } => PowerLoss::Subset(seed),
            _ => PowerLoss::Strict,
        };
        disk.power_loss(how).map(drop).map_err(io::Error::other)
    }

    /// Of the run, the node, and what it is for the how-manieth time.
    fn seed(&self, time: u64) -> u64 {
        self.equipment.seed ^ self.node.rotate_right(8) ^ time.rotate_right(16)
    }

    /// Flips a bit at rest, in a byte that is not nothing: files often end in space that is not used yet.
    fn flip(&self, disk: &Disk, seed: u64) -> io::Result<Flipped> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut files = Vec::new();
        files_below(&self.data, &mut files)?;
        files.sort();
        while !files.is_empty() {
            let path = files.swap_remove(rng.random_range(0..files.len()));
            let bytes = fs::read(&path)?;
            let Some(last) = bytes.iter().rposition(|&byte| byte != 0) else {
                continue;
            };
            let from = rng.random_range(0..=last);
            let next = bytes[from..].iter().position(|&byte| byte != 0);
            let at = from + next.expect("the last one is none");
            let mask = 1 << rng.random_range(0..8);
            let inside = path.strip_prefix(&self.data).unwrap_or(&path);
            // A byte that is not on the disk yet cannot be flipped there.
            if disk.flip(inside, at as u64, mask).is_ok() {
                let (at, is) = (at as u64, bytes[at] ^ mask);
                return Ok(Flipped { path, at, mask, is });
            }
        }
        Err(io::Error::other("nothing is on the disk yet"))
    }

    /// The bit that was flipped is what it was, unless something else has been written there since.
    fn flip_back(&self, now: &mut Now) {
        let (Some(flipped), Some(disk)) = (now.flipped.take(), &now.disk) else {
            return;
        };
        if flipped.is_there() {
            let inside = flipped.path.strip_prefix(&self.data);
            // Of what is not there any more, nothing is wrong.
            let _ = disk.flip(inside.unwrap_or(&flipped.path), flipped.at, flipped.mask);
        }
    }

    /// Steps both clocks forward, lets them run at `rate` from now on, and looks at the time of day. Who runs by them is to be
    /// reached first.
    ///
    /// # Errors
    /// When the rate is none, the clocks are not watched, or a program's reads of them could not be seen.
    pub(super) fn set_clock(
        &self,
        rate: f64,
        step: Duration,
        reach: impl FnOnce(&Clock) -> io::Result<()>,
    ) -> io::Result<ClockSeen> {
        if !(0.0..=FASTEST).contains(&rate) {
            let why = format!("a clock runs 0 to {FASTEST} times as fast, not {rate}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let clock = self
            .clock
            .as_ref()
            .ok_or_else(|| self.unwatched("clocks"))?;
        if clock.missed() > 0 {
            let why = format!("a program of n{} reads its clocks unseen", self.node);
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        if rate != 1.0 || !step.is_zero() {
            reach(clock)?;
        }
        let asked = Instant::now();
        let shows = clock.set(rate, step);
        Ok(ClockSeen {
            asked,
            heard: Instant::now(),
            shows,
            rate,
        })
    }
}

impl Flipped {
    fn is_there(&self) -> bool {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        bytes.get(at) == Some(&self.is)
    }
}

/// In the machine's terms.
fn harms(wrong: &DiskSwitches) -> Harms {
    let sync = match wrong {
        DiskSwitches {
            hold_sync: true, ..
        } => SyncHarm::Held,
        DiskSwitches {
            sync_fails: true, ..
        } => SyncHarm::Fail,
        DiskSwitches {
            lying_sync: true, ..
        } => SyncHarm::Lie,
        DiskSwitches { slow_sync, .. } if !slow_sync.is_zero() => SyncHarm::Slow(*slow_sync),
        _ => SyncHarm::None,
    };
    Harms {
        sync,
        full: wrong.full.then_some(Full {
            left: 0,
            limit: Limit::Space,
        }),
        short_writes: 0,
        reads_fail: wrong.read_fails,
        reads_flip: false,
    }
}

/// Of the calls that have met something those that have met this.
fn of(wrong: &DiskSwitches, met: &Met) -> u64 {
    let counted = [
        (!wrong.slow_sync.is_zero(), met.slow),
        (wrong.hold_sync, met.held),
        (wrong.sync_fails, met.failed),
        (wrong.lying_sync, met.lied),
        (wrong.full, met.full),
        (wrong.read_fails, met.reads),
        (wrong.flip_reads, met.flipped),
    ];
    counted
        .into_iter()
        .filter_map(|(is, met)| is.then_some(met))
        .sum()
}

fn all(met: &Met) -> u64 {
    let &Met {
        slow,
        held,
        failed,
        lied,
        full,
        short,
        reads,
        flipped,
    } = met;
    slow + held + failed + lied + full + short + reads + flipped
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files_below(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
