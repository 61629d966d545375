//! The mouse: a click selects, the wheel moves, a click on a hint presses it.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::app::{Action, App, Panel};
use super::draw;
use super::keys::{Screen, Verb};
use super::update::press;

pub(super) fn mouse(app: &mut App, event: MouseEvent) -> Option<Action> {
    if app.overlay.is_some() || app.typing {
        return None;
    }
    let at = Position::new(event.column, event.row);
    match event.kind {
        MouseEventKind::ScrollUp => press(app, Verb::Up),
        MouseEventKind::ScrollDown => press(app, Verb::Down),
        MouseEventKind::Down(MouseButton::Left) => click(app, at),
        _ => None,
    }
}

fn click(app: &mut App, at: Position) -> Option<Action> {
    let [head, body, foot] = draw::rows(Rect::new(0, 0, app.size.0, app.size.1));
    if foot.contains(at) {
        return press(app, draw::hint_at(app, at.x)?);
    }
    if head.contains(at) {
        return press(app, draw::tab_at(app, at.x)?);
    }
    if app.screen != Screen::Live {
        return None;
    }
    let areas = draw::areas(app, body);
    let panels = [
        (Panel::Cluster, areas.cluster),
        (Panel::Faults, areas.faults),
        (Panel::Operations, areas.operations),
        (Panel::Events, areas.events),
    ];
    let (panel, area) = panels.into_iter().find(|(_, area)| area.contains(at))?;
    app.focus = panel;
    let row = usize::from(at.y.saturating_sub(area.y));
    match panel {
        // The frame and the heading are above the first node, the frame above the first fault.
        Panel::Cluster if row >= 2 && row - 2 < app.picture.nodes.len() => app.node = row - 2,
        Panel::Faults if row >= 1 && row - 1 < app.picture.active().count() => app.fault = row - 1,
        Panel::Operations if row >= 2 && row - 2 < draw::lanes(app).len() => app.lane = row - 2,
        _ => {}
    }
    None
}
