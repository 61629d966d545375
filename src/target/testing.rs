//! A system of processes and links and nothing else, for tests: no members, no leader, no messages, no switches.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::*;
use crate::journal::Role;

/// Its nodes are shell scripts. A node is ready when it says `READY ADDRESS`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    /// What a node does; its number is `$1`.
    pub(crate) script: String,
    /// What is changed in its environment.
    pub(crate) environment: Vec<(&'static str, Option<OsString>)>,
    /// Where its nodes say something of themselves: each says that it leads, in a term higher by one than the last.
    pub(crate) asked: Option<Arc<AtomicU64>>,
    /// What it promises to survive; `None`: all.
    pub(crate) survives: Option<Vec<Kind>>,
    /// What its clients cannot ask for.
    pub(crate) cannot: Vec<&'static str>,
}

/// Counts how often it was asked.
struct Leads(Ready, Arc<AtomicU64>);

impl Statuses for Leads {
    fn ask(&mut self, _within: Duration) -> Asked<'_, NodeStatus> {
        let term = 1 + self.1.fetch_add(1, Ordering::SeqCst);
        let says = NodeStatus {
            role: Role::Leader,
            term: Some(term),
            leader: Some(self.0.id),
            ..NodeStatus::default()
        };
        Box::pin(async move { Ok(says) })
    }
}

impl Target for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn launches(&self, node: u64, wiring: &Wiring) -> Vec<Launch> {
        let arguments = ["-c", &self.script, "sh", &node.to_string()].map(OsString::from);
        let ready = |line: &str| {
            let address: SocketAddr = line.strip_prefix("READY ")?.parse().ok()?;
            Some(Listening {
                peers: address,
                clients: address,
                chaos: None,
                redis: None,
            })
        };
        vec![Launch {
            program: "sh".into(),
            arguments: arguments.to_vec(),
            environment: self
                .environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            folder: None,
            folders: vec![wiring.data(node)],
            files: vec![(wiring.data(node).join("born"), node.to_string())],
            volatile: Vec::new(),
            stop_signal: Signal::TERM,
            readiness: Readiness::Says(Arc::new(ready)),
            host: None,
            first_line: None,
        }]
    }

    fn bootstrap<'a>(&'a self, _members: &'a [Member]) -> Asked<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn statuses(&self, node: &Ready) -> Box<dyn Statuses> {
        match &self.asked {
            Some(asked) => Box::new(Leads(*node, asked.clone())),
            None => Box::new(NoStatus(self.name().to_owned())),
        }
    }

    fn client(&self, config: ClientConfig) -> Box<dyn Client> {
        Box::new(client::Routed::new(Nothing, &config))
    }

    fn tells_leader(&self) -> bool {
        self.asked.is_some()
    }

    fn modes(&self) -> Vec<Mode> {
        vec![Mode {
            name: "weak".to_owned(),
            expect: Expect::Holds,
            survives: self.survives.clone(),
            expose: None,
        }]
    }

    fn cannot(&self) -> Vec<&'static str> {
        self.cannot.clone()
    }
}

/// Refuses everything.
#[derive(Debug)]
struct Nothing;

impl protocol::Protocol for Nothing {
    fn ask<'a>(
        &'a mut self,
        _: u64,
        _: &'a str,
        _: checkers::history::Call,
        _: tokio::time::Instant,
    ) -> BoxFuture<'a, Result<protocol::Reply, protocol::Refusal>> {
        let why = "it stores nothing".to_owned();
        Box::pin(async move { Err(protocol::Refusal::NotApplied { leader: None, why }) })
    }

    fn reset(&mut self) {}
}
