//! HTTP by templates, against a store in another language that is described by a file and nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use checkers::history::Call;
use tempfile::TempDir;
use whitewater::target::described::{ClientOptions, Description, Place, Wiring};
use whitewater::target::protocol::dial::Dial;
use whitewater::target::protocol::http::Http;

use super::server::{Server, address};
use super::{CONNECT_WITHIN, Proven, ask, ask_within, cas, every_operation, ok};

/// The store as its file starts it, and a client as its file describes it.
async fn started(dir: &TempDir) -> (Server, Http) {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocols/targets");
    let text = std::fs::read_to_string(targets.join("http-example.toml")).unwrap();
    let read = Description::read(&text, "http-example.toml", &targets);
    let (store, _) = read.unwrap_or_else(|malformed| panic!("{malformed}"));
    let found = store.find.find(None).await.unwrap();
    let (ip, program) = (address(), found.program);
    let place = Place {
        id: 1,
        ip,
        dir: dir.path().to_owned(),
    };
    let wiring = Wiring {
        members: vec![place],
        program,
    };
    let mode = store.mode(None).unwrap();
    let launch = store.launches(mode, 1, &wiring).remove(0);
    for (file, text) in &launch.files {
        std::fs::write(file, text).unwrap();
    }
    let at = SocketAddr::new(ip, 8080);
    let server = Server::spawn(&launch.program, &launch.args, &launch.cwd, at);
    server.ready().await;
    let ClientOptions::Http(options) = mode.client.clone() else {
        panic!("{:?}", mode.client);
    };
    let dial = Dial::new(BTreeMap::from([(1, at)]))
        .within(CONNECT_WITHIN)
        .knowing("127.9.9.2:8080", 2);
    let words = BTreeMap::from([(1, store.words(mode, 0, &wiring))]);
    (server, Http::new(dial, *options, words))
}

#[tokio::test]
async fn a_store_of_ones_own_answers_every_operation_as_it_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut client) = started(&dir).await;
    every_operation(&mut client, 1, "k", true).await;
}

#[tokio::test]
async fn an_answer_proves_what_the_file_says_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut client) = started(&dir).await;
    for (case, leader) in [
        ("moved", Some(2)),
        ("misdirected", Some(3)),
        ("no-leader", None),
    ] {
        for call in [Call::Write(1), cas(1, 2), Call::Delete, Call::Read] {
            let key = format!("case-{case}");
            let proven = ask(&mut client, 1, &key, call).await;
            let Proven::NotApplied(said, _) = &proven else {
                panic!("{case} {call:?}: {proven:?}");
            };
            assert_eq!(*said, leader, "{case} {call:?}");
        }
    }
    for case in ["error", "closed", "short"] {
        let key = format!("case-{case}");
        ask(&mut client, 1, &key, Call::Write(1))
            .await
            .assert_unknown();
        ask(&mut client, 1, &key, Call::Read).await.assert_unknown();
    }
    assert_eq!(ask(&mut client, 1, "case-null", Call::Read).await, ok(None));
    for case in ["text", "nothing", "html"] {
        let key = format!("case-{case}");
        let read = ask(&mut client, 1, &key, Call::Read).await;
        assert!(matches!(read, Proven::Unusable(_)), "{case}: {read:?}");
    }
    // A connection that the server ends is made anew, and nothing is asked twice.
    for _ in 0..5 {
        assert_eq!(
            ask(&mut client, 1, "case-closes", Call::Read).await,
            ok(Some(17))
        );
        let written = ask(&mut client, 1, "k", Call::Write(1)).await;
        assert!(
            matches!(written, Proven::Ended(_) | Proven::NotApplied(..)),
            "{written:?}"
        );
    }
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown_and_what_never_left_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, mut client) = started(&dir).await;
    assert_eq!(ask(&mut client, 1, "k", Call::Write(17)).await, ok(None));
    let short = Duration::from_millis(500);
    server.pause().await;
    ask_within(&mut client, 1, "k", Call::Write(18), short)
        .await
        .assert_unknown();
    server.resume();
    server.kill();
    ask(&mut client, 1, "k", Call::Write(19))
        .await
        .assert_not_applied("refused");
}
