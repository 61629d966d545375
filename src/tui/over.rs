//! The few keys that an overlay has to itself, while it lies over the screen.

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::app::{Action, App, Overlay};
use super::keys::{self, Key, Screen, Verb};
use super::menu;
use super::picker::Field;
use super::update::{leave, press};
use crate::fault::NodeId;
use crate::run::Command;

/// Takes a key while `overlay` lies over the screen.
pub(super) fn in_overlay(
    app: &mut App,
    overlay: Overlay,
    event: &KeyEvent,
    key: Key,
) -> Option<Action> {
    let typing = overlay == Overlay::Picker && app.picker.typing.is_some();
    if key == Key::Char('H') && !typing {
        app.overlay = None;
        return press(app, Verb::HealAll);
    }
    if key == Key::Named(KeyCode::Esc) && !typing {
        app.overlay = match overlay {
            Overlay::Card {
                node, log: true, ..
            } => Some(Overlay::Card {
                node,
                log: false,
                back: 0,
            }),
            _ => None,
        };
        return None;
    }
    match overlay {
        Overlay::Leave => match event.code {
            KeyCode::Char('q' | 'y') | KeyCode::Enter => leave(app),
            _ => {
                app.overlay = None;
                None
            }
        },
        Overlay::Help(line) => {
            let most = keys::KEYS.len() as u16 + 4;
            let line = match moved(event.code) {
                Some(by) => line
                    .saturating_add_signed(by.clamp(-1000, 1000) as i16)
                    .min(most),
                None => {
                    app.overlay = None;
                    return None;
                }
            };
            app.overlay = Some(Overlay::Help(line));
            None
        }
        Overlay::Faults(row) => in_fault_menu(app, row, event.code),
        Overlay::Card { node, log, back } => in_card(app, node, log, back, event.code),
        Overlay::Picker => in_picker(app, event.code),
    }
}

/// How far a key moves in a list.
fn moved(code: KeyCode) -> Option<i32> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::PageUp => -10,
        KeyCode::PageDown => 10,
        KeyCode::Home | KeyCode::Char('g') => -100_000,
        KeyCode::End | KeyCode::Char('G') => 100_000,
        _ => return None,
    })
}

pub(super) fn stepped(row: usize, by: i32, len: usize) -> usize {
    row.saturating_add_signed(by as isize)
        .min(len.saturating_sub(1))
}

fn in_fault_menu(app: &mut App, row: usize, code: KeyCode) -> Option<Action> {
    let entries = menu::entries(app);
    if let Some(by) = moved(code) {
        app.overlay = Some(Overlay::Faults(stepped(row, by, entries.len())));
        return None;
    }
    let chosen = match code {
        KeyCode::Enter => row,
        KeyCode::Char('0') => {
            app.overlay = None;
            return press(app, Verb::HealAll);
        }
        KeyCode::Char(c @ '1'..='9') => c as usize - '1' as usize,
        _ => {
            app.flash("a digit or enter chooses; esc closes the menu");
            return None;
        }
    };
    let entry = entries.into_iter().nth(chosen)?;
    match entry.detail {
        Err(why) => {
            app.overlay = Some(Overlay::Faults(chosen));
            app.flash(format!("{}: {why}", entry.name));
            None
        }
        Ok(detail) => {
            app.overlay = None;
            app.flash(format!("{}: {detail} …", entry.name));
            Some(Action::Send(vec![Command::Inject(entry.does)]))
        }
    }
}

fn in_card(app: &mut App, node: NodeId, log: bool, back: usize, code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Enter => {
            app.overlay = Some(Overlay::Card {
                node,
                log: true,
                back: 0,
            });
            Some(Action::ReadLog(node))
        }
        // The verbs of a node work on the node whose card is open: it is the selected one.
        KeyCode::Char(c) if "xrpid".contains(c) => {
            press(app, keys::verb(Key::Char(c), Screen::Live)?)
        }
        KeyCode::Char('y') => press(app, Verb::CopyPath),
        KeyCode::Char('q') => {
            app.overlay = None;
            None
        }
        _ => {
            let back = stepped(back, -moved(code)?, app.log.1.len().max(1));
            app.overlay = Some(Overlay::Card { node, log, back });
            None
        }
    }
}

/// More clients or contended keys are asked for on the command line.
const MOST: u32 = 100;

fn in_picker(app: &mut App, code: KeyCode) -> Option<Action> {
    let picker = &mut app.picker;
    if picker.typing == Some(Field::Filter) {
        picker.row = 0;
        match code {
            KeyCode::Char(c) => picker.filter.push(c),
            KeyCode::Backspace => {
                picker.filter.pop();
            }
            KeyCode::Esc => {
                picker.filter.clear();
                picker.typing = None;
            }
            KeyCode::Enter => picker.typing = None,
            _ => {}
        }
        return None;
    }
    if picker.typing == Some(Field::Seed) {
        match code {
            KeyCode::Char(c) if c.is_ascii_digit() && picker.seed.len() < 19 => picker.seed.push(c),
            KeyCode::Backspace => {
                picker.seed.pop();
            }
            KeyCode::Enter | KeyCode::Esc => picker.typing = None,
            _ => {}
        }
        return None;
    }
    match code {
        KeyCode::Enter => match picker.pick() {
            Some(pick) => {
                app.overlay = None;
                let whose = match &pick.target {
                    Some((name, mode)) => format!(" on {name}, mode {mode},"),
                    None => String::new(),
                };
                app.flash(format!(
                    "ending this run, then {}{whose} with seed {} …",
                    pick.scenario, pick.seed
                ));
                return Some(Action::Start(pick));
            }
            None if picker.shown().next().is_none() => {
                app.flash("no scenario has that in its name; / edits the filter");
            }
            None => app.flash("the seed is a number; e edits it, R draws a new one"),
        },
        KeyCode::Char('t') => picker.next_target(),
        KeyCode::Char('T') => picker.next_mode(),
        KeyCode::Char('d') if picker.choice().is_some() => {
            app.flash("a defect is planted in the program's own node only; t chooses that");
        }
        KeyCode::Char('d') => picker.defect = (picker.defect + 1) % (picker.defects.len() + 1),
        KeyCode::Char('e') => {
            picker.typing = Some(Field::Seed);
            picker.seed.clear();
        }
        KeyCode::Char('R') => {
            // A new seed need not be secret, only different: a step of SplitMix64 on the last one and the clock.
            let mut seed = picker.seed.parse::<u64>().unwrap_or(0) ^ app.clock_ns.rotate_left(17);
            seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            picker.seed = ((seed ^ (seed >> 31)) % 1_000_000).to_string();
        }
        KeyCode::Char(c @ ('+' | '-' | '>' | '<')) => {
            let (clients, keys) = picker.load();
            match c {
                '+' => picker.clients = Some((clients + 1).min(MOST)),
                '-' => picker.clients = Some(clients.saturating_sub(1).max(1)),
                '>' => picker.keys = Some((keys + 1).min(MOST)),
                _ => picker.keys = Some(keys.saturating_sub(1).max(1)),
            }
        }
        KeyCode::Char('/') => picker.typing = Some(Field::Filter),
        KeyCode::Char('q') => app.overlay = None,
        code => {
            let by = moved(code)?;
            picker.row = stepped(picker.row, by, picker.shown().count());
        }
    }
    None
}
