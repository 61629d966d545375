//! Decides once how things look: colours or none, Unicode or ASCII. Every style and every glyph on screen comes from here.
//!
//! Red means a violation and nothing else ([`Theme::violation`]); faults are magenta, unknown is yellow, failed is dim, ok
//! is the terminal's own colour. No meaning hangs on a colour alone: each has its glyph. Only the terminal's 16 colours
//! are used and never a background, so that light and dark themes both work.

use ratatui::style::{Color, Modifier, Style};

/// What `--color` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// By `NO_COLOR` and `TERM`.
    #[default]
    Auto,
    /// No colour at all: bold, dim and reversed carry the emphasis.
    Never,
    /// The 16 colours, whatever the environment says.
    Always,
}

/// Colours and glyphs of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    color: bool,
    /// The glyphs.
    pub glyphs: &'static Glyphs,
}

/// What the environment says about the terminal; an argument, so that a test can be any terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `NO_COLOR`.
    pub no_color: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
    /// The first of `LC_ALL`, `LC_CTYPE`, `LANG` that is set and not empty.
    pub locale: Option<String>,
}

impl Environment {
    /// Of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Environment {
            no_color: var("NO_COLOR"),
            term: var("TERM"),
            locale: var("LC_ALL")
                .or_else(|| var("LC_CTYPE"))
                .or_else(|| var("LANG")),
        }
    }
}

impl Theme {
    /// Decides from the flags and the environment. `NO_COLOR` counts when it is not empty (no-color.org).
    #[must_use]
    pub fn new(choice: ColorChoice, ascii: bool, environment: &Environment) -> Self {
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                environment.no_color.is_none() && environment.term.as_deref() != Some("dumb")
            }
        };
        let utf8 = environment.locale.as_ref().is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Theme {
            color,
            glyphs: if ascii || !utf8 { &ASCII } else { &UNICODE },
        }
    }

    /// The 16 colours and Unicode.
    #[must_use]
    pub fn colourful() -> Self {
        Theme {
            color: true,
            glyphs: &UNICODE,
        }
    }

    /// No colour, Unicode.
    #[must_use]
    pub fn plain() -> Self {
        Theme {
            color: false,
            glyphs: &UNICODE,
        }
    }

    /// No colour, ASCII.
    #[must_use]
    pub fn ascii() -> Self {
        Theme {
            color: false,
            glyphs: &ASCII,
        }
    }

    fn paint(self, color: Color, style: Style) -> Style {
        if self.color { style.fg(color) } else { style }
    }

    /// A violation: the only red on the screen.
    #[must_use]
    pub fn violation(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.color {
            self.paint(Color::Red, style)
        } else {
            style.add_modifier(Modifier::REVERSED)
        }
    }

    /// Something that we did to the cluster.
    #[must_use]
    pub fn fault(self) -> Style {
        self.paint(Color::Magenta, Style::new())
    }

    /// Nobody knows.
    #[must_use]
    pub fn unknown(self) -> Style {
        self.paint(Color::Yellow, Style::new())
    }

    /// Proven not to have happened.
    #[must_use]
    pub fn failed(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// As it should be: the terminal's own colour.
    #[must_use]
    pub fn ok(self) -> Style {
        Style::new()
    }

    /// The verdict's tick.
    #[must_use]
    pub fn good(self) -> Style {
        self.paint(Color::Green, Style::new())
    }

    /// A finding, a bench error: loud, and not red.
    #[must_use]
    pub fn loud(self) -> Style {
        self.paint(Color::Magenta, Style::new().add_modifier(Modifier::BOLD))
    }

    /// A key that can be pressed.
    #[must_use]
    pub fn key(self) -> Style {
        self.paint(Color::Cyan, Style::new().add_modifier(Modifier::BOLD))
    }

    /// Less important than its surroundings; a key that is impossible now.
    #[must_use]
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// More important than its surroundings.
    #[must_use]
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The selected row or cell.
    #[must_use]
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A panel's frame.
    #[must_use]
    pub fn frame(self, focused: bool) -> Style {
        if focused {
            self.paint(Color::Cyan, Style::new())
        } else {
            self.dim()
        }
    }
}

/// One drawing of every sign.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Whether only ASCII may be written.
    pub ascii: bool,
    /// The verdict so far.
    pub holds: &'static str,
    /// The judge is working.
    pub working: &'static str,
    /// An unknown verdict.
    pub unknown: &'static str,
    /// A violation.
    pub violation: &'static str,
    /// A completed operation's left end.
    pub begin: &'static str,
    /// A completed operation's right end.
    pub end: &'static str,
    /// An operation's middle.
    pub middle: &'static str,
    /// A failed operation's end.
    pub failed: &'static str,
    /// An unknown operation's middle.
    pub maybe: &'static str,
    /// An open operation's right end, and the selection.
    pub open: &'static str,
    /// A link that flows.
    pub link: &'static str,
    /// A link that is cut.
    pub cut: &'static str,
    /// A link that is slow.
    pub slow: &'static str,
    /// A node's link to itself.
    pub own: &'static str,
    /// A paused node.
    pub paused: &'static str,
    /// A dead node.
    pub dead: &'static str,
    /// A node that starts.
    pub starting: &'static str,
    /// A leader.
    pub leader: &'static str,
    /// A candidate.
    pub candidate: &'static str,
    /// A fault's band.
    pub band: &'static str,
    /// Two faults' bands over one another.
    pub bands: &'static str,
    /// From, to.
    pub arrow: &'static str,
    /// Both ways.
    pub both: &'static str,
    /// Plus or minus.
    pub about: &'static str,
    /// Between two things in a title.
    pub dot: &'static str,
    /// The run is live.
    pub live: &'static str,
    /// The run has stopped.
    pub stopped: &'static str,
    /// An absent value.
    pub absent: &'static str,
    /// Something was cut off here.
    pub more: &'static str,
    /// Without end.
    pub endless: &'static str,
    /// Eight heights, low to high.
    pub heights: [&'static str; 8],
    /// Eight densities, low to high.
    pub densities: [&'static str; 8],
    /// Ordinals of the order found: the first is for 1.
    pub ordinals: [&'static str; 20],
    /// The arrow keys: up, down, left, right.
    pub arrows: [&'static str; 4],
    /// A line across.
    pub line: &'static str,
}

/// For terminals that can.
pub const UNICODE: Glyphs = Glyphs {
    ascii: false,
    holds: "✓",
    working: "…",
    unknown: "?",
    violation: "✗",
    begin: "├",
    end: "┤",
    middle: "─",
    failed: "×",
    maybe: "┄",
    open: "▸",
    link: "─",
    cut: "╳",
    slow: "≈",
    own: "·",
    paused: "‖",
    dead: "†",
    starting: "◌",
    leader: "▲",
    candidate: "△",
    band: "░",
    bands: "▒",
    arrow: "→",
    both: "↔",
    about: "±",
    dot: "·",
    live: "●",
    stopped: "■",
    absent: "∅",
    more: "…",
    endless: "∞",
    heights: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    densities: ["⡀", "⣀", "⣄", "⣤", "⣦", "⣶", "⣷", "⣿"],
    ordinals: [
        "①", "②", "③", "④", "⑤", "⑥", "⑦", "⑧", "⑨", "⑩", "⑪", "⑫", "⑬", "⑭", "⑮", "⑯", "⑰", "⑱",
        "⑲", "⑳",
    ],
    arrows: ["↑", "↓", "←", "→"],
    line: "─",
};

/// For terminals that cannot.
pub const ASCII: Glyphs = Glyphs {
    ascii: true,
    holds: "+",
    working: ".",
    unknown: "?",
    violation: "!",
    begin: "|",
    end: "|",
    middle: "-",
    failed: "x",
    maybe: "~",
    open: ">",
    link: "-",
    cut: "X",
    slow: "%",
    own: ".",
    paused: "=",
    dead: "x",
    starting: "o",
    leader: "*",
    candidate: "^",
    band: "#",
    bands: "@",
    arrow: "->",
    both: "<->",
    about: "+-",
    dot: "-",
    live: "o",
    stopped: "#",
    absent: "nil",
    more: "$",
    endless: "-",
    heights: ["_", ".", ":", "-", "=", "+", "*", "#"],
    densities: [".", ".", ":", ":", "+", "+", "#", "#"],
    ordinals: [
        "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "17", "18", "19", "20",
    ],
    arrows: ["up", "down", "left", "right"],
    line: "-",
};

impl Glyphs {
    /// `text` in this set: arrows and signs that came in a sentence (a fault's name) are spelled out in ASCII.
    #[must_use]
    pub fn spell(&self, text: &str) -> String {
        if !self.ascii || text.is_ascii() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                c if c.is_ascii() => out.push(c),
                '→' => out.push_str(self.arrow),
                '↔' => out.push_str(self.both),
                '±' => out.push_str(self.about),
                '·' | '–' | '—' | '─' | '┄' => out.push('-'),
                '∅' => out.push_str(self.absent),
                '…' => out.push_str(".."),
                '✓' => out.push_str(self.holds),
                '✗' => out.push_str(self.violation),
                '×' => out.push('x'),
                '▸' => out.push_str(self.open),
                '↑' => out.push_str("up"),
                '↓' => out.push_str("down"),
                '←' => out.push_str("left"),
                '“' | '”' => out.push('"'),
                '’' | '‘' => out.push('\''),
                c => match UNICODE
                    .ordinals
                    .iter()
                    .position(|ordinal| ordinal.starts_with(c))
                {
                    Some(at) => out.push_str(self.ordinals[at]),
                    None => out.push('?'),
                },
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(no_color: &str, term: &str, locale: &str) -> Environment {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Environment {
            no_color: some(no_color),
            term: some(term),
            locale: some(locale),
        }
    }

    #[test]
    fn colour_is_decided_by_flag_then_no_color_then_term() {
        use ColorChoice::{Always, Auto, Never};
        let check = |choice, no_color, term, expected| {
            let theme = Theme::new(choice, false, &environment(no_color, term, "C.UTF-8"));
            assert_eq!(theme.color, expected, "{choice:?} {no_color} {term}");
        };
        check(Auto, "", "xterm", true);
        check(Auto, "1", "xterm", false);
        check(Auto, "", "dumb", false);
        check(Always, "1", "dumb", true);
        check(Never, "", "xterm", false);
    }

    #[test]
    fn ascii_is_for_those_who_ask_and_for_terminals_without_utf8() {
        let check = |ascii, locale, expected: &Glyphs| {
            assert_eq!(
                Theme::new(ColorChoice::Auto, ascii, &environment("", "", locale)).glyphs,
                expected,
                "{locale}"
            );
        };
        check(false, "en_US.UTF-8", &UNICODE);
        check(false, "C.utf8", &UNICODE);
        check(true, "en_US.UTF-8", &ASCII);
        check(false, "C", &ASCII);
        check(false, "", &ASCII);
    }

    #[test]
    fn without_colour_no_style_has_one() {
        let theme = Theme::plain();
        for style in [
            theme.violation(),
            theme.fault(),
            theme.unknown(),
            theme.failed(),
            theme.ok(),
            theme.good(),
            theme.loud(),
            theme.key(),
            theme.dim(),
            theme.bold(),
            theme.selected(),
            theme.frame(true),
            theme.frame(false),
        ] {
            assert_eq!(
                (style.fg, style.bg, style.underline_color),
                (None, None, None)
            );
        }
    }
}
