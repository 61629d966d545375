//! One instant of a finished run as text: what a person would see there, for a document or a mail.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::app::{App, Input};
use super::draw::draw;
use super::keys::Screen;
use super::theme::Theme;
use super::update::update;
use crate::journal::Entry;

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    /// Which screen.
    pub screen: Screen,
    /// Nanoseconds since the run began; `None`: its end.
    pub at_ns: Option<u64>,
    /// Columns, rows.
    pub size: (u16, u16),
    /// Only ASCII characters.
    pub ascii: bool,
}

/// The screen of a finished run at that instant: a line a row, without colours and without trailing spaces.
///
/// # Panics
/// Never: a screen in memory takes what it is given.
#[must_use]
pub fn print(entries: Vec<Entry>, what: Print) -> String {
    let theme = if what.ascii {
        Theme::ascii()
    } else {
        Theme::plain()
    };
    let mut app = App::replaying(theme, entries);
    let (columns, rows) = what.size;
    update(&mut app, Input::Size(columns, rows));
    app.freeze();
    app.seek(what.at_ns.unwrap_or(u64::MAX));
    app.screen = what.screen;
    update(&mut app, Input::Clock(1));
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("memory has a size");
    terminal
        .draw(|frame| draw(&app, frame))
        .expect("memory takes everything");
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content.chunks(usize::from(columns.max(1))) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
