//! Every way of leaving the screen: `q`, Ctrl-C, a signal, Ctrl-Z, a panic in any thread, kill -9. Afterwards the terminal
//! is as it was (`stty -a`), and no child is left.

#[path = "support/terminal.rs"]
mod terminal;

use terminal::{Terminal, children, signal};

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
