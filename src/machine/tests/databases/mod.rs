//! Databases under test, each with what it does over a power loss. Shared by the tests of the disk, which lose power a few
//! times, and the example `proof`, which does it as often as it is told.
#![allow(dead_code)]

pub(crate) mod cluster;
pub(crate) mod etcd;
pub(crate) mod redis;
pub(crate) mod sqlite;
pub(crate) mod wire;
pub(crate) mod zookeeper;

use std::net::TcpListener;

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}
