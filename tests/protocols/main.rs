//! The protocols of targets against the real servers: what each answer proves, also of operations that are refused or
//! that nobody answers. Needs redis-server, etcd, python3 and setpriv (`.ci/run` installs them); where
//! one is missing, what needs it is passed over.

mod described;
mod etcd;
mod http;
#[path = "../support/installed.rs"]
mod installed;
mod lines;
mod maelstrom;
mod redis;
mod server;

use std::time::Duration;

use checkers::history::{Call, Outcome};
use tokio::time::Instant;
use whitewater::target::protocol::{Protocol, Refusal, UNUSABLE};

/// How long an operation has: enough for any that is answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection has: a test is not in a hurry, and its machine may be.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// What is proven of an operation.
#[derive(Clone, Debug, PartialEq)]
enum Proven {
    /// It ended so.
    Ended(Outcome),
    /// It was read, and is no value; with what was said.
    Unusable(String),
    /// It was never applied: the leader as far as that is said, and why.
    NotApplied(Option<u64>, String),
    /// Nothing; with why.
    Nothing(String),
}

impl Proven {
    /// That it was never applied, for this reason.
    #[track_caller]
    fn assert_not_applied(&self, because: &str) {
        let Proven::NotApplied(_, why) = self else {
            panic!("{self:?}, and not {because:?}");
        };
        assert!(why.contains(because), "{why:?}, and not {because:?}");
    }

    #[track_caller]
    fn assert_unknown(&self) {
        assert!(matches!(self, Proven::Nothing(_)), "{self:?}");
    }
}

async fn ask_within(
    client: &mut dyn Protocol,
    node: u64,
    key: &str,
    call: Call,
    within: Duration,
) -> Proven {
    let deadline = Instant::now() + within;
    let answer = client.ask(node, key, call, deadline).await;
    let late = Instant::now().saturating_duration_since(deadline);
    assert!(
        late < Duration::from_secs(2),
        "{call:?} ended {late:?} after its deadline"
    );
    match answer {
        Ok(reply) => match reply.error.filter(|error| error.starts_with(UNUSABLE)) {
            Some(error) => {
                assert_eq!(reply.outcome, Outcome::Failed, "{error}");
                Proven::Unusable(error)
            }
            None => Proven::Ended(reply.outcome),
        },
        Err(Refusal::NotApplied { leader, why }) => Proven::NotApplied(leader, why),
        Err(Refusal::Unknown { why }) => Proven::Nothing(why),
    }
}

async fn ask(client: &mut dyn Protocol, node: u64, key: &str, call: Call) -> Proven {
    ask_within(client, node, key, call, PATIENCE).await
}

const fn ok(found: Option<i64>) -> Proven {
    Proven::Ended(Outcome::Ok(found))
}

const fn differed(found: Option<i64>) -> Proven {
    Proven::Ended(Outcome::Differed(found))
}

const fn cas(old: i64, new: i64) -> Call {
    Call::Cas { old, new }
}

/// Every operation at a key that nobody else uses, each answered as it must be. `tells` says whether a refused cas tells
/// what was there.
async fn every_operation(client: &mut dyn Protocol, node: u64, key: &str, tells: bool) {
    let differs = |found| {
        if tells {
            differed(found)
        } else {
            Proven::Ended(Outcome::Failed)
        }
    };
    for (call, expected) in [
        (Call::Read, ok(None)),
        (cas(1, 2), differs(None)),
        (Call::Read, ok(None)),
        (Call::Delete, ok(None)),
        (Call::Write(17), ok(None)),
        (Call::Read, ok(Some(17))),
        (cas(1, 2), differs(Some(17))),
        (Call::Read, ok(Some(17))),
        (cas(17, -5), ok(None)),
        (Call::Read, ok(Some(-5))),
        (Call::Write(i64::MAX), ok(None)),
        (Call::Read, ok(Some(i64::MAX))),
        (Call::Delete, ok(None)),
        (Call::Read, ok(None)),
    ] {
        assert_eq!(ask(client, node, key, call).await, expected, "{call:?}");
    }
}
