//! Every screen in its interesting states: as snapshots, at every size, and by what its colours may mean.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use rayon::prelude::*;

use crate::tui::app::{App, Input, Overlay, Panel};
use crate::tui::fixtures;
use crate::tui::keys::Screen;
use crate::tui::theme::Theme;
use crate::tui::update::update;

pub(super) fn picture(app: &App, columns: u16, rows: u16) -> Buffer {
    let mut app = app.clone();
    update(&mut app, Input::Size(columns, rows));
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| super::draw(&app, frame)).unwrap();
    terminal.backend().buffer().clone()
}

pub(super) fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let row = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(|cell| cell.symbol()).collect::<String>()
    };
    buffer
        .content
        .chunks(width)
        .map(|cells| row(cells).trim_end().to_owned() + "\n")
        .collect()
}

pub(super) fn with(mut app: App, change: impl FnOnce(&mut App)) -> App {
    change(&mut app);
    app
}

/// Every interesting state, by name.
pub(super) fn states() -> Vec<(&'static str, App)> {
    let on = |app: App, screen| with(app, |app| app.screen = screen);
    let over = |app: App, overlay| with(app, |app| app.overlay = Some(overlay));
    vec![
        ("live-empty", fixtures::empty()),
        ("live-calm", fixtures::calm()),
        ("live-cut", fixtures::cut()),
        (
            "live-five",
            with(fixtures::five(), |app| (app.node, app.link) = (2, Some(3))),
        ),
        ("live-working", fixtures::working()),
        ("live-unknown", fixtures::unknown()),
        ("live-frozen", fixtures::frozen()),
        ("live-held", fixtures::held()),
        ("live-violation", fixtures::violation()),
        ("live-standing", fixtures::standing()),
        ("live-finding", fixtures::finding()),
        ("live-ended", fixtures::ended_well()),
        (
            "live-far",
            with(fixtures::cut(), |app| app.cell_ns = Some(50_000_000)),
        ),
        (
            "live-zoomed",
            with(fixtures::cut(), |app| {
                (app.focus, app.zoomed) = (Panel::Operations, true)
            }),
        ),
        ("bench-error", fixtures::bench_error()),
        ("help", over(fixtures::cut(), Overlay::Help(0))),
        ("leave", over(fixtures::cut(), Overlay::Leave)),
        ("fault-menu", over(fixtures::cut(), Overlay::Faults(2))),
        ("picker", over(fixtures::cut(), Overlay::Picker)),
        (
            "card",
            over(
                with(fixtures::called(), |app| {
                    app.log = (1, vec!["INFO vote granted".into(), "WARN no quorum".into()])
                }),
                Overlay::Card {
                    node: 1,
                    log: false,
                    back: 0,
                },
            ),
        ),
        ("history", on(fixtures::cut(), Screen::History)),
        (
            "history-violation",
            on(fixtures::violation(), Screen::History),
        ),
        ("verdict-keys", on(fixtures::unknown(), Screen::Verdict)),
        (
            "verdict-proof",
            on(fixtures::ended_in_violation(), Screen::Verdict),
        ),
        (
            "verdict-all",
            with(on(fixtures::violation(), Screen::Verdict), |app| {
                app.verdict.all = true
            }),
        ),
        ("charts", on(fixtures::cut(), Screen::Charts)),
    ]
}

#[test]
fn screens_look_as_approved() {
    let pictured = [
        "live-empty",
        "live-calm",
        "live-cut",
        "live-five",
        "live-frozen",
        "live-violation",
        "live-standing",
        "live-far",
        "help",
        "fault-menu",
        "picker",
        "card",
        "history",
        "verdict-keys",
        "verdict-proof",
        "charts",
    ];
    for (name, app) in states()
        .into_iter()
        .filter(|(name, _)| pictured.contains(name))
    {
        for (columns, rows) in [(80, 24), (120, 40)] {
            insta::assert_snapshot!(
                format!("{name}-{columns}x{rows}"),
                text(&picture(&app, columns, rows))
            );
        }
    }
    let ascii = with(fixtures::violation(), |app| app.theme = Theme::ascii());
    insta::assert_snapshot!("live-ascii-80x24", text(&picture(&ascii, 80, 24)));
}

#[test]
fn everything_draws_at_every_size() {
    for (_, app) in states() {
        for columns in (1..=130).step_by(7) {
            for rows in (1..=45).step_by(4) {
                picture(&app, columns, rows);
            }
        }
    }
    // Every single size, on every screen, with a violation.
    let screens = Screen::ALL.map(|screen| with(fixtures::violation(), |app| app.screen = screen));
    (1..=130).into_par_iter().for_each(|columns| {
        for app in &screens {
            for rows in 1..=45 {
                picture(app, columns, rows);
            }
        }
    });
}

#[test]
fn the_verdict_is_on_screen_at_every_size_that_has_room_for_it() {
    for (columns, rows) in [(80, 24), (60, 14), (120, 40), (50, 10), (30, 6)] {
        for screen in Screen::ALL {
            let app = with(fixtures::violation(), |app| app.screen = screen);
            let seen = text(&picture(&app, columns, rows));
            assert!(
                seen.contains("✗ NOT LINEARIZABLE"),
                "{columns}x{rows} {screen:?}:\n{seen}"
            );
        }
    }
}

#[test]
fn red_is_on_screen_if_and_only_if_there_is_a_violation() {
    for (name, app) in states() {
        let buffer = picture(&app, 120, 40);
        let red = |color| matches!(color, Color::Red | Color::LightRed);
        let seen = buffer
            .content
            .iter()
            .any(|cell| red(cell.fg) || red(cell.bg));
        assert_eq!(seen, app.picture.alarm.is_some(), "{name}");
    }
}

#[test]
fn without_colour_no_cell_has_one() {
    for theme in [Theme::plain(), Theme::ascii()] {
        for (name, app) in states() {
            let buffer = picture(&with(app, |app| app.theme = theme), 120, 40);
            let plain =
                |cell: &ratatui::buffer::Cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset);
            assert!(buffer.content.iter().all(plain), "{name}");
        }
    }
}

#[test]
fn in_ascii_nothing_else_is_written() {
    for (name, app) in states() {
        let seen = text(&picture(
            &with(app, |app| app.theme = Theme::ascii()),
            120,
            40,
        ));
        let strange: String = seen.chars().filter(|c| !c.is_ascii()).collect();
        assert_eq!(strange, "", "{name}:\n{seen}");
    }
}

#[test]
fn the_background_is_never_painted() {
    for (name, app) in states() {
        assert!(
            picture(&app, 120, 40)
                .content
                .iter()
                .all(|cell| cell.bg == Color::Reset),
            "{name}"
        );
    }
}

#[test]
fn the_last_verdict_says_no_more_than_the_exit_code() {
    let ended = |verdict, exit| {
        let mut app = fixtures::cut();
        let event = crate::journal::Event::Ended {
            verdict,
            exit,
            summary: String::new(),
        };
        let time_ns = app.picture.time_ns;
        app.picture.take(crate::journal::Entry { time_ns, event });
        text(&picture(&app, 120, 40))
    };
    use crate::journal::VerdictWord::{Linearizable, Unknown};
    for (verdict, exit, words) in [
        (Linearizable, 0, "✓ LINEARIZABLE ·"),
        (Linearizable, 3, "? VACUOUS ·"),
        (Linearizable, 130, "? INTERRUPTED ·"),
        (Linearizable, 70, "! THE BENCH FAILED: no verdict"),
        (Unknown, 2, "? UNKNOWN: a budget ended first"),
        (Unknown, 130, "? INTERRUPTED: nothing was judged"),
        (Unknown, 70, "! THE BENCH FAILED: no verdict"),
    ] {
        let seen = ended(verdict, exit);
        let first = seen.lines().next().unwrap_or_default();
        assert!(first.contains(words), "{exit}: {first}");
    }
}
