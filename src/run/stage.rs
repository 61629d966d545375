//! What a run plays on: children, network and nemesis, set up and put in order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clients::{Fleet, Now};
use super::decoy::{double_everything, patience, planted};
use super::desk::Desk;
use super::ending::{Ending, FaultSpan};
use super::fitness;
use super::folder::TokenFile;
use super::inspect::Inspector;
use super::links::Links;
use super::notice::Notice;
use super::{Setup, after};
use crate::cluster::{ChildState, Cluster, ClusterConfig, ClusterError, Ready, UpstreamHook};
use crate::fault::defects::Place;
use crate::fault::{Need, NodeId};
use crate::nemesis::{self, Deed, Nemesis, Order, Parties, Remains};
use crate::proxy::{Guard, Level, MAX_NODE, Network, NetworkConfig, Route};
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
    /// Last, so that the links outlive the children.
    pub(super) network: Arc<Network>,
}

impl Stage {
    /// Starts network and children, elects the first leader and gives the nemesis its plan.
    pub(super) async fn set(setup: &Setup, desk: &Desk) -> Result<Stage, String> {
        let Setup {
            resolved, direct, ..
        } = setup;
        let nodes = resolved.scenario.node_ids();
        let place = planted(resolved);
        let groups: Vec<u32> =
            (0..=u32::try_from(nodes.len()).expect("there are at most 9 nodes")).collect();
        let token = Token::random().map_err(|e| format!("could not {e}"))?;
        let config = NetworkConfig {
            token: Some(token.clone()),
            client_groups: groups.iter().copied().collect(),
            client_level: Level::Messages,
            seed: resolved.seed,
            shortages: desk.host.shortages().clone(),
            ..NetworkConfig::default()
        };
        let network = Arc::new(Network::start(config).map_err(|e| format!("could not {e}"))?);
        let words = |e: ClusterError| format!("could not {e}");
        let config = ClusterConfig {
            token: Some(token.clone()),
            ..cluster_config(setup, desk, &network)
        };
        let cluster = Arc::new(Cluster::new(config).map_err(words)?);
        let ready = cluster.start_all(&nodes).await.map_err(words)?;
        let token_file = keep_token(&token, desk);
        let voters = resolved.scenario.voter_ids();
        cluster.initialize(&voters).await.map_err(words)?;
        cluster
            .wait_for_leader(&voters, LEADER_WITHIN)
            .await
            .map_err(words)?;
        desk.watch.look(&cluster);

        let reach = |group: u32, ready: &Ready| {
            if *direct {
                ready.raft
            } else {
                network.address(Route::clients(group, ready.id))
            }
        };
        let dial = groups.iter().map(|&group| {
            (
                group,
                ready.iter().map(|r| (r.id, reach(group, r))).collect(),
            )
        });
        let fleet = Fleet {
            seed: resolved.seed,
            scenario: resolved.scenario.clone(),
            dial: dial.collect(),
            token,
            recorder: desk.recorder.clone(),
            now: Now::of(&resolved.scenario),
            patience: patience(place),
            shortages: desk.host.shortages().clone(),
        };
        let (tell_lost, lost) = mpsc::unbounded_channel();
        let nemesis = Nemesis::new(
            cluster.clone(),
            network.clone(),
            desk.recorder.clone(),
            Parties {
                nodes: nodes.clone(),
                voters,
                groups: groups.clone(),
            },
            resolved.plan.clone(),
            deed_teller(setup, desk, nodes.clone(), tell_lost),
        );
        let (held, is_held) = watch::channel(false);
        let nemesis = nemesis.held_by(is_held);
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
            unhealed: false,
            exits_seen: 0,
            inspector,
            inspecting,
            defect,
            _token: token_file,
            _decoy: decoy,
            network,
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
    pub(super) fn note_losses(&mut self, desk: &Desk, ending: &mut Ending) {
        let exits = self.cluster.exits();
        for exit in exits.iter().skip(self.exits_seen) {
            if let Some(excuse) = fitness::excuse_of_end(exit, &desk.host) {
                self.unhealed = true;
                desk.bench_error(ending, excuse);
                continue;
            }
            let lines: Vec<&str> = exit.log.lines().collect();
            let log = lines[lines.len().saturating_sub(3)..].join(" | ");
            desk.found(
                ending,
                after::finding(
                    "exit",
                    format!("n{} ended by itself ({}): {log}", exit.id, exit.status),
                ),
            );
        }
        self.exits_seen = exits.len();
        while let Ok(loss) = self.lost.try_recv() {
            match loss {
                Loss::Died(node, why) => desk.found(
                    ending,
                    after::finding("exit", format!("n{node} did not come back: {why}")),
                ),
                Loss::Failed(why) => {
                    self.unhealed = true;
                    desk.bench_error(ending, why);
                }
            }
        }
    }
}

/// Keeps the token where only this user can read it. The run itself does not need the file.
fn keep_token(token: &Token, desk: &Desk) -> Option<TokenFile> {
    let kept = TokenFile::write(&desk.dir, token);
    let failed = |error| {
        desk.teller.say(format!(
            "the token was not kept, so nobody but this run can call its nodes: {error}"
        ));
    };
    kept.map_err(failed).ok()
}

/// Each node dials its peers' listeners of its own in the proxy, those of nodes that may come later too; the proxy is
/// told where each node listens.
fn cluster_config(setup: &Setup, desk: &Desk, network: &Arc<Network>) -> ClusterConfig {
    let ids = 1..=MAX_NODE;
    let mut config = ClusterConfig::new(desk.dir.clone());
    config.shortages = desk.host.shortages().clone();
    // The links outlive the children, and are not kept by them.
    let links = Arc::downgrade(network);
    config.upstream = UpstreamHook::new(move |node, address| {
        if let Some(links) = links.upgrade() {
            links.set_upstream(node, address);
        }
    });
    let scenario = &setup.resolved.scenario;
    scenario.reads().clone_into(&mut config.reads);
    if let Some(guard) = scenario.vote_guard {
        config.more_flags = vec![
            "--vote-guard".into(),
            if guard { "on" } else { "off" }.into(),
        ];
    }
    let set = |timing: &mut Duration, ms: Option<u64>| {
        if let Some(ms) = ms {
            *timing = Duration::from_millis(ms);
        }
    };
    set(&mut config.timings.heartbeat, scenario.timings.heartbeat_ms);
    set(
        &mut config.timings.election_min,
        scenario.timings.election_min_ms,
    );
    set(
        &mut config.timings.election_max,
        scenario.timings.election_max_ms,
    );
    let timings = &scenario.timings;
    let count = |own: &mut u64, other: Option<u64>| *own = other.unwrap_or(*own);
    count(&mut config.timings.snapshot_every, timings.snapshot_every);
    count(&mut config.timings.keep_logs, timings.keep_logs);
    count(&mut config.timings.lag, timings.lag);
    if let Some(bytes) = timings.snapshot_chunk {
        let flags = ["--snapshot-chunk".into(), bytes.to_string().into()];
        config.more_flags.extend(flags);
    }
    scenario.append().clone_into(&mut config.append);
    // A person at the screen may cut a power at any time.
    let mut planned = setup.resolved.plan.kinds().into_iter();
    config.power_loss = setup.hold || planned.any(|kind| kind.need() == Need::UnsyncedDisk);
    match planted(&setup.resolved) {
        Some(Place::Node) => config.defect.clone_from(&setup.resolved.defect),
        Some(Place::Flags) => {
            config.timings.snapshot_every = 20;
            config.timings.keep_logs = 5;
            config.timings.lag = 10;
        }
        _ => {}
    }
    config.advertise = ids
        .clone()
        .map(|id| (id, network.address(Route::clients(0, id))))
        .collect();
    let peers = |from: NodeId| {
        let others = ids.clone().filter(move |&to| to != from);
        others
            .map(|to| (to, network.address(Route::nodes(from, to))))
            .collect()
    };
    config.peers = ids.clone().map(|from| (from, peers(from))).collect();
    config
}

/// Turns the nemesis' deeds into notices, and keeps when which fault was in.
fn deed_teller(
    setup: &Setup,
    desk: &Desk,
    nodes: Vec<NodeId>,
    lost: mpsc::UnboundedSender<Loss>,
) -> nemesis::Listener {
    let (teller, spans, recorder) = (
        desk.teller.clone(),
        desk.spans.clone(),
        desk.recorder.clone(),
    );
    let links = Mutex::new(Links::new(nodes));
    let (kept, resolved) = (desk.kept.clone(), setup.resolved.clone());
    Box::new(move |deed| match deed {
        Deed::Done { plan, lasted, over } => {
            let went = resolved.clone().as_it_went(plan, lasted, over);
            if let Err(error) = kept.keep(&went) {
                teller.say(format!(
                    "what was done by hand was not written down: {error}"
                ));
            }
        }
        Deed::In(id, fault, by) => {
            let span = FaultSpan {
                fault: fault.clone(),
                in_ns: recorder.now_ns(),
                out_ns: None,
                remains: Remains::Perhaps,
            };
            spans
                .lock()
                .expect("nobody panics while listing")
                .insert(id, span);
            let changed = links
                .lock()
                .expect("nobody panics while listing")
                .inject(id, fault.clone());
            teller.tell(Notice::FaultIn { id, fault, by });
            changed.into_iter().for_each(|notice| teller.tell(notice));
        }
        Deed::Out(id, fault, by, remains) => {
            if let Some(span) = spans
                .lock()
                .expect("nobody panics while listing")
                .get_mut(&id)
            {
                span.out_ns = Some(recorder.now_ns());
                span.remains = remains;
            }
            let changed = links.lock().expect("nobody panics while listing").heal(id);
            teller.tell(Notice::FaultOut { id, fault, by });
            changed.into_iter().for_each(|notice| teller.tell(notice));
        }
        Deed::Skipped(fault, by, why) => teller.tell(Notice::FaultSkipped { fault, by, why }),
        Deed::Unresolved(fault, by, why) => {
            teller.tell(Notice::FaultUnresolved { fault, by, why });
        }
        Deed::Indeterminate(id, fault, by, why) => {
            if let Some(id) = id {
                // What had no effect was not in, as far as the report goes.
                spans
                    .lock()
                    .expect("nobody panics while listing")
                    .remove(&id);
            }
            teller.tell(Notice::FaultIndeterminate { id, fault, by, why });
        }
        Deed::Missed(text) => teller.say(text),
        Deed::Anchored(text) => teller.tell(Notice::Anchor { text }),
        Deed::Plan(on) => teller.tell(Notice::Nemesis { on }),
        Deed::Lost(node, why) => {
            // The run that does not listen any more is over.
            let _ = lost.send(Loss::Died(node, why));
        }
        Deed::Failed(why) => {
            let _ = lost.send(Loss::Failed(why));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{ELECTION_MAX_MS, ELECTION_MIN_MS, HEARTBEAT_MS};

    #[test]
    fn a_scenario_is_checked_against_the_timings_that_nodes_have_without_it() {
        let timings = crate::cluster::Timings::default();
        let known = [HEARTBEAT_MS, ELECTION_MIN_MS, ELECTION_MAX_MS].map(Duration::from_millis);
        let own = [
            timings.heartbeat,
            timings.election_min,
            timings.election_max,
        ];
        assert_eq!(own, known);
    }
}
