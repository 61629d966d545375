//! Our own node: `whitewater node`, Kiwi's Raft RPC layer over openraft. The only place of the bench that knows its
//! command line and its messages.

mod admin;
mod ask;
mod chaos;
mod protocol;
mod session;
mod status;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use checkers::anomaly::Anomaly;
use rustix::process::Signal;

use super::{
    Admin, Asked, Client, ClientConfig, Defects, Expect, Launch, Listening, Machines, Member,
    Messages, Mode, Readiness, Ready, States, Statuses, Target, Wiring,
};
use crate::fault::{Kind, Need};
use crate::host::Shortages;
use crate::wire::metadata::{Credentials, TOKEN_VARIABLE, Token, TokenError};
use protocol::KiwiProtocol;
use session::KiwiClient;
use status::Metrics;

/// Nodes of this program, all run alike.
#[derive(Clone, Debug)]
pub struct Kiwi {
    config: KiwiConfig,
}

/// How the nodes are run.
#[derive(Clone, Debug)]
pub struct KiwiConfig {
    /// The program and its first arguments; the node's own flags follow.
    pub command: Vec<OsString>,
    /// What the nodes ask of whoever calls them; `None`: nothing.
    pub token: Option<Token>,
    /// `--reads`.
    pub reads: String,
    /// `--append`.
    pub append: String,
    /// `--defect`, where one is planted.
    pub defect: Option<String>,
    /// Heartbeats, elections, snapshots.
    pub timings: Timings,
    /// Flags that are passed on as they are, after all others.
    pub more_flags: Vec<OsString>,
    /// What of a machine cannot be had on this host, and why: the nodes run without it.
    pub lacking: Vec<(Need, String)>,
    /// Where it is noted what the host does not give to whoever asks the nodes.
    pub shortages: Shortages,
}

impl Default for KiwiConfig {
    /// This program's own nodes with default timings, and no token.
    fn default() -> KiwiConfig {
        KiwiConfig {
            command: vec!["/proc/self/exe".into(), "node".into()],
            token: None,
            reads: "read-index".into(),
            append: "stream".into(),
            defect: None,
            timings: Timings::default(),
            more_flags: Vec::new(),
            lacking: Vec::new(),
            shortages: Shortages::default(),
        }
    }
}

impl KiwiConfig {
    /// The default, with a token that nobody knows.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn guarded() -> Result<KiwiConfig, TokenError> {
        Ok(KiwiConfig {
            token: Some(Token::random()?),
            ..KiwiConfig::default()
        })
    }
}

/// The times and counts that a node runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// The least election timeout.
    pub election_min: Duration,
    /// The greatest election timeout.
    pub election_max: Duration,
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// Log entries kept behind a snapshot.
    pub keep_logs: u64,
    /// Log entries that a follower may lag before it is sent a snapshot.
    pub lag: u64,
}

impl Default for Timings {
    /// Failover in about a second, and snapshots within any run that does some work.
    fn default() -> Timings {
        Timings {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            snapshot_every: 300,
            keep_logs: 50,
            lag: 100,
        }
    }
}

impl Kiwi {
    /// Nodes that run like this.
    #[must_use]
    pub fn new(config: KiwiConfig) -> Kiwi {
        Kiwi { config }
    }

    /// What a call to a node has to carry.
    #[must_use]
    pub fn credentials(&self, node: u64) -> Credentials {
        Credentials::new(self.config.token.clone(), node)
    }
}

impl Target for Kiwi {
    fn name(&self) -> &'static str {
        "kiwi"
    }

    fn token(&self) -> Option<&Token> {
        self.config.token.as_ref()
    }

    fn launches(&self, node: u64, wiring: &Wiring) -> Vec<Launch> {
        let (program, first) = match self.config.command.split_first() {
            Some((program, first)) => (program.clone(), first),
            None => (OsString::new(), &[][..]),
        };
        let token = self.config.token.as_ref();
        let folders = vec![wiring.data(node), wiring.dir.join("trace")];
        vec![Launch {
            program,
            arguments: [first, &flags(&self.config, node, wiring)].concat(),
            // Not what the bench itself may have been given.
            environment: vec![(
                TOKEN_VARIABLE.to_owned(),
                token.map(|token| token.reveal().into()),
            )],
            folder: None,
            folders,
            files: Vec::new(),
            volatile: Vec::new(),
            stop_signal: Signal::TERM,
            readiness: Readiness::Says(Arc::new(ready)),
            host: None,
            first_line: None,
        }]
    }

    fn bootstrap<'a>(&'a self, members: &'a [Member]) -> Asked<'a, ()> {
        Box::pin(self.initialize(members))
    }

    fn statuses(&self, node: &Ready) -> Box<dyn Statuses> {
        Box::new(Metrics::of(self, node))
    }

    fn client(&self, config: ClientConfig) -> Box<dyn Client> {
        let (token, shortages) = (self.config.token.clone(), self.config.shortages.clone());
        let protocol = KiwiProtocol::new(&config, token, shortages);
        Box::new(KiwiClient::new(protocol, &config))
    }

    fn messages(&self) -> Option<Messages> {
        Some(Messages::Kiwi)
    }

    fn tells_leader(&self) -> bool {
        true
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }

    fn states(&self) -> Option<&dyn States> {
        Some(self)
    }

    fn defects(&self) -> Option<&dyn Defects> {
        Some(self)
    }

    fn machines(&self) -> Machines {
        Machines::Hardware
    }

    fn lacking(&self, need: Need) -> Option<String> {
        let lacking = self.config.lacking.iter();
        let mut why = lacking.filter(|(what, _)| *what == need);
        why.next().map(|(_, why)| why.clone())
    }

    fn traces(&self) -> bool {
        true
    }

    /// By how reads are answered.
    fn modes(&self) -> Vec<Mode> {
        let stale = || Expect::Found(vec![Anomaly::StaleRead]);
        // A lease trusts clocks.
        let within = Kind::ALL.iter().filter(|kind| !kind.is_outside_the_model());
        let but_clocks = within.copied().filter(|&kind| kind != Kind::Clock);
        let mode = |name: &str, expect, survives| Mode {
            name: name.to_owned(),
            expect,
            survives,
            expose: None,
        };
        vec![
            mode("read-index", Expect::Holds, None),
            mode("lease", Expect::Holds, Some(but_clocks.collect())),
            mode("leader-local", stale(), None),
            mode("follower-local", stale(), None),
        ]
    }

    fn mode(&self) -> Option<Mode> {
        let mut modes = self.modes().into_iter();
        modes.find(|mode| mode.name == self.config.reads)
    }
}

/// The node's flags, as in DESIGN.md's command line.
fn flags(config: &KiwiConfig, id: u64, wiring: &Wiring) -> Vec<OsString> {
    let timings = &config.timings;
    let mut flags: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        flags.push(name.into());
        flags.push(value.as_ref().into());
    };
    flag("--id", &id.to_string());
    flag("--listen", &"127.0.0.1:0");
    if let Some(address) = wiring.advertise.get(&id) {
        flag("--advertise", &address.to_string());
    }
    for (peer, address) in wiring.peers.get(&id).into_iter().flatten() {
        flag("--peer", &format!("{peer}={address}"));
    }
    flag("--data", &wiring.data(id));
    flag("--reads", &config.reads);
    flag("--append", &config.append);
    flag("--chaos-listen", &"127.0.0.1:0");
    // For whoever wants to look at the cluster with `redis-cli`: it asks for the token, too.
    flag("--resp", &"127.0.0.1:0");
    flag("--trace", &wiring.trace(id));
    if let Some(defect) = &config.defect {
        flag("--defect", defect);
    }
    for (name, value) in [
        ("--heartbeat-ms", timings.heartbeat.as_millis()),
        ("--election-min-ms", timings.election_min.as_millis()),
        ("--election-max-ms", timings.election_max.as_millis()),
        ("--snapshot-every", timings.snapshot_every.into()),
        ("--keep-logs", timings.keep_logs.into()),
        ("--lag", timings.lag.into()),
    ] {
        flag(name, &value.to_string());
    }
    flags.push("--parent-watch".into());
    flags.extend(config.more_flags.iter().cloned());
    flags
}

/// `READY raft=ADDR chaos=ADDR`, and `resp=ADDR` after that or nothing.
fn ready(line: &str) -> Option<Listening> {
    let mut words = line.strip_prefix("READY ")?.split_whitespace();
    let raft = words.next()?.strip_prefix("raft=")?.parse().ok()?;
    let chaos = words.next()?.strip_prefix("chaos=")?.parse().ok()?;
    let resp = match words.next() {
        Some(word) => Some(word.strip_prefix("resp=")?.parse().ok()?),
        None => None,
    };
    Some(Listening {
        peers: raft,
        clients: raft,
        chaos: Some(chaos),
        redis: resp,
    })
}

#[cfg(test)]
mod tests;
