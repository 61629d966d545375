//! A target that is described by a file: what to start, how to see that it is ready, who leads, how to talk to it, and
//! what it promises in which mode.
//!
//! In: the text of a TOML file, or the name of one that is built in ([`builtin`]). Out: a [`Description`], every word of
//! it checked, or everything that is wrong with the file, line by line; and from it, for each node, what to start
//! ([`Description::launches`]). `docs/targets.md` says what can stand in a file.

pub mod asking;
pub mod builtin;
pub mod find;
pub mod path;
pub mod question;

mod asks;
mod client;
mod modes;
mod parse;
mod program;
mod reader;
mod system;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use checkers::types;
use rustix::process::Signal;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use super::mode::Expect;
use super::template::{Template, Words};
use crate::fault::Kind;
pub use client::ClientOptions;
pub use find::{Find, Found, Missing};
use question::{Ask, Leader, Ready, State};
pub use system::System;

/// What a target's history is judged by.
#[derive(Clone, Copy)]
pub enum DataType {
    /// Keys with a value: read, write, delete, cas.
    Register,
    /// Keys with a list that is appended to.
    ListAppend,
    /// One of the judges' other types.
    Other(&'static dyn types::DataType),
}

impl DataType {
    /// Every one.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let others = types::ALL.into_iter().map(Self::Other);
        [Self::Register, Self::ListAppend]
            .into_iter()
            .chain(others)
            .collect()
    }

    /// As files name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::ListAppend => "list-append",
            Self::Other(of) => of.name(),
        }
    }

    /// The judges' type, where it is neither register nor list.
    #[must_use]
    pub fn other(self) -> Option<&'static dyn types::DataType> {
        match self {
            Self::Other(of) => Some(of),
            Self::Register | Self::ListAppend => None,
        }
    }
}

impl fmt::Debug for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for DataType {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for DataType {}

impl Serialize for DataType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Which nodes something is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// Every one.
    #[default]
    All,
    /// The one with the lowest id.
    First,
    /// Every one but that.
    Others,
}

impl On {
    /// Whether it is for the node at this place, from 0, in the order of ids.
    #[must_use]
    pub fn meets(self, place: usize) -> bool {
        match self {
            On::All => true,
            On::First => place == 0,
            On::Others => place > 0,
        }
    }
}

/// The signal that asks a process to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    #[serde(rename = "SIGTERM")]
    Term,
    /// SIGINT.
    #[serde(rename = "SIGINT")]
    Int,
    /// SIGQUIT.
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// SIGHUP.
    #[serde(rename = "SIGHUP")]
    Hup,
}

impl From<StopSignal> for Signal {
    fn from(signal: StopSignal) -> Signal {
        match signal {
            StopSignal::Term => Signal::TERM,
            StopSignal::Int => Signal::INT,
            StopSignal::Quit => Signal::QUIT,
            StopSignal::Hup => Signal::HUP,
        }
    }
}

/// A file that has to be there before a node's first start, and is left alone afterwards: the node may rewrite it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prepare {
    /// For which nodes.
    pub on: On,
    /// Where.
    pub file: Template,
    /// What is in it.
    #[serde(flatten)]
    pub content: Content,
}

/// What is in a file that is prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// A text with placeholders.
    Text(Template),
    /// A text as it is.
    Verbatim(String),
}

impl Content {
    fn fill(&self, words: &Words) -> String {
        match self {
            Content::Text(template) => template.fill(words),
            Content::Verbatim(text) => text.clone(),
        }
    }
}

/// One process of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// What it is called: the program's own name where the file does not say.
    pub name: String,
    /// On which nodes.
    pub on: On,
    /// The program and its arguments.
    pub run: Vec<Template>,
    /// Where it works; the node's folder if unsaid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Template>,
    /// The signal that asks it to end.
    pub stop_signal: StopSignal,
    /// Files of its folder, with `*`, that it makes anew after a crash: removed at a power loss.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volatile: Vec<String>,
    /// What stands in its environment beside the bench's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Template>,
}

/// Something that is done once, when all nodes are ready for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Form {
    /// At which nodes, one after the other.
    pub on: On,
    /// What is asked; it has to succeed.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What a target promises, used in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mode {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// What it is, in a line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What must come out.
    pub expect: Expect,
    /// The faults that it promises to survive: no others are drawn.
    pub survives: Vec<Kind>,
    /// The faults that are drawn to show what is expected; those that it survives where the file does not say.
    pub expose: Vec<Kind>,
    /// The words of the file's own, with this mode's meaning.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// How clients talk to it.
    pub client: ClientOptions,
}

/// A target, as its file describes it. It serialises as such a file, with everything in it that was left unsaid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// How many nodes, unless somebody says otherwise.
    pub nodes: u64,
    /// What its history is judged by.
    pub spec: DataType,
    /// The words of its own, and what they mean unless a mode says otherwise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Which program it needs.
    pub find: Find,
    /// What has to be there before a node starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Prepare>,
    /// What a node consists of.
    pub process: Vec<Process>,
    /// How one sees that a node is ready.
    pub ready: Ready,
    /// What makes them a cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub form: Vec<Form>,
    /// Who leads: without it no fault can aim at a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
    /// What members can be compared by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What it promises, the one that is meant unless somebody says otherwise first: there is at least one.
    #[serde(serialize_with = "by_name")]
    pub modes: Vec<Mode>,
}

fn by_name<S: Serializer>(modes: &[Mode], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(modes.len()))?;
    for mode in modes {
        map.serialize_entry(&mode.name, mode)?;
    }
    map.end()
}

/// Everything that is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Malformed {
    /// The file, or the name of the built-in one.
    pub file: String,
    /// The lines, from 1 and in order, and what is wrong there.
    pub wrong: Vec<(usize, String)>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (line, why)) in self.wrong.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{line}: {why}", self.file)?;
        }
        Ok(())
    }
}

/// Where the members of one run are.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// In the order of their ids.
    pub members: Vec<Place>,
    /// The program that `{program}` stands for.
    pub program: PathBuf,
}

/// Where one member is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its number, from 1.
    pub id: u64,
    /// Its own address.
    pub ip: IpAddr,
    /// Its folder.
    pub dir: PathBuf,
}

/// One process to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What it is called.
    pub name: String,
    /// The program; a bare name is looked for on PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What stands in its environment beside the bench's own.
    pub env: Vec<(String, String)>,
    /// Where it works.
    pub cwd: PathBuf,
    /// Files to write before its node's first start, those of the whole node with its first process.
    pub files: Vec<(PathBuf, String)>,
    /// The signal that asks it to end.
    pub stop_signal: StopSignal,
    /// Files of its folder, with `*`, to remove at a power loss.
    pub volatile: Vec<String>,
}

impl Description {
    /// Reads a file's text. `dir` is where the files are that it names with `from`; `file` is how errors call it. Also
    /// gives what is no mistake and that its author should know.
    ///
    /// # Errors
    /// If anything is wrong with it: then everything that is.
    pub fn read(
        text: &str,
        file: &str,
        dir: &Path,
    ) -> Result<(Description, Vec<String>), Malformed> {
        let from = |name: &str| std::fs::read_to_string(dir.join(name));
        parse::read(text, file, &from)
    }

    /// The mode of this name; the first one where there is none.
    #[must_use]
    pub fn mode(&self, name: Option<&str>) -> Option<&Mode> {
        match name {
            None => self.modes.first(),
            Some(name) => self.modes.iter().find(|mode| mode.name == name),
        }
    }

    /// The programs of its processes that start something with another parent, where no fault meets it: `docker`.
    #[must_use]
    pub fn leaving(&self) -> Vec<&str> {
        let programs = self
            .process
            .iter()
            .filter_map(|process| process.run.first());
        let programs = programs.map(Template::source);
        programs.filter(|program| parse::leaves(program)).collect()
    }

    /// As a file, with everything in it that its own file left unsaid; read again it is the same.
    ///
    /// # Panics
    /// If it cannot be written as TOML, which is a bug of ours.
    #[must_use]
    pub fn resolved(&self) -> String {
        toml::to_string(self).expect("a description is a file")
    }

    /// What the words of the file mean for the member at this place.
    ///
    /// # Panics
    /// If there is no such place.
    #[must_use]
    pub fn words(&self, mode: &Mode, place: usize, wiring: &Wiring) -> Words {
        let member = |place: &Place| {
            BTreeMap::from([
                ("node".to_owned(), format!("n{}", place.id)),
                ("id".to_owned(), place.id.to_string()),
                ("ip".to_owned(), place.ip.to_string()),
                ("dir".to_owned(), place.dir.display().to_string()),
            ])
        };
        let first = &wiring.members[0];
        let mut own = member(&wiring.members[place]);
        own.extend([
            ("program".to_owned(), wiring.program.display().to_string()),
            ("first.node".to_owned(), format!("n{}", first.id)),
            ("first.id".to_owned(), first.id.to_string()),
            ("first.ip".to_owned(), first.ip.to_string()),
        ]);
        own.extend(mode.set.clone());
        Words {
            own,
            members: wiring.members.iter().map(member).collect(),
            myself: Some(place),
        }
    }

    /// What to start for a member: one launch a process, in the order of the file.
    ///
    /// # Panics
    /// If the member is none of the wiring's.
    #[must_use]
    pub fn launches(&self, mode: &Mode, node: u64, wiring: &Wiring) -> Vec<Launch> {
        let place = wiring.members.iter().position(|member| member.id == node);
        let place = place.expect("the node is a member");
        let words = self.words(mode, place, wiring);
        let prepared = self.prepare.iter().filter(|one| one.on.meets(place));
        let mut files: Vec<(PathBuf, String)> = prepared
            .map(|one| (one.file.fill(&words).into(), one.content.fill(&words)))
            .collect();
        let processes = self.process.iter().filter(|one| one.on.meets(place));
        let launches = processes.map(|process| {
            let mut run = process.run.iter().map(|part| part.fill(&words));
            let cwd = process.cwd.as_ref().map(|cwd| cwd.fill(&words).into());
            let env = process.env.iter();
            Launch {
                name: process.name.clone(),
                program: run.next().expect("a process has a program").into(),
                args: run.collect(),
                env: env
                    .map(|(name, to)| (name.clone(), to.fill(&words)))
                    .collect(),
                cwd: cwd.unwrap_or_else(|| wiring.members[place].dir.clone()),
                files: std::mem::take(&mut files),
                stop_signal: process.stop_signal,
                volatile: process.volatile.clone(),
            }
        });
        launches.collect()
    }
}
