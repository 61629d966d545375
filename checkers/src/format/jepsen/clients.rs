//! Who is a client. A process is a number or a word; a word is a client once it invokes an operation, and one that only
//! tells what it does, as the nemesis tells it, is a mark.

use rustc_hash::{FxHashMap, FxHashSet};

use super::line::{Line, kind, unknown_f};
use super::shorten;
use crate::format::tree::Tree;
use crate::history::ClientId;

/// The clients of a history by what it calls them.
#[derive(Default)]
pub(super) struct Clients {
    numbers: FxHashSet<ClientId>,
    words: FxHashMap<String, ClientId>,
    /// The ids of words.
    taken: FxHashSet<ClientId>,
    /// Numbers whose id a word had taken.
    moved: FxHashMap<ClientId, ClientId>,
    /// The words in order, for people.
    named: Vec<(ClientId, String)>,
}

/// So many words are named beside the verdict.
const NAMED: usize = 6;

impl Clients {
    /// Who did it; `None` for what is no client.
    pub(super) fn of(&mut self, line: &Line) -> Result<Option<ClientId>, String> {
        match &line.process {
            Tree::Int(process) => return Ok(Some(self.numbered(process.cast_unsigned()))),
            Tree::Nil if line.kind == "info" => return Ok(None),
            Tree::Nil => return Err("an event without :process".to_owned()),
            Tree::Text(text) => {
                // Two ways to write one number would be two processes somewhere else.
                let number = text.parse().ok().filter(|n: &i64| n.to_string() == *text);
                if let Some(number) = number {
                    return Ok(Some(self.numbered(number.cast_unsigned())));
                }
            }
            _ => {}
        }
        let process = &line.process;
        let Some(word) = process.word().filter(|word| !word.trim().is_empty()) else {
            let process = shorten(&process.name());
            return Err(format!(
                "the process must be a number or a word, not {process}"
            ));
        };
        let name = process.name();
        if let Some(client) = self.words.get(&name) {
            return Ok(Some(*client));
        }
        let nemesis = word.to_lowercase().starts_with("nemesis");
        match line.kind {
            "invoke" if kind(&line.f).is_some() => Ok(Some(self.word(name, word))),
            _ if nemesis => Ok(None),
            "info" => Ok(None),
            "invoke" => Err(unknown_f(&line.f)),
            _ => Err(format!("{name} completes an operation but has none open")),
        }
    }

    fn numbered(&mut self, number: ClientId) -> ClientId {
        if self.taken.contains(&number) {
            if let Some(moved) = self.moved.get(&number) {
                return *moved;
            }
            let free = self.free();
            self.numbers.insert(free);
            self.moved.insert(number, free);
            self.named.push((free, number.to_string()));
            return free;
        }
        self.numbers.insert(number);
        number
    }

    fn word(&mut self, name: String, word: &str) -> ClientId {
        let free = self.free();
        self.taken.insert(free);
        self.words.insert(name, free);
        self.named.push((free, word.to_owned()));
        free
    }

    fn free(&self) -> ClientId {
        let from = self.words.len() as ClientId;
        let used = |id: &ClientId| self.numbers.contains(id) || self.taken.contains(id);
        (from..).find(|id| !used(id)).unwrap_or(ClientId::MAX)
    }

    /// Which client is which word, where any is one.
    pub(super) fn note(&self) -> Option<String> {
        if self.named.is_empty() {
            return None;
        }
        let named = self.named.iter().take(NAMED);
        let named: Vec<String> = named
            .map(|(client, word)| format!("{client} is {word}"))
            .collect();
        let more = match self.named.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        Some(format!(
            "clients are words here: {}{more}",
            named.join(", ")
        ))
    }
}
