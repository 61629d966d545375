//! Which clients of a run keep a session, and what became of their writes.
//!
//! The others never ask twice: what is not answered stays open in their history for ever. A client with a session asks
//! again ([`crate::target::kiwi`]), so that the store's promise to carry a request out once is put to the test, and more of
//! the history has a known outcome.

use std::sync::{Arc, Mutex};

use checkers::history::Outcome;

use crate::journal::Sessions;

/// Whether the client of that slot keeps a session, if it follows the leader: every other one, from the first or from
/// the second on, as the seed has it.
pub(super) fn keeps(seed: u64, slot: u32) -> bool {
    (seed ^ u64::from(slot)) & 1 == 1
}

/// Counts writes in sessions over all clients; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<Sessions>>);

impl Tally {
    pub(super) fn count(&self, outcome: Outcome, repeats: u32) {
        let mut sum = self.0.lock().expect("nobody panics while counting");
        sum.writes += 1;
        sum.repeated += u64::from(repeats > 0);
        sum.settled += u64::from(repeats > 0 && outcome != Outcome::Unknown);
    }

    pub(super) fn so_far(&self) -> Sessions {
        *self.0.lock().expect("nobody panics while counting")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_client_keeps_a_session_and_the_seed_says_which() {
        let who = |seed| (0..6).filter(|&slot| keeps(seed, slot)).collect::<Vec<_>>();
        assert_eq!(who(2), [1, 3, 5]);
        assert_eq!(who(3), [0, 2, 4]);
        assert_eq!(who(u64::MAX), who(3));
    }

    #[test]
    fn what_was_asked_again_is_counted_and_whether_it_helped() {
        let tally = Tally::default();
        let clone = tally.clone();
        clone.count(Outcome::Ok(None), 0);
        clone.count(Outcome::Ok(None), 2);
        clone.count(Outcome::Failed, 1);
        clone.count(Outcome::Unknown, 1);
        let expected = Sessions {
            writes: 4,
            repeated: 3,
            settled: 2,
        };
        assert_eq!(tally.so_far(), expected);
    }
}
