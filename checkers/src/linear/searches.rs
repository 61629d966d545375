//! Which search decides a key on which zones say nothing.
//!
//! The frontier mostly decides soon; where it does not, a short look from the other side: the depth-first search may be
//! through in no time where few clients leave much unknown, which the frontier must follow all at once. Then the frontier
//! with more patience, and with what is left the other again. All of them spend one budget.

use super::{Budget, Judgement, Options, dfs, frontier};
use crate::history::Op;
use crate::spec::Register;
use crate::verdict::{Algorithm, Exhausted};

/// What a search came to, who decided, configurations visited, and a position before which a failure can't show.
type Came = (Judgement, Algorithm, u64, u32);

/// Decides operations of one key by search.
pub(super) fn search(ops: &[Op], values: usize, events: u32, options: &Options) -> Came {
    let mut searches = Searches {
        ops,
        values,
        events,
        budget: Budget::new(options),
        last: None,
    };
    searches.ask(options.algorithm)
}

/// The searches of one key, on one budget.
struct Searches<'a> {
    ops: &'a [Op],
    values: usize,
    events: u32,
    budget: Budget,
    /// What the best of those that were exhausted came to.
    last: Option<(Judgement, Algorithm)>,
}

impl Searches<'_> {
    /// One alone where that is wanted, else each in its turn.
    fn ask(&mut self, algorithm: Option<Algorithm>) -> Came {
        let budget = self.budget.options.budget;
        let soon = 64 * self.ops.len() as u64 + 20_000;
        let came = match algorithm {
            Some(Algorithm::DepthFirst) => self.depth_first(budget),
            Some(_) => self.frontier(budget),
            // Too little to begin anything twice.
            None if budget <= soon.saturating_mul(4) => self.frontier(budget),
            None => self
                .frontier(soon)
                .or_else(|| self.depth_first(soon))
                .or_else(|| self.frontier(budget / 8 * 7))
                .or_else(|| self.depth_first(budget)),
        };
        came.unwrap_or_else(|| {
            let spent = self.budget.spent();
            let (judgement, algorithm) = self.last.unwrap_or((
                Judgement::Unknown {
                    proven_to: 0,
                    exhausted: self.budget.reason(),
                },
                Algorithm::Frontier,
            ));
            (judgement, algorithm, spent, 0)
        })
    }

    /// A budget with so many configurations of what is left.
    fn some(&self, most: u64) -> Budget {
        let options = self.budget.options;
        let left = options.budget.saturating_sub(self.budget.spent());
        Budget::new(&Options {
            budget: left.min(most),
            ..options
        })
    }

    fn frontier(&mut self, most: u64) -> Option<Came> {
        let mut budget = self.some(most);
        let outcome = frontier::check(self.ops, self.values, self.events, &mut budget);
        self.budget.charge(budget.spent());
        let spent = self.budget.spent();
        match outcome {
            frontier::Outcome::Holds => Some((Judgement::Holds, Algorithm::Frontier, spent, 0)),
            frontier::Outcome::Fails(at) => {
                Some((Judgement::Fails, Algorithm::Frontier, spent, at))
            }
            frontier::Outcome::Exhausted(proven_to) => {
                self.exhausted(proven_to, &budget, Algorithm::Frontier);
                None
            }
        }
    }

    fn depth_first(&mut self, most: u64) -> Option<Came> {
        let mut budget = self.some(most);
        let timed = Register::timed(self.ops);
        let found = dfs::search(&Register::default(), &timed, &mut budget);
        self.budget.charge(budget.spent());
        let spent = self.budget.spent();
        match found {
            dfs::Found::Order(_) => Some((Judgement::Holds, Algorithm::DepthFirst, spent, 0)),
            dfs::Found::Nothing => Some((Judgement::Fails, Algorithm::DepthFirst, spent, 0)),
            dfs::Found::Exhausted { proven_to } => {
                self.exhausted(proven_to, &budget, Algorithm::DepthFirst);
                None
            }
        }
    }

    /// Remembers who came farthest; what ran out is what the caller allowed.
    fn exhausted(&mut self, proven_to: u32, budget: &Budget, algorithm: Algorithm) {
        let exhausted = match budget.reason() {
            Exhausted::Configurations { .. } => Exhausted::Configurations {
                budget: self.budget.options.budget,
            },
            other => other,
        };
        let farthest = match self.last {
            Some((
                Judgement::Unknown {
                    proven_to: best, ..
                },
                _,
            )) => proven_to >= best,
            _ => true,
        };
        if farthest {
            let judgement = Judgement::Unknown {
                proven_to,
                exhausted,
            };
            self.last = Some((judgement, algorithm));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Domain, Generator, Recipe};
    use crate::history::{Event, History};
    use crate::linear::judge_key;

    #[test]
    fn what_one_search_decides_in_no_time_is_never_unknown() {
        for seed in [12, 17, 25] {
            let recipe = Recipe {
                ops: 80 + seed * 20,
                clients: 2 + seed % 5,
                cas: 0.95,
                pending: 0.3,
                values: Domain::Small(8),
                seed,
                ..Recipe::default()
            };
            let events: Vec<Event> = Generator::new(recipe.clone()).collect();
            let history = History::from_events(recipe.header(), &events).expect("well formed");
            let judged = |algorithm, budget| {
                let options = Options {
                    algorithm,
                    budget,
                    ..Options::default()
                };
                judge_key(&history.keys[0], &options).judgement
            };
            let depth_first = judged(Some(Algorithm::DepthFirst), 20_000);
            assert_eq!(depth_first, Judgement::Holds, "seed {seed}");
            let frontier = judged(Some(Algorithm::Frontier), 200_000);
            let lost = matches!(frontier, Judgement::Unknown { .. });
            assert!(lost, "seed {seed} shows nothing: {frontier:?}");
            assert_eq!(judged(None, 300_000), Judgement::Holds, "seed {seed}");
        }
    }
}
