//! What carries the lines of a system whose nodes speak by their stdin and stdout: the bench is their network.

use std::fmt;

use tokio::sync::mpsc;

use super::protocol::maelstrom::Message;

/// By what the nodes of a target speak with one another and with their clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Connections, through the proxy.
    #[default]
    Sockets,
    /// Lines on their stdin and stdout, each to whom it names, carried by the bench.
    Lines,
}

/// Carries lines between nodes and clients, each with a fate of its own.
pub trait Post: fmt::Debug + Send + Sync {
    /// Whether the node that runs now has answered its first line.
    fn is_ready(&self, node: u64) -> bool;

    /// A client that nobody was before, on the links of this group: its name, and what is said to it. What comes when it
    /// does not listen any more, or has too much to hear, is lost.
    fn open(&self, group: u32) -> (String, mpsc::Receiver<Message>);

    /// Sends a client's message to a node. Gives whether it is there, or on its way; if not, it is lost for good, and the
    /// node never saw it.
    fn send(&self, group: u32, node: u64, message: &Message) -> bool;
}
