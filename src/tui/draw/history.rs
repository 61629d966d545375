//! The table of operations. Only the visible rows are formatted, however long the history is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{text, timeline};
use crate::tui::app::App;
use crate::tui::history_view::outcome_name;
use crate::tui::operations::Op;

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
        for (name, x) in COLUMNS {
            text::put(buf, inner, x, 0, name, theme.dim());
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
        let room = usize::from(inner.height - 1).max(1);
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
            self.row(op, inner, y as u16 + 1, first + y == selected, buf);
        }
    }
}

const COLUMNS: [(&str, u16); 8] = [
    ("#", 2),
    ("began", 10),
    ("client", 20),
    ("node", 28),
    ("operation", 34),
    ("outcome", 52),
    ("took", 61),
    ("why / log id", 71),
];

impl History<'_> {
    fn row(&self, op: &Op, inner: Rect, y: u16, selected: bool, buf: &mut Buffer) {
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
        text::put(buf, inner, 0, y, mark, theme.bold());
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
        for (i, cell) in cells.iter().enumerate() {
            let x = COLUMNS[i].1;
            let end = COLUMNS
                .get(i + 1)
                .map_or(inner.width, |(_, next)| next.saturating_sub(1))
                .min(inner.width);
            text::put(
                buf,
                Rect {
                    width: end,
                    ..inner
                },
                x,
                y,
                cell,
                style,
            );
        }
        if selected {
            text::tint(buf, inner, 0, y, inner.width, theme.selected());
        }
    }
}
