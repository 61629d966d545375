//! Questions to the nodes, by their own addresses, and what the answers come to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::transport::Endpoint;

use super::child::{self, Child};
use super::deeds::Shared;
use super::{ChildState, ClusterError, Ready};
use crate::shortage::Shortage;
use crate::wire::chaos::chaos_service_client::ChaosServiceClient;
use crate::wire::chaos::{
    DefectCountersRequest, DefectCountersResponse, DiskProbe, LookAtDiskRequest, SetClockRequest,
    SetDiskRequest, StateHashRequest,
};
use crate::wire::kiwi::raft_admin_service_client::RaftAdminServiceClient;
use crate::wire::kiwi::raft_metrics_service_client::RaftMetricsServiceClient;
use crate::wire::kiwi::{
    ChangeMembershipRequest, InitializeRequest, MetricsRequest, MetricsResponse, NodeConfig,
    RemoveNodeRequest, TransferLeadershipRequest,
};
use crate::wire::metadata::AuthorizedChannel;

/// A status is asked for often and must not pile up on a node that is paused.
const STATUS_DEADLINE: Duration = Duration::from_millis(250);

/// The other questions.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Initialize waits for the first log entry to be durable.
const INITIALIZE_DEADLINE: Duration = Duration::from_secs(5);

/// Between two tries to hand the leadership over: time for an election.
const TRANSFER_PAUSE: Duration = Duration::from_millis(400);

/// Between two rounds of looking for a leader.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a node said of itself, and when that was heard.
#[derive(Clone, Debug)]
pub struct Status {
    /// When the answer came.
    pub heard: Instant,
    /// The answer.
    pub metrics: MetricsResponse,
}

/// A leader that a majority agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSeen {
    /// Who leads.
    pub leader: u64,
    /// In which term.
    pub term: u64,
}

/// A node that has left the membership, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Who left.
    pub node: u64,
    /// The log id of the committed membership that it is no part of: term, leader, index.
    pub by: (u64, u64, u64),
}

/// A node's whole state in one number, and where in the log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// Term and index of the last log entry that was applied; `None`: nothing was.
    pub applied: Option<(u64, u64)>,
    /// Lower-case hexadecimal.
    pub hash: String,
    /// How many keys it covers.
    pub keys: u64,
}

/// What is wrong with a node's disk; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSwitches {
    /// Every sync takes so much longer.
    pub slow_sync: Duration,
    /// A sync says that it is done, and does nothing. Outside of the fault model.
    pub lying_sync: bool,
    /// Every sync fails with EIO, and what was to be synced is lost.
    pub sync_fails: bool,
    /// No file grows.
    pub full: bool,
    /// Every read fails with EIO.
    pub read_fails: bool,
    /// What is not synced is lost at a SIGKILL; but of so many in a thousand unsynced writes all or a part is kept.
    pub write_back_per_mille: u32,
    /// What is kept of such a write is never all of it: it ends between two sectors.
    pub torn: bool,
    /// A sync that begins does not end before this is taken out.
    pub hold_sync: bool,
    /// Every read gives one bit that was not written. Outside of the fault model.
    pub flip_reads: bool,
}

/// What a node's disk has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSeen {
    /// Bytes that were written and are only in memory now.
    pub unsynced_bytes: u64,
    /// Syncs since the child's start.
    pub syncs: u64,
    /// Syncs that have begun and not ended.
    pub syncing: u64,
    /// Operations that met a harm since the child's start.
    pub harmed: u64,
}

/// What a node's own clock showed, at some instant between these two of the bench's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockSeen {
    /// When it was asked.
    pub asked: Instant,
    /// When the answer came.
    pub heard: Instant,
    /// What it showed, since some instant of its own.
    pub shows: Duration,
    /// How fast it says that it runs; 1 is as it should.
    pub rate: f64,
}

impl ClockSeen {
    /// Whether the clock, which showed this, can show `later` if it ran at `rate` since then and stepped by `step`
    /// beside; both bounds come from when it was asked and answered.
    #[must_use]
    pub fn leads_to(&self, later: &ClockSeen, rate: f64, step: Duration) -> bool {
        let least = later.asked.saturating_duration_since(self.heard);
        let most = later.heard.saturating_duration_since(self.asked);
        let Some(ran) = later.shows.checked_sub(self.shows + step) else {
            return false;
        };
        least.mul_f64(rate) <= ran + CLOCK_GRAIN && ran <= most.mul_f64(rate) + CLOCK_GRAIN
    }
}

/// What rounding may cost when clocks are compared.
const CLOCK_GRAIN: Duration = Duration::from_micros(1);

pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    let uri = format!("http://{address}");
    let endpoint = Endpoint::from_shared(uri).expect("an address makes a URI");
    endpoint.connect_timeout(STATUS_DEADLINE).tcp_nodelay(true)
}

async fn within<T>(
    id: u64,
    what: &'static str,
    deadline: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, ClusterError> {
    let seen = match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => return Ok(answer.into_inner()),
        Ok(Err(status)) => {
            let said = format!("{:?}: {}", status.code(), status.message());
            match Shortage::of(&status) {
                Some(shortage) => format!("{said}: the host has {shortage}"),
                None => said,
            }
        }
        Err(_) => format!("no answer within {deadline:?}"),
    };
    Err(ClusterError::Ask { id, what, seen })
}

impl Shared {
    async fn metrics(
        &self,
        id: u64,
        channel: AuthorizedChannel,
        deadline: Duration,
    ) -> Result<MetricsResponse, ClusterError> {
        let mut client = RaftMetricsServiceClient::new(channel);
        let call = self.noting(id, client.metrics(MetricsRequest {}));
        within(id, "its status", deadline, call).await
    }

    /// Where a node listens; only one that is ready and not dead can be asked.
    pub(super) fn ready(&self, deed: &'static str, id: u64) -> Result<Ready, ClusterError> {
        let nodes = self.nodes.lock().unwrap();
        let state = nodes.get(&id).map_or(ChildState::Dead, |node| node.state());
        let ready = nodes.get(&id).and_then(|node| node.ready);
        match ready {
            Some(ready) if state != ChildState::Dead => Ok(ready),
            _ => Err(ClusterError::State { deed, id, state }),
        }
    }

    /// A connection to a node, made when it is first used.
    fn channel(&self, id: u64, address: SocketAddr) -> AuthorizedChannel {
        self.credentials(id).on(endpoint(address).connect_lazy())
    }

    /// The operators' service of a node.
    fn admin(&self, ready: &Ready) -> RaftAdminServiceClient<AuthorizedChannel> {
        RaftAdminServiceClient::new(self.channel(ready.id, ready.raft))
    }

    /// The bench's own service of a node.
    pub(super) fn chaos(&self, ready: &Ready) -> ChaosServiceClient<AuthorizedChannel> {
        ChaosServiceClient::new(self.channel(ready.id, ready.chaos))
    }

    /// Keeps a node's latest status fresh, for as long as this child lives.
    pub(super) async fn poll(self: Arc<Self>, ready: Ready, child: Arc<Child>) {
        let channel = self.channel(ready.id, ready.raft);
        let mut tick = tokio::time::interval(self.config.poll_every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = child.wait() => return,
                _ = tick.tick() => {}
            }
            let state = self.nodes.lock().unwrap().get(&ready.id).map(|n| n.state());
            if state != Some(ChildState::Up) {
                continue;
            }
            // A node that does not answer keeps its last status; its age tells.
            let answer = tokio::select! {
                _ = child.wait() => return,
                answer = self.metrics(ready.id, channel.clone(), STATUS_DEADLINE) => answer,
            };
            if let Ok(metrics) = answer {
                self.heard(ready.id, metrics);
            }
        }
    }

    fn heard(&self, id: u64, metrics: MetricsResponse) {
        let heard = Instant::now();
        let (before, limited) = self.edit(id, |node| {
            let before = node.status.replace(Status { heard, metrics });
            (before, node.limited)
        });
        // What a limit of the plan keeps from it is no shortage of the host's.
        if !limited {
            self.note_shortages(id, before.as_ref());
        }
    }

    pub(super) async fn ask_status(&self, id: u64) -> Result<MetricsResponse, ClusterError> {
        self.ask_status_within(id, STATUS_DEADLINE).await
    }

    pub(super) async fn ask_status_within(
        &self,
        id: u64,
        deadline: Duration,
    ) -> Result<MetricsResponse, ClusterError> {
        let ready = self.ready("ask", id)?;
        let channel = self.channel(id, ready.raft);
        let answer = self.metrics(id, channel, deadline).await?;
        self.heard(id, answer.clone());
        Ok(answer)
    }

    pub(super) async fn state_hash(&self, id: u64) -> Result<StateHash, ClusterError> {
        let ready = self.ready("ask", id)?;
        let mut client = self.chaos(&ready);
        let call = self.noting(id, client.state_hash(StateHashRequest {}));
        let answer = within(id, "its state's hash", ANSWER_DEADLINE, call).await?;
        let applied = answer.applied.map(|at| {
            let term = at.leader_id.map_or(0, |leader| leader.term);
            (term, at.index)
        });
        Ok(StateHash {
            applied,
            hash: answer.hash,
            keys: answer.keys,
        })
    }

    pub(super) async fn defect_counters(
        &self,
        id: u64,
    ) -> Result<DefectCountersResponse, ClusterError> {
        let ready = self.ready("ask", id)?;
        let mut client = self.chaos(&ready);
        let call = client.defect_counters(DefectCountersRequest {});
        within(id, "its defect's counters", ANSWER_DEADLINE, call).await
    }

    pub(super) async fn set_disk(
        &self,
        id: u64,
        switches: DiskSwitches,
    ) -> Result<DiskProbe, ClusterError> {
        let ready = self.ready("ask", id)?;
        let mut client = self.chaos(&ready);
        let slow = u64::try_from(switches.slow_sync.as_millis()).unwrap_or(u64::MAX);
        let call = client.set_disk(SetDiskRequest {
            lose_unsynced: self.config.power_loss || switches.write_back_per_mille > 0,
            slow_sync_ms: slow,
            lying_sync: switches.lying_sync,
            sync_fails: switches.sync_fails,
            full: switches.full,
            read_fails: switches.read_fails,
            write_back_per_mille: switches.write_back_per_mille,
            torn: switches.torn,
            hold_sync: switches.hold_sync,
            flip_reads: switches.flip_reads,
        });
        // The disk is tried, which takes as long as a sync does.
        let deadline = ANSWER_DEADLINE + switches.slow_sync;
        let answer = within(id, "another disk", deadline, call).await?;
        Ok(answer.probe.unwrap_or_default())
    }

    pub(super) async fn disk(&self, id: u64) -> Result<DiskSeen, ClusterError> {
        let ready = self.ready("ask", id)?;
        let mut client = self.chaos(&ready);
        let call = client.look_at_disk(LookAtDiskRequest {});
        let answer = within(id, "its disk", STATUS_DEADLINE, call).await?;
        Ok(DiskSeen {
            unsynced_bytes: answer.unsynced_bytes,
            syncs: answer.syncs,
            syncing: answer.syncing,
            harmed: answer.harmed,
        })
    }

    pub(super) async fn set_clock(
        &self,
        id: u64,
        rate: f64,
        step: Duration,
    ) -> Result<ClockSeen, ClusterError> {
        let ready = self.ready("ask", id)?;
        let mut client = self.chaos(&ready);
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let asked = Instant::now();
        let call = client.set_clock(SetClockRequest { rate, step_ms });
        let answer = within(id, "another clock", ANSWER_DEADLINE, call).await?;
        Ok(ClockSeen {
            asked,
            heard: Instant::now(),
            shows: Duration::from_nanos(answer.now_ns),
            rate: answer.rate,
        })
    }

    pub(super) async fn transfer(&self, to: u64, deadline: Duration) -> Result<(), ClusterError> {
        let began = Instant::now();
        let what = "the leadership";
        let mut seen = "nobody leads".to_owned();
        loop {
            let asked = self.ask_status(to).await;
            if asked.as_ref().is_ok_and(|status| status.is_leader) {
                return Ok(());
            }
            if began.elapsed() >= deadline {
                return Err(ClusterError::Ask { id: to, what, seen });
            }
            let leader = asked.map_or(0, |status| status.current_leader);
            if let Ok(ready) = self.ready("ask", leader) {
                let mut client = self.admin(&ready);
                let call = client.transfer_leadership(TransferLeadershipRequest { to_node_id: to });
                match within(leader, what, STATUS_DEADLINE, call).await {
                    Ok(_) => seen = format!("n{leader} handed it over, and n{to} does not lead"),
                    Err(error) => seen = error.to_string(),
                }
            }
            // An heir that was told campaigns at once; it is asked again before the next try.
            let settled = Instant::now() + TRANSFER_PAUSE;
            while Instant::now() < settled.min(began + deadline) {
                if self
                    .ask_status(to)
                    .await
                    .is_ok_and(|status| status.is_leader)
                {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    pub(super) async fn set_voters(
        &self,
        ids: &[u64],
        deadline: Duration,
    ) -> Result<(), ClusterError> {
        let began = Instant::now();
        let what = "other voters";
        let known: Vec<u64> = self.config.advertise.keys().copied().collect();
        // Whoever was ever asked may still do it.
        let mut asked = 0;
        loop {
            let mut seen = "nobody leads".to_owned();
            for &id in &known {
                // A deposed leader may not know it yet: whoever says that it leads is asked.
                if !self
                    .ask_status(id)
                    .await
                    .is_ok_and(|status| status.is_leader)
                {
                    continue;
                }
                let Ok(ready) = self.ready("ask", id) else {
                    continue;
                };
                asked = id;
                let request = ChangeMembershipRequest {
                    members: ids.iter().map(|&id| self.member(id)).collect(),
                    retain: true,
                };
                let mut client = self.admin(&ready);
                let left = deadline
                    .saturating_sub(began.elapsed())
                    .min(ANSWER_DEADLINE);
                match within(id, what, left, client.change_membership(request)).await {
                    Ok(_) => return Ok(()),
                    Err(error) => seen = error.to_string(),
                }
            }
            if began.elapsed() >= deadline {
                let id = asked;
                return Err(ClusterError::Ask { id, what, seen });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(super) async fn leave(
        &self,
        node: u64,
        deadline: Duration,
    ) -> Result<Departure, ClusterError> {
        let began = Instant::now();
        let mut seen = "nobody leads".to_owned();
        // Whoever was ever asked may still do it.
        let mut asked = 0;
        loop {
            let known: Vec<u64> = self.config.advertise.keys().copied().collect();
            let mut heard: BTreeMap<u64, MetricsResponse> = BTreeMap::new();
            for &id in &known {
                if let Ok(status) = self.ask_status(id).await {
                    heard.insert(id, status);
                }
            }
            let leaders = heard.values().filter(|status| status.is_leader);
            if let Some(leader) = leaders.max_by_key(|status| status.term) {
                match departed(leader, &heard, node) {
                    Ok(by) => return Ok(Departure { node, by }),
                    Err(why) => seen = why.to_owned(),
                }
                if let Ok(ready) = self.ready("ask", leader.node_id)
                    && !is_no_member(leader, node)
                {
                    let mut client = self.admin(&ready);
                    let left = deadline
                        .saturating_sub(began.elapsed())
                        .min(ANSWER_DEADLINE);
                    asked = leader.node_id;
                    let call = client.remove_node(RemoveNodeRequest { node_id: node });
                    if let Err(error) =
                        within(leader.node_id, "a node's departure", left, call).await
                    {
                        seen = error.to_string();
                    }
                }
            }
            if began.elapsed() >= deadline {
                return Err(ClusterError::Ask {
                    id: asked,
                    what: "one to leave",
                    seen: format!("n{node} stays: {seen}"),
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A node's entry in the membership.
    fn member(&self, node_id: u64) -> NodeConfig {
        let address = self.config.advertise.get(&node_id);
        NodeConfig {
            node_id,
            raft_addr: address.map(SocketAddr::to_string).unwrap_or_default(),
            resp_addr: String::new(),
        }
    }

    pub(super) async fn initialize(&self, ids: &[u64]) -> Result<(), ClusterError> {
        let first = ids.first().copied().unwrap_or_default();
        let ready = self.ready("initialize", first)?;
        let nodes = ids.iter().map(|&node_id| self.member(node_id));
        let request = InitializeRequest {
            nodes: nodes.collect(),
        };
        let mut client = self.admin(&ready);
        let what = "a cluster (Initialize)";
        let call = client.initialize(request);
        let answer = within(first, what, INITIALIZE_DEADLINE, call).await?;
        match answer.response {
            Some(response) if !response.success => Err(ClusterError::Ask {
                id: first,
                what,
                seen: response.message,
            }),
            _ => Ok(()),
        }
    }

    pub(super) async fn wait_for_leader(
        &self,
        ids: &[u64],
        deadline: Duration,
    ) -> Result<LeaderSeen, ClusterError> {
        let began = Instant::now();
        loop {
            let asked = ids
                .iter()
                .map(|&id| async move { (id, self.ask_status(id).await) });
            let answers: BTreeMap<u64, _> =
                futures::future::join_all(asked).await.into_iter().collect();
            let heard = answers.values().filter_map(|answer| answer.as_ref().ok());
            if let Some(seen) = agreed(heard, ids.len()) {
                return Ok(seen);
            }
            if began.elapsed() >= deadline {
                return Err(ClusterError::NoLeader {
                    waited: deadline,
                    seen: self.describe(&answers),
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn describe(&self, answers: &BTreeMap<u64, Result<MetricsResponse, ClusterError>>) -> String {
        let mut text = String::new();
        for (&id, answer) in answers {
            // Writing to a String does not fail.
            let _ = match answer {
                Ok(m) => writeln!(
                    text,
                    "  n{id}: {:?} in term {}, leader n{}, log to {}",
                    m.role(),
                    m.term,
                    m.current_leader,
                    m.last_log_index
                ),
                Err(error) => writeln!(text, "  could not {error}"),
            };
            for line in child::log_tail(&self.log(id)).lines() {
                let _ = writeln!(text, "    | {line}");
            }
        }
        text
    }
}

/// Whether a node's membership does not know `node` at all.
fn is_no_member(says: &MetricsResponse, node: u64) -> bool {
    says.membership.as_ref().is_some_and(|membership| {
        let sets = membership.configs.iter().flat_map(|set| &set.node_ids);
        let nodes = membership.nodes.iter().map(|other| &other.node_id);
        !sets.chain(nodes).any(|&other| other == node)
    })
}

/// The committed membership by which `node` is no member any more, as its leader says, as long as a majority of that
/// leader's voters follow it: a deposed leader may not know that the node is back.
fn departed(
    leader: &MetricsResponse,
    heard: &BTreeMap<u64, MetricsResponse>,
    node: u64,
) -> Result<(u64, u64, u64), &'static str> {
    if leader.node_id == node || !is_no_member(leader, node) {
        return Err("the leader counts it as a member");
    }
    let membership = leader.membership.as_ref();
    let sets = membership.map_or(&[][..], |membership| &membership.configs);
    let [voters] = sets else {
        return Err("the membership is joint");
    };
    let follow = |id: &&u64| {
        heard.get(id).is_some_and(|status| {
            (status.term, status.current_leader) == (leader.term, leader.node_id)
        })
    };
    if voters.node_ids.iter().filter(follow).count() * 2 <= voters.node_ids.len() {
        return Err("no majority follows the leader");
    }
    let (Some(at), Some(committed)) = (&leader.membership_log_id, &leader.committed) else {
        return Err("the leader has committed nothing");
    };
    if committed.index < at.index {
        return Err("its departure is not committed");
    }
    let by = at.leader_id.as_ref();
    let term = by.map_or(0, |by| by.term);
    let who = by.and_then(|by| by.node_id.as_ref()).map_or(0, |id| id.id);
    Ok((term, who, at.index))
}

/// The leader that a majority of `members` nodes names in one term, itself included.
fn agreed<'a>(
    answers: impl Iterator<Item = &'a MetricsResponse> + Clone,
    members: usize,
) -> Option<LeaderSeen> {
    let leads = |m: &&MetricsResponse| m.is_leader && m.current_leader == m.node_id;
    answers.clone().filter(leads).find_map(|leader| {
        let follow = answers
            .clone()
            .filter(|m| m.term == leader.term && m.current_leader == leader.node_id);
        (follow.count() * 2 > members).then_some(LeaderSeen {
            leader: leader.node_id,
            term: leader.term,
        })
    })
}

#[cfg(test)]
mod tests;
