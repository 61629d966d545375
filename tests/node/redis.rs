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
        (&["CONFIG", "GET", "save"], "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        (&["CONFIG", "GET", "maxmemory"], "*0\r\n"),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_token_asks_redis_clients_for_it_as_their_password() {
    let flags = ["--resp", "127.0.0.1:0"];
    let nodes = Nodes::start_with_token(1, &flags, Some("secret")).await;
    nodes.initialize().await;
    nodes.write(crate::nodes::put("k", "v")).await;
    let mut redis = connect(&nodes, 1);
    let required = "-NOAUTH Authentication required.\r\n";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    // All in one packet: what comes before the password is refused, what comes after it is carried out.
    let mut sent = String::new();
    let mut expected = String::new();
    for (command, answer) in [
        (&["SET", "k", "424242"][..], required),
        (&["PING"], required),
        (&["AUTH", "other"], wrong),
        (&["DEL", "k"], required),
        (&["GET", "k"], required),
        (&["AUTH", "secret"], "+OK\r\n"),
        (&["GET", "k"], "$1\r\nv\r\n"),
        (&["SET", "k", "w"], "+OK\r\n"),
        (&["AUTH", "other"], wrong),
        (&["GET", "k"], "$1\r\nw\r\n"),
    ] {
        sent += &encode(command);
        expected += answer;
    }
    redis.write_all(sent.as_bytes()).expect("sent");
    let mut answers = vec![0; expected.len()];
    redis.read_exact(&mut answers).expect("all answers");
    assert_eq!(String::from_utf8_lossy(&answers), expected);
    // Who connects anew has said nothing yet.
    assert_eq!(ask(&mut connect(&nodes, 1), &["GET", "k"]), required);
    let mut greeted = connect(&nodes, 1);
    let hello = ask(&mut greeted, &["HELLO", "2", "AUTH", "default", "secret"]);
    assert!(hello.starts_with("*10\r\n$6\r\nserver\r\n"), "{hello}");
    assert_eq!(ask(&mut greeted, &["GET", "k"]), "$1\r\nw\r\n");
    // As the node's card on the screen says it.
    let address = nodes.resp(1).expect("served").to_owned();
    let got = tokio::task::spawn_blocking(move || {
        let environment = [("REDISCLI_AUTH", "secret")];
        run_with("redis-cli", &address, &["GET", "k"], &environment)
    });
    if let Some(got) = got.await.expect("the program") {
        assert_eq!(got.trim(), "w");
    }
}

/// Elections take long here, so that a busy machine changes no leader: that is not what is tested.
const CALM: [&str; 8] = [
    "--resp",
    "127.0.0.1:0",
    "--election-min-ms",
    "2000",
    "--election-max-ms",
    "4000",
    "--request-ms",
    "20000",
];

async fn calm_cluster() -> (Nodes, u64) {
    let nodes = Nodes::start(3, &CALM).await;
    nodes.initialize().await;
    nodes.write(crate::nodes::put("warm", "up")).await;
    let leader = nodes.leader().await;
    (nodes, leader)
}

fn encode(arguments: &[&str]) -> String {
    let string = |argument: &&str| format!("${}\r\n{argument}\r\n", argument.len());
    let strings: String = arguments.iter().map(string).collect();
    format!("*{}\r\n{strings}", arguments.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_of_commands_is_answered_in_its_order() {
    let (nodes, leader) = calm_cluster().await;
    let mut redis = connect(&nodes, leader);
    let (mut sent, mut expected) = (String::new(), String::new());
    for number in 0..100 {
        let value = format!("v{number}");
        let key = format!("k{}", number % 7);
        // Each sees what those before it did: a write its condition, a read its value.
        for (command, answer) in [
            (vec!["SET", &key, &value], "+OK\r\n".to_owned()),
            (vec!["SET", &key, "late", "NX"], "$-1\r\n".to_owned()),
            (
                vec!["GET", &key],
                format!("${}\r\n{value}\r\n", value.len()),
            ),
            (vec!["GET", "absent"], "$-1\r\n".to_owned()),
            (vec!["DEL", &key], ":1\r\n".to_owned()),
            (vec!["SET", &key, &value, "NX"], "+OK\r\n".to_owned()),
            (
                vec!["SET", &key],
                "-ERR wrong number of arguments\r\n".to_owned(),
            ),
            (vec!["PING"], "+PONG\r\n".to_owned()),
        ] {
            sent += &encode(&command);
            expected += &answer;
        }
        // A plain line is a command, too.
        sent += "GET absent\r\n";
        expected += "$-1\r\n";
    }
    redis.write_all(sent.as_bytes()).expect("sent");
    let mut answers = vec![0; expected.len()];
    redis.read_exact(&mut answers).expect("all answers");
    assert_eq!(String::from_utf8_lossy(&answers), expected);

    // What follows QUIT is not done; an oversized value is refused alone, between two that are set.
    let large = "x".repeat((1 << 20) + 1);
    let mut last = encode(&["SET", "a", "1"]) + &encode(&["SET", "a", &large]);
    last += &(encode(&["SET", "b", "2"]) + &encode(&["quit"]) + &encode(&["SET", "b", "3"]));
    redis.write_all(last.as_bytes()).expect("sent");
    let mut answers = String::new();
    redis.read_to_string(&mut answers).expect("answered");
    let refusal = "-ERR the value has 1048577 bytes, 1048576 are allowed\r\n";
    assert_eq!(answers, format!("+OK\r\n{refusal}+OK\r\n+OK\r\n"));
    let mut redis = connect(&nodes, leader);
    assert_eq!(ask(&mut redis, &["GET", "a"]), "$1\r\n1\r\n");
    assert_eq!(ask(&mut redis, &["GET", "b"]), "$1\r\n2\r\n");
}

/// Runs a program against the port and gives what it printed; `None` where it is not installed.
fn run(program: &str, address: &str, arguments: &[&str]) -> Option<String> {
    run_with(program, address, arguments, &[])
}

fn run_with(
    program: &str,
    address: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Option<String> {
    let port = address.rsplit_once(':').expect("a port").1;
    let mut command = std::process::Command::new(program);
    command.args(["-p", port]).args(arguments);
    command.envs(environment.iter().copied());
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program}: {text}{errors}");
            Some(text + &errors)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("passed over: {program} (Debian's redis-tools) is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_and_redis_benchmark_work_where_they_are_installed() {
    let (nodes, leader) = calm_cluster().await;
    let address = nodes.resp(leader).expect("served").to_owned();
    tokio::task::spawn_blocking(move || {
        let Some(set) = run("redis-cli", &address, &["SET", "k", "v"]) else {
            return;
        };
        assert_eq!(set.trim(), "OK");
        let got = run("redis-cli", &address, &["GET", "k"]).expect("installed");
        assert_eq!(got.trim(), "v");
        for pipeline in ["1", "16"] {
            let count = "2000";
            let arguments = [
                "-t", "set,get", "-n", count, "-c", "20", "-q", "-P", pipeline,
            ];
            let Some(text) = run("redis-benchmark", &address, &arguments) else {
                return;
            };
            for name in ["SET: ", "GET: "] {
                let line = text
                    .split(['\r', '\n'])
                    .rfind(|line| line.starts_with(name));
                let line = line.unwrap_or_else(|| panic!("no {name}: {text}"));
                assert!(line.contains("requests per second"), "{line}");
            }
            assert!(!text.contains("Could not fetch"), "{text}");
        }
    })
    .await
    .expect("the programs");
    drop(nodes);
}
