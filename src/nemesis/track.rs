//! Episodes that are carried out on one clock, and what became of each: the plan's are one track, what somebody asks
//! for is another.
//!
//! A run that somebody had a hand in can be run again as it went: [`Track::as_done`] gives the episodes as they were,
//! and only of those that were touched something else than was planned.

use std::time::Duration;

use tokio::time::Instant;

use super::agenda::{Agenda, Edge};
use super::anchor::Watched;
use crate::fault::plan::{Episode, Plan, UNTIL_HEALED_MS};
use crate::fault::{By, FaultId, NodeId};

/// Time on a track: it stands while the track is held.
#[derive(Debug, Default)]
pub(super) struct PlanClock {
    passed: Duration,
    running_since: Option<Instant>,
}

impl PlanClock {
    pub(super) fn at(&self, now: Instant) -> Duration {
        let since = |since| now.saturating_duration_since(since);
        self.passed + self.running_since.map_or(Duration::ZERO, since)
    }

    pub(super) fn set(&mut self, running: bool, now: Instant) {
        self.passed = self.at(now);
        self.running_since = running.then_some(now);
    }

    pub(super) fn is_running(&self) -> bool {
        self.running_since.is_some()
    }

    /// When the track will be at `at`; never while it stands.
    pub(super) fn instant_of(&self, at: Duration, now: Instant) -> Option<Instant> {
        self.running_since
            .map(|_| now + at.saturating_sub(self.at(now)))
    }
}

/// Episodes, and where they are.
pub(super) struct Track {
    /// Who put their faults in.
    pub(super) by: By,
    pub(super) plan: Plan,
    pub(super) agenda: Agenda,
    pub(super) clock: PlanClock,
    /// The episode whose faults go in now: who led when it began, and how many of its faults were seen to.
    pub(super) under_way: Option<(Option<NodeId>, usize)>,
    pub(super) watched: Vec<Watched>,
    courses: Vec<Course>,
}

/// What became of an episode.
#[derive(Clone, Debug, Default)]
struct Course {
    /// How long the track had stood when it began, or its wait did: it is so much later on the run's clock.
    began: Option<Duration>,
    /// How long when it ended.
    ended: Option<Duration>,
    /// Those of its faults that took effect.
    taken: Vec<Taken>,
}

/// A fault that took effect.
#[derive(Clone, Debug)]
struct Taken {
    /// Its place in its episode.
    fault: usize,
    /// Its number, where it lasts.
    id: Option<FaultId>,
    /// When it went in, on the run's clock.
    at: Duration,
    /// When a person took it out, on the run's clock.
    healed: Option<Duration>,
}

impl Track {
    pub(super) fn of(by: By, plan: Plan) -> Track {
        Track {
            by,
            agenda: Agenda::of(&plan),
            clock: PlanClock::default(),
            under_way: None,
            watched: Vec::new(),
            courses: vec![Course::default(); plan.episodes.len()],
            plan,
        }
    }

    /// Begins these episodes now: their instants count from here on.
    pub(super) fn add(&mut self, episodes: Vec<Episode>, now: Instant) {
        let now_ms = millis(self.clock.at(now));
        for mut episode in episodes {
            episode.at_ms = episode.at_ms.saturating_add(now_ms);
            self.agenda
                .insert(Edge::first(self.courses.len(), &episode));
            self.plan.episodes.push(episode);
            self.courses.push(Course::default());
        }
    }

    /// Nothing of what has not begun will.
    pub(super) fn cancel(&mut self) {
        self.agenda.cancel();
        self.watched.clear();
        self.under_way = None;
    }

    /// Puts its next edge off behind the ends that were planned before it and are late, if there are any.
    pub(super) fn puts_off(&mut self) -> bool {
        self.agenda.puts_off(&self.plan)
    }

    /// The next edge, where its time has come.
    pub(super) fn due(&self, now: Instant) -> Option<Edge> {
        let now = self.clock.at(now);
        self.agenda.next().filter(|edge| edge.at <= now)
    }

    /// When it wants something next.
    pub(super) fn wake(&self, now: Instant, look_every: Duration) -> Option<Instant> {
        let edge = self.agenda.next();
        let edge = edge.and_then(|edge| self.clock.instant_of(edge.at, now));
        let look = !self.watched.is_empty() && self.clock.is_running();
        edge.into_iter().chain(look.then(|| now + look_every)).min()
    }

    /// How long it has stood while the run went on.
    fn stood(&self, run: Duration) -> Duration {
        run.saturating_sub(self.clock.at(Instant::now()))
    }

    /// An episode begins, or its wait; `run`: the run's clock.
    pub(super) fn begins(&mut self, episode: usize, run: Duration) {
        let stood = self.stood(run);
        self.courses[episode].began.get_or_insert(stood);
    }

    /// An episode ends; `run`: the run's clock.
    pub(super) fn ends(&mut self, episode: usize, run: Duration) {
        let stood = self.stood(run);
        self.courses[episode].ended.get_or_insert(stood);
    }

    /// A fault of an episode took effect; `id`: it lasts.
    pub(super) fn takes(
        &mut self,
        episode: usize,
        fault: usize,
        id: Option<FaultId>,
        at: Duration,
    ) {
        let healed = None;
        self.courses[episode].taken.push(Taken {
            fault,
            id,
            at,
            healed,
        });
    }

    /// The faults of an episode that last, in the order in which they went in.
    pub(super) fn lasting(&self, episode: usize) -> Vec<FaultId> {
        let taken = self.courses[episode].taken.iter();
        taken.filter_map(|taken| taken.id).collect()
    }

    /// A person took a fault out.
    pub(super) fn healed(&mut self, id: FaultId, at: Duration) {
        let mut taken = self.courses.iter_mut().flat_map(|course| &mut course.taken);
        if let Some(taken) = taken.find(|taken| taken.id == Some(id)) {
            taken.healed.get_or_insert(at);
        }
    }

    /// The episodes as they went, up to `run`, the run's clock: those that have not begun only where they are
    /// `still_to_come`, and those that somebody asked for and nothing came of not at all.
    pub(super) fn as_done(&self, run: Duration, still_to_come: bool) -> Vec<Episode> {
        let stood = self.stood(run);
        let mut done = Vec::new();
        for (planned, course) in self.plan.episodes.iter().zip(&self.courses) {
            match course.began {
                None if !still_to_come => {}
                None => done.push(Episode {
                    at_ms: planned.at_ms.saturating_add(millis(stood)),
                    ..planned.clone()
                }),
                Some(began) => {
                    let ended = course.ended.unwrap_or(stood);
                    done.extend(course.healed_by_hand(planned, run));
                    done.extend(course.rest(self.by, planned, [began, ended], run));
                }
            }
        }
        done
    }
}

impl Course {
    /// Those of its faults that a person took out, each as long as it was in.
    fn healed_by_hand(&self, planned: &Episode, run: Duration) -> Vec<Episode> {
        let taken = self.taken.iter().filter(|taken| taken.healed.is_some());
        let episode = |taken: &Taken| {
            let fault = planned.faults.get(taken.fault)?.clone();
            let lasted = taken.healed.unwrap_or(run).saturating_sub(taken.at);
            Some(Episode::at(
                millis(taken.at),
                lasted_ms(lasted),
                vec![fault],
            ))
        };
        taken.filter_map(episode).collect()
    }

    /// The episode with its other faults; `stood`: how long its track had when it began and when it ended.
    fn rest(
        &self,
        by: By,
        planned: &Episode,
        stood: [Duration; 2],
        run: Duration,
    ) -> Option<Episode> {
        let [began, ended] = stood;
        let taken = |at: usize| self.taken.iter().find(|taken| taken.fault == at);
        let is_rest = |&(at, _): &(usize, _)| match taken(at) {
            Some(taken) => taken.healed.is_none(),
            // What the plan did not get now it may get then.
            None => by == By::Plan,
        };
        let faults = planned.faults.iter().enumerate().filter(is_rest);
        let faults: Vec<_> = faults.map(|(_, fault)| fault.clone()).collect();
        let at_ms = planned.at_ms.saturating_add(millis(began));
        let lasts = self.taken.iter().any(|taken| taken.id.is_some());
        let for_ms = match planned.for_ms {
            UNTIL_HEALED_MS if !lasts => 1,
            UNTIL_HEALED_MS => millis(run).saturating_sub(at_ms).max(1),
            lasts => lasts.saturating_add(millis(ended.saturating_sub(began))),
        };
        (!faults.is_empty()).then(|| Episode {
            at_ms,
            for_ms,
            faults,
            ..planned.clone()
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What was in at all was in for a moment.
fn lasted_ms(lasted: Duration) -> u64 {
    millis(lasted).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, NodeSelector, Role};
    use crate::nemesis::agenda::Turn;

    #[test]
    fn the_plans_clock_stands_while_the_plan_is_held() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut clock = PlanClock::default();
        assert_eq!(clock.at(after(5)), Duration::ZERO);
        assert_eq!(clock.instant_of(Duration::from_secs(1), after(5)), None);
        clock.set(true, after(5));
        clock.set(false, after(7));
        assert_eq!(clock.at(after(16)), Duration::from_secs(2));
        clock.set(true, after(16));
        let due = clock.instant_of(Duration::from_secs(3), after(16));
        assert_eq!(due, Some(after(17)));
    }

    fn cut(to: NodeId) -> Fault<Role> {
        let [from, to] = [9, to].map(NodeSelector::Node);
        Fault::Cut { from, to }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_nobody_touched_went_as_it_was_planned_and_what_a_person_took_out_was_in_so_long() {
        let episodes = [(100, 500), (900, 50), (5_000, 50)]
            .map(|(at_ms, for_ms)| Episode::at(at_ms, for_ms, vec![cut(1), cut(2)]));
        let plan = Plan {
            episodes: episodes.to_vec(),
            steps: Vec::new(),
        };
        let mut track = Track::of(By::Plan, plan);
        // The plan stands at 0 all the while: what begins at 130 has waited for 130.
        track.begins(0, ms(0));
        track.takes(0, 0, Some(7), ms(103));
        track.takes(0, 1, Some(8), ms(105));
        track.healed(8, ms(325));
        track.healed(8, ms(900));
        track.ends(0, ms(40));
        track.begins(1, ms(130));
        let done = track.as_done(ms(2_000), false);
        let [healed, first, second] = &done[..] else {
            panic!("{done:#?}");
        };
        assert_eq!(*healed, Episode::at(105, 220, vec![cut(2)]));
        // It stood for 40 of them, and so lasted 40 longer.
        assert_eq!(*first, Episode::at(100, 540, vec![cut(1)]));
        // Neither of its faults took effect now: they may when it is run again.
        assert_eq!((second.at_ms, &second.faults), (1_030, &episodes[1].faults));
        let all = track.as_done(ms(2_000), true);
        assert_eq!(all.last().map(|episode| episode.at_ms), Some(7_000));
    }

    #[test]
    fn what_somebody_asked_for_went_as_far_as_it_took_effect() {
        let now = Instant::now();
        let mut track = Track::of(By::You, Plan::default());
        let asked = vec![cut(1), cut(2), cut(3)];
        track.add(vec![Episode::until_healed(asked.clone())], now);
        track.add(vec![Episode::until_healed(asked.clone())], now);
        let later = Episode::at(300, 9, asked);
        track.add(vec![later], now);
        let edge = track.due(now).expect("it begins at once");
        assert_eq!((edge.episode, edge.turn), (0, Turn::In));
        track.begins(0, ms(0));
        track.takes(0, 0, Some(1), ms(0));
        track.takes(0, 2, None, ms(0));
        track.begins(1, ms(0));
        track.cancel();
        assert_eq!(track.due(now + ms(900)), None, "nothing begins any more");
        let done = track.as_done(ms(1_500), false);
        assert_eq!(done, [Episode::at(0, 1_500, vec![cut(1), cut(3)])]);
    }
}
