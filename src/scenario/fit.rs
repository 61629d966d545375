//! A scenario and a target that lacks something: what is left of the one for the other, and what is said of the rest.

use std::collections::BTreeSet;

use super::{Changes, Error, Promises, Scenario};
use crate::fault::defects::{self, Place};
use crate::fault::plan::Plan;
use crate::fault::{Lacks, Need};

/// What somebody has asked for by name is refused, and not left out.
pub(super) fn refuse(changes: &Changes, defect: Option<&str>) -> Result<(), Error> {
    let lacks = &changes.lacks;
    for kind in changes.faults.iter().flatten() {
        if let Some(why) = lacks.why(kind.need()) {
            return Err(Error::Senseless(format!("--faults {kind}: {why}")));
        }
    }
    let planted = defect.and_then(defects::find);
    let Some(planted) = planted else {
        return Ok(());
    };
    let need = match planted.place {
        Place::Node | Place::Flags => Need::Defects,
        Place::Network => Need::Calls,
        Place::Plan => Need::Admin,
        Place::Clients => return Ok(()),
    };
    match lacks.why(need) {
        Some(why) => Err(Error::Senseless(format!("{}: {why}", planted.name))),
        None => Ok(()),
    }
}

/// A plan that stands is carried out as it stands, or not at all.
pub(super) fn refuse_plan(plan: &Plan, lacks: &Lacks) -> Result<(), Error> {
    let never = plan.episodes.iter().find_map(|one| lacks.why_never(one));
    let fault = || {
        let mut faults = plan.faults();
        faults.find_map(|fault| Some((fault.kind(), lacks.why_not(fault)?)))
    };
    let what = match (never, fault()) {
        (Some(why), _) => format!("it waits for what is never seen: {why}"),
        (None, Some((kind, why))) => format!("it has {kind}: {why}"),
        (None, None) => return Ok(()),
    };
    Err(Error::Senseless(format!(
        "the plan that is drawn already is for another target, {what}"
    )))
}

impl Scenario {
    /// A scenario about a system is for that system, and steps are done as they stand or not at all.
    pub(super) fn refuse_steps(&self, changes: &Changes) -> Result<(), Error> {
        let name = &self.name;
        let chosen = changes.target.as_ref().map(|target| &target.subject);
        if let Some(system) = &self.system
            && chosen != Some(&self.system)
        {
            let target = &system.target;
            let why = format!(
                "{name} is about {target}: start the program with it, as whitewater {name}"
            );
            return Err(Error::Senseless(why));
        }
        if self.steps.is_empty() {
            return Ok(());
        }
        if changes.faults.is_some() {
            let why = format!("--faults: {name} has steps, which are done as they stand");
            return Err(Error::Senseless(why));
        }
        let lacks = &changes.lacks;
        for (at, step) in self.steps.iter().enumerate() {
            let asks = step.ask.as_ref();
            let asks = asks.and_then(|ask| lacks.why_not_ask(ask.operation.name()));
            let needs = step.needs();
            let mut needs = needs.iter().filter_map(|&need| lacks.why(need));
            if let Some(why) = needs.next().or(asks) {
                let why = format!("step {} of {name}, “{step}”, cannot be done: {why}", at + 1);
                return Err(Error::Senseless(why));
            }
        }
        Ok(())
    }

    /// Leaves out what a target lacks; gives what that is, and why, a sentence each.
    pub(super) fn leave_out(&mut self, lacks: &Lacks) -> Vec<String> {
        let mut said = Vec::new();
        // In the order of the kinds, those of one reason together.
        let mut undrawn: Vec<(&str, Vec<&str>)> = Vec::new();
        self.random.kinds.retain(|&kind| {
            let Some(why) = lacks.why_undrawn(kind) else {
                return true;
            };
            match undrawn.iter_mut().find(|(known, _)| *known == why) {
                Some((_, kinds)) => kinds.push(kind.name()),
                None => undrawn.push((why, vec![kind.name()])),
            }
            false
        });
        for (why, kinds) in undrawn {
            said.push(format!("not drawn: {}: {why}", kinds.join(", ")));
        }
        said.extend(self.leave_out_operations(lacks));
        for episode in &mut self.opening {
            let at_ms = episode.at_ms;
            if let Some(why) = lacks.why_never(episode) {
                said.push(format!("the opening at {at_ms} ms is left out: {why}"));
                episode.faults.clear();
            }
            episode.faults.retain(|fault| {
                let kind = fault.kind();
                // What is outside of the model is nobody's promise, and written down on purpose.
                let promised = || {
                    lacks
                        .why_undrawn(kind)
                        .filter(|_| !kind.is_outside_the_model())
                };
                let why = lacks.why_not(fault).or_else(promised);
                said.extend(why.map(|why| format!("{kind} at {at_ms} ms is left out: {why}")));
                why.is_none()
            });
        }
        self.opening.retain(|episode| !episode.faults.is_empty());
        said.extend(self.promises.leave_out(lacks));
        said
    }
}

impl Scenario {
    /// Asks for no operation that nobody can ask for.
    fn leave_out_operations(&mut self, lacks: &Lacks) -> Vec<String> {
        let mut said = BTreeSet::new();
        let phases = self.phases.iter_mut().map(|phase| &mut phase.mix);
        for mix in std::iter::once(&mut self.mix).chain(phases) {
            for (name, weight) in [
                ("read", &mut mix.read),
                ("write", &mut mix.write),
                ("cas", &mut mix.cas),
                ("delete", &mut mix.delete),
            ] {
                if let Some(why) = lacks.why_not_ask(name)
                    && std::mem::take(weight) > 0
                {
                    said.insert(format!("no {name}: {why}"));
                }
            }
        }
        said.into_iter().collect()
    }
}

impl Promises {
    /// Promises nothing that a target cannot show; gives what that is.
    fn leave_out(&mut self, lacks: &Lacks) -> Vec<String> {
        let goals = [
            ("elections", Need::Leader, &mut self.elections),
            ("leaders that are hit", Need::Leader, &mut self.leaders_hit),
            (
                "leaders without a majority",
                Need::Leader,
                &mut self.leaders_in_minority,
            ),
            ("uncommitted entries", Need::Leader, &mut self.tails),
            ("snapshots", Need::Calls, &mut self.snapshots),
            ("changes of the membership", Need::Admin, &mut self.changes),
            ("power losses", Need::UnsyncedDisk, &mut self.power_losses),
        ];
        let mut said = Vec::new();
        for (what, need, promised) in goals {
            if let Some(why) = lacks.why(need)
                && std::mem::take(promised) > 0
            {
                said.push(format!("{what} are no goal: {why}"));
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Class, Kind};
    use crate::scenario::Given;

    /// A system of processes and links, and nothing else.
    fn plain() -> Changes {
        let offers = |need| match need {
            Need::Child | Need::Links => Ok(()),
            need => Err(format!("plain lacks {need:?}")),
        };
        Changes {
            lacks: Lacks::of(offers),
            ..Changes::default()
        }
    }

    #[test]
    fn no_scenario_plans_or_promises_what_a_target_lacks_and_each_says_what_it_left_out() {
        let mut planned = BTreeSet::new();
        let all = Scenario::built_in().into_iter();
        for scenario in all.filter(|scenario| scenario.system.is_none()) {
            let name = scenario.name.clone();
            for seed in 1..10 {
                let whole = scenario.clone().resolve(&Changes::default(), seed, None);
                let whole = whole.unwrap();
                assert!(whole.left_out.is_empty(), "our own node lacks nothing");
                let part = scenario.clone().resolve(&plain(), seed, None).unwrap();
                for episode in &part.plan.episodes {
                    assert_eq!(episode.when, None, "{name}");
                }
                for fault in part.plan.faults() {
                    let class = fault.kind().class();
                    assert!(matches!(class, Class::Process | Class::Network), "{name}");
                    assert!(!fault.is_for_a_role(), "{name}: {fault}");
                    planned.insert(fault.kind());
                }
                let promises = part.scenario.promises;
                let kinds = part.plan.kinds().len() as u64;
                assert!(promises.kinds <= kinds, "{name}: {promises:?}");
                assert_eq!((promises.elections, promises.snapshots), (0, 0), "{name}");
                let lacking = whole.plan.kinds().len() > part.plan.kinds().len();
                assert!(!lacking || !part.left_out.is_empty(), "{name}");
            }
        }
        assert!(planned.len() > 5, "there is a lot left: {planned:?}");
    }

    #[test]
    fn what_is_asked_for_by_name_is_refused_with_the_reason() {
        let refused = |changes: Changes, defect: Option<&str>| {
            let calm = Scenario::find("calm").unwrap();
            let resolved = calm.resolve(&changes, 1, defect.map(str::to_owned));
            resolved.unwrap_err().to_string()
        };
        let disk = Changes {
            faults: Some(vec![Kind::Kill, Kind::Disk]),
            ..plain()
        };
        assert_eq!(refused(disk, None), "--faults disk: plain lacks Disk");
        let defect = refused(plain(), Some("stale-read"));
        assert_eq!(defect, "stale-read: plain lacks Defects");

        let drawn = Scenario::find("rapids").unwrap();
        let drawn = drawn.resolve(&Changes::default(), 7, None).unwrap();
        let stands = Given::Resolved(Box::new(drawn));
        let error = stands.resolve(&plain(), 7, None).unwrap_err().to_string();
        assert!(error.contains("is for another target"), "{error}");
    }

    #[test]
    fn the_nodes_of_a_plan_without_roles_take_turns() {
        let changes = Changes {
            faults: Some(vec![Kind::Pause]),
            seconds: Some(600),
            ..plain()
        };
        let calm = Scenario::find("calm").unwrap();
        let drawn = calm.resolve(&changes, 3, None).unwrap();
        let whom: BTreeSet<String> = drawn.plan.faults().map(|fault| fault.to_string()).collect();
        assert_eq!(whom.len(), 3, "{whom:?}");
    }

    #[test]
    fn what_nobody_promises_to_survive_is_not_drawn_and_what_nobody_can_ask_for_is_not_asked() {
        let mut lacks = Lacks::default();
        lacks.promise(Kind::Kill, "it forgets".to_owned());
        lacks.promise(Kind::Pause, "it forgets".to_owned());
        lacks.operation("cas", "it compares nothing".to_owned());
        let changes = Changes {
            lacks,
            ..Changes::default()
        };
        let mut scenario = Scenario::find("rapids").unwrap();
        scenario.random.swarm = false;
        let part = scenario.resolve(&changes, 3, None).unwrap();
        let kinds = part.plan.kinds();
        assert!(!kinds.contains(&Kind::Kill) && !kinds.contains(&Kind::Pause));
        assert_eq!(part.scenario.mix.cas, 0);
        let said = part.left_out.join("; ");
        for words in [
            "not drawn: kill, pause",
            "it forgets",
            "no cas: it compares nothing",
        ] {
            assert!(said.contains(words), "{said}");
        }
    }
}
