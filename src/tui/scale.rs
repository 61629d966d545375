//! How much time the timeline shows: about a second while it moves, single operations where it stands, and the whole of a
//! run that is over.

use super::app::{App, CELL_STEPS_NS};

/// A window that moves with the run shows at least so much of it: one that is shorter is another picture in each frame.
const FLOWS_NS: u64 = 1_000_000_000;

impl App {
    /// Lets the median operation be about ten cells wide, so that its label fits, and does not flutter.
    pub(super) fn fit_median(&mut self) {
        let Some(median) = self
            .picture
            .operations
            .recent(self.now_ns, 5_000_000_000)
            .quantile_ns(0.5)
        else {
            return;
        };
        let cells = median / self.auto_cell_ns.max(1);
        if !(6..=24).contains(&cells) {
            let best = CELL_STEPS_NS.iter().rev().find(|&&step| step * 9 <= median);
            self.auto_cell_ns = *best.unwrap_or(&CELL_STEPS_NS[0]);
        }
    }

    /// How many cells the timeline has.
    fn timeline_cells(&self) -> u64 {
        u64::from(super::draw::timeline_cells(self.size.0)).max(1)
    }

    /// Nanoseconds a cell of the timeline: as chosen; else the whole of a run that is over, near where the picture stands,
    /// and wide enough to flow where it moves.
    #[must_use]
    pub fn cell(&self) -> u64 {
        if let Some(chosen) = self.cell_ns {
            return chosen.max(1);
        }
        let cells = self.timeline_cells();
        if self.is_whole() {
            // One cell less, so that the first and the last instant are in it.
            return (self.now_ns / (cells - 1).max(1)) + 1;
        }
        let near = self.auto_cell_ns.max(1);
        if self.near && self.stands_still() {
            return near;
        }
        let flows = FLOWS_NS.div_ceil(cells);
        let step = CELL_STEPS_NS.iter().find(|&&step| step >= flows);
        near.max(*step.unwrap_or(&flows))
    }

    /// Whether the end of a run is shown that is over, and so the whole of it.
    pub(super) fn is_whole(&self) -> bool {
        let over = match &self.replay {
            Some(replay) => replay.at_ns > 0 && replay.at_ns >= replay.length_ns(),
            None => !self.picture.is_live() && self.frozen.is_none(),
        };
        over && self.end_ns.is_none() && self.now_ns > 0
    }

    /// Whether the picture stands.
    fn stands_still(&self) -> bool {
        let stopped = self.replay.as_ref().is_some_and(|replay| !replay.playing);
        self.frozen.is_some() || self.end_ns.is_some() || stopped
    }

    /// Where the timeline's window ends. While a violation holds the network nothing happens any more, and the window
    /// stays with what did.
    #[must_use]
    pub fn window_end(&self) -> u64 {
        let last = match self.picture.paused_since_ns {
            Some(since) if self.replay.is_none() => self.now_ns.min(since),
            _ => self.now_ns,
        };
        self.end_ns.unwrap_or(last)
    }
}
