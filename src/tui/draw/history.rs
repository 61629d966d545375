//! The table of operations. Only the visible rows are formatted, however long the history is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text::{self, Cell};
use super::timeline;
use crate::journal::Op;
use crate::tui::app::App;
use crate::tui::history_view::outcome_name;

/// The History screen.
pub(super) struct History<'a> {
    pub(super) app: &'a App,
}

impl Widget for &History<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let g = theme.glyphs;
        let (view, operations) = (&app.history, &app.picture.operations);
        let len = view.len(operations);
        let order = if view.by_latency {
            "slowest first"
        } else {
            "by time"
        };
        let filter = if view.filter.is_empty() {
            String::new()
        } else {
            format!(" {} /{}", g.dot, view.filter)
        };
        let title = format!("History {} {order}{filter}", g.dot);
        let count = format!(
            " {} of {} ",
            text::number(len as u64),
            text::number(operations.all().len() as u64)
        );
        let inner = text::frame(
            buf,
            area,
            theme,
            true,
            &title,
            Line::from(Span::styled(count, theme.dim())),
        );
        if inner.height == 0 {
            return;
        }
        let columns = columns(inner.width);
        for (cell, (name, _)) in columns.iter().zip(COLUMNS) {
            cell.put(buf, inner, 0, name, theme.dim());
        }
        let Some(selected) = view.selected(operations) else {
            let why = if operations.all().is_empty() {
                "no operation yet"
            } else {
                "no operation passes the filter"
            };
            text::put(buf, inner, 1, 2, why, theme.dim());
            return;
        };
        // What a column has no room for is told below of the selected operation.
        let told = self.told(selected, usize::from(inner.width.saturating_sub(2)));
        let told = match inner.height {
            0..=8 => Vec::new(),
            _ => told,
        };
        let room = usize::from(inner.height - 1)
            .saturating_sub(told.len())
            .max(1);
        // The selected row stays in the middle, but for the ends.
        let first = selected
            .saturating_sub(room / 2)
            .min(len.saturating_sub(room));
        for y in 0..room {
            let Some(at) = view.at(first + y, operations) else {
                break;
            };
            let Some(op) = operations.all().get(at) else {
                break;
            };
            let line = Rect {
                y: inner.y + y as u16 + 1,
                height: 1,
                ..inner
            };
            self.row(op, &columns, line, first + y == selected, buf);
        }
        for (y, line) in told.iter().enumerate() {
            text::put(buf, inner, 1, (room + 1 + y) as u16, line, theme.dim());
        }
    }
}

const COLUMNS: [(&str, u16); 8] = [
    ("#", 7),
    ("began", 9),
    ("client", 6),
    ("node", 4),
    ("operation", 17),
    ("outcome", 9),
    ("took", 7),
    ("why/log id", 1),
];

fn columns(width: u16) -> Vec<Cell> {
    text::cells(2, &COLUMNS.map(|(_, width)| width), width)
}

/// An operation has at most so many lines to itself.
const MOST_TOLD: usize = 3;

impl History<'_> {
    /// All that is known of the operation in a row, in lines.
    fn told(&self, row: usize, width: usize) -> Vec<String> {
        let (app, g) = (self.app, self.app.theme.glyphs);
        let operations = &app.picture.operations;
        let at = app.history.at(row, operations);
        let Some(op) = at.and_then(|at| operations.all().get(at)) else {
            return Vec::new();
        };
        let node = op
            .node
            .map_or_else(String::new, |node| format!(", n{node}"));
        let ended = match (op.outcome, op.latency_ns()) {
            (outcome, Some(took)) => {
                let name = outcome_name(outcome);
                format!("{name} after {}", text::span(took))
            }
            (outcome, None) => outcome_name(outcome).to_owned(),
        };
        let at = op.at.map_or_else(String::new, |at| {
            format!(", log id term {} index {}", at.term, at.index)
        });
        let error = op.error.as_deref();
        let error = error.map_or_else(String::new, |error| format!(": {error}"));
        let told = format!(
            "#{} at {}: c{} {}{node}; {ended}{at}{error}",
            op.invoked,
            text::instant(op.start_ns, 3),
            op.client,
            timeline::label(op, operations),
        );
        text::at_most(text::wrap(&g.spell(&told), width), MOST_TOLD, width)
    }

    fn row(&self, op: &Op, columns: &[Cell], line: Rect, selected: bool, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let culprit = app
            .picture
            .alarm
            .as_ref()
            .is_some_and(|found| found.culprit == op.invoked);
        let style = match outcome_name(op.outcome) {
            _ if culprit => theme.violation(),
            "failed" => theme.failed(),
            "unknown" => theme.unknown(),
            _ => theme.ok(),
        };
        let mark = if selected { theme.glyphs.open } else { " " };
        text::put(buf, line, 0, 0, mark, theme.bold());
        let node = op.node.map_or_else(String::new, |node| format!("n{node}"));
        let took = op.latency_ns().map_or_else(String::new, text::span);
        let outcome = match outcome_name(op.outcome) {
            "unknown" => format!("{} unknown", theme.glyphs.maybe),
            "failed" => format!("{} failed", theme.glyphs.failed),
            "open" => format!("{} open", theme.glyphs.open),
            name => format!("{} {name}", theme.glyphs.end),
        };
        let why = match (&op.error, op.at) {
            (Some(error), _) => theme.glyphs.spell(error),
            (None, Some(at)) => format!("t{} i{}", at.term, at.index),
            (None, None) => String::new(),
        };
        let label = theme
            .glyphs
            .spell(&timeline::label(op, &app.picture.operations));
        let cells = [
            format!("{}", op.invoked),
            text::instant(op.start_ns, 3),
            format!("c{}", op.client),
            node,
            label,
            outcome,
            took,
            why,
        ];
        for (column, text) in columns.iter().zip(&cells) {
            column.put(buf, line, 0, text, style);
        }
        if selected {
            text::tint(buf, line, 0, 0, line.width, theme.selected());
        }
    }
}
