//! What a system under test lacks of what faults need, and which faults it cannot have then.
//!
//! Whoever knows the system says what it lacks, in a sentence each; here nothing is known of systems. What is lacking is
//! not drawn, not offered and not promised, and the sentence is what is said instead.

use std::collections::BTreeMap;

use super::draw::Named;
use super::plan::{Episode, When};
use super::{Fault, Kind, Need, NodeSelector, NodeSet, Role};

/// What is lacking, and why. The default lacks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    needs: BTreeMap<Need, String>,
    /// Faults that can be had, and that the system does not promise to survive.
    promises: BTreeMap<Kind, String>,
    /// Faults that can be had and are survived, and that are not drawn all the same.
    undrawn: BTreeMap<Kind, String>,
    /// Operations that nobody can ask for, by name.
    operations: BTreeMap<&'static str, String>,
}

impl Lacks {
    /// All that this does not offer.
    pub fn of(offers: impl Fn(Need) -> Result<(), String>) -> Lacks {
        let lacking = Need::ALL
            .into_iter()
            .filter_map(|need| Some((need, offers(need).err()?)));
        Lacks {
            needs: lacking.collect(),
            ..Lacks::default()
        }
    }

    /// It does not promise to survive this, either.
    pub fn promise(&mut self, kind: Kind, why: String) {
        self.promises.insert(kind, why);
    }

    /// Nor is this drawn, for another reason.
    pub fn undrawn(&mut self, kind: Kind, why: String) {
        self.undrawn.insert(kind, why);
    }

    /// Nor can anybody ask it for this.
    pub fn operation(&mut self, name: &'static str, why: String) {
        self.operations.insert(name, why);
    }

    /// Why this cannot be had; `None`: it can.
    #[must_use]
    pub fn why(&self, need: Need) -> Option<&str> {
        self.needs.get(&need).map(String::as_str)
    }

    /// Why this fault cannot be had: for what its kind needs, or because it is for a role and nobody says who plays it.
    #[must_use]
    pub fn why_not(&self, fault: &Fault<Role>) -> Option<&str> {
        let kind = self.why(fault.kind().need());
        let of_calls = matches!(fault, Fault::Message { of, .. } if of.is_of_calls());
        let kind = kind.or_else(|| self.why(Need::Calls).filter(|_| of_calls));
        kind.or_else(|| self.why(Need::Leader).filter(|_| fault.is_for_a_role()))
    }

    /// Why faults of this kind are not drawn: they cannot be had, nobody promises to survive them, or others show more.
    #[must_use]
    pub fn why_undrawn(&self, kind: Kind) -> Option<&str> {
        let unpromised = || self.promises.get(&kind).map(String::as_str);
        let others = || self.undrawn.get(&kind).map(String::as_str);
        self.why(kind.need()).or_else(unpromised).or_else(others)
    }

    /// Why what is found after a fault of this kind accuses nobody: nobody promises to survive it.
    #[must_use]
    pub fn why_unpromised(&self, kind: Kind) -> Option<&str> {
        let outside = "it is outside of the fault model, which no system promises to survive";
        let promises = self.promises.get(&kind).map(String::as_str);
        promises.or(kind.is_outside_the_model().then_some(outside))
    }

    /// Why nobody can ask for this operation.
    #[must_use]
    pub fn why_not_ask(&self, operation: &str) -> Option<&str> {
        self.operations.get(operation).map(String::as_str)
    }

    /// Why what an episode waits for is never seen.
    #[must_use]
    pub fn why_never(&self, episode: &Episode) -> Option<&str> {
        let needs: &[Need] = match episode.when? {
            When::LeaderChange | When::UncommittedTail => &[Need::Leader],
            When::SyncPending => &[Need::Leader, Need::Disk],
            When::Message { .. } => &[Need::Calls],
        };
        needs.iter().find_map(|&need| self.why(need))
    }
}

impl Fault<Role> {
    /// Whether it depends on who leads whom it meets.
    #[must_use]
    pub fn is_for_a_role(&self) -> bool {
        let role =
            |who: &NodeSelector| matches!(who, NodeSelector::Leader | NodeSelector::Follower(_));
        let Named { ones, sets } = Named::by(self);
        let roles = |set: &NodeSet| match set {
            NodeSet::All => false,
            NodeSet::Nodes(these) => these.iter().any(role),
            _ => true,
        };
        ones.iter().any(role) || sets.iter().any(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Way;

    /// A system of processes and links.
    fn plain(need: Need) -> Result<(), String> {
        match need {
            Need::Child | Need::Links => Ok(()),
            _ => Err(format!("no {need:?}")),
        }
    }

    #[test]
    fn what_is_lacking_is_told_of_kinds_of_roles_and_of_anchors() {
        let lacks = Lacks::of(plain);
        let isolate = |who| Fault::Isolate {
            who,
            way: Way::Both,
        };
        let (leader, first) = (NodeSelector::Leader, NodeSelector::Node(1));
        assert_eq!(lacks.why_not(&isolate(leader)), Some("no Leader"));
        assert_eq!(lacks.why_not(&isolate(first)), None);
        let kill = |who| Fault::KillSeveral { who };
        assert_eq!(lacks.why_not(&kill(NodeSet::All)), None);
        assert_eq!(lacks.why_not(&kill(NodeSet::Minority)), Some("no Leader"));
        let some = NodeSet::Nodes(vec![first, NodeSelector::Follower(0)]);
        assert_eq!(lacks.why_not(&kill(some)), Some("no Leader"));
        let transfer = Fault::Transfer { to: first };
        assert_eq!(lacks.why_not(&transfer), Some("no Admin"));
        let mut episode = Episode::at(0, 1, vec![isolate(first)]);
        assert_eq!(lacks.why_never(&episode), None);
        episode.when = Some(When::LeaderChange);
        assert_eq!(lacks.why_never(&episode), Some("no Leader"));
        assert!(Kind::ALL.iter().all(|kind| {
            let need = kind.need();
            Lacks::default().why(need).is_none()
        }));
    }
}
