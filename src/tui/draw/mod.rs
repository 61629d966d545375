//! What the [`App`] looks like: pure functions of it, one widget a panel.
//!
//! A frame is drawn whole each time. Every rectangle is cut to what there is, and a panel that has no room says less
//! instead of failing: `tests.rs` draws everything at every size from 1×1.

mod card;
mod charts;
mod cluster;
mod faults;
mod head;
mod history;
mod key_table;
mod live;
mod overlays;
mod text;
mod timeline;
mod verdict;

#[cfg(test)]
mod cut_tests;
#[cfg(test)]
mod tests;

use checkers::history::ClientId;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::Widget;

use super::app::{App, Overlay};
use super::keys::Screen;
use super::tour;

pub(super) use head::{hint_at, tab_at};
pub(super) use key_table::key_rows;
pub(super) use live::areas;

/// The least size at which there is anything to see.
const LEAST: (u16, u16) = (60, 14);

/// Draws the screen.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    frame.render_widget(&Whole { app }, frame.area());
}

/// The whole screen.
struct Whole<'a> {
    app: &'a App,
}

impl Widget for &Whole<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let app = self.app;
        let area = area.intersection(buf.area);
        self.draw(area, buf);
        text::spell_out(buf, area, app.theme);
    }
}

impl Whole<'_> {
    fn draw(&self, area: Rect, buf: &mut Buffer) {
        let app = self.app;
        if area.width < LEAST.0 || area.height < LEAST.1 {
            too_small(app, area, buf);
            return;
        }
        let [head, body, told, foot] = rows(app, area);
        head::Head { app }.render(head, buf);
        match app.screen {
            Screen::Live => live::Live { app }.render(body, buf),
            Screen::History => history::History { app }.render(body, buf),
            Screen::Verdict => verdict::Verdict { app }.render(body, buf),
            Screen::Charts => charts::Charts { app }.render(body, buf),
        }
        if app.tour {
            let said = text::wrap(&tour::sentence(&app.picture), usize::from(told.width) - 2);
            for (y, line) in text::at_most(said, told.height.into(), told.width.into())
                .iter()
                .enumerate()
            {
                text::put(buf, told, 1, y as u16, line, app.theme.bold());
            }
        }
        head::Foot { app }.render(foot, buf);
        match &app.overlay {
            None => {}
            Some(Overlay::Card { node, log, back }) => {
                card::Card {
                    app,
                    node: *node,
                    log: *log,
                    back: *back,
                }
                .render(body, buf);
            }
            Some(overlay) => overlays::Over { app, overlay }.render(body, buf),
        }
        if app.picture.bench_error.is_some() && app.overlay.is_none() {
            overlays::Trouble { app }.render(body, buf);
        }
    }
}

/// How many lines a sentence of the tour may take.
const TOLD: u16 = 2;

/// The header, what is between, what the tour says, and the hint line.
pub(super) fn rows(app: &App, area: Rect) -> [Rect; 4] {
    let told = if app.tour { TOLD } else { 0 };
    let lengths = [
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(told),
        Constraint::Length(1),
    ];
    Layout::vertical(lengths).areas(area)
}

fn too_small(app: &App, area: Rect, buf: &mut Buffer) {
    let goes_on = if app.is_live() {
        "the run goes on; "
    } else {
        ""
    };
    let text = match app.overlay {
        Some(Overlay::Leave) => {
            "End the run and leave? q or y does it, any other key does not".to_owned()
        }
        _ => format!(
            "whitewater needs {}x{}, this is {}x{}; {goes_on}q quits",
            LEAST.0, LEAST.1, area.width, area.height
        ),
    };
    let (verdict, style) = head::headline(app);
    let room = usize::from(area.width);
    let above = area.height.saturating_sub(1);
    let lines = text::at_most(text::wrap(&text, room), usize::from(above), room);
    // The verdict is always on screen, if only in the last row.
    let top = (above - lines.len() as u16) / 2;
    for (i, line) in lines.iter().enumerate() {
        let left = area.width.saturating_sub(line.chars().count() as u16) / 2;
        text::put(
            buf,
            area,
            left,
            top.saturating_add(i as u16),
            line,
            app.theme.ok(),
        );
    }
    text::put(
        buf,
        area,
        0,
        area.height.saturating_sub(1),
        &format!("{verdict:<width$}", width = usize::from(area.width)),
        style,
    );
}

/// The clients of the timeline's lanes, top to bottom.
pub(super) fn lanes(app: &App) -> Vec<ClientId> {
    timeline::Window::of(app, timeline_cells(app.size.0)).lanes(app)
}

/// How many cells the timeline has on a screen of so many columns.
pub(super) fn timeline_cells(columns: u16) -> u16 {
    columns.saturating_sub(timeline::MARGIN + 2)
}

/// See [`faults::at_row`].
pub(super) fn fault_at_row(app: &App, area: Rect, row: usize) -> Option<usize> {
    faults::at_row(app, area, row)
}

/// See [`timeline::lane_at_row`].
pub(super) fn lane_at_row(app: &App, area: Rect, row: usize) -> Option<usize> {
    timeline::lane_at_row(app, area, row)
}

/// Nanoseconds a column of the charts.
pub(super) fn chart_cell_ns(app: &App) -> u64 {
    charts::cell_ns(app, app.size.0.saturating_sub(charts::MARGIN + 2))
}

/// The path of what is shown, to be copied.
pub(super) fn path_shown(app: &App) -> String {
    let dir = &app.picture.dir;
    let path = match (&app.overlay, app.screen) {
        (Some(Overlay::Card { node, .. }), _) => dir.join("nodes").join(node.to_string()),
        (None, Screen::Verdict) if app.picture.alarm.is_some() => dir.join("counterexample.txt"),
        (None, Screen::Verdict) => dir.join("verdict.json"),
        (None, Screen::History) => dir.join("history.jsonl"),
        _ => dir.clone(),
    };
    path.display().to_string()
}
