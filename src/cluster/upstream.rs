//! Whoever leads others to a node hears where its child listens once it is ready, and that it does not *before* it is
//! ended: its port may be another child's a moment later.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Told the address of each node that is ready, and `None` before its child is ended, or when it has ended by itself.
#[derive(Clone, Default)]
pub struct UpstreamHook(Option<Arc<Tell>>);

type Tell = dyn Fn(u64, Option<SocketAddr>) + Send + Sync;

impl UpstreamHook {
    /// Calls this function, from the cluster's own thread: it must not wait.
    pub fn new(tell: impl Fn(u64, Option<SocketAddr>) + Send + Sync + 'static) -> UpstreamHook {
        UpstreamHook(Some(Arc::new(tell)))
    }

    fn tell(&self, node: u64, address: Option<SocketAddr>) {
        if let Some(tell) = &self.0 {
            tell(node, address);
        }
    }
}

impl fmt::Debug for UpstreamHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = if self.0.is_some() { "set" } else { "none" };
        write!(f, "UpstreamHook({set})")
    }
}

/// One child's address as others know it. It is published before it is withdrawn, or not at all, and withdrawn for ever.
#[derive(Debug)]
pub(super) struct Published {
    node: u64,
    hook: UpstreamHook,
    told: Mutex<Told>,
}

/// What others know.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Here(SocketAddr),
    Withdrawn,
}

impl Published {
    /// Of a child that is not ready yet.
    pub(super) fn new(node: u64, hook: UpstreamHook) -> Published {
        Published {
            node,
            hook,
            told: Mutex::new(Told::Nothing),
        }
    }

    /// The child listens here; a child that is being ended, or has ended, does not any more.
    pub(super) fn publish(&self, address: SocketAddr) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != Told::Withdrawn && *told != Told::Here(address) {
            *told = Told::Here(address);
            self.hook.tell(self.node, Some(address));
        }
    }

    /// The child is about to be ended, or has ended. When this returns, nobody is led to it any more.
    pub(super) fn withdraw(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != Told::Withdrawn {
            *told = Told::Withdrawn;
            self.hook.tell(self.node, None);
        }
    }
}
