//! The program on a real terminal, as a person uses it. Leaving it has a file of its own: `goodbye.rs`.

#[path = "support/terminal.rs"]
mod terminal;

use terminal::Terminal;

#[test]
fn a_person_picks_breaks_heals_and_understands_a_violation() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    terminal.start("calm --seed 5");
    // Another scenario, with a planted defect.
    terminal.press(&["s"]);
    terminal.wait("Scenarios");
    terminal.press(&["G", "d"]);
    terminal.wait("stale-read");
    terminal.press(&["Enter"]);
    // The picker names it too: the header's line is the one that counts.
    let header = " by-hand · seed 5 · stale-read";
    let live = |line: &str| line.starts_with(header) && line.contains("● LIVE");
    terminal.wait_until("by-hand is live", |seen| seen.lines().any(live));
    terminal.wait("linearizable to #");
    // A link, then a node, then everything healed.
    terminal.press(&["Right", "c"]);
    terminal.wait("╳ cut n1 → n2");
    terminal.press(&["Left", "p"]);
    terminal.wait("‖ pause n1");
    terminal.press(&["x"]);
    terminal.wait("kill n1");
    terminal.press(&["H"]);
    terminal.wait("nothing is wrong");
    terminal.wait("▲ leader");
    // A leader that is alone and does not know.
    terminal.press(&["f", "1"]);
    terminal.wait("✗ NOT LINEARIZABLE");
    terminal.press(&["3"]);
    terminal.wait("fits nowhere");
    terminal.wait("Why");
    // The network is held as it was: each node can be looked at, and then it goes on.
    terminal.wait("‖ HELD");
    terminal.press(&["1", "Enter"]);
    terminal.wait("as leader of term");
    terminal.press(&["Escape"]);
    // Escape and a key at once would be Alt and that key.
    terminal.wait("Cluster · quorum");
    terminal.press(&["u"]);
    terminal.wait("the network goes on");
    terminal.press(&["e"]);
    terminal.wait("STOPPED");
    terminal.press(&["q"]);
    terminal.ended(1);
}

#[test]
fn what_a_person_broke_is_run_again_by_the_line_that_the_run_leaves() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    terminal.start("by-hand --seed 6");
    terminal.wait("linearizable to #");
    terminal.press(&["Down", "i"]);
    terminal.wait("╳ isolate n2");
    terminal.press(&["H"]);
    terminal.wait("nothing is wrong");
    terminal.press(&["f", "6"]);
    terminal.wait("‖ pause n");
    terminal.press(&["e"]);
    terminal.wait("STOPPED");
    terminal.press(&["q"]);
    terminal.ended(0);
    // The line names the folder, which has what was broken: for how long, and the leader as the leader.
    let kept = terminal.file("runs/*/scenario.toml");
    for word in [
        "fault = \"isolate\"\nwho = \"n2\"",
        "fault = \"pause\"\nwho = \"leader\"",
    ] {
        assert!(kept.contains(word), "{kept}");
    }
    let program = env!("CARGO_BIN_EXE_whitewater");
    terminal.line("clear");
    terminal.line(&format!(
        "{program} run runs/*/scenario.toml --out again > said 2>&1; echo \"code $?.\""
    ));
    terminal.wait_line("code ");
    let faults = terminal.file("again/*/journal.jsonl");
    for fault in [
        "\"fault\":\"isolate\",\"who\":2,",
        "\"fault\":\"pause\",\"who\":",
    ] {
        assert!(
            faults.contains(fault),
            "{faults}\n{}",
            terminal.file("said")
        );
    }
}

#[test]
fn a_finished_run_is_shown_again() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    let program = env!("CARGO_BIN_EXE_whitewater");
    terminal.line(&format!(
        "{program} run calm --time 3 --seed 9 --out runs > /dev/null 2>&1; echo \"code $?.\""
    ));
    terminal.wait_line("code 0.");
    terminal.line("clear");
    terminal.line(&format!("{program} replay runs/*; echo \"code $?.\""));
    terminal.wait("REPLAY");
    terminal.press(&["G"]);
    terminal.wait("✓ LINEARIZABLE");
    terminal.press(&["x"]);
    terminal.wait("this is a replay");
    terminal.press(&["q"]);
    terminal.ended(0);
}

#[test]
fn the_demo_leads_to_the_violation_and_says_what_to_type_next() {
    let Some(terminal) = Terminal::open() else {
        return;
    };
    terminal.start("demo");
    terminal.wait("Clients read and write");
    terminal.wait("the leader, is cut off");
    // The violation opens its own screen, and everything is held as it was.
    terminal.wait("fits nowhere");
    terminal.wait("Caught, and everything is held");
    terminal.press(&["u"]);
    terminal.wait("Caught. 3 shows the operations");
    terminal.press(&["e"]);
    terminal.wait("STOPPED");
    terminal.press(&["q"]);
    terminal.ended_after(
        0,
        &[
            "NOT LINEARIZABLE",
            "What to type next",
            "whitewater run --target etcd",
        ],
    );
}
