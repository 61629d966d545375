//! Nodes that speak by lines: their programs with pipes for stdin and stdout, and the post between them and clients.
//!
//! ```text
//!  n1's stdout ─▶ reader ─▶ by its `dest` ─▶ the proxy's direction n1⇒n2 ─▶ n2's lines ─▶ writer ─▶ n2's stdin
//!                                       ╰──▶ the proxy's direction n1⇒clients ─▶ that client
//! ```
//!
//! The first line of a node's life (`init`) and its answer come from the bench itself, as client `c0`, past all faults: they
//! are no message of the system. What is for one of Maelstrom's services ([`Services`]) the bench answers itself. What is no
//! message, or goes to nobody, is counted, and said once.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt;
use machine::launch::{Program, Stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::hosts::{Life, ended, refused};
use crate::cluster::{Spawned, Spawner};
use crate::proxy::{Direction, Endpoint, Fate, Line, Network};
use crate::target::protocol::maelstrom::Message;
use crate::target::protocol::services::Services;
use crate::target::{Launch, Post};

/// Lines that wait for a program to read them; what comes then is lost, as in a full buffer of a network card.
const MOST_UNREAD: usize = 4096;
/// Answers that a client has not taken yet: it has one question at a time, and reads on until that is answered.
const MOST_UNHEARD: usize = 256;
/// Bytes of a line: a longer one is no message.
const MOST_LINE: u64 = 4 << 20;
/// So much of a line that is no message is shown.
const SHOWN: usize = 80;
/// The bench's own name, in the first line to each node.
const BENCH: &str = "c0";

/// What carries lines, and starts those who speak by them.
#[derive(Clone)]
pub(super) struct Hub {
    links: Weak<Network>,
    parties: Arc<Mutex<Parties>>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parties().nodes.keys()).finish()
    }
}

#[derive(Default)]
struct Parties {
    nodes: BTreeMap<u64, Node>,
    clients: BTreeMap<String, Client>,
    /// Lives of nodes and clients so far: each has a number.
    begun: u64,
    services: Services,
    /// Lines of each node that were no message for anybody: how many, and the first.
    rubbish: BTreeMap<u64, (u64, String)>,
}

/// The life of a node.
struct Node {
    life: u64,
    ready: bool,
    input: mpsc::Sender<String>,
}

struct Client {
    group: u32,
    hears: mpsc::Sender<Message>,
}

impl Parties {
    fn next(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }
}

impl Hub {
    /// A post whose lines go by these links.
    pub(super) fn new(links: Weak<Network>) -> Hub {
        Hub {
            links,
            parties: Arc::default(),
        }
    }

    fn parties(&self) -> MutexGuard<'_, Parties> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What nodes have printed that was no message, a sentence a node.
    pub(super) fn rubbish(&self) -> Vec<String> {
        let parties = self.parties();
        let nodes = parties.rubbish.iter();
        let said = nodes.map(|(node, (times, first))| {
            format!(
                "n{node} printed what is no message to anybody, {times} times; the first: {first:?}"
            )
        });
        said.collect()
    }

    /// Connects a program that was just started to the post.
    ///
    /// # Errors
    /// When its pipes cannot be waited for.
    fn connect(&self, node: u64, program: &mut Program, first: Option<&str>) -> io::Result<()> {
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stdin = program.stdin.take().ok_or_else(missing)?;
        let stdout = program.stdout.take().ok_or_else(missing)?;
        let stdin = pipe::Sender::from_file(stdin)?;
        let stdout = pipe::Receiver::from_file(stdout)?;
        let (input, lines) = mpsc::channel(MOST_UNREAD);
        if let Some(first) = first {
            input.try_send(first.to_owned()).map_err(io::Error::other)?;
        }
        let life = {
            let mut parties = self.parties();
            let life = parties.next();
            let ready = first.is_none();
            parties.nodes.insert(node, Node { life, ready, input });
            life
        };
        tokio::spawn(write(stdin, lines));
        tokio::spawn(self.clone().read(node, life, stdout));
        Ok(())
    }

    /// Reads what a node says until its stdout ends: then it is gone.
    async fn read(self, node: u64, life: u64, stdout: pipe::Receiver) {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = (&mut stdout).take(MOST_LINE);
            match limited.read_until(b'\n', &mut line).await {
                Ok(read) if read > 0 => self.said(node, life, &String::from_utf8_lossy(&line)),
                _ => break,
            }
        }
        let mut parties = self.parties();
        if parties.nodes.get(&node).is_some_and(|now| now.life == life) {
            parties.nodes.remove(&node);
        }
    }

    /// A node has said a line.
    fn said(&self, node: u64, life: u64, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let message = Message::parse(line);
        let addressed = message.is_ok_and(|message| self.deliver(node, life, message, line));
        if !addressed {
            let start: String = line.trim_end().chars().take(SHOWN).collect();
            let mut parties = self.parties();
            let (times, _) = parties.rubbish.entry(node).or_insert((0, start));
            *times += 1;
        }
    }

    /// Sends a node's message on its way; false where nobody has the name that it is for.
    fn deliver(&self, node: u64, life: u64, message: Message, line: &str) -> bool {
        let from = Endpoint::Node(node);
        if message.dest == BENCH {
            let answers = message.kind() == "init_ok";
            let known = answers || message.kind() == "topology_ok";
            let mut parties = self.parties();
            let now = parties.nodes.get_mut(&node);
            if let Some(now) = now.filter(|now| now.life == life && answers) {
                now.ready = true;
            }
            return known;
        }
        if let Some(to) = numbered(&message.dest, 'n') {
            let line = format!("{}\n", line.trim_end());
            if to == node {
                // No link leads to oneself.
                self.give(to, line);
            } else {
                self.to_node(from, to, &message, line);
            }
            return true;
        }
        if Services::has(&message.dest) {
            let answer = self.parties().services.answer(&message);
            if let Some(answer) = answer {
                self.give(node, answer.line());
            }
            return true;
        }
        let name = message.dest.clone();
        let Some(group) = self.parties().clients.get(&name).map(|one| one.group) else {
            // A client that has been answered, or has given up, is not listening any more.
            return numbered(&name, 'c').is_some();
        };
        let to = Endpoint::Clients(group);
        let parties = self.parties.clone();
        let (kind, answers) = (message.kind().to_owned(), message.in_reply_to().is_some());
        let give = move || {
            let mut parties = parties.lock().unwrap_or_else(PoisonError::into_inner);
            let heard = parties
                .clients
                .get(&name)
                .is_some_and(|client| client.hears.try_send(message).is_ok());
            parties
                .clients
                .retain(|_, client| !client.hears.is_closed());
            heard
        };
        let line = Line {
            kind: &kind,
            answers,
            bytes: line.len(),
        };
        self.carry(Direction { from, to }, line, give);
        true
    }

    fn to_node(&self, from: Endpoint, to: u64, message: &Message, text: String) -> Fate {
        let hub = self.clone();
        let line = Line {
            kind: message.kind(),
            answers: message.in_reply_to().is_some(),
            bytes: text.len(),
        };
        let direction = Direction {
            from,
            to: Endpoint::Node(to),
        };
        self.carry(direction, line, move || hub.give(to, text))
    }

    fn carry(
        &self,
        direction: Direction,
        line: Line<'_>,
        give: impl FnOnce() -> bool + Clone + Send + 'static,
    ) -> Fate {
        // A network that is gone has taken every line with it.
        let links = self.links.upgrade();
        links.map_or(Fate::Lost, |links| links.carry(direction, line, give))
    }

    /// Puts a line where its node will read it.
    fn give(&self, node: u64, line: String) -> bool {
        let parties = self.parties();
        let there = parties.nodes.get(&node);
        there.is_some_and(|node| node.input.try_send(line).is_ok())
    }
}

/// The number in `n3`, `c7`.
fn numbered(name: &str, letter: char) -> Option<u64> {
    name.strip_prefix(letter)?.parse().ok()
}

/// Writes a program's lines to its stdin, until there are no more, or it reads no more.
async fn write(mut stdin: pipe::Sender, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Post for Hub {
    fn is_ready(&self, node: u64) -> bool {
        self.parties()
            .nodes
            .get(&node)
            .is_some_and(|node| node.ready)
    }

    fn open(&self, group: u32) -> (String, mpsc::Receiver<Message>) {
        let (hears, heard) = mpsc::channel(MOST_UNHEARD);
        let mut parties = self.parties();
        let name = format!("c{}", parties.next());
        parties
            .clients
            .insert(name.clone(), Client { group, hears });
        (name, heard)
    }

    fn send(&self, group: u32, node: u64, message: &Message) -> bool {
        let fate = self.to_node(Endpoint::Clients(group), node, message, message.line());
        fate != Fate::Lost
    }
}

impl Spawner for Hub {
    fn spawn(&self, node: u64, launches: &[Launch], log: File) -> io::Result<Spawned> {
        let mut programs = Vec::new();
        for launch in launches {
            let mut start = machine::launch::Launch::new(&launch.program)
                .args(&launch.arguments)
                .stderr(log.try_clone()?);
            // The first of them is the one that speaks.
            start = match programs.is_empty() {
                true => start.stdin(Stream::Pipe).stdout(Stream::Pipe),
                false => start.stdout(log.try_clone()?),
            };
            if let Some(folder) = &launch.folder {
                start = start.folder(folder);
            }
            for (name, value) in &launch.environment {
                start = match value {
                    Some(value) => start.env(name, value),
                    None => start.without(name),
                };
            }
            // What was started before is ended when it is dropped.
            programs.push((start.start().map_err(refused)?, launch.stop_signal));
        }
        let (first, _) = programs.first_mut().ok_or(io::ErrorKind::InvalidInput)?;
        self.connect(node, first, launches[0].first_line.as_deref())?;
        let (pid, waiter) = (first.pid(), first.waiter());
        let life = Arc::new(Life::of(programs));
        let (all, pids) = (life.clone(), life.clone());
        Ok(Spawned {
            pid,
            group: pid,
            all: Some(Arc::new(move |signal| all.signal(signal))),
            pids: Some(Arc::new(move || pids.pids())),
            stdin: None,
            stdout: None,
            ended: ended(life, waiter).boxed(),
        })
    }
}
