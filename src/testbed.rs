//! The testbed: a cluster whose every byte goes through the proxy.
//!
//! [`Testbed`] owns children, addresses and links, and is the only place where they meet: each node is known to its peers
//! by listeners in the proxy, which stay the same for the testbed's life, and a link leads to a child from the moment in
//! which it is ready to the moment before it is ended. Nobody else tells a link where it leads, so that none can point at
//! a port which belongs to somebody else by now.

mod hardware;
mod hosts;
mod lines;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Cluster, ClusterConfig, ClusterError, Spawner, UpstreamHook};
use crate::proxy::{Level, MAX_NODE, Network, NetworkConfig, ProxyError, Route};
use crate::target::{ClientHosts, Messages, Post, Ready, Transport, Wiring};
use hosts::Hosts;
use lines::Hub;

/// The group of clients whose listener of a node is its entry in the membership.
const ADVERTISED: u32 = 0;

/// What could not be had, as what follows "could not".
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// No network.
    #[error("{0}")]
    Network(#[from] ProxyError),
    /// No hosts.
    #[error("get addresses for the nodes' hosts: {0}")]
    Hosts(#[source] std::io::Error),
    /// No children.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
}

/// Children and the network around them. Dropping it ends the children first.
#[derive(Debug)]
pub struct Testbed {
    /// The children.
    pub cluster: Arc<Cluster>,
    /// The nodes' own hosts, where each has one.
    hosts: Option<Arc<Hosts>>,
    /// What carries the nodes' lines, where they speak by those.
    post: Option<Arc<Hub>>,
    /// The links. Last, so that they outlive the children.
    pub network: Arc<Network>,
}

impl Testbed {
    /// Links for every node that there may be, and no child yet. The links ask for the target's token, and tell single
    /// messages apart where the target's can be. Both configurations get the same notes of shortages, and each other's
    /// addresses: what they say of all that is not looked at.
    ///
    /// # Errors
    /// Without a port or a thread.
    pub fn new(network: NetworkConfig, cluster: ClusterConfig) -> Result<Testbed, TestbedError> {
        let target = &cluster.target;
        let level = |wished| match target.messages() {
            Some(Messages::Kiwi) => wished,
            // Lines come by no connection.
            Some(Messages::Lines) | None => Level::Bytes,
        };
        let ids = 1..=network.nodes.min(MAX_NODE);
        let groups = network.client_groups.clone().into_iter();
        let network = Arc::new(Network::start(NetworkConfig {
            token: target.token().cloned(),
            node_level: level(network.node_level),
            client_level: level(network.client_level),
            shortages: cluster.shortages.clone(),
            ..network
        })?);
        let advertise = ids
            .clone()
            .map(|id| (id, network.address(Route::clients(ADVERTISED, id))));
        let peers = |from: u64| {
            let others = ids.clone().filter(move |&to| to != from);
            let others = others.map(|to| (to, network.address(Route::nodes(from, to))));
            (from, others.collect())
        };
        // The links are not kept by the children.
        let links = Arc::downgrade(&network);
        let hosts = Hosts::of(&cluster, ids.clone(), groups, links.clone());
        let hosts = hosts.map_err(TestbedError::Hosts)?;
        let post =
            (target.transport() == Transport::Lines).then(|| Arc::new(Hub::new(links.clone())));
        let spawner: Arc<dyn Spawner> = match (&post, &hosts) {
            (Some(post), _) => post.clone(),
            (None, Some(hosts)) => hosts.clone(),
            (None, None) => cluster.spawner.clone(),
        };
        let cluster = Cluster::new(ClusterConfig {
            wiring: Wiring {
                advertise: advertise.collect(),
                peers: ids.clone().map(peers).collect(),
                hosts: hosts
                    .as_ref()
                    .map(|hosts| hosts.addresses())
                    .unwrap_or_default(),
                clients: hosts.clone().map(|hosts| hosts as Arc<dyn ClientHosts>),
                post: post.clone().map(|post| post as Arc<dyn Post>),
                ..cluster.wiring
            },
            spawner,
            upstream: UpstreamHook::new(move |node, address| {
                if let Some(links) = links.upgrade() {
                    links.set_upstream(node, address);
                }
            }),
            ..cluster
        })?;
        Ok(Testbed {
            cluster: Arc::new(cluster),
            hosts,
            post,
            network,
        })
    }

    /// Starts these nodes and makes some of them the first members. Gives where they listen.
    ///
    /// # Errors
    /// When one does not become ready, the cluster cannot be made, or nobody leads in time although its nodes say who leads.
    pub async fn start(
        &self,
        nodes: &[u64],
        voters: &[u64],
        leader_within: Duration,
    ) -> Result<Vec<Ready>, TestbedError> {
        let ready = self.cluster.start_all(nodes).await?;
        self.cluster.initialize(voters).await?;
        // Of whom nobody says who leads it is enough that they are ready.
        if self.cluster.target().tells_leader() {
            self.cluster.wait_for_leader(voters, leader_within).await?;
        }
        Ok(ready)
    }

    /// What of the nodes' traffic no link could harm, a sentence each: connections to what is no node, datagrams, and lines
    /// that are no message to anybody.
    #[must_use]
    pub fn unharmed(&self) -> Vec<String> {
        let mut said = match &self.post {
            Some(post) => post.rubbish(),
            None => Vec::new(),
        };
        let Some(hosts) = &self.hosts else {
            return said;
        };
        let foreign = hosts.foreign();
        let times = |(address, times): (&SocketAddr, &u64)| format!("{address} ({times} times)");
        let foreign: Vec<String> = foreign.iter().map(times).collect();
        if !foreign.is_empty() {
            said.push(format!(
                "nodes or client programs connect to what is no node, where no link is harmed: {}",
                foreign.join(", ")
            ));
        }
        for node in hosts.datagrams() {
            said.push(format!(
                "n{node} sends its peers datagrams, which no link harms"
            ));
        }
        said
    }
}
