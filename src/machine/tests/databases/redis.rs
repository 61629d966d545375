//! A Redis whose power is lost: what it keeps, by what it was told of syncs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use machine::disk::harm::{Harms, SyncHarm};
use machine::launch::Program;

use super::free_port;
use crate::node::Node;
use crate::support::{PATIENCE, until};

/// A Redis of a node, and a connection to it.
pub(crate) struct Redis {
    pub(crate) program: Program,
    stream: BufReader<TcpStream>,
}

impl Redis {
    pub(crate) fn start(node: &Node, append_sync: &str) -> Self {
        let port = free_port().to_string();
        let args = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            append_sync,
        ];
        let log = std::fs::File::create(node.outside().join("log")).expect("it can be made");
        let program = node
            .launch("redis-server")
            .args(args)
            .stdout(log)
            .start()
            .expect("Redis starts");
        let mut stream = None;
        until("Redis", || {
            stream = TcpStream::connect(("127.0.0.1", port.parse().expect("a number"))).ok();
            stream.is_some()
        });
        let stream = stream.expect("it answers");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("it can be set");
        let mut redis = Self {
            program,
            stream: BufReader::new(stream),
        };
        until("a Redis that has read its file", || {
            redis.ask("PING") == "+PONG"
        });
        redis
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.stream
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("it hears");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    /// Sets fifty keys, all of them acknowledged, and loses the power.
    fn write_fifty_and_lose_power(mut self, node: &Node) {
        for key in 0..50 {
            assert_eq!(self.ask(&format!("SET key{key} value")), "+OK");
        }
        self.program.kill().expect("it can be killed");
        node.lose_power();
    }
}

/// How many of fifty acknowledged keys a power loss leaves.
pub(crate) fn keeps(append_sync: &str, sync: SyncHarm) -> String {
    let node = Node::new();
    // The file itself is there, and named, before anything is lost.
    let mut redis = Redis::start(&node, append_sync);
    assert_eq!(redis.ask("SET first value"), "+OK");
    redis.program.kill().expect("it can be killed");
    node.run("os.sync()");
    let redis = Redis::start(&node, append_sync);
    node.disk.harm(Harms {
        sync,
        ..Harms::default()
    });
    redis.write_fifty_and_lose_power(&node);
    node.disk.harm(Harms::default());
    let mut redis = Redis::start(&node, append_sync);
    assert_eq!(redis.ask("EXISTS first"), ":1");
    redis.ask("DEL first");
    let left = redis.ask("DBSIZE");
    redis.program.kill().expect("it can be killed");
    left
}

/// With `appendfsync everysec`: fifty keys, a second's patience, fifty more whose sync does not come to its end. How many
/// are left.
pub(crate) fn keeps_what_a_second_has_synced() -> String {
    let node = Node::new();
    let mut redis = Redis::start(&node, "everysec");
    for key in 0..50 {
        assert_eq!(redis.ask(&format!("SET early{key} value")), "+OK");
    }
    until("the sync of every second", || {
        node.disk.state().unsynced_bytes == 0
    });
    node.run("os.sync()");
    node.disk.harm(Harms {
        sync: SyncHarm::Held,
        ..Harms::default()
    });
    redis.write_fifty_and_lose_power(&node);
    node.disk.harm(Harms::default());
    let mut redis = Redis::start(&node, "everysec");
    let left = redis.ask("DBSIZE");
    redis.program.kill().expect("it can be killed");
    left
}
