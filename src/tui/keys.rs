//! The keys: written once, here. From this table come dispatch, the hint line, `?`, `whitewater list keys` and the test
//! that no key means two things on one screen.

use std::fmt::Write as _;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does. One verb, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table below says what each does")]
pub enum Verb {
    Help,
    Leave,
    Interrupt,
    Suspend,
    Back,
    Live,
    History,
    Verdict,
    Charts,
    NextPanel,
    PreviousPanel,
    Up,
    Down,
    Left,
    Right,
    First,
    Last,
    PageUp,
    PageDown,
    Open,
    Zoom,
    Filter,
    Freeze,
    Hold,
    GoOn,
    Less,
    More,
    FewerClients,
    MoreClients,
    FewerKeys,
    MoreKeys,
    Kill,
    Restart,
    Pause,
    Isolate,
    PowerLoss,
    Disk,
    Clock,
    Transfer,
    Cut,
    CutBoth,
    Delay,
    FaultMenu,
    HealAll,
    Nemesis,
    Finish,
    ZoomIn,
    ZoomOut,
    Picker,
    Sort,
    OrderFound,
    AllOperations,
    CopyPath,
    CopyAgain,
    Slower,
    Faster,
}

/// The screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Screen {
    /// Nodes, links, faults, operations.
    #[default]
    Live,
    /// The table of operations.
    History,
    /// Per key, and the counterexample.
    Verdict,
    /// Throughput, latency, faults.
    Charts,
}

impl Screen {
    /// All, in the order of their digits.
    pub const ALL: [Screen; 4] = [
        Screen::Live,
        Screen::History,
        Screen::Verdict,
        Screen::Charts,
    ];

    /// Its name, as on its tab.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Screen::Live => "Live",
            Screen::History => "History",
            Screen::Verdict => "Verdict",
            Screen::Charts => "Charts",
        }
    }
}

/// Which part of `?` a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Breaking and healing.
    Break,
    /// The run as a whole.
    Run,
    /// Moving and looking.
    Move,
    /// Screens and leaving.
    Program,
}

impl Group {
    /// All, in the order of `?`.
    pub const ALL: [Group; 4] = [Group::Break, Group::Run, Group::Move, Group::Program];

    /// Its heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Group::Break => "Break and heal",
            Group::Run => "The run",
            Group::Move => "Look around",
            Group::Program => "The program",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Binding {
    /// What it does.
    pub verb: Verb,
    /// The keys, the first of which is shown.
    pub keys: &'static [Key],
    /// A word or two for the hint line.
    pub hint: &'static str,
    /// A sentence for `?` and the manual.
    pub about: &'static str,
    /// Where in `?`.
    pub group: Group,
    /// On which screens it works; empty: on all.
    pub screens: &'static [Screen],
    /// How early it is on the hint line of its screens; 0: never.
    pub rank: u8,
}

/// One key as pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character, as typed (shift is part of it).
    Char(char),
    /// Control and a character.
    Ctrl(char),
    /// A key with a name.
    Named(KeyCode),
}

impl Key {
    /// The key of an event.
    #[must_use]
    pub fn of(event: &KeyEvent) -> Key {
        match event.code {
            KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::CONTROL) => {
                Key::Ctrl(c.to_ascii_lowercase())
            }
            KeyCode::Char(c) => Key::Char(c),
            code => Key::Named(code),
        }
    }

    /// The event that pressing it makes.
    #[must_use]
    pub fn event(self) -> KeyEvent {
        match self {
            Key::Char(c) => KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE),
            Key::Ctrl(c) => KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL),
            Key::Named(code) => KeyEvent::new(code, KeyModifiers::NONE),
        }
    }

    /// How it is written.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Key::Char(' ') => "space".to_owned(),
            Key::Char(c) => c.to_string(),
            Key::Ctrl(c) => format!("Ctrl-{}", c.to_ascii_uppercase()),
            Key::Named(code) => match code {
                KeyCode::Up => "↑".to_owned(),
                KeyCode::Down => "↓".to_owned(),
                KeyCode::Left => "←".to_owned(),
                KeyCode::Right => "→".to_owned(),
                KeyCode::Enter => "enter".to_owned(),
                KeyCode::Esc => "esc".to_owned(),
                KeyCode::Tab => "tab".to_owned(),
                KeyCode::BackTab => "shift-tab".to_owned(),
                KeyCode::PageUp => "PgUp".to_owned(),
                KeyCode::PageDown => "PgDn".to_owned(),
                KeyCode::Home => "home".to_owned(),
                KeyCode::End => "end".to_owned(),
                other => format!("{other:?}").to_lowercase(),
            },
        }
    }
}

use Key::{Char, Ctrl, Named};

const LIVE: &[Screen] = &[Screen::Live];
const TIMED: &[Screen] = &[Screen::Live, Screen::Charts];
const VERDICT: &[Screen] = &[Screen::Verdict];
const HISTORY: &[Screen] = &[Screen::History];
const EVERYWHERE: &[Screen] = &[];

macro_rules! keys {
    ($($verb:ident [$($key:expr),+] $hint:literal $group:ident $screens:ident $rank:literal $about:literal;)+) => {
        &[$(Binding { verb: Verb::$verb, keys: &[$($key),+], hint: $hint, about: $about, group: Group::$group,
                      screens: $screens, rank: $rank }),+]
    };
}

/// The table.
#[rustfmt::skip]
pub const KEYS: &[Binding] = keys! {
    Kill      [Char('x')] "kill"    Break EVERYWHERE 2 "kill the selected node (SIGKILL)";
    Restart   [Char('r')] "restart" Break EVERYWHERE 8 "restart the selected node, or start it again when it is dead";
    Pause     [Char('p')] "pause"   Break EVERYWHERE 3 "pause the selected node (SIGSTOP), or resume it";
    Isolate   [Char('i')] "isolate" Break EVERYWHERE 7 "isolate the selected node from its peers, or let it back";
    PowerLoss [Char('X')] "power loss" Break EVERYWHERE 0 "cut the power of the selected node's machine: it falls silent and loses what it had not synced";
    Disk      [Char('D')] "slow disk" Break EVERYWHERE 0 "slow the selected node's disk (each sync takes 50 ms more), or undo it";
    Clock     [Char('T')] "fast clock" Break EVERYWHERE 0 "run the selected node's clock at three times the pace, or undo it";
    Transfer  [Char('L')] "lead"    Break EVERYWHERE 0 "hand the leadership to the selected node";
    Cut       [Char('c')] "cut"     Break LIVE       9 "cut the selected link one way, or heal it";
    CutBoth   [Char('C')] "cut both ways" Break LIVE 0 "cut the selected link both ways, or heal it";
    Delay     [Char('d')] "delay"   Break LIVE      10 "delay the selected link or every link of the selected node, or undo it";
    FaultMenu [Char('f')] "faults"  Break EVERYWHERE 4 "the fault menu: what shall go wrong?";
    HealAll   [Char('H')] "heal"    Break EVERYWHERE 5 "heal everything, now";

    Freeze    [Char(' ')] "freeze"  Run TIMED        6 "freeze the screen; the cluster goes on. In a replay: stop and go";
    Hold      [Char('w')] "hold workload" Run EVERYWHERE 0 "hold the workload, or let it go on";
    Less      [Char('<')] "half the rate" Run EVERYWHERE 0 "ask for half as many operations a second";
    More      [Char('>')] "twice the rate" Run EVERYWHERE 0 "ask for twice as many operations a second";
    FewerClients [Char('(')] "fewer clients" Run EVERYWHERE 0 "let one client less ask at the same time";
    MoreClients  [Char(')')] "more clients" Run EVERYWHERE 0 "let one client more ask, up to as many as the run began with";
    FewerKeys [Char('{')] "fewer keys" Run EVERYWHERE 0 "contend for one key less";
    MoreKeys  [Char('}')] "more keys" Run EVERYWHERE 0 "contend for one key more";
    GoOn      [Char('u')] "let go on" Run EVERYWHERE 0 "let the network, the workload and the plan go on after a violation held them";
    Nemesis   [Char('n')] "nemesis" Run EVERYWHERE   0 "turn the nemesis (the scenario's plan) on or off";
    Finish    [Char('e')] "end run" Run EVERYWHERE   0 "end the run in order: heal, final reads, verdict";
    Picker    [Char('s')] "scenarios" Run EVERYWHERE 11 "choose another scenario, whose system, seed or defect";
    Slower    [Char('[')] "slower"  Run EVERYWHERE   0 "replay at half the speed";
    Faster    [Char(']')] "faster"  Run EVERYWHERE   0 "replay at twice the speed";

    Up        [Named(KeyCode::Up), Char('k')]    "up"    Move EVERYWHERE 0 "the row above";
    Down      [Named(KeyCode::Down), Char('j')]  "down"  Move EVERYWHERE 0 "the row below";
    Left      [Named(KeyCode::Left), Char('h')]  "left"  Move EVERYWHERE 0 "the cell to the left; in time: earlier";
    Right     [Named(KeyCode::Right), Char('l')] "right" Move EVERYWHERE 0 "the cell to the right; in time: later";
    First     [Char('g'), Named(KeyCode::Home)]  "first" Move EVERYWHERE 0 "the first row; in time: the beginning";
    Last      [Char('G'), Named(KeyCode::End)]   "last"  Move EVERYWHERE 0 "the last row; in time: now";
    PageUp    [Named(KeyCode::PageUp)]           "page up"   Move EVERYWHERE 0 "a page up; in time: a window earlier";
    PageDown  [Named(KeyCode::PageDown)]         "page down" Move EVERYWHERE 0 "a page down; in time: a window later";
    NextPanel [Named(KeyCode::Tab)]              "panel" Move LIVE 12 "the next panel";
    PreviousPanel [Named(KeyCode::BackTab)]      "panel back" Move LIVE 0 "the previous panel";
    Open      [Named(KeyCode::Enter)] "open"     Move EVERYWHERE 0 "open what is selected: a node's card, a moment; heal a selected fault";
    Zoom      [Char('z')] "zoom"                 Move LIVE 13 "the focused panel on the whole screen, or back";
    Filter    [Char('/')] "filter"               Move EVERYWHERE 0 "filter this list; a leading ! excludes";
    ZoomIn    [Char('+'), Char('=')] "zoom in"   Move TIMED 0 "less time on the screen";
    ZoomOut   [Char('-')] "zoom out"             Move TIMED 0 "more time on the screen";
    Sort      [Char('t')] "sort"                 Move HISTORY 2 "sort by time, or by latency";
    OrderFound [Char('o')] "order found"         Move VERDICT 2 "number the operations by the order found, or not";
    AllOperations [Char('a')] "all ops"          Move VERDICT 3 "all operations of the key around the violation, or only those that prove it";
    CopyPath  [Char('y')] "copy path"            Move EVERYWHERE 0 "copy the path of what is shown (OSC 52)";
    CopyAgain [Char('Y')] "copy command"         Move EVERYWHERE 0 "copy the command that runs this again (OSC 52)";

    Live      [Char('1')] "live"     Program EVERYWHERE 0 "the Live screen";
    History   [Char('2')] "history"  Program EVERYWHERE 0 "the History screen";
    Verdict   [Char('3')] "verdict"  Program EVERYWHERE 0 "the Verdict screen";
    Charts    [Char('4')] "charts"   Program EVERYWHERE 0 "the Charts screen";
    Help      [Char('?')] "all keys" Program EVERYWHERE 254 "all keys of this screen";
    Back      [Named(KeyCode::Esc)] "back" Program EVERYWHERE 0 "back: menu, zoom, filter, selection, screen";
    Leave     [Char('q')] "quit"     Program EVERYWHERE 255 "leave; asks while a run is live, and the second press does it";
    Interrupt [Ctrl('c')] "quit"     Program EVERYWHERE 0 "leave, at once at the second press";
    Suspend   [Ctrl('z')] "suspend"  Program EVERYWHERE 0 "suspend the program and hold the workload until it is back";
};

impl Binding {
    /// Whether it works on `screen`.
    #[must_use]
    pub fn on(&self, screen: Screen) -> bool {
        self.screens.is_empty() || self.screens.contains(&screen)
    }

    /// How its first key is written.
    #[must_use]
    pub fn key(&self) -> String {
        self.keys[0].name()
    }
}

/// The row of a verb.
#[must_use]
pub fn binding(verb: Verb) -> &'static Binding {
    KEYS.iter()
        .find(|binding| binding.verb == verb)
        .expect("every verb has a row, as a test holds")
}

/// What `key` does on `screen`.
#[must_use]
pub fn verb(key: Key, screen: Screen) -> Option<Verb> {
    KEYS.iter()
        .find(|binding| binding.on(screen) && binding.keys.contains(&key))
        .map(|binding| binding.verb)
}

/// The screens on which `key` does something, when it does nothing on the present one.
#[must_use]
pub fn elsewhere(key: Key) -> Option<&'static Binding> {
    KEYS.iter().find(|binding| binding.keys.contains(&key))
}

/// The rows of `screen`'s hint line, most useful first; `?` and `q` come last and always.
#[must_use]
pub fn hints(screen: Screen) -> Vec<&'static Binding> {
    let mut rows: Vec<_> = KEYS
        .iter()
        .filter(|binding| binding.rank > 0 && binding.on(screen))
        .collect();
    rows.sort_by_key(|binding| binding.rank);
    rows
}

/// The table for people: `whitewater list keys`, one a line; with `markdown`, a table for the README.
#[must_use]
pub fn list(markdown: bool) -> String {
    let mut out = String::new();
    if markdown {
        out.push_str("| key | does | where |\n| --- | --- | --- |\n");
    }
    for group in Group::ALL {
        for binding in KEYS.iter().filter(|binding| binding.group == group) {
            let keys: Vec<String> = binding.keys.iter().map(|key| key.name()).collect();
            let places: Vec<&str> = binding.screens.iter().map(|screen| screen.name()).collect();
            let place = if places.is_empty() {
                "everywhere".to_owned()
            } else {
                places.join(", ")
            };
            let written = if markdown {
                let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                writeln!(out, "| {} | {} | {place} |", keys.join(" "), binding.about)
            } else {
                writeln!(out, "{:<10} {} ({place})", keys.join(" "), binding.about)
            };
            written.expect("a string takes what it is given");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_on_one_screen() {
        for screen in Screen::ALL {
            let mut seen: Vec<(Key, Verb)> = Vec::new();
            for binding in KEYS.iter().filter(|binding| binding.on(screen)) {
                for &key in binding.keys {
                    let other = seen.iter().find(|(other, _)| *other == key);
                    assert!(
                        other.is_none(),
                        "{} on {screen:?}: {:?} and {:?}",
                        key.name(),
                        other,
                        binding.verb
                    );
                    seen.push((key, binding.verb));
                }
            }
        }
    }

    #[test]
    fn no_key_means_two_things_on_two_screens() {
        for (i, binding) in KEYS.iter().enumerate() {
            for other in &KEYS[i + 1..] {
                assert!(
                    binding.keys.iter().all(|key| !other.keys.contains(key)),
                    "{binding:?} {other:?}"
                );
                assert_ne!(binding.verb, other.verb, "one row a verb");
            }
        }
    }

    #[test]
    fn every_hint_does_on_its_screen_what_it_says() {
        for screen in Screen::ALL {
            for binding in hints(screen) {
                for &key in binding.keys {
                    assert_eq!(
                        verb(Key::of(&key.event()), screen),
                        Some(binding.verb),
                        "{}",
                        key.name()
                    );
                }
            }
        }
    }

    #[test]
    fn the_list_has_a_line_for_each_row() {
        assert_eq!(list(false).lines().count(), KEYS.len());
        assert_eq!(list(true).lines().count(), KEYS.len() + 2);
        assert!(list(false).lines().all(|line| !line.contains('|')));
    }
}
