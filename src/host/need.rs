//! What a run needs of its machine, in numbers, and whether it is there: looked at before the first child starts, so that
//! the answer is a sentence and not a cluster that does not serve.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::look;

const MIB: u64 = 1 << 20;

/// Nodes that have listeners from the start, whether they run or not.
const MOST_NODES: u64 = 9;
/// Descriptors of the bench that are no link's: pollers of the runtimes, files, pipes, a terminal.
const OWN_DESCRIPTORS: u64 = 64;
/// Of each child: its process, its pipes, its log, and the calls that ask it how it is.
const CHILD_DESCRIPTORS: u64 = 10;
/// Connections of one node to another: one for heartbeats and votes, one for entries. Each is two sockets of the proxy.
const PEER_DESCRIPTORS: u64 = 4;
/// A client's connection: its own end and two sockets of the proxy. After a leader change it has two of them.
const CLIENT_DESCRIPTORS: u64 = 6;

/// Less than this on the disk, and the next snapshot of every node may fail.
const SPACE: u64 = 8 * MIB;
const SPACE_NODE: u64 = 4 * MIB;
/// What one operation leaves in the history, and at each node in its trace and log.
const OPERATION_BYTES: u64 = 250;
const OPERATION_BYTES_NODE: u64 = 250;
/// What is told in a second.
const SECOND_BYTES: u64 = 10 << 10;
/// A process of ours takes more than this, the bench as well as a node.
const PROCESS_MEMORY: u64 = 32 * MIB;

/// What a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// How many nodes run.
    pub nodes: u64,
    /// How many clients ask.
    pub clients: u64,
    /// Operations a second.
    pub rate: u64,
    /// How long; 0: nobody knows.
    pub seconds: u64,
}

/// What is not there.
#[derive(Debug, thiserror::Error)]
pub enum NeedError {
    /// Too few open files are allowed.
    #[error(
        "{nodes} nodes and {clients} clients need {needed} open files, and this process may have {limit}: raise the hard \
         limit (ulimit -Hn {needed}), or ask for fewer nodes or clients"
    )]
    Descriptors {
        /// How many nodes run.
        nodes: u64,
        /// How many clients ask.
        clients: u64,
        /// What they need.
        needed: u64,
        /// What there may be.
        limit: u64,
    },
    /// The disk is too full.
    #[error(
        "a run of {nodes} nodes needs {} MiB on the disk, and {} KiB are free under {dir}: free some, or give --out another disk",
        needed / MIB,
        free >> 10
    )]
    Space {
        /// How many nodes run.
        nodes: u64,
        /// Bytes that they need at least.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Where.
        dir: PathBuf,
    },
    /// No file can be made there.
    #[error("no file can be made under {0}: its disk has no name left for one (see df -i)")]
    Names(PathBuf),
    /// There is too little memory.
    #[error("{nodes} nodes need {} MiB of memory, and {} MiB are left", needed / MIB, left / MIB)]
    Memory {
        /// How many nodes run.
        nodes: u64,
        /// Bytes that they need at least.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
}

/// Raises this process' limit of open files to what it may be; its children have it, too. Gives the limit that there is
/// then: where the kernel does not take it, the one that there was.
#[must_use]
pub fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    now.unwrap_or(u64::MAX)
}

impl Need {
    /// Open files of the bench; a node needs fewer.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        let Need { nodes, clients, .. } = *self;
        // For each node a listener for each of its peers and for each group of clients: those that are pinned to a node,
        // and those that follow the leader.
        let doors = MOST_NODES - 1 + nodes + 1;
        // A port is kept by one socket, and where the node is there another one listens.
        let listeners = (MOST_NODES + nodes) * doors;
        let peers = PEER_DESCRIPTORS * nodes * (nodes - 1).max(1);
        let children = CHILD_DESCRIPTORS * nodes;
        OWN_DESCRIPTORS + listeners + peers + children + CLIENT_DESCRIPTORS * clients
    }

    /// Bytes without which it is not worth beginning.
    fn space_least(&self) -> u64 {
        SPACE + SPACE_NODE * self.nodes
    }

    /// Bytes that its folder may come to; absent where nobody knows how long it takes.
    fn space(&self) -> Option<u64> {
        let Need {
            nodes,
            rate,
            seconds,
            ..
        } = *self;
        let second = rate * (OPERATION_BYTES + OPERATION_BYTES_NODE * nodes) + SECOND_BYTES;
        (seconds > 0).then(|| self.space_least() + seconds.saturating_mul(second))
    }

    /// Holds it against what there is: what should be told though the run may begin, a sentence each.
    ///
    /// # Errors
    /// What it cannot do without. What the kernel does not say is taken to be there.
    pub fn check(&self, limit: u64, dir: &Path) -> Result<Vec<String>, NeedError> {
        let (nodes, clients, needed) = (self.nodes, self.clients, self.descriptors());
        if limit < needed {
            return Err(NeedError::Descriptors {
                nodes,
                clients,
                needed,
                limit,
            });
        }
        let disk = look::space(dir).ok();
        let left = look::memory();
        self.compare(disk, left, dir)
    }

    fn compare(
        &self,
        disk: Option<look::Space>,
        left: Option<u64>,
        dir: &Path,
    ) -> Result<Vec<String>, NeedError> {
        let nodes = self.nodes;
        let mut told = Vec::new();
        if let Some(look::Space { bytes, files }) = disk {
            let needed = self.space_least();
            if bytes < needed {
                return Err(NeedError::Space {
                    nodes,
                    needed,
                    free: bytes,
                    dir: dir.to_owned(),
                });
            }
            if files == Some(0) {
                return Err(NeedError::Names(dir.to_owned()));
            }
            told.extend(self.space().filter(|&needed| bytes < needed).map(|needed| {
                format!(
                    "this run may write {} MiB, and {} MiB are free under {}",
                    needed / MIB,
                    bytes / MIB,
                    dir.display()
                )
            }));
        }
        let needed = PROCESS_MEMORY * (nodes + 1);
        match left {
            Some(left) if left < needed => Err(NeedError::Memory {
                nodes,
                needed,
                left,
            }),
            Some(left) if left < 3 * needed => {
                told.push(format!(
                    "{} MiB of memory are left for {nodes} nodes: the kernel may end one of them",
                    left / MIB
                ));
                Ok(told)
            }
            _ => Ok(told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Need = Need {
        nodes: 3,
        clients: 8,
        rate: 200,
        seconds: 30,
    };

    fn compare(bytes: u64, memory: u64) -> Result<Vec<String>, NeedError> {
        let disk = look::Space { bytes, files: None };
        USUAL.compare(Some(disk), Some(memory), Path::new("runs"))
    }

    #[test]
    fn the_usual_run_needs_more_than_two_hundred_open_files_and_fewer_than_a_thousand() {
        let needed = USUAL.descriptors();
        assert!((251..=1_024).contains(&needed), "{needed}");
        let many = Need {
            nodes: 9,
            clients: 300,
            ..USUAL
        };
        assert!((1_025..=4_096).contains(&many.descriptors()));
        for limit in [200, 220] {
            let refused = USUAL.check(limit, Path::new(".")).expect_err("too few");
            let said = refused.to_string();
            let numbers = [limit.to_string(), needed.to_string(), "8 clients".into()];
            let named = numbers.iter().all(|number| said.contains(number.as_str()));
            assert!(named && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused_and_one_that_is_small_is_said() {
        for kib in [200, 600, 1_000] {
            let refused = compare(kib << 10, 1 << 34).expect_err("too small");
            assert!(matches!(refused, NeedError::Space { .. }), "{refused}");
            let said = refused.to_string();
            assert!(said.contains(&format!("{kib} KiB")), "{said}");
        }
        let told = compare(22 * MIB, 1 << 34).expect("it may begin");
        assert!(told.len() == 1 && told[0].contains("22 MiB"), "{told:?}");
        assert!(compare(1 << 40, 1 << 34).expect("it is fit").is_empty());
        let no_names = look::Space {
            bytes: 1 << 40,
            files: Some(0),
        };
        let refused = USUAL.compare(Some(no_names), None, Path::new("runs"));
        assert!(matches!(refused, Err(NeedError::Names(_))));
    }

    #[test]
    fn too_little_memory_is_refused_and_little_is_said() {
        let refused = compare(1 << 40, 100 * MIB).expect_err("too little");
        assert!(matches!(refused, NeedError::Memory { .. }), "{refused}");
        assert_eq!(compare(1 << 40, 200 * MIB).expect("it may begin").len(), 1);
        // What nobody knows is no reason to refuse.
        let unknown = USUAL.compare(None, None, Path::new("runs"));
        assert!(unknown.expect("it may begin").is_empty());
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_it_may_be() {
        let raised = raise_descriptors();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(now.current.unwrap_or(u64::MAX), raised);
    }
}
