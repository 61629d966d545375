//! Puts one fault in, sees that it is, and takes it out.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::life::Life;
use super::members::Votes;
use super::terms::{action, is_whole, matching};
use crate::cluster::{ChildState, Cluster, ClusterError};
use crate::fault::{Fault, NodeId, Signal};
use crate::proxy::{Delay, Direction, Guard, LetOut, LinkSnapshot, MessageRule, Network};
use crate::recorder::Recorder;
use crate::target::DiskSwitches;

/// What is needed to act.
#[derive(Clone)]
pub(super) struct Injector {
    pub(super) cluster: Arc<Cluster>,
    pub(super) network: Arc<Network>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) nodes: Vec<NodeId>,
    /// The groups of clients that have links.
    pub(super) groups: Vec<u32>,
    /// Who has a vote.
    pub(super) votes: Arc<Votes>,
    /// Whether somebody holds the run.
    pub(super) held: watch::Receiver<bool>,
}

/// Why a fault is not in.
#[derive(Debug)]
pub(super) enum NotIn {
    /// It did not take effect, and nothing of it is left.
    Skipped(String),
    /// Nobody can say whether it took effect, or will.
    Indeterminate(String),
    /// It took effect, and its node did not come back.
    Lost(NodeId, ClusterError),
}

impl From<String> for NotIn {
    fn from(why: String) -> NotIn {
        NotIn::Skipped(why)
    }
}

/// What became of a deed that ends a child and starts it again.
pub(super) fn ended_and_not_started(node: NodeId, error: ClusterError) -> NotIn {
    match error {
        // There was nobody to end.
        ClusterError::State { .. } | ClusterError::Thread(_) => NotIn::Skipped(error.to_string()),
        // It was not seen to end.
        ClusterError::Signal { .. } => NotIn::Indeterminate(error.to_string()),
        error => NotIn::Lost(node, error),
    }
}

/// An heir leads within this, or the transfer did not take effect.
const TRANSFER_WITHIN: Duration = Duration::from_millis(1_500);

/// A fault that is in.
pub(super) struct Active {
    pub(super) fault: Fault,
    /// Holds a fault of the network; dropping it heals.
    guard: Option<Guard>,
    /// Does a fault of a child that has to be done again and again.
    worker: Option<Worker>,
    /// What a link had carried when its fault went in.
    before: Option<LinkSnapshot>,
    /// The child whose syncs lie.
    pub(super) liar: Option<Life>,
    /// The child whose disk is full, and how many of its calls had met a harm before.
    full: Option<(Life, u64)>,
}

/// Goes on until it is ended, always to the end of a round: the child is then up.
struct Worker {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), ClusterError>>,
    /// A nemesis that is gone leaves nobody behind.
    _stops_at_last: DropGuard,
}

impl Worker {
    fn start<F>(work: impl FnOnce(CancellationToken) -> F) -> Worker
    where
        F: Future<Output = Result<(), ClusterError>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Worker {
            task: tokio::spawn(work(stop.clone())),
            _stops_at_last: stop.clone().drop_guard(),
            stop,
        }
    }

    async fn end(self) -> Result<(), ClusterError> {
        self.stop.cancel();
        // One that panicked has spoken through the panic hook.
        self.task.await.unwrap_or(Ok(()))
    }
}

/// Kills a node whenever it has been up so long, and starts it again.
fn kill_again(
    injector: Injector,
    node: NodeId,
    up: Duration,
) -> impl FnOnce(CancellationToken) -> BoxFuture<'static, Result<(), ClusterError>> {
    move |stop| {
        async move {
            while injector.goes_on(&stop, up).await {
                injector.kill_and_start(node).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// Lets a node stand whenever it has run so long.
fn stand_again(
    injector: Injector,
    node: NodeId,
    run: Duration,
    stand: Duration,
) -> impl FnOnce(CancellationToken) -> BoxFuture<'static, Result<(), ClusterError>> {
    move |stop| {
        async move {
            while injector.goes_on(&stop, run).await {
                injector.cluster.stand(node, stand).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// Lets a link flow whenever it has been cut so long, and cuts it again.
fn cut_again(
    injector: Injector,
    direction: Direction,
    cut: Guard,
    [closed, open]: [Duration; 2],
) -> impl FnOnce(CancellationToken) -> BoxFuture<'static, Result<(), ClusterError>> {
    move |stop| {
        async move {
            let mut cut = Some(cut);
            while injector.goes_on(&stop, closed).await {
                cut.take().into_iter().for_each(Guard::heal);
                if !injector.goes_on(&stop, open).await {
                    break;
                }
                cut = Some(injector.network.cut(direction));
            }
            Ok(())
        }
        .boxed()
    }
}

impl Injector {
    /// Lets a part of what a fault holds back out.
    pub(super) fn let_out(&self, active: &Active, more: LetOut) {
        if let Some(guard) = &active.guard {
            self.network.let_out(guard, more);
        }
    }

    /// Whether somebody holds the run.
    pub(super) fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    /// Lets the time pass, and then for as long as somebody holds the run; `false` once it is stopped.
    async fn goes_on(&self, stop: &CancellationToken, time: Duration) -> bool {
        let mut held = self.held.clone();
        let passed = async {
            tokio::time::sleep(time).await;
            // Whoever could hold it may be gone.
            let _ = held.wait_for(|held| !held).await;
        };
        stop.run_until_cancelled(passed).await.is_some()
    }

    /// The node that leads as far as the nodes' last words tell: of those that say so, the one with the highest term.
    pub(super) fn leader(&self) -> Option<NodeId> {
        self.leads().map(|(_, id)| id)
    }

    /// The same, with its term.
    pub(super) fn leads(&self) -> Option<(u64, NodeId)> {
        let views = self.cluster.views().into_iter();
        let leads = views
            .filter(|view| view.state == ChildState::Up)
            .filter_map(|view| {
                let says = view.status?.says;
                Some((says.term.unwrap_or_default(), view.id)).filter(|_| says.leads())
            });
        leads.max()
    }

    /// Puts a fault in and probes it.
    ///
    /// # Errors
    /// Why it is not in, or not any more.
    pub(super) async fn inject(&self, fault: &Fault) -> Result<Active, NotIn> {
        let words = |error: crate::cluster::ClusterError| error.to_string();
        fault.check().map_err(|why| why.to_string())?;
        self.cluster.target().offers(fault.kind().need())?;
        let mut worker = None;
        let full = self.met_before(fault).await;
        let guard = match fault {
            Fault::Kill { who: node } => {
                self.cluster.kill(*node).await.map_err(words)?;
                None
            }
            Fault::Pause { who: node } => {
                self.cluster.pause(*node).await.map_err(words)?;
                None
            }
            Fault::KillSeveral { who: nodes } => {
                self.kill_all(nodes).await?;
                None
            }
            Fault::Freeze { who: nodes, .. } => {
                self.freeze(nodes).await?;
                None
            }
            Fault::Rlimit { who: node, of } => {
                self.limit(*node, (*of).into()).await?;
                None
            }
            Fault::Restart { who: node, signal } => {
                let restarted = match signal {
                    Signal::Term => self.cluster.restart(*node).await,
                    Signal::Kill => self.kill_and_start(*node).await,
                };
                restarted.map_err(|error| ended_and_not_started(*node, error))?;
                None
            }
            Fault::KillLoop { who: node, up_ms } => {
                let begun = self.kill_and_start(*node).await;
                begun.map_err(|error| ended_and_not_started(*node, error))?;
                let up = Duration::from_millis(*up_ms);
                worker = Some(Worker::start(kill_again(self.clone(), *node, up)));
                None
            }
            Fault::Throttle {
                who: node,
                run_ms,
                stand_ms,
            } => {
                let [run, stand] = [*run_ms, *stand_ms].map(Duration::from_millis);
                self.cluster.stand(*node, stand).await.map_err(words)?;
                worker = Some(Worker::start(stand_again(self.clone(), *node, run, stand)));
                None
            }
            Fault::Isolate { .. }
            | Fault::Split { .. }
            | Fault::Bridge { .. }
            | Fault::Ring { .. }
            | Fault::Graph { .. }
            | Fault::Cut { .. } => {
                let links = fault.links(&self.nodes);
                if links.is_empty() {
                    return Err("it would cut no link".to_owned().into());
                }
                Some(Guard::join(links.into_iter().map(|(from, to)| {
                    self.network.cut(Direction::nodes(from, to))
                })))
            }
            &Fault::Flap {
                from,
                to,
                cut_ms,
                open_ms,
            } => {
                let direction = Direction::nodes(from, to);
                let cut = self.network.cut(direction);
                self.is_seen(&cut).await?;
                let turns = [cut_ms, open_ms].map(Duration::from_millis);
                worker = Some(Worker::start(cut_again(
                    self.clone(),
                    direction,
                    cut,
                    turns,
                )));
                None
            }
            Fault::IsolateClients { who: node } => Some(self.isolate_clients(*node)),
            &Fault::HoldBack {
                from,
                to,
                dialled_by,
            } => Some(self.hold_back(from, to, dialled_by)),
            Fault::Slow {
                from,
                to,
                delay_ms,
                jitter_ms,
            } => {
                let delay = Delay::around(
                    Duration::from_millis(*delay_ms),
                    Duration::from_millis(*jitter_ms),
                );
                Some(self.network.slow(Direction::nodes(*from, *to), delay))
            }
            Fault::Wire {
                from,
                to,
                harm,
                amount,
            } => Some(self.harm_wire(*from, *to, *harm, *amount).await?),
            Fault::PowerLoss { who: nodes } => Some(self.power_loss(nodes).await?),
            &Fault::Message {
                act,
                of,
                who,
                per_mille,
                ms,
                to,
                only,
            } => {
                let action = action(act, Duration::from_millis(ms));
                let matching = matching(of, only, per_mille);
                let rule = MessageRule { matching, action };
                let routes = self.routes(of, who, to);
                Some(self.network.put_rule(&routes, &rule))
            }
            Fault::Disk {
                who: node,
                harm,
                ms,
            } => {
                self.harm_disk(*node, *harm, Duration::from_millis(*ms))
                    .await?;
                None
            }
            Fault::Clock {
                who: node,
                rate_percent,
                step_ms,
            } => {
                let step = Duration::from_millis(*step_ms);
                let rate = f64::from(*rate_percent) / 100.0;
                self.set_clock(*node, rate, step).await?;
                None
            }
            Fault::RemoveVoter { who: node } => {
                self.remove_voter(*node).await?;
                None
            }
            Fault::Replace { who: node } => {
                self.replace(*node).await?;
                None
            }
            Fault::AddVoter { who: node } => {
                self.add_voter(*node).await?;
                None
            }
            Fault::Wipe { who: node } => {
                self.wipe(*node).await?;
                None
            }
            Fault::Transfer { to } => {
                let handed = self.cluster.transfer(*to, TRANSFER_WITHIN).await;
                handed.map_err(words)?;
                None
            }
        };
        if let Some(guard) = &guard {
            self.is_seen(guard).await?;
        }
        Ok(Active {
            fault: fault.clone(),
            guard,
            worker,
            before: self.carried(fault),
            liar: self.liar(fault),
            full,
        })
    }

    /// Probes a fault of the network.
    pub(super) async fn is_seen(&self, guard: &Guard) -> Result<(), NotIn> {
        let probe = self.network.verify(guard).await;
        match probe.effective {
            true => Ok(()),
            false => Err(format!("the probe did not see it: {}", probe.seen).into()),
        }
    }

    pub(super) fn stands(&self, node: NodeId) -> bool {
        let view = self.cluster.view(node);
        view.is_some_and(|view| view.state == ChildState::Paused)
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        let view = self.cluster.view(node);
        view.is_some_and(|view| view.state == ChildState::Up)
    }

    /// Why nobody can say that a fault which is still in has had any effect: it was there, and nothing met it.
    pub(super) async fn unproven(&self, active: &Active) -> Option<String> {
        if let Some((life, before)) = active.full {
            return self.grew_nothing(life, before).await;
        }
        if let Fault::Message { of, .. } = &active.fault {
            let met = active.guard.as_ref().map(|guard| self.network.met(guard));
            return (met == Some(0)).then(|| format!("none of the {} met it", of.name()));
        }
        self.unharmed(&active.fault, active.before.as_ref()?)
    }

    /// Takes a fault out. Gives the nodes that it could not bring back to what they were, each with why. Where a node
    /// does not take it back itself, a new child does.
    pub(super) async fn heal(&self, active: Active) -> Vec<(NodeId, ClusterError)> {
        let Active {
            fault,
            guard,
            worker,
            ..
        } = active;
        drop(guard);
        if let Some(worker) = worker
            && let (Err(error), Some(&node)) = (worker.end().await, fault.children().first())
        {
            let to_blame = error.accuses();
            let renewed = self.renewed(node).await.err();
            // What ended on its own disk has ended, also where another start went well.
            return match to_blame {
                true => vec![(node, error)],
                false => renewed.map(|error| (node, error)).into_iter().collect(),
            };
        }
        let back = match fault {
            Fault::Kill { who: node } => self.start(&[node]).await,
            Fault::PowerLoss { who: nodes } | Fault::KillSeveral { who: nodes } => {
                self.start(&nodes).await
            }
            Fault::Freeze {
                who: nodes,
                stagger_ms,
            } => {
                let stagger = Duration::from_millis(stagger_ms);
                let standing: Vec<NodeId> = nodes.into_iter().filter(|&n| self.stands(n)).collect();
                self.thaw(&standing, stagger).await
            }
            // A new child has the limits of the bench.
            Fault::Rlimit { who: node, .. } => {
                let _ = self.cluster.kill(node).await;
                self.start(&[node]).await
            }
            Fault::Pause { who: node } if self.stands(node) => {
                vec![(node, self.cluster.resume(node).await)]
            }
            // It was ended as it stood; its next child does not stand.
            Fault::Pause { .. } => Vec::new(),
            Fault::Disk {
                who: node, harm, ..
            } if harm.excuses_an_end() || harm.ends_in_a_power_loss() => {
                self.start_on_whole_disk(node, harm).await
            }
            // The harm has ended with its child.
            Fault::Disk { who: node, .. } | Fault::Clock { who: node, .. } if !self.is_up(node) => {
                Vec::new()
            }
            Fault::Disk { who: node, .. } => {
                let probe = self.cluster.set_disk(node, DiskSwitches::default()).await;
                match probe {
                    Ok(probe) if is_whole(&probe) => Vec::new(),
                    _ => vec![(node, self.renewed(node).await)],
                }
            }
            Fault::Clock { who: node, .. } => {
                let right = self.cluster.set_clock(node, 1.0, Duration::ZERO).await;
                match right {
                    Ok(_) => Vec::new(),
                    Err(_) => vec![(node, self.renewed(node).await)],
                }
            }
            Fault::RemoveVoter { who: node } => {
                self.give_back(node).await;
                Vec::new()
            }
            Fault::Replace { who: node } => {
                let back = self.start(&[node]).await;
                self.give_back(node).await;
                back
            }
            Fault::AddVoter { who: node } => {
                self.let_go(node).await;
                Vec::new()
            }
            _ => Vec::new(),
        };
        let lost = back
            .into_iter()
            .filter_map(|(node, back)| back.err().map(|error| (node, error)));
        lost.collect()
    }
}
