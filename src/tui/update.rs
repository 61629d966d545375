//! What an input changes: the one function that changes the [`App`], and the reasons why a key can do nothing now.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind};

use super::app::{Action, App, CELL_STEPS_NS, Input, Overlay, Panel};
use super::breaking::{asked_by, link_commands, node_commands, send};
use super::keys::{self, Key, Screen, Verb};
use super::over::{in_overlay, stepped};
use super::{draw, mouse};
use crate::journal::TALLY_NS;
use crate::run::Command;

/// Takes one input; gives what the event loop is to do, if anything. No I/O, no clock of its own.
pub fn update(app: &mut App, input: Input) -> Option<Action> {
    match input {
        Input::Key(event) if event.kind == KeyEventKind::Release => None,
        Input::Key(event) => key(app, &event),
        Input::Mouse(event) => mouse::mouse(app, event),
        Input::Size(columns, rows) => {
            app.size = (columns, rows);
            None
        }
        Input::Entry(entry) => {
            app.take(entry);
            None
        }
        Input::Clock(clock_ns) => {
            app.clock(clock_ns);
            None
        }
        Input::Behind(count) => {
            app.behind = count;
            None
        }
        Input::Log(node, lines) => {
            app.log = (node, lines);
            None
        }
        Input::NewRun => {
            app.new_run();
            None
        }
        Input::Say(text) => {
            app.flash(text);
            None
        }
    }
}

fn key(app: &mut App, event: &KeyEvent) -> Option<Action> {
    let key = Key::of(event);
    if matches!(key, Key::Ctrl('c' | 'z')) {
        // Whoever wants to leave types no filter any more.
        app.typing = false;
        return press(app, keys::verb(key, app.screen)?);
    }
    if app.typing {
        type_filter(app, event);
        return None;
    }
    if let Some(overlay) = app.overlay.clone() {
        return in_overlay(app, overlay, event, key);
    }
    match keys::verb(key, app.screen) {
        Some(verb) => press(app, verb),
        None => {
            let text = match keys::elsewhere(key) {
                Some(row) => format!(
                    "{} ({}) works on {}",
                    row.key(),
                    row.hint,
                    places(row.screens)
                ),
                None => format!("{} does nothing here; ? shows all keys", key.name()),
            };
            app.flash(text);
            None
        }
    }
}

fn places(screens: &[Screen]) -> String {
    let digit = |screen: &Screen| {
        Screen::ALL
            .iter()
            .position(|other| other == screen)
            .map_or(0, |at| at + 1)
    };
    let names: Vec<String> = screens
        .iter()
        .map(|s| format!("{} (press {})", s.name(), digit(s)))
        .collect();
    names.join(" and ")
}

/// Presses a key by its verb: from the keyboard, from a click on a hint.
pub(super) fn press(app: &mut App, verb: Verb) -> Option<Action> {
    if let Err(why) = possible_now(app, verb) {
        app.flash(why);
        return None;
    }
    app.flash = None;
    act(app, verb)
}

/// Whether a key can do anything now; if not, why not, as a sentence for the person who pressed it.
///
/// # Errors
/// The sentence.
pub fn possible_now(app: &App, verb: Verb) -> Result<(), String> {
    match verb {
        Verb::Kill
        | Verb::Restart
        | Verb::Pause
        | Verb::Isolate
        | Verb::PowerLoss
        | Verb::Disk
        | Verb::Clock
        | Verb::Transfer
        | Verb::Delay
        | Verb::Cut
        | Verb::CutBoth => {
            can_break(app)?;
            match verb {
                Verb::Cut | Verb::CutBoth => link_commands(app, verb).map(|_| ()),
                _ => node_commands(app, verb).map(|_| ()),
            }
        }
        Verb::FaultMenu
        | Verb::HealAll
        | Verb::Nemesis
        | Verb::Hold
        | Verb::Less
        | Verb::More
        | Verb::MoreKeys
        | Verb::Finish => can_break(app),
        Verb::FewerClients | Verb::MoreClients | Verb::FewerKeys => {
            can_break(app)?;
            asked_by(verb, app.present()).map(|_| ())
        }
        Verb::GoOn => {
            can_break(app)?;
            if app.present().paused_by_violation {
                Ok(())
            } else {
                Err("nothing is held; a violation holds the network".to_owned())
            }
        }
        Verb::Freeze if app.replay.is_none() && !app.picture.is_live() && app.frozen.is_none() => {
            Err("the run is over: nothing moves that could be frozen".to_owned())
        }
        Verb::Slower | Verb::Faster if app.replay.is_none() => {
            Err("only a replay has a speed; a live run has none but its own".to_owned())
        }
        Verb::Picker if app.replay.is_some() => {
            Err("a replay has no scenarios; q leaves it".to_owned())
        }
        Verb::Picker if app.picker.recipes.is_empty() => {
            Err("there are no scenarios to choose from".to_owned())
        }
        Verb::OrderFound | Verb::AllOperations if app.picture.alarm.is_none() => {
            Err("there is no counterexample: nothing is violated".to_owned())
        }
        Verb::Filter => match (app.screen, app.focus) {
            (Screen::History, _) | (Screen::Live, Panel::Events) => Ok(()),
            (Screen::Live, _) => {
                Err("only Events and History have a filter; tab goes to Events".to_owned())
            }
            _ => Err("nothing to filter here".to_owned()),
        },
        Verb::CopyPath if app.picture.dir.as_os_str().is_empty() => {
            Err("the run has no folder yet".to_owned())
        }
        Verb::CopyAgain if app.picture.scenario.is_empty() => {
            Err("the run has not begun: there is no command yet".to_owned())
        }
        _ => Ok(()),
    }
}

fn can_break(app: &App) -> Result<(), String> {
    if app.replay.is_some() {
        Err("this is a replay: what happened can not be changed".to_owned())
    } else if !app.present().is_live() {
        Err("the run is over; s starts another".to_owned())
    } else if app.picture.nodes.is_empty() {
        Err("the nodes are starting".to_owned())
    } else {
        Ok(())
    }
}

fn act(app: &mut App, verb: Verb) -> Option<Action> {
    match verb {
        Verb::Kill
        | Verb::Restart
        | Verb::Pause
        | Verb::Isolate
        | Verb::PowerLoss
        | Verb::Disk
        | Verb::Clock
        | Verb::Transfer
        | Verb::Delay => {
            let commands = node_commands(app, verb).ok()?;
            Some(send(app, commands))
        }
        Verb::Cut | Verb::CutBoth => {
            let commands = link_commands(app, verb).ok()?;
            Some(send(app, commands))
        }
        Verb::HealAll => Some(heal_all(app)),
        Verb::Nemesis => Some(Action::Send(vec![Command::Nemesis(!app.present().nemesis)])),
        Verb::Hold => Some(Action::Send(vec![Command::HoldWorkload(
            !app.present().workload_paused,
        )])),
        Verb::Less
        | Verb::More
        | Verb::FewerClients
        | Verb::MoreClients
        | Verb::FewerKeys
        | Verb::MoreKeys => {
            let load = asked_by(verb, app.present()).ok()?;
            app.flash(format!("{load} …"));
            Some(Action::Send(vec![Command::Load(load)]))
        }
        Verb::GoOn => {
            app.flash("the network goes on …");
            Some(Action::Send(vec![Command::GoOn]))
        }
        Verb::Finish => {
            app.flash("ending the run in order …");
            Some(Action::Send(vec![Command::Finish]))
        }
        Verb::FaultMenu => show(app, Overlay::Faults(0)),
        Verb::Picker => show(app, Overlay::Picker),
        Verb::Help => show(app, Overlay::Help(0)),
        Verb::Leave if app.is_live() && !app.leaving => show(app, Overlay::Leave),
        Verb::Interrupt if app.is_live() && !app.leaving && app.overlay != Some(Overlay::Leave) => {
            show(app, Overlay::Leave)
        }
        Verb::Leave | Verb::Interrupt => leave(app),
        Verb::Suspend => Some(Action::Suspend),
        Verb::CopyPath => {
            let path = draw::path_shown(app);
            let later = match path.ends_with("counterexample.txt") && app.is_live() {
                true => " (written when the run ends)",
                false => "",
            };
            app.flash(format!("copied {path}{later}"));
            Some(Action::Copy(path))
        }
        Verb::CopyAgain => {
            let command = app.picture.again_command();
            app.flash(match app.picture.load_by_hand {
                true => {
                    format!("copied, without what was asked of the workload by hand: {command}")
                }
                false => format!("copied {command}"),
            });
            Some(Action::Copy(command))
        }
        Verb::Live | Verb::History | Verb::Verdict | Verb::Charts => {
            go(app, verb);
            None
        }
        _ => look(app, verb),
    }
}

fn go(app: &mut App, verb: Verb) {
    app.zoomed = false;
    app.screen = match verb {
        Verb::History => Screen::History,
        Verb::Verdict => Screen::Verdict,
        Verb::Charts => Screen::Charts,
        _ => Screen::Live,
    };
    if app.screen == Screen::History {
        app.history.make(&app.picture.operations);
    }
}

fn show(app: &mut App, overlay: Overlay) -> Option<Action> {
    if overlay == Overlay::Picker {
        app.picker.typing = None;
        app.picker.filter.clear();
        if app.picker.seed.is_empty() {
            app.picker.seed = app.picture.seed.to_string();
        }
        let scenario = &app.picture.scenario;
        let present = app
            .picker
            .shown()
            .position(|recipe| recipe.name == *scenario);
        app.picker.row = present.unwrap_or(0);
    }
    app.overlay = Some(overlay);
    None
}

pub(super) fn leave(app: &mut App) -> Option<Action> {
    app.leaving = true;
    app.overlay = None;
    Some(Action::Leave)
}

fn heal_all(app: &mut App) -> Action {
    app.flash("healing everything …");
    Action::Send(vec![Command::HealAll])
}

fn type_filter(app: &mut App, event: &KeyEvent) {
    let history = app.screen == Screen::History;
    let text = if history {
        &mut app.history.filter
    } else {
        &mut app.filter
    };
    match event.code {
        KeyCode::Char(c) => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Esc => {
            text.clear();
            app.typing = false;
        }
        KeyCode::Enter => app.typing = false,
        _ => {}
    }
    if history {
        app.history.row = None;
        app.history.make(&app.picture.operations);
    } else {
        app.events_back = 0;
    }
}

/// The verbs that only look.
fn look(app: &mut App, verb: Verb) -> Option<Action> {
    match verb {
        Verb::Freeze => {
            let moving = app
                .replay
                .as_ref()
                .map_or(app.frozen.is_none(), |replay| replay.playing);
            if moving {
                app.freeze();
            } else if app
                .replay
                .as_ref()
                .is_some_and(|replay| replay.at_ns >= replay.length_ns())
            {
                app.seek(0);
                app.thaw();
            } else {
                app.thaw();
            }
        }
        Verb::Slower | Verb::Faster => {
            let factor = if verb == Verb::Slower { 0.5 } else { 2.0 };
            if let Some(replay) = &mut app.replay {
                replay.speed = (replay.speed * factor).clamp(1.0 / 64.0, 64.0);
                let speed = replay.speed;
                app.flash(format!("replay at {speed}×"));
            }
        }
        Verb::ZoomIn | Verb::ZoomOut if app.screen == Screen::Charts => {
            let step = draw::chart_cell_ns(app) / TALLY_NS;
            let step = if verb == Verb::ZoomIn {
                step / 2
            } else {
                step * 2
            };
            app.chart_step = Some(step.clamp(1, 36_000));
        }
        Verb::ZoomIn | Verb::ZoomOut => {
            let present = app.cell();
            let found = if verb == Verb::ZoomIn {
                CELL_STEPS_NS.iter().rev().find(|&&step| step < present)
            } else {
                CELL_STEPS_NS.iter().find(|&&step| step > present)
            };
            match found {
                Some(&step) => app.cell_ns = Some(step),
                None => app.flash("this is as far as it goes"),
            }
        }
        Verb::Zoom => app.zoomed = !app.zoomed,
        Verb::Filter => {
            app.typing = true;
            if app.screen == Screen::Live && app.picture.lines.is_empty() {
                app.flash("type a word; ! before it excludes");
            }
        }
        Verb::Sort => {
            app.history.by_latency = !app.history.by_latency;
            app.history.row = None;
            app.history.make(&app.picture.operations);
        }
        Verb::OrderFound => app.verdict.hide_order = !app.verdict.hide_order,
        Verb::AllOperations => app.verdict.all = !app.verdict.all,
        Verb::NextPanel | Verb::PreviousPanel => {
            let at = Panel::ALL
                .iter()
                .position(|panel| *panel == app.focus)
                .unwrap_or(0);
            let step = if verb == Verb::NextPanel {
                1
            } else {
                Panel::ALL.len() - 1
            };
            app.focus = Panel::ALL[(at + step) % Panel::ALL.len()];
        }
        Verb::Back => back(app),
        Verb::Open => return open(app),
        Verb::Up => step(app, -1),
        Verb::Down => step(app, 1),
        Verb::PageUp => page(app, -1),
        Verb::PageDown => page(app, 1),
        Verb::First => step(app, -1_000_000_000),
        Verb::Last => {
            if app.screen == Screen::Live || app.screen == Screen::Charts {
                to_now(app);
            }
            step(app, 1_000_000_000);
        }
        Verb::Left => sideways(app, -1),
        Verb::Right => sideways(app, 1),
        _ => {}
    }
    None
}

fn to_now(app: &mut App) {
    app.end_ns = None;
    app.events_back = 0;
    if app.frozen.is_some() {
        app.thaw();
    } else if let Some(replay) = &app.replay {
        let end = replay.length_ns();
        app.seek(end);
    }
}

fn back(app: &mut App) {
    if app.zoomed {
        app.zoomed = false;
    } else if app.screen == Screen::Live && !app.filter.is_empty() {
        app.filter.clear();
    } else if app.screen == Screen::History && !app.history.filter.is_empty() {
        app.history.filter.clear();
        app.history.make(&app.picture.operations);
    } else if app.screen == Screen::Live && app.link.is_some() {
        app.link = None;
    } else if app.screen == Screen::Live && app.end_ns.is_some() {
        match app.replay {
            Some(_) => app.end_ns = None,
            None => to_now(app),
        }
    } else if app.screen == Screen::History && app.history.row.is_some() {
        app.history.row = None;
    } else if app.screen == Screen::Verdict && app.picture.alarm.is_some() && !app.verdict.table {
        app.verdict.table = true;
    } else if app.screen != Screen::Live {
        app.screen = Screen::Live;
    } else {
        app.focus = Panel::Cluster;
    }
}

fn open(app: &mut App) -> Option<Action> {
    match app.screen {
        Screen::History => {
            let row = app.history.selected(&app.picture.operations)?;
            let at = app.history.at(row, &app.picture.operations)?;
            show_moment(app, at);
        }
        Screen::Verdict if app.verdict.table && app.picture.alarm.is_some() => {
            app.verdict.table = false
        }
        Screen::Verdict => match app
            .picture
            .alarm
            .as_ref()
            .and_then(|c| c.operations.get(app.verdict.operation))
        {
            Some(op) => {
                let at = app.picture.operations.by_event(op.id)?;
                show_moment(app, at);
            }
            None => {
                let name = draw::key_rows(app)
                    .get(app.verdict.row)
                    .map(|row| row.name.clone())?;
                app.history.filter = name;
                go(app, Verb::History);
            }
        },
        Screen::Live => match app.focus {
            Panel::Cluster => {
                let node = app.selected_node()?;
                app.overlay = Some(Overlay::Card {
                    node,
                    log: false,
                    back: 0,
                });
                return Some(Action::ReadLog(node));
            }
            Panel::Faults => {
                if let Err(why) = can_break(app) {
                    app.flash(why);
                    return None;
                }
                let Some(id) = app.present().active().nth(app.fault).map(|span| span.id) else {
                    app.flash("no fault is active; f opens the fault menu");
                    return None;
                };
                return Some(send(app, vec![Command::Heal(id)]));
            }
            Panel::Operations => {
                if let Some(client) = draw::lanes(app).get(app.lane) {
                    app.history.filter = format!("c{client}");
                    app.history.row = None;
                    go(app, Verb::History);
                }
            }
            Panel::Events => app.zoomed = !app.zoomed,
        },
        Screen::Charts => app.flash("nothing to open here"),
    }
    None
}

/// Shows an operation on the timeline: frozen there, or, in a replay, at that instant.
fn show_moment(app: &mut App, position: usize) {
    let op = &app.picture.operations.all()[position];
    let (start, client) = (op.start_ns, op.client);
    let end = if op.end_ns == u64::MAX {
        start
    } else {
        op.end_ns
    };
    let margin = app.cell() * 20;
    app.screen = Screen::Live;
    app.focus = Panel::Operations;
    app.freeze();
    if app.replay.is_some() {
        app.end_ns = None;
        app.seek(end + margin);
    } else {
        app.end_ns = Some((end + margin).min(app.picture.time_ns.max(end)));
    }
    app.lane = draw::lanes(app)
        .iter()
        .position(|lane| *lane == client)
        .unwrap_or(0);
}

/// Moves the selection up or down.
fn step(app: &mut App, by: i32) {
    match app.screen {
        Screen::Live => match app.focus {
            Panel::Cluster => {
                let count = app.picture.nodes.len();
                app.node = stepped(app.node, by, count);
                if app.link == Some(app.node) {
                    app.link = Some(if app.node + 1 < count {
                        app.node + 1
                    } else {
                        app.node.saturating_sub(1)
                    });
                }
            }
            Panel::Faults => app.fault = stepped(app.fault, by, app.picture.active().count()),
            Panel::Operations => app.lane = stepped(app.lane, by, draw::lanes(app).len()),
            Panel::Events => {
                app.events_back = stepped(app.events_back, -by, app.picture.lines.len())
            }
        },
        Screen::History => {
            let len = app.history.len(&app.picture.operations);
            if let Some(row) = app.history.selected(&app.picture.operations) {
                let to = stepped(row, by, len);
                // The last row by time follows the newest operation.
                app.history.row = (app.history.by_latency || to + 1 < len).then_some(to);
            }
        }
        Screen::Verdict => match &app.picture.alarm {
            Some(found) if !app.verdict.table => {
                app.verdict.operation = stepped(app.verdict.operation, by, found.operations.len());
            }
            _ => app.verdict.row = stepped(app.verdict.row, by, app.picture.operations.keys()),
        },
        Screen::Charts => {}
    }
}

fn page(app: &mut App, by: i32) {
    let timed = app.screen == Screen::Charts
        || (app.screen == Screen::Live && app.focus == Panel::Operations);
    if timed {
        scroll_time(
            app,
            i64::from(by) * i64::from(app.size.0.saturating_sub(8).max(8)),
        );
    } else {
        let rows = i32::from(app.size.1.saturating_sub(8).max(4));
        step(app, by * rows);
    }
}

fn sideways(app: &mut App, by: i32) {
    match (app.screen, app.focus) {
        (Screen::Live, Panel::Cluster) => {
            // A node has no link to itself: the selection steps over that cell.
            let cells = 0..app.picture.nodes.len() as i32;
            let own = app.node as i32;
            let mut at = app.link.map_or(-1, |at| at as i32) + by;
            if at == own {
                at += by;
            }
            app.link = match (app.link, by) {
                (None, -1) => None,
                (Some(_), 1) if !cells.contains(&at) => app.link,
                _ => usize::try_from(at).ok().filter(|_| cells.contains(&at)),
            };
        }
        (Screen::Live, _) | (Screen::Charts, _) => scroll_time(app, i64::from(by) * 8),
        (Screen::Verdict, _) if app.picture.alarm.is_some() && !app.verdict.table => step(app, by),
        _ => app.flash("nothing lies that way"),
    }
}

/// Scrolls the window of the timeline by so many cells; back in time freezes, forward to now thaws.
fn scroll_time(app: &mut App, cells: i64) {
    let cell_ns = if app.screen == Screen::Charts {
        draw::chart_cell_ns(app)
    } else {
        app.cell()
    };
    let by_ns = cells.saturating_mul(cell_ns as i64);
    if app.replay.is_some() && app.end_ns.is_none() {
        app.stop();
        let to_ns = app.now_ns.saturating_add_signed(by_ns);
        app.seek(to_ns);
        return;
    }
    let end_ns = app.window_end().saturating_add_signed(by_ns);
    if end_ns >= app.now_ns {
        if app.frozen.is_some() {
            to_now(app)
        } else {
            app.end_ns = None
        }
    } else {
        app.stop();
        app.end_ns = Some(end_ns);
    }
}
