//! One operation of each kind, through the client that the target's file describes, and whether the answers fit together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use checkers::history::{Call, Outcome, Value};

use super::{Came, NODE, Notes, Tested};
use crate::proxy::Route;
use crate::target::described::DataType;
use crate::target::{Answer, Client, ClientConfig, Follow, Target};

/// One operation may take so long: an interpreter may have to start first.
const DEADLINE: Duration = Duration::from_secs(10);
/// What is refused is asked for again for so long: a node that is ready may not be able to serve yet.
const SERVES_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);
/// The key of all of them.
const KEY: &str = "whitewater";

/// Tries every kind that the target's history has.
pub(super) async fn all(tested: &Tested<'_>, notes: &mut Notes<'_>) {
    let spec = tested.trial.description.spec;
    if spec != DataType::Register {
        let says = format!("those of a {} are not tried", spec.name());
        return notes.line("operations", Came::Warns, says);
    }
    let dial = tested.testbed.network.address(Route::clients(0, NODE));
    let client = tested.system.client(ClientConfig {
        dial: BTreeMap::from([(NODE, dial)]),
        group: 0,
        follow: Follow::Pinned(NODE),
        turn: 0,
        deadline: DEADLINE,
        patient: true,
        session: None,
        aimed: false,
    });
    let mut register = Register {
        client,
        cannot: tested.system.cannot(),
        tested,
        holds: None,
    };
    let works = register.reads_nothing(notes).await && register.writes(notes).await;
    if works {
        register.compares(notes).await;
        register.deletes(notes).await;
    }
}

/// A register of which it is known what it holds: nobody else uses it.
struct Register<'a> {
    client: Box<dyn Client>,
    cannot: Vec<&'static str>,
    tested: &'a Tested<'a>,
    holds: Option<Value>,
}

/// An answer that was waited for.
struct Tries {
    answer: Answer,
    tries: u32,
    took: Duration,
    /// What the first one was refused with.
    first: Option<String>,
}

impl Register<'_> {
    /// Asks until it is done: none of these operations does any harm when it is done twice.
    async fn ask(&mut self, call: Call) -> Tries {
        let began = Instant::now();
        let (mut tries, mut first) = (0, None);
        loop {
            let answer = self.client.perform(KEY, call).await;
            tries += 1;
            let took = began.elapsed();
            if matches!(answer.outcome, Outcome::Ok(_)) || took > SERVES_WITHIN {
                return Tries {
                    answer,
                    tries,
                    took,
                    first,
                };
            }
            first = first.or(answer.error);
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether it was done; if not, that is said.
    fn done(&self, what: &'static str, tries: &Tries, notes: &mut Notes<'_>) -> bool {
        if matches!(tries.answer.outcome, Outcome::Ok(_)) {
            return true;
        }
        let why = tries
            .answer
            .error
            .as_deref()
            .unwrap_or("no reason is given");
        let (seconds, count) = (tries.took.as_secs_f64(), tries.tries);
        let says = match count {
            1 => format!("fails: {why}"),
            _ => format!("fails, {count} times in {seconds:.1} s: {why}"),
        };
        let mut more = self.tested.clients_said();
        if more.is_empty() {
            more = self.tested.said();
        }
        notes.with(what, Came::Fails, says, more);
        false
    }

    /// What a key holds that nobody has written.
    async fn reads_nothing(&mut self, notes: &mut Notes<'_>) -> bool {
        let tries = self.ask(Call::Read).await;
        if !self.done("read", &tries, notes) {
            return false;
        }
        if let Outcome::Ok(Some(found)) = tries.answer.outcome {
            let says = format!(
                "of a key that nobody has written finds {found}: say in [client.read] how an absent key looks"
            );
            notes.line("read", Came::Fails, says);
            return false;
        }
        notes.line(
            "read",
            Came::Works,
            format!("of a key that is absent{}", after(&tries)),
        );
        true
    }

    async fn writes(&mut self, notes: &mut Notes<'_>) -> bool {
        let tries = self.ask(Call::Write(1)).await;
        if !self.done("write", &tries, notes) {
            return false;
        }
        self.holds = Some(1);
        let says = format!("is acknowledged, and is read{}", after(&tries));
        self.reads_back("write", says, notes).await
    }

    async fn compares(&mut self, notes: &mut Notes<'_>) {
        if self.cannot.contains(&"cas") {
            return notes.line("cas", Came::NotOffered, self.no_request("cas"));
        }
        // One that has been carried out would differ when it is asked for again.
        let done = self.client.perform(KEY, Call::Cas { old: 1, new: 2 }).await;
        let tries = Tries {
            answer: done,
            tries: 1,
            took: Duration::ZERO,
            first: None,
        };
        if !self.done("cas", &tries, notes) {
            return;
        }
        self.holds = Some(2);
        let differs = self.client.perform(KEY, Call::Cas { old: 1, new: 3 }).await;
        match differs.outcome {
            Outcome::Failed | Outcome::Differed(_) => {
                let says = "replaces what it expects, and nothing else".to_owned();
                self.reads_back("cas", says, notes).await;
            }
            Outcome::Ok(_) => {
                let says = "of another value than the key holds is acknowledged, too";
                notes.line("cas", Came::Fails, says);
            }
            Outcome::Unknown => {
                let why = differs.error.unwrap_or_default();
                let says = format!(
                    "of another value than the key holds is answered by what proves nothing ({why}): say in [client.cas] what does, by differed or differed_match"
                );
                notes.line("cas", Came::Warns, says);
            }
        }
    }

    async fn deletes(&mut self, notes: &mut Notes<'_>) {
        if self.cannot.contains(&"delete") {
            return notes.line("delete", Came::NotOffered, self.no_request("delete"));
        }
        let tries = self.ask(Call::Delete).await;
        if self.done("delete", &tries, notes) {
            self.holds = None;
            let says = "is acknowledged, and the key is absent".to_owned();
            self.reads_back("delete", says, notes).await;
        }
    }

    /// Whether a read finds what the register holds.
    async fn reads_back(
        &mut self,
        what: &'static str,
        says: String,
        notes: &mut Notes<'_>,
    ) -> bool {
        let tries = self.ask(Call::Read).await;
        if !self.done("read", &tries, notes) {
            return false;
        }
        let words = |value: Option<Value>| match value {
            Some(value) => value.to_string(),
            None => "nothing".to_owned(),
        };
        match tries.answer.outcome {
            Outcome::Ok(found) if found == self.holds => notes.line(what, Came::Works, says),
            Outcome::Ok(found) => {
                let (found, holds) = (words(found), words(self.holds));
                let says = format!(
                    "is acknowledged, and a read finds {found} where {holds} should be, though nobody else is there"
                );
                notes.line(what, Came::Fails, says);
                return false;
            }
            _ => unreachable!("the read was done"),
        }
        true
    }

    fn no_request(&self, what: &str) -> String {
        let protocol = self.tested.trial.mode.client.protocol();
        match protocol {
            "http" => format!("there is no [client.{what}]: none is drawn"),
            _ => format!("the protocol {protocol} has no such request: none is drawn"),
        }
    }
}

/// That it was not done at once.
fn after(tries: &Tries) -> String {
    let Tries {
        tries, took, first, ..
    } = tries;
    match first {
        None => String::new(),
        Some(first) => format!(
            "; at try {tries}, after {:.1} s (the first: {first})",
            took.as_secs_f64()
        ),
    }
}
