//! The terminal as we take it and as we give it back.
//!
//! Taken: raw mode, alternate screen, mouse if wanted, cursor hidden. Given back on drop, before a stop, and by the
//! panic hook: a panic in *any* thread must not leave a shell that cannot be typed into. Giving back twice is harmless.

use std::io::{self, IsTerminal, Stdout, Write};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};

use super::app::App;
use super::draw::draw;

/// Whether a screen can be had: both ends are terminals and can do more than print.
#[must_use]
pub fn is_possible() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The terminal while it is ours.
pub(super) struct Taken {
    /// Never dropped: ratatui shows the cursor then, and panics where stderr has gone with the terminal. [`give_back`] does
    /// all of that.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
    mouse: bool,
}

impl Taken {
    /// Takes it.
    ///
    /// # Errors
    /// Where the terminal cannot be set or written.
    pub(super) fn take(mouse: bool) -> io::Result<Taken> {
        // The theme decides about colours. Left to itself, crossterm under NO_COLOR writes empty sequences that reset
        // bold and reverse (crossterm's changelog: "emitting a bare CSI m").
        force_color_output(true);
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        let terminal = ManuallyDrop::new(terminal);
        let mut taken = Taken { terminal, mouse };
        taken.enter()?;
        Ok(taken)
    }

    fn enter(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        if self.mouse {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        Ok(())
    }

    /// Takes it again after it was given back, and forgets what was drawn.
    pub(super) fn again(&mut self) -> io::Result<()> {
        self.enter()?;
        self.terminal.clear()
    }

    pub(super) fn draw(&mut self, app: &App) -> io::Result<()> {
        self.terminal.draw(|frame| draw(app, frame)).map(|_| ())
    }

    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Writes a control sequence that changes nothing on the screen.
    pub(super) fn whisper(&mut self, sequence: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(sequence.as_bytes())?;
        out.flush()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was. What cannot be written any more is let go: the terminal may be gone.
pub(super) fn give_back() {
    let _ = execute!(
        io::stdout(),
        DisableMouseCapture,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
}

/// Before anybody says anything about a panic, the terminal is given back; then it is said where the run's folder is.
/// What follows (ending the children, the exit code) is the hook's that was there before.
pub(super) fn give_back_on_panic(dir: Arc<Mutex<PathBuf>>) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The screen's thread may be in the middle of a frame. It has the next word only after the lock, so never: what
        // it would draw now would land on the normal screen, over what follows.
        std::mem::forget(io::stdout().lock());
        give_back();
        if let Ok(dir) = dir.try_lock()
            && !dir.as_os_str().is_empty()
        {
            let _ = writeln!(
                io::stderr(),
                "whitewater failed; what was recorded is in {}",
                dir.display()
            );
        }
        before(panic);
    }));
}

/// The sequence that puts `text` on the terminal's clipboard (OSC 52).
pub(super) fn clipboard(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", base64(text.as_bytes()))
}

/// RFC 4648, with padding. Ten lines, instead of a dependency for one escape sequence.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| {
            (bits << 8) | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
