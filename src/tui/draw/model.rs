//! The Model screen: what the model proves, beside what the run shows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::text;
use crate::tui::app::App;

/// The Model screen.
pub(super) struct Model<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Model<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let theme = self.app.theme;
        let inner = text::frame(buf, area, theme, true, "Model", Line::default());
        let lines = [
            "A run shows what happened; the model tries everything that can happen.",
            "",
            "whitewater model check      election and replication, every interleaving, with its invariants",
            "whitewater model mutants    the same with one rule broken: each must be caught",
            "whitewater model explore    walk the states in a browser",
        ];
        for (y, line) in lines.iter().enumerate() {
            text::put(buf, inner, 1, y as u16, line, theme.ok());
        }
    }
}
