//! The catalogue of deliberate bugs, as data: what each one is, where it is known from, and what should catch it.
//!
//! A *defect* is a real bug of a real system, planted in our own node (or in what drives it): the bench must find it. A
//! *decoy* looks wrong and is legal: the bench must never report it. `whitewater list defects`, `run --defect NAME` and
//! the screen's picker show what is written here; a test holds the names together with those that the node knows.

/// One deliberate bug, or something that only looks like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// As in `--defect NAME`.
    pub name: &'static str,
    /// Its number in the literature of this project.
    pub id: &'static str,
    /// What is wrong, in a line.
    pub about: &'static str,
    /// Where it is known from.
    pub origin: &'static str,
    /// What kind it is.
    pub class: Class,
    /// How hard it is to find.
    pub tier: Tier,
    /// What should catch it first.
    pub oracle: &'static str,
    /// Who carries it.
    pub place: Place,
}

/// Kinds of defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Answers to reads.
    Read,
    /// Answers to writes.
    Write,
    /// What survives a crash.
    Durability,
    /// Snapshots.
    Snapshot,
    /// What nodes tell each other.
    Network,
    /// Looks wrong and is legal.
    Decoy,
}

/// How hard a defect is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Any fault shows it.
    T1,
    /// The default mix of faults shows it.
    T2,
    /// It needs a recipe.
    T4,
    /// A decoy: it must never be found.
    Never,
}

/// Who carries a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Every node, by `--defect`.
    Node,
    /// Every node, by its timings.
    Flags,
    /// The network between the nodes.
    Network,
    /// The clients.
    Clients,
    /// The plan.
    Plan,
}

impl Class {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::Write => "write",
            Class::Durability => "durability",
            Class::Snapshot => "snapshot",
            Class::Network => "network",
            Class::Decoy => "decoy",
        }
    }
}

impl Tier {
    /// As in DEFECTS: T1 is the easiest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tier::T1 => "T1",
            Tier::T2 => "T2",
            Tier::T4 => "T4",
            Tier::Never => "-",
        }
    }
}

impl Defect {
    /// Its line in a list: class and tier, what it is, where it is known from, what should catch it.
    #[must_use]
    pub fn line(&self) -> String {
        let Defect {
            about,
            origin,
            class,
            tier,
            oracle,
            ..
        } = self;
        match class {
            Class::Decoy => format!("decoy: {about}; legal, must never be reported"),
            _ => format!(
                "{} {}: {about} ({origin}); caught by: {oracle}",
                class.name(),
                tier.name()
            ),
        }
    }

    /// Whether it is legal.
    #[must_use]
    pub fn is_decoy(&self) -> bool {
        self.class == Class::Decoy
    }
}

/// The entry of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Defect> {
    DEFECTS.iter().find(|defect| defect.name == name)
}

/// Every defect and decoy, in the order in which they are listed.
pub const DEFECTS: &[Defect] = &[
    Defect {
        name: "stale-read",
        id: "R1",
        about: "a leader answers reads from its own state, without asking a quorum whether it still leads",
        origin: "etcd #741, Consul 2014, YugabyteDB #16",
        class: Class::Read,
        tier: Tier::T1,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "follower-read",
        id: "R2",
        about: "any node answers reads from its own state",
        origin: "etcd's serializable reads, MongoDB's secondaries",
        class: Class::Read,
        tier: Tier::T1,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "early-ack",
        id: "W1",
        about: "a write is acknowledged when it is proposed, before it is committed",
        origin: "MongoDB w:1, Redis replication",
        class: Class::Write,
        tier: Tier::T1,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "optimistic-timeout",
        id: "W2",
        about: "a write that was not committed in time is acknowledged",
        origin: "MongoDB 2.4 rollbacks",
        class: Class::Write,
        tier: Tier::T1,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "false-failure",
        id: "W3",
        about: "a write whose fate is not known is reported as not applied",
        origin: "RedisRaft #23, jetcd 0.8.2, Consul #2893",
        class: Class::Write,
        tier: Tier::T1,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "stale-compare",
        id: "W5",
        about: "a compare-and-set compares when it is proposed, not when it is applied",
        origin: "TiDB 2.1.7's automatic retries",
        class: Class::Write,
        tier: Tier::T1,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "early-log-ack",
        id: "D1",
        about: "log entries are acknowledged before they are on disk",
        origin: "NATS 2.12.1, etcd #14370",
        class: Class::Durability,
        tier: Tier::T2,
        oracle: "history, trace",
        place: Place::Node,
    },
    Defect {
        name: "early-applied",
        id: "D6b",
        about: "the applied index is durable before the data of its entries",
        origin: "etcd #13766",
        class: Class::Durability,
        tier: Tier::T2,
        oracle: "state-hash",
        place: Place::Node,
    },
    Defect {
        name: "holey-snapshot",
        id: "S1",
        about: "a snapshot misses one key in sixteen",
        origin: "ArcadeDB #6760, RedisRaft #14",
        class: Class::Snapshot,
        tier: Tier::T2,
        oracle: "state-hash",
        place: Place::Node,
    },
    Defect {
        name: "phantom-ack",
        id: "N2",
        about: "a peer that does not answer counts as one that said yes",
        origin: "optimistic acknowledgements",
        class: Class::Network,
        tier: Tier::T1,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "forgetful-vote",
        id: "D2",
        about: "the vote is never written to the disk",
        origin: "hashicorp/raft #661, LogCabin",
        class: Class::Durability,
        tier: Tier::T4,
        oracle: "trace",
        place: Place::Node,
    },
    Defect {
        name: "dropped-tail",
        id: "D4",
        about: "a start drops the last entries of the log",
        origin: "NATS' truncated blocks, FAST'18",
        class: Class::Durability,
        tier: Tier::T2,
        oracle: "trace",
        place: Place::Node,
    },
    Defect {
        name: "repeated-request",
        id: "W4",
        about: "a request that a client repeats in its session is carried out again",
        origin: "jetcd 0.8.2, MongoDB 4.2.6",
        class: Class::Write,
        tier: Tier::T4,
        oracle: "history",
        place: Place::Node,
    },
    Defect {
        name: "forgotten-sessions",
        id: "W6",
        about: "a snapshot lacks the sessions, so that what they were answered is forgotten",
        origin: "RedisRaft PR #568, Apache Iggy #3959",
        class: Class::Snapshot,
        tier: Tier::T4,
        oracle: "state-hash",
        place: Place::Node,
    },
    Defect {
        name: "slow-read",
        id: "Y1",
        about: "a read waits 50 ms between the leader's confirmation and its look at the store",
        origin: "legal: what it sees is newer, never older",
        class: Class::Decoy,
        tier: Tier::Never,
        oracle: "none",
        place: Place::Node,
    },
    Defect {
        name: "doubled-messages",
        id: "Y2",
        about: "every vote and every unary append arrives twice",
        origin: "legal: Raft's requests may be repeated",
        class: Class::Decoy,
        tier: Tier::Never,
        oracle: "none",
        place: Place::Network,
    },
    Defect {
        name: "hasty-snapshots",
        id: "Y3",
        about: "a snapshot every 20 entries, and only 5 entries kept behind it",
        origin: "legal: followers that lag a little get a snapshot",
        class: Class::Decoy,
        tier: Tier::Never,
        oracle: "none",
        place: Place::Flags,
    },
    Defect {
        name: "impatient-clients",
        id: "Y4",
        about: "clients give up after 60 ms, and most of what they give up is applied",
        origin: "legal: a time-out is an unknown outcome",
        class: Class::Decoy,
        tier: Tier::Never,
        oracle: "none",
        place: Place::Clients,
    },
    Defect {
        name: "restless-leader",
        id: "Y5",
        about: "the leadership is handed on every 1.2 s",
        origin: "legal: leader transfer is a part of Raft",
        class: Class::Decoy,
        tier: Tier::Never,
        oracle: "none",
        place: Place::Plan,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_and_every_number_is_there_once() {
        let names: BTreeSet<&str> = DEFECTS.iter().map(|defect| defect.name).collect();
        let ids: BTreeSet<&str> = DEFECTS.iter().map(|defect| defect.id).collect();
        assert_eq!((names.len(), ids.len()), (DEFECTS.len(), DEFECTS.len()));
        assert_eq!(DEFECTS.iter().filter(|defect| defect.is_decoy()).count(), 5);
    }

    #[test]
    fn a_decoy_is_never_to_be_found_and_says_so() {
        for defect in DEFECTS {
            assert_eq!(
                defect.is_decoy(),
                defect.tier == Tier::Never,
                "{}",
                defect.name
            );
            assert_eq!(defect.is_decoy(), defect.line().contains("must never"));
        }
    }
}
