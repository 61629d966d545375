//! What the bench's own client asks when everything is healed: a few operations that change something, and then all that
//! there is to be read, through each node that will answer.

use std::time::Duration;

use checkers::history::{Call, Outcome};
use checkers::types::{self, Asked, Datum};

use super::clients::Client;
use super::context::RunContext;
use super::stage::Stage;
use crate::cluster::Cluster;
use crate::fault::{Need, NodeId};
use crate::oracle::Finding;
use crate::oracle::service::{self, Asks};
use crate::recorder::Recorder;

/// The leadership is handed to a node within this, or the next one has its turn.
const ROTATE_WITHIN: Duration = Duration::from_secs(4);
/// What everybody has in the end, everybody has by then: some retries of a message.
const SETTLE_WITHIN: Duration = Duration::from_secs(12);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// So many clients may have given way to the next before another node is asked.
const CLIENTS_OF_A_NODE: u32 = 1_000;

/// The bench's own client, which asks when everything is healed.
pub(super) struct Own<'a> {
    pub(super) client: Client,
    pub(super) recorder: &'a Recorder,
    /// The keys of the workload, where a register is tested.
    pub(super) keys: Vec<String>,
}

/// What is read at the end.
#[derive(Clone)]
pub(super) enum Read {
    Key(String),
    Asked(Asked),
}

impl Own<'_> {
    /// All that there is to be read.
    pub(super) fn last_reads(&self) -> Vec<Read> {
        let typed = self.client.last().into_iter().map(Read::Asked);
        match self.client.is_typed() {
            true => typed.collect(),
            false => self.keys.iter().cloned().map(Read::Key).collect(),
        }
    }
}

impl service::Client for Own<'_> {
    type Read = Read;

    async fn write(&mut self, turn: usize) -> bool {
        if let Some(asked) = self.client.probe() {
            let outcome = self.client.ask(self.recorder, &asked).await;
            return matches!(outcome, types::Outcome::Ok(_));
        }
        let (Some(call), key) = (
            self.client.fresh_write(),
            &self.keys[turn % self.keys.len()],
        ) else {
            return false;
        };
        let outcome = self.client.perform(self.recorder, key, call).await;
        matches!(outcome, Outcome::Ok(_))
    }

    async fn read(&mut self, read: &Read) -> bool {
        match read {
            Read::Key(key) => {
                let outcome = self.client.perform(self.recorder, key, Call::Read).await;
                matches!(outcome, Outcome::Ok(_))
            }
            Read::Asked(asked) => {
                let outcome = self.client.ask(self.recorder, asked).await;
                matches!(outcome, types::Outcome::Ok(_))
            }
        }
    }

    fn describe(read: &Read) -> String {
        match read {
            Read::Key(key) => key.clone(),
            Read::Asked(Asked { key: Some(key), .. }) => key.to_string(),
            Read::Asked(_) => "everything".to_owned(),
        }
    }
}

impl RunContext {
    /// Makes every node the leader in turn and reads every key through it, so that what one node alone holds, or lacks, is
    /// seen by clients. A node that does not take the leadership over is no finding: it is said, and the next one has its
    /// turn; at least once everything is read.
    pub(super) async fn rotate_and_read(
        &self,
        cluster: &Cluster,
        nodes: &[u64],
        asks: &mut Asks<'_, Own<'_>>,
    ) -> Result<(), Finding> {
        let mut read = false;
        let rotates = cluster.target().offers(Need::Admin);
        if let Err(why) = &rotates {
            let text = format!("the final reads go through whoever answers: {why}");
            self.log.say(text);
        }
        for &node in nodes.iter().filter(|_| rotates.is_ok()) {
            match cluster.transfer(node, ROTATE_WITHIN).await {
                Ok(()) => {
                    self.recorder.mark(format!("final reads through n{node}"));
                    let left = asks.reads().await?;
                    if left > 0 {
                        self.log.say(format!(
                            "{left} keys were not read through n{node}: it took too long"
                        ));
                    }
                    read = true;
                }
                Err(error) => self
                    .log
                    .say(format!("no final reads through n{node}: {error}")),
            }
        }
        if !read {
            asks.reads().await?;
        }
        Ok(())
    }

    /// Reads everything through every node, where each answers clients. What is to be everywhere in the end is waited for
    /// first.
    pub(super) async fn read_of_each(
        &self,
        stage: &Stage,
        nodes: &[NodeId],
        reads: Vec<Read>,
    ) -> Result<(), Finding> {
        let mut own: Vec<(NodeId, Own<'_>)> = Vec::new();
        for (&node, turn) in nodes.iter().zip(1..) {
            let before = turn * CLIENTS_OF_A_NODE;
            let client = stage.fleet.own_at(node, before);
            let (recorder, keys) = (&*self.recorder, Vec::new());
            let of_node = Own {
                client,
                recorder,
                keys,
            };
            own.push((node, of_node));
        }
        let lasts = |read: &Read| matches!(read, Read::Asked(asked) if asked.act == "final");
        if reads.iter().any(lasts) {
            self.settles(&mut own).await;
        }
        for (node, client) in own {
            self.recorder.mark(format!("final reads through n{node}"));
            let mut asks = Asks {
                client,
                reads: reads.clone(),
                heart: self.host.heart(),
            };
            let left = asks.reads().await?;
            if left > 0 {
                self.log.say(format!(
                    "{left} objects were not read through n{node}: it took too long"
                ));
            }
        }
        Ok(())
    }

    /// Waits until all nodes hold the same, or have had their time for it: what is lost then is for the judge.
    async fn settles(&self, own: &mut [(NodeId, Own<'_>)]) {
        let deadline = self.host.heart().deadline(SETTLE_WITHIN);
        let read = Asked {
            key: None,
            act: "read",
            with: Datum::Nil,
        };
        loop {
            let mut found = Vec::new();
            for (_, own) in own.iter_mut() {
                let outcome = own.client.ask(own.recorder, &read).await;
                let items = match &outcome {
                    types::Outcome::Ok(answer) => answer.items().map(<[Datum]>::to_vec),
                    types::Outcome::Failed | types::Outcome::Unknown => None,
                };
                found.push(items.map(|mut items| {
                    items.sort_unstable();
                    items
                }));
            }
            let same = found.windows(2).all(|two| two[0] == two[1]);
            if same && found.iter().all(Option::is_some) {
                return;
            }
            if deadline.is_over() {
                let within = SETTLE_WITHIN.as_secs();
                self.log
                    .say(format!("the nodes did not hold the same within {within} s"));
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
