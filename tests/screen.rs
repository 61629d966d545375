//! The program on a real terminal, driven as a person drives it: in tmux, waiting for text and never for time.
//!
//! Afterwards the terminal must be as it was (`stty -a`) and no child may be left, however the program was left.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One tmux server of our own with one shell in it, in a folder of its own.
struct Terminal {
    socket: String,
    dir: tempfile::TempDir,
}

impl Terminal {
    /// `None` where there is no tmux; CI must have one.
    fn open() -> Option<Terminal> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI needs tmux to drive the screen"
            );
            eprintln!("no tmux on this machine: the screen is not driven");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("whitewater-test-{}-{count}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        let terminal = Terminal { socket, dir };
        let shell = "env -u NO_COLOR LANG=C.UTF-8 LC_ALL=C.UTF-8 PS1='ready> ' bash --norc";
        let path = terminal.dir.path().display().to_string();
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "-c",
            &path,
            shell,
        ]);
        terminal.wait("ready>");
        terminal.line("stty -a > before");
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Output {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "tmux {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    fn wait(&self, text: &str) {
        self.wait_until(&format!("“{text}” is shown"), |seen| {
            seen.contains(text)
        });
    }

    /// Waits for a line that begins so: what a command said, not the command.
    #[track_caller]
    fn wait_line(&self, begin: &str) {
        let is = |seen: &str| seen.lines().any(|line| line.starts_with(begin));
        self.wait_until(&format!("a line begins with “{begin}”"), is);
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if is(&seen) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "waited until {what}; last seen:\n{seen}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn line(&self, text: &str) {
        self.press(&[text, "Enter"]);
    }

    /// Starts the program, which says its exit code when it ends.
    fn start(&self, arguments: &str) {
        self.line("clear");
        self.line(&format!(
            "{} {arguments}; echo \"code $?.\"",
            env!("CARGO_BIN_EXE_whitewater")
        ));
        self.wait("● LIVE");
    }

    /// After the program has ended with this code: the terminal is as before, and no child is left.
    #[track_caller]
    fn ended(&self, code: u8) {
        self.wait_line(&format!("code {code}."));
        self.line("clear; stty -a > after; cmp before after && echo restored.");
        self.wait_line("restored.");
        self.no_child();
    }

    /// Waits until no process has this test's folder on its command line.
    #[track_caller]
    fn no_child(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = children(self.dir.path());
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "children are left: {left:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The process that has the screen.
    fn program(&self) -> u32 {
        let tty = String::from_utf8(self.tmux(&["display", "-p", "#{pane_tty}"]).stdout).unwrap();
        let list = Command::new("ps")
            .args(["-o", "pid=,comm=", "-t", tty.trim()])
            .output()
            .unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let line = list
            .lines()
            .find(|line| line.trim().ends_with("whitewater"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no program in\n{list}"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}

/// Command lines of processes that work in `dir`: the nodes' data folders are in it.
fn children(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines
        .filter(|line| line.contains(&dir) && line.contains(" node "))
        .collect()
}

fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

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
    terminal.wait_until("the run is over", |seen| seen.contains("STOPPED"));
    terminal.press(&["q"]);
    terminal.ended(1);
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
