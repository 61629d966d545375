//! Where the events of a file go: into a history, or into a judge that keeps none.

use crate::history::{Answer, At, Builder, Call, ClientId, Kind, Malformed, Names, Outcome};

/// What takes the events of a file, in order.
pub(crate) trait Sink: Send {
    /// The names of values that are not integers.
    fn names(&mut self) -> &mut Names;

    /// What the client's open operation asks, where it has one.
    fn open_call(&self, client: ClientId) -> Option<Kind>;

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

    /// Called now and then.
    fn pause(&mut self) {}
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) index: u64,
    pub(crate) time_ns: u64,
    pub(crate) client: ClientId,
    pub(crate) node: Option<u64>,
}

impl Sink for Builder {
    fn names(&mut self) -> &mut Names {
        Builder::names(self)
    }

    fn open_call(&self, client: ClientId) -> Option<Kind> {
        Builder::open_call(self, client)
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
}
