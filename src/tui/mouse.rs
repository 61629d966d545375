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
    let [head, body, _, foot] = draw::rows(app, Rect::new(0, 0, app.size.0, app.size.1));
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
    let row = usize::from(at.y.saturating_sub(area.y));
    // The frame and the heading are above the first node, the frame above the first fault, the frame and the faults
    // above the first lane. What is where depends on where the focus was.
    let (below_one, below_two) = (row.checked_sub(1), row.checked_sub(2));
    match panel {
        Panel::Cluster => {
            let nodes = app.picture.nodes.len();
            app.node = below_two.filter(|&node| node < nodes).unwrap_or(app.node);
        }
        Panel::Faults => {
            let fault = below_one.and_then(|row| draw::fault_at_row(app, area, row));
            app.fault = fault.unwrap_or(app.fault);
        }
        Panel::Operations => {
            let lane = below_two.and_then(|row| draw::lane_at_row(app, area, row));
            app.lane = lane.unwrap_or(app.lane);
        }
        Panel::Events => {}
    }
    app.focus = panel;
    None
}
