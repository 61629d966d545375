//! One run, from the first child to the last: the only place where the rooms meet.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use checkers::history::Header;
use checkers::verdict::{Counterexample, Verdict};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::certify;
use super::clients::{DEADLINE, Fleet, Gate};
use super::coverage::Coverage;
use super::decoy::{double_everything, patience, planted};
use super::drill::Drill;
use super::ending::{Ending, FaultSpan};
use super::folder::{self, Teller};
use super::inspect::Inspector;
use super::links::Links;
use super::notice::{Command, Finding, Notice, Phase, Progress, Told};
use super::traces::{self, Said};
use super::watch::Watch;
use super::{Setup, after};
use crate::cluster::{Cluster, ClusterConfig, ClusterError, Ready};
use crate::fault::defects::Place;
use crate::fault::{FaultId, NodeId};
use crate::judge::{Judge, SoFar};
use crate::nemesis::{self, Deed, Nemesis, Order};
use crate::proxy::{Guard, Level, MAX_NODE, Network, NetworkConfig, Route};
use crate::recorder::{self, Recorder};
use crate::scenario::Resolved;

/// How often the verdict so far and the nodes' states are told, where they changed.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// The first leader must be there by then.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
/// Of the screen's queue so many places are kept for notices: more than a run tells while its screen is stuck.
const PLACES_FOR_NOTICES: usize = 1 << 13;
/// Orders wait here while the nemesis starts or ends a child.
const ORDERS: usize = 64;

/// Conducts one run. Every path out of here ends the children first.
pub(super) async fn conduct(
    setup: Setup,
    screen: mpsc::Sender<Told>,
    behind: Arc<AtomicU64>,
    commands: mpsc::Receiver<Command>,
) -> Ending {
    let mut ending = Ending::of(setup.resolved.clone());
    match Desk::open(&setup, screen, behind) {
        Ok((desk, alarm)) => desk.conduct(&setup, alarm, commands, &mut ending).await,
        Err(error) => ending.bench_errors.push(error),
    }
    ending
}

/// Asks the log ids of the answers for their opinion. Reads that promise nothing are not held to it.
fn certified(
    dir: &Path,
    resolved: &Resolved,
    verdict: &Verdict,
    teller: &Teller,
    ending: &mut Ending,
) {
    match certify::certify(dir) {
        Ok(Some(certificate)) => {
            let found = certify::disagreement(&certificate, verdict)
                .filter(|_| resolved.scenario.reads() != "follower-local");
            if let Some(finding) = found {
                teller.tell(Notice::Found {
                    finding: finding.clone(),
                });
                ending.findings.push(finding);
            }
            ending.certificate = Some(certificate.name());
        }
        Ok(None) => {}
        Err(why) => ending.bench_errors.push(why),
    }
}

/// When the operation that fits nowhere was answered.
fn culprit_answered_ns(counterexample: &Counterexample) -> u64 {
    counterexample
        .culprit()
        .map_or(0, |op| op.completed_ns.unwrap_or(op.invoked_ns))
}

/// What records and tells: it exists before the first child and after the last.
struct Desk {
    dir: PathBuf,
    teller: Teller,
    recorder: Arc<Recorder>,
    coverage: Arc<Mutex<Coverage>>,
    judge: Judge,
    spans: Arc<Mutex<BTreeMap<FaultId, FaultSpan>>>,
    watch: Watch,
}

/// Why the workload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its time was over, or somebody asked for an end in order.
    Over,
    /// The judge found a violation, or another oracle a finding that leaves nothing to go on with.
    Alarm,
    /// Somebody asked for an end at once.
    Stopped,
}

impl Desk {
    fn open(
        setup: &Setup,
        screen: mpsc::Sender<Told>,
        behind: Arc<AtomicU64>,
    ) -> Result<(Desk, oneshot::Receiver<Box<Counterexample>>), String> {
        let resolved = &setup.resolved;
        let dir =
            folder::create(&setup.out, &resolved.scenario.name, resolved.seed).map_err(|e| {
                format!(
                    "could not make a folder for the run in {}: {e}",
                    setup.out.display()
                )
            })?;
        let wrong = |e: std::io::Error| format!("could not write in {}: {e}", dir.display());
        let recipe = toml::to_string(resolved).expect("a scenario is plain data");
        fs::write(dir.join("scenario.toml"), recipe).map_err(wrong)?;

        let (ring, alarm) = oneshot::channel();
        let (judge, feed) = Judge::start(Box::new(move |counterexample| {
            // Nobody listens any more where the run is over already; the verdict says the same.
            let _ = ring.send(Box::new(counterexample.clone()));
        }));
        let coverage = Arc::new(Mutex::new(Coverage::default()));
        let counted = coverage.clone();
        let (to_screen, missed) = (screen.clone(), behind.clone());
        let listeners: Vec<recorder::Listener> = vec![
            Box::new(move |event| feed.push(event)),
            Box::new(move |event| {
                counted
                    .lock()
                    .expect("nobody panics while counting")
                    .event(event)
            }),
            Box::new(move |event| {
                // A screen that falls behind loses operations, never what is said about them: notices have their places.
                let full = to_screen.capacity() < PLACES_FOR_NOTICES;
                if full || to_screen.try_send(Told::Event(event.clone())).is_err() {
                    missed.fetch_add(1, Ordering::Relaxed);
                }
            }),
        ];
        let header = Header::register(resolved.seed);
        let recorder =
            Recorder::create(&dir.join("history.jsonl"), &header, listeners).map_err(wrong)?;
        let recorder = Arc::new(recorder);
        let teller =
            Teller::new(&dir, recorder.clone(), coverage.clone(), screen, behind).map_err(wrong)?;
        let watch = Watch::new(teller.clone(), recorder.clone());
        Ok((
            Desk {
                dir,
                teller,
                recorder,
                coverage,
                judge,
                spans: Arc::default(),
                watch,
            },
            alarm,
        ))
    }

    /// The run from its first child to its last word.
    async fn conduct(
        self,
        setup: &Setup,
        alarm: oneshot::Receiver<Box<Counterexample>>,
        mut commands: mpsc::Receiver<Command>,
        ending: &mut Ending,
    ) {
        let resolved = &setup.resolved;
        ending.dir = Some(self.dir.clone());
        self.teller.tell(Notice::Started {
            scenario: resolved.scenario.name.clone(),
            seed: resolved.seed,
            nodes: resolved.scenario.node_ids(),
            seconds: resolved.scenario.seconds,
            rate: resolved.scenario.rate,
            defect: resolved.defect.clone(),
            dir: self.dir.clone(),
        });
        self.phase(Phase::Starting);
        let set = tokio::select! {
            biased;
            () = stopped(&mut commands) => {
                ending.interrupted = true;
                None
            }
            set = Stage::set(setup, &self) => Some(set),
        };
        match set {
            Some(Ok(mut stage)) => {
                let why = self
                    .play(setup, &mut stage, alarm, &mut commands, ending)
                    .await;
                ending.interrupted = why == Why::Stopped;
                if why == Why::Over {
                    tokio::select! {
                        biased;
                        () = stopped(&mut commands) => ending.interrupted = true,
                        () = self.settle(&mut stage, ending) => {}
                    }
                }
                self.strike(stage, ending).await;
            }
            Some(Err(error)) => ending.bench_errors.push(error),
            None => {}
        }
        self.judge(resolved, ending);
    }

    /// The workload, the plan and whatever is asked for, until one of them ends it.
    async fn play(
        &self,
        setup: &Setup,
        stage: &mut Stage,
        mut alarm: oneshot::Receiver<Box<Counterexample>>,
        commands: &mut mpsc::Receiver<Command>,
        ending: &mut Ending,
    ) -> Why {
        let (gate, clients_gate) = watch::channel(Gate::Open);
        let mut clients = stage.fleet.start(&clients_gate);
        let begun = Instant::now();
        stage.order(Order::Begin).await;
        self.phase(Phase::Running);
        let seconds = setup.resolved.scenario.seconds;
        let mut over =
            begun + Duration::from_secs(if seconds == 0 { 366 * 86_400 } else { seconds });
        // What a violation holds, since when; and whether the plan was on before.
        let mut held: Option<(Instant, Guard)> = None;
        let (mut plan_on, mut workload_held) = (true, false);
        let (mut alarmed, mut found) = (false, false);
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let why = loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Stop) | None => break Why::Stopped,
                    Some(Command::Finish) => break Why::Over,
                    Some(Command::HoldWorkload(still)) => {
                        if held.is_none() {
                            gate.send_replace(if still { Gate::Held } else { Gate::Open });
                        }
                        workload_held = still;
                        self.recorder.mark(if still { "workload held" } else { "workload goes on" }.to_owned());
                        self.teller.tell(Notice::Workload { held: still });
                    }
                    Some(Command::GoOn) => if let Some((since, network)) = held.take() {
                        network.heal();
                        over += since.elapsed();
                        gate.send_replace(if workload_held { Gate::Held } else { Gate::Open });
                        stage.order(Order::Plan(plan_on)).await;
                        self.tell_held(false);
                    },
                    Some(Command::Rate(rate)) => {
                        let rate = stage.fleet.set_rate(rate);
                        self.recorder.mark(format!("workload at {rate} operations/s"));
                        self.teller.tell(Notice::Rate { rate });
                    }
                    Some(Command::Inject(fault)) => stage.order(Order::Inject(fault)).await,
                    Some(Command::Heal(id)) => stage.order(Order::Heal(id)).await,
                    Some(Command::HealAll) => stage.order(Order::HealAll).await,
                    Some(Command::Nemesis(on)) => {
                        plan_on = on;
                        if held.is_none() {
                            stage.order(Order::Plan(on)).await;
                        }
                    }
                },
                Ok(counterexample) = &mut alarm, if !alarmed => {
                    alarmed = true;
                    ending.alarm_seconds.get_or_insert(begun.elapsed().as_secs_f64());
                    self.recorder.mark(format!("alarm: {} at #{}", counterexample.key, counterexample.event));
                    self.teller.tell(Notice::Alarm { counterexample });
                    if !setup.hold {
                        break Why::Alarm;
                    }
                    if held.is_none() {
                        held = Some(self.hold(stage, &gate).await);
                    }
                }
                () = tokio::time::sleep_until(over), if held.is_none() => break Why::Over,
                _ = tick.tick() => {
                    self.tell_progress();
                    self.watch.look(&stage.cluster);
                    self.teller.decided(&stage.network.take_decisions());
                    self.note_losses(stage, ending);
                    if let Some(drill) = setup.drill.filter(|&drill| drill != Drill::Screen)
                        && self.judge.so_far().proven_to > 0
                    {
                        drill.panic();
                    }
                    if let Some(finding) = stage.inspector.found() {
                        self.found(ending, finding);
                    }
                    if !ending.findings.is_empty() && !found {
                        found = true;
                        ending.alarm_seconds.get_or_insert(begun.elapsed().as_secs_f64());
                        if !setup.hold {
                            break Why::Alarm;
                        }
                        if held.is_none() {
                            held = Some(self.hold(stage, &gate).await);
                        }
                    }
                }
            }
        };
        // Nobody can be asked anything while the network is held.
        drop(held);
        ending.seconds = begun.elapsed().as_secs_f64();
        gate.send_replace(Gate::Closed);
        if why == Why::Over {
            // Each operation ends within its deadline; what does not is a bug of ours, and stays open in the history.
            let all = async { while clients.join_next().await.is_some() {} };
            if tokio::time::timeout(DEADLINE * 3, all).await.is_err() {
                ending
                    .bench_errors
                    .push("a client did not end its operation within its deadline".to_owned());
            }
        }
        clients.shutdown().await;
        why
    }

    /// Heals everything, and asks the oracles other than the history's.
    async fn settle(&self, stage: &mut Stage, ending: &mut Ending) {
        self.phase(Phase::Healing);
        stage.heal().await;
        self.note_losses(stage, ending);
        if !ending.findings.is_empty() {
            return;
        }
        let nodes = &stage.nodes;
        let scenario = &stage.fleet.scenario;
        let mut client = stage.fleet.client(scenario.clients);
        let asked = async {
            after::converge(&stage.cluster, nodes).await?;
            after::serve(&mut client, &self.recorder, scenario.keys).await?;
            self.phase(Phase::FinalReads);
            let say = |text| self.teller.say(text);
            let (cluster, recorder, keys) = (&stage.cluster, &self.recorder, scenario.keys);
            after::rotate_and_read(cluster, nodes, &mut client, recorder, keys, say).await?;
            after::compare_states(&stage.cluster, nodes).await
        };
        let found = asked.await;
        self.watch.look(&stage.cluster);
        let found = found.err().or_else(|| stage.inspector.found());
        if let Some(finding) = found {
            self.found(ending, finding);
        }
    }

    /// Ends every child, and reads what the nodes' logs say.
    async fn strike(&self, mut stage: Stage, ending: &mut Ending) {
        stage.heal().await;
        self.note_losses(&mut stage, ending);
        stage.inspector.ask(&stage.cluster, stage.defect).await;
        ending.defect = stage.defect.then(|| stage.inspector.counts());
        ending.compared = stage.inspector.compared();
        self.teller.decided(&stage.network.take_decisions());
        self.coverage
            .lock()
            .expect("nobody panics while counting")
            .snapshots(stage.network.snapshots_between_nodes());
        stage.inspecting.abort();
        stage.cluster.end().await;
        self.watch.look(&stage.cluster);
        match traces::replay(&self.dir, &stage.nodes) {
            Said::Explained(events, us) => {
                ending.trace_us = us;
                ending.trace_events = Some(events);
                self.teller
                    .say(format!("consensus: {events} events explained"));
            }
            Said::Found(finding) => self.found(ending, finding),
            Said::Failed(why) => ending.bench_errors.push(why),
        }
        for &node in &stage.nodes {
            let log = self.dir.join("nodes").join(node.to_string()).join("log");
            if let Some(finding) = after::panic_in_log(node, &log) {
                self.found(ending, finding);
            }
        }
    }

    /// The last verdict, and everything that follows from it.
    fn judge(self, resolved: &Resolved, ending: &mut Ending) {
        self.phase(Phase::Judging);
        self.tell_progress();
        self.recorder.close();
        let Desk {
            dir,
            teller,
            recorder,
            coverage,
            judge,
            spans,
            watch,
        } = self;
        let verdict = judge.verdict();
        certified(&dir, resolved, &verdict, &teller, ending);
        if let Verdict::Violation(counterexample) = &verdict {
            ending.beliefs = watch.beliefs_at(culprit_answered_ns(counterexample));
        }
        // Where the cluster never came up nothing happened, and an empty history proves nothing.
        ending.counts = coverage
            .lock()
            .expect("nobody panics while counting")
            .counts();
        let ops = ending.counts.ops;
        ending.verdict = (ops.ok + ops.failed + ops.unknown > 0).then_some(verdict);
        if ending.verdict.as_ref().is_some_and(Verdict::holds) && !ending.interrupted {
            ending.broken_promises = ending.counts.broken_promises(&resolved.scenario.promises);
        }
        ending.faults = spans
            .lock()
            .expect("nobody panics while listing")
            .values()
            .cloned()
            .collect();
        for failure in recorder.failure().into_iter().chain(teller.failure()) {
            ending
                .bench_errors
                .push(format!("could not write in {}: {failure}", dir.display()));
        }
        for text in &ending.bench_errors {
            teller.tell(Notice::BenchError { text: text.clone() });
        }
        teller.tell(Notice::Ended {
            verdict: ending.word(),
            exit: ending.exit(),
            summary: ending.summary(),
        });
        teller.tell(Notice::Phase {
            phase: Phase::Ended,
        });
    }

    fn phase(&self, phase: Phase) {
        self.recorder.mark(format!("phase {phase}"));
        self.teller.tell(Notice::Phase { phase });
    }

    /// Stops everything but the nodes, so that a person can look at them; gives since when, and the network's guard.
    async fn hold(&self, stage: &Stage, gate: &watch::Sender<Gate>) -> (Instant, Guard) {
        let network = stage.network.hold();
        gate.send_replace(Gate::Held);
        stage.order(Order::Plan(false)).await;
        self.tell_held(true);
        (Instant::now(), network)
    }

    fn tell_held(&self, held: bool) {
        let words = if held {
            "a violation holds the network"
        } else {
            "the network goes on"
        };
        self.recorder.mark(words.to_owned());
        self.teller.tell(Notice::Held { held });
    }

    fn tell_progress(&self) {
        let SoFar {
            proven_to,
            open,
            worlds,
            gave_up,
            ..
        } = self.judge.so_far();
        self.teller.tell(Notice::Progress {
            progress: Progress {
                proven_to,
                open,
                worlds,
                gave_up,
            },
        });
    }

    fn found(&self, ending: &mut Ending, finding: Finding) {
        self.teller.tell(Notice::Found {
            finding: finding.clone(),
        });
        ending.findings.push(finding);
    }

    /// A child that ended by itself, or that did not come back, is a finding, once.
    fn note_losses(&self, stage: &mut Stage, ending: &mut Ending) {
        let exits = stage.cluster.exits();
        for exit in exits.iter().skip(stage.exits_seen) {
            let log = exit
                .log
                .lines()
                .rev()
                .take(3)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join(" | ");
            self.found(
                ending,
                after::finding(
                    "exit",
                    format!("n{} ended by itself ({}): {log}", exit.id, exit.status),
                ),
            );
        }
        stage.exits_seen = exits.len();
        while let Ok((node, why)) = stage.lost.try_recv() {
            self.found(
                ending,
                after::finding("exit", format!("n{node} did not come back: {why}")),
            );
        }
    }
}

/// Ends when somebody asks for an end at once; what else is asked for has no effect in this phase.
async fn stopped(commands: &mut mpsc::Receiver<Command>) {
    while !matches!(commands.recv().await, Some(Command::Stop) | None) {}
}

/// Children, network and nemesis.
struct Stage {
    cluster: Arc<Cluster>,
    nodes: Vec<NodeId>,
    fleet: Fleet,
    orders: mpsc::Sender<Order>,
    nemesis: Option<tokio::task::JoinHandle<()>>,
    lost: mpsc::UnboundedReceiver<(NodeId, String)>,
    exits_seen: usize,
    inspector: Inspector,
    inspecting: tokio::task::JoinHandle<()>,
    /// Whether the nodes carry a defect that counts.
    defect: bool,
    /// A decoy of the network, for as long as the run.
    _decoy: Option<Guard>,
    /// Last, so that the links outlive the children.
    network: Arc<Network>,
}

impl Stage {
    /// Starts network and children, elects the first leader and gives the nemesis its plan.
    async fn set(setup: &Setup, desk: &Desk) -> Result<Stage, String> {
        let Setup {
            resolved, direct, ..
        } = setup;
        let nodes = resolved.scenario.node_ids();
        let place = planted(resolved);
        let groups: Vec<u32> =
            (0..=u32::try_from(nodes.len()).expect("there are at most 9 nodes")).collect();
        let config = NetworkConfig {
            client_groups: groups.iter().copied().collect(),
            client_level: Level::Messages,
            seed: resolved.seed,
            ..NetworkConfig::default()
        };
        let network = Arc::new(Network::start(config).map_err(|e| format!("could not {e}"))?);
        let words = |e: ClusterError| format!("could not {e}");
        let cluster =
            Arc::new(Cluster::new(cluster_config(setup, &desk.dir, &network)).map_err(words)?);
        let ready = cluster.start_all(&nodes).await.map_err(words)?;
        for ready in &ready {
            network.set_upstream(ready.id, Some(ready.raft));
        }
        cluster.initialize(&nodes).await.map_err(words)?;
        cluster
            .wait_for_leader(&nodes, LEADER_WITHIN)
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
            recorder: desk.recorder.clone(),
            rate: Arc::new(AtomicU32::new(resolved.scenario.rate)),
            patience: patience(place),
        };
        let (tell_lost, lost) = mpsc::unbounded_channel();
        let nemesis = Nemesis::new(
            cluster.clone(),
            network.clone(),
            desk.recorder.clone(),
            nodes.clone(),
            groups.clone(),
            &resolved.plan,
            deed_teller(desk, nodes.clone(), tell_lost),
        );
        let (orders, asked) = mpsc::channel(ORDERS);
        let nemesis = Some(tokio::spawn(nemesis.work(resolved.plan.clone(), asked)));
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
            lost,
            exits_seen: 0,
            inspector,
            inspecting,
            defect,
            _decoy: decoy,
            network,
        })
    }

    async fn order(&self, order: Order) {
        // A nemesis that is gone has taken everything out.
        let _ = self.orders.send(order).await;
    }

    /// Takes every fault out and waits until it is.
    async fn heal(&mut self) {
        self.order(Order::End).await;
        if let Some(nemesis) = self.nemesis.take() {
            // One that panicked has dropped its guards, and the panic hook has spoken.
            let _ = nemesis.await;
        }
    }
}

/// Each node dials its peers' listeners of its own in the proxy, those of nodes that may come later too.
fn cluster_config(setup: &Setup, dir: &Path, network: &Network) -> ClusterConfig {
    let ids = 1..=MAX_NODE;
    let mut config = ClusterConfig::new(dir.to_owned());
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
    config.append.clone_from(&setup.append);
    // A person at the screen may crash a machine at any time.
    config.power_loss = setup.hold || setup.resolved.plan.kinds().contains(&"crash");
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
    desk: &Desk,
    nodes: Vec<NodeId>,
    lost: mpsc::UnboundedSender<(NodeId, String)>,
) -> nemesis::Listener {
    let (teller, spans, recorder) = (
        desk.teller.clone(),
        desk.spans.clone(),
        desk.recorder.clone(),
    );
    let links = Mutex::new(Links::new(nodes));
    Box::new(move |deed| match deed {
        Deed::In(id, fault, by) => {
            let span = FaultSpan {
                fault: fault.clone(),
                in_ns: recorder.now_ns(),
                out_ns: None,
            };
            spans
                .lock()
                .expect("nobody panics while listing")
                .insert(id, span);
            let changed = links
                .lock()
                .expect("nobody panics while listing")
                .put_in(id, fault.clone());
            teller.tell(Notice::FaultIn { id, fault, by });
            changed.into_iter().for_each(|notice| teller.tell(notice));
        }
        Deed::Out(id, fault, by) => {
            if let Some(span) = spans
                .lock()
                .expect("nobody panics while listing")
                .get_mut(&id)
            {
                span.out_ns = Some(recorder.now_ns());
            }
            let changed = links
                .lock()
                .expect("nobody panics while listing")
                .take_out(id);
            teller.tell(Notice::FaultOut { id, fault, by });
            changed.into_iter().for_each(|notice| teller.tell(notice));
        }
        Deed::Skipped(fault, by, why) => teller.tell(Notice::FaultSkipped { fault, by, why }),
        Deed::Missed(text) => teller.say(text),
        Deed::Plan(on) => teller.tell(Notice::Nemesis { on }),
        Deed::Lost(node, why) => {
            // The run that does not listen any more is over.
            let _ = lost.send((node, why));
        }
    })
}
