//! A client program of one's own, by JSON lines: a Python program between the bench and a real server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use checkers::history::Call;
use tokio::process::{Child, Command};
use whitewater::target::protocol::lines::{Lines, Start, Stream};

use super::server::{Server, address};
use super::{ask, ask_within, every_operation, ok};

/// The program's input and output; it ends with them.
fn start() -> Start {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocols/targets/client.py");
    Box::new(move || {
        let child = Command::new("python3")
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // One that is given up complains that nobody reads its last answer.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        Box::pin(async move {
            let mut child: Child = child?;
            let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            // It is reaped when its input has ended, or with the runtime.
            tokio::spawn(async move { child.wait().await });
            Ok(Box::new(tokio::io::join(output, input)) as Box<dyn Stream>)
        })
    })
}

#[tokio::test]
async fn a_python_program_is_a_client() {
    if !crate::installed::here(&["python3", "redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = SocketAddr::new(address(), 6379);
    let ip = at.ip().to_string();
    let args = ["--bind", &ip, "--port", "6379", "--save", ""];
    let mut redis = Server::start("redis-server", &args, &dir, at).await;
    let mut client = Lines::new(7, BTreeMap::from([(1, at)]), start());
    every_operation(&mut client, 1, "k", false).await;
    assert_eq!(ask(&mut client, 1, "k", Call::Write(17)).await, ok(None));
    redis.pause().await;
    let sent = ask_within(
        &mut client,
        1,
        "k",
        Call::Write(18),
        Duration::from_millis(500),
    )
    .await;
    sent.assert_unknown();
    redis.resume();
    // The one that was silent is not asked again; another one is.
    assert_eq!(ask(&mut client, 1, "k", Call::Write(19)).await, ok(None));
    assert_eq!(ask(&mut client, 1, "k", Call::Read).await, ok(Some(19)));
    redis.kill();
    ask(&mut client, 1, "k", Call::Write(20))
        .await
        .assert_unknown();
    ask(&mut client, 1, "k", Call::Write(21))
        .await
        .assert_not_applied("error 11");
}
