//! The exit codes: what a script hears. One list of them, and one place where that of a run is decided.

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It held.
    Held,
    /// A violation or a finding.
    Found,
    /// A budget ran out.
    Unknown,
    /// It held, and did not exercise what its scenario promises.
    Vacuous,
    /// Wrong usage: sysexits' EX_USAGE.
    Usage,
    /// A file is not what it should be: sysexits' EX_DATAERR.
    Malformed,
    /// A program that a target needs is not here, or not in a version that can show it: sysexits' EX_UNAVAILABLE.
    Unavailable,
    /// A bench error or a panic: sysexits' EX_SOFTWARE.
    BenchError,
    /// Interrupted before anything was found.
    Interrupted,
}

/// How a run ended, as far as its exit code goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// A violation, or a finding of another oracle.
    pub found: bool,
    /// The bench or its host has failed in something.
    pub failed: bool,
    /// Somebody ended it before its time.
    pub interrupted: bool,
    /// There is a verdict on a history that is not empty.
    pub judged: bool,
    /// It is unknown.
    pub unknown: bool,
    /// It holds, and a coverage goal is not met.
    pub vacuous: bool,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Held => 0,
            Exit::Found => 1,
            Exit::Unknown => 2,
            Exit::Vacuous => 3,
            Exit::Usage => 64,
            Exit::Malformed => 65,
            Exit::Unavailable => 69,
            Exit::BenchError => 70,
            Exit::Interrupted => 130,
        }
    }

    /// That of a run: what was found stands above what failed, and what failed above what is merely not known.
    #[must_use]
    pub fn of(run: &Ended) -> Exit {
        match *run {
            Ended { found: true, .. } => Exit::Found,
            Ended { failed: true, .. } => Exit::BenchError,
            // Also before the first operation has ended: that somebody stops it is no failure of ours.
            Ended {
                interrupted: true, ..
            } => Exit::Interrupted,
            Ended { judged: false, .. } => Exit::BenchError,
            Ended { unknown: true, .. } => Exit::Unknown,
            Ended { vacuous: true, .. } => Exit::Vacuous,
            _ => Exit::Held,
        }
    }
}

/// The one of two exit codes that the other must not hide.
#[must_use]
pub fn worst(one: u8, other: u8) -> u8 {
    /// The worst first. Wrong usage stands so high because nobody knows what should have been looked at; 69 is a program
    /// that is not here.
    const ORDER: [u8; 9] = [1, 64, 69, 65, 70, 130, 2, 3, 0];
    let place = |code: u8| ORDER.iter().position(|known| *known == code);
    // A code that is not in the list is none of ours: nothing hides it.
    std::cmp::min_by_key(one, other, |code| place(*code))
}
