//! Where the events of a file go: into a history, or into a judge that keeps none.

use crate::history::{Answer, At, Builder, Call, ClientId, Kind, Malformed, Names, Outcome, Value};

/// What takes the events of a file, in order.
pub(crate) trait Sink: Send {
    /// The names of values that are not integers.
    fn names(&mut self) -> &mut Names;

    /// What the client's open operation asks, or, where none is open, what its last one asked whose end is known: a
    /// second completion is about that one.
    fn open_call(&self, client: ClientId) -> Option<Kind>;

    /// What that operation asks, in full.
    fn asked(&self, client: ClientId) -> Option<Call>;

    /// The key of that operation.
    fn open_key(&self, client: ClientId) -> Option<&str>;

    /// Takes an invocation.
    fn invoke(&mut self, from: Moment, key: &str, call: Call) -> Result<(), Malformed>;

    /// Takes a completion.
    fn complete(
        &mut self,
        from: Moment,
        outcome: Outcome,
        at: Option<At>,
        error: Option<&str>,
    ) -> Result<(), Malformed>;

    /// Takes a mark.
    fn mark(&mut self, index: u64, time_ns: u64, text: &str) -> Result<(), Malformed>;

    /// Takes a gap: so many events, of which `index` is the first, are missing.
    fn gap(&mut self, index: u64, time_ns: u64, lost: u64) -> Result<(), Malformed>;

    /// Called now and then.
    fn pause(&mut self) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) index: u64,
    pub(crate) time_ns: u64,
    pub(crate) client: ClientId,
    pub(crate) node: Option<u64>,
}

/// Refuses a completion that says another operation or another key than its invocation.
pub(crate) fn answers(
    sink: &impl Sink,
    client: ClientId,
    f: Option<Kind>,
    key: Option<&str>,
) -> Result<(), String> {
    if let (Some(said), Some(asked)) = (f, sink.open_call(client))
        && said != asked
    {
        let (said, asked) = (said.name(), asked.name());
        return Err(format!(
            "the completion is of a {said}, but client {client} asked for a {asked}"
        ));
    }
    match (key, sink.open_key(client)) {
        (Some(said), Some(asked)) if said != asked => Err(format!(
            "the completion is of key {said}, but client {client} asked for key {asked}"
        )),
        _ => Ok(()),
    }
}

/// What a completion says again of its call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Again {
    /// What was written.
    Value(Value),
    /// What was compared with, and what was to replace it.
    Pair(Value, Value),
}

/// Refuses an ok completion, of anything but a read, that says another value than its invocation: its client holds that
/// it did something else than what is on record, and nobody can tell which of the two happened.
#[cold]
pub(crate) fn repeats_call(
    sink: &mut impl Sink,
    client: ClientId,
    again: Again,
) -> Result<(), String> {
    let Some(asked) = sink.asked(client) else {
        return Ok(());
    };
    let same = match (asked, again) {
        (Call::Write(value) | Call::Append(value), Again::Value(again)) => value == again,
        (Call::Cas { new, .. }, Again::Value(again)) => new == again,
        (Call::Cas { old, new }, Again::Pair(from, to)) => (old, new) == (from, to),
        (Call::Write(_) | Call::Append(_), Again::Pair(..)) | (Call::Delete, _) => false,
        (Call::Read, _) => true,
    };
    if same {
        return Ok(());
    }
    let names = sink.names();
    let text = |value: Value| names.text(value).into_owned();
    let said = match again {
        Again::Value(value) => text(value),
        Again::Pair(old, new) => format!("[{} {}]", text(old), text(new)),
    };
    let asked = match asked {
        Call::Read => "a read".to_owned(),
        Call::Write(value) => format!("a write of {}", text(value)),
        Call::Append(value) => format!("an append of {}", text(value)),
        Call::Cas { old, new } => format!("a cas of [{} {}]", text(old), text(new)),
        Call::Delete => "a delete".to_owned(),
    };
    Err(format!(
        "the completion says {said}, but client {client} asked for {asked}"
    ))
}

impl Sink for Builder {
    fn names(&mut self) -> &mut Names {
        Builder::names(self)
    }

    fn open_call(&self, client: ClientId) -> Option<Kind> {
        Builder::open_call(self, client)
    }

    fn asked(&self, client: ClientId) -> Option<Call> {
        Builder::asked(self, client)
    }

    fn open_key(&self, client: ClientId) -> Option<&str> {
        Builder::open_key(self, client)
    }

    fn invoke(&mut self, from: Moment, key: &str, call: Call) -> Result<(), Malformed> {
        Builder::invoke(
            self,
            from.index,
            from.time_ns,
            from.client,
            from.node,
            key,
            call,
        )
    }

    fn complete(
        &mut self,
        from: Moment,
        outcome: Outcome,
        at: Option<At>,
        error: Option<&str>,
    ) -> Result<(), Malformed> {
        let node = from.node;
        let answer = Answer { outcome, at, node };
        Builder::complete(self, from.index, from.time_ns, from.client, answer, error)
    }

    fn mark(&mut self, index: u64, time_ns: u64, text: &str) -> Result<(), Malformed> {
        Builder::mark(self, index, time_ns, text)
    }

    fn gap(&mut self, index: u64, time_ns: u64, lost: u64) -> Result<(), Malformed> {
        Builder::gap(self, index, time_ns, lost)
    }
}
