//! What a run plays on: children, network and nemesis, set up and put in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Setup;
use super::asks::{Acknowledged, Asks, With};
use super::clients::{Fleet, Now};
use super::context::RunContext;
use super::decoy::{double_everything, patience, planted};
use super::inspect::Inspector;
use super::sessions::Tally;
use super::target;
use crate::cluster::{ChildState, Cluster, ClusterConfig};
use crate::fault::NodeId;
use crate::fault::defects::Place;
use crate::journal::{Event, Links, TokenFile};
use crate::nemesis::{self, Nemesis, Order, Parties, Went};
use crate::oracle::blame::{self, Blame};
use crate::oracle::exit;
use crate::proxy::{Guard, Level, Network, NetworkConfig, Route};
use crate::target::Ready;
use crate::testbed::{Testbed, TestbedError};
use crate::wire::metadata::Token;

/// The first leader must be there by then.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
/// Orders wait here while the nemesis starts or ends a child.
const ORDERS: usize = 64;

/// What the nemesis could not bring back.
pub(super) enum Loss {
    /// A node that ended when it was started on the disk that it had left, and why: it is to blame for that.
    Died(NodeId, String),
    /// What the bench failed in, which accuses nobody.
    Failed(String),
}

/// Children, network and nemesis.
pub(super) struct Stage {
    pub(super) cluster: Arc<Cluster>,
    pub(super) nodes: Vec<NodeId>,
    pub(super) fleet: Fleet,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) nemesis: Option<tokio::task::JoinHandle<()>>,
    /// Tells the nemesis that somebody holds the run.
    pub(super) held: watch::Sender<bool>,
    pub(super) lost: mpsc::UnboundedReceiver<Loss>,
    /// Whom the plan's steps ask.
    pub(super) asks: Arc<Asks>,
    /// Whether the plan's steps are over.
    pub(super) steps_over: watch::Receiver<bool>,
    /// Whether something was not brought back: what the cluster does then proves nothing against it.
    pub(super) unhealed: bool,
    pub(super) exits_seen: usize,
    pub(super) inspector: Inspector,
    pub(super) inspecting: tokio::task::JoinHandle<()>,
    /// Whether the nodes carry a defect that counts.
    pub(super) defect: bool,
    /// For whoever wants to call the nodes, for as long as they live.
    _token: Option<TokenFile>,
    /// A decoy of the network, for as long as the run.
    _decoy: Option<Guard>,
    pub(super) network: Arc<Network>,
    /// Last, so that the links outlive whoever asks them; and the children with it.
    pub(super) testbed: Testbed,
}

impl Stage {
    /// Starts network and children, elects the first leader and gives the nemesis its plan.
    pub(super) async fn set(setup: &Setup, context: &RunContext) -> Result<Stage, String> {
        let Setup {
            resolved, direct, ..
        } = setup;
        let nodes = resolved.scenario.node_ids();
        let place = planted(resolved);
        let pinned = u32::try_from(nodes.len()).expect("there are at most 9 nodes");
        // What steps ask for has links of its own, so that it can be seen when it has been sent.
        let steps = (!resolved.plan.steps.is_empty()).then_some(pinned + 1);
        let groups: Vec<u32> = (0..=pinned).chain(steps).collect();
        let network = NetworkConfig {
            client_groups: groups.iter().copied().collect(),
            client_level: Level::Messages,
            seed: resolved.seed,
            ..NetworkConfig::default()
        };
        let words = |e: TestbedError| format!("could not {e}");
        let target = target::of(setup, context.host.shortages())?;
        let token_file = target.token().and_then(|token| keep_token(token, context));
        let mut cluster = ClusterConfig::new(context.dir.clone(), target.clone());
        cluster.shortages = context.host.shortages().clone();
        cluster.equipment = target::equipment(setup);
        if let Some(within) = target.ready_within() {
            cluster.ready_deadline = within;
        }
        let testbed = Testbed::new(network, cluster).map_err(words)?;
        let voters = resolved.scenario.voter_ids();
        let started = testbed.start(&nodes, &voters, LEADER_WITHIN).await;
        let ready = started.map_err(words)?;
        let (cluster, network) = (testbed.cluster.clone(), testbed.network.clone());
        context.watch.look(&cluster);

        let reach = |group: u32, ready: &Ready| {
            if *direct {
                ready.at.clients
            } else {
                network.address(Route::clients(group, ready.id))
            }
        };
        let dial = |group: u32| ready.iter().map(|r| (r.id, reach(group, r))).collect();
        let dial = groups.iter().map(|&group| (group, dial(group)));
        let dial: BTreeMap<u32, BTreeMap<NodeId, SocketAddr>> = dial.collect();
        let acknowledged = Acknowledged::default();
        let fleet = Fleet {
            seed: resolved.seed,
            scenario: resolved.scenario.clone(),
            dial: dial.clone(),
            target: target.clone(),
            recorder: context.recorder.clone(),
            now: Now::of(&resolved.scenario),
            patience: patience(place),
            tally: Tally::default(),
            acknowledged: acknowledged.clone(),
        };
        let group = steps.unwrap_or_default();
        let asks = With {
            group,
            dial: dial.get(&group).cloned().unwrap_or_default(),
            target,
            recorder: context.recorder.clone(),
            network: network.clone(),
            acknowledged,
        };
        let asks = Arc::new(Asks::of(&resolved.scenario, asks));
        let (tell_over, steps_over) = watch::channel(false);
        let (tell_lost, lost) = mpsc::unbounded_channel();
        let nemesis = Nemesis::new(
            cluster.clone(),
            network.clone(),
            context.recorder.clone(),
            Parties {
                nodes: nodes.clone(),
                voters,
                groups: groups.clone(),
            },
            resolved.plan.clone(),
            logs_deeds(context, nodes.clone(), tell_lost, tell_over),
        );
        let nemesis = nemesis.asking(asks.clone());
        let (held, is_held) = watch::channel(false);
        let nemesis = nemesis
            .held_by(is_held)
            .kept_by(keeps(setup, context))
            .promised(resolved.promised());
        let (orders, asked) = mpsc::channel(ORDERS);
        let nemesis = Some(tokio::spawn(nemesis.work(asked)));
        let inspector = Inspector::default();
        let defect = place == Some(Place::Node);
        let inspecting = tokio::spawn(inspector.clone().work(cluster.clone(), defect));
        let decoy = (place == Some(Place::Network)).then(|| double_everything(&network, &nodes));
        Ok(Stage {
            cluster,
            nodes,
            fleet,
            orders,
            nemesis,
            held,
            lost,
            asks,
            steps_over,
            unhealed: false,
            exits_seen: 0,
            inspector,
            inspecting,
            defect,
            _token: token_file,
            _decoy: decoy,
            network,
            testbed,
        })
    }

    /// Whether a node has a child that lives.
    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        let view = self.cluster.view(node);
        view.is_some_and(|view| view.state != ChildState::Dead)
    }

    /// Asks the nemesis for something.
    pub(super) async fn order(&self, order: Order) {
        // A nemesis that is gone has taken everything out.
        let _ = self.orders.send(order).await;
    }

    /// Takes every fault out and waits until it is.
    pub(super) async fn heal(&mut self) {
        self.order(Order::End).await;
        // Whoever gives up waiting has not ended it: it may be asked for again, and stays until it is gone.
        if let Some(nemesis) = self.nemesis.as_mut() {
            // One that panicked has dropped its guards, and the panic hook has spoken.
            let _ = nemesis.await;
        }
        self.nemesis = None;
    }

    /// A child that ended by itself, or when it was started again, is a finding, once. What the bench or its host failed
    /// in is none.
    pub(super) fn note_losses(&mut self, context: &RunContext) {
        let exits = self.cluster.exits();
        for exit in exits.iter().skip(self.exits_seen) {
            if let Blame::Bench(why) = blame::of_end(exit, context.host.oom_kills()) {
                self.unhealed = true;
                context.bench_error(why);
                continue;
            }
            context.found(exit::by_itself(exit));
        }
        self.exits_seen = exits.len();
        while let Ok(loss) = self.lost.try_recv() {
            match loss {
                Loss::Died(node, why) => context.found(exit::not_back(node, why)),
                Loss::Failed(why) => {
                    self.unhealed = true;
                    context.bench_error(why);
                }
            }
        }
    }
}

/// Keeps the token where only this user can read it. The run itself does not need the file.
fn keep_token(token: &Token, context: &RunContext) -> Option<TokenFile> {
    let kept = TokenFile::write(&context.dir, token);
    let failed = |error| {
        context.log.say(format!(
            "the token was not kept, so nobody but this run can call its nodes: {error}"
        ));
    };
    kept.map_err(failed).ok()
}

/// Keeps the plan as it goes in the run's folder, once somebody has a part in it.
fn keeps(setup: &Setup, context: &RunContext) -> nemesis::Keeper {
    let (kept, log) = (context.kept.clone(), context.log.clone());
    let resolved = setup.resolved.clone();
    Box::new(move |went| {
        let Went { plan, lasted, over } = went;
        let went = resolved.clone().as_it_went(plan, lasted, over);
        if let Err(error) = kept.keep(went) {
            log.say(format!(
                "what was done by hand was not written down: {error}"
            ));
        }
    })
}

/// Logs what the nemesis does, and what follows from it for the links.
fn logs_deeds(
    context: &RunContext,
    nodes: Vec<NodeId>,
    lost: mpsc::UnboundedSender<Loss>,
    steps_over: watch::Sender<bool>,
) -> nemesis::Listener {
    let log = context.log.clone();
    let links = Mutex::new(Links::new(nodes));
    Box::new(move |event| {
        let loss = match &event {
            Event::NodeLost { node, why } => Some(Loss::Died(*node, why.clone())),
            Event::BenchError { text } => Some(Loss::Failed(text.clone())),
            _ => None,
        };
        if let Event::StepsOver { .. } = event {
            steps_over.send_replace(true);
        }
        let changed = links
            .lock()
            .expect("nobody panics while listing")
            .after(&event);
        log.log(event);
        changed.into_iter().for_each(|event| log.log(event));
        if let Some(loss) = loss {
            // The run that does not listen any more is over.
            let _ = lost.send(loss);
        }
    })
}
