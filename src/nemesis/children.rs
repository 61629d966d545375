//! What the injector does to children: it ends them, lets them stand, takes their files, and turns their disks and clocks
//! wrong.

use std::time::Duration;

use futures::future::join_all;

use super::injector::{Injector, NotIn};
use super::life::Life;
use super::terms::{disk_is, is_whole, switches};
use crate::cluster::{ClusterError, Limit};
use crate::fault::{DiskHarm, Fault, NodeId};
use crate::proxy::Guard;
use crate::target::{DiskSwitches, Ready};

/// A clock is watched for so long before it is believed.
const CLOCK_SEEN_FOR: Duration = Duration::from_millis(30);

/// Why a harm of a disk is not believed.
fn unmet(node: NodeId) -> String {
    format!("no call of n{node} met it")
}

impl Injector {
    /// SIGKILL, and a start at once.
    pub(super) async fn kill_and_start(&self, node: NodeId) -> Result<Ready, ClusterError> {
        self.cluster.kill(node).await?;
        self.cluster.start(node).await
    }

    /// A new child in place of one that something may still be wrong with, or that has ended by it.
    pub(super) async fn renew(&self, node: NodeId) -> Result<(), NotIn> {
        let renewed = self.renewed(node).await;
        renewed.map_err(|error| NotIn::Lost(node, error))
    }

    pub(super) async fn renewed(&self, node: NodeId) -> Result<(), ClusterError> {
        self.recorder.mark(format!("renew n{node}"));
        // It may have ended by itself.
        let _ = self.cluster.kill(node).await;
        let mut started = self.start(&[node]).await;
        started.pop().map_or(Ok(()), |(_, started)| started)
    }

    /// Leaves a node without files, and sees that the kernel says so.
    pub(super) async fn limit(&self, node: NodeId, of: Limit) -> Result<(), NotIn> {
        if !self.is_up(node) {
            return Err(format!("n{node} is not up").into());
        }
        // A node without files may end at once.
        self.cluster.excuse(node);
        let limited = self.cluster.limit(node, of).await;
        let Err(error) = limited else { return Ok(()) };
        // Neither the limit nor the excuse may be left.
        self.renew(node).await?;
        Err(format!("{error}; it was killed and started again").into())
    }

    /// Switches the harm on, and sees by the calls of the node's programs that it is.
    pub(super) async fn harm_disk(
        &self,
        node: NodeId,
        harm: DiskHarm,
        time: Duration,
    ) -> Result<(), NotIn> {
        if !self.is_up(node) {
            return Err(format!("n{node} is not up").into());
        }
        if harm.ends_in_a_power_loss()
            && let Some(why) = self.cluster.keeps_power(node)
        {
            return Err(why.into());
        }
        if harm.excuses_an_end() {
            // It may end before it has answered.
            self.cluster.excuse(node);
        }
        let set = self.cluster.set_disk(node, switches(harm, time)).await;
        let why = match set {
            Ok(probe) if disk_is(harm, time, &probe) => return Ok(()),
            Ok(seen) if is_whole(&seen) => {
                // Nobody has met it, and nobody will.
                self.cluster.accuse_again(node);
                return Err(unmet(node).into());
            }
            Ok(_) => unmet(node),
            // A node that stops at once has met it.
            Err(_) if harm.excuses_an_end() && !self.is_up(node) => return Ok(()),
            Err(error) => error.to_string(),
        };
        // Nothing of it may be left, nor of the excuse: it goes with its child, which may have met the harm already.
        let whole = self.cluster.set_disk(node, DiskSwitches::default()).await;
        if harm.excuses_an_end() || !whole.is_ok_and(|probe| is_whole(&probe)) {
            self.renew(node).await?;
            return Err(format!("{why}; it was killed and started again").into());
        }
        Err(why.into())
    }

    /// The child whose disk this fault fills, and how many of its calls have met a harm so far.
    pub(super) async fn met_before(&self, fault: &Fault) -> Option<(Life, u64)> {
        let &Fault::Disk {
            who,
            harm: DiskHarm::Full,
            ..
        } = fault
        else {
            return None;
        };
        Some((self.life(who)?, self.cluster.disk(who).await.ok()?.harmed))
    }

    /// Why a full disk may as well have had room: the child lives on, and no file of it has wanted to grow.
    pub(super) async fn grew_nothing(&self, life: Life, before: u64) -> Option<String> {
        let seen = self.cluster.disk(life.node).await.ok()?;
        let same = self.lives_on(life) && seen.harmed == before;
        same.then(|| "no file grew under it".to_owned())
    }

    /// Sets a node's clock, and sees that it stepped and that it runs at that rate.
    pub(super) async fn set_clock(
        &self,
        node: NodeId,
        rate: f64,
        step: Duration,
    ) -> Result<(), NotIn> {
        if !self.is_up(node) {
            return Err(format!("n{node} is not up").into());
        }
        let ask = |rate, step| async move { self.cluster.set_clock(node, rate, step).await };
        let seen = async {
            let before = ask(1.0, Duration::ZERO).await?;
            let begun = ask(rate, step).await?;
            tokio::time::sleep(CLOCK_SEEN_FOR).await;
            let after = ask(rate, Duration::ZERO).await?;
            Ok::<_, ClusterError>((before, begun, after))
        };
        let why = match seen.await {
            Ok((before, begun, after))
                if before.leads_to(&begun, 1.0, step)
                    && begun.leads_to(&after, rate, Duration::ZERO) =>
            {
                return Ok(());
            }
            Ok(seen) => format!("the clock went otherwise: {seen:?}"),
            Err(error) => error.to_string(),
        };
        // Nothing of it may be left.
        if ask(1.0, Duration::ZERO).await.is_err() {
            self.renew(node).await?;
            return Err(format!("{why}; it was killed and started again").into());
        }
        Err(why.into())
    }

    /// Starts these nodes at the same time.
    pub(super) async fn start(&self, nodes: &[NodeId]) -> Vec<(NodeId, Result<(), ClusterError>)> {
        let starts = nodes
            .iter()
            .map(|&node| async move { (node, self.cluster.start(node).await.map(drop)) });
        join_all(starts).await
    }

    /// The power goes: the machines' links fall silent first, so that nobody hears of the end, then SIGKILL for all, and
    /// what was not synced is gone.
    pub(super) async fn power_loss(&self, nodes: &[NodeId]) -> Result<Guard, NotIn> {
        if let Some(why) = self.keep_power(nodes) {
            return Err(why.into());
        }
        let guard = Guard::join(nodes.iter().map(|&node| self.network.vanish(node)));
        self.is_seen(&guard).await?;
        // Where one cannot be killed, dropping the guard heals the links.
        self.kill_all(nodes).await?;
        if let Some(why) = self.keep_power(nodes) {
            // It has done what cannot be undone in its last moment.
            for (node, started) in self.start(nodes).await {
                started.map_err(|error| NotIn::Lost(node, error))?;
            }
            return Err(format!("{why}; it was killed and started again").into());
        }
        for &node in nodes {
            let failed = self.cluster.power_fails(node).await;
            failed.map_err(|error| NotIn::Lost(node, error))?;
        }
        Ok(guard)
    }

    /// Why the power of these cannot be lost.
    fn keep_power(&self, nodes: &[NodeId]) -> Option<String> {
        nodes
            .iter()
            .find_map(|&node| self.cluster.keeps_power(node))
    }

    /// A new child in place of one whose disk was wrong: it may have ended by itself, and one that lives on is not trusted.
    pub(super) async fn start_on_whole_disk(
        &self,
        node: NodeId,
        harm: DiskHarm,
    ) -> Vec<(NodeId, Result<(), ClusterError>)> {
        let _ = self.cluster.kill(node).await;
        // A disk that cannot lose power has lost nothing.
        if harm.loses_what_is_unsynced()
            && self.cluster.keeps_power(node).is_none()
            && let Err(error) = self.cluster.power_fails(node).await
        {
            return vec![(node, Err(error))];
        }
        self.start(&[node]).await
    }

    /// SIGKILL for all of them at the same time, or for none.
    pub(super) async fn kill_all(&self, nodes: &[NodeId]) -> Result<(), NotIn> {
        let killed = join_all(nodes.iter().map(|&node| self.cluster.kill(node))).await;
        let Some(error) = killed.into_iter().find_map(Result::err) else {
            return Ok(());
        };
        // Whoever was killed comes back; whoever could not be is still there.
        let started = self.start(nodes).await.into_iter();
        let lost = started.filter_map(|(node, started)| match started {
            Ok(()) | Err(ClusterError::State { .. }) => None,
            Err(error) => Some((node, error)),
        });
        // Of several the one that is to blame.
        let to_blame = |(_, error): &(NodeId, ClusterError)| error.accuses();
        match lost.max_by_key(to_blame) {
            Some((node, error)) => Err(NotIn::Lost(node, error)),
            None => Err(error.to_string().into()),
        }
    }

    /// SIGSTOP for all of them at the same time, confirmed for each, or for none.
    pub(super) async fn freeze(&self, nodes: &[NodeId]) -> Result<(), String> {
        let paused = join_all(nodes.iter().map(|&node| self.cluster.pause(node))).await;
        let Some(error) = paused.into_iter().find_map(Result::err) else {
            return Ok(());
        };
        // Whoever could not be paused does not need it.
        let _ = join_all(nodes.iter().map(|&node| self.cluster.resume(node))).await;
        Err(error.to_string())
    }

    /// SIGCONT for one after the other.
    pub(super) async fn thaw(
        &self,
        nodes: &[NodeId],
        stagger: Duration,
    ) -> Vec<(NodeId, Result<(), ClusterError>)> {
        let mut back = Vec::new();
        for &node in nodes {
            if !back.is_empty() {
                tokio::time::sleep(stagger).await;
            }
            back.push((node, self.cluster.resume(node).await));
        }
        back
    }
}
