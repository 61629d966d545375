//! A described target as a [`Target`]: each node on a host of its own, started, asked and talked to as its file says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::question::{Ask, Leader, ReadyBy, State};
use super::{ClientOptions, Description, Expect, Mode, Place, Wiring, program};
use crate::host::Shortages;
use crate::journal::{NodeStatus, Role};
use crate::target::client::Routed;
use crate::target::protocol::dial::Dial;
use crate::target::protocol::etcd::Etcd;
use crate::target::protocol::http::Http;
use crate::target::protocol::lines::Lines;
use crate::target::protocol::maelstrom::{self, Message};
use crate::target::protocol::posted::Posted;
use crate::target::protocol::resp::Resp;
use crate::target::protocol::typed::Workload;
use crate::target::template::Words;
use crate::target::{
    self, AskReady, Asked, Asks, Client, ClientConfig, Launch, Listening, Machines, Member, Post,
    Readiness, Ready, StateDump, StateHash, States, Statuses, Target, TargetError, Transport,
};

/// A node that is asked whether it is ready has this long for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// What makes the nodes a cluster may take so long, and is asked again until then: a node that is ready may not yet have
/// heard of the others.
const FORM_WITHIN: Duration = Duration::from_secs(30);
/// Between two tries of it.
const FORM_AGAIN: Duration = Duration::from_millis(200);
/// A node that is started again, perhaps cut off from all others, is given so long to listen. What it does then is
/// looked at when everything is healed.
const LISTENS_WITHIN: Duration = Duration::from_secs(2);

/// Somebody's system, in one of its modes.
#[derive(Debug)]
pub struct System {
    description: Description,
    mode: Mode,
    program: PathBuf,
    members: Vec<u64>,
    shortages: Shortages,
    /// The nodes that were ready once.
    were_ready: Arc<Mutex<BTreeSet<u64>>>,
    /// Why a node was not ready when it was asked last.
    not_ready: Arc<Mutex<BTreeMap<u64, String>>>,
    /// Where the members are: known from the first start on.
    wiring: Mutex<Option<Arc<Wiring>>>,
    /// What surrounds the nodes: known from the first start on.
    around: Mutex<Option<target::Wiring>>,
}

impl System {
    /// A system of these members, by this program.
    #[must_use]
    pub fn new(
        description: Description,
        mode: Mode,
        program: PathBuf,
        members: Vec<u64>,
        shortages: Shortages,
    ) -> System {
        System {
            description,
            mode,
            program,
            members,
            shortages,
            were_ready: Arc::default(),
            not_ready: Arc::default(),
            wiring: Mutex::default(),
            around: Mutex::default(),
        }
    }

    fn wired(&self, wiring: &target::Wiring) -> Arc<Wiring> {
        let place = |&id: &u64| Place {
            id,
            ip: IpAddr::V4(
                wiring
                    .hosts
                    .get(&id)
                    .copied()
                    .unwrap_or(Ipv4Addr::LOCALHOST),
            ),
            dir: wiring.data(id),
        };
        let wired = Arc::new(Wiring {
            members: self.members.iter().map(place).collect(),
            program: self.program.clone(),
        });
        *known(&self.wiring) = Some(wired.clone());
        *known(&self.around) = Some(wiring.clone());
        wired
    }

    /// What the words of the file mean at a node.
    fn words(&self, wiring: &Wiring, node: u64) -> Words {
        let place = self.members.iter().position(|&member| member == node);
        let place = place.expect("a member is asked for");
        self.description.words(&self.mode, place, wiring)
    }

    /// The same, once the nodes' addresses are known.
    fn known_words(&self, node: u64) -> Option<Words> {
        let wiring = known(&self.wiring).clone()?;
        self.members
            .contains(&node)
            .then(|| self.words(&wiring, node))
    }

    fn around(&self) -> Option<target::Wiring> {
        known(&self.around).clone()
    }

    /// What carries the nodes' lines, where they speak by those.
    fn post(&self) -> Option<Arc<dyn Post>> {
        self.around()?.post
    }

    /// What a node that speaks by lines hears first. It comes from the bench, as client `c0`.
    fn first_line(&self, node: u64) -> Option<String> {
        let names: Vec<String> = self.members.iter().map(|id| format!("n{id}")).collect();
        let name = format!("n{node}");
        let init = || Message {
            src: "c0".to_owned(),
            dest: name.clone(),
            addr: None,
            body: maelstrom::init(1, &name, &names),
        };
        let lines = self.transport() == Transport::Lines;
        lines.then(|| init().line() + &self.topology(node))
    }

    /// What a node of a broadcast hears next: who its neighbours are, everybody.
    fn topology(&self, node: u64) -> String {
        let workload = match self.mode.client {
            ClientOptions::Maelstrom { workload } => workload,
            _ => return String::new(),
        };
        if workload != Workload::Broadcast {
            return String::new();
        }
        let names = self.members.iter().map(|id| format!("n{id}"));
        let names: Vec<String> = names.collect();
        Message {
            src: "c0".to_owned(),
            dest: format!("n{node}"),
            addr: None,
            body: maelstrom::topology(2, &names),
        }
        .line()
    }

    /// Where clients of a node dial it.
    fn clients_at(&self, words: &Words, ip: IpAddr) -> SocketAddr {
        let port = match &self.mode.client {
            ClientOptions::Etcd { port, .. }
            | ClientOptions::Resp { port, .. }
            | ClientOptions::Lines { port, .. } => *port,
            ClientOptions::Http(options) => port_of(&options.base.fill(words)),
            ClientOptions::Maelstrom { .. } => 0,
        };
        SocketAddr::new(ip, port)
    }

    /// How a node says that it is ready.
    fn readiness(&self, node: u64, words: Words, at: SocketAddr, log: PathBuf) -> Readiness {
        let listening = Listening {
            peers: at,
            clients: at,
            chaos: None,
            redis: None,
        };
        // A node that is started again is told again who it is, past all faults.
        if let (ReadyBy::Init(_), Some(post)) = (&self.description.ready.by, self.post()) {
            return Readiness::Asked(Arc::new(move || {
                let ready = post.is_ready(node).then_some(listening);
                Box::pin(async move { ready })
            }));
        }
        let (were_ready, not_ready) = (self.were_ready.clone(), self.not_ready.clone());
        let again = known(&were_ready).contains(&node);
        if again {
            return Readiness::Asked(listens(listening));
        }
        let ready = self.description.ready.clone();
        // What the log says of an earlier life is not said of this one.
        let from = std::fs::metadata(&log).map_or(0, |log| log.len());
        let asked: Arc<AskReady> = Arc::new(move || {
            let (ready, words, log) = (ready.clone(), words.clone(), log.clone());
            let (were_ready, not_ready) = (were_ready.clone(), not_ready.clone());
            Box::pin(async move {
                let said = said_since(&ready.by, &log, from).await;
                match ready.is(&words, &said, ANSWER_WITHIN).await {
                    Ok(()) => {
                        known(&were_ready).insert(node);
                        Some(listening)
                    }
                    Err(why) => {
                        known(&not_ready).insert(node, why.to_string());
                        None
                    }
                }
            })
        });
        Readiness::Asked(asked)
    }

    /// A node's own address; known from its first start on, where each has one.
    #[must_use]
    pub fn address(&self, node: u64) -> Option<IpAddr> {
        let ip = self.around()?.hosts.get(&node).copied()?;
        Some(IpAddr::V4(ip))
    }

    /// Where a node's clients are to ask it, by its own address.
    #[must_use]
    pub fn clients_of(&self, node: u64) -> Option<SocketAddr> {
        let (words, ip) = (self.known_words(node)?, self.address(node)?);
        Some(self.clients_at(&words, ip))
    }

    /// Where the client programs' own errors are, where clients are programs.
    #[must_use]
    pub fn clients_log(&self) -> Option<PathBuf> {
        let are_programs = matches!(self.mode.client, ClientOptions::Lines { .. });
        let dir = self.around().filter(|_| are_programs)?.dir;
        Some(dir.join(program::LOG))
    }

    /// By what one sees that a node is ready, in words; known from the first start on.
    #[must_use]
    pub fn ready_when(&self, node: u64) -> Option<String> {
        let words = self.known_words(node)?;
        Some(self.description.ready.seen_by(&words))
    }
}

fn known<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The port of `http://HOST:PORT/...`.
fn port_of(base: &str) -> u16 {
    let whole = base.strip_prefix("http://").unwrap_or(base);
    let host = whole.split('/').next().unwrap_or_default();
    let port = host
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    port.unwrap_or(80)
}

/// Ready is who listens, or has had its time for it.
fn listens(listening: Listening) -> Arc<AskReady> {
    let since = Arc::new(Mutex::new(None::<Instant>));
    Arc::new(move || {
        let since = since.clone();
        Box::pin(async move {
            let connected = tokio::net::TcpStream::connect(listening.clients).await;
            let mut since = known(&since);
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            (connected.is_ok() || waited > LISTENS_WITHIN).then_some(listening)
        })
    })
}

/// What a node has printed in this life, where one sees by that whether it is ready.
async fn said_since(by: &ReadyBy, log: &Path, from: u64) -> String {
    if !matches!(by, ReadyBy::Log(_)) {
        return String::new();
    }
    let text = tokio::fs::read(log).await.unwrap_or_default();
    let new = text.get(usize::try_from(from).unwrap_or(usize::MAX)..);
    String::from_utf8_lossy(new.unwrap_or_default()).into_owned()
}

impl Target for System {
    fn name(&self) -> &str {
        &self.description.name
    }

    fn launches(&self, node: u64, wiring: &target::Wiring) -> Vec<Launch> {
        let wired = self.wired(wiring);
        let words = self.words(&wired, node);
        let ip = wiring.hosts.get(&node).copied();
        let at = self.clients_at(&words, IpAddr::V4(ip.unwrap_or(Ipv4Addr::LOCALHOST)));
        let log = wiring.folder(node).join("log");
        let readiness = self.readiness(node, words, at, log);
        let mut first_line = self.first_line(node);
        let host = (self.transport() == Transport::Sockets).then_some(at);
        let launches = self.description.launches(&self.mode, node, &wired);
        let mut launch = |launch: super::Launch| {
            let env = launch.env.into_iter();
            // A node may have rewritten what it was given.
            let files = launch.files.into_iter();
            let files: Vec<_> = files.filter(|(path, _)| !path.exists()).collect();
            let mut folders = vec![wiring.data(node), launch.cwd.clone()];
            folders.extend(
                files
                    .iter()
                    .filter_map(|(path, _)| Some(path.parent()?.into())),
            );
            Launch {
                program: launch.program.into(),
                arguments: launch.args.into_iter().map(Into::into).collect(),
                environment: env
                    .map(|(name, value)| (name, Some(value.into())))
                    .collect(),
                folder: Some(launch.cwd),
                folders,
                files,
                volatile: launch.volatile,
                stop_signal: launch.stop_signal.into(),
                readiness: readiness.clone(),
                host,
                first_line: first_line.take(),
            }
        };
        launches.into_iter().map(&mut launch).collect()
    }

    fn machines(&self) -> Machines {
        match self.transport() {
            Transport::Sockets => Machines::Whole,
            Transport::Lines => Machines::None,
        }
    }

    fn transport(&self) -> Transport {
        match self.mode.client {
            ClientOptions::Maelstrom { .. } => Transport::Lines,
            _ => Transport::Sockets,
        }
    }

    fn ready_within(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.description.ready.within_s))
    }

    fn why_not_ready(&self, node: u64) -> Option<String> {
        match self.description.ready.by {
            ReadyBy::Init(_) => Some("it has not answered init by init_ok".to_owned()),
            _ => known(&self.not_ready).get(&node).cloned(),
        }
    }

    fn bootstrap<'a>(&'a self, _members: &'a [Member]) -> Asked<'a, ()> {
        Box::pin(async move {
            for form in &self.description.form {
                for (place, &node) in self.members.iter().enumerate() {
                    let Some(words) = self.known_words(node).filter(|_| form.on.meets(place))
                    else {
                        continue;
                    };
                    succeeds(node, &form.ask, &words).await?;
                }
            }
            Ok(())
        })
    }

    fn statuses(&self, node: &Ready) -> Box<dyn Statuses> {
        match (&self.description.leader, self.known_words(node.id)) {
            (Some(leader), Some(words)) => Box::new(Leads {
                node: node.id,
                leader: leader.clone(),
                words,
            }),
            _ => Box::new(target::NoStatus(self.name().to_owned())),
        }
    }

    fn client(&self, config: ClientConfig) -> Box<dyn Client> {
        let dial = Dial::new(config.dial.clone()).noting(self.shortages.clone());
        let mut dial = dial.aimed(config.aimed);
        let (mut words, mut places) = (BTreeMap::new(), BTreeMap::new());
        for &node in config.dial.keys() {
            let Some(own) = self.known_words(node) else {
                continue;
            };
            let ip = own.own.get("ip").and_then(|ip| ip.parse().ok());
            let at = self.clients_at(&own, ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            dial = dial.knowing(at.to_string(), node);
            words.insert(node, own);
            places.insert(node, at);
        }
        if config.patient {
            dial = dial.within(config.deadline);
        }
        match &self.mode.client {
            ClientOptions::Etcd { read, .. } => {
                Box::new(Routed::new(Etcd::new(dial, *read), &config))
            }
            ClientOptions::Resp {
                read,
                user,
                password,
                ..
            } => {
                let resp = Resp::new(dial, *read);
                let resp = match self.description.spec.other() {
                    Some(of) => resp.of(of),
                    None => resp,
                };
                let resp = match password {
                    Some(password) => resp.with_password(user.clone(), password.clone()),
                    None => resp,
                };
                Box::new(Routed::new(resp, &config))
            }
            ClientOptions::Http(options) => {
                let http = Http::new(dial, (**options).clone(), words);
                Box::new(Routed::new(http, &config))
            }
            ClientOptions::Maelstrom { workload } => {
                let post = self.post().expect("clients come after the first node");
                let posted = Posted::new(post, config.group, *workload);
                Box::new(Routed::new(posted, &config))
            }
            ClientOptions::Lines { run, env, .. } => {
                let nobody = |node| panic!("n{node} has no place yet, and a client");
                let first = self.members[0];
                let words = self.known_words(first).unwrap_or_else(|| nobody(first));
                let number = u64::try_from(config.turn).expect("there are so few clients");
                let host = self
                    .around()
                    .and_then(|around| around.clients?.host(config.group));
                // On a host of its own it dials the nodes where they are, as they tell it themselves.
                let nodes = match &host {
                    Some(_) => places,
                    None => config.dial.clone(),
                };
                let start = program::start(run, env, &words, host, self.clients_log());
                let lines = Lines::new(number, nodes, start);
                Box::new(Routed::new(lines, &config))
            }
        }
    }

    fn asks_for(&self) -> Option<Asks> {
        let of = self.description.spec.other()?;
        let keys = match &self.mode.client {
            ClientOptions::Maelstrom { workload } => workload.has_keys(),
            _ => true,
        };
        // An id is nobody's in particular.
        let keys = keys && !matches!(of.name(), "ids" | "increasing-ids");
        Some(Asks { of, keys })
    }

    fn tells_leader(&self) -> bool {
        self.description.leader.is_some()
    }

    fn names_leader(&self) -> bool {
        false
    }

    fn states(&self) -> Option<&dyn States> {
        let state = self.description.state.as_ref();
        state.map(|_| self as &dyn States)
    }

    fn modes(&self) -> Vec<target::Mode> {
        self.description.modes.iter().map(neutral).collect()
    }

    fn mode(&self) -> Option<target::Mode> {
        Some(neutral(&self.mode))
    }

    fn cannot(&self) -> Vec<&'static str> {
        self.mode.client.lacks()
    }
}

impl States for System {
    /// Index and hash of one answer. Its nodes have no term in it: 0 stands for that.
    fn hash<'a>(&'a self, node: &'a Ready) -> Asked<'a, StateHash> {
        Box::pin(async move {
            let (id, what) = (node.id, "its state");
            let failed = |seen: String| TargetError::Ask { id, what, seen };
            let known = self.description.state.as_ref().zip(self.known_words(id));
            let Some((state, words)) = known else {
                return Err(failed("its file has no [state]".to_owned()));
            };
            let answer = state.ask.answer(&words, ANSWER_WITHIN).await;
            let answer = answer.map_err(|why| failed(why.to_string()))?;
            state_in(state, &answer).map_err(failed)
        })
    }

    fn dump<'a>(&'a self, _node: &'a Ready) -> Asked<'a, StateDump> {
        let (target, what) = (self.name().to_owned(), "all that a node holds");
        Box::pin(async move { Err(TargetError::NotOffered { target, what }) })
    }

    /// Nobody knows when which part of the answer was looked up.
    fn is_exact(&self) -> bool {
        false
    }
}

/// Index and hash, of an answer.
fn state_in(state: &State, answer: &Value) -> Result<StateHash, String> {
    let index = state
        .index
        .text_of(answer)
        .ok_or("no index in the answer")?;
    let index = index
        .parse()
        .map_err(|_| format!("{index:?} is no index"))?;
    let hash = state.hash.text_of(answer).ok_or("no hash in the answer")?;
    Ok(StateHash {
        applied: Some((0, index)),
        hash,
        keys: 0,
    })
}

/// A mode as any target has it: in one that is to show something, what exposes it is drawn.
fn neutral(mode: &Mode) -> target::Mode {
    let shows = matches!(mode.expect, Expect::Found(_));
    target::Mode {
        name: mode.name.clone(),
        expect: mode.expect.clone(),
        survives: Some(mode.survives.clone()),
        expose: shows.then(|| mode.expose.clone()),
    }
}

/// Asks until it succeeds, for as long as a cluster may take to come about.
async fn succeeds(node: u64, ask: &Ask, words: &Words) -> Result<(), TargetError> {
    let began = Instant::now();
    loop {
        match ask.answer(words, ANSWER_WITHIN).await {
            Ok(_) => return Ok(()),
            Err(_) if began.elapsed() < FORM_WITHIN => tokio::time::sleep(FORM_AGAIN).await,
            Err(why) => {
                let seen = why.to_string();
                let what = "its part of [form]";
                return Err(TargetError::Ask {
                    id: node,
                    what,
                    seen,
                });
            }
        }
    }
}

/// Asks a node whether it leads.
struct Leads {
    node: u64,
    leader: Leader,
    words: Words,
}

impl Statuses for Leads {
    fn ask(&mut self, within: Duration) -> Asked<'_, NodeStatus> {
        Box::pin(async move {
            let Leads {
                node,
                leader,
                words,
            } = self;
            let answered = leader.ask.answer(words, within).await;
            let answer = answered.map_err(|why| TargetError::Ask {
                id: *node,
                what: "its status",
                seen: why.to_string(),
            })?;
            let leads = leader.leader.holds(&answer);
            let term = leader.term.as_ref().and_then(|term| term.text_of(&answer));
            Ok(NodeStatus {
                role: if leads { Role::Leader } else { Role::Follower },
                term: term.and_then(|term| term.parse().ok()),
                leader: leads.then_some(*node),
                ..NodeStatus::default()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::builtin;
    use super::*;

    #[test]
    fn a_state_is_an_index_and_a_hash_of_one_answer_or_it_is_none() {
        let etcd = &builtin::all()[0];
        let state = etcd.state.as_ref().expect("etcd has one");
        let told = |answer: &str| {
            let answer = serde_json::from_str(answer).unwrap();
            state_in(state, &answer).map(|state| (state.applied, state.hash))
        };
        let whole = told(r#"{"header": {"revision": "31"}, "raftAppliedIndex": "57"}"#);
        assert_eq!(whole, Ok((Some((0, 57)), "31".to_owned())));
        for part in [
            r#"{"raftAppliedIndex": "57"}"#,
            r#"{"header": {"revision": "31"}}"#,
            r#"{"header": {"revision": "31"}, "raftAppliedIndex": "many"}"#,
        ] {
            assert!(told(part).is_err(), "{part}");
        }
    }
}
