//! The frontier search for few values and few clients: the same search, with worlds that are small and flat.
//!
//! Where a key has at most eight values and sixty-four operations that end are open at once, as in Jepsen's own
//! workloads, a world is a handful of masks and a byte for each kind of unknown operation. One rule is added, which
//! takes most of the branching away:
//!
//! 8. *Later is soon enough.* A write whose value is only read, before another write follows at once, need not be
//!    placed when that happens. It fits right before the last write that was placed, the *anchor*, with all readers
//!    that were open then, whenever the first of them ends. If the write itself ends first, those readers are done with
//!    it, for free: nobody else can use it any more.
//!
//! ```text
//!   write 1 ├────────────────────┤            neither is placed at the anchor:
//!   read 1     ├────────────────────────┤     when the write ends, the read is done, too
//!   write 2       ├──●──┤   the anchor
//! ```
//!
//! Nothing is dropped for as long as there are few worlds: a death is real then. Where they become too many, a
//! [narrow beam](climb) goes on from there; what it gets through is real, too. If it does not, more worlds are allowed.

mod climb;
mod open;
mod world;

use super::{Course, Outcome, produces};
use crate::history::{End, Kind, NEVER, Op};
use crate::linear::Budget;
use climb::{Climb, Climbed, NARROW, NARROWEST};
use open::{Open, Plan};
use world::World;

/// Values at most, with "absent".
const VALUES: usize = 8;
/// Worlds that may be alive before a beam is tried, at first.
const FEW: usize = 64;
/// What that grows by, when the beam does not get through.
const MORE: usize = 8;

/// With how many others a world is compared: of more, the best or first ones.
const COMPARED: usize = 1024;

/// So many comparisons of worlds take as long as one configuration.
const COMPARISONS: u64 = 32;

/// Decides the history, where it is one of few values and few clients.
pub(super) fn decide(course: &Course<'_>, values: usize, budget: &mut Budget) -> Option<Outcome> {
    let mut search = Dense::new(course, values)?;
    let mut exact = Place::first(course);
    let mut most = FEW;
    let mut patience = 12 * course.ops.len() as u64 + 1_000;
    let mut climb: Option<Climb> = None;
    loop {
        let beam = Beam::exact(most);
        let ended = loop {
            match search.step(&mut exact, &beam, budget)? {
                Step::Alive if exact.worlds.len() > most => break None,
                Step::Alive => {}
                Step::TooWide => break None,
                Step::Dead => break Some(Outcome::Fails(exact.at)),
                Step::Exhausted => {
                    let climbed = climb.as_ref().map_or(0, Climb::proven_to);
                    break Some(Outcome::Exhausted(exact.at.max(climbed)));
                }
                Step::Over => break Some(Outcome::Holds),
            }
        };
        if ended.is_some() {
            return ended;
        }
        let climbs = if climb.is_none() {
            &[NARROWEST, NARROW][..]
        } else {
            &[NARROW]
        };
        for narrow in climbs {
            let climb = match &mut climb {
                Some(climb) if climb.narrow() == *narrow => climb,
                other => other.insert(Climb::new(&exact, *narrow)),
            };
            match climb.go(&mut search, patience, budget)? {
                Climbed::Holds => return Some(Outcome::Holds),
                Climbed::Exhausted => {
                    return Some(Outcome::Exhausted(climb.proven_to().max(exact.at)));
                }
                Climbed::Tired => patience = patience.saturating_mul(2),
            }
        }
        most *= MORE;
        patience = patience.saturating_mul(2);
    }
}

/// Where a search is.
#[derive(Clone, Debug)]
struct Place {
    /// The next position.
    at: u32,
    open: Open,
    worlds: Vec<World>,
}

impl Place {
    fn first(course: &Course<'_>) -> Self {
        Self {
            at: 0,
            open: Open::first(course.future),
            worlds: vec![World::first()],
        }
    }
}

/// How much may be looked at.
#[derive(Clone, Copy, Debug)]
struct Beam {
    /// Worlds at most; more are dropped.
    width: usize,
    /// Steps within one expansion.
    steps: usize,
    slack: usize,
    /// Whether nothing may be dropped.
    exact: bool,
}

impl Beam {
    fn exact(most: usize) -> Self {
        Self {
            width: usize::MAX,
            steps: most * 64,
            slack: 0,
            exact: true,
        }
    }
}

/// How an event ended.
enum Step {
    Alive,
    /// No world is left.
    Dead,
    /// There is no further event.
    Over,
    /// More steps than allowed: the place is as it was.
    TooWide,
    /// The budget ran out.
    Exhausted,
}

/// The operation that ends now.
#[derive(Clone, Copy)]
struct Goal {
    mask: u64,
    kind: Kind,
    value: u8,
}

/// The search, and room for its work.
struct Dense<'a> {
    course: &'a Course<'a>,
    plan: Plan,
    slot_of: Vec<u8>,
    /// What is to be looked at, by how many unknown operations it used more than the one that used fewest.
    levels: Vec<Vec<World>>,
    /// What was looked at, by value.
    seen: [Vec<World>; VALUES],
    after: Vec<World>,
    spare: Vec<World>,
}

impl<'a> Dense<'a> {
    fn new(course: &'a Course<'a>, values: usize) -> Option<Self> {
        if values > VALUES {
            return None;
        }
        Some(Self {
            course,
            plan: Plan::of(course)?,
            slot_of: vec![0; course.ops.len()],
            levels: Vec::new(),
            seen: Default::default(),
            after: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Feeds the next event; nothing where there are too many clients.
    fn step(&mut self, place: &mut Place, beam: &Beam, budget: &mut Budget) -> Option<Step> {
        let Some(entry) = self.course.schedule.get(place.at as usize) else {
            return Some(Step::Over);
        };
        if *entry == NEVER {
            place.at += 1;
            return Some(Step::Alive);
        }
        let number = (entry >> 1) as usize;
        let op = &self.course.ops[number];
        if entry & 1 == 1 {
            return Some(self.end(place, op, u32::from(self.slot_of[number]), beam, budget));
        }
        if op.end == End::Unknown {
            place.open.add_chance(op, &mut place.worlds);
        } else {
            self.slot_of[number] = place.open.begin(op, &mut place.worlds)?;
        }
        place.open.note(op, self.course.future);
        place.at += 1;
        Some(Step::Alive)
    }

    fn end(
        &mut self,
        place: &mut Place,
        op: &Op,
        slot: u32,
        beam: &Beam,
        budget: &mut Budget,
    ) -> Step {
        let goal = Goal {
            mask: 1 << slot,
            kind: op.kind,
            value: produces(op).unwrap_or(op.value) as u8,
        };
        if !(0..place.worlds.len()).all(|_| budget.spend(0)) {
            return Step::Exhausted;
        }
        if !place.worlds.iter().all(|w| w.done & goal.mask != 0) {
            let needed = self.course.future.of_value[goal.value as usize].last_need > op.ret;
            self.after.clear();
            let base = place.worlds.iter().map(|w| w.total).min().unwrap_or(0);
            for world in &place.worlds {
                if self.without_moving(&place.open, world, &goal) && !needed {
                    continue;
                }
                if world.done & goal.mask == 0 {
                    self.at_level(world.total - base).push(*world);
                }
            }
            let mut look = Look {
                open: &place.open,
                base,
                goal,
            };
            match self.expand(&mut look, beam, budget) {
                Step::Alive => {}
                other => return other,
            }
            let mut after = std::mem::take(&mut self.after);
            let compared = world::keep_best(&mut after, &mut self.spare, &place.open);
            budget.charge(compared / COMPARISONS);
            if after.len() > beam.width {
                world::narrow(&mut after, &place.open, beam.width);
            }
            std::mem::swap(&mut place.worlds, &mut after);
            self.after = after;
        } else if place.worlds.len() > 16 {
            // What told worlds apart may be gone.
            let compared = world::keep_best(&mut place.worlds, &mut self.spare, &place.open);
            budget.charge(compared / COMPARISONS);
        }
        if place.worlds.is_empty() {
            return Step::Dead;
        }
        place.open.release(slot, &mut place.worlds);
        place.at += 1;
        Step::Alive
    }

    fn at_level(&mut self, level: u32) -> &mut Vec<World> {
        let level = level as usize;
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        &mut self.levels[level]
    }

    /// What can be done without a change of the cell: whether a write was hidden so.
    fn without_moving(&mut self, open: &Open, world: &World, goal: &Goal) -> bool {
        if world.done & goal.mask != 0 {
            self.after.push(*world);
            return false;
        }
        if world.behind & goal.mask == 0 {
            return false;
        }
        let mut next = *world;
        match goal.kind {
            Kind::Cas => false,
            Kind::Read => {
                if open.read_behind(&mut next, goal.value, &self.plan) {
                    self.after.push(next);
                }
                false
            }
            Kind::Write | Kind::Delete | Kind::Append => {
                // Gone for good: whoever was open at the anchor and may have read it did.
                next.done |= open.reads_of[goal.value as usize] & world.behind;
                self.after.push(next);
                true
            }
        }
    }

    /// Every way to get the goal done, those that use fewest unknown operations first.
    fn expand(&mut self, look: &mut Look<'_>, beam: &Beam, budget: &mut Budget) -> Step {
        self.seen.iter_mut().for_each(Vec::clear);
        let (reads, writes) = (look.open.reads, look.open.writes);
        let mut steps = 0;
        let mut level = 0;
        while level < self.levels.len() {
            let Some(world) = self.levels[level].pop() else {
                level += 1;
                // A beam looks for what is cheap, not for everything.
                if !beam.exact && level >= cheapest(&self.after, look).saturating_add(beam.slack) {
                    self.levels.iter_mut().for_each(Vec::clear);
                }
                continue;
            };
            let mut compared = 0;
            let mut better = |other: &World| {
                compared += 1;
                other.dominates(&world, reads, writes)
            };
            let seen = &mut self.seen[world.value as usize];
            let done = |other: &&World| other.done & look.goal.mask != 0;
            let worse = seen.iter().take(COMPARED).any(&mut better)
                || self.after.iter().filter(done).take(COMPARED).any(better);
            budget.charge(compared / COMPARISONS);
            if worse {
                continue;
            }
            steps += 1;
            if steps > beam.steps {
                self.levels.iter_mut().for_each(Vec::clear);
                return if beam.exact {
                    Step::TooWide
                } else {
                    Step::Alive
                };
            }
            if !budget.spend(0) {
                self.levels.iter_mut().for_each(Vec::clear);
                return Step::Exhausted;
            }
            seen.push(world);
            self.cas_moves(look, &world);
            if !world.idle {
                self.write_moves(look, &world);
            }
        }
        Step::Alive
    }

    fn reach(&mut self, look: &Look<'_>, world: World) {
        if look.open.doomed(&world) {
            return;
        }
        if world.done & look.goal.mask != 0 {
            self.after.push(World {
                idle: false,
                ..world
            });
        } else {
            self.at_level(world.total - look.base).push(world);
        }
    }

    /// The cell's value is taken by a cas.
    fn cas_moves(&mut self, look: &Look<'_>, world: &World) {
        let open = look.open;
        let mut rest = open.cas_from[world.value as usize] & !world.done;
        while rest != 0 {
            let new = open.news[rest.trailing_zeros() as usize];
            let alike = rest & open.cas_to[new as usize];
            rest &= !alike;
            let mut next = *world;
            next.idle = false;
            next.done |= open.first_to_end(alike);
            open.settle(&mut next, new);
            self.reach(look, next);
        }
        let mut kinds = world::takers(world.left, world.value);
        while kinds != 0 {
            let new = (kinds.trailing_zeros() / 8) as u8;
            kinds &= kinds - 1;
            let mut next = *world;
            open.spend(&mut next, new, world.value);
            next.idle = !open.settle(&mut next, new);
            if !next.idle || open.taken(&next) >> new & 1 != 0 {
                self.reach(look, next);
            }
        }
    }

    /// The cell is written, with what a cas will take, or the goal wants.
    fn write_moves(&mut self, look: &Look<'_>, world: &World) {
        let (open, goal) = (look.open, &look.goal);
        let mut values = open.taken(world);
        if goal.kind == Kind::Read {
            values |= 1 << goal.value;
        }
        while values != 0 {
            let value = values.trailing_zeros() as u8;
            values &= values - 1;
            let mut next = *world;
            let mine = open.writes_of[value as usize] & !world.done;
            if mine != 0 {
                next.done |= open.first_to_end(mine);
            } else if world::is_left(world.left, value, value) {
                open.spend(&mut next, value, value);
            } else {
                continue;
            }
            open.anchor(&mut next);
            open.settle(&mut next, value);
            next.idle = true;
            self.reach(look, next);
        }
        if open.writes & goal.mask != 0 {
            let mut next = *world;
            next.done |= goal.mask;
            open.anchor(&mut next);
            open.settle(&mut next, goal.value);
            self.reach(look, next);
        }
    }
}

/// The fewest unknown operations that a world used in which the goal is done.
fn cheapest(after: &[World], look: &Look<'_>) -> usize {
    let least = after.iter().map(|world| world.total - look.base).min();
    least.map_or(usize::MAX, |least| least as usize)
}

/// What an expansion needs to know of the moment.
struct Look<'a> {
    open: &'a Open,
    /// The fewest unknown operations that any world used.
    base: u32,
    goal: Goal,
}

#[cfg(test)]
mod tests {
    use crate::generate::{Domain, Generator, Recipe};
    use crate::history::{Builder, KeyHistory};
    use crate::linear::{Judgement, Options, judge_key};

    /// Jepsen's own shape: one half reads, one sixth writes, one third cas, five values.
    fn jepsens(clients: u64, seed: u64) -> KeyHistory {
        let recipe = Recipe {
            ops: 1_000,
            clients,
            pending: 0.05,
            cas: 1.0 / 3.0,
            read: 0.75,
            values: Domain::Small(5),
            seed,
            ..Recipe::default()
        };
        let mut builder = Builder::new(recipe.header());
        for event in Generator::new(recipe) {
            builder
                .event(&event)
                .expect("the generator makes histories");
        }
        builder.finish().keys.swap_remove(0)
    }

    #[test]
    fn jepsens_shape_takes_few_configurations() {
        for clients in [5, 10, 20] {
            for seed in 0..10 {
                let judged = judge_key(&jepsens(clients, seed), &Options::default());
                assert_eq!(judged.judgement, Judgement::Holds, "{clients}, {seed}");
                let most = 100 * 1_000;
                assert!(
                    judged.configurations < most,
                    "{clients}, {seed}: {judged:?}"
                );
            }
        }
    }
}
