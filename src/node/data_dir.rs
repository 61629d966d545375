//! The data directory: whose it is, in which format, and where its parts lie.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::types::NodeId;

/// The format that this version writes, and the only one it reads.
const FORMAT: u32 = 1;
const IDENTITY: &str = "node.json";

/// A directory that belongs to this node.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

/// Why a directory is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error("{path} belongs to node {owner}, this is node {me}")]
    Foreign {
        path: PathBuf,
        owner: NodeId,
        me: NodeId,
    },
    #[error("{path} has format {found}, this version reads format {FORMAT}")]
    Format { path: PathBuf, found: u32 },
    #[error("{path} says of itself what cannot be read: {error}")]
    Unreadable {
        path: PathBuf,
        error: serde_json::Error,
    },
    #[error("{path} holds files but does not say whose it is")]
    Unknown { path: PathBuf },
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    node: NodeId,
}

impl DataDir {
    /// Takes the directory for node `me`; makes it if it is absent or empty.
    ///
    /// # Errors
    /// When it belongs to another node or format, or to something else, or the disk fails.
    pub(crate) fn open(path: &Path, me: NodeId) -> Result<DataDir, DataDirError> {
        let io = |error| DataDirError::Io {
            path: path.to_owned(),
            error,
        };
        make_folder(path).map_err(io)?;
        let identity = path.join(IDENTITY);
        match fs::read(&identity) {
            Ok(bytes) => check(path, &bytes, me)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::read_dir(path).map_err(io)?.any(|found| {
                    found.is_ok_and(|found| found.path().extension().is_none_or(|end| end != "tmp"))
                }) {
                    return Err(DataDirError::Unknown {
                        path: path.to_owned(),
                    });
                }
                write_identity(path, me).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        Ok(DataDir(path.to_owned()))
    }

    /// Makes the names of what was made in it durable: a file that is synced may yet be gone with its name.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync_folder(&self.0)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log.redb")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state.redb")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }
}

/// Makes the folder, and those above it, where they are absent; their names are durable then.
fn make_folder(path: &Path) -> io::Result<()> {
    let absent = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<&Path> = path.ancestors().take_while(absent).collect();
    fs::create_dir_all(path)?;
    made.iter()
        .filter_map(|made| made.parent())
        .try_for_each(sync_folder)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    // The parent of a single name is written as nothing.
    let here = path.as_os_str().is_empty();
    File::open(if here { Path::new(".") } else { path })?.sync_all()
}

fn check(path: &Path, bytes: &[u8], me: NodeId) -> Result<(), DataDirError> {
    let path = path.to_owned();
    let identity: Identity = match serde_json::from_slice(bytes) {
        Ok(identity) => identity,
        Err(error) => return Err(DataDirError::Unreadable { path, error }),
    };
    if identity.format != FORMAT {
        let found = identity.format;
        return Err(DataDirError::Format { path, found });
    }
    if identity.node != me {
        let owner = identity.node;
        return Err(DataDirError::Foreign { path, owner, me });
    }
    Ok(())
}

/// A kill in between leaves no identity or a whole one.
fn write_identity(path: &Path, me: NodeId) -> io::Result<()> {
    let temporary = path.join("node.tmp");
    let mut file = File::create(&temporary)?;
    let identity = Identity {
        format: FORMAT,
        node: me,
    };
    serde_json::to_writer(&mut file, &identity)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(temporary, path.join(IDENTITY))?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_node_for_ever() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("not/there/yet");
        let new = DataDir::open(&path, 1).expect("new");
        new.sync().expect("synced");
        DataDir::open(&path, 1).expect("its own");
        let refused = DataDir::open(&path, 2)
            .expect_err("another node's")
            .to_string();
        assert!(refused.contains("belongs to node 1"), "{refused}");
    }

    #[test]
    fn a_newer_format_is_refused_and_named() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::write(root.path().join(IDENTITY), r#"{"format":2,"node":1}"#).expect("write");
        let refused = DataDir::open(root.path(), 1)
            .expect_err("newer")
            .to_string();
        assert!(refused.contains("has format 2"), "{refused}");
    }

    #[test]
    fn a_directory_of_something_else_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::write(root.path().join("precious.txt"), "text").expect("write");
        assert!(matches!(
            DataDir::open(root.path(), 1),
            Err(DataDirError::Unknown { .. })
        ));
    }
}
