//! What is wrong with a scenario, where in it, and on which line of its file.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// A step from a table or a list to what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Item(usize),
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Step {
        Step::Key(key)
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Step {
        Step::Item(item)
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    at: Vec<Step>,
    why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Wrong {
    pub(super) fn at(at: &[Step], why: impl Into<String>) -> Wrong {
        let why = why.into();
        let at = at.to_vec();
        Wrong { at, why }
    }

    /// The same, in something larger.
    pub(super) fn within(mut self, outer: &[Step]) -> Wrong {
        self.at.splice(0..0, outer.iter().copied());
        self
    }

    /// With the number of its line in the text that the scenario was read from.
    pub(super) fn on_its_line(&self, text: &str) -> String {
        match line(text, &self.at) {
            Some(line) => format!("line {line}: {}", self.why),
            None => self.why.clone(),
        }
    }
}

/// The line of what stands there; where nothing does (it has its default), of the nearest thing around it.
fn line(text: &str, at: &[Step]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut value: Option<&DeValue<'_>> = None;
    for (depth, step) in at.iter().enumerate() {
        let next = match (step, value) {
            (Step::Key(key), None) if depth == 0 => document.get_ref().get(*key),
            (Step::Key(key), Some(value)) => value.get(*key),
            (Step::Item(item), Some(value)) => value.get(*item),
            _ => None,
        };
        let Some(next) = next else { break };
        found = Some(next.span().start);
        value = Some(next.get_ref());
    }
    let before = text.get(..found?)?;
    Some(before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_innermost_thing_that_is_there() {
        let text = "name = \"x\"\n\n[keys]\nwide = 3\n[[opening]]\nfor_ms = 1\n[[opening]]\nat_ms = 1\nfaults = [\n  { fault = \"kill\" },\n  { fault = \"slow\",\n    delay_ms = 0 },\n]\n";
        let fault = ["opening".into(), 1.into(), "faults".into(), 1.into()];
        for (at, expected) in [
            (&["name".into()][..], Some(1)),
            (&["keys".into(), "wide".into()], Some(4)),
            (&["keys".into(), "contended".into()], Some(3)),
            (&["opening".into(), 0.into(), "at_ms".into()], Some(5)),
            (&fault, Some(11)),
            (&[&fault[..], &["delay_ms".into()]].concat(), Some(12)),
            (&[&fault[..], &["jitter_ms".into()]].concat(), Some(11)),
            (&["promises".into()], None),
        ] {
            assert_eq!(line(text, at), expected, "{at:?}");
        }
    }
}
