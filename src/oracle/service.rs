//! *Service*: a healed cluster answers. A few writes must be answered, and then every key is read through every node as
//! the leader, which goes into the history like any other read.
//!
//! The bounds are of the time in which the bench was awake ([`Heart`]): a bench that stood still has heard nobody.

use std::fmt;
use std::time::Duration;

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
    /// What a last read asks for.
    type Read: Sync;
    /// Carries out an operation that changes something, on one object after the other; gives whether it was answered.
    fn write(&mut self, turn: usize) -> impl Future<Output = bool> + Send;
    /// Carries out a last read; gives whether it was answered.
    fn read(&mut self, read: &Self::Read) -> impl Future<Output = bool> + Send;
    /// What it reads, in words.
    fn describe(read: &Self::Read) -> String;
}

/// Who asks the healed cluster, for what, and on whose time.
pub struct Asks<'a, C: Client> {
    /// Who asks.
    pub client: C,
    /// What is read at the end.
    pub reads: Vec<C::Read>,
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
            let turn = tried as usize;
            tried += 1;
            match self.client.write(turn).await {
                true => {
                    served += 1;
                    deadline = self.heart.deadline(SERVE_WITHIN);
                }
                false if deadline.is_over() => {
                    return Err(silent(Silent::Writes {
                        served,
                        tried,
                        within_s: SERVE_WITHIN.as_secs(),
                    }));
                }
                false => tokio::time::sleep(ASK_EVERY).await,
            }
        }
        Ok(())
    }

    /// Reads everything through the leader, each until it is answered; gives how many had no turn.
    ///
    /// # Errors
    /// The finding, where one is not.
    pub async fn reads(&mut self) -> Result<usize, Finding> {
        let all = self.heart.deadline(READ_ALL_WITHIN);
        for (done, read) in self.reads.iter().enumerate() {
            if all.is_over() {
                return Ok(self.reads.len() - done);
            }
            let deadline = self.heart.deadline(READ_WITHIN);
            while !self.client.read(read).await {
                if deadline.is_over() {
                    return Err(silent(Silent::Read {
                        key: C::describe(read),
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
        type Read = String;

        async fn write(&mut self, _turn: usize) -> bool {
            self.written += 1;
            self.answers
        }

        async fn read(&mut self, _read: &String) -> bool {
            self.answers
        }

        fn describe(read: &String) -> String {
            read.clone()
        }
    }

    #[tokio::test]
    async fn a_cluster_that_answers_is_asked_a_few_writes_and_each_key_once() {
        let heart = Heart::start().expect("a thread");
        let client = Store {
            answers: true,
            written: 0,
        };
        let reads = vec!["k1".to_owned(), "k2".to_owned()];
        let mut asks = Asks {
            client,
            reads,
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
