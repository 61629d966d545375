//! Reads tables of a TOML file key by key, and collects what is wrong with them, each with its line, so that several
//! mistakes are told at once. Reading is the schema: a key that nobody asked for is unknown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::target::template::{Template, TemplateError};

/// What is wrong with a file, in the order of its lines.
#[derive(Debug)]
pub(super) struct Complaints<'t> {
    text: &'t str,
    said: RefCell<Vec<(usize, String)>>,
}

impl<'t> Complaints<'t> {
    pub(super) fn new(text: &'t str) -> Complaints<'t> {
        Complaints {
            text,
            said: RefCell::default(),
        }
    }

    /// Something is wrong with what begins at this byte.
    pub(super) fn add(&self, at: usize, why: impl Into<String>) {
        self.said.borrow_mut().push((at, why.into()));
    }

    /// The lines, from 1, with what is wrong there.
    pub(super) fn by_line(self) -> Vec<(usize, String)> {
        let mut said = self.said.into_inner();
        said.sort();
        said.dedup();
        let line = |at: usize| self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        said.into_iter().map(|(at, why)| (line(at), why)).collect()
    }
}

/// What a value is, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<T> {
    pub(super) at: usize,
    pub(super) is: T,
}

/// A table that is being read, perhaps over another one that says what it leaves unsaid.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// As the file writes it: `client.read`; empty for the file itself.
    path: String,
    at: usize,
    layers: Vec<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    complaints: &'a Complaints<'a>,
    /// Whether its keys are names that the file chose.
    open: Cell<bool>,
}

impl<'a> Table<'a> {
    pub(super) fn of_the_file(table: &'a DeTable<'a>, complaints: &'a Complaints<'a>) -> Table<'a> {
        Table::new(String::new(), 0, vec![table], complaints)
    }

    fn new(
        path: String,
        at: usize,
        layers: Vec<&'a DeTable<'a>>,
        complaints: &'a Complaints<'a>,
    ) -> Table<'a> {
        Table {
            path,
            at,
            layers,
            asked: RefCell::default(),
            complaints,
            open: Cell::new(false),
        }
    }

    /// What it is called in a sentence.
    pub(super) fn name(&self) -> String {
        match self.path.as_str() {
            "" => "the file".to_owned(),
            path => format!("[{path}]"),
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// This table over another one, whose keys hold where it says nothing.
    pub(super) fn over(mut self, below: Option<&Table<'a>>) -> Table<'a> {
        if let Some(below) = below {
            self.layers.extend(&below.layers);
        }
        self
    }

    /// Something is wrong with the whole.
    pub(super) fn complain(&self, why: impl Into<String>) {
        self.complaints.add(self.at, why);
    }

    pub(super) fn complain_at(&self, at: usize, why: impl Into<String>) {
        self.complaints.add(at, why);
    }

    fn get(&self, key: &'static str) -> Option<Placed<&'a DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        let found = self.layers.iter().find_map(|layer| layer.get(key))?;
        Some(Placed {
            at: found.span().start,
            is: found.get_ref(),
        })
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    fn key(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn wants(&self, key: &str, at: usize, what: &str, value: &DeValue<'_>) {
        let (key, found) = (self.key(key), value.type_str());
        self.complain_at(
            at,
            format!("{key} is {what}, and here is a value of type {found}"),
        );
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<Placed<String>> {
        let Placed { at, is } = self.get(key)?;
        match is.as_str() {
            Some(text) => Some(Placed {
                at,
                is: text.to_owned(),
            }),
            None => {
                self.wants(key, at, "a text", is);
                None
            }
        }
    }

    /// A text that has to be there; `what` says what for.
    pub(super) fn need(&self, key: &'static str, what: &str) -> Placed<String> {
        let absent = !self.has(key);
        if absent {
            self.complain(format!("{} has no {key}: {what}", self.name()));
        }
        let nothing = Placed {
            at: self.at,
            is: String::new(),
        };
        self.text(key).unwrap_or(nothing)
    }

    /// A whole number within these bounds.
    pub(super) fn number(&self, key: &'static str, [least, most]: [u64; 2]) -> Option<u64> {
        let Placed { at, is } = self.get(key)?;
        let Some(number) = is.as_integer() else {
            self.wants(key, at, "a whole number", is);
            return None;
        };
        let number = i64::from_str_radix(number.as_str(), number.radix());
        let number = number.ok().and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let key = self.key(key);
            self.complain_at(at, format!("{key} can be {least} to {most}"));
        }
        number
    }

    /// A text or a list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Placed<String>>> {
        let Placed { at, is } = self.get(key)?;
        if let Some(text) = is.as_str() {
            let is = text.to_owned();
            return Some(vec![Placed { at, is }]);
        }
        let Some(list) = is.as_array() else {
            self.wants(key, at, "a list of texts", is);
            return None;
        };
        let mut texts = Vec::new();
        for item in list.iter() {
            let at = item.span().start;
            match item.get_ref().as_str() {
                Some(text) => texts.push(Placed {
                    at,
                    is: text.to_owned(),
                }),
                None => self.wants(key, at, "a list of texts", item.get_ref()),
            }
        }
        Some(texts)
    }

    /// Whole numbers, one or a list.
    pub(super) fn numbers(&self, key: &'static str, [least, most]: [u64; 2]) -> Option<Vec<u64>> {
        let Placed { at, is } = self.get(key)?;
        let one = [(at, is)];
        let all: Vec<(usize, &DeValue<'_>)> = match is.as_array() {
            Some(list) => list.iter().map(|v| (v.span().start, v.get_ref())).collect(),
            None => one.to_vec(),
        };
        let mut numbers = Vec::new();
        for (at, value) in all {
            let number = value.as_integer().and_then(|n| n.as_str().parse().ok());
            match number.filter(|number| (least..=most).contains(number)) {
                Some(number) => numbers.push(number),
                None => {
                    let key = self.key(key);
                    self.complain_at(at, format!("{key} are numbers from {least} to {most}"));
                }
            }
        }
        Some(numbers)
    }

    /// A text with placeholders.
    pub(super) fn template(&self, key: &'static str, words: &[&str]) -> Option<Template> {
        let text = self.text(key)?;
        self.templated(&text, words)
    }

    /// The same, where it has to be there.
    pub(super) fn need_template(&self, key: &'static str, words: &[&str], what: &str) -> Template {
        let text = self.need(key, what);
        let nothing = || Template::parse("", &[]).expect("nothing has no word");
        self.templated(&text, words).unwrap_or_else(nothing)
    }

    /// A list of texts with placeholders.
    pub(super) fn templates(&self, key: &'static str, words: &[&str]) -> Option<Vec<Template>> {
        let texts = self.texts(key)?;
        let templates = texts.iter().filter_map(|text| self.templated(text, words));
        Some(templates.collect())
    }

    pub(super) fn templated(&self, text: &Placed<String>, words: &[&str]) -> Option<Template> {
        match Template::parse(&text.is, words) {
            Ok(template) => Some(template),
            Err(error @ (TemplateError::UnknownWord { .. } | TemplateError::Open(_))) => {
                self.complain_at(text.at, error.to_string());
                None
            }
        }
    }

    /// A table.
    pub(super) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let Placed { at, is } = self.get(key)?;
        // The layers below have their say in what a table says of itself, not in what it says within.
        match is.as_table() {
            Some(table) => Some(Table::new(self.key(key), at, vec![table], self.complaints)),
            None => {
                self.wants(key, at, "a table", is);
                None
            }
        }
    }

    /// A table, or several: `[form]` or `[[form]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some(Placed { at, is }) = self.get(key) else {
            return Vec::new();
        };
        let new = |at, table| Table::new(self.key(key), at, vec![table], self.complaints);
        match (is.as_table(), is.as_array()) {
            (Some(table), _) => vec![new(at, table)],
            (None, Some(list)) => {
                let all = list.iter().filter_map(|item| {
                    let table = item.get_ref().as_table();
                    if table.is_none() {
                        self.wants(key, item.span().start, "a list of tables", item.get_ref());
                    }
                    Some(new(item.span().start, table?))
                });
                all.collect()
            }
            (None, None) => {
                self.wants(key, at, "a table", is);
                Vec::new()
            }
        }
    }

    /// The tables in this one by name, in the order of the file.
    pub(super) fn named_tables(&self) -> Vec<(String, Table<'a>)> {
        self.open.set(true);
        let mut named = Vec::new();
        for (key, value) in self.layers.iter().flat_map(|layer| layer.iter()) {
            let name = key.get_ref().to_string();
            match value.get_ref().as_table() {
                Some(table) => named.push((
                    key.span().start,
                    Table::new(
                        self.key(&name),
                        key.span().start,
                        vec![table],
                        self.complaints,
                    ),
                    name,
                )),
                None => self.wants(&name, value.span().start, "a table", value.get_ref()),
            }
        }
        named.sort_by_key(|(at, ..)| *at);
        named
            .into_iter()
            .map(|(_, table, name)| (name, table))
            .collect()
    }

    /// A table of texts by name.
    pub(super) fn pairs(&self, key: &'static str) -> BTreeMap<String, Placed<String>> {
        let Some(table) = self.table(key) else {
            return BTreeMap::new();
        };
        let mut pairs = BTreeMap::new();
        for (key, value) in table.layers.iter().flat_map(|layer| layer.iter()) {
            let (name, at) = (key.get_ref().to_string(), value.span().start);
            match value.get_ref().as_str() {
                Some(text) => {
                    let is = text.to_owned();
                    pairs.insert(name, Placed { at, is });
                }
                None => table.wants(&name, at, "a text", value.get_ref()),
            }
        }
        pairs
    }

    /// The table is read: what nobody asked for is unknown.
    pub(super) fn done(self) {
        if self.open.get() {
            return;
        }
        let mut known = self.asked.into_inner();
        known.sort_unstable();
        known.dedup();
        let name = match self.path.as_str() {
            "" => "the file".to_owned(),
            path => format!("[{path}]"),
        };
        for (key, _) in self.layers[0].iter() {
            if !known.contains(&key.get_ref().as_ref()) {
                let why = format!(
                    "{name} has no key {:?}: there are {}",
                    key.get_ref(),
                    known.join(", ")
                );
                self.complaints.add(key.span().start, why);
            }
        }
    }
}
