//! What is wrong now, and the keys that make more of it or less: nothing to memorise.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use crate::fault::{Fault, Mark};
use crate::journal::ChildState;
use crate::tui::app::{App, Panel};
use crate::tui::keys::{self, Verb};
use crate::tui::update::possible_now;

/// The panel.
pub(super) struct Faults<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Faults<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let count = app.picture.active().count();
        let title = format!("Faults {} {count} active", theme.glyphs.dot);
        let inner = text::frame(
            buf,
            area,
            theme,
            app.focus == Panel::Faults,
            &title,
            Line::default(),
        );
        if inner.height == 0 {
            return;
        }
        let keys = key_lines(app, inner.width);
        let room = room(&keys, inner);
        let kept = usize::from(inner.height) - room;
        self.active(
            buf,
            Rect {
                height: room as u16,
                ..inner
            },
            count,
        );
        for (i, line) in keys.into_iter().take(kept).enumerate() {
            text::put_line(buf, inner, 0, (room + i) as u16, &line);
        }
    }
}

/// How many rows the faults have. Where rows are few the keys give way to them, down to one line.
fn room(keys: &[Line<'_>], inner: Rect) -> usize {
    let kept = match inner.height {
        0..=2 => 0,
        3..=4 => 1,
        _ => keys.len().min(usize::from(inner.height) / 2),
    };
    usize::from(inner.height) - kept
}

/// The first fault that is shown, and how many are. Too many for the panel: the selected one stays in sight, and the last
/// line says how many are not.
fn window(app: &App, count: usize, room: usize) -> (usize, usize) {
    let shown = match count > room {
        true => room.saturating_sub(1).max(1),
        false => room,
    };
    let first = match app.focus {
        Panel::Faults => {
            let selected = app.fault.min(count.saturating_sub(1));
            selected.saturating_sub(shown.saturating_sub(1))
        }
        _ => count.saturating_sub(shown),
    };
    (first, shown)
}

/// The fault that is drawn in a row of the panel, counted from its first one behind the frame.
pub(super) fn at_row(app: &App, area: Rect, row: usize) -> Option<usize> {
    let inner = text::inside(area);
    let count = app.picture.active().count();
    let (first, shown) = window(app, count, room(&key_lines(app, inner.width), inner));
    (row < shown && first + row < count).then_some(first + row)
}

impl Faults<'_> {
    fn active(&self, buf: &mut Buffer, area: Rect, count: usize) {
        let (app, theme) = (self.app, self.app.theme);
        if count == 0 {
            let words = match (app.is_live(), &app.replay) {
                (true, _) => "nothing is wrong",
                (false, Some(_)) => "no fault was in at this moment",
                (false, None) => "the run is over: no fault is in",
            };
            text::put(buf, area, 1, 0, words, theme.dim());
            return;
        }
        let room = usize::from(area.height);
        let selected = app.fault.min(count - 1);
        let focused = app.focus == Panel::Faults;
        let (first, shown) = window(app, count, room);
        for (y, (i, span)) in app
            .picture
            .active()
            .enumerate()
            .skip(first)
            .take(shown)
            .enumerate()
        {
            let y = y as u16;
            let age = text::span(app.now_ns.saturating_sub(span.in_ns));
            let mark = if focused && i == selected {
                theme.glyphs.open
            } else {
                " "
            };
            text::put(buf, area, 0, y, mark, theme.bold());
            let x = text::put(buf, area, 1, y, glyph(app, &span.fault), theme.fault());
            let words = Rect {
                width: area.width.saturating_sub(text::width(&age) + 1),
                ..area
            };
            text::put(
                buf,
                words,
                x + 1,
                y,
                &theme.glyphs.spell(&span.fault.to_string()),
                theme.fault(),
            );
            text::put_right(buf, area, area.width, y, &age, theme.dim());
        }
        if count > shown && room > 1 {
            text::put(
                buf,
                area,
                3,
                shown as u16,
                &format!("and {} more", count - shown),
                theme.dim(),
            );
        }
    }
}

pub(super) fn glyph(app: &App, fault: &Fault) -> &'static str {
    let glyphs = app.theme.glyphs;
    match fault.kind().mark() {
        Mark::Dead => glyphs.dead,
        Mark::Paused => glyphs.paused,
        Mark::Slow => glyphs.slow,
        Mark::Cut => glyphs.cut,
    }
}

/// The keys for what is selected, then those for everything.
fn key_lines(app: &App, width: u16) -> Vec<Line<'static>> {
    let arrow = app.theme.glyphs.arrow;
    let mut lines = Vec::new();
    if !app.is_live() && !app.picture.nodes.is_empty() {
        // None of them does anything any more.
        return lines;
    }
    if let Some((from, to)) = app.selected_link() {
        let name = format!("n{from}{arrow}n{to}");
        lines.push(keys_of(
            app,
            &name,
            &[
                (Verb::Cut, "cut"),
                (Verb::CutBoth, "both ways"),
                (Verb::Delay, "delay"),
            ],
        ));
    } else if let Some(id) = app.selected_node() {
        let child = app.picture.nodes[&id].child;
        let pause = if child == ChildState::Paused {
            "resume"
        } else {
            "pause"
        };
        let restart = if child == ChildState::Dead {
            "start"
        } else {
            "restart"
        };
        let name = format!("n{id}");
        let mut first = [
            (Verb::Kill, "kill"),
            (Verb::Pause, pause),
            (Verb::Isolate, "isolate"),
        ];
        let mut second = [
            (Verb::Restart, restart),
            (Verb::Delay, "delay"),
            (Verb::Open, "card"),
        ];
        if child == ChildState::Dead {
            // What a dead node needs is the one thing that can be done with it.
            std::mem::swap(&mut first[0], &mut second[0]);
        }
        lines.push(keys_of(app, &name, &first));
        if app.size.1 >= 28 {
            lines.push(keys_of(app, "", &second));
        }
    }
    lines.push(keys_of(
        app,
        "all",
        &[(Verb::FaultMenu, "fault menu"), (Verb::HealAll, "heal all")],
    ));
    let (on, turn) = if app.picture.nemesis {
        ("on", "off")
    } else {
        ("off", "on")
    };
    let mut last = keys_of(
        app,
        "",
        &[(
            Verb::Nemesis,
            if turn == "on" { "turn on" } else { "turn off" },
        )],
    );
    last.spans.splice(
        0..1,
        [Span::styled(format!(" nemesis {on:<5}"), app.theme.dim())],
    );
    if width >= 44 {
        let hold = if app.picture.workload_paused {
            "let it go on"
        } else {
            "hold workload"
        };
        last.spans.extend(
            keys_of(app, "", &[(Verb::Hold, hold)])
                .spans
                .into_iter()
                .skip(1),
        );
    }
    lines.push(last);
    lines
}

fn keys_of(app: &App, name: &str, verbs: &[(Verb, &str)]) -> Line<'static> {
    let mut spans = vec![Span::styled(format!(" {name:<6}"), app.theme.bold())];
    for (verb, word) in verbs {
        let possible = possible_now(app, *verb).is_ok();
        let (key, rest) = if possible {
            (app.theme.key(), app.theme.ok())
        } else {
            (app.theme.dim(), app.theme.dim())
        };
        spans.push(Span::styled(keys::binding(*verb).key(), key));
        spans.push(Span::styled(format!(" {word}  "), rest));
    }
    Line::from(spans)
}
