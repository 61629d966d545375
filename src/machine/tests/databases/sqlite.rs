//! A SQLite database whose power is lost, in the middle of its writes.

use std::io::{BufRead, BufReader};
use std::process::Command;

use machine::disk::Settings;
use machine::disk::undo::PowerLoss;
use machine::launch::Stream;

use crate::node::Node;

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
pub(crate) fn loses(synchronous: &str, rounds: u64, power: impl Fn(u64) -> PowerLoss) -> u64 {
    let node = Node::with(Settings {
        volatile: vec!["*-shm".to_owned()],
        ..Settings::default()
    });
    let mut lost = 0;
    for round in 0..rounds {
        let mut writer = node
            .launch("/usr/bin/python3")
            .args(["-c", SQLITE, synchronous])
            .stdout(Stream::Pipe)
            .start()
            .expect("Python starts");
        let mut lines = BufReader::new(writer.stdout.take().expect("a pipe")).lines();
        let more = 30 + round as usize % 6 * 7;
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
