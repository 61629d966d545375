//! The table of operations: which rows it has under a filter and in an order.
//!
//! Only the visible rows are ever formatted. Without a filter and by time the table is the history itself; otherwise
//! the rows are a list of positions, made again now and then while the run goes on, the more rarely the longer it is.

use checkers::history::{Kind, Outcome};

use crate::journal::{Op, Operations};

/// The History screen's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryView {
    /// The filter, as typed.
    pub filter: String,
    /// Slowest first, instead of newest last.
    pub by_latency: bool,
    /// The selected row; `None` follows the newest.
    pub row: Option<usize>,
    rows: Option<Vec<u32>>,
    made_ns: u64,
}

/// One word of a filter. All must hold.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    Key(u32),
    Client(u64),
    Node(u64),
    Number(u64),
    Call(String),
    Outcome(&'static str),
    Slower(u64),
    Nothing,
}

impl HistoryView {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self, operations: &Operations) -> usize {
        self.rows.as_ref().map_or(operations.all().len(), Vec::len)
    }

    /// Position of the operation in a row.
    #[must_use]
    pub fn at(&self, row: usize, operations: &Operations) -> Option<usize> {
        match &self.rows {
            Some(rows) => rows.get(row).map(|&at| at as usize),
            None => (row < operations.all().len()).then_some(row),
        }
    }

    /// The selected row, when there is any.
    #[must_use]
    pub fn selected(&self, operations: &Operations) -> Option<usize> {
        let last = self.len(operations).checked_sub(1)?;
        let default = if self.by_latency { 0 } else { last };
        Some(self.row.map_or(default, |row| row.min(last)))
    }

    /// Makes the rows again when they are old and seen.
    pub fn refresh(&mut self, operations: &Operations, clock_ns: u64, seen: bool) {
        let pause_ns = 1_000_000_000 * (1 + operations.all().len() as u64 / 100_000);
        if seen && self.rows.is_some() && clock_ns.saturating_sub(self.made_ns) > pause_ns {
            self.made_ns = clock_ns;
            self.make(operations);
        }
    }

    /// The history was folded again: the rows mean nothing any more.
    pub fn forget(&mut self) {
        self.made_ns = 0;
        if let Some(rows) = &mut self.rows {
            rows.clear();
        }
    }

    /// Makes the rows for the present filter and order.
    pub fn make(&mut self, operations: &Operations) {
        let terms = terms(&self.filter, operations);
        if terms.is_empty() && !self.by_latency {
            self.rows = None;
            return;
        }
        let fits =
            |(_, op): &(usize, &Op)| terms.iter().all(|(not, term)| matches(term, op) != *not);
        let mut rows: Vec<u32> = operations
            .all()
            .iter()
            .enumerate()
            .filter(fits)
            .map(|(position, _)| position as u32)
            .collect();
        if self.by_latency {
            let latency = |at: &u32| {
                operations.all()[*at as usize]
                    .latency_ns()
                    .unwrap_or(u64::MAX)
            };
            rows.sort_by_key(|at| std::cmp::Reverse(latency(at)));
        }
        self.rows = Some(rows);
    }
}

fn terms(filter: &str, operations: &Operations) -> Vec<(bool, Term)> {
    filter
        .split_whitespace()
        .map(|word| {
            let (not, word) = word
                .strip_prefix('!')
                .map_or((false, word), |rest| (true, rest));
            (not, term(word, operations))
        })
        .collect()
}

fn term(word: &str, operations: &Operations) -> Term {
    let number = |prefix: &str| {
        word.strip_prefix(prefix)
            .and_then(|digits| digits.parse().ok())
    };
    if let Some(key) = operations.key(word) {
        return Term::Key(key);
    }
    let seen = || operations.names().iter().any(|name| **name == *word);
    if Kind::ALL.iter().any(|kind| kind.name() == word) || seen() {
        return Term::Call(word.to_owned());
    }
    if let Some(name) = OUTCOMES.iter().find(|name| **name == word) {
        return Term::Outcome(name);
    }
    if let Some(text) = word.strip_prefix('>') {
        let ms = text.trim_end_matches("ms").parse::<u64>();
        return ms.map_or(Term::Nothing, |ms| {
            Term::Slower(ms.saturating_mul(1_000_000))
        });
    }
    (number("c").map(Term::Client))
        .or_else(|| number("n").map(Term::Node))
        .or_else(|| number("#").map(Term::Number))
        .unwrap_or(Term::Nothing)
}

const OUTCOMES: [&str; 4] = ["ok", "failed", "unknown", "open"];

/// The name of how it ended.
#[must_use]
pub fn outcome_name(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Ok(_)) => "ok",
        Some(Outcome::Failed | Outcome::Differed(_)) => "failed",
        Some(Outcome::Unknown) => "unknown",
        None => "open",
    }
}

fn matches(term: &Term, op: &Op) -> bool {
    match term {
        Term::Key(key) => op.key == *key,
        Term::Client(client) => op.client == *client,
        Term::Node(node) => op.node == Some(*node),
        Term::Number(id) => op.invoked == *id,
        Term::Call(name) => op.asked.name() == *name,
        Term::Outcome(name) => outcome_name(op.outcome) == *name,
        Term::Slower(ns) => op.latency_ns().is_none_or(|latency| latency > *ns),
        Term::Nothing => false,
    }
}

#[cfg(test)]
mod tests {
    use checkers::history::Call;

    use super::*;
    use crate::journal::operations_tests::{complete, invoke};

    fn operations() -> Operations {
        let mut operations = Operations::default();
        for event in [
            invoke(0, 0, 1, "k1", Call::Read),
            complete(1, 30, 1, Outcome::Ok(None)),
            invoke(2, 40, 2, "k2", Call::Write(1)),
            complete(3, 140, 2, Outcome::Unknown),
            invoke(4, 150, 1, "k1", Call::Cas { old: 1, new: 2 }),
            complete(5, 160, 1, Outcome::Failed),
            invoke(6, 170, 3, "k2", Call::Delete),
        ] {
            operations.event(&event);
        }
        operations
    }

    fn check(filter: &str, by_latency: bool, expected: &[usize]) {
        let operations = operations();
        let mut view = HistoryView {
            filter: filter.to_owned(),
            by_latency,
            ..HistoryView::default()
        };
        view.make(&operations);
        let rows: Vec<usize> = (0..view.len(&operations))
            .filter_map(|row| view.at(row, &operations))
            .collect();
        assert_eq!(rows, expected, "{filter}");
    }

    #[test]
    fn a_filter_is_words_that_must_all_hold() {
        check("", false, &[0, 1, 2, 3]);
        check("k1", false, &[0, 2]);
        check("!k1", false, &[1, 3]);
        check("k2 unknown", false, &[1]);
        check("c1 cas", false, &[2]);
        check("open", false, &[3]);
        check(">20ms", false, &[0, 1, 3]);
        check("#4", false, &[2]);
        check("n1", false, &[0, 1, 2, 3]);
        check("nonsense", false, &[]);
    }

    #[test]
    fn by_latency_the_slowest_is_first_and_an_open_one_before_it() {
        check("", true, &[3, 1, 0, 2]);
    }
}
