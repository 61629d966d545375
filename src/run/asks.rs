//! Asks for the operations of steps: each at the node that it is aimed at, by a client of its own, recorded like any
//! other.
//!
//! A node that stands is asked, too: the connection is made and the request written, and the node finds both when it
//! goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use checkers::history::{Call, ClientId, Outcome, Value};
use tokio::task::JoinSet;

use super::clients::DEADLINE;
use crate::fault::NodeId;
use crate::fault::step::{Ask, Operation};
use crate::nemesis;
use crate::proxy::{Direction, Endpoint, Network};
use crate::recorder::Recorder;
use crate::scenario::Scenario;
use crate::target::client::{ClientConfig, Follow};
use crate::target::{Client, Target};

/// Between two tries of an operation that is asked for until it is done.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How many writes each node has acknowledged, over all clients; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged(Arc<Mutex<BTreeMap<NodeId, u64>>>);

impl Acknowledged {
    /// An operation has ended like this, by what that node said.
    pub(super) fn count(&self, node: NodeId, call: Call, outcome: Outcome) {
        if call != Call::Read && matches!(outcome, Outcome::Ok(_)) {
            let mut counts = self.0.lock().expect("nobody panics while counting");
            *counts.entry(node).or_default() += 1;
        }
    }

    fn of(&self, node: NodeId) -> u64 {
        let counts = self.0.lock().expect("nobody panics while counting");
        counts.get(&node).copied().unwrap_or_default()
    }
}

/// Whom the nemesis asks for the operations of its steps.
pub(super) struct Asks {
    /// The first slot behind those of the workload and of the bench: each step has one.
    first_slot: u64,
    slots: u64,
    shared: Arc<Shared>,
    /// How many operations each step has begun.
    begun: BTreeMap<usize, Arc<AtomicU64>>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    /// The group of clients that step operations have for themselves, and where it reaches each node.
    group: u32,
    dial: BTreeMap<u64, SocketAddr>,
    target: Arc<dyn Target>,
    recorder: Arc<Recorder>,
    network: Arc<Network>,
    acknowledged: Acknowledged,
}

/// Who asks, by what, and whom.
pub(super) struct With {
    pub(super) group: u32,
    pub(super) dial: BTreeMap<u64, SocketAddr>,
    pub(super) target: Arc<dyn Target>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) network: Arc<Network>,
    pub(super) acknowledged: Acknowledged,
}

impl Asks {
    /// For the steps of this scenario.
    pub(super) fn of(scenario: &Scenario, with: With) -> Asks {
        let With {
            group,
            dial,
            target,
            recorder,
            network,
            acknowledged,
        } = with;
        Asks {
            first_slot: u64::from(scenario.clients) + 1,
            slots: u64::from(scenario.slots()),
            shared: Arc::new(Shared {
                group,
                dial,
                target,
                recorder,
                network,
                acknowledged,
            }),
            begun: (0..scenario.steps.len())
                .map(|step| (step, Arc::default()))
                .collect(),
            tasks: Mutex::default(),
        }
    }

    /// Waits for no operation any more: what is under way stays open in the history.
    pub(super) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().expect("nobody panics here"));
        tasks.shutdown().await;
    }
}

/// What has become of an operation.
#[derive(Default)]
struct Course {
    /// The node that is asked now, and what had gone to it before.
    asks: Option<(NodeId, u64)>,
    ended: bool,
    ok: bool,
}

/// An operation that was asked for.
struct Asked {
    shared: Arc<Shared>,
    course: Arc<Mutex<Course>>,
}

impl Asked {
    fn is(&self, what: impl Fn(&Course) -> bool) -> bool {
        what(&self.course.lock().expect("nobody panics here"))
    }
}

impl nemesis::Asked for Asked {
    fn is_ok(&self) -> bool {
        self.is(|course| course.ok)
    }

    fn has_ended(&self) -> bool {
        self.is(|course| course.ended)
    }

    fn is_sent(&self) -> bool {
        let asks = self.course.lock().expect("nobody panics here").asks;
        // What has been answered was sent.
        self.is(|course| course.ended)
            || asks.is_some_and(|(node, before)| {
                let (taken, given) = self.shared.carried(node);
                given > before && given == taken
            })
    }
}

impl Shared {
    /// How many bytes for a node were taken from clients of this group, and how many it was given.
    fn carried(&self, node: NodeId) -> (u64, u64) {
        let direction = Direction {
            from: Endpoint::Clients(self.group),
            to: Endpoint::Node(node),
        };
        let links = self.network.snapshot().links;
        let link = links.get(&direction).cloned().unwrap_or_default();
        (link.bytes_in, link.bytes_out)
    }

    fn client(&self, node: NodeId, turn: usize, deadline: Duration) -> Box<dyn Client> {
        self.target.client(ClientConfig {
            dial: self.dial.clone(),
            group: self.group,
            follow: Follow::Pinned(node),
            turn,
            deadline,
            patient: false,
            aimed: true,
            session: None,
        })
    }
}

impl nemesis::Asks for Asks {
    fn ask(&self, step: usize, ask: &Ask, nodes: &[NodeId]) -> Arc<dyn nemesis::Asked> {
        let course = Arc::new(Mutex::new(Course::default()));
        let asked = Asked {
            shared: self.shared.clone(),
            course: course.clone(),
        };
        let slot = self.first_slot + step as u64;
        let task = Task {
            shared: self.shared.clone(),
            course,
            slot,
            slots: self.slots,
            begun: self.begun[&step].clone(),
            ask: ask.clone(),
            nodes: nodes.to_vec(),
        };
        let mut tasks = self.tasks.lock().expect("nobody panics here");
        tasks.spawn(task.work());
        Arc::new(asked)
    }

    fn acknowledged(&self, node: NodeId) -> u64 {
        self.shared.acknowledged.of(node)
    }
}

/// Carries one out, again and again where that is asked for.
struct Task {
    shared: Arc<Shared>,
    course: Arc<Mutex<Course>>,
    slot: u64,
    slots: u64,
    begun: Arc<AtomicU64>,
    ask: Ask,
    nodes: Vec<NodeId>,
}

impl Task {
    async fn work(self) {
        let deadline = self.ask.deadline_ms.map_or(DEADLINE, Duration::from_millis);
        let turn = usize::try_from(self.slot).unwrap_or_default();
        let mut clients: BTreeMap<NodeId, Box<dyn Client>> = BTreeMap::new();
        for &node in self.nodes.iter().cycle() {
            // A client and a value of its own for each: numbered by slots, as those of the workload are.
            let number = self.slot + 1 + self.begun.fetch_add(1, Ordering::Relaxed) * self.slots;
            let id = ClientId::from(number);
            let call = match self.ask.operation {
                Operation::Read => Call::Read,
                Operation::Delete => Call::Delete,
                Operation::Write => Call::Write(Value::try_from(number).unwrap_or(Value::MAX)),
            };
            let client = clients
                .entry(node)
                .or_insert_with(|| self.shared.client(node, turn, deadline));
            let (_, before) = self.shared.carried(node);
            let recorder = &self.shared.recorder;
            let ticket = recorder.invoke(id, Some(node), &self.ask.key, call);
            self.set(|course| course.asks = Some((node, before)));
            let answer = client.perform(&self.ask.key, call).await;
            let outcome = answer.outcome;
            recorder.complete(ticket, Some(answer.node), outcome, answer.at, answer.error);
            self.shared.acknowledged.count(answer.node, call, outcome);
            let ok = matches!(outcome, Outcome::Ok(_));
            if ok || !self.ask.until_ok {
                self.set(|course| (course.ended, course.ok) = (true, ok));
                return;
            }
            if outcome == Outcome::Unknown {
                client.succeed(id);
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    fn set(&self, change: impl FnOnce(&mut Course)) {
        change(&mut self.course.lock().expect("nobody panics here"));
    }
}
