//! Sessions: a write that may have been applied is asked for again, under the number that it had, and is applied once.
//!
//! ```text
//!   session 7   write #3 ─▶ no answer ... write #3 ─▶ no answer ... write #3 ─▶ "done, at 2/41": as the first one was
//! ```
//!
//! A store that keeps sessions carries out each number of a session once and answers a repetition as it answered the
//! first request, so that all of them together are one operation: it took effect at most once, at some time from the first
//! request to the answer. Where no answer comes in the end its outcome is unknown, as without a session; no refusal of
//! a repetition can prove that the first request was not applied. The next operation has the next number, so that a
//! request which is still on its way by then is refused when it arrives.

use std::time::Duration;

use checkers::history::{Call, Outcome};
use tokio::time::Instant;

use super::{Answer, KiwiClient};

/// An operation in a session takes so many of the client's deadlines at most: one for each request, and pauses between.
pub const MOST_DEADLINES: u32 = 3;
/// After no answer, or a refusal, the client waits this long before it asks again.
const PAUSE: Duration = Duration::from_millis(100);

/// What a session stands at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    id: u64,
    /// The number of the last write.
    sequence: u64,
}

/// The number of a request in its session; all 0 outside of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) session: u64,
    pub(super) sequence: u64,
}

impl KiwiClient {
    /// Numbers the writes of a new logical client from now on, as session `id`, and asks for them again.
    ///
    /// # Panics
    /// If `id` is 0: that is no session.
    pub fn begin_session(&mut self, id: u64) {
        assert!(id != 0, "client id 0 is no session");
        self.session = Some(Session { id, sequence: 0 });
    }

    /// Whether its writes are numbered.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Carries one operation out. It ends within the deadline, a write of a session within [`MOST_DEADLINES`] of them,
    /// and what was not answered by then was not answered.
    pub async fn perform(&mut self, key: &str, call: Call) -> Answer {
        let begun = Instant::now();
        let Some(session) = self.session.as_mut().filter(|_| call != Call::Read) else {
            let deadline = begun + self.deadline;
            return self.attempt(key, call, Numbered::default(), deadline).await;
        };
        session.sequence += 1;
        let as_of = Numbered {
            session: session.id,
            sequence: session.sequence,
        };
        let last = begun + self.deadline * MOST_DEADLINES;
        let mut repeats = 0;
        let mut may_be_applied = false;
        loop {
            let deadline = last.min(Instant::now() + self.deadline);
            let mut answer = self.attempt(key, call, as_of, deadline).await;
            answer.repeats = repeats;
            // A condition that did not hold is no refusal: it was looked at under this number.
            let refused = answer.outcome == Outcome::Failed;
            may_be_applied |= answer.outcome == Outcome::Unknown;
            if !may_be_applied || !(refused || answer.outcome == Outcome::Unknown) {
                return answer;
            }
            if Instant::now() + PAUSE >= last {
                answer.outcome = Outcome::Unknown;
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
            repeats += 1;
        }
    }
}

#[cfg(test)]
mod tests;
