//! The targets that are shipped, and the files that somebody's own one begins with.

use std::io;
use std::path::Path;

use super::{Description, Malformed, parse};

/// One that is shipped: its name, and its file.
const BUILT_IN: [(&str, &str); 7] = [
    ("etcd", include_str!("../../targets/etcd.toml")),
    ("redis", include_str!("../../targets/redis.toml")),
    (
        "maelstrom-lin-kv",
        include_str!("../../targets/maelstrom-lin-kv.toml"),
    ),
    ("pysyncobj", include_str!("../../targets/pysyncobj.toml")),
    (
        "maelstrom-unique-ids",
        include_str!("../../targets/maelstrom-unique-ids.toml"),
    ),
    (
        "maelstrom-broadcast",
        include_str!("../../targets/maelstrom-broadcast.toml"),
    ),
    (
        "maelstrom-g-set",
        include_str!("../../targets/maelstrom-g-set.toml"),
    ),
];

/// What their files take in with `from`.
const FILES: [(&str, &str); 5] = [
    ("lin_kv.py", include_str!("../../targets/lin_kv.py")),
    ("unique_ids.py", include_str!("../../targets/unique_ids.py")),
    ("broadcast.py", include_str!("../../targets/broadcast.py")),
    ("g_set.py", include_str!("../../targets/g_set.py")),
    (
        "pysyncobj_kv.py",
        include_str!("../../targets/pysyncobj_kv.py"),
    ),
];

/// What a file of one's own begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// openraft's own examples.
    Openraft,
    /// A store with an HTTP interface.
    Http,
    /// A store with a client program of one's own.
    Lines,
    /// A Maelstrom node.
    Maelstrom,
}

impl Start {
    /// The commented file.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Start::Openraft => include_str!("../../targets/new/openraft.toml"),
            Start::Http => include_str!("../../targets/new/http.toml"),
            Start::Lines => include_str!("../../targets/new/lines.toml"),
            Start::Maelstrom => include_str!("../../targets/new/maelstrom.toml"),
        }
    }
}

/// Every target that is shipped, in the order in which people meet them.
///
/// # Panics
/// If one of our own files is wrong; a test reads them all.
#[must_use]
pub fn all() -> Vec<Description> {
    let read = |(name, text)| read(name, text).unwrap_or_else(|error| panic!("{error}")).0;
    BUILT_IN.into_iter().map(read).collect()
}

/// The file of a target that is shipped.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// Why there is no description of that name.
#[derive(Debug, thiserror::Error)]
pub enum NoSuch {
    /// None has that name.
    #[error("{0}")]
    Named(String),
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The file is not what it should be.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// A target by its name, or by its file where the name has a `/` or ends in `.toml`; and what its author should know.
///
/// # Errors
/// Where there is none, or its file does not read.
pub fn find(name: &str) -> Result<(Description, Vec<String>), NoSuch> {
    if !name.contains('/') && !name.ends_with(".toml") {
        let mut all = all();
        return match all.iter().position(|known| known.name == name) {
            Some(at) => Ok((all.swap_remove(at), Vec::new())),
            None => {
                let names: Vec<String> = all.into_iter().map(|known| known.name).collect();
                let names = names.join(", ");
                let how = "a file has a / or .toml in its name";
                let why = format!("there is no target {name:?}: there are {names}; {how}");
                Err(NoSuch::Named(why))
            }
        };
    }
    let path = Path::new(name);
    let text = std::fs::read(path);
    let text =
        text.map_err(|error| NoSuch::Unreadable(format!("could not read {name}: {error}")))?;
    let text = String::from_utf8(text).map_err(|error| Malformed {
        file: name.to_owned(),
        wrong: vec![(1, format!("it is no text in UTF-8: {error}"))],
    })?;
    let dir = path.parent().unwrap_or(Path::new("."));
    Ok(Description::read(&text, name, dir)?)
}

/// Reads a text as the file of a target that is shipped.
pub(super) fn read(name: &str, text: &str) -> Result<(Description, Vec<String>), Malformed> {
    parse::read(text, &format!("{name}.toml"), &|name| {
        let found = FILES.iter().find(|(known, _)| *known == name);
        let found = found.map(|(_, text)| (*text).to_owned());
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    })
}
