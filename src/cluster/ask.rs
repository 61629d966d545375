//! Questions to the nodes, by way of the target, with the cluster's own word on who is there to be asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::child::{self, Child};
use super::deeds::Shared;
use super::{ChildState, ClusterError};
use crate::host::Cost;
use crate::journal::NodeStatus;
use crate::shortage::Shortage;
use crate::target::admin::{self, LOOK_AGAIN, Nodes, STATUS_DEADLINE};
use crate::target::{
    Admin, Defects, LeaderSeen, Member, Ready, States, Switches, Target, TargetError,
};

/// What a node said of itself, and when that was heard.
#[derive(Clone, Debug)]
pub struct Status {
    /// When the answer came.
    pub heard: Instant,
    /// The answer.
    pub says: NodeStatus,
}

impl Shared {
    fn target(&self) -> &dyn Target {
        self.config.target.as_ref()
    }

    fn not_offered(&self, what: &'static str) -> TargetError {
        let target = self.target().name().to_owned();
        TargetError::NotOffered { target, what }
    }

    /// Who can be asked for members and leaders.
    pub(super) fn admin(&self, what: &'static str) -> Result<&dyn Admin, TargetError> {
        let admin = self.target().admin();
        admin.ok_or_else(|| self.not_offered(what))
    }

    /// Who can be asked for a node's state.
    pub(super) fn states(&self) -> Result<&dyn States, TargetError> {
        let states = self.target().states();
        states.ok_or_else(|| self.not_offered("a node's state"))
    }

    /// Who turns a node's disk and clock wrong.
    pub(super) fn switches(&self) -> Result<&dyn Switches, TargetError> {
        let switches = self.config.spawner.switches();
        switches.ok_or_else(|| self.not_offered("its nodes' disks and clocks in this run"))
    }

    /// Who can be asked for a defect's counters.
    pub(super) fn defects(&self) -> Result<&dyn Defects, TargetError> {
        let defects = self.target().defects();
        defects.ok_or_else(|| self.not_offered("defects"))
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

    /// Keeps a node's latest status fresh, for as long as this child lives.
    pub(super) async fn poll(self: Arc<Self>, ready: Ready, child: Arc<Child>) {
        let mut statuses = self.target().statuses(&ready);
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
                answer = statuses.ask(STATUS_DEADLINE) => answer,
            };
            match answer {
                Ok(says) => self.heard(ready.id, says),
                Err(TargetError::NotOffered { .. }) => return,
                Err(TargetError::Ask { .. }) => {}
            }
        }
    }

    fn heard(&self, id: u64, says: NodeStatus) {
        let heard = Instant::now();
        let (before, limited) = self.edit(id, |node| {
            let before = node.status.replace(Status { heard, says });
            (before, node.limited)
        });
        // What a limit of the plan keeps from it is no shortage of the host's.
        if !limited {
            self.note_shortages(id, before.as_ref());
        }
    }

    /// Notes what a node has met since it was heard before.
    fn note_shortages(&self, id: u64, before: Option<&Status>) {
        let nodes = self.nodes.lock().unwrap();
        let now = nodes.get(&id).and_then(|node| node.status.as_ref());
        let counts = |status: &Status| status.says.shortages.clone();
        let before = before.map(counts).unwrap_or_default();
        let now = now.map(counts).unwrap_or_default();
        drop(nodes);
        let more = now
            .into_iter()
            .filter(|(name, times)| before.get(name) < Some(times));
        for (name, times) in more {
            if let Some(shortage) = Shortage::named(&name) {
                let said = || format!("n{id} met it {times} times");
                let shortages = &self.config.shortages;
                shortages.add(
                    shortage,
                    "a node's own sockets and files",
                    Cost::Delay,
                    said,
                );
            }
        }
    }

    /// Asks a node what it says of itself. The answer also becomes its latest status.
    pub(super) async fn ask_status(
        &self,
        id: u64,
        within: Duration,
    ) -> Result<NodeStatus, ClusterError> {
        let ready = self.ready("ask", id)?;
        let says = self.target().statuses(&ready).ask(within).await?;
        self.heard(id, says.clone());
        Ok(says)
    }

    pub(super) async fn initialize(&self, ids: &[u64]) -> Result<(), ClusterError> {
        let first = ids.first().copied().unwrap_or_default();
        self.ready("initialize", first)?;
        let members: Vec<Member> = ids.iter().map(|&id| self.member(id)).collect();
        Ok(self.target().bootstrap(&members).await?)
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
                .map(|&id| async move { (id, self.ask_status(id, STATUS_DEADLINE).await) });
            let answers: BTreeMap<u64, _> =
                futures::future::join_all(asked).await.into_iter().collect();
            let heard = answers.iter().filter_map(|(&id, answer)| {
                let says = answer.as_ref().ok()?;
                Some((id, says.clone()))
            });
            let heard = heard.collect();
            let seen = match self.target().names_leader() {
                true => admin::agreed(&heard, ids.len()),
                false => admin::leads(&heard),
            };
            if let Some(seen) = seen {
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

    fn describe(&self, answers: &BTreeMap<u64, Result<NodeStatus, ClusterError>>) -> String {
        let mut text = String::new();
        for (&id, answer) in answers {
            // Writing to a String does not fail.
            let _ = match answer {
                Ok(says) => writeln!(
                    text,
                    "  n{id}: {:?} in term {}, leader n{}, log to {}",
                    says.role,
                    says.term.unwrap_or_default(),
                    says.leader.unwrap_or_default(),
                    says.last.unwrap_or_default()
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

impl Nodes for Shared {
    fn ids(&self) -> Vec<u64> {
        self.config.wiring.advertise.keys().copied().collect()
    }

    fn member(&self, id: u64) -> Member {
        Member {
            id,
            advertised: self.config.wiring.advertise.get(&id).copied(),
            ready: self.ready("ask", id).ok(),
        }
    }

    fn status(&self, id: u64) -> BoxFuture<'_, Option<NodeStatus>> {
        Box::pin(async move { self.ask_status(id, STATUS_DEADLINE).await.ok() })
    }
}
