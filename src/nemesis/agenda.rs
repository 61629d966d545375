//! What the plan wants next: the ends of its episodes, on the plan's clock.
//!
//! Of an episode only its beginning stands here beforehand. Its end is written in when its faults are in, so that it
//! lasts as long as it was planned to, however late it began. What was planned to begin after it still does.

use std::time::Duration;

use crate::fault::plan::{Episode, Plan};

/// One end of an episode, or the beginning of its wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) at: Duration,
    pub(super) episode: usize,
    pub(super) turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// From here on its anchor is waited for.
    Watch,
    In,
    Out,
}

impl Edge {
    /// With which an episode begins that stands at this place.
    pub(super) fn first(episode: usize, planned: &Episode) -> Edge {
        let turn = planned.when.map_or(Turn::In, |_| Turn::Watch);
        let at = Duration::from_millis(planned.at_ms);
        Edge { at, episode, turn }
    }
}

/// The edges to come and those that are done, in their order.
#[derive(Debug)]
pub(super) struct Agenda {
    edges: Vec<Edge>,
    next: usize,
}

impl Agenda {
    pub(super) fn of(plan: &Plan) -> Agenda {
        let edges = plan.episodes.iter().enumerate();
        let edges = edges.map(|(episode, planned)| Edge::first(episode, planned));
        let mut edges: Vec<Edge> = edges.collect();
        edges.sort_by_key(|edge| edge.at);
        Agenda { edges, next: 0 }
    }

    pub(super) fn next(&self) -> Option<Edge> {
        self.edges.get(self.next).copied()
    }

    /// The next edge is done.
    pub(super) fn pass(&mut self) {
        self.next += 1;
    }

    /// Writes an edge in, behind those of its instant.
    pub(super) fn insert(&mut self, edge: Edge) {
        let later = self.edges[self.next..].partition_point(|other| other.at <= edge.at);
        self.edges.insert(self.next + later, edge);
    }

    /// Nothing begins any more.
    pub(super) fn cancel(&mut self) {
        let to_come = self.edges.split_off(self.next);
        let ends = to_come.into_iter().filter(|edge| edge.turn == Turn::Out);
        self.edges.extend(ends);
    }

    /// Puts the next edge off behind the ends that were planned before it and are late, if there are any.
    pub(super) fn puts_off(&mut self, plan: &Plan) -> bool {
        let Some(edge) = self.next().filter(|edge| edge.turn == Turn::In) else {
            return false;
        };
        let planned = &plan.episodes[edge.episode];
        // What is anchored has no place before or after others.
        if planned.when.is_some() {
            return false;
        }
        let is_before = |other: &Edge| {
            let ended = &plan.episodes[other.episode];
            let by_ms = ended.at_ms + ended.for_ms;
            other.turn == Turn::Out && ended.when.is_none() && by_ms <= planned.at_ms
        };
        let Some(last) = self.edges[self.next..].iter().rposition(is_before) else {
            return false;
        };
        let at = self.edges[self.next + last].at;
        // Behind those that were put off before it, too.
        self.edges.remove(self.next);
        self.insert(Edge { at, ..edge });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(episodes: &[(u64, u64)]) -> Plan {
        let episodes = episodes.iter();
        let episodes = episodes.map(|&(at, lasts)| Episode::at(at, lasts, Vec::new()));
        Plan {
            episodes: episodes.collect(),
            steps: Vec::new(),
        }
    }

    /// Does everything, each beginning so late, and gives what it did and when.
    fn done(plan: &Plan, late_ms: u64) -> Vec<(u64, usize, Turn)> {
        let mut agenda = Agenda::of(plan);
        let (mut now, mut done) = (Duration::ZERO, Vec::new());
        while let Some(edge) = agenda.next() {
            now = now.max(edge.at);
            if agenda.puts_off(plan) {
                continue;
            }
            if edge.turn == Turn::In {
                now += Duration::from_millis(late_ms);
                let lasts = Duration::from_millis(plan.episodes[edge.episode].for_ms);
                agenda.insert(Edge {
                    at: now + lasts,
                    turn: Turn::Out,
                    ..edge
                });
            }
            agenda.pass();
            let at = u64::try_from(now.as_millis()).unwrap();
            done.push((at, edge.episode, edge.turn));
        }
        done
    }

    #[test]
    fn an_episode_that_begins_late_lasts_as_long_and_the_next_one_waits_for_its_end() {
        let plan = plan(&[(100, 50), (150, 20), (400, 10)]);
        let [begins, ends] = [Turn::In, Turn::Out];
        let on_time = [
            (100, 0, begins),
            (150, 0, ends),
            (150, 1, begins),
            (170, 1, ends),
            (400, 2, begins),
            (410, 2, ends),
        ];
        assert_eq!(done(&plan, 0), on_time);
        let late = [
            (130, 0, begins),
            (180, 0, ends),
            (210, 1, begins),
            (230, 1, ends),
            (430, 2, begins),
            (440, 2, ends),
        ];
        assert_eq!(done(&plan, 30), late);
    }

    #[test]
    fn several_that_are_put_off_keep_their_order_and_do_not_overlap() {
        let plan = plan(&[(100, 900), (1_000, 100), (1_200, 100)]);
        let [begins, ends] = [Turn::In, Turn::Out];
        let late = [
            (700, 0, begins),
            (1_600, 0, ends),
            (2_200, 1, begins),
            (2_300, 1, ends),
            (2_900, 2, begins),
            (3_000, 2, ends),
        ];
        assert_eq!(done(&plan, 600), late);
    }

    #[test]
    fn what_begins_at_one_instant_does_so_in_its_order_however_late() {
        let plan = plan(&[(100, 900), (1_000, 100), (1_000, 50)]);
        let order: Vec<(usize, Turn)> = done(&plan, 30)
            .into_iter()
            .map(|(_, episode, turn)| (episode, turn))
            .collect();
        let begins = |episode| (episode, Turn::In);
        let ends = |episode| (episode, Turn::Out);
        assert_eq!(
            order,
            [begins(0), ends(0), begins(1), begins(2), ends(2), ends(1)]
        );
    }

    #[test]
    fn episodes_that_were_planned_to_overlap_do() {
        let order = |late_ms| -> Vec<(usize, Turn)> {
            let done = done(&plan(&[(100, 100), (150, 20)]), late_ms).into_iter();
            done.map(|(_, episode, turn)| (episode, turn)).collect()
        };
        let planned = [(0, Turn::In), (1, Turn::In), (1, Turn::Out), (0, Turn::Out)];
        assert_eq!(order(0), planned);
        assert_eq!(order(10), planned);
    }
}
