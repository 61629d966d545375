//! Every way of leaving the screen: `q`, Ctrl-C, a signal, Ctrl-Z, a panic in any thread, kill -9. Afterwards the terminal
//! is as it was (`stty -a`), and no child is left.

#[path = "support/terminal.rs"]
mod terminal;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use terminal::{Terminal, children, signal};

/// A scenario in which the leader is alone from its first half second on: with the defect stale-read a violation is a
/// matter of a second or two.
const ALONE: &str = r#"
name = "alone"
about = "the leader is alone"
nodes = 3
seconds = 600
clients = 8
rate = 200
keys = { contended = 2, wide = 2 }
mix = { read = 60, write = 40 }
[[opening]]
at_ms = 500
for_ms = 590000
faults = [{ fault = "isolate", who = "leader" }]
"#;

/// A terminal in whose folder that scenario lies.
fn alone() -> Option<Terminal> {
    let terminal = Terminal::open()?;
    std::fs::write(terminal.dir.path().join("alone.toml"), ALONE).unwrap();
    Some(terminal)
}

/// The folders of the runs that were made there.
fn runs(terminal: &Terminal) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(terminal.dir.path().join("runs"));
    let runs = runs.into_iter().flatten().flatten();
    runs.map(|entry| entry.path()).collect()
}

/// Waits for the verdict of the only run, and gives it.
fn verdict(terminal: &Terminal) -> serde_json::Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let runs = runs(terminal);
        assert_eq!(runs.len(), 1, "{runs:?}");
        match std::fs::read(runs[0].join("verdict.json")) {
            Ok(verdict) => return serde_json::from_slice(&verdict).unwrap(),
            Err(error) => assert!(Instant::now() < deadline, "no verdict.json: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn leaving_in_every_way_gives_the_terminal_back_and_leaves_no_child() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    // q asks, the second one does it.
    terminal.start("by-hand --seed 1");
    terminal.press(&["q"]);
    terminal.wait("Leave?");
    terminal.press(&["q"]);
    terminal.ended(130);
    // Ctrl-C is a key here, and the same; with a paused node, which hears no SIGTERM.
    terminal.start("by-hand --seed 2");
    terminal.press(&["p"]);
    terminal.wait("‖ pause n1");
    terminal.press(&["C-c"]);
    terminal.wait("Leave?");
    terminal.press(&["C-c"]);
    terminal.ended(130);
    for name in ["-TERM", "-HUP", "-INT"] {
        terminal.start("by-hand --seed 3");
        signal(terminal.program(), name);
        terminal.ended(130);
    }
}

#[test]
fn a_panic_in_any_thread_gives_the_terminal_back_and_leaves_no_child() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    for place in ["run", "task", "thread", "screen"] {
        terminal.launch(&format!("by-hand --seed 7 --drill {place}"));
        terminal.ended_after(
            70,
            &[
                "a drill: this panic was asked for",
                "what was recorded is in",
            ],
        );
    }
}

#[test]
fn leaving_while_a_violation_holds_the_network_leaves_no_child() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    terminal.start("by-hand --seed 8 --defect stale-read");
    terminal.wait("linearizable to #");
    terminal.press(&["f", "1"]);
    terminal.wait("‖ HELD");
    terminal.press(&["q", "q"]);
    terminal.ended(1);
}

#[test]
fn a_stopped_program_gives_the_terminal_back_and_goes_on_where_it_was() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    terminal.start("by-hand --seed 4");
    terminal.press(&["C-z"]);
    terminal.wait("Stopped");
    terminal.line("clear; stty -a > after; cmp before after && echo restored.");
    terminal.wait_line("restored.");
    terminal.line("fg; echo \"code $?.\"");
    terminal.wait("● LIVE");
    terminal.press(&["q", "q"]);
    terminal.ended(130);
}

#[test]
fn a_killed_program_leaves_no_child_not_even_a_paused_one() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    terminal.start("by-hand --seed 6");
    terminal.press(&["p"]);
    terminal.wait("‖ pause n1");
    assert_eq!(children(terminal.dir.path()).len(), 3, "three nodes run");
    signal(terminal.program(), "-KILL");
    terminal.no_child();
}

#[test]
fn a_panic_after_a_violation_says_what_was_found_on_the_normal_screen() {
    let Some(terminal) = alone() else {
        return;
    };
    for drill in ["run-found", "task-found", "thread-found", "screen-found"] {
        terminal.launch(&format!(
            "./alone.toml --seed 7 --defect stale-read --drill {drill}"
        ));
        terminal.ended_after(
            1,
            &[
                "a drill: this panic was asked for",
                "found before it ended: NOT LINEARIZABLE",
            ],
        );
    }
}

#[test]
fn a_second_signal_after_a_violation_says_what_was_found() {
    let Some(terminal) = alone() else {
        return;
    };
    for (flags, sign, code, words) in [
        ("", "linearizable to #", 130, &["ending the run"][..]),
        (
            "--defect stale-read",
            "‖ HELD",
            1,
            &["found before it ended: NOT LINEARIZABLE"],
        ),
    ] {
        terminal.start(&format!("./alone.toml --seed 7 --drill stuck {flags}"));
        terminal.wait(sign);
        let program = terminal.program().to_string();
        terminal.press(&["q", "q"]);
        terminal.wait("ending the run");
        terminal.wait_until("a signal ends it", |seen| {
            // A signal that comes too soon is the same wish; then another one follows.
            let sent = Command::new("kill").args(["-INT", &program]).output();
            sent.unwrap();
            seen.lines().any(|line| line.starts_with("code "))
        });
        terminal.ended_after(code, words);
    }
}

#[test]
fn a_terminal_that_is_closed_leaves_the_verdict_and_no_child() {
    for (flags, sign, exit) in [
        ("", "linearizable to #", 130),
        ("--defect stale-read", "‖ HELD", 1),
    ] {
        let Some(terminal) = alone() else {
            return;
        };
        terminal.start(&format!("./alone.toml --seed 7 {flags}"));
        terminal.wait(sign);
        terminal.close();
        let verdict = verdict(&terminal);
        assert_eq!(verdict["exit"], exit, "{verdict:#}");
        terminal.no_child();
    }
}

#[test]
fn what_the_screen_cannot_save_hides_neither_the_verdict_nor_its_code() {
    for (flags, sign, code, words) in [
        ("", "linearizable to #", 70, "✓ LINEARIZABLE"),
        ("--defect stale-read", "‖ HELD", 1, "✗ NOT LINEARIZABLE"),
    ] {
        let Some(terminal) = alone() else {
            return;
        };
        terminal.start(&format!("./alone.toml --seed 7 {flags}"));
        terminal.wait(sign);
        for run in runs(&terminal) {
            std::fs::create_dir(run.join("verdict.json")).unwrap();
        }
        terminal.press(&["q", "q"]);
        terminal.ended_after(code, &[words, "could not write"]);
    }
}

#[test]
fn what_an_earlier_run_of_the_screen_found_is_not_forgotten_for_a_later_one() {
    let Some(terminal) = alone() else {
        return;
    };
    terminal.start("./alone.toml --seed 7 --defect stale-read");
    terminal.wait("‖ HELD");
    terminal.press(&["s"]);
    terminal.wait("Scenarios");
    terminal.press(&["G", "Enter"]);
    terminal.wait("by-hand · seed 7");
    terminal.wait("● LIVE");
    terminal.wait("linearizable to #");
    terminal.press(&["q", "q"]);
    terminal.ended_after(1, &["a run before: ✗ NOT LINEARIZABLE"]);
}
