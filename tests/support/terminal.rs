//! A real terminal, driven as a person drives it: in tmux, waiting for text and never for time.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One tmux server of our own with one shell in it, in a folder of its own.
pub struct Terminal {
    socket: String,
    pub dir: tempfile::TempDir,
}

impl Terminal {
    /// `None` where there is no tmux; CI must have one.
    pub fn open() -> Option<Terminal> {
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

    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub fn wait(&self, text: &str) {
        self.wait_until(&format!("“{text}” is shown"), |seen| {
            seen.contains(text)
        });
    }

    /// Waits for a line that begins so: what a command said, not the command.
    #[track_caller]
    pub fn wait_line(&self, begin: &str) {
        let is = |seen: &str| seen.lines().any(|line| line.starts_with(begin));
        self.wait_until(&format!("a line begins with “{begin}”"), is);
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, is: impl Fn(&str) -> bool) {
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

    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub fn line(&self, text: &str) {
        self.press(&[text, "Enter"]);
    }

    /// Starts the program, which says its exit code when it ends.
    pub fn start(&self, arguments: &str) {
        self.launch(arguments);
        self.wait("● LIVE");
    }

    /// The same, without waiting for the screen.
    pub fn launch(&self, arguments: &str) {
        self.line("clear");
        self.line(&format!(
            "{} {arguments}; echo \"code $?.\"",
            env!("CARGO_BIN_EXE_whitewater")
        ));
    }

    /// After the program has ended with this code: the terminal is as before, and no child is left.
    #[track_caller]
    pub fn ended(&self, code: u8) {
        self.ended_after(code, &[]);
    }

    /// The same, and these words are left on the normal screen.
    #[track_caller]
    pub fn ended_after(&self, code: u8, words: &[&str]) {
        self.wait_line(&format!("code {code}."));
        // A backtrace may be longer than the screen, and the terminal may have broken a line anywhere.
        let seen = self.tmux(&["capture-pane", "-p", "-S", "-"]).stdout;
        let seen = String::from_utf8_lossy(&seen);
        let seen = seen.replace('\n', "");
        for word in words {
            assert!(seen.contains(word), "“{word}” is not in:\n{seen}");
        }
        self.line("clear; stty -a > after; cmp before after && echo restored.");
        self.wait_line("restored.");
        self.no_child();
    }

    /// Waits until no process has this test's folder on its command line.
    #[track_caller]
    pub fn no_child(&self) {
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

    /// What is in a file below the terminal's folder; `*` is the one folder that is there.
    #[track_caller]
    pub fn file(&self, path: &str) -> String {
        let mut at = self.dir.path().to_owned();
        for part in path.split('/') {
            let only = |at: &Path| std::fs::read_dir(at).unwrap().next().unwrap().unwrap();
            at = match part {
                "*" => only(&at).path(),
                part => at.join(part),
            };
        }
        std::fs::read_to_string(&at).unwrap_or_else(|error| panic!("{}: {error}", at.display()))
    }

    /// Closes the terminal, as a connection that is lost does.
    pub fn close(&self) {
        self.tmux(&["kill-session"]);
    }

    /// The process that has the screen.
    pub fn program(&self) -> u32 {
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
pub fn children(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines
        .filter(|line| line.contains(&dir) && line.contains(" node "))
        .collect()
}

pub fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}
