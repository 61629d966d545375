//! *Service*: a healed cluster answers. A few writes must be answered, and then every key is read through every node as
//! the leader, which goes into the history like any other read.
//!
//! The bounds are of the time in which the bench was awake ([`Heart`]): a bench that stood still has heard nobody.

use std::fmt;
use std::time::Duration;

use checkers::history::{Call, Outcome};
use serde::{Deserialize, Serialize};

use super::{Evidence, Finding};
use crate::host::Heart;

/// A healed cluster must answer this many writes, each within [`SERVE_WITHIN`] of the one before.
const SERVE_WRITES: u32 = 5;
/// See [`SERVE_WRITES`].
const SERVE_WITHIN: Duration = Duration::from_secs(10);
/// A final read is answered within this of the one before: all of them together take as long as the machine is slow.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// So long the keys are read through one node; those that had no turn by then are not, which is said.
const READ_ALL_WITHIN: Duration = Duration::from_secs(40);
/// How often it is asked again.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// What was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum Silent {
    /// Writes.
    Writes {
        /// So many were answered before.
        served: u32,
        /// Of so many.
        tried: u32,
        /// None for so many seconds.
        within_s: u64,
    },
    /// A final read.
    Read {
        /// Of this key.
        key: String,
        /// For so many seconds.
        within_s: u64,
    },
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silent::Writes {
                served,
                tried,
                within_s,
            } => write!(
                f,
                "with an agreed leader {served} of {tried} writes were answered, and none for {within_s} s"
            ),
            Silent::Read { key, within_s } => write!(
                f,
                "the final read of {key} was not answered within {within_s} s"
            ),
        }
    }
}

/// A client of the bench's own, whose operations are recorded like any other's.
pub trait Client {
    /// A write of a value that nobody else writes.
    fn fresh_write(&mut self) -> Call;
    /// Carries out one operation.
    fn perform(&mut self, key: &str, call: Call) -> impl Future<Output = Outcome> + Send;
}

/// Who asks the healed cluster, for what, and on whose time.
pub struct Asks<'a, C> {
    /// Who asks.
    pub client: C,
    /// The keys of the workload.
    pub keys: Vec<String>,
    /// Whose time counts.
    pub heart: &'a Heart,
}

impl<C: Client> Asks<'_, C> {
    /// Writes until a few writes were answered.
    ///
    /// # Errors
    /// The finding, where none is for too long.
    pub async fn writes(&mut self) -> Result<(), Finding> {
        let mut deadline = self.heart.deadline(SERVE_WITHIN);
        let (mut served, mut tried) = (0, 0);
        while served < SERVE_WRITES {
            let call = self.client.fresh_write();
            let key = &self.keys[tried as usize % self.keys.len()];
            tried += 1;
            match self.client.perform(key, call).await {
                Outcome::Ok(_) => {
                    served += 1;
                    deadline = self.heart.deadline(SERVE_WITHIN);
                }
                _ if deadline.is_over() => {
                    return Err(silent(Silent::Writes {
                        served,
                        tried,
                        within_s: SERVE_WITHIN.as_secs(),
                    }));
                }
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
        Ok(())
    }

    /// Reads every key of the workload through the leader, each until it is answered; gives how many had no turn.
    ///
    /// # Errors
    /// The finding, where one is not.
    pub async fn reads(&mut self) -> Result<usize, Finding> {
        let all = self.heart.deadline(READ_ALL_WITHIN);
        for (done, key) in self.keys.iter().enumerate() {
            if all.is_over() {
                return Ok(self.keys.len() - done);
            }
            let deadline = self.heart.deadline(READ_WITHIN);
            while !matches!(self.client.perform(key, Call::Read).await, Outcome::Ok(_)) {
                if deadline.is_over() {
                    return Err(silent(Silent::Read {
                        key: key.clone(),
                        within_s: READ_WITHIN.as_secs(),
                    }));
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        }
        Ok(0)
    }
}

fn silent(seen: Silent) -> Finding {
    Evidence::Service(seen).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers, or does not.
    struct Store {
        answers: bool,
        written: i64,
    }

    impl Client for Store {
        fn fresh_write(&mut self) -> Call {
            self.written += 1;
            Call::Write(self.written)
        }

        async fn perform(&mut self, _key: &str, _call: Call) -> Outcome {
            match self.answers {
                true => Outcome::Ok(None),
                false => Outcome::Unknown,
            }
        }
    }

    #[tokio::test]
    async fn a_cluster_that_answers_is_asked_a_few_writes_and_each_key_once() {
        let heart = Heart::start().expect("a thread");
        let client = Store {
            answers: true,
            written: 0,
        };
        let keys = vec!["k1".to_owned(), "k2".to_owned()];
        let mut asks = Asks {
            client,
            keys,
            heart: &heart,
        };
        assert_eq!(asks.writes().await, Ok(()));
        assert_eq!(asks.client.written, i64::from(SERVE_WRITES));
        assert_eq!(asks.reads().await, Ok(0));
    }

    #[test]
    fn what_was_not_answered_is_said_with_the_bound() {
        let writes = Silent::Writes {
            served: 2,
            tried: 9,
            within_s: 10,
        };
        assert_eq!(
            writes.to_string(),
            "with an agreed leader 2 of 9 writes were answered, and none for 10 s"
        );
        let key = "k1".to_owned();
        let read = Silent::Read { key, within_s: 20 };
        assert_eq!(
            read.to_string(),
            "the final read of k1 was not answered within 20 s"
        );
    }
}
