//! Drives the logical clients: one task each, one operation at a time, paced, recorded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use checkers::history::{Call, ClientId, Outcome};
use checkers::types::{self, Asked, DataType, Datum};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asks::Acknowledged;
use super::sessions::{self, Tally};
use crate::journal::Load;
use crate::recorder::Recorder;
use crate::scenario::Scenario;
use crate::target::client::{ClientConfig, Follow, MOST_DEADLINES};
use crate::target::protocol::UNUSABLE;
use crate::target::{self, Asks, Target};
use crate::workload::{Generator, Keys, Mix, Typed};

/// Whether clients may begin another operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// They may.
    Open,
    /// They wait.
    Held,
    /// They end, when the operation that they are in has ended.
    Closed,
}

/// An operation that has no answer after this long is given up.
pub(super) const DEADLINE: Duration = Duration::from_millis(1_000);
/// No operation takes longer: those of a session are asked for again.
pub(super) const LONGEST: Duration = DEADLINE.saturating_mul(MOST_DEADLINES);
/// A client that was refused waits this long before it asks again.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Clients by their way of finding a node; each has its own links.
pub(super) fn follow(slot: u32, nodes: &[u64], clients: u32) -> Follow {
    // One is pinned to each node, the rest follow the leader; somebody always follows.
    match nodes.get(slot as usize) {
        Some(node) if u64::from(clients) > nodes.len() as u64 => Follow::Pinned(*node),
        _ => Follow::Leader,
    }
}

/// Everything that a client task needs.
pub(super) struct Fleet {
    /// The run's seed.
    pub(super) seed: u64,
    /// The recipe.
    pub(super) scenario: Scenario,
    /// Where clients of a group reach each node: group 0 follows the leader, group i is pinned to node i.
    pub(super) dial: BTreeMap<u32, BTreeMap<u64, SocketAddr>>,
    /// Whose clients they are.
    pub(super) target: Arc<dyn Target>,
    /// The history.
    pub(super) recorder: Arc<Recorder>,
    /// How much is asked for now.
    pub(super) now: Now,
    /// How long a client of the workload waits for an answer.
    pub(super) patience: Duration,
    /// What became of the writes in sessions.
    pub(super) tally: Tally,
    /// How many writes each node has acknowledged.
    pub(super) acknowledged: Acknowledged,
}

/// More a second than any client can have answered.
const MOST_A_SECOND: u32 = 1_000_000;
/// As many contended keys are none.
const MOST_CONTENDED: u32 = 1_000;

/// How much is asked for now; a person changes it while the run goes on. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Now {
    load: watch::Sender<Load>,
    /// The keys of the workload, those among them that are contended no more.
    keys: Arc<Mutex<Keys>>,
    most_clients: u32,
}

impl Now {
    /// What a scenario begins with.
    pub(super) fn of(scenario: &Scenario) -> Now {
        let load = Load {
            rate: scenario.rate,
            clients: scenario.clients,
            contended: scenario.keys.contended,
        };
        Now {
            load: watch::Sender::new(load),
            keys: Arc::new(Mutex::new(scenario.keys)),
            most_clients: scenario.clients,
        }
    }

    /// Asks for so much from now on; gives how much it will be.
    pub(super) fn ask_for(&self, load: Load) -> Load {
        let load = Load {
            rate: load.rate.clamp(1, MOST_A_SECOND),
            clients: load.clients.clamp(1, self.most_clients.max(1)),
            contended: load.contended.clamp(1, MOST_CONTENDED),
        };
        let mut keys = self.keys.lock().expect("nobody panics while counting");
        keys.contended = keys.contended.max(load.contended);
        self.load.send_replace(load);
        load
    }

    /// Every key that the workload has asked for, or may have.
    pub(super) fn keys(&self) -> Keys {
        *self.keys.lock().expect("nobody panics while counting")
    }
}

impl Fleet {
    /// Starts every client. They end when the gate closes, or when the set is dropped, which leaves their operations
    /// open.
    pub(super) fn start(&self, gate: &watch::Receiver<Gate>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let scenario = Arc::new(self.scenario.clone());
        for slot in 0..self.scenario.clients {
            tasks.spawn(drive(
                self.client(slot),
                scenario.clone(),
                self.recorder.clone(),
                gate.clone(),
            ));
        }
        tasks
    }

    /// The client of that slot; slots beyond the scenario's clients follow the leader, and serve the bench itself.
    pub(super) fn client(&self, slot: u32) -> Client {
        let scenario = &self.scenario;
        let nodes = scenario.node_ids();
        let follow = if slot < scenario.clients {
            follow(slot, &nodes, scenario.clients)
        } else {
            Follow::Leader
        };
        self.client_by(slot, follow)
    }

    /// The bench's own client, after so many others of it, which asks this node only.
    pub(super) fn own_at(&self, node: u64, before: u32) -> Client {
        let mut client = self.client_by(self.scenario.clients, Follow::Pinned(node));
        client.id += client.slots * ClientId::from(before);
        client
    }

    fn client_by(&self, slot: u32, follow: Follow) -> Client {
        let scenario = &self.scenario;
        let group = match follow {
            Follow::Pinned(node) => u32::try_from(node).expect("a node id is at most 9"),
            Follow::Leader => 0,
        };
        let slots = scenario.slots();
        // The bench's own client is never impatient: what it is not answered is a finding.
        let own = slot >= scenario.clients;
        let deadline = if own { DEADLINE } else { self.patience };
        let id = ClientId::from(slot) + 1;
        let keeps = !own && follow == Follow::Leader && sessions::keeps(self.seed, slot);
        let config = ClientConfig {
            dial: self.dial[&group].clone(),
            group,
            follow,
            turn: slot as usize,
            deadline,
            patient: own,
            aimed: false,
            session: keeps.then_some(id),
        };
        Client {
            id,
            slots: ClientId::from(slots),
            slot,
            asks: self.target.client(config),
            tally: self.tally.clone(),
            acknowledged: self.acknowledged.clone(),
            draws: match self.target.asks_for() {
                None => Draws::Register(Generator::new(
                    self.seed,
                    slot,
                    slots,
                    scenario.keys,
                    scenario.mix,
                )),
                Some(Asks { of, keys }) => {
                    let keys = keys.then_some(scenario.keys.contended);
                    let typed = Typed::new(of, self.seed, slot, slots, keys);
                    Draws::Typed(of, typed.expect("no other type is tested"))
                }
            },
            load: self.now.load.subscribe(),
        }
    }
}

/// One logical client after the other in one slot.
pub(super) struct Client {
    id: ClientId,
    slots: ClientId,
    slot: u32,
    asks: Box<dyn target::Client>,
    tally: Tally,
    acknowledged: Acknowledged,
    draws: Draws,
    load: watch::Receiver<Load>,
}

/// What draws a client's operations.
enum Draws {
    Register(Generator),
    Typed(&'static dyn DataType, Typed),
}

impl Client {
    /// Carries out one operation and records it.
    pub(super) async fn perform(&mut self, recorder: &Recorder, key: &str, call: Call) -> Outcome {
        let ticket = recorder.invoke(self.id, Some(self.asks.first_node()), key, call);
        let answer = self.asks.perform(key, call).await;
        let outcome = answer.outcome;
        recorder.complete(ticket, Some(answer.node), outcome, answer.at, answer.error);
        self.acknowledged.count(answer.node, call, outcome);
        if self.asks.has_session() && call != Call::Read {
            self.tally.count(outcome, answer.repeats);
        }
        let seen = match (outcome, call) {
            (Outcome::Ok(value), Call::Read) => Some(value),
            (Outcome::Ok(_), Call::Write(value) | Call::Cas { new: value, .. }) => {
                Some(Some(value))
            }
            (Outcome::Ok(_), Call::Delete) => Some(None),
            _ => None,
        };
        if let (Draws::Register(generator), Some(seen)) = (&mut self.draws, seen) {
            generator.saw(key, seen);
        }
        if outcome == Outcome::Unknown {
            self.give_way();
        }
        outcome
    }

    /// The same for an operation of another data type.
    pub(super) async fn ask(&mut self, recorder: &Recorder, asked: &Asked) -> types::Outcome {
        let ticket = recorder.ask(self.id, Some(self.asks.first_node()), asked);
        let answer = self.asks.ask(asked).await;
        let Draws::Typed(of, _) = &self.draws else {
            unreachable!("a register is not asked so");
        };
        let (outcome, error) = fitting(*of, asked, answer.outcome, answer.error);
        recorder.answered(ticket, Some(answer.node), asked, &outcome, error);
        if let Draws::Typed(_, typed) = &mut self.draws {
            typed.saw(asked, &outcome);
        }
        if outcome == types::Outcome::Unknown {
            self.give_way();
        }
        outcome
    }

    /// What the operation may still do is open for ever, so its client never acts again: a new one takes over.
    fn give_way(&mut self) {
        self.id += self.slots;
        self.asks.succeed(self.id);
        if let Draws::Typed(_, typed) = &mut self.draws {
            typed.succeed();
        }
    }

    /// Draws the next operation and carries it out; gives whether it was refused.
    async fn step(&mut self, recorder: &Recorder, contended: u32, mix: Mix) -> bool {
        match &mut self.draws {
            Draws::Register(generator) => {
                generator.set_contended(contended);
                generator.set_mix(mix);
                let (key, call) = generator.next_call();
                let outcome = self.perform(recorder, &key, call).await;
                outcome == Outcome::Failed && !matches!(call, Call::Cas { .. })
            }
            Draws::Typed(_, typed) => {
                typed.set_keys(contended);
                let asked = typed.next_asked();
                self.ask(recorder, &asked).await == types::Outcome::Failed
            }
        }
    }

    /// An operation of another data type by which one sees whether the system serves.
    pub(super) fn probe(&mut self) -> Option<Asked> {
        match &mut self.draws {
            Draws::Register(_) => None,
            Draws::Typed(_, typed) => Some(typed.probe()),
        }
    }

    /// Whether it asks for operations of another data type than register and list.
    pub(super) fn is_typed(&self) -> bool {
        matches!(self.draws, Draws::Typed(..))
    }

    /// What is asked at the end, when everything is healed.
    pub(super) fn last(&self) -> Vec<Asked> {
        match &self.draws {
            Draws::Register(_) => Vec::new(),
            Draws::Typed(_, typed) => typed.last(),
        }
    }

    /// From one operation to the next, at the rate of now.
    fn period(&self) -> Duration {
        let load = self.load.borrow();
        Duration::from_secs(1) * load.clients / load.rate.max(1)
    }

    /// A write of a value that nobody else writes; `None` where no register is tested.
    pub(super) fn fresh_write(&mut self) -> Option<Call> {
        match &mut self.draws {
            Draws::Register(generator) => Some(generator.fresh_write()),
            Draws::Typed(..) => None,
        }
    }
}

/// The outcome, unless the answer cannot be one to what was asked: then nobody knows what was done, and what was read is
/// not guessed.
fn fitting(
    of: &dyn DataType,
    asked: &Asked,
    outcome: types::Outcome,
    error: Option<String>,
) -> (types::Outcome, Option<String>) {
    let misfit = match &outcome {
        types::Outcome::Ok(Datum::Nil) if !asked.reads() => asked.misfit(of, &asked.with),
        types::Outcome::Ok(answer) => asked.misfit(of, answer),
        types::Outcome::Failed | types::Outcome::Unknown => None,
    };
    let Some(misfit) = misfit else {
        return (outcome, error);
    };
    let why = format!("{UNUSABLE}: {misfit}");
    tracing::error!("{why}");
    match asked.reads() {
        true => (types::Outcome::Failed, Some(why)),
        false => (types::Outcome::Unknown, Some(why)),
    }
}

async fn drive(
    mut client: Client,
    scenario: Arc<Scenario>,
    recorder: Arc<Recorder>,
    mut gate: watch::Receiver<Gate>,
) {
    let begun = Instant::now();
    // Spread over the first period, so that the clients do not come in bursts.
    let share =
        client.period() / u32::try_from(client.slots).expect("there are at most 1001 slots");
    let mut next = Instant::now() + share * client.slot;
    loop {
        if !gate
            .wait_for(|gate| *gate != Gate::Held)
            .await
            .is_ok_and(|gate| *gate == Gate::Open)
        {
            return;
        }
        let Load {
            clients, contended, ..
        } = *client.load.borrow_and_update();
        tokio::select! {
            biased;
            _ = gate.changed() => continue,
            // It may be this client's turn to stand by, or to ask again.
            Ok(()) = client.load.changed() => continue,
            () = tokio::time::sleep_until(next), if client.slot < clients => {}
        }
        let mix = scenario.mix_at(begun.elapsed());
        let refused = client.step(&recorder, contended, mix).await;
        let pause = match refused {
            true => client.period().max(AFTER_REFUSAL),
            false => client.period(),
        };
        // A client that fell behind does not catch up in a burst.
        next = (next + pause).max(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_is_pinned_to_each_node_and_somebody_follows_the_leader() {
        let ways = |clients| {
            (0..clients)
                .map(|slot| follow(slot, &[1, 2, 3], clients))
                .collect::<Vec<_>>()
        };
        let pinned = [Follow::Pinned(1), Follow::Pinned(2), Follow::Pinned(3)];
        assert_eq!(ways(5)[..3], pinned);
        assert_eq!(ways(5)[3..], [Follow::Leader; 2]);
        assert_eq!(ways(3), [Follow::Leader; 3]);
    }

    #[test]
    fn what_is_asked_for_by_hand_stays_within_what_there_is_and_no_key_is_forgotten() {
        let calm = Scenario::find("calm").expect("it is built in");
        let (now, most, contended) = (Now::of(&calm), calm.clients, calm.keys.contended);
        let ask = |rate, clients, contended| {
            let load = now.ask_for(Load {
                rate,
                clients,
                contended,
            });
            (load.rate, load.clients, load.contended)
        };
        assert_eq!(ask(0, 0, 0), (1, 1, 1));
        assert_eq!(ask(7, most + 9, contended + 4), (7, most, contended + 4));
        assert_eq!(ask(7, 2, 1), (7, 2, 1));
        assert_eq!(
            now.keys().contended,
            contended + 4,
            "they are read at the end, too"
        );
    }
}
