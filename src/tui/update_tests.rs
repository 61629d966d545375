//! Key by key: what a key sends, or why it can do nothing.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::app::{Action, App, Input, Overlay, Panel};
use super::fixtures;
use super::keys::{self, Key, Screen, Verb};
use super::picker::Choice;
use super::update::{possible_now, update};
use crate::fault::plan::Episode;
use crate::fault::{DiskHarm, Fault, NodeSelector, NodeSet, Signal, Way, WireHarm};
use crate::journal::Load;
use crate::run::Command;

pub(super) fn press(app: &mut App, keys: &str) -> Option<Action> {
    let mut last = None;
    for name in keys.split(' ') {
        let event = match name {
            "space" => Key::Char(' ').event(),
            "enter" => Key::Named(KeyCode::Enter).event(),
            "esc" => Key::Named(KeyCode::Esc).event(),
            "tab" => Key::Named(KeyCode::Tab).event(),
            "up" => Key::Named(KeyCode::Up).event(),
            "down" => Key::Named(KeyCode::Down).event(),
            "left" => Key::Named(KeyCode::Left).event(),
            "right" => Key::Named(KeyCode::Right).event(),
            "back" => Key::Named(KeyCode::Backspace).event(),
            "^c" => KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL),
            "^z" => KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL),
            name => Key::Char(name.chars().next().unwrap()).event(),
        };
        last = update(app, Input::Key(event));
    }
    last
}

/// What is asked for, with every fault for the nodes that it means now: each an episode of its own, in order.
pub(super) fn asked(app: &App, action: Option<Action>) -> Vec<Command> {
    let Some(Action::Send(commands)) = action else {
        panic!("nothing is sent: {:?}", app.flashing());
    };
    let each = |command| match command {
        Command::Inject(episodes) => {
            let faults = episodes.iter().flat_map(|episode| &episode.faults);
            let resolved =
                faults.map(|fault| inject(app.resolved(fault).expect("it means somebody")));
            resolved.collect()
        }
        other => vec![other],
    };
    commands.into_iter().flat_map(each).collect()
}

#[track_caller]
pub(super) fn sends(app: App, keys: &str, expected: &[Command]) {
    let mut app = app;
    let action = press(&mut app, keys);
    assert_eq!(asked(&app, action), expected, "{keys}");
    assert!(
        app.flashing().is_some() || keys.ends_with(['n', 'w']),
        "{keys}: the screen says at once what was asked"
    );
}

#[track_caller]
pub(super) fn refuses(app: App, keys: &str, expected: &str) {
    let mut app = app;
    assert_eq!(press(&mut app, keys), None, "{keys}");
    assert_eq!(app.flashing(), Some(expected), "{keys}");
}

pub(super) fn inject(fault: Fault) -> Command {
    Command::Inject(vec![Episode::until_healed(vec![fault.by_id()])])
}

#[test]
fn a_key_of_a_node_acts_on_the_selected_one() {
    let three = fixtures::cut;
    sends(three(), "x", &[inject(Fault::Kill { who: 1 })]);
    sends(three(), "down down x", &[inject(Fault::Kill { who: 3 })]);
    sends(three(), "down p", &[inject(Fault::Pause { who: 2 })]);
    sends(
        three(),
        "r",
        &[inject(Fault::Restart {
            who: 1,
            signal: Signal::Term,
        })],
    );
    sends(
        three(),
        "i",
        &[inject(Fault::Isolate {
            who: 1,
            way: Way::Both,
        })],
    );
    sends(three(), "G x", &[inject(Fault::Kill { who: 3 })]);
    // n1 has no slow link yet; n3 has, and d undoes it.
    let slow = |from, to| {
        inject(Fault::Slow {
            from,
            to,
            delay_ms: 40,
            jitter_ms: 10,
        })
    };
    sends(
        three(),
        "d",
        &[slow(1, 2), slow(2, 1), slow(1, 3), slow(3, 1)],
    );
    sends(three(), "G d", &[Command::Heal(3)]);
}

#[test]
fn a_key_of_a_node_undoes_what_is_done() {
    // In `five`, faults 4 to 6 are: n2 paused, n4 killed, n5 isolated one way.
    sends(fixtures::five(), "down p", &[Command::Heal(4)]);
    sends(fixtures::five(), "down down down r", &[Command::Heal(5)]);
    sends(fixtures::five(), "G i", &[Command::Heal(6)]);
}

#[test]
fn an_impossible_key_says_why() {
    refuses(
        fixtures::five(),
        "down down down x",
        "n4 is not running; r starts it again",
    );
    refuses(
        fixtures::five(),
        "down down down p",
        "n4 is not running; r starts it again",
    );
    refuses(
        fixtures::five(),
        "down r",
        "n2 is paused and would not hear it; p resumes it",
    );
    refuses(
        fixtures::cut(),
        "c",
        "no link is selected; → walks into the links of the selected node",
    );
}

#[test]
fn a_key_of_a_link_acts_on_the_selected_one() {
    let cut = |from, to| inject(Fault::Cut { from, to });
    sends(fixtures::cut(), "right c", &[cut(1, 2)]);
    sends(fixtures::cut(), "right C", &[cut(1, 2), cut(2, 1)]);
    sends(fixtures::cut(), "right right c", &[Command::Heal(1)]);
    sends(
        fixtures::cut(),
        "right right C",
        &[Command::Heal(1), Command::Heal(2)],
    );
    sends(
        fixtures::cut(),
        "down down right right d",
        &[Command::Heal(3)],
    );
    refuses(
        fixtures::five(),
        "right right right right c",
        "n1 → n5 is cut by “isolate n5 (hears nobody)”; H heals everything",
    );
}

#[test]
fn the_arrows_walk_the_links_and_step_over_a_nodes_own_cell() {
    let mut app = fixtures::cut();
    let mut at = |keys: &str| {
        press(&mut app, keys);
        app.selected_link()
    };
    assert_eq!(at("right"), Some((1, 2)));
    assert_eq!(at("right right right"), Some((1, 3)));
    assert_eq!(at("down"), Some((2, 3)));
    assert_eq!(at("left"), Some((2, 1)));
    assert_eq!(at("left"), None);
    assert_eq!(at("right down up up"), Some((1, 2)));
}

#[test]
fn keys_for_everything() {
    sends(fixtures::cut(), "H", &[Command::HealAll]);
    sends(fixtures::cut(), "f 0", &[Command::HealAll]);
    sends(fixtures::cut(), "f H", &[Command::HealAll]);
    sends(fixtures::cut(), "s H", &[Command::HealAll]);
    sends(fixtures::cut(), "n", &[Command::Nemesis(false)]);
    sends(fixtures::five(), "n", &[Command::Nemesis(true)]);
    sends(fixtures::cut(), "w", &[Command::HoldWorkload(true)]);
    sends(fixtures::held(), "w", &[Command::HoldWorkload(false)]);
    sends(fixtures::cut(), "e", &[Command::Finish]);
}

#[test]
fn the_fault_menu_does_what_it_says_or_says_why_not() {
    sends(
        fixtures::cut(),
        "f 1",
        &[inject(Fault::Isolate {
            who: 1,
            way: Way::Both,
        })],
    );
    sends(
        fixtures::cut(),
        "f down down down down down enter",
        &[inject(Fault::Pause { who: 1 })],
    );
    sends(
        fixtures::cut(),
        "f G enter",
        &[inject(Fault::Wire {
            from: 1,
            to: 3,
            harm: WireHarm::Refuse,
            amount: 0,
        })],
    );
    sends(
        fixtures::cut(),
        "f G up up enter",
        &[inject(Fault::Replace { who: 2 })],
    );
    sends(
        fixtures::cut(),
        "f G up up up enter",
        &[inject(Fault::KillSeveral { who: vec![2, 3] })],
    );
    refuses(
        fixtures::cut(),
        "f 2",
        "split in halves: needs 4 nodes, has 3",
    );
    refuses(fixtures::cut(), "f 4", "bridge: needs 5 nodes, has 3");
    sends(
        fixtures::five(),
        "f 2",
        &[inject(Fault::Split { side: vec![1, 2] })],
    );
    // Two of five run no more: one more would break the quorum.
    refuses(
        fixtures::five(),
        "f 7",
        "kill a minority: 3 of 5 run: one more would break the quorum",
    );
    let mut app = fixtures::cut();
    press(&mut app, "f 2");
    assert_eq!(
        app.overlay,
        Some(Overlay::Faults(1)),
        "a refused entry stays selected"
    );
}

#[test]
fn a_rolling_restart_is_an_episode_every_two_seconds() {
    let mut app = fixtures::cut();
    let restart = |(at_ms, node)| {
        let who = NodeSelector::Node(node);
        let signal = Signal::Term;
        Episode::at(at_ms, 0, vec![Fault::Restart { who, signal }])
    };
    let restarts = [(0, 1), (2_000, 2), (4_000, 3)].map(restart).to_vec();
    assert_eq!(
        press(&mut app, "f 8"),
        Some(Action::Send(vec![Command::Inject(restarts)]))
    );
    let flap = |from, to| {
        inject(Fault::Flap {
            from,
            to,
            cut_ms: 300,
            open_ms: 300,
        })
    };
    sends(fixtures::cut(), "f 9", &[flap(1, 3), flap(3, 1)]);
}

#[test]
fn who_is_meant_by_a_role_is_a_role_in_the_plan_and_who_is_selected_is_a_node() {
    let faults = |keys: &str| {
        let mut app = fixtures::cut();
        match press(&mut app, keys) {
            Some(Action::Send(commands)) => match &commands[..] {
                [Command::Inject(episodes)] => episodes[0].faults.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let (who, way) = (NodeSelector::Leader, Way::Both);
    assert_eq!(faults("f 1"), [Fault::Isolate { who, way }]);
    let who = NodeSelector::Node(1);
    assert_eq!(faults("i"), [Fault::Isolate { who, way }]);
    let who = NodeSet::Followers;
    assert_eq!(faults("f G up up up enter"), [Fault::KillSeveral { who }]);
}

#[test]
fn an_active_fault_is_healed_by_enter() {
    sends(fixtures::cut(), "tab down enter", &[Command::Heal(2)]);
    refuses(
        fixtures::calm(),
        "tab enter",
        "no fault is active; f opens the fault menu",
    );
}

#[test]
fn leaving_a_live_run_asks_and_the_second_press_does_it() {
    let mut app = fixtures::cut();
    assert_eq!(press(&mut app, "q"), None);
    assert_eq!(app.overlay, Some(Overlay::Leave));
    assert_eq!(press(&mut app, "q"), Some(Action::Leave));
    let mut app = fixtures::cut();
    assert_eq!(press(&mut app, "^c"), None);
    assert_eq!(press(&mut app, "^c"), Some(Action::Leave));
    let mut app = fixtures::cut();
    press(&mut app, "q x");
    assert_eq!(app.overlay, None, "any other key stays");
    assert_eq!(
        press(&mut fixtures::ended_well(), "q"),
        Some(Action::Leave),
        "nothing lives that could be asked about"
    );
    assert_eq!(press(&mut fixtures::cut(), "^z"), Some(Action::Suspend));
    assert_eq!(
        press(&mut fixtures::cut(), "? ^c ^c"),
        Some(Action::Leave),
        "from inside a menu too"
    );
}

#[test]
fn nothing_can_be_broken_when_the_run_is_over() {
    for key in ["x", "p", "r", "i", "d", "f", "H", "n", "w", "e"] {
        refuses(
            fixtures::ended_well(),
            key,
            "the run is over; s starts another",
        );
    }
}

#[test]
fn a_key_of_another_screen_says_where_it_works() {
    refuses(
        fixtures::cut(),
        "o",
        "o (order found) works on Verdict (press 3)",
    );
    refuses(fixtures::cut(), "2 c", "c (cut) works on Live (press 1)");
    refuses(
        fixtures::cut(),
        "Q",
        "Q does nothing here; ? shows all keys",
    );
}

#[test]
fn every_hint_and_every_help_line_is_accepted_or_refused_with_a_reason() {
    let states = [
        fixtures::empty(),
        fixtures::calm(),
        fixtures::five(),
        fixtures::violation(),
        fixtures::ended_well(),
    ];
    for (state, screen) in states
        .iter()
        .flat_map(|state| Screen::ALL.map(|screen| (state, screen)))
    {
        for row in keys::KEYS.iter().filter(|row| row.on(screen)) {
            for key in row.keys {
                let mut app = state.clone();
                app.screen = screen;
                let reason = possible_now(&app, row.verb).err();
                update(&mut app, Input::Key(key.event()));
                if let Some(reason) = reason {
                    assert_eq!(
                        app.flashing(),
                        Some(reason.as_str()),
                        "{} on {screen:?}",
                        key.name()
                    );
                }
            }
        }
    }
}

#[test]
fn freezing_stops_the_picture_and_not_the_experiment() {
    let app = fixtures::frozen();
    let (seen, missed) = (
        app.picture.operations.all().len(),
        app.frozen.as_ref().unwrap().len(),
    );
    assert!(missed > 10, "{missed}");
    let mut app = app;
    press(&mut app, "space");
    assert_eq!(app.frozen, None);
    assert!(
        app.picture.operations.all().len() > seen,
        "what happened meanwhile is there"
    );
}

#[test]
fn an_alarm_is_seen_through_a_frozen_screen() {
    let alarm = fixtures::violation().picture.alarm.unwrap();
    let mut app = fixtures::frozen();
    let event = crate::journal::Event::Alarm {
        counterexample: alarm,
    };
    update(
        &mut app,
        Input::Entry(crate::journal::Entry {
            time_ns: 6_000_000_000,
            event,
        }),
    );
    assert!(app.picture.alarm.is_some() && app.frozen.is_some());
    press(&mut app, "space");
    assert_eq!(
        app.picture
            .lines
            .iter()
            .filter(|line| line.text.starts_with("NOT LIN"))
            .count(),
        1,
        "once"
    );
}

#[test]
fn scrolling_back_freezes_and_the_end_thaws() {
    let mut app = fixtures::cut();
    app.focus = Panel::Operations;
    press(&mut app, "left");
    assert!(app.frozen.is_some() && app.end_ns.is_some_and(|end| end < app.now_ns));
    press(&mut app, "G");
    assert!(app.frozen.is_none() && app.end_ns.is_none());
    press(&mut app, "left right right");
    assert!(
        app.frozen.is_none() && app.end_ns.is_none(),
        "so does scrolling to now"
    );
}

#[test]
fn escape_goes_back_one_step_at_a_time() {
    let mut app = fixtures::cut();
    press(&mut app, "right z ?");
    assert!(app.overlay.is_some() && app.zoomed && app.link.is_some());
    press(&mut app, "esc");
    assert!(app.overlay.is_none() && app.zoomed);
    press(&mut app, "esc");
    assert!(!app.zoomed && app.link.is_some());
    press(&mut app, "esc");
    assert_eq!(app.link, None);
    press(&mut app, "3 esc");
    assert_eq!(app.screen, Screen::Live);
}

#[test]
fn a_filter_is_typed_and_kept_or_cleared() {
    let mut app = fixtures::cut();
    press(&mut app, "2 / c 1 enter");
    assert_eq!((app.history.filter.as_str(), app.typing), ("c1", false));
    assert!(app.history.len(&app.picture.operations) < app.picture.operations.all().len());
    press(&mut app, "esc");
    assert_eq!(app.history.filter, "");
    refuses(
        fixtures::cut(),
        "/",
        "only Events and History have a filter; tab goes to Events",
    );
}

#[test]
fn an_operation_of_the_history_is_shown_on_the_timeline() {
    let mut app = fixtures::cut();
    press(&mut app, "2 g enter");
    assert_eq!((app.screen, app.focus), (Screen::Live, Panel::Operations));
    assert!(app.frozen.is_some());
    let first = &app.picture.operations.all()[0];
    assert!(app.end_ns.unwrap() >= first.start_ns);
    assert_eq!(super::draw::lanes(&app)[app.lane], first.client);
}

#[test]
fn the_picker_picks_a_scenario_a_defect_and_a_seed() {
    let mut app = fixtures::cut();
    let action = press(&mut app, "s down d e 4 2 enter enter");
    let Some(Action::Start(pick)) = action else {
        panic!("{action:?}")
    };
    assert_eq!(
        (pick.scenario.as_str(), pick.seed, pick.defect.as_deref()),
        ("calm", 42, Some("stale-read"))
    );
    assert_eq!(
        (pick.clients, pick.keys),
        (None, None),
        "as the scenario says"
    );
    let mut app = fixtures::cut();
    let Some(Action::Start(pick)) = press(&mut app, "s + + < enter") else {
        panic!("nothing is picked")
    };
    assert_eq!((pick.clients, pick.keys), (Some(10), Some(4)));
    let mut app = fixtures::cut();
    press(&mut app, "s R");
    assert_ne!(app.picker.seed, "7141");
    let mut app = fixtures::cut();
    press(&mut app, "s e enter enter");
    assert_eq!(
        app.flashing(),
        Some("the seed is a number; e edits it, R draws a new one")
    );
}

#[test]
fn the_picker_picks_whose_system_and_in_which_mode() {
    let choice = |name: &str, modes: &[&str], install: Option<&str>| Choice {
        name: name.to_owned(),
        modes: modes.iter().map(|&mode| mode.to_owned()).collect(),
        install: install.map(str::to_owned),
    };
    let with_targets = || {
        let mut app = fixtures::cut();
        app.picker.targets = vec![
            choice("etcd", &["strong", "weak"], None),
            choice("redis", &["strong"], Some("apt install redis-server")),
        ];
        app
    };
    let picked = |keys: &str| {
        let Some(Action::Start(pick)) = press(&mut with_targets(), keys) else {
            panic!("{keys}: nothing is picked")
        };
        (pick.target, pick.defect)
    };
    let of = |name: &str, mode: &str| Some((name.to_owned(), mode.to_owned()));
    assert_eq!(picked("s enter"), (None, None));
    assert_eq!(picked("s t T enter"), (of("etcd", "weak"), None));
    assert_eq!(picked("s t T T enter"), (of("etcd", "strong"), None));
    // A defect that was chosen before is none of somebody's system.
    assert_eq!(picked("s d t t T enter"), (of("redis", "strong"), None));
    let defect = Some("stale-read".to_owned());
    assert_eq!(picked("s d t t t enter"), (None, defect));
    let mut app = with_targets();
    press(&mut app, "s t d");
    assert!(app.flashing().is_some_and(|text| text.contains("own node")));
}

#[test]
fn the_picker_filters() {
    let mut app = fixtures::cut();
    press(&mut app, "s / c a l m enter");
    let Some(Action::Start(pick)) = press(&mut app, "enter") else {
        panic!("nothing is picked")
    };
    assert_eq!(pick.scenario, "calm");
    let mut app = fixtures::cut();
    press(&mut app, "s / z z enter enter");
    assert_eq!(
        app.flashing(),
        Some("no scenario has that in its name; / edits the filter")
    );
}

#[test]
fn machines_disks_the_leadership_and_the_rate_have_keys() {
    let slow = Fault::Disk {
        who: 1,
        harm: DiskHarm::SlowSync,
        ms: 50,
    };
    sends(
        fixtures::cut(),
        "X",
        &[inject(Fault::PowerLoss { who: vec![1] })],
    );
    sends(fixtures::cut(), "D", &[inject(slow)]);
    let fast = Fault::Clock {
        who: 1,
        rate_percent: 300,
        step_ms: 0,
    };
    sends(fixtures::cut(), "T", &[inject(fast)]);
    refuses(fixtures::cut(), "L", "n1 leads already; select its heir");
    sends(
        fixtures::cut(),
        "down L",
        &[inject(Fault::Transfer { to: 2 })],
    );
    let load = |rate, clients, contended| {
        [Command::Load(Load {
            rate,
            clients,
            contended,
        })]
    };
    sends(fixtures::cut(), ">", &load(400, 8, 5));
    sends(fixtures::cut(), "<", &load(100, 8, 5));
    sends(fixtures::cut(), "(", &load(200, 7, 5));
    sends(fixtures::cut(), "{", &load(200, 8, 4));
    sends(fixtures::cut(), "}", &load(200, 8, 6));
    refuses(
        fixtures::cut(),
        ")",
        "all 8 clients ask; a run with more begins at s",
    );
}

#[test]
fn what_a_violation_holds_goes_on_by_a_key_and_only_then() {
    sends(fixtures::standing(), "u", &[Command::GoOn]);
    refuses(
        fixtures::violation(),
        "u",
        "nothing is held; a violation holds the network",
    );
}

#[test]
fn the_path_of_what_is_shown_is_copied() {
    let dir = "runs/20261123-141503-rapids-7141";
    let copies = |app: App, keys: &str, expected: String| {
        assert_eq!(
            press(&mut { app }, keys),
            Some(Action::Copy(expected)),
            "{keys}"
        );
    };
    copies(fixtures::cut(), "y", dir.to_owned());
    copies(fixtures::cut(), "2 y", format!("{dir}/history.jsonl"));
    copies(
        fixtures::violation(),
        "3 y",
        format!("{dir}/counterexample.txt"),
    );
    copies(fixtures::cut(), "enter y", format!("{dir}/nodes/1"));
    refuses(fixtures::empty(), "y", "the run has no folder yet");
}

fn click(app: &mut App, column: u16, row: u16) -> Option<Action> {
    let kind = MouseEventKind::Down(MouseButton::Left);
    update(
        app,
        Input::Mouse(MouseEvent {
            kind,
            column,
            row,
            modifiers: KeyModifiers::NONE,
        }),
    )
}

#[test]
fn a_click_selects_and_a_click_on_a_hint_presses_it() {
    let mut app = fixtures::cut();
    click(&mut app, 5, 4);
    assert_eq!(app.node, 1);
    click(&mut app, 60, 3);
    assert_eq!((app.focus, app.fault), (Panel::Faults, 1));
    // The first hint of the Live screen is x.
    assert_eq!(
        click(&mut app, 1, 23),
        Some(Action::Send(vec![inject(Fault::Kill { who: 2 })]))
    );
    click(&mut app, 75, 0);
    assert_eq!(
        app.screen,
        Screen::Verdict,
        "the verdict in the header opens its screen"
    );
}

/// The screen as text.
pub(super) fn drawn(app: &App) -> String {
    let (width, height) = app.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| super::draw::draw(app, frame))
        .unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_screen_that_is_too_small_asks_before_it_ends_the_run_too() {
    let mut app = fixtures::cut();
    update(&mut app, Input::Size(40, 8));
    assert!(drawn(&app).contains("q quits"));
    assert_eq!(press(&mut app, "q"), None);
    let asked = drawn(&app);
    assert!(
        asked.contains("q or y") && !asked.contains("q quits"),
        "{asked}"
    );
    assert_eq!(press(&mut app, "x"), None);
    assert!(drawn(&app).contains("q quits"));
    assert_eq!(press(&mut app, "q q"), Some(Action::Leave));
}

#[test]
fn a_click_selects_what_is_drawn_there_also_in_a_list_that_is_scrolled() {
    let mut app = fixtures::cut();
    for id in 10..40 {
        let fault = Fault::Cut {
            from: 1 + id % 3,
            to: 1 + (id + 1) % 3,
        };
        let by = crate::fault::By::You;
        let event = crate::journal::Event::FaultIn {
            id,
            fault,
            by,
            unpromised: false,
        };
        let time_ns = app.now_ns;
        update(
            &mut app,
            Input::Entry(crate::journal::Entry { time_ns, event }),
        );
    }
    let count = app.picture.active().count();
    // Out of focus the last ones are shown, in focus those up to the selected one.
    for row in [3, 2] {
        let screen = drawn(&app);
        click(&mut app, 60, row);
        let shown = app.picture.active().nth(app.fault).unwrap();
        let line = screen.lines().nth(usize::from(row)).unwrap();
        assert!(
            line.contains(&shown.fault.to_string()),
            "{}: {screen}",
            app.fault
        );
        assert!(app.fault > 0 && app.fault < count);
    }
}

#[test]
fn a_replay_is_scrubbed_and_can_not_be_broken() {
    let entries: Vec<_> = (0..10u64)
        .map(|second| {
            let event = crate::journal::Event::Say {
                text: format!("second {second}"),
            };
            crate::journal::Entry {
                time_ns: second * 1_000_000_000,
                event,
            }
        })
        .collect();
    let mut app = App::replaying(super::theme::Theme::plain(), entries);
    update(&mut app, Input::Clock(2_500_000_000));
    assert_eq!((app.now_ns, app.picture.lines.len()), (2_500_000_000, 3));
    press(&mut app, "G");
    assert_eq!((app.now_ns, app.picture.lines.len()), (9_000_000_000, 10));
    app.focus = Panel::Operations;
    press(&mut app, "left");
    let seen = app.picture.lines.len();
    assert!(
        app.now_ns < 9_000_000_000 && (7..10).contains(&seen),
        "{seen}"
    );
    press(&mut app, "x");
    assert_eq!(
        app.flashing(),
        Some("this is a replay: what happened can not be changed")
    );
    press(&mut app, "]");
    assert_eq!(app.replay.as_ref().unwrap().speed, 2.0);
    assert_eq!(
        press(&mut app, "q"),
        Some(Action::Leave),
        "a replay is left without a question"
    );
    assert_eq!(possible_now(&app, Verb::Slower), Ok(()));
}

pub(super) fn tell(app: &mut App, ms: u64, event: crate::journal::Event) {
    let time_ns = ms * 1_000_000;
    let entry = crate::journal::Entry { time_ns, event };
    update(app, Input::Entry(entry));
}

#[test]
fn while_the_screen_is_frozen_keys_go_by_the_run_as_it_stands() {
    let mut app = fixtures::cut();
    let action = press(&mut app, "space p");
    assert_eq!(asked(&app, action), [inject(Fault::Pause { who: 1 })]);
    // What came of it is not drawn yet.
    let mut paused = fixtures::view(1, 1, 4, 1204);
    paused.child = crate::journal::ChildState::Paused;
    tell(
        &mut app,
        5_200,
        crate::journal::Event::FaultIn {
            id: 77,
            fault: Fault::Pause { who: 1 },
            by: crate::fault::By::You,
            unpromised: false,
        },
    );
    tell(
        &mut app,
        5_201,
        crate::journal::Event::Node { node: paused },
    );
    assert_eq!(
        press(&mut app, "p"),
        Some(Action::Send(vec![Command::Heal(77)])),
        "the second press undoes the first"
    );
    tell(
        &mut app,
        5_300,
        crate::journal::Event::PausedByViolation { paused: true },
    );
    assert_eq!(
        press(&mut app, "u"),
        Some(Action::Send(vec![Command::GoOn]))
    );
    assert!(app.frozen.is_some(), "and the picture stands all the while");
}

#[test]
fn leaving_wins_over_a_filter_that_is_being_typed() {
    let mut app = fixtures::cut();
    press(&mut app, "2 / k ^c");
    assert_eq!(app.overlay, Some(Overlay::Leave));
    assert_eq!(press(&mut app, "y"), Some(Action::Leave));
}
