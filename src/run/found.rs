//! Whether something was found: a violation, from the instant at which the judge knows it, or a finding of another
//! oracle. From then on nothing may end the program as if it had held: no second signal, no panic, no full disk.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use crate::cluster::end_all_children;
use crate::exit::Exit;

/// What was found first, in one line. Clones are the same; whoever may end the program has one.
#[derive(Clone, Debug, Default)]
pub struct Found(Arc<OnceLock<String>>);

impl Found {
    /// Notes what was found. What was noted first stays.
    pub fn note(&self, what: impl FnOnce() -> String) {
        self.0
            .get_or_init(|| what().lines().collect::<Vec<_>>().join(" | "));
    }

    /// What was found first, if something was. It never waits, so a panic hook may ask.
    #[must_use]
    pub fn what(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Ends the program here and now, its children first: with `code` where nothing was found, else with 1 and with a
    /// line on stderr that says what.
    pub fn end(&self, code: u8) -> ! {
        end_all_children();
        let code = match self.what() {
            Some(what) => {
                let _ = writeln!(io::stderr(), "whitewater: found before it ended: {what}");
                Exit::Found.code()
            }
            None => code,
        };
        std::process::exit(i32::from(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_first_stays_and_is_one_line() {
        let found = Found::default();
        assert_eq!(found.what(), None);
        let other = found.clone();
        other.note(|| "finding (exit): n1 ended\nits log".to_owned());
        found.note(|| unreachable!("something was found before"));
        assert_eq!(found.what(), Some("finding (exit): n1 ended | its log"));
    }
}
