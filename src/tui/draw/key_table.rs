//! The keys of a run, a row each, worst first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use crate::tui::app::App;

/// One key's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tui) struct KeyRow {
    pub(in crate::tui) name: String,
    operations: usize,
    open: usize,
    unknown: u32,
    worst: u8,
}

/// The keys, worst first.
pub(in crate::tui) fn key_rows(app: &App) -> Vec<KeyRow> {
    let (picture, operations) = (&app.picture, &app.picture.operations);
    let mut open = vec![0; operations.keys()];
    for op in operations.running() {
        open[op.key as usize] += 1;
    }
    let mut rows: Vec<KeyRow> = (0..operations.keys())
        .map(|key| {
            let name = operations.key_name(key as u32).to_owned();
            let worst = match () {
                () if picture
                    .alarm
                    .as_ref()
                    .is_some_and(|found| found.key == name) =>
                {
                    2
                }
                () if picture.progress.gave_up.as_ref() == Some(&name) => 1,
                () => 0,
            };
            let unknown = operations.unknown_of(key as u32);
            KeyRow {
                name,
                operations: operations.of_key(key as u32).len(),
                open: open[key],
                unknown,
                worst,
            }
        })
        .collect();
    rows.sort_by(|a, b| {
        (b.worst, b.unknown, b.operations)
            .cmp(&(a.worst, a.unknown, a.operations))
            .then_with(|| a.name.cmp(&b.name))
    });
    rows
}

/// A row per key.
pub(super) struct Keys<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Keys<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let g = theme.glyphs;
        let picture = &app.picture;
        let rows = key_rows(app);
        let worlds = format!(
            " {} worlds, {} open ",
            text::size(picture.progress.worlds),
            picture.progress.open
        );
        let title = format!("Keys {} {}, worst first", g.dot, rows.len());
        let extra = picture.findings.len().min(4) as u16 + u16::from(picture.end.is_some());
        let upper = Rect {
            height: area.height.saturating_sub(extra),
            ..area
        };
        let inner = text::frame(
            buf,
            upper,
            theme,
            true,
            &title,
            Line::from(Span::styled(worlds, theme.dim())),
        );
        for (name, end) in [("operations", 30), ("open", 38), ("unknown", 48)] {
            text::put_right(buf, inner, end, 0, name, theme.dim());
        }
        text::put(buf, inner, 2, 0, "key", theme.dim());
        text::put(buf, inner, 52, 0, "state", theme.dim());
        let room = usize::from(inner.height.saturating_sub(1)).max(1);
        let selected = app.verdict.row.min(rows.len().saturating_sub(1));
        let first = selected
            .saturating_sub(room / 2)
            .min(rows.len().saturating_sub(room));
        if rows.is_empty() {
            text::put(buf, inner, 2, 1, "no operation yet", theme.dim());
        }
        for (y, (i, row)) in rows.iter().enumerate().skip(first).take(room).enumerate() {
            let y = y as u16 + 1;
            let (state, style) = match row.worst {
                2 => (
                    format!("{} not linearizable: enter shows why", g.violation),
                    theme.violation(),
                ),
                1 => (
                    format!("{} gave up: too many worlds", g.unknown),
                    theme.unknown(),
                ),
                _ => (format!("{} linearizable so far", g.holds), theme.ok()),
            };
            text::put(
                buf,
                inner,
                0,
                y,
                if i == selected { g.open } else { " " },
                theme.bold(),
            );
            text::put(
                buf,
                inner,
                2,
                y,
                &row.name,
                if i == selected {
                    theme.bold()
                } else {
                    theme.ok()
                },
            );
            text::put_right(
                buf,
                inner,
                30,
                y,
                &text::number(row.operations as u64),
                theme.ok(),
            );
            text::put_right(buf, inner, 38, y, &row.open.to_string(), theme.ok());
            let unknown = if row.unknown > 0 {
                theme.unknown()
            } else {
                theme.ok()
            };
            text::put_right(buf, inner, 48, y, &row.unknown.to_string(), unknown);
            text::put(buf, inner, 52, y, &state, style);
        }
        let mut y = upper.height;
        for finding in picture.findings.iter().take(4) {
            let line = format!("! {}: {}", finding.oracle, finding.evidence);
            text::put(buf, area, 1, y, &g.spell(&line), theme.loud());
            y += 1;
        }
        if let Some(end) = &picture.end {
            text::put(
                buf,
                area,
                1,
                y,
                &g.spell(&format!("{} (exit {})", end.summary, end.exit)),
                theme.bold(),
            );
        }
    }
}
