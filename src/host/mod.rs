//! The machine that everything runs on: whether it gives a run what the run needs.
//!
//! ```text
//!   before a run       need         numbers against what there is: a sentence, or the limits are raised
//!   while it goes on   heart        how late the bench's own timers are, and a clock that stands while the bench does
//!                      processors   how long it and its nodes wait for one
//!                      met          what sockets and files were refused, by cause
//!   at an accusation   look         is there space, a descriptor, a port, memory, now?
//! ```
//!
//! Only the bench's own side of it: numbers come in from the kernel and from whoever was refused something, and go out
//! as sentences and as [`Unfit`]. Who may be accused all the same is not decided here.

mod heart;
mod look;
mod met;
mod need;
mod processors;
mod sockets;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use heart::{Deadline, Heart, Strain};
pub use look::{Descriptors, is_stopped};
pub use met::{Cost, Shortages};
pub use need::{Need, NeedError, raise_descriptors};
pub use processors::Times;
pub use sockets::{Listening, Sockets, listening};

use processors::Processors;

use crate::shortage::Shortage;

/// A shortage that is over may have its effects for so long: as long as a healed cluster has to agree, and a little more.
const RECENT: Duration = Duration::from_secs(15);

/// Why what a cluster does on this machine proves nothing against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The host has, or had a moment ago, no more of something; what was seen of that.
    Short(Shortage, String),
    /// The bench stood still, or it and its nodes starved; what was seen of that.
    Stalled(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Short(shortage, seen) => write!(f, "the host had {shortage} ({seen})"),
            Unfit::Stalled(seen) => f.write_str(seen),
        }
    }
}

/// The machine during one run.
#[derive(Debug)]
pub struct Host {
    heart: Heart,
    shortages: Shortages,
    processors: Processors,
    dir: PathBuf,
    oom_kills: Option<u64>,
}

impl Host {
    /// Watches the machine under a run whose folder this is, until it is dropped.
    ///
    /// # Errors
    /// When the heart's thread cannot be started.
    pub fn watch(dir: &Path) -> std::io::Result<Host> {
        Ok(Host {
            heart: Heart::start()?,
            shortages: Shortages::default(),
            processors: Processors::default(),
            dir: dir.to_owned(),
            oom_kills: look::oom_kills(),
        })
    }

    /// How the bench's own time passes.
    #[must_use]
    pub fn heart(&self) -> &Heart {
        &self.heart
    }

    /// Where whoever is refused something says so.
    #[must_use]
    pub fn shortages(&self) -> &Shortages {
        &self.shortages
    }

    /// Everything that is wrong with the machine now, or was a moment ago: empty on one that is fit.
    #[must_use]
    pub fn unfit(&self) -> Vec<Unfit> {
        let now = look::shortages_now(&self.dir).into_iter();
        let met = self.shortages.within(RECENT).into_iter();
        let short = now.chain(met);
        let mut unfit: Vec<Unfit> = short.map(|(what, seen)| Unfit::Short(what, seen)).collect();
        let strain = self.heart.grave_strain().map(|strain| strain.to_string());
        self.processors.look();
        let starved = self.processors.starved().map(|times| times.to_string());
        unfit.extend(strain.into_iter().chain(starved).map(Unfit::Stalled));
        unfit
    }

    /// Looks how the bench and its nodes get on: to be done about once a second.
    pub fn look_at_processors(&self) {
        self.processors.look();
    }

    /// What they had of the processors over all these looks.
    #[must_use]
    pub fn processors(&self) -> Times {
        self.processors.whole()
    }

    /// How many processes the kernel has ended for want of memory since the run began, here or in any container beside.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let now = look::oom_kills().zip(self.oom_kills);
        now.map_or(0, |(now, then)| now.saturating_sub(then))
    }
}
