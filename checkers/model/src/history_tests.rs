//! Freshness against linearizability: the model's flag, stateright's tester and our own judges, on the same histories.
//!
//! The model decides freshness with one comparison: has the node that answers applied every write that was committed
//! when the read began? That this *is* linearizability is checked here on every history that the smallest
//! configurations have, with the true rules and with those that are broken in their reads. A write is complete as soon
//! as anybody has committed it, since whoever asks that leader is shown it.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::check::Configuration;
use super::mutants::Mutant;
use super::raft::{Action, Raft};
use super::search::Fingerprints;
use super::state::{NODES, PackedLog, State, op, owner_of, term_of};
use checkers::history::{Call, Event, EventKind, Header, History, NEVER, Outcome};
use checkers::linear::dfs::{Found, search};
use checkers::linear::{Budget, Options, check};
use checkers::spec::{Spec, Timed};

/// A write, by position and entry.
type Write = (u8, u8);

/// What the clients see, in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Told {
    Begins(Write),
    Committed(Write),
    ReadBegins,
    Read(Vec<Write>),
}

fn writes(log: PackedLog, upto: u8) -> Vec<Write> {
    (1..=upto)
        .map(|p| (p, log.entry(p)))
        .filter(|(_, e)| e >> 4 == op::WRITE)
        .collect()
}

/// The story after a step, if it may go on or end so: a read that was given up tells nothing.
fn after<const SLOTS: usize>(
    story: &[Told],
    (s, t): (&State<SLOTS>, &State<SLOTS>),
    action: Action,
) -> Option<Vec<Told>> {
    let mut story = story.to_vec();
    let shown = |i: usize| Told::Read(writes(s.nodes[i].log, s.nodes[i].commit));
    match action {
        Action::Write(i) => {
            let log = t.nodes[i as usize].log;
            story.push(Told::Begins((log.len(), log.entry(log.len()))));
        }
        Action::ReadStart(_) => story.push(Told::ReadBegins),
        Action::ReadDone => story.push(shown(owner_of(s.read.lid))),
        Action::LeaseRead(i) => story.extend([Told::ReadBegins, shown(i as usize)]),
        _ if s.read.lid != 0 && t.read.lid == 0 => return None,
        _ => {}
    }
    for p in s.committed.len() + 1..=t.committed.len() {
        if t.committed.entry(p) >> 4 == op::WRITE {
            story.push(Told::Committed((p, t.committed.entry(p))));
        }
    }
    Some(story)
}

/// Every story that ends with a read, and whether the model calls the read stale. Only n1 campaigns in the first term
/// and only n2 in the second, which is enough for each mutant to die.
fn stories(configuration: Configuration) -> BTreeMap<Vec<Told>, bool> {
    let model = Raft::<6>::new(configuration);
    let mut numbers: HashMap<Vec<Told>, usize> = HashMap::from([(Vec::new(), 0)]);
    let mut all: Vec<Vec<Told>> = vec![Vec::new()];
    let mut ended = BTreeMap::new();
    let mut known = Fingerprints::default();
    let mut todo = vec![(State::<6>::default(), 0)];
    let mut actions = Vec::new();
    while let Some((state, number)) = todo.pop() {
        actions.clear();
        model.actions(&state, &mut actions);
        for &action in &actions {
            if let Action::Elect(i) = action
                && u64::from(i) != term_of(state.nodes[i as usize].lid())
            {
                continue;
            }
            let next = match model.step(&state, action, &mut 0) {
                Some(next) => next,
                None if matches!(action, Action::LeaseRead(_)) => state,
                None => continue,
            };
            let Some(story) = after(&all[number], (&state, &next), action) else {
                continue;
            };
            if matches!(action, Action::ReadDone | Action::LeaseRead(_)) {
                let stale = next.violated != 0;
                let before = ended.insert(story.clone(), stale);
                assert!(before.is_none_or(|b| b == stale), "{story:?}: both");
                continue;
            }
            assert_eq!(next.violated, 0, "only a read may be wrong here");
            let number = *numbers.entry(story.clone()).or_insert_with(|| {
                all.push(story);
                all.len() - 1
            });
            let mixed = next.fingerprint() ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if known.insert(mixed.max(1)) {
                todo.push((next, number));
            }
        }
    }
    ended
}

/// A log that is read as a whole: the sequential machine that the model's clients use.
#[derive(Clone)]
struct List(Vec<Write>);

#[derive(Clone, Debug)]
enum ListOp {
    Append(Write),
    Read,
}

impl SequentialSpec for List {
    type Op = ListOp;
    type Ret = Vec<Write>;
    fn invoke(&mut self, op: &ListOp) -> Vec<Write> {
        match op {
            ListOp::Append(write) => {
                self.0.push(*write);
                Vec::new()
            }
            ListOp::Read => self.0.clone(),
        }
    }
}

enum Asked {
    Append(Write),
    Read(Vec<Write>),
}

impl Spec for List {
    type State = Vec<Write>;
    type Op = Asked;
    fn initial(&self) -> Vec<Write> {
        Vec::new()
    }
    fn step(&self, state: &Vec<Write>, op: &Asked) -> Option<Vec<Write>> {
        match op {
            Asked::Append(write) => Some([state.as_slice(), &[*write]].concat()),
            Asked::Read(found) => (found == state).then(|| state.clone()),
        }
    }
}

/// Each write has a client of its own, the read client 0.
fn clients(story: &[Told]) -> HashMap<Write, u8> {
    let begun = story.iter().filter_map(|told| match told {
        Told::Begins(write) => Some(*write),
        _ => None,
    });
    begun.zip(1..).collect()
}

fn stateright_on_lists(story: &[Told]) -> bool {
    let client = clients(story);
    let mut tester = LinearizabilityTester::new(List(Vec::new()));
    for told in story {
        match told {
            Told::Begins(w) => tester.on_invoke(client[w], ListOp::Append(*w)),
            Told::Committed(w) => tester.on_return(client[w], Vec::new()),
            Told::ReadBegins => tester.on_invoke(0, ListOp::Read),
            Told::Read(found) => tester.on_return(0, found.clone()),
        }
        .expect("a client has one operation open");
    }
    tester.is_consistent()
}

fn stateright_on_registers(story: &[Told]) -> bool {
    let client = clients(story);
    let mut tester = LinearizabilityTester::new(Register(0u8));
    for told in story {
        match told {
            Told::Begins(w) => tester.on_invoke(client[w], RegisterOp::Write(client[w])),
            Told::Committed(w) => tester.on_return(client[w], RegisterRet::WriteOk),
            Told::ReadBegins => tester.on_invoke(0, RegisterOp::Read),
            Told::Read(found) => {
                let last = found.last().map_or(0, |w| client[w]);
                tester.on_return(0, RegisterRet::ReadOk(last))
            }
        }
        .expect("a client has one operation open");
    }
    tester.is_consistent()
}

fn ours_on_lists(story: &[Told]) -> bool {
    let mut ops: Vec<Timed<Asked>> = Vec::new();
    let mut open: HashMap<Option<Write>, usize> = HashMap::new();
    for (at, told) in (0..).zip(story) {
        let (key, asked) = match told {
            Told::Begins(w) => (Some(*w), Some(Asked::Append(*w))),
            Told::ReadBegins => (None, Some(Asked::Read(Vec::new()))),
            Told::Committed(w) => (Some(*w), None),
            Told::Read(found) => {
                ops[open[&None]].op = Asked::Read(found.clone());
                (None, None)
            }
        };
        match asked {
            Some(op) => {
                open.insert(key, ops.len());
                ops.push(Timed {
                    call: at,
                    ret: NEVER,
                    op,
                });
            }
            None => ops[open[&key]].ret = at,
        }
    }
    let mut budget = Budget::new(&Options::default());
    match search(&List(Vec::new()), &ops, &mut budget) {
        Found::Order(_) => true,
        Found::Nothing => false,
        Found::Exhausted { .. } => panic!("a handful of operations: {story:?}"),
    }
}

fn ours_on_registers(story: &[Told]) -> bool {
    let client = clients(story);
    let events: Vec<Event> = (0..)
        .zip(story)
        .map(|(index, told)| {
            let invoke = |call| EventKind::Invoke {
                key: "k".into(),
                call,
            };
            let complete = |value: Option<i64>| EventKind::Complete {
                outcome: Outcome::Ok(value),
                at: None,
                error: None,
            };
            let (by, kind) = match told {
                Told::Begins(w) => (client[w], invoke(Call::Write(client[w].into()))),
                Told::Committed(w) => (client[w], complete(None)),
                Told::ReadBegins => (0, invoke(Call::Read)),
                Told::Read(found) => (0, complete(found.last().map(|w| client[w].into()))),
            };
            Event {
                index,
                time_ns: index,
                client: Some(by.into()),
                node: None,
                kind,
            }
        })
        .collect();
    let history = History::from_events(Header::default(), &events).expect("it is a history");
    check(&history, &Options::default()).verdict.holds()
}

/// All agree on every history; gives how many there are and how many of them are not linearizable.
fn agree(name: &str, broken: Option<Mutant>) -> (usize, usize) {
    assert_eq!(NODES, 3);
    let mut configuration = Configuration::named(name).unwrap();
    configuration.rules.broken = broken;
    let stories = stories(configuration);
    for (story, stale) in &stories {
        assert_eq!(stateright_on_lists(story), !stale, "stateright: {story:?}");
        assert_eq!(ours_on_lists(story), !stale, "our search: {story:?}");
        // A register cannot tell two writes that overlap from each other: it says no less often, and both judges alike.
        let register = stateright_on_registers(story);
        assert_eq!(ours_on_registers(story), register, "our judge: {story:?}");
        assert!(register || *stale, "{story:?}");
    }
    (stories.len(), stories.values().filter(|s| **s).count())
}

#[test]
fn true_rules_have_only_linearizable_histories() {
    for name in ["2x2 read", "2x2 lease", "2x3 read"] {
        let (all, stale) = agree(name, None);
        assert!(all > 5 && stale == 0, "{name}: {all}, {stale}");
    }
}

#[test]
fn broken_reads_are_stale_exactly_where_a_history_is_not_linearizable() {
    let broken = [
        ("2x2 read", Mutant::RestoreVolatileCommit),
        ("2x3 read", Mutant::LocalRead),
        ("2x3 read", Mutant::ReadNoNoop),
        ("2x3 read", Mutant::ReadAckNoTermCheck),
        ("2x3 lease", Mutant::LeaseForgotten),
        ("2x3 lease", Mutant::VoteIgnoresLease),
        ("2x3 lease", Mutant::ElectIgnoresLease),
        ("2x3 lease", Mutant::ClockDrift),
    ];
    // The longest test of the package: on every core there is.
    broken.into_par_iter().for_each(|(name, mutant)| {
        let (all, stale) = agree(name, Some(mutant));
        assert!(stale > 0 && stale < all, "{mutant:?}: {all}, {stale}");
    });
}
