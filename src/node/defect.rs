//! The deliberate bugs of `--defect`, as data, and the two counters that explain a miss.
//!
//! `reached` counts how often the planted line ran; `triggered` counts how often the bad fact was then true.

use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;

/// A planted bug. Never on by default, never two at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Defect {
    /// Reads are answered from the leader's own state without asking a quorum (the reference document, 7.3).
    StaleRead,
}

impl Defect {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Defect::StaleRead => "stale-read",
        }
    }
}

/// Which defect this node carries, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    pub(crate) defect: Option<Defect>,
    reached: AtomicU64,
    triggered: AtomicU64,
}

impl Planted {
    pub(crate) fn new(defect: Option<Defect>) -> Planted {
        Planted {
            defect,
            ..Planted::default()
        }
    }

    /// Whether `defect` is planted here; counts that its line ran if it is.
    pub(crate) fn reach(&self, defect: Defect) -> bool {
        let here = self.defect == Some(defect);
        if here {
            self.reached.fetch_add(1, Ordering::Relaxed);
        }
        here
    }

    /// Counts that the bad fact was true.
    pub(crate) fn trigger(&self) {
        self.triggered.fetch_add(1, Ordering::Relaxed);
    }

    /// (reached, triggered).
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.reached), read(&self.triggered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_defect_counts_nothing() {
        let clean = Planted::default();
        assert!(!clean.reach(Defect::StaleRead));
        assert_eq!(clean.counts(), (0, 0));
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for defect in Defect::value_variants() {
            let value = defect.to_possible_value().expect("every defect has a name");
            assert_eq!(value.get_name(), defect.name());
        }
    }
}
