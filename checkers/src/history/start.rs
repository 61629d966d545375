//! What keys hold before the first event: nothing, unless a header or a reader's caller says otherwise.
//!
//! A history may be an excerpt, or begin where another run ended, or its keys may be set up before anybody is watched.
//! Then what was there is told, as a value for each key, or that nobody knows: [`Start::Any`] is whatever explains the
//! most, for each key by itself, so that a key is accused only if it is to blame from every start.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{Header, History, Names, Value};

/// What a key holds before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// Nothing.
    #[default]
    Absent,
    /// This, as a number of its values; the number behind the last is a value that nobody finds.
    Value(u32),
    /// Nobody knows.
    Any,
}

/// In a header, the text that says that nobody knows.
pub(crate) const ANY: &str = "any";

/// What a header says of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Initial {
    /// Nothing was there.
    #[default]
    Absent,
    /// This was.
    Value(Value),
    /// Nobody knows.
    Any,
}

/// What each key began as is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NobodyKnows;

/// Whether a text must stand in quotes within a header's string to be the text that it is.
pub(crate) fn quotes_needed(text: &str) -> bool {
    text == ANY || text.starts_with('"')
}

/// The text that a header's string means.
fn meant(text: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(text) {
        Ok(inner) => Cow::Owned(inner),
        Err(_) => Cow::Borrowed(text),
    }
}

/// What a header's `initial` says.
///
/// # Errors
/// When it is no value, or, of a list, no list; in words.
pub(crate) fn initial_of(header: &Header, names: &mut Names) -> Result<Initial, String> {
    let value = match &header.initial {
        None => return Ok(Initial::Absent),
        Some(Json::String(text)) if text == ANY => return Ok(Initial::Any),
        Some(Json::String(text)) if header.is_lists() && names.has_characters() => {
            Some(names.intern_characters(&meant(text)))
        }
        // Where all values are texts, so are those that look like numbers.
        Some(Json::Number(number)) if header.is_lists() && names.has_characters() => {
            Some(names.intern_characters(&number.to_string()))
        }
        Some(Json::String(text)) => Some(names.intern(&meant(text))),
        Some(other) => names.intern_json(&other.to_string())?,
    };
    Ok(match value {
        None => Initial::Absent,
        Some(value) if header.is_lists() => match names.list(value) {
            None => {
                return Err(format!(
                    "each key is a list, and can't begin as {}",
                    names.text(value)
                ));
            }
            Some([]) => Initial::Absent,
            Some(_) => Initial::Value(value),
        },
        Some(value) => Initial::Value(value),
    })
}

impl History {
    /// From here on each key began as this says, which is what a header's `initial` may be.
    ///
    /// # Errors
    /// When it is no value, or, of a list, no list; in words.
    pub fn begin_at(&mut self, initial: Json) -> Result<(), String> {
        let header = Header {
            initial: Some(initial),
            ..self.header.clone()
        };
        let initial = initial_of(&header, &mut self.names)?;
        for key in &mut self.keys {
            key.start = match initial {
                Initial::Absent => Start::Absent,
                Initial::Any => Start::Any,
                Initial::Value(value) => {
                    let number = key.values.number(value);
                    if let (Some(lists), Some(list)) = (&mut key.lists, self.names.list(value)) {
                        lists.insert(number, list.into());
                    }
                    Start::Value(number)
                }
            };
        }
        self.header = header;
        Ok(())
    }

    /// What each key began as, unless that is absent; `Err` where nobody knows.
    pub(crate) fn start(&self) -> Option<Result<Value, NobodyKnows>> {
        let key = self.keys.first()?;
        match key.start {
            Start::Absent => None,
            Start::Value(number) => key.values.known(number).map(Ok),
            Start::Any => Some(Err(NobodyKnows)),
        }
    }

    /// As [`Self::begin_at`], where somebody wrote the start by hand: a number is a text where the values are texts.
    ///
    /// # Errors
    /// As [`Self::begin_at`].
    pub fn begin_as_written(&mut self, initial: Json) -> Result<(), String> {
        let text = match &initial {
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let is_text = text.as_ref().is_some_and(|text| {
            let number = text.parse::<Value>().ok();
            let has = |number| self.keys.iter().any(|key| key.values.has(number));
            self.names.has(text) && !number.is_some_and(has)
        });
        match text.filter(|_| is_text) {
            Some(text) => self.begin_at(Json::String(text)),
            None => self.begin_at(initial),
        }
    }
}
