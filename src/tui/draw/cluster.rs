//! Nodes and links: a table with a matrix, not a drawn graph. Five nodes have twenty directed links, and a matrix shows
//! each in one cell, shows one-way cuts, works without colour and can be walked with the arrows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text::{self, Cell};
use crate::journal::{ChildState, LinkState, NodeView, Role};
use crate::tui::app::{App, Panel};

/// Where a row's role begins: selection, name and the role's glyph are before it.
const ROLE: Cell = Cell { x: 6, width: 10 };
/// Columns of a row before its numbers.
const NAME: u16 = ROLE.x + ROLE.width + 1;
/// What a matrix has before the link to its first node: a blank, an arrow and a blank.
fn before_links(app: &App) -> u16 {
    text::width(app.theme.glyphs.arrow) + 2
}

/// The panel.
pub(super) struct Cluster<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Cluster<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let count = app.picture.nodes.len();
        let title = match count {
            0 => "Cluster".to_owned(),
            n => format!("Cluster {} quorum {} of {n}", theme.glyphs.dot, n / 2 + 1),
        };
        let room = usize::from(area.height.saturating_sub(3));
        let selected = app.node.min(count.saturating_sub(1));
        let first = selected.saturating_sub(room.saturating_sub(1).max(1));
        let right = match count > room && room > 0 {
            true => format!(" {} to {} ", first + 1, (first + room).min(count)),
            false => String::new(),
        };
        let inner = text::frame(
            buf,
            area,
            theme,
            app.focus == Panel::Cluster,
            &title,
            Line::from(Span::styled(right, theme.dim())),
        );
        if inner.height == 0 {
            return;
        }
        if count == 0 {
            text::put(buf, inner, 1, 0, "the nodes start", theme.dim());
            return;
        }
        let columns = Columns::that_fit(inner.width, app);
        head(buf, inner, &columns, app);
        let most = app
            .picture
            .nodes
            .values()
            .map(|node| node.committed)
            .max()
            .unwrap_or(0);
        for (y, (row, node)) in app
            .picture
            .nodes
            .values()
            .enumerate()
            .skip(first)
            .take(room)
            .enumerate()
        {
            let line = Row {
                app,
                node,
                row,
                most,
                columns: &columns,
            };
            line.draw(buf, inner, y as u16 + 1);
        }
        let legend_at = inner.height.saturating_sub(1);
        if usize::from(legend_at) > count - first {
            let g = theme.glyphs;
            let legend = format!(
                "{} open {} cut {} slow   {} paused {} dead",
                g.link, g.cut, g.slow, g.paused, g.dead
            );
            text::put(buf, inner, 1, legend_at, &legend, theme.dim());
        }
    }
}

/// Which numbers there is room for, and where the matrix begins.
struct Columns {
    numbers: Vec<(&'static str, Cell)>,
    matrix: Option<u16>,
}

impl Columns {
    fn that_fit(width: u16, app: &App) -> Columns {
        let (nodes, told) = (app.picture.nodes.len(), app.picture.told);
        let matrix = nodes as u16 * 2 - 1 + before_links(app);
        let mut room = width.saturating_sub(NAME);
        let matrix = if nodes > 1 && room >= matrix + 4 {
            room -= matrix;
            Some(matrix)
        } else {
            None
        };
        let mut names = Vec::new();
        // By importance; then drawn in this order.
        for (name, width) in [
            ("term", 4),
            ("commit", 6),
            ("lag", 4),
            ("applied", 7),
            ("log", 6),
            ("snapshot", 8),
            ("restarts", 8),
            ("pid", 7),
        ] {
            // What nodes do not tell is not shown as 0.
            let is_told = match name {
                "term" => told.terms,
                "restarts" | "pid" => true,
                _ => told.logs,
            };
            if !is_told {
                continue;
            }
            if room < width + 1 {
                break;
            }
            room -= width + 1;
            names.push((name, width));
        }
        let widths: Vec<u16> = names.iter().map(|(_, width)| *width).collect();
        let cells = text::cells(NAME, &widths, 0);
        let used = cells.last().map_or(NAME, |cell| cell.x + cell.width);
        let names = names.into_iter().map(|(name, _)| name);
        Columns {
            numbers: names.zip(cells).collect(),
            matrix: matrix.map(|_| used),
        }
    }
}

fn head(buf: &mut Buffer, inner: Rect, columns: &Columns, app: &App) {
    let dim = app.theme.dim();
    text::put(buf, inner, 4, 0, "role", dim);
    for (name, cell) in &columns.numbers {
        cell.put_right(buf, inner, 0, name, dim);
    }
    if let Some(at) = columns.matrix {
        text::put(buf, inner, at + 1, 0, app.theme.glyphs.arrow, dim);
        for (i, id) in app.picture.nodes.keys().enumerate() {
            let x = at + before_links(app) + i as u16 * 2;
            text::put(buf, inner, x, 0, &id.to_string(), dim);
        }
    }
}

struct Row<'a> {
    app: &'a App,
    node: &'a NodeView,
    row: usize,
    most: u64,
    columns: &'a Columns,
}

impl Row<'_> {
    fn draw(&self, buf: &mut Buffer, inner: Rect, y: u16) {
        let (app, node, theme) = (self.app, self.node, self.app.theme);
        let selected = app.node.min(app.picture.nodes.len() - 1) == self.row;
        let (glyph, role, style) = role(node, app);
        text::put(
            buf,
            inner,
            0,
            y,
            if selected { theme.glyphs.open } else { " " },
            theme.bold(),
        );
        text::put(
            buf,
            inner,
            1,
            y,
            &format!("n{}", node.id),
            if selected { theme.bold() } else { theme.ok() },
        );
        text::put(buf, inner, 4, y, glyph, style);
        ROLE.put(buf, inner, y, &role, style);
        let lag = self.most.saturating_sub(node.committed);
        for (name, cell) in &self.columns.numbers {
            let number = match *name {
                "term" => node.term,
                "commit" => node.committed,
                "lag" => lag,
                "applied" => node.applied,
                "log" => node.last_log,
                "snapshot" => node.snapshot,
                "restarts" => u64::from(node.restarts),
                _ => u64::from(node.pid.unwrap_or(0)),
            };
            let stale = node.child == ChildState::Dead || node.role == Role::Unheard;
            let style = if stale { theme.dim() } else { theme.ok() };
            cell.number(buf, inner, y, number, style);
        }
        let Some(at) = self.columns.matrix else {
            return;
        };
        for (i, &to) in app.picture.nodes.keys().enumerate() {
            let (glyph, style) = link(app, node.id, to);
            let chosen = selected && app.link == Some(i);
            let style = if chosen {
                style.patch(theme.selected())
            } else {
                style
            };
            let x = at + before_links(app) + i as u16 * 2;
            text::put(buf, inner, x, y, glyph, style);
        }
    }
}

fn link(app: &App, from: u64, to: u64) -> (&'static str, Style) {
    let (theme, glyphs) = (app.theme, app.theme.glyphs);
    if from == to {
        return (glyphs.own, theme.dim());
    }
    match app.picture.link(from, to) {
        LinkState::Open => (glyphs.link, theme.dim()),
        LinkState::Cut => (glyphs.cut, theme.fault()),
        LinkState::Slow => (glyphs.slow, theme.fault()),
    }
}

/// A node's glyph and what it believes it is: in brackets while it is paused, for it does not know. Where nodes do not tell,
/// that they run is all there is to say.
pub(super) fn role(node: &NodeView, app: &App) -> (&'static str, String, Style) {
    let (theme, told) = (app.theme, app.picture.told);
    let glyphs = theme.glyphs;
    let word = match node.role {
        Role::Unheard if !told.roles => "up",
        Role::Unheard => "not heard",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
        Role::Shutdown => "shut down",
    };
    match (node.child, node.role) {
        (ChildState::Starting, _) => (glyphs.starting, "starting".to_owned(), theme.dim()),
        (ChildState::Paused, _) => (glyphs.paused, format!("({word})"), theme.fault()),
        (ChildState::Dead, _) => (glyphs.dead, "dead".to_owned(), theme.fault()),
        (ChildState::Up, Role::Leader) => (glyphs.leader, word.to_owned(), theme.bold()),
        (ChildState::Up, Role::Candidate) => (glyphs.candidate, word.to_owned(), theme.ok()),
        // It follows nobody: it has lost its leader.
        (ChildState::Up, Role::Follower) if node.leader.is_none() && told.leaders => {
            ("?", word.to_owned(), theme.ok())
        }
        (ChildState::Up, Role::Unheard) if !told.roles => (" ", word.to_owned(), theme.ok()),
        (ChildState::Up, Role::Unheard | Role::Shutdown) => (" ", word.to_owned(), theme.dim()),
        (ChildState::Up, _) => (" ", word.to_owned(), theme.ok()),
    }
}
