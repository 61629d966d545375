//! Nothing on the screen is cut off so that it reads as something else: on every screen, at every size, with values that
//! are longer than anybody has planned for.

use ratatui::buffer::Buffer;
use rayon::prelude::*;

use super::tests::{picture, states, text, with};
use super::text::seen::{self, Put};
use crate::tui::app::{App, Overlay, Panel};
use crate::tui::fixtures::long;
use crate::tui::keys::Screen;
use crate::tui::theme::Theme;

/// The usual states, and those in which everything is long.
fn all() -> Vec<(String, App)> {
    let usual = states().into_iter();
    let mut all: Vec<(String, App)> = usual.map(|(name, app)| (name.to_owned(), app)).collect();
    for (name, app) in [
        ("live", long::live()),
        ("ended", long::ended()),
        ("violated", long::violated()),
    ] {
        for screen in Screen::ALL {
            let app = with(app.clone(), |app| app.screen = screen);
            all.push((format!("long {name}, {screen:?}"), app));
        }
        for panel in Panel::ALL {
            let zoomed = |app: &mut App| (app.focus, app.zoomed) = (panel, true);
            all.push((format!("long {name}, {panel:?}"), with(app.clone(), zoomed)));
        }
    }
    let card = |log| Overlay::Card {
        node: 1,
        log,
        back: 0,
    };
    for overlay in [
        Overlay::Help(0),
        Overlay::Leave,
        Overlay::Faults(20),
        Overlay::Picker,
        card(false),
        card(true),
    ] {
        all.push((format!("long, {overlay:?}"), long::under(overlay)));
    }
    all.push(("long, said".to_owned(), long::said()));
    all.push(("long, failed".to_owned(), long::failed()));
    all
}

/// Columns and rows: the usual terminals, those beside them, and some of everything else.
fn sizes() -> Vec<(u16, u16)> {
    let columns = [1, 33, 60, 67, 79, 80, 100, 132, 205, 320];
    let rows = [1, 14, 19, 24, 43, 100];
    let pairs = columns
        .into_iter()
        .flat_map(|columns| rows.map(|rows| (columns, rows)));
    pairs.collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric()
}

/// What stands where that was written.
fn there(put: &Put, buffer: &Buffer) -> String {
    let columns = put.x..put.x + put.width;
    columns.map(|x| buffer[(x, put.y)].symbol()).collect()
}

fn drawn(app: &App, columns: u16, rows: u16) -> (Vec<Put>, Buffer) {
    seen::take();
    let buffer = picture(app, columns, rows);
    (seen::take(), buffer)
}

/// A word on the screen that was not written by the one function that marks what it cuts off.
fn written_otherwise(puts: &[Put], buffer: &Buffer) -> Option<String> {
    let mut covered = vec![false; buffer.content.len()];
    for put in puts {
        for x in put.x..put.x + put.width {
            covered[usize::from(put.y) * usize::from(buffer.area.width) + usize::from(x)] = true;
        }
    }
    let mut cells = buffer.content.iter().zip(covered);
    let word = |cell: &ratatui::buffer::Cell| cell.symbol().chars().any(is_word);
    let found = cells.find(|(cell, covered)| !covered && word(cell))?;
    Some(format!("{:?} was not written as text", found.0.symbol()))
}

/// Something that was written over a part of something else, or two words or numbers that run together.
fn covered_or_touched(puts: &[Put], buffer: &Buffer) -> Option<String> {
    let words: Vec<&Put> = puts
        .iter()
        .filter(|put| put.text.chars().any(is_word))
        .collect();
    for put in &words {
        let seen = there(put, buffer);
        if seen.trim_end() != put.text.trim_end() {
            return Some(format!("of {:?} there is {seen:?}", put.text));
        }
        let beside = words.iter().find(|other| {
            let begins = other.text.chars().next().is_some_and(is_word);
            (other.x, other.y) == (put.x + put.width, put.y) && begins
        });
        let ends = put.text.chars().last().is_some_and(is_word);
        if let (Some(other), true) = (beside, ends) {
            return Some(format!("{:?} runs into {:?}", put.text, other.text));
        }
    }
    None
}

#[test]
fn nothing_is_cut_off_without_a_sign_and_nothing_runs_into_another() {
    let wrong: Vec<String> = all()
        .into_par_iter()
        .filter_map(|(name, app)| {
            sizes().into_iter().find_map(|(columns, rows)| {
                let (puts, buffer) = drawn(&app, columns, rows);
                // What lies over a screen covers it, and so does what was just said.
                let plain = app.overlay.is_none()
                    && app.picture.bench_error.is_none()
                    && app.flashing().is_none();
                let wrong = written_otherwise(&puts, &buffer).or_else(|| {
                    let found = plain.then(|| covered_or_touched(&puts, &buffer));
                    found.flatten()
                })?;
                Some(format!(
                    "{name} at {columns}x{rows}: {wrong}\n{}",
                    text(&buffer)
                ))
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn in_ascii_too_what_was_cut_off_is_marked() {
    let mut app = long::live();
    app.theme = Theme::ascii();
    for screen in Screen::ALL {
        let app = with(app.clone(), |app| app.screen = screen);
        for (columns, rows) in [(60, 14), (80, 24), (132, 43)] {
            let (puts, buffer) = drawn(&app, columns, rows);
            let cut: Vec<&Put> = puts.iter().filter(|put| put.text.ends_with('…')).collect();
            let marked = |put: &&&Put| there(put, &buffer).ends_with('$');
            let whole = cut.iter().filter(marked).count();
            assert!(whole > 0 || cut.is_empty(), "{screen:?}\n{}", text(&buffer));
            let seen = text(&buffer);
            assert!(seen.is_ascii(), "{screen:?}\n{seen}");
        }
    }
}

#[test]
fn a_command_that_is_longer_than_the_screen_is_shown_whole_or_ends_in_a_sign() {
    let app = with(long::violated(), |app| app.screen = Screen::Verdict);
    let again = app.picture.again_in_words();
    let joined = |buffer: &Buffer| -> String {
        let lines = text(buffer);
        let from = lines.find("again: whitewater").expect("it is there");
        lines[from..]
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let wide = joined(&picture(&app, 132, 43));
    assert!(wide.starts_with(&again), "{wide}");
    let narrow = joined(&picture(&app, 60, 24));
    let (shown, _) = narrow.split_once('…').expect("it does not fit");
    assert!(again.starts_with(shown.trim_end()), "{narrow}");
}
