//! One node of somebody's system, tried before anybody breaks three of them: whether it becomes ready where the bench looks
//! for it, what its clients can ask, and what of it no fault would meet.
//!
//! In: a description in one of its modes, and a program. Out: a [`Line`] for each thing, as soon as it is known, and how it
//! ended. Node and network are those of a run; the folder is a temporary one. Nothing is left of either.

mod operations;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Command;
use crate::cluster::{Cluster, ClusterConfig, ClusterError, Equipment};
use crate::fault::{Kind, Lacks, Need};
use crate::host::{self, Shortages, Sockets};
use crate::proxy::{Level, NetworkConfig};
use crate::target::described::{Description, Mode, System};
use crate::target::{Machines, Ready, Target, Transport};
use crate::testbed::Testbed;

/// The node that is tried.
const NODE: u64 = 1;
/// What one node alone does not answer within this it does not answer.
const FORM_WITHIN: Duration = Duration::from_secs(10);
/// It says by then that it leads: an election with nobody else takes no longer.
const LEADS_WITHIN: Duration = Duration::from_secs(10);
/// A question has so long for its answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// A node that is ready listens by then: its word may have come before the kernel's.
const LISTENS_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So many folders are tried before somebody is told.
const FOLDERS: u32 = 100;
/// So many lines of a log are shown.
const SHOWN: usize = 12;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The system.
    pub description: Description,
    /// In which of its modes.
    pub mode: Mode,
    /// Its program.
    pub program: PathBuf,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What.
    pub what: &'static str,
    /// What came of it.
    pub came: Came,
    /// In words.
    pub says: String,
    /// What belongs to it: the last lines of a log.
    pub more: Vec<String>,
}

/// What came of something that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It works.
    Works,
    /// It works, or can be done without; and whoever wrote the file should know.
    Warns,
    /// This system does not have it.
    NotOffered,
    /// It does not work: no run could.
    Fails,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// All that a run needs works.
    Works,
    /// Something does not.
    Fails,
    /// Somebody wanted to see no more.
    Interrupted,
}

/// Starts one node and tries it, until it is done or somebody asks for [`Command::Stop`].
///
/// # Errors
/// What the bench could not have, in words: it says nothing of the system.
pub fn try_one(
    trial: &Trial,
    mut stop: mpsc::Receiver<Command>,
    tell: &mut dyn FnMut(Line),
) -> Result<Tried, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("could not start threads: {error}"))?;
    let folder = Folder::new().map_err(|error| format!("could not make a folder: {error}"))?;
    let mut notes = Notes {
        tell,
        failed: false,
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            Some(_) = stop.recv() => Ok(Tried::Interrupted),
            tried = trial.all(&folder.0, &mut notes) => {
                tried?;
                Ok(if notes.failed { Tried::Fails } else { Tried::Works })
            }
        }
    })
}

/// A folder that is removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
        let mut number = 0;
        loop {
            let name = format!("whitewater-check-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                // Of one whose number this was before, and that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < FOLDERS => {
                    number += 1;
                }
                made => return made.map(|()| Folder(path)),
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is a temporary file like any other.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where the lines go.
struct Notes<'a> {
    tell: &'a mut dyn FnMut(Line),
    failed: bool,
}

impl Notes<'_> {
    fn line(&mut self, what: &'static str, came: Came, says: impl Into<String>) {
        self.with(what, came, says, Vec::new());
    }

    fn with(&mut self, what: &'static str, came: Came, says: impl Into<String>, more: Vec<String>) {
        self.failed |= came == Came::Fails;
        (self.tell)(Line {
            what,
            came,
            says: says.into(),
            more,
        });
    }
}

/// A node that runs.
struct Tested<'a> {
    trial: &'a Trial,
    system: Arc<System>,
    testbed: Testbed,
    folder: &'a Path,
}

impl Trial {
    async fn all(&self, folder: &Path, notes: &mut Notes<'_>) -> Result<(), String> {
        let shortages = Shortages::default();
        let (description, mode) = (self.description.clone(), self.mode.clone());
        let program = self.program.clone();
        let system = System::new(description, mode, program, vec![NODE], shortages.clone());
        let system = Arc::new(system);
        let mut cluster = ClusterConfig::new(folder.to_owned(), system.clone());
        cluster.shortages = shortages;
        cluster.equipment = self.equipment();
        cluster.ready_deadline = system.ready_within().unwrap_or(cluster.ready_deadline);
        let network = NetworkConfig {
            nodes: NODE,
            client_groups: BTreeSet::from([0]),
            client_level: Level::Bytes,
            ..NetworkConfig::default()
        };
        let testbed =
            Testbed::new(network, cluster).map_err(|error| format!("could not {error}"))?;
        let tested = Tested {
            trial: self,
            system,
            testbed,
            folder,
        };
        if let Some(ready) = tested.starts(notes).await
            && tested.is_inside(&ready, notes).await
        {
            tested.forms(notes).await;
            tested.leads(notes).await;
            operations::all(&tested, notes).await;
            tested.has_state(notes).await;
            tested.surroundings(notes).await;
        }
        tested.says_rubbish(notes);
        // What does not work is what there is to be done.
        if !notes.failed {
            lacking(self, &tested.system.lacks(), notes);
        }
        tested.testbed.cluster.end().await;
        Ok(())
    }

    /// A disk that can lose its power, in any case; a clock that can go wrong only where a mode promises to survive that:
    /// whoever is watched for it is slower, and a run without that fault does not watch.
    fn equipment(&self) -> Equipment {
        let Mode {
            survives, expose, ..
        } = &self.mode;
        Equipment {
            disk: true,
            clock: survives.contains(&Kind::Clock) || expose.contains(&Kind::Clock),
            ..Equipment::default()
        }
    }
}

impl Tested<'_> {
    fn cluster(&self) -> &Cluster {
        &self.testbed.cluster
    }

    /// Starts the node, and sees whether it is ready in time.
    async fn starts(&self, notes: &mut Notes<'_>) -> Option<Ready> {
        let began = Instant::now();
        let mut start = std::pin::pin!(self.cluster().start(NODE));
        // Where it listened while it was waited for: a node that was not ready is gone when that is said.
        let mut listened = BTreeSet::new();
        let started = loop {
            tokio::select! {
                started = &mut start => break started,
                () = tokio::time::sleep(LOOK_EVERY) => listened.extend(self.listens()),
            }
        };
        let error = match started {
            Ok(ready) => {
                let seconds = began.elapsed().as_secs_f64();
                let seen = self.system.ready_when(NODE).unwrap_or_default();
                notes.line(
                    "ready",
                    Came::Works,
                    format!("after {seconds:.1} s: {seen}"),
                );
                return Some(ready);
            }
            Err(error) => error,
        };
        let says = match &error {
            ClusterError::NotReady { waited, seen, .. } => {
                let seen = seen.clone().unwrap_or_default();
                format!("not within {} s: {seen}", waited.as_secs())
            }
            ClusterError::DiedAtStart { status, .. } => {
                format!("it ended before it was ready ({status})")
            }
            other => format!("could not {other}"),
        };
        let mut more = self.where_instead(&error, &listened);
        if let ClusterError::NotReady { log, .. } | ClusterError::DiedAtStart { log, .. } = &error {
            more.extend(quoted("it printed", log));
        }
        notes.with("ready", Came::Fails, says, more);
        None
    }

    /// The ports at which it listens on its own address.
    fn listens(&self) -> Vec<u16> {
        let own = self.address();
        let all = host::listening(Sockets::Streams).into_iter();
        let own = all.filter(|one| Some(one.at.ip()) == own);
        own.map(|one| one.at.port()).collect()
    }

    fn address(&self) -> Option<IpAddr> {
        self.system.address(NODE)
    }

    /// Of a node that was not ready: where it listens, and who listens where it should.
    fn where_instead(&self, error: &ClusterError, listened: &BTreeSet<u16>) -> Vec<String> {
        let mut more = Vec::new();
        let Some(wanted) = self.system.clients_of(NODE) else {
            return more;
        };
        let port = wanted.port();
        if matches!(error, ClusterError::NotReady { .. }) {
            match listened.is_empty() {
                true => more.push(format!(
                    "it listens nowhere on its address {}: {}",
                    wanted.ip(),
                    self.is_elsewhere()
                )),
                false if listened.contains(&port) => {}
                false => {
                    let ports: Vec<String> = listened.iter().map(u16::to_string).collect();
                    let ports = ports.join(", ");
                    more.push(format!(
                        "it listens at port {ports}, and its clients are to ask at port {port}"
                    ));
                }
            }
        }
        more.extend(other_listener(wanted));
        more
    }

    /// What may be the matter with a program that listens nowhere on its address.
    fn is_elsewhere(&self) -> String {
        let leaves = self.trial.description.leaving();
        match leaves.first() {
            Some(program) => format!(
                "what {program} starts has another parent, so that no fault meets it; name the program itself in [[process]]"
            ),
            None => "it has not come so far, or what it starts is not its child".to_owned(),
        }
    }

    /// Whether whoever is ready is this node, and not somebody else on this machine.
    async fn is_inside(&self, ready: &Ready, notes: &mut Notes<'_>) -> bool {
        let wanted = ready.at.clients;
        if self.system.transport() == Transport::Lines {
            return true;
        }
        // Somebody else may have been answered before the node has come so far.
        let began = Instant::now();
        while !self.listens().contains(&wanted.port()) {
            if began.elapsed() > LISTENS_WITHIN {
                return self.is_outside(wanted, notes);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Somebody else is ready.
    fn is_outside(&self, wanted: SocketAddr, notes: &mut Notes<'_>) -> bool {
        let says = format!(
            "what answers is not this node: no process of it listens at {wanted}, so that no fault would meet it"
        );
        let mut more: Vec<String> = other_listener(wanted).into_iter().collect();
        more.push(self.is_elsewhere());
        more.extend(self.said());
        notes.with("inside", Came::Fails, says, more);
        false
    }

    /// Makes it a cluster of one. What needs several nodes is no failure.
    async fn forms(&self, notes: &mut Notes<'_>) {
        if self.trial.description.form.is_empty() {
            return;
        }
        let formed = self.cluster().initialize(&[NODE]);
        let (came, says) = match tokio::time::timeout(FORM_WITHIN, formed).await {
            Ok(Ok(())) => (Came::Works, "every step of [form] succeeds".to_owned()),
            Ok(Err(error)) => (Came::Warns, format!("one node alone could not {error}")),
            Err(_) => {
                let seconds = FORM_WITHIN.as_secs();
                let says = format!(
                    "a step of [form] does not succeed with one node alone within {seconds} s; a run has all of them"
                );
                (Came::Warns, says)
            }
        };
        notes.line("form", came, says);
    }

    /// Whether it says who leads.
    async fn leads(&self, notes: &mut Notes<'_>) {
        if !self.system.tells_leader() {
            return;
        }
        let began = Instant::now();
        let mut last = self.cluster().status_within(NODE, ANSWERS_WITHIN).await;
        while began.elapsed() < LEADS_WITHIN
            && !last.as_ref().is_ok_and(crate::journal::NodeStatus::leads)
        {
            tokio::time::sleep(LOOK_EVERY).await;
            last = self.cluster().status_within(NODE, ANSWERS_WITHIN).await;
        }
        let (came, says) = match last {
            Err(error) => (Came::Fails, format!("could not {error}")),
            Ok(says) => match (says.leads(), says.term) {
                (true, Some(term)) => (
                    Came::Works,
                    format!("it says that it leads, in term {term}"),
                ),
                (true, None) => {
                    let says =
                        "it says that it leads, and names no term: elections are not counted";
                    (Came::Works, says.to_owned())
                }
                (false, _) => {
                    let seconds = LEADS_WITHIN.as_secs();
                    let says = format!(
                        "it answers, and does not say within {seconds} s that it leads, though it is alone"
                    );
                    (Came::Warns, says)
                }
            },
        };
        notes.line("leader", came, says);
    }

    /// Whether its state can be compared with the others'.
    async fn has_state(&self, notes: &mut Notes<'_>) {
        if self.system.states().is_none() {
            return;
        }
        let (came, says) = match self.cluster().state_hash(NODE).await {
            Err(error) => (Came::Fails, format!("could not {error}")),
            Ok(state) => {
                let index = state.applied.map_or(0, |(_, index)| index);
                let hash: String = state.hash.chars().take(SHOWN).collect();
                (Came::Works, format!("index {index}, hash {hash}"))
            }
        };
        notes.line("state", came, says);
    }

    /// What it runs on, and what of it no fault meets.
    async fn surroundings(&self, notes: &mut Notes<'_>) {
        if self.system.machines() != Machines::Whole {
            return;
        }
        if let Some(why) = self.cluster().keeps_power(NODE) {
            notes.line("power-loss", Came::NotOffered, why);
        } else if let Ok(disk) = self.cluster().disk(NODE).await {
            let Mode { survives, .. } = &self.trial.mode;
            let promises = survives.contains(&Kind::PowerLoss);
            let (came, says) = match disk.syncs {
                0 if promises => (
                    Came::Warns,
                    "it has answered and never synced a file: what it has acknowledged would be gone".to_owned(),
                ),
                0 => (Came::Works, "offered; it has synced nothing so far".to_owned()),
                syncs => (Came::Works, format!("offered; it has synced {syncs} times so far")),
            };
            notes.line("power-loss", came, says);
        }
        if self.trial.equipment().clock {
            let (came, says) = match self.cluster().set_clock(NODE, 1.0, Duration::ZERO).await {
                Ok(_) => (
                    Came::Works,
                    "offered: its reads of a clock are seen".to_owned(),
                ),
                Err(error) => (Came::NotOffered, format!("could not {error}")),
            };
            notes.line("clock", came, says);
        }
        let datagrams = host::listening(Sockets::Datagrams).into_iter();
        let own = datagrams.filter(|one| Some(one.at.ip()) == self.address());
        let ports: BTreeSet<u16> = own.map(|one| one.at.port()).collect();
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            let ports = ports.join(", ");
            let says = format!("it hears datagrams at port {ports}: no link harms those");
            notes.line("udp", Came::Warns, says);
        }
    }

    /// What of its traffic and of its words goes past the bench.
    fn says_rubbish(&self, notes: &mut Notes<'_>) {
        for sentence in self.testbed.unharmed() {
            notes.line("outside", Came::Warns, sentence);
        }
    }

    /// The end of what client programs have said on stderr, where clients are programs.
    fn clients_said(&self) -> Vec<String> {
        let log = self.system.clients_log();
        let text = log
            .and_then(|log| std::fs::read(log).ok())
            .unwrap_or_default();
        quoted(
            "the client program printed",
            &String::from_utf8_lossy(&text),
        )
    }

    /// The end of what the node has said.
    fn said(&self) -> Vec<String> {
        let log = self.folder.join("nodes").join(NODE.to_string()).join("log");
        let text = std::fs::read(log).unwrap_or_default();
        quoted("the node printed", &String::from_utf8_lossy(&text))
    }
}

/// The last lines of what somebody printed, under a heading; nothing where that was nothing.
fn quoted(who: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN)..];
    let heading = match last.len() {
        0 => None,
        all if all == lines.len() => Some(format!("{who}:")),
        _ => Some(format!("{who} at last:")),
    };
    let last = last.iter().map(|line| format!("| {line}"));
    heading.into_iter().chain(last).collect()
}

/// Who else on this machine listens at that port, on all addresses.
fn other_listener(wanted: SocketAddr) -> Option<String> {
    let all = host::listening(Sockets::Streams);
    let other = all
        .iter()
        .find(|one| one.at.port() == wanted.port() && one.at.ip().is_unspecified())?;
    let who = match other.owner() {
        Some((pid, name)) => format!("{name}, pid {pid}"),
        None => "of another user".to_owned(),
    };
    Some(format!(
        "somebody else on this machine listens at {} ({who}): end it, or give the node another port",
        other.at
    ))
}

/// What this system does not have, and why; what its mode promises all the same is a warning.
fn lacking(trial: &Trial, lacks: &Lacks, notes: &mut Notes<'_>) {
    let description = &trial.description;
    let Mode {
        name,
        survives,
        expose,
        ..
    } = &trial.mode;
    for kind in survives.iter().chain(expose) {
        if let Some(why) = lacks.why(kind.need()) {
            let says = format!("mode {name} names it, and it is never drawn: {why}");
            notes.line(kind.name(), Came::Warns, says);
        }
    }
    if description.leader.is_none() {
        let says = "the file has no [leader]: no fault aims at a role, and no election is counted";
        notes.line("leader", Came::NotOffered, says);
    }
    if description.state.is_none() {
        let says = "the file has no [state]: what the members hold is not compared";
        notes.line("state", Came::NotOffered, says);
    }
    if let Some(why) = lacks.why(Need::Letters) {
        notes.line("messages", Came::NotOffered, why);
    }
}
