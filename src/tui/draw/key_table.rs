//! The keys of a run, a row each, worst first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use super::verdict::Foot;
use crate::journal::VerdictWord;
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
            text::size(picture.progress.configurations),
            picture.progress.open
        );
        let title = format!("Keys {} {}, worst first", g.dot, rows.len());
        let below = Below { app }.lines(area);
        let upper = Rect {
            height: area.height - below.len() as u16,
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
        let columns = text::cells(2, &[17, 10, 7, 9, 1], inner.width);
        let [key, operations, open, unknown, state] = columns[..] else {
            return;
        };
        key.put(buf, inner, 0, "key", theme.dim());
        for (cell, name) in [
            (operations, "operations"),
            (open, "open"),
            (unknown, "unknown"),
        ] {
            cell.put_right(buf, inner, 0, name, theme.dim());
        }
        state.put(buf, inner, 0, "state", theme.dim());
        let end = picture.end.as_ref();
        let held = end.is_some_and(|end| end.verdict == VerdictWord::Linearizable);
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
            let (words, style) = match row.worst {
                2 => (
                    format!("{} not linearizable: enter shows why", g.violation),
                    theme.violation(),
                ),
                1 => (
                    format!("{} gave up: too many worlds", g.unknown),
                    theme.unknown(),
                ),
                _ if held => (format!("{} linearizable", g.holds), theme.ok()),
                _ => (format!("{} linearizable so far", g.holds), theme.ok()),
            };
            let (mark, name) = match i == selected {
                true => (g.open, theme.bold()),
                false => (" ", theme.ok()),
            };
            text::put(buf, inner, 0, y, mark, theme.bold());
            key.put(buf, inner, y, &g.spell(&row.name), name);
            operations.number(buf, inner, y, row.operations as u64, theme.ok());
            open.number(buf, inner, y, row.open as u64, theme.ok());
            let many = if row.unknown > 0 {
                theme.unknown()
            } else {
                theme.ok()
            };
            unknown.number(buf, inner, y, u64::from(row.unknown), many);
            state.put(buf, inner, y, &words, style);
        }
        let rest = Rect {
            y: upper.bottom(),
            height: below.len() as u16,
            ..area
        };
        for (y, (line, style)) in below.iter().enumerate() {
            text::put(buf, rest, 1, y as u16, line, *style);
        }
    }
}

/// What stands below the keys: what other oracles found, whole, how the run ended, and how to run it again.
struct Below<'a> {
    app: &'a App,
}

impl Below<'_> {
    fn lines(&self, area: Rect) -> Vec<(String, Style)> {
        let (app, theme) = (self.app, self.app.theme);
        let (picture, g) = (&app.picture, theme.glyphs);
        let room = usize::from(area.width.saturating_sub(2));
        let mut lines: Vec<(String, Style)> = Vec::new();
        let mut last: Vec<(String, Style)> = Vec::new();
        if let Some(end) = &picture.end {
            let said = format!("{} (exit {})", end.summary, end.exit);
            let said = text::wrap(&g.spell(&said), room).into_iter();
            last.extend(said.map(|line| (line, theme.bold())));
        }
        if picture.end.is_some() || !picture.findings.is_empty() {
            let foot = Foot { app }.lines(area).into_iter();
            last.extend(foot.map(|line| (line, theme.dim())));
        }
        for finding in &picture.findings {
            let said = format!("! {}: {}", finding.oracle(), finding.evidence);
            let said = text::wrap(&g.spell(&said), room).into_iter();
            lines.extend(said.map(|line| (line, theme.loud())));
        }
        // The keys keep a third of the screen.
        let most = usize::from(area.height * 2 / 3);
        last.truncate(most);
        let most = most - last.len();
        if lines.len() > most {
            let more = lines.len() - most.saturating_sub(1);
            lines.truncate(most.saturating_sub(1));
            if most > 0 {
                let words = format!("… {more} more lines: verdict.json has them all");
                lines.push((g.spell(&words), theme.dim()));
            }
        }
        lines.extend(last);
        lines
    }
}
