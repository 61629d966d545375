//! Operations over time: one lane a client, fault bands above, the time axis below.
//!
//! The zoom is semantic, for at 600 operations a second one of 6 ms is thinner than a cell. Near, an operation is a bar
//! with its label inside; far, a cell is a slice that shows the worst that ended in it, else how much:
//!
//! ```text
//!  fault ░░░░░░ cut n1 → n3 ░░░░░░░▒▒▒▒▒▒▒▒        fault ░░░░░░░░░▒▒▒▒▒▒
//!  c1    ├w k2=17┤├r k1→4┤├w k4=9────────▸         c1    ⣤⣤⣦⣷⣤×⣤⣤⣤⣤⣷⣷⣷⣤▸
//!  c3    ┄┄ cas k3 2→8, unknown since 0:41.2 ┄     c3    ⣤⣤⣤┄┄┄┄┄┄┄┄┄┄┄┄
//! ```

use std::collections::BTreeMap;

use checkers::history::{Call, ClientId, Outcome};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use crate::fault::Fault;
use crate::journal::{Asked, Op, Operations};
use crate::tui::app::{App, Panel};

/// A lane's client: the selection is before it, and a blank behind it.
const CLIENT: text::Cell = text::Cell { x: 1, width: 5 };

/// Columns before the lanes: selection and client.
pub(super) const MARGIN: u16 = CLIENT.x + CLIENT.width + 1;

/// A median operation under so many cells is drawn as a slice of its lane.
const BAR_CELLS: u64 = 3;

/// A stretch of time on a row of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from_ns: u64,
    pub(super) cell_ns: u64,
    pub(super) cells: u16,
}

impl Window {
    /// The window that the app shows on so many cells. It ends on a multiple of a cell, so that bars move by whole cells.
    pub(super) fn of(app: &App, cells: u16) -> Window {
        let cell_ns = app.cell();
        let whole = u64::from(cells) * cell_ns;
        let end_ns = (app.window_end() / cell_ns + 1) * cell_ns;
        Window {
            from_ns: end_ns.max(whole) - whole,
            cell_ns,
            cells,
        }
    }

    /// The window's end.
    pub(super) fn to_ns(self) -> u64 {
        self.from_ns + u64::from(self.cells) * self.cell_ns
    }

    /// The cell of an instant; outside of `0..cells` when it is outside of the window.
    fn cell(self, time_ns: u64) -> i64 {
        (time_ns as i64 - self.from_ns as i64).div_euclid(self.cell_ns as i64)
    }

    fn clamp(self, time_ns: u64) -> u16 {
        self.cell(time_ns).clamp(0, i64::from(self.cells)) as u16
    }

    /// Whether an operation is wide enough for a bar with a label in it.
    fn shows_bars(self, app: &App) -> bool {
        let recent = app.picture.operations.recent(self.to_ns(), 5_000_000_000);
        let median = recent.quantile_ns(0.5).unwrap_or(0);
        median == 0 || median / self.cell_ns >= BAR_CELLS
    }

    /// The operations in it, by client.
    fn by_client(self, operations: &Operations) -> BTreeMap<ClientId, Vec<usize>> {
        let mut lanes: BTreeMap<ClientId, Vec<usize>> = BTreeMap::new();
        for at in operations.window(self.from_ns, self.to_ns()) {
            lanes
                .entry(operations.all()[at].client)
                .or_default()
                .push(at);
        }
        lanes
    }

    /// The clients that have something in it, top to bottom.
    pub(super) fn lanes(self, app: &App) -> Vec<ClientId> {
        self.by_client(&app.picture.operations)
            .into_keys()
            .collect()
    }
}

/// How many rows the lanes have between the faults' and the axis, and whether there is an axis.
fn lane_rows(inner: Rect) -> (u16, bool) {
    let axis = inner.height >= 3;
    (inner.height.saturating_sub(1 + u16::from(axis)), axis)
}

/// The first lane that is shown: the selected one stays in sight.
fn first_lane(app: &App, lanes: usize, rows: usize) -> usize {
    let selected = app.lane.min(lanes.saturating_sub(1));
    selected.saturating_sub(rows.saturating_sub(1))
}

/// The lane that is drawn in a row of the panel, counted from the first one behind the faults'.
pub(super) fn lane_at_row(app: &App, area: Rect, row: usize) -> Option<usize> {
    let inner = text::inside(area);
    let lanes = Window::of(app, inner.width.saturating_sub(MARGIN))
        .lanes(app)
        .len();
    let rows = usize::from(lane_rows(inner).0);
    let lane = first_lane(app, lanes, rows) + row;
    (row < rows && lane < lanes).then_some(lane)
}

/// The panel.
pub(super) struct Timeline<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Timeline<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let g = theme.glyphs;
        let window = Window::of(app, area.width.saturating_sub(MARGIN + 2));
        let shown = text::span(u64::from(window.cells) * window.cell_ns);
        let stretch = match app.end_ns {
            Some(end) => format!("{shown} up to {}", text::instant(end, 2)),
            None if app.is_whole() => "the whole run".to_owned(),
            None => format!("last {shown}"),
        };
        let title = format!("Operations {} {stretch}", g.dot);
        // Far away a cell is a slice of its lane, and an ok one is as dense as much of it ended there.
        let ok = match window.shows_bars(app) {
            true => g.end,
            false => g.densities[7],
        };
        let legend = Line::from(vec![
            Span::styled(format!(" {ok} ok  "), theme.ok()),
            Span::styled(format!("{} failed  ", g.failed), theme.failed()),
            Span::styled(format!("{} unknown  ", g.maybe), theme.unknown()),
            Span::styled(format!("{} open ", g.open), theme.ok()),
        ]);
        let inner = text::frame(
            buf,
            area,
            theme,
            app.focus == Panel::Operations,
            &title,
            legend,
        );
        if inner.height == 0 || inner.width <= MARGIN {
            return;
        }
        let field = Rect {
            x: inner.x + MARGIN,
            width: inner.width - MARGIN,
            ..inner
        };
        text::put(buf, inner, 0, 0, "fault", theme.dim());
        bands(app, window, field, buf);
        let (rows, axis) = lane_rows(inner);
        if axis {
            ticks(
                app,
                window,
                Rect {
                    y: inner.bottom() - 1,
                    height: 1,
                    ..field
                },
                buf,
            );
        }
        let hidden = window.lanes(app).len().saturating_sub(usize::from(rows));
        if axis && hidden > 0 {
            let more = format!("{}{hidden}", g.spell("↓"));
            CLIENT.put(buf, inner, inner.height - 1, &more, theme.dim());
        }
        self.lanes(
            window,
            Rect {
                y: inner.y + 1,
                height: rows,
                ..inner
            },
            buf,
        );
    }
}

impl Timeline<'_> {
    fn lanes(&self, window: Window, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let lanes = window.by_client(&app.picture.operations);
        if lanes.is_empty() {
            text::put(
                buf,
                area,
                MARGIN,
                0,
                "no operation in this window",
                theme.dim(),
            );
            return;
        }
        let rows = usize::from(area.height);
        let selected = app.lane.min(lanes.len() - 1);
        let first = first_lane(app, lanes.len(), rows);
        let focused = app.focus == Panel::Operations;
        let bars = window.shows_bars(app);
        for (y, (row, (client, positions))) in
            lanes.iter().enumerate().skip(first).take(rows).enumerate()
        {
            let chosen = focused && row == selected;
            let mark = if chosen { theme.glyphs.open } else { " " };
            text::put(buf, area, 0, y as u16, mark, theme.bold());
            let style = if chosen { theme.bold() } else { theme.ok() };
            CLIENT.put(buf, area, y as u16, &format!("c{client}"), style);
            let field = Rect {
                x: area.x + MARGIN,
                y: area.y + y as u16,
                width: window.cells,
                height: 1,
            };
            if bars {
                self.bars(window, positions, field, buf);
            } else {
                self.slices(window, positions, field, buf);
            }
        }
    }

    fn culprit(&self, op: &Op) -> bool {
        self.app
            .picture
            .alarm
            .as_ref()
            .is_some_and(|found| found.culprit == op.invoked)
    }

    fn bars(&self, window: Window, positions: &[usize], field: Rect, buf: &mut Buffer) {
        let (app, ops) = (self.app, self.app.picture.operations.all());
        let mut free = 0;
        for (i, &at) in positions.iter().enumerate() {
            let op = &ops[at];
            let next = positions
                .get(i + 1)
                .map_or(window.cells, |&next| window.clamp(ops[next].start_ns));
            let end_ns = if op.is_endless() {
                app.now_ns.max(op.start_ns)
            } else {
                op.end_ns
            };
            let (from, to) = (
                window.clamp(op.start_ns).max(free),
                window.clamp(end_ns).min(window.cells.saturating_sub(1)),
            );
            if from > to {
                continue;
            }
            let bar = Bar {
                from,
                to,
                next,
                cut: window.cell(op.start_ns) < 0,
                culprit: self.culprit(op),
            };
            bar.draw(app, op, field, buf);
            free = to + 1;
        }
    }

    fn slices(&self, window: Window, positions: &[usize], field: Rect, buf: &mut Buffer) {
        let (theme, ops) = (self.app.theme, self.app.picture.operations.all());
        let g = theme.glyphs;
        // Worst and count of what ended in each cell; 0 is nothing.
        let mut cells = vec![(0u8, 0u32); usize::from(window.cells)];
        let mut mark = |cell: i64, badness: u8| {
            if let Some((worst, count)) = usize::try_from(cell)
                .ok()
                .and_then(|cell| cells.get_mut(cell))
            {
                *worst = (*worst).max(badness);
                *count += 1;
            }
        };
        let now = window.cell(self.app.now_ns);
        for &at in positions {
            let op = &ops[at];
            let badness = match op.outcome {
                _ if self.culprit(op) => 5,
                Some(Outcome::Ok(_)) => 1,
                None => 2,
                Some(Outcome::Failed | Outcome::Differed(_)) => 3,
                Some(Outcome::Unknown) => 4,
            };
            match badness {
                4 => (window.cell(op.start_ns).max(0)..=now).for_each(|cell| mark(cell, 4)),
                2 => mark(now, 2),
                _ => mark(window.cell(op.end_ns.min(self.app.now_ns)), badness),
            }
        }
        let most = cells
            .iter()
            .map(|(_, count)| *count)
            .max()
            .unwrap_or(0)
            .max(1);
        for (x, (worst, count)) in cells.into_iter().enumerate() {
            let (glyph, style) = match worst {
                0 => continue,
                1 => (
                    g.densities[((count * 8 / most).max(1) - 1).min(7) as usize],
                    theme.ok(),
                ),
                2 => (g.open, theme.ok()),
                3 => (g.failed, theme.failed()),
                4 => (g.maybe, theme.unknown()),
                _ => (g.violation, theme.violation()),
            };
            text::put(buf, field, x as u16, 0, glyph, style);
        }
    }
}

/// One operation as a bar: its first and last cell, and where the next one begins.
struct Bar {
    from: u16,
    to: u16,
    next: u16,
    cut: bool,
    culprit: bool,
}

impl Bar {
    fn draw(&self, app: &App, op: &Op, field: Rect, buf: &mut Buffer) {
        let (theme, g) = (app.theme, app.theme.glyphs);
        let (end, fill, style) = match op.outcome {
            None => (g.open, g.middle, theme.ok()),
            Some(Outcome::Ok(_)) => (g.end, g.middle, theme.ok()),
            Some(Outcome::Failed | Outcome::Differed(_)) => (g.failed, g.middle, theme.failed()),
            Some(Outcome::Unknown) => (g.maybe, g.maybe, theme.unknown()),
        };
        let style = if self.culprit {
            theme.violation()
        } else {
            style
        };
        let name = g.spell(&label(op, &app.picture.operations));
        for x in self.from..=self.to {
            text::put(buf, field, x, 0, fill, style);
        }
        if op.outcome == Some(Outcome::Unknown) {
            let long = format!(" {name}, unknown since {} ", text::instant(op.start_ns, 1));
            self.inside(&[&long, &format!(" {name} ")], field, buf, style, true);
            return;
        }
        if !self.cut && self.from < self.to {
            text::put(buf, field, self.from, 0, g.begin, style);
        }
        self.inside(&[&name], field, buf, style, false);
        text::put(buf, field, self.to, 0, end, style);
        if op.outcome.is_some_and(Outcome::is_failed) {
            let room = self.next.saturating_sub(self.to + 2);
            let why = op.error.as_deref().unwrap_or("failed");
            if room >= 6 {
                let field = Rect {
                    width: (self.to + 2 + room).min(field.width),
                    ..field
                };
                text::put(buf, field, self.to + 2, 0, &g.spell(why), style);
            }
        }
    }

    /// The first of the labels that fits between the ends.
    fn inside(&self, labels: &[&str], field: Rect, buf: &mut Buffer, style: Style, centred: bool) {
        let room = (self.to - self.from + 1).saturating_sub(2);
        for label in labels {
            let width = Span::raw(*label).width() as u16;
            if width <= room {
                let indent = if centred { (room - width) / 2 } else { 0 };
                text::put(buf, field, self.from + 1 + indent, 0, label, style);
                return;
            }
        }
    }
}

/// An operation in a few columns: `w k2=17`, `r k1→4`, `cas k3 2→8`.
pub(super) fn label(op: &Op, operations: &Operations) -> String {
    let key = operations.key_name(op.key);
    match &op.asked {
        Asked::Call(call) => named(key, *call, op.outcome),
        Asked::Typed { name, with } => {
            let parts = [&**name, key, &**with].into_iter();
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            parts.join(" ")
        }
    }
}

/// The same, of its parts.
pub(super) fn named(key: &str, call: Call, outcome: Option<Outcome>) -> String {
    match (call, outcome) {
        (Call::Read, Some(Outcome::Ok(Some(value)))) => format!("r {key}→{value}"),
        (Call::Read, Some(Outcome::Ok(None))) => format!("r {key}→∅"),
        (Call::Read, _) => format!("r {key}"),
        (Call::Write(value), _) => format!("w {key}={value}"),
        (Call::Cas { old, new }, _) => format!("cas {key} {old}→{new}"),
        (Call::Delete, _) => format!("del {key}"),
        (Call::Append(value), _) => format!("app {key}+{value}"),
    }
}

/// The faults over the same time: a row of shade, darker where two lie over one another, with their names where they fit.
pub(super) fn bands(app: &App, window: Window, field: Rect, buf: &mut Buffer) {
    shades(app, window, field, buf);
    names(app, window, field, buf, &[]);
}

/// The faults that were in then, by their first and last cell.
fn faults(app: &App, window: Window) -> Vec<(u16, u16, &Fault)> {
    let spans = app.picture.faults.iter().filter_map(|span| {
        let out_ns = span.out_ns.unwrap_or(app.now_ns);
        if span.in_ns >= window.to_ns() || out_ns < window.from_ns {
            return None;
        }
        let last = window.cells.saturating_sub(1);
        let (from, to) = (window.clamp(span.in_ns), window.clamp(out_ns).min(last));
        Some((from, to, &span.fault))
    });
    spans.collect()
}

/// The shade of the faults.
pub(super) fn shades(app: &App, window: Window, field: Rect, buf: &mut Buffer) {
    let (theme, g) = (app.theme, app.theme.glyphs);
    let mut depth = vec![0u8; usize::from(window.cells)];
    for (from, to, _) in faults(app, window) {
        let cells = depth.iter_mut().take(usize::from(to) + 1);
        for cell in cells.skip(usize::from(from)) {
            *cell = cell.saturating_add(1);
        }
    }
    for (x, depth) in depth.iter().enumerate() {
        match depth {
            0 => {}
            1 => drop(text::put(buf, field, x as u16, 0, g.band, theme.fault())),
            _ => drop(text::put(buf, field, x as u16, 0, g.bands, theme.fault())),
        }
    }
}

/// The names of the faults on their shade, where they fit and cover none of the columns that are `taken`.
pub(super) fn names(app: &App, window: Window, field: Rect, buf: &mut Buffer, taken: &[u16]) {
    let (theme, g) = (app.theme, app.theme.glyphs);
    let mut free = 0;
    let mut faults = faults(app, window);
    faults.sort_by_key(|(from, _, _)| *from);
    for (from, to, fault) in faults {
        let name = g.spell(&fault.to_string());
        let name = if from < free {
            format!(" + {name} ")
        } else {
            format!(" {name} ")
        };
        let (width, from) = (text::width(&name), from.max(free));
        let room = (to + 1).saturating_sub(from);
        let at = from + 1;
        let covers = taken.iter().any(|x| (at..at + width).contains(x));
        if width + 2 <= room && !covers {
            free = text::put(buf, field, at, 0, &name, theme.fault()) + 1;
        }
    }
}

/// The time axis: a label at round instants, at least fourteen cells apart.
pub(super) fn ticks(app: &App, window: Window, row: Rect, buf: &mut Buffer) {
    let least_ns = window.cell_ns * 14;
    let steps = (0..8).flat_map(|power| [1, 2, 5].map(|lead| lead * 1_000_000 * 10u64.pow(power)));
    let step_ns = steps
        .into_iter()
        .find(|&step| step >= least_ns)
        .unwrap_or(least_ns);
    let digits = match step_ns {
        0..=9_999_999 => 3,
        10_000_000..=99_999_999 => 2,
        100_000_000..=999_999_999 => 1,
        _ => 0,
    };
    let mut at_ns = window.from_ns.div_ceil(step_ns) * step_ns;
    while at_ns < window.to_ns() {
        let x = window.clamp(at_ns);
        let name = text::instant(at_ns, digits);
        if x + name.len() as u16 <= window.cells {
            text::put(buf, row, x, 0, &name, app.theme.dim());
        }
        at_ns += step_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_in_a_few_columns() {
        let check =
            |call, outcome, expected: &str| assert_eq!(named("k1", call, outcome), expected);
        check(Call::Read, None, "r k1");
        check(Call::Read, Some(Outcome::Ok(Some(4))), "r k1→4");
        check(Call::Read, Some(Outcome::Ok(None)), "r k1→∅");
        check(Call::Write(7), Some(Outcome::Unknown), "w k1=7");
        check(
            Call::Cas { old: 2, new: 8 },
            Some(Outcome::Failed),
            "cas k1 2→8",
        );
        check(Call::Delete, None, "del k1");
    }

    #[test]
    fn an_instant_has_its_cell_and_what_is_before_the_window_is_before_its_cells() {
        let window = Window {
            from_ns: 1000,
            cell_ns: 10,
            cells: 5,
        };
        assert_eq!(
            [999, 1000, 1009, 1010, 1050].map(|t| window.cell(t)),
            [-1, 0, 0, 1, 5]
        );
        assert_eq!([0, 1049, 9999].map(|t| window.clamp(t)), [0, 4, 5]);
    }
}
