//! The targets that are shipped, and the files that somebody's own one begins with.

use std::io;

use super::{Description, Malformed, parse};

/// One that is shipped: its name, and its file.
const BUILT_IN: [(&str, &str); 3] = [
    ("etcd", include_str!("../../targets/etcd.toml")),
    ("redis", include_str!("../../targets/redis.toml")),
    (
        "maelstrom-lin-kv",
        include_str!("../../targets/maelstrom-lin-kv.toml"),
    ),
];

/// What their files take in with `from`.
const FILES: [(&str, &str); 1] = [("lin_kv.py", include_str!("../../targets/lin_kv.py"))];

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

/// Reads a text as the file of a target that is shipped.
pub(super) fn read(name: &str, text: &str) -> Result<(Description, Vec<String>), Malformed> {
    parse::read(text, &format!("{name}.toml"), &|name| {
        let found = FILES.iter().find(|(known, _)| *known == name);
        let found = found.map(|(_, text)| (*text).to_owned());
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    })
}
