//! The Redis protocol, byte by byte, as `redis-cli` speaks it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::nodes::Nodes;

/// Sends one command and gives what comes back within its first packet.
fn ask(stream: &mut TcpStream, arguments: &[&str]) -> String {
    let mut command = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        command += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    stream.write_all(command.as_bytes()).expect("sent");
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

fn connect(nodes: &Nodes, id: u64) -> TcpStream {
    let stream = TcpStream::connect(nodes.resp(id).expect("served")).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a limit");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_clients_set_get_delete_and_are_redirected() {
    let nodes = Nodes::start(3, &["--resp", "127.0.0.1:0"]).await;
    nodes.initialize().await;
    // The node may still wait for its first quorum after it was elected.
    nodes.write(crate::nodes::put("warm", "up")).await;
    let leader = nodes.leader().await;
    let mut redis = connect(&nodes, leader);
    for (command, answer) in [
        (&["PING"][..], "+PONG\r\n"),
        (&["ECHO", "x"], "$1\r\nx\r\n"),
        (&["GET", "k"], "$-1\r\n"),
        (&["SET", "k", "v"], "+OK\r\n"),
        (&["get", "k"], "$1\r\nv\r\n"),
        (&["SET", "k", "w", "NX"], "$-1\r\n"),
        (&["SET", "k", "w", "xx"], "+OK\r\n"),
        (&["SET", "new", "1", "XX"], "$-1\r\n"),
        (&["DEL", "k", "absent"], ":1\r\n"),
        (&["GET", "k"], "$-1\r\n"),
        (&["GET"], "-ERR wrong number of arguments\r\n"),
        (
            &["SET", "k", "v", "EX", "5"],
            "-ERR syntax error: SET key value [NX|XX]\r\n",
        ),
        (&["FLUSHALL"], "-ERR unknown command 'FLUSHALL'\r\n"),
        (&["COMMAND", "DOCS"], "*0\r\n"),
        (&["CONFIG", "GET", "save"], "*0\r\n"),
        (&["SELECT", "0"], "+OK\r\n"),
        (&["SELECT", "1"], "-ERR only database 0 is served\r\n"),
    ] {
        assert_eq!(ask(&mut redis, command), answer, "{command:?}");
    }
    let info = ask(&mut redis, &["INFO"]);
    assert!(
        info.contains("role:master") && info.contains(&format!("leader:{leader}")),
        "{info}"
    );

    // Pipelined: two commands in one packet, two answers in order.
    redis
        .write_all(b"*3\r\n$3\r\nSET\r\n$1\r\np\r\n$1\r\n1\r\n*2\r\n$3\r\nGET\r\n$1\r\np\r\n")
        .expect("sent");
    let mut both = [0; 12];
    redis.read_exact(&mut both).expect("both answers");
    assert_eq!(&both, b"+OK\r\n$1\r\n1\r\n");

    let follower = (1..=3).find(|id| *id != leader).expect("another node");
    let moved = ask(&mut connect(&nodes, follower), &["SET", "foo", "bar"]);
    let expected = format!("-MOVED 12182 {}\r\n", nodes.resp(leader).expect("served"));
    assert_eq!(moved, expected);

    // Nonsense is answered and the connection closed; the node goes on.
    let mut rude = connect(&nodes, leader);
    rude.write_all(b"*1\r\n*1\r\n*1\r\n").expect("sent");
    let mut answer = String::new();
    rude.read_to_string(&mut answer)
        .expect("answered and closed");
    assert!(answer.starts_with("-ERR"), "{answer:?}");
    assert_eq!(ask(&mut redis, &["PING"]), "+PONG\r\n");
}
