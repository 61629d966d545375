//! The Live screen: its layout, and the panels that are only a few lines.
//!
//! ```text
//!  ╭ Cluster ──────────────╮╭ Faults ─────────────────╮
//!  │ nodes, links          ││ active ones, keys       │
//!  ╰───────────────────────╯╰─────────────────────────╯
//!  ╭ Operations ──────────────────────────────────────╮
//!  │ fault bands, one lane a client, the time axis    │
//!  ╰──────────────────────────────────────────────────╯
//!  ╭ Throughput ─────────╮╭ Latency ──────────────────╮   from 100×32
//!  ╰─────────────────────╯╰───────────────────────────╯
//!  ╭ Events ──────────────────────────────────────────╮
//!  ╰──────────────────────────────────────────────────╯
//!   op/s ▂▃▅▆▇▇▇   64   p50 58 ms   p99 190 ms
//! ```
//! What there is no room for goes in this order: charts, sparkline, events, fault keys, lanes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{charts, cluster, faults, text, timeline};
use crate::journal::Tone;
use crate::tui::app::{App, Panel};

/// Where each panel is; empty when there is no room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tui) struct LiveAreas {
    pub(in crate::tui) cluster: Rect,
    pub(in crate::tui) faults: Rect,
    pub(in crate::tui) operations: Rect,
    pub(in crate::tui) charts: Rect,
    pub(in crate::tui) events: Rect,
    pub(in crate::tui) spark: Rect,
}

/// So many columns hold three nodes with all that a person looks at first.
const CLUSTER: u16 = 44;

/// Lays the panels out in `body`.
pub(in crate::tui) fn areas(app: &App, body: Rect) -> LiveAreas {
    let mut areas = LiveAreas::default();
    if app.zoomed {
        *match app.focus {
            Panel::Cluster => &mut areas.cluster,
            Panel::Faults => &mut areas.faults,
            Panel::Operations => &mut areas.operations,
            Panel::Events => &mut areas.events,
        } = body;
        return areas;
    }
    let nodes = app.picture.nodes.len().max(1) as u16;
    let roomy = body.height >= 36;
    // Five rows and more leave out the blank line above the legend where rows are few.
    let cluster = (nodes + if nodes <= 3 || roomy { 5 } else { 4 })
        .min(body.height * 2 / 5)
        .max(5);
    let spark = u16::from(body.height >= 18);
    let events = match body.height {
        0..=15 => 0,
        16..=23 => 4,
        24..=29 => 6,
        _ => body.height / 5,
    };
    let charts = if body.width >= 100 && body.height >= 30 {
        body.height / 4
    } else {
        0
    };
    let operations = body
        .height
        .saturating_sub(cluster + spark + events + charts);
    let mut y = body.y;
    let mut take = |height: u16| {
        let rect = Rect { y, height, ..body };
        y += height;
        rect
    };
    let top = take(cluster);
    // Roles and numbers have a width of their own; what the faults have left is enough for their keys.
    let left = (body.width / 2).max(CLUSTER.min(body.width * 11 / 20));
    areas.cluster = Rect { width: left, ..top };
    areas.faults = Rect {
        x: top.x + left,
        width: top.width - left,
        ..top
    };
    areas.operations = take(operations);
    areas.charts = take(charts);
    areas.events = take(events);
    areas.spark = take(spark);
    areas
}

/// The Live screen.
pub(super) struct Live<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Live<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let app = self.app;
        let areas = areas(app, area);
        cluster::Cluster { app }.render(areas.cluster, buf);
        faults::Faults { app }.render(areas.faults, buf);
        timeline::Timeline { app }.render(areas.operations, buf);
        if areas.charts.height > 0 {
            charts::Beside { app }.render(areas.charts, buf);
        }
        Events { app }.render(areas.events, buf);
        Spark { app }.render(areas.spark, buf);
    }
}

/// One line an event, newest last.
struct Events<'a> {
    app: &'a App,
}

impl Widget for &Events<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        if area.height < 3 {
            return;
        }
        let (app, theme) = (self.app, self.app.theme);
        let filter = app.filter.as_str();
        let fits = |text: &str| match filter.strip_prefix('!') {
            Some("") => true,
            Some(not) => !text.contains(not),
            None => text.contains(filter),
        };
        let shown: Vec<_> = app
            .picture
            .lines
            .iter()
            .filter(|line| fits(&line.text))
            .collect();
        let room = usize::from(area.height - 2);
        let end = shown
            .len()
            .saturating_sub(app.events_back)
            .max(room.min(shown.len()));
        // On the whole screen a long line has as many rows as it needs.
        let whole = app.zoomed && app.focus == Panel::Events;
        let words = usize::from(area.width.saturating_sub(2 + EVENT_AT));
        let mut rows: Vec<(Option<u64>, String, Tone)> = Vec::new();
        let mut visible = 0;
        for line in shown[..end].iter().rev() {
            let text = theme.glyphs.spell(&line.text);
            let parts = match whole {
                true => text::wrap(&text, words),
                false => vec![text],
            };
            if rows.len() + parts.len() > room && !rows.is_empty() {
                break;
            }
            let first = parts.len().saturating_sub(1);
            for (i, part) in parts.into_iter().rev().enumerate() {
                rows.push(((i == first).then_some(line.time_ns), part, line.tone));
            }
            visible += 1;
            if rows.len() >= room {
                break;
            }
        }
        rows.truncate(room);
        let count = format!(" {visible} of {} ", app.picture.lines.len());
        let title = if filter.is_empty() {
            "Events".to_owned()
        } else {
            format!("Events /{filter}")
        };
        let focused = app.focus == Panel::Events;
        let inner = text::frame(
            buf,
            area,
            theme,
            focused,
            &title,
            Line::from(Span::styled(count, theme.dim())),
        );
        for (y, (time_ns, text, tone)) in rows.iter().rev().enumerate() {
            let style = match tone {
                Tone::Plain => theme.ok(),
                Tone::Fault => theme.fault(),
                Tone::Violation => theme.violation(),
                Tone::Loud => theme.loud(),
                Tone::Dim => theme.dim(),
            };
            let y = y as u16;
            if let Some(time_ns) = time_ns {
                // Nobody counts tenths of a second after an hour and a half.
                let digits = usize::from(*time_ns < 6_000_000_000_000);
                let instant = text::instant(*time_ns, digits);
                let cell = text::Cell {
                    x: 1,
                    width: EVENT_AT - 2,
                };
                cell.put(buf, inner, y, &instant, theme.dim());
            }
            text::put(buf, inner, EVENT_AT, y, text, style);
        }
    }
}

/// Where an event's sentence begins: its instant is before it.
const EVENT_AT: u16 = 9;

/// Throughput of the last stretch as a sparkline, and the numbers beside it.
struct Spark<'a> {
    app: &'a App,
}

impl Widget for &Spark<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let operations = &app.picture.operations;
        let now_ns = app.now_ns;
        let last = operations.recent(now_ns, 5_000_000_000);
        let quantile = |share| {
            last.quantile_ns(share)
                .map_or_else(|| "-".to_owned(), text::span)
        };
        let unknown = f64::from(last.unknown) * 100.0 / f64::from(last.total().max(1));
        // The newest stretch is still being filled: the one before it is the rate.
        let rate = operations.recent(now_ns, 1_000_000_000).total();
        let numbers = format!(
            "{rate:>5}   p50 {}  p99 {}  unknown {unknown:.1} % ",
            quantile(0.5),
            quantile(0.99)
        );
        let x = text::put(buf, area, 1, 0, "op/s ", theme.dim());
        let right = Rect {
            x: area.x + x.min(area.width),
            width: area.width.saturating_sub(x),
            ..area
        };
        let room = usize::from(right.width.saturating_sub(text::width(&numbers)));
        if room >= 16 {
            let tallies = operations.tallies(now_ns.saturating_sub(500_000_000), 5, room.min(120));
            let most = tallies
                .iter()
                .map(crate::journal::Tally::total)
                .max()
                .unwrap_or(0)
                .max(1);
            for (i, tally) in tallies.iter().enumerate() {
                let total = tally.total();
                let glyph = match total {
                    0 => " ",
                    n => theme.glyphs.heights[(n as usize * 7 / most as usize).min(7)],
                };
                text::put(buf, right, i as u16, 0, glyph, theme.ok());
            }
        }
        text::put_right(buf, right, right.width, 0, &numbers, theme.ok());
    }
}
