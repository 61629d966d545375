//! Files that are right, and files that are not: what is said of each, and on which line.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use checkers::anomaly::Anomaly;

use super::builtin::{self, Start};
use super::question::ReadyBy;
use super::*;
use crate::target::protocol::etcd::EtcdReads;

/// A file in which nothing is wrong.
const RIGHT: &str = r#"name = "store"
nodes = 3
spec = "register"
[find]
program = ["sh"]
install = "apt install dash"
[[process]]
run = ["{program}", "--id", "{id}"]
[ready]
tcp = "{ip}:7000"
[client]
protocol = "resp"
[modes.strong]
expect = "holds"
survives = ["kill", "pause"]
[modes.weak]
expect = ["stale-read"]
client = { read = "primary", port = 7000 }
"#;

fn read(text: &str) -> Result<(Description, Vec<String>), Malformed> {
    let nothing = |_: &str| Err(io::ErrorKind::NotFound.into());
    parse::read(text, "my.toml", &nothing)
}

fn described(text: &str) -> Description {
    read(text).unwrap_or_else(|error| panic!("{error}")).0
}

fn wiring(nodes: u8) -> Wiring {
    let place = |id: u8| Place {
        id: id.into(),
        ip: IpAddr::from([127, 9, 4, id]),
        dir: PathBuf::from(format!("/runs/x/n{id}")),
    };
    Wiring {
        members: (1..=nodes).map(place).collect(),
        program: PathBuf::from("/usr/bin/etcd"),
    }
}

/// The right file with one thing changed is refused with this sentence, and with no other.
#[track_caller]
fn refused(from: &str, to: &str, expected: &str) {
    assert_eq!(RIGHT.matches(from).count(), 1, "{from:?}");
    let Err(error) = read(&RIGHT.replace(from, to)) else {
        panic!("{to:?} is taken");
    };
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_broken_file_is_told_its_line_and_what_to_do() {
    for (from, to, expected) in [
        (
            "nodes = 3",
            "node = 3",
            "my.toml:2: the file has no key \"node\": there are about, client, find, form, leader, modes, name, nodes, prepare, process, ready, set, spec, state",
        ),
        (
            "\"{id}\"]",
            "\"{ids}\"]",
            "my.toml:8: nobody knows {ids}: there are {node}, {id}, {ip}, {dir}, {program}, {first.node}, {first.id}, {first.ip}; braces that are meant as such are written {{ids}}",
        ),
        (
            "[client]\nprotocol = \"resp\"\n",
            "",
            "my.toml:11: [modes.strong] has no client that talks to it: add [client] with a protocol\nmy.toml:16: [modes.weak.client] has no protocol: name one of etcd, resp, http, lines, maelstrom",
        ),
        (
            "\"resp\"",
            "\"redis\"",
            "my.toml:12: nobody speaks \"redis\": name one of etcd, resp, http, lines, maelstrom",
        ),
        (
            "survives = [\"kill\", \"pause\"]\n",
            "",
            "my.toml:13: [modes.strong] has no survives: name the faults that it promises to survive (`whitewater list faults`), or survives = [] for none\nmy.toml:15: [modes.weak] has no survives: name the faults that it promises to survive (`whitewater list faults`), or survives = [] for none",
        ),
        (
            "[\"stale-read\"]",
            "[\"stale\"]",
            "my.toml:17: \"stale\" is no anomaly: \"holds\", or some of stale-read, lost-write, resurrected-delete, aborted-read, future-read, value-from-nowhere, double-cas, stale-cas, refused-cas, lost-append, duplicate-append, wrong-order, unclassified",
        ),
        (
            "[\"{program}\", \"--id\"",
            "[\"sudo\", \"{program}\", \"--id\"",
            "my.toml:8: sudo does not work here: a child of the bench cannot become another user (no_new_privs): name the program itself",
        ),
        (
            "tcp = \"{ip}:7000\"",
            "tcp = 7000",
            "my.toml:10: ready.tcp is a text, and here is a value of type integer",
        ),
        (
            "tcp = \"{ip}:7000\"",
            "log = \"ready(\"",
            "my.toml:10: log is no regular expression: unclosed group",
        ),
        (
            "install = \"apt install dash\"\n",
            "",
            "my.toml:4: [find] has no install: the one command that installs it",
        ),
        (
            "port = 7000 }",
            "port = 70000 }",
            "my.toml:18: modes.weak.client.port can be 1 to 65535",
        ),
        (
            "[ready]\ntcp = \"{ip}:7000\"\n",
            "",
            "my.toml:1: the file has no [ready], which says when a node is: add tcp = \"{ip}:PORT\", or http, run, resp, log",
        ),
        (
            "nodes = 3",
            "nodes 3",
            "my.toml:2: this is no TOML: key with no value, expected `=`",
        ),
    ] {
        refused(from, to, expected);
    }
}

#[test]
fn a_fault_that_is_none_is_told_with_those_that_there_are() {
    let Err(error) = read(&RIGHT.replace("\"kill\"", "\"kil\"")) else {
        panic!("it is taken");
    };
    let [(line, why)] = error.wrong.as_slice() else {
        panic!("{error}");
    };
    assert_eq!(*line, 15);
    assert!(
        why.starts_with("\"kil\" is no fault: there are isolate, kill, "),
        "{why}"
    );
}

#[test]
fn several_mistakes_are_told_at_once_in_the_order_of_their_lines() {
    let text = RIGHT
        .replace("nodes = 3", "nodes = 0")
        .replace("--id", "{what}")
        .replace("\"holds\"", "\"hold\"");
    let error = read(&text).unwrap_err();
    let lines: Vec<usize> = error.wrong.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 8, 14], "{error}");
}

#[test]
fn what_leaves_the_machine_is_warned_of() {
    let text = RIGHT.replace("[\"{program}\", \"--id\"", "[\"/usr/bin/docker\", \"run\"");
    let (_, warnings) = read(&text).unwrap();
    assert_eq!(
        warnings,
        [
            "what docker starts has another parent, so that no fault meets it: name the program itself"
        ]
    );
    assert_eq!(read(RIGHT).unwrap().1, [""; 0]);
}

#[test]
fn a_mode_takes_over_what_it_does_not_say() {
    let description = described(RIGHT);
    let [strong, weak] = description.modes.as_slice() else {
        panic!("{:?}", description.modes);
    };
    assert_eq!(
        (strong.name.as_str(), &strong.expect),
        ("strong", &Expect::Holds)
    );
    assert_eq!(weak.expect, Expect::Found(vec![Anomaly::StaleRead]));
    assert_eq!(weak.survives, [Kind::Kill, Kind::Pause]);
    assert_eq!(weak.expose, weak.survives);
    assert_eq!(description.mode(None), Some(strong));
    assert_eq!(description.mode(Some("weak")), Some(weak));
    assert_eq!(description.mode(Some("wek")), None);
    let (ClientOptions::Resp { port: usual, .. }, ClientOptions::Resp { port, .. }) =
        (&strong.client, &weak.client)
    else {
        panic!("{strong:?} {weak:?}");
    };
    assert_eq!((*usual, *port), (6379, 7000));
}

#[test]
fn a_description_that_is_written_and_read_again_is_the_same() {
    let mut all = builtin::all();
    all.push(described(RIGHT));
    for start in [Start::Openraft, Start::Http, Start::Lines, Start::Maelstrom] {
        all.push(described(start.text()));
    }
    for description in all {
        let text = description.resolved();
        let (again, warnings) = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again, description, "{text}");
        assert_eq!(warnings, [""; 0], "{text}");
    }
}

#[test]
fn a_new_file_that_somebody_uncomments_is_right_as_well() {
    for (start, marks) in [(
        Start::Http,
        [
            "# version",
            "# [[prepare]]",
            "# [[form]]",
            "# [leader]",
            "# [modes.weak]",
        ],
    )] {
        let mut text = start.text().to_owned();
        for mark in marks {
            let at = text.find(mark).unwrap_or_else(|| panic!("no {mark}"));
            let (before, after) = text.split_at(at);
            let end = after.find("\n\n").unwrap_or(after.len());
            let lines = after[..end]
                .lines()
                .map(|line| line.strip_prefix("# ").unwrap_or(line));
            let lines: Vec<&str> = lines.collect();
            text = format!("{before}{}{}", lines.join("\n"), &after[end..]);
        }
        let description = described(&text);
        assert!(
            description.leader.is_some() && !description.form.is_empty(),
            "{text}"
        );
        assert_eq!(description.modes.len(), 2, "{text}");
    }
}

#[test]
fn etcd_is_launched_with_its_members_and_its_own_address() {
    let etcd = &builtin::all()[0];
    let mode = etcd.mode(None).unwrap();
    let [launch] = <[Launch; 1]>::try_from(etcd.launches(mode, 2, &wiring(3))).unwrap();
    assert_eq!(launch.program, Path::new("/usr/bin/etcd"));
    assert_eq!(launch.cwd, Path::new("/runs/x/n2"));
    assert_eq!(
        launch.args.join(" "),
        "--name n2 --data-dir /runs/x/n2/data --listen-peer-urls http://127.9.4.2:2380 --initial-advertise-peer-urls \
         http://127.9.4.2:2380 --listen-client-urls http://127.9.4.2:2379 --advertise-client-urls http://127.9.4.2:2379 \
         --initial-cluster n1=http://127.9.4.1:2380,n2=http://127.9.4.2:2380,n3=http://127.9.4.3:2380 \
         --initial-cluster-token whitewater --heartbeat-interval 100 --election-timeout 1000 --snapshot-count 100000 \
         --backend-batch-interval 0s --backend-batch-limit 0"
    );
    assert!(matches!(etcd.ready.by, ReadyBy::Ask(_)), "{:?}", etcd.ready);
    let weak = etcd.mode(Some("weak")).unwrap();
    let read = EtcdReads::Serializable;
    assert_eq!(weak.client, ClientOptions::Etcd { port: 2379, read });
}

#[test]
fn redis_has_two_processes_a_node_and_one_primary() {
    let all = builtin::all();
    let redis = all.iter().find(|one| one.name == "redis").unwrap();
    let mode = redis.mode(Some("failover")).unwrap();
    for node in 1..=3_u64 {
        let [server, sentinel] =
            <[Launch; 2]>::try_from(redis.launches(mode, node, &wiring(3))).unwrap();
        assert_eq!(
            (server.name.as_str(), sentinel.name.as_str()),
            ("redis", "sentinel")
        );
        // A node's files come with its first process, and once.
        let [(_, conf), (at, watch)] = server.files.as_slice() else {
            panic!("{:?}", server.files);
        };
        assert_eq!(sentinel.files, []);
        assert_eq!(
            conf.contains("\nreplicaof 127.9.4.1 6379\n"),
            node > 1,
            "{conf}"
        );
        assert_eq!(*at, PathBuf::from(format!("/runs/x/n{node}/sentinel.conf")));
        assert!(
            watch.contains("\nsentinel down-after-milliseconds store 1000\n"),
            "{watch}"
        );
    }
}

#[test]
fn a_file_that_another_one_names_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let script = "print(f'{node} {members: nobody}')\n";
    std::fs::write(dir.path().join("node.py"), script).unwrap();
    let text = format!("{RIGHT}[[prepare]]\nfile = \"{{dir}}/node.py\"\nfrom = \"node.py\"\n");
    let (description, _) = Description::read(&text, "my.toml", dir.path()).unwrap();
    let launch = &description.launches(&description.modes[0], 1, &wiring(1))[0];
    assert_eq!(
        launch.files,
        [(PathBuf::from("/runs/x/n1/node.py"), script.to_owned())]
    );
    // What the run's folder keeps needs that file no more.
    assert_eq!(described(&description.resolved()), description);
    let error = read(&text).unwrap_err();
    assert_eq!(error.wrong.len(), 1, "{error}");
    assert!(
        error.wrong[0].1.starts_with("could not read \"node.py\": "),
        "{error}"
    );
}

#[test]
fn own_words_mean_what_the_mode_says() {
    let own = RIGHT
        .replace("[find]", "[set]\nreads = \"log\"\n[find]")
        .replace("\"{id}\"]", "\"{reads}\"]")
        .replace(
            "expect = [\"stale-read\"]",
            "expect = [\"stale-read\"]\nset = { reads = \"local\" }",
        );
    let description = described(&own);
    for (mode, expected) in [("strong", "log"), ("weak", "local")] {
        let mode = description.mode(Some(mode)).unwrap();
        let launch = &description.launches(mode, 1, &wiring(1))[0];
        assert_eq!(launch.args.last().unwrap(), expected);
    }
    let error = read(&own.replace("{ reads = \"local\" }", "{ raeds = \"local\" }")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "my.toml:20: \"raeds\" is no word of this file: give it a meaning in [set] at the top, and another one in a mode"
    );
    let error = read(&own.replace("[set]\nreads", "[set]\nnode")).unwrap_err();
    assert!(
        error.to_string().contains("\"node\" is no word of its own"),
        "{error}"
    );
}
