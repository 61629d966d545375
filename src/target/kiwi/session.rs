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
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::protocol::KiwiProtocol;
use crate::target::client::{Answer, Client, ClientConfig, MOST_DEADLINES, Routed};

/// After no answer, or a refusal, the client waits this long before it asks again.
const PAUSE: Duration = Duration::from_millis(100);

/// A client of the Kiwi protocol.
#[derive(Debug)]
pub(super) struct KiwiClient {
    routed: Routed<KiwiProtocol>,
    deadline: Duration,
    session: Option<Session>,
}

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

impl Session {
    /// A session in which nothing has been asked for.
    ///
    /// # Panics
    /// If `id` is 0: that is no session.
    fn begin(id: u64) -> Session {
        assert!(id != 0, "client id 0 is no session");
        Session { id, sequence: 0 }
    }
}

impl KiwiClient {
    pub(super) fn new(protocol: KiwiProtocol, config: &ClientConfig) -> KiwiClient {
        KiwiClient {
            routed: Routed::new(protocol, config),
            deadline: config.deadline,
            session: config.session.map(Session::begin),
        }
    }

    async fn carry_out(&mut self, key: &str, call: Call) -> Answer {
        let begun = Instant::now();
        let Some(session) = self.session.as_mut().filter(|_| call != Call::Read) else {
            self.routed.protocol.as_of = Numbered::default();
            return self.routed.attempt(key, call, begun + self.deadline).await;
        };
        session.sequence += 1;
        self.routed.protocol.as_of = Numbered {
            session: session.id,
            sequence: session.sequence,
        };
        let last = begun + self.deadline * MOST_DEADLINES;
        let mut repeats = 0;
        let mut may_be_applied = false;
        loop {
            let deadline = last.min(Instant::now() + self.deadline);
            let mut answer = self.routed.attempt(key, call, deadline).await;
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

impl Client for KiwiClient {
    fn first_node(&self) -> u64 {
        self.routed.first_node()
    }

    fn perform<'a>(&'a mut self, key: &'a str, call: Call) -> BoxFuture<'a, Answer> {
        Box::pin(self.carry_out(key, call))
    }

    /// Its connections stay: no answer is owed on them. With a session it begins the next one.
    fn succeed(&mut self, id: u64) {
        self.session = self.session.map(|_| Session::begin(id));
    }

    fn has_session(&self) -> bool {
        self.session.is_some()
    }
}

#[cfg(test)]
mod tests;
