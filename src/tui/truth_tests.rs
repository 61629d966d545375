//! What the screen says is true: what was refused is not announced as done, the timeline can be read while it moves, and
//! a finding is told once, whole.

use super::app::{Action, App, Input, Panel};
use super::fixtures;
use super::keys::{self, Verb};
use super::update::{possible_now, update};
use super::update_tests::{drawn, inject, press, refuses, sends, tell};
use crate::fault::plan::Episode;
use crate::fault::{By, DiskHarm, Fault, Kind, Lacks, Need};
use crate::journal::{Part, RunView};
use crate::oracle::Evidence;
use crate::oracle::state_hash::differences::{Differences, Key, Value};
use crate::oracle::state_hash::{Differ, States};
use crate::run::Command;

/// The text of a drawn row, from the bottom.
fn last_row(app: &App) -> String {
    let screen = drawn(app);
    let rows: Vec<&str> = screen.lines().collect();
    rows[usize::from(app.size.1) - 1].to_owned()
}

#[test]
fn what_was_refused_is_said_to_be_in_the_last_line() {
    let mut app = fixtures::cut();
    press(&mut app, "down x");
    assert_eq!(app.flashing(), Some("kill n2 …"));
    let skipped = |by, why: &str| crate::journal::Event::FaultSkipped {
        fault: Fault::Kill { who: 2 },
        by,
        why: why.to_owned(),
    };
    let planned = skipped(crate::fault::By::Plan, "n2 is not running");
    tell(&mut app, 5_100, planned);
    assert_eq!(app.flashing(), Some("kill n2 …"), "the plan's are its own");
    let asked = skipped(crate::fault::By::You, "n2 is not running");
    tell(&mut app, 5_101, asked);
    assert!(
        last_row(&app).contains("refused: kill n2: n2 is not running"),
        "{}",
        last_row(&app)
    );
    let line = &app.picture.lines.last().unwrap().text;
    assert_eq!(line, "refused: kill n2: n2 is not running");
}

#[test]
fn a_sentence_that_is_longer_than_the_last_line_takes_those_above_it() {
    let mut app = fixtures::cut();
    let long = "a process takes one such fault at a time: heal that first ".repeat(3);
    app.flash(long.clone());
    let screen = drawn(&app);
    let words: Vec<&str> = screen
        .split_whitespace()
        .filter(|word| *word != "\"")
        .collect();
    let seen = words.join(" ").replace(" \"\"", "").replace("\"", "");
    assert!(
        seen.contains(long.trim().split(": ").next().unwrap()),
        "{screen}"
    );
    assert_eq!(seen.matches("heal that first").count(), 3, "{screen}");
}

#[test]
fn what_cannot_be_put_in_beside_what_is_in_is_refused_before_it_is_asked_for() {
    let throttle = Fault::Throttle {
        who: 1,
        run_ms: 50,
        stand_ms: 50,
    };
    let with = |fault: Fault| {
        let mut app = fixtures::calm();
        let by = crate::fault::By::You;
        tell(
            &mut app,
            4_000,
            crate::journal::Event::FaultIn {
                id: 7,
                fault,
                by,
                unpromised: false,
            },
        );
        app
    };
    let mut app = with(throttle);
    assert_eq!(press(&mut app, "p"), None);
    let said = app.flashing().unwrap_or_default().to_owned();
    assert!(
        said.contains("n1 has “throttle n1: 50 ms on, 50 ms off” already"),
        "{said}"
    );
    assert!(
        possible_now(&app, Verb::Pause).is_err(),
        "so its key is dim"
    );
    // A slow disk and a wrong clock are the node's own doing: it can stand on top of them, and each has its own key.
    let slow = Fault::Disk {
        who: 1,
        harm: DiskHarm::SlowSync,
        ms: 50,
    };
    sends(with(slow.clone()), "p", &[inject(Fault::Pause { who: 1 })]);
    let fast = Fault::Clock {
        who: 1,
        rate_percent: 300,
        step_ms: 0,
    };
    sends(with(slow.clone()), "T", &[inject(fast)]);
    sends(with(slow), "D", &[Command::Heal(7)]);
    refuses(
        fixtures::five(),
        "down D",
        "n2 is paused and would not hear it; p resumes it",
    );
    let mut app = with(Fault::Pause { who: 1 });
    press(&mut app, "f down down down down down enter");
    let said = app.flashing().unwrap_or_default().to_owned();
    assert!(
        said.contains("pause the leader: pause n1: it is in already"),
        "{said}"
    );
}

#[test]
fn every_fault_of_the_menu_and_of_a_key_does_something() {
    for app in [fixtures::cut(), fixtures::five(), fixtures::calm()] {
        let nodes = app.picture.nodes.len() as u64;
        let check = |app: &App, episode: &Episode, name: &str| {
            assert_eq!(episode.check(nodes), Ok(()), "{name}");
            assert_eq!(episode.check_among(nodes, true), Ok(()), "{name}");
            for fault in &episode.faults {
                assert!(app.resolved(fault).is_ok(), "{name}: {fault}");
            }
        };
        for entry in super::menu::entries(&app) {
            for episode in &entry.does {
                check(&app, episode, entry.name);
            }
        }
        for row in keys::KEYS {
            let mut app = app.clone();
            let action = update(&mut app, Input::Key(row.keys[0].event()));
            let Some(Action::Send(commands)) = action else {
                continue;
            };
            for command in commands {
                if let Command::Inject(episodes) = command {
                    let episodes = episodes.iter();
                    episodes.for_each(|episode| check(&app, episode, row.hint));
                }
            }
        }
    }
}

#[test]
fn the_menu_offers_nothing_that_the_target_lacks() {
    let names = |app: &App| {
        let entries = super::menu::entries(app).into_iter();
        entries.map(|entry| entry.name).collect::<Vec<_>>()
    };
    let mut app = fixtures::five();
    let all = names(&app);
    let offers = |need| match need {
        Need::Child | Need::Links => Ok(()),
        need => Err(format!("plain lacks {need:?}")),
    };
    app.lacks = Lacks::of(offers);
    let left = names(&app);
    for gone in [
        "drop every vote",
        "pause the leader",
        "power loss of everybody",
        "stop the leader's clock",
        "hand over the leadership",
        "take a vote away",
    ] {
        assert!(all.contains(&gone) && !left.contains(&gone), "{gone}");
    }
    for stays in ["split in halves", "slow every link", "pause everybody"] {
        assert!(left.contains(&stays), "{stays}: {left:?}");
    }
    let withheld = super::menu::withheld(&app);
    let count: usize = withheld.iter().map(|(_, count)| count).sum();
    assert_eq!(
        left.len() + count,
        all.len(),
        "each that is gone has its reason"
    );
    assert!(withheld.iter().any(|(why, _)| why == "plain lacks Calls"));
    // Nobody leads, and it is not said that this is for now.
    app.picture = RunView::default();
    assert!(!names(&app).contains(&"isolate the leader"));
}

#[test]
fn what_is_not_promised_can_be_done_and_is_labelled() {
    let mut app = fixtures::five();
    let detail = |app: &App, name: &str| {
        let entries = super::menu::entries(app).into_iter();
        let mut entries = entries.filter(|entry| entry.name == name);
        entries
            .next()
            .expect("it is on the menu")
            .detail
            .expect("it can be done")
    };
    let label = "not promised: ";
    assert!(!detail(&app, "kill all followers").starts_with(label));
    assert!(detail(&app, "let the leader's disk lie").starts_with(label));
    app.lacks
        .promise(Kind::KillSeveral, "it forgets".to_owned());
    app.lacks.promise(Kind::Kill, "it forgets".to_owned());
    assert!(detail(&app, "kill all followers").starts_with(label));
    press(&mut app, "x");
    let said = app.flashing().expect("it is said at once");
    assert!(said.contains(crate::journal::UNPROMISED), "{said}");
    let mut view = RunView::default();
    let mut take = |unpromised| {
        let fault = Fault::Kill { who: 1 };
        let event = crate::journal::Event::FaultIn {
            id: 1,
            fault,
            by: By::You,
            unpromised,
        };
        view.take(crate::journal::Entry { time_ns: 1, event });
        view.lines.last().expect("it is said").text.clone()
    };
    assert_eq!(take(false), "you: kill n1");
    assert_eq!(take(true), "you: kill n1 (outside of what is promised)");
}

/// How much time the timeline shows.
fn shown_ns(app: &App) -> u64 {
    u64::from(super::draw::timeline_cells(app.size.0)) * app.cell()
}

#[test]
fn the_timeline_flows_while_the_run_does_and_shows_single_operations_where_it_stands() {
    const SECOND: u64 = 1_000_000_000;
    for columns in [60, 80, 100, 132, 200, 320] {
        let mut app = fixtures::calm();
        update(&mut app, Input::Size(columns, 24));
        // As a fast cluster has it: a median of 2 ms.
        app.auto_cell_ns = 200_000;
        let flows = shown_ns(&app);
        assert!(
            (SECOND..=5 * SECOND / 2).contains(&flows),
            "{columns}: {flows}"
        );
        let mut near = app.clone();
        press(&mut near, "space");
        assert!(shown_ns(&near) < SECOND / 10, "frozen it is near");
        press(&mut near, "space");
        assert_eq!(shown_ns(&near), flows, "and flows again");
        // Scrolling back keeps what a column is worth.
        let mut back = app.clone();
        back.focus = Panel::Operations;
        press(&mut back, "left");
        assert_eq!(shown_ns(&back), flows);
        // Who zooms has it so, live too.
        let mut zoomed = app.clone();
        press(&mut zoomed, "+ + + +");
        assert!(shown_ns(&zoomed) < flows / 8);
    }
}

#[test]
fn at_its_end_the_whole_run_is_on_the_timeline() {
    let mut app = fixtures::ended_well();
    for columns in [60, 80, 132, 320] {
        update(&mut app, Input::Size(columns, 24));
        let shown = shown_ns(&app);
        assert!(shown >= app.now_ns, "{columns}: {shown} of {}", app.now_ns);
        assert!(shown <= app.now_ns + 4 * app.cell(), "and not much more");
        assert!(drawn(&app).contains("Operations · the whole run"));
    }
    // What holds the run keeps its last moment in sight, however long one looks.
    let mut app = fixtures::standing();
    let clock = app.clock_ns;
    update(&mut app, Input::Clock(clock + 60_000_000_000));
    assert!(!drawn(&app).contains("no operation in this window"));
}

#[test]
fn the_command_that_runs_it_again_is_copied_whole() {
    let mut app = fixtures::calm();
    let command = "whitewater run rapids --nodes 3 --time 60 --seed 7141";
    assert_eq!(press(&mut app, "Y"), Some(Action::Copy(command.to_owned())));
    // What somebody breaks is in the run's folder, and the command is another one from then on.
    let again = "whitewater run runs/x/scenario.toml".to_owned();
    let by_hand = |part| crate::journal::Event::ByHand {
        part,
        again: again.clone(),
    };
    tell(&mut app, 4_000, by_hand(Part::Faults));
    assert_eq!(press(&mut app, "Y"), Some(Action::Copy(again.clone())));
    assert_eq!(
        app.flashing(),
        Some("copied whitewater run runs/x/scenario.toml")
    );
    tell(&mut app, 4_100, by_hand(Part::Load));
    press(&mut app, "Y");
    assert!(
        app.flashing()
            .unwrap_or_default()
            .contains("without what was asked of the workload by hand")
    );
    refuses(
        fixtures::empty(),
        "Y",
        "the run has not begun: there is no command yet",
    );
}

#[test]
fn a_finding_that_a_recorded_run_told_hundreds_of_times_is_one_and_shown_whole() {
    let mut app = fixtures::cut();
    let differ = |index| {
        let value = format!("{}and so on to the last word", "7 and ".repeat(30));
        let (key, value, nodes) = ("w12".to_owned(), Some(value), vec![1]);
        let values = vec![Value { value, nodes }];
        let keys = vec![Key { key, values }];
        Evidence::StateHash(Differ {
            states: States::Healed {
                at: Some((2, index)),
            },
            differences: Differences::AtOneInstant {
                at: (2, index),
                keys,
                more: 0,
            },
        })
    };
    for ms in 0..300 {
        let finding = differ(ms).into();
        tell(
            &mut app,
            5_000 + ms,
            crate::journal::Event::Found { finding },
        );
    }
    let evidence = differ(0).to_string();
    assert_eq!(app.picture.findings.len(), 1);
    press(&mut app, "3");
    let screen = drawn(&app);
    let words = screen.replace('"', " ");
    let seen = words.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(seen.contains(&evidence), "{screen}");
}
