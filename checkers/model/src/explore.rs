//! The same model as a [`stateright::Model`]: for its explorer in the browser, and to hold our own search against.

use std::fmt;

use stateright::{Model, Property};

use super::explain::tell;
use super::raft::{Action, Invariant, Raft};
use super::state::{NODES, Slot, State, owner_of, term_of};

/// The predicate of each invariant, for [`Property::always`], which takes no closures.
macro_rules! holds {
    ($($invariant:ident),* $(,)?) => {
        vec![$(Property::<Raft<SLOTS>>::always(stringify!($invariant), |_, s: &State<SLOTS>| {
            s.violated & Invariant::$invariant.bit() == 0
        })),*]
    };
}

impl<const SLOTS: usize> Model for Raft<SLOTS> {
    type State = State<SLOTS>;
    type Action = Action;

    fn init_states(&self) -> Vec<Self::State> {
        vec![State::default()]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        Raft::actions(self, state, actions);
        // Only what changes something: stateright's simulation loses its way otherwise.
        actions.retain(|&a| self.step(state, a, &mut 0).is_some());
    }

    fn next_state(&self, state: &Self::State, action: Self::Action) -> Option<Self::State> {
        self.step(state, action, &mut 0)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        holds![
            ElectionSafety,
            LeaderAppendOnly,
            LogMatching,
            LeaderCompleteness,
            StateMachineSafety,
            CommittedOnQuorum,
            VoteMonotone,
            ReadFresh,
            LeaseReadFresh,
        ]
    }

    fn format_step(&self, last: &Self::State, action: Self::Action) -> Option<String> {
        let next = self.step(last, action, &mut 0)?;
        let (_, sentence) = tell(self, last, &next, action);
        Some(format!("{sentence}\n\n{next:#?}"))
    }
}

impl<const SLOTS: usize> fmt::Debug for State<SLOTS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, n) in self.nodes.iter().enumerate() {
            let role = if n.leads() {
                "leads"
            } else if n.campaigns() {
                "campaigns"
            } else {
                "follows"
            };
            let vote = match n.lid() {
                0 => "nobody".to_string(),
                l => format!("{}.{}", term_of(l), owner_of(l) + 1),
            };
            writeln!(
                f,
                "n{} {role} {vote}, log {:?}, commit {}",
                i + 1,
                n.log,
                n.commit
            )?;
        }
        for l in 1..=SLOTS as u8 {
            let slot = self.slot(l);
            if slot == Slot::default() {
                continue;
            }
            let acks: Vec<u8> = (0..NODES).map(|j| slot.ack(j)).collect();
            writeln!(
                f,
                "said by {}.{}: log {:?}, grants {:03b}, acknowledged {acks:?}, commit {}",
                term_of(l),
                owner_of(l) + 1,
                slot.log(),
                slot.granted(),
                slot.commit()
            )?;
        }
        write!(f, "committed {:?}", self.committed)?;
        if let Some(invariant) = Invariant::broken(self.violated) {
            write!(f, "\n{invariant} is broken")?;
        }
        Ok(())
    }
}

impl fmt::Debug for super::state::PackedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = (1..=self.len()).map(|p| {
            let byte = self.entry(p);
            format!(
                "{}.{}/{}",
                term_of(byte & 15),
                owner_of(byte & 15) + 1,
                ["blank", "write", "joint", "final"][usize::from(byte >> 4) & 3]
            )
        });
        f.debug_list().entries(entries).finish()
    }
}
