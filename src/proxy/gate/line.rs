//! A leg as whole lines meet it ([`super::super::lines`]): the same faults and counters as for bytes, and no stream.

use std::sync::atomic::Ordering;

use super::{LegState, MOST_WAITING};
use crate::proxy::mix;

impl LegState {
    /// A line of so many bytes was taken from its sender. Gives a number of its own for what is drawn for it.
    pub(crate) fn take_line(&self, bytes: u64) -> u64 {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let route = self.leg.route.number();
        mix(self.seed, &[route, before])
    }

    /// Whether lines are held, or held back: nobody lets one of them out later.
    pub(crate) fn holds_lines(&self) -> bool {
        let effect = self.effect();
        effect.held || effect.holds_back()
    }

    /// A line of so many bytes begins to wait for its time; false where too much waits already.
    pub(crate) fn keep_line(&self, bytes: u64) -> bool {
        let room = self.waiting() + bytes <= MOST_WAITING as u64;
        if room {
            self.waiting.fetch_add(bytes, Ordering::Relaxed);
        }
        room
    }

    /// A line of so many bytes has waited for its time.
    pub(crate) fn let_line_go(&self, bytes: u64) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives a line of so many bytes to its receiver, unless the leg is held. The look at the faults and the deed are one:
    /// nothing passes once a hold is in.
    pub(crate) fn give_line(&self, bytes: u64, give: impl FnOnce() -> bool) -> bool {
        let faults = self.faults.lock().unwrap();
        let holds = faults.effect.held || faults.effect.holds_back();
        let given = !holds && give();
        if given {
            self.delivered.fetch_add(bytes, Ordering::SeqCst);
        }
        given
    }
}
