//! Databases that lose power: what they promised is there afterwards, exactly where their syncs were honest.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use machine::disk::Settings;
use machine::disk::harm::{Harms, SyncHarm};
use machine::disk::undo::PowerLoss;
use machine::launch::{Program, Stream};
use rustix::process::Signal;

use crate::node::Node;
use crate::support::{PATIENCE, until};

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

/// A Redis of a node, and a connection to it.
struct Redis {
    program: Program,
    stream: BufReader<TcpStream>,
}

impl Redis {
    fn start(node: &Node, append_sync: &str) -> Self {
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

    fn ask(&mut self, command: &str) -> String {
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
fn redis_keeps(append_sync: &str, sync: SyncHarm) -> String {
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

#[test]
fn redis_keeps_what_it_acknowledged_exactly_where_it_synced_and_the_sync_was_true() {
    if !crate::support::installed::here(&["redis-server"]) {
        return;
    }
    assert_eq!(redis_keeps("always", SyncHarm::None), ":50");
    assert_eq!(redis_keeps("no", SyncHarm::None), ":0");
    assert_eq!(redis_keeps("always", SyncHarm::Lie), ":0");
}

/// Writes rows one transaction each, and says each number when it is committed.
const SQLITE: &str = "
import sqlite3, sys
db = sqlite3.connect('db', isolation_level=None)
db.execute('pragma journal_mode=wal'); db.execute('pragma synchronous=' + sys.argv[1])
db.execute('pragma wal_autocheckpoint=20')
db.execute('create table if not exists t(n integer primary key, filling)')
n = db.execute('select coalesce(max(n), 0) from t').fetchone()[0]
while True:
    n += 1
    db.execute('insert into t values(?, ?)', (n, 'x' * (n * 37 % 3000)))
    print(n, flush=True)
";

/// Lets SQLite write, cuts the power in the middle, and looks. Gives how many committed rows were lost, in all rounds.
fn sqlite_loses(synchronous: &str, power: impl Fn(u64) -> PowerLoss) -> u64 {
    let node = Node::with(Settings {
        volatile: vec!["*-shm".to_owned()],
        ..Settings::default()
    });
    let mut lost = 0;
    for round in 0..6u64 {
        let mut writer = node
            .launch("/usr/bin/python3")
            .args(["-c", SQLITE, synchronous])
            .stdout(Stream::Pipe)
            .start()
            .expect("Python starts");
        let mut lines = BufReader::new(writer.stdout.take().expect("a pipe")).lines();
        let more = 30 + round as usize * 7;
        let mut committed = lines
            .by_ref()
            .take(more)
            .last()
            .expect("it commits")
            .expect("a line");
        writer.kill().expect("it can be killed");
        // What it had said before it died was promised as well.
        for line in lines.map_while(Result::ok) {
            committed = line;
        }
        // Whoever looks is not watched: what it changes is as good as synced.
        node.disk
            .power_loss(power(round))
            .expect("the power can be lost");
        let looked = Command::new("/usr/bin/python3")
            .args([
                "-c",
                "import sqlite3
db = sqlite3.connect('db')
print(db.execute('pragma integrity_check').fetchone()[0])
there = db.execute(\"select count(*) from sqlite_master where name = 't'\").fetchone()[0]
print(db.execute('select coalesce(max(n), 0), count(*) from t').fetchone() if there else (0, 0))
db.execute('pragma wal_checkpoint')",
            ])
            .current_dir(node.folder())
            .output()
            .expect("Python runs");
        let text = String::from_utf8_lossy(&looked.stdout).into_owned();
        let committed: u64 = committed.parse().expect("a number");
        let expected = |last: u64| format!("ok\n({last}, {last})\n");
        match (committed..=committed + 1).find(|last| text == expected(*last)) {
            // One more may have been committed and not said.
            Some(_) => {}
            None => lost += 1,
        }
        if synchronous == "full" {
            assert!(
                text.starts_with("ok\n"),
                "round {round}: {text} {}",
                String::from_utf8_lossy(&looked.stderr)
            );
        }
    }
    lost
}

#[test]
fn sqlite_with_full_syncs_loses_nothing_that_it_committed() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    assert_eq!(sqlite_loses("full", |_| PowerLoss::Strict), 0);
    assert_eq!(sqlite_loses("full", PowerLoss::Subset), 0);
    assert_eq!(sqlite_loses("full", PowerLoss::Torn), 0);
}

#[test]
fn sqlite_without_syncs_loses_what_it_committed() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    assert!(sqlite_loses("off", |_| PowerLoss::Strict) > 0);
}

struct Etcd {
    program: Program,
    port: u16,
}

impl Etcd {
    fn start(node: &Node) -> Self {
        let (port, peer) = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let log = std::fs::File::create(node.outside().join("log")).expect("it can be made");
        let args = [
            "--name=a".to_owned(),
            "--data-dir=etcd".to_owned(),
            format!("--listen-client-urls={}", url(port)),
            format!("--advertise-client-urls={}", url(port)),
            format!("--listen-peer-urls={}", url(peer)),
            format!("--initial-advertise-peer-urls={}", url(peer)),
            format!("--initial-cluster=a={}", url(peer)),
        ];
        let errors = log.try_clone().expect("a descriptor");
        let program = node
            .launch("etcd")
            .args(args)
            .stdout(log)
            .stderr(errors)
            .start()
            .expect("etcd starts");
        let etcd = Self { program, port };
        until("etcd", || etcd.put("start", Duration::from_secs(2)));
        etcd
    }

    /// One request of its JSON gateway; nothing where no good answer came in time.
    fn post(&self, path: &str, body: &str, patience: Duration) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        let head = format!(
            "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.0 200").then_some(answer)
    }

    fn put(&self, key: &str, patience: Duration) -> bool {
        let key = base64(key);
        self.post(
            "/v3/kv/put",
            &format!("{{\"key\":\"{key}\",\"value\":\"AAAA\"}}"),
            patience,
        )
        .is_some()
    }

    fn keys(&self) -> BTreeSet<String> {
        let all = "{\"key\":\"AA==\",\"range_end\":\"AA==\",\"keys_only\":true}";
        let answer = self
            .post("/v3/kv/range", all, PATIENCE)
            .expect("it lists its keys");
        let keys = answer.split("\"key\":\"").skip(1);
        keys.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
            .collect()
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
        (0..4)
            .map(|at| if at <= three.len() { digit(at) } else { '=' })
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(digits).collect()
}

/// Go interrupts its own threads with a signal every 10 ms; a call that waits must not begin again because of it.
#[test]
fn etcd_bears_a_held_sync_and_loses_nothing_that_it_acknowledged() {
    if !crate::support::installed::here(&["etcd", "python3"]) {
        return;
    }
    let node = Node::new();
    let mut etcd = Etcd::start(&node);
    let mut acknowledged = BTreeSet::from(["start".to_owned()]);
    for key in 0..20 {
        assert!(etcd.put(&format!("key{key}"), PATIENCE));
        acknowledged.insert(format!("key{key}"));
    }
    node.disk.harm(Harms {
        sync: SyncHarm::Held,
        ..Harms::default()
    });
    let answered = AtomicBool::new(false);
    thread::scope(|scope| {
        let etcd = &etcd;
        let put = scope.spawn(|| {
            let done = etcd.put("held", PATIENCE);
            answered.store(true, Ordering::Relaxed);
            done
        });
        until("a sync that is under way", || {
            node.disk.state().syncs_under_way > 0
        });
        let begun = node.disk.state();
        // A while under signals: nothing ends, nothing begins twice.
        thread::sleep(Duration::from_millis(500));
        assert!(
            !answered.load(Ordering::Relaxed),
            "it was acknowledged without its sync"
        );
        assert_eq!(node.disk.state().syncs, begun.syncs);
        node.disk.harm(Harms::default());
        assert!(
            put.join().expect("it asks"),
            "it goes on when the sync ends"
        );
    });
    acknowledged.insert("held".to_owned());
    // Now one that is never acknowledged: the power goes while its sync is held.
    node.disk.harm(Harms {
        sync: SyncHarm::Held,
        ..Harms::default()
    });
    assert!(!etcd.put("lost", Duration::from_millis(300)));
    etcd.program.kill().expect("it can be killed");
    node.lose_power();
    node.disk.harm(Harms::default());

    let mut etcd = Etcd::start(&node);
    let expected: BTreeSet<String> = acknowledged.iter().map(|key| base64(key)).collect();
    assert_eq!(etcd.keys(), expected);
    assert_eq!(node.disk.state().limits, Vec::<String>::new());
    etcd.program.kill().expect("it can be killed");
}

/// Three clients write while the power goes, whatever etcd is at; how many acknowledged keys are lost in all rounds.
fn etcd_loses(rounds: u64, sync: SyncHarm) -> usize {
    let node = Node::new();
    let mut acknowledged = BTreeSet::new();
    let mut etcd = Etcd::start(&node);
    for round in 0..rounds {
        node.disk.harm(Harms {
            sync,
            ..Harms::default()
        });
        let dark = AtomicBool::new(false);
        let promised = thread::scope(|scope| {
            let (asked, dark) = (&etcd, &dark);
            let write = move |client: u32| {
                let keys = (0..).map(|n| format!("{round}-{client}-{n}"));
                let lit = keys.take_while(|_| !dark.load(Ordering::Relaxed));
                lit.filter(|key| asked.put(key, PATIENCE))
                    .collect::<Vec<_>>()
            };
            let clients: Vec<_> = (0..3)
                .map(|client| scope.spawn(move || write(client)))
                .collect();
            let before = node.disk.state().syncs;
            until("some syncs", || {
                node.disk.state().syncs > before + 40 + round * 3
            });
            etcd.program.signal(Signal::KILL).expect("it can be killed");
            dark.store(true, Ordering::Relaxed);
            clients
                .into_iter()
                .flat_map(|client| client.join().expect("it asks"))
                .collect::<Vec<_>>()
        });
        etcd.program.kill().expect("all of it is gone");
        acknowledged.extend(promised);
        let how = match round % 3 {
            0 => PowerLoss::Strict,
            1 => PowerLoss::Subset(round),
            _ => PowerLoss::Torn(round),
        };
        node.disk.power_loss(how).expect("the power can be lost");
        node.disk.harm(Harms::default());
        etcd = Etcd::start(&node);
    }
    let there = etcd.keys();
    etcd.program.kill().expect("it can be killed");
    assert!(
        acknowledged.len() > 20 * rounds as usize,
        "too few writes: {}",
        acknowledged.len()
    );
    acknowledged
        .iter()
        .filter(|key| !there.contains(&base64(key)))
        .count()
}

#[test]
fn etcd_loses_nothing_that_it_acknowledged_while_its_syncs_are_true() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    assert_eq!(etcd_loses(4, SyncHarm::None), 0);
}

#[test]
fn etcd_loses_what_it_acknowledged_where_its_syncs_lied() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    assert!(etcd_loses(1, SyncHarm::Lie) > 0);
}
