//! Throughput by outcome and latency over the run, with the faults on the same time axis: a dip lines up with its cause.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use super::timeline::{self, Window};
use crate::journal::{TALLY_NS, Tally};
use crate::tui::app::App;

/// Columns before the charts: the scale.
pub(super) const MARGIN: u16 = 8;

/// Nanoseconds a column: as chosen, else so that the whole run fits, on a multiple of a tally.
pub(super) fn cell_ns(app: &App, columns: u16) -> u64 {
    let fit = (app.now_ns / TALLY_NS / u64::from(columns.max(1))) + 1;
    app.chart_step.unwrap_or(fit).max(1) * TALLY_NS
}

fn window(app: &App, columns: u16) -> Window {
    let cell_ns = cell_ns(app, columns);
    let whole = u64::from(columns) * cell_ns;
    let end_ns = (app.window_end() / cell_ns + 1) * cell_ns;
    Window {
        from_ns: end_ns.max(whole) - whole,
        cell_ns,
        cells: columns,
    }
}

fn tallies(app: &App, window: Window) -> Vec<Tally> {
    let step = (window.cell_ns / TALLY_NS) as usize;
    app.picture
        .operations
        .tallies(window.to_ns() - 1, step, usize::from(window.cells))
}

/// The Charts screen.
pub(super) struct Charts<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Charts<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let upper = Rect {
            height: area.height / 2,
            ..area
        };
        let lower = Rect {
            y: area.y + upper.height,
            height: area.height - upper.height,
            ..area
        };
        let app = self.app;
        Throughput { app }.render(upper, buf);
        Latency { app }.render(lower, buf);
    }
}

/// Both charts side by side, for the Live screen.
pub(super) struct Beside<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Beside<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let left = Rect {
            width: area.width / 2,
            ..area
        };
        let right = Rect {
            x: area.x + left.width,
            width: area.width - left.width,
            ..area
        };
        let app = self.app;
        Throughput { app }.render(left, buf);
        Latency { app }.render(right, buf);
    }
}

/// A chart's parts: the scale at the left, the field, and below it faults and time.
struct Parts {
    inner: Rect,
    field: Rect,
    window: Window,
}

fn parts(app: &App, area: Rect, buf: &mut Buffer, title: &str, legend: Line<'_>) -> Option<Parts> {
    let inner = text::frame(buf, area, app.theme, false, title, legend);
    if inner.height < 4 || inner.width <= MARGIN + 4 {
        return None;
    }
    let field = Rect {
        x: inner.x + MARGIN,
        width: inner.width - MARGIN,
        height: inner.height - 2,
        ..inner
    };
    let window = window(app, field.width);
    text::put(buf, inner, 0, inner.height - 2, " fault", app.theme.dim());
    let row = Rect {
        y: field.bottom(),
        height: 1,
        ..field
    };
    timeline::shades(app, window, row, buf);
    let leaders = leaders(app, window, row, buf);
    timeline::names(app, window, row, buf, &leaders);
    timeline::ticks(
        app,
        window,
        Rect {
            y: field.bottom() + 1,
            height: 1,
            ..field
        },
        buf,
    );
    Some(Parts {
        inner,
        field,
        window,
    })
}

/// A leader's glyph where one was elected, on the row of the faults; gives those columns, which have no other word.
fn leaders(app: &App, window: Window, row: Rect, buf: &mut Buffer) -> Vec<u16> {
    let seen = |ns: &u64| (window.from_ns..window.to_ns()).contains(ns);
    let elections = app
        .picture
        .elections
        .iter()
        .map(|election| election.time_ns);
    let columns: Vec<u16> = elections
        .filter(seen)
        .map(|ns| ((ns - window.from_ns) / window.cell_ns) as u16)
        .collect();
    for &x in &columns {
        text::put(buf, row, x, 0, app.theme.glyphs.leader, app.theme.bold());
    }
    columns
}

struct Throughput<'a> {
    app: &'a App,
}

impl Widget for &Throughput<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let g = theme.glyphs;
        let legend = Line::from(vec![
            Span::styled(format!(" {} ok  ", g.heights[7]), theme.ok()),
            Span::styled(format!("{} failed  ", g.failed), theme.failed()),
            Span::styled(format!("{} unknown  ", g.maybe), theme.unknown()),
            Span::styled(format!("{} leader ", g.leader), theme.bold()),
        ]);
        let title = format!("Throughput {} operations/s", g.dot);
        let Some(Parts {
            inner,
            field,
            window,
        }) = parts(app, area, buf, &title, legend)
        else {
            return;
        };
        let tallies = tallies(app, window);
        let seconds = window.cell_ns as f64 / 1e9;
        let most = f64::from(tallies.iter().map(Tally::total).max().unwrap_or(0).max(1)) / seconds;
        text::put_right(
            buf,
            inner,
            MARGIN - 1,
            0,
            &text::fitted_number(most.round() as u64, usize::from(MARGIN) - 1),
            theme.dim(),
        );
        text::put_right(buf, inner, MARGIN - 1, field.height - 1, "0", theme.dim());
        let eighths = f64::from(field.height) * 8.0;
        for (x, tally) in tallies.iter().enumerate() {
            let height = |n: u32| (f64::from(n) / seconds / most * eighths).round() as u16;
            let ok = height(tally.ok);
            for row in 0..ok.div_ceil(8) {
                let level = (ok - row * 8).min(8);
                text::put(
                    buf,
                    field,
                    x as u16,
                    field.height - 1 - row,
                    g.heights[usize::from(level) - 1],
                    theme.ok(),
                );
            }
            // What failed and what is unknown stands on top, a cell at least: rare things must be seen.
            let mut row = ok.div_ceil(8);
            for (count, glyph, style) in [
                (tally.failed, g.failed, theme.failed()),
                (tally.unknown, g.maybe, theme.unknown()),
            ] {
                let cells = if count > 0 {
                    height(count).div_ceil(8).max(1)
                } else {
                    0
                };
                for _ in 0..cells {
                    let y = field.height.saturating_sub(1 + row);
                    text::put(buf, field, x as u16, y, glyph, style);
                    row += 1;
                }
            }
        }
    }
}

struct Latency<'a> {
    app: &'a App,
}

impl Widget for &Latency<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let g = theme.glyphs;
        let (p50, p99) = if g.ascii { ("o", "^") } else { ("•", "▴") };
        let legend = Line::from(vec![
            Span::styled(format!(" {p50} p50  "), theme.ok()),
            Span::styled(format!("{p99} p99 "), theme.bold()),
        ]);
        let Some(Parts {
            inner,
            field,
            window,
        }) = parts(
            app,
            area,
            buf,
            &format!("Latency of ok {} log scale", g.dot),
            legend,
        )
        else {
            return;
        };
        let tallies = tallies(app, window);
        let points = |share: f64| tallies.iter().map(move |tally| tally.quantile_ns(share));
        let most = points(0.99).flatten().max().unwrap_or(1_000_000_000);
        let least = points(0.5).flatten().min().unwrap_or(1_000_000);
        // Whole decades, so that the scale does not change with every operation.
        let decade = |ns: u64| (ns.max(1) as f64).log10();
        let (bottom, top) = (decade(least).floor(), decade(most).ceil());
        let top = if top <= bottom { bottom + 1.0 } else { top };
        let row = |ns: u64| {
            let share = ((decade(ns) - bottom) / (top - bottom)).clamp(0.0, 1.0);
            field.height - 1 - (share * f64::from(field.height - 1)).round() as u16
        };
        let mut named = None;
        for exponent in bottom as u32..=top as u32 {
            let ns = 10u64.saturating_pow(exponent);
            // A low chart has less rows than the scale has decades.
            if named.replace(row(ns)) == Some(row(ns)) {
                continue;
            }
            text::put_right(
                buf,
                inner,
                MARGIN - 1,
                row(ns),
                &decade_name(ns),
                theme.dim(),
            );
        }
        let mut plot = |share: f64, glyph: &str, style: Style| {
            for (x, ns) in points(share).enumerate() {
                if let Some(ns) = ns {
                    text::put(buf, field, x as u16, row(ns), glyph, style);
                }
            }
        };
        plot(0.99, p99, theme.bold());
        plot(0.5, p50, theme.ok());
    }
}

fn decade_name(ns: u64) -> String {
    match ns {
        0..=999_999 => format!("{} us", ns / 1000),
        1_000_000..=999_999_999 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}
