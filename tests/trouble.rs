//! Targets that do not work: each is told by `whitewater target check` in a sentence that says what to do, with its exit
//! code, and none leaves anything behind.

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::{Running, machine, said, wait_until};

/// A store of one node over HTTP, in a folder of its own; how it goes wrong is its argument.
const SERVER: &str = r#"
import http.server, json, socket, sys, time

how, ip, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if how == "sleeps":
    print("I will not", flush=True)
    time.sleep(600)
if how == "exits":
    sys.exit("no such configuration")
if how in ("closes", "babbles"):
    listener = socket.create_server((ip, port))
    while True:
        connection, _ = listener.accept()
        if how == "babbles":
            connection.recv(1024)
            connection.sendall(b"\x00\xff what do you want?\r\n\r\n")
        connection.close()

held = {}

class Store(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200)
        if how == "prose":
            return self.answer(200, b"hello")
        if how == "lists":
            return self.answer(200, b"[1]")
        value = held.get(self.path)
        return self.answer(404) if value is None else self.answer(200, value)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if how == "refuses":
            return self.answer(500, b"the disk is on fire")
        if how != "forgets":
            held[self.path] = body
        return self.answer(204)

if how == "elsewhere":
    port += 1
http.server.ThreadingHTTPServer((ip, port), Store).serve_forever()
"#;

/// A file for it, that can be changed before it is written.
fn store(how: &str, port: u16) -> String {
    format!(
        r#"name = "store"
nodes = 1
[find]
program = ["python3"]
install = "apt install python3"
[[prepare]]
file = "{{dir}}/server.py"
verbatim = '''{SERVER}'''
[[process]]
run = ["{{program}}", "{{dir}}/server.py", "{how}", "{{ip}}", "{port}"]
[ready]
tcp = "{{ip}}:{port}"
within_s = 30
[client]
protocol = "http"
base = "http://{{ip}}:{port}"
[client.read]
get = "/kv/{{key}}"
absent = [404]
[client.write]
put = "/kv/{{key}}"
body = "{{value}}"
[modes.strong]
expect = "holds"
survives = ["pause"]
"#
    )
}

/// The same for a node that will not be ready: it has so many seconds until that is said.
fn soon(text: &str, seconds: u32) -> String {
    let short = text.replace("within_s = 30", &format!("within_s = {seconds}"));
    assert_ne!(short, text);
    short
}

/// The folder of a test, in whose files nothing of another one is.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path
    }

    /// Checks a target's file. Nothing of it is left, neither a process nor a folder.
    fn check(&self, text: &str) -> (i32, String) {
        let file = self.write("mine.toml", text);
        let (code, out, err) = said(&["target", "check", file.to_str().unwrap()]);
        nothing_left();
        (code, format!("{out}{err}"))
    }
}

/// No check that is over has left a folder, or a process that works in one.
fn nothing_left() {
    let gone = wait_until(Duration::from_secs(10), || left().is_empty().then_some(()));
    assert!(gone.is_some(), "this is left: {:?}", left());
}

/// Folders of checks whose program is gone, and processes in them.
fn left() -> Vec<String> {
    let is_over = |name: &str| {
        let pid = name.strip_prefix("whitewater-check-")?.split('-').next()?;
        (!Path::new("/proc").join(pid).exists()).then(|| name.to_owned())
    };
    let folders = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let folders = folders.filter_map(|entry| is_over(entry.file_name().to_str()?));
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let at = line.find("whitewater-check-")?;
        let name: String = line[at..].chars().take_while(|&c| c != '/').collect();
        is_over(&name)
    });
    folders.chain(processes).collect()
}

fn has(said: &(i32, String), code: i32, parts: &[&str]) {
    assert_eq!(said.0, code, "{}", said.1);
    for part in parts {
        assert!(said.1.contains(part), "no {part:?}:\n{}", said.1);
    }
}

fn python() -> bool {
    support::installed::here(&["python3"])
}

#[test]
fn a_store_that_works_is_tried_with_each_of_its_operations() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    let checked = files.check(&store("works", 8080));
    let lines = [
        "store: the file reads; 1 node, register\n",
        "one node of it, in mode strong:\n",
        "  ✓ ready      after ",
        "  ✓ read       of a key that is absent\n",
        "  ✓ write      is acknowledged, and is read\n",
        "  · cas        not offered: there is no [client.cas]: none is drawn\n",
        "  · delete     not offered: there is no [client.delete]: none is drawn\n",
        "  ✓ power-loss offered; ",
        "  · leader     not offered: the file has no [leader]",
        "  · state      not offered: the file has no [state]",
        "\nit works; next: whitewater run --target ",
    ];
    has(&checked, 0, &lines);
}

#[test]
fn a_node_that_is_not_ready_is_told_with_what_was_seen_of_it() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    let sleeps = files.check(&soon(&store("sleeps", 8080), 8));
    has(
        &sleeps,
        70,
        &[
            "✗ ready      not within 8 s: no connection to 127.",
            "it listens nowhere on its address 127.",
            "it printed:\n",
            "| I will not\n",
        ],
    );
    let exits = files.check(&store("exits", 8080));
    has(
        &exits,
        70,
        &[
            "✗ ready      it ended before it was ready (exit status: 1)",
            "| no such configuration\n",
        ],
    );
    let elsewhere = files.check(&soon(&store("elsewhere", 8080), 12));
    let ports = "it listens at port 8081, and its clients are to ask at port 8080";
    has(&elsewhere, 70, &[ports]);
    let no_program = store("works", 8080).replace("[\"{program}\"", "[\"no-such-python\"");
    let no_program = files.check(&no_program);
    has(&no_program, 70, &["there is no program no-such-python"]);
}

#[test]
fn who_answers_in_the_place_of_the_node_is_told_of() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    let other = TcpListener::bind("0.0.0.0:0").expect("a port is free");
    let port = other.local_addr().unwrap().port();
    let who = format!("listens at 0.0.0.0:{port} (trouble");
    let taken = files.check(&store("works", port));
    has(&taken, 70, &["Address already in use", &who]);
    let outside = files.check(&store("sleeps", port));
    let not_inside = "✗ inside     what answers is not this node: no process of it listens at 127.";
    has(&outside, 70, &[not_inside, &who]);
}

#[test]
fn what_starts_its_program_elsewhere_is_named() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    let docker = files.write("docker", "#!/bin/sh\nexec sleep 600\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&docker, mode).unwrap();
    let run = format!("run = [\"{}\", \"run\", ", docker.display());
    let checked = store("works", 8080).replace("run = [\"{program}\", ", &run);
    let checked = files.check(&soon(&checked, 4));
    has(
        &checked,
        70,
        &[
            "what docker starts has another parent, so that no fault meets it",
            "it listens nowhere on its address 127.",
        ],
    );
    let sudo = store("works", 8080).replace("[\"{program}\", ", "[\"sudo\", \"{program}\", ");
    let sudo = files.check(&sudo);
    let line = sudo.1.lines().find(|line| line.contains("sudo")).unwrap();
    has(&sudo, 65, &["cannot become another user"]);
    assert!(line.contains("mine.toml:"), "{line}");
}

#[test]
fn a_store_whose_answers_are_none_is_told_what_it_answered() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    for (how, words) in [
        ("prose", "✗ read       fails, "),
        ("prose", "\"hello\" is no number"),
        ("lists", "✗ read       fails, "),
        ("closes", "✗ read       fails, "),
        ("babbles", "✗ read       fails, "),
        ("refuses", "✗ write      fails, "),
        ("refuses", "the disk is on fire"),
        (
            "forgets",
            "✗ write      is acknowledged, and a read finds nothing where 1 should be",
        ),
    ] {
        has(&files.check(&store(how, 8080)), 70, &[words]);
    }
}

#[test]
fn a_word_in_braces_that_means_nothing_is_told_with_its_line() {
    let files = Files::new();
    let wrong = store("works", 8080).replace("get = \"/kv/{key}\"", "get = \"/kv/{kye}\"");
    let at = wrong
        .lines()
        .position(|line| line.contains("{kye}"))
        .unwrap()
        + 1;
    let checked = files.check(&wrong);
    has(&checked, 65, &[&format!("mine.toml:{at}: "), "{kye}"]);
}

/// A client program, in Python, that ends, prints rubbish, or says nothing.
#[test]
fn a_client_program_that_does_not_answer_is_told_with_what_it_printed() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    let lines = |client: &Path| {
        let text = store("works", 8080);
        let (before, rest) = text.split_once("[client]").unwrap();
        let (_, after) = rest.split_once("[modes.strong]").unwrap();
        let run = format!("run = [\"python3\", \"{}\"]", client.display());
        format!("{before}[client]\nprotocol = \"lines\"\nport = 8080\n{run}\n[modes.strong]{after}")
    };
    let broken = files.write("broken.py", "import no_such_driver\n");
    let broken = files.check(&lines(&broken));
    has(
        &broken,
        70,
        &[
            "✗ read       fails",
            "the client program printed",
            "no_such_driver",
        ],
    );
    let rubbish = "import sys\nfor line in sys.stdin: print('what?', flush=True)\n";
    let rubbish = files.write("rubbish.py", rubbish);
    has(
        &files.check(&lines(&rubbish)),
        70,
        &["✗ read       fails", "what?"],
    );
    let silent = files.write("silent.py", "import time\ntime.sleep(600)\n");
    has(&files.check(&lines(&silent)), 70, &["✗ read       fails"]);
}

#[test]
fn a_maelstrom_node_that_prints_rubbish_is_told_so_and_works() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/targets");
    let text = std::fs::read_to_string(root.join("maelstrom-lin-kv.toml")).unwrap();
    let node = std::fs::read_to_string(root.join("lin_kv.py")).unwrap();
    files.write(
        "lin_kv.py",
        &format!("print('a node begins', flush=True)\n{node}"),
    );
    let checked = files.check(&text);
    has(
        &checked,
        0,
        &[
            "✓ ready      after ",
            "it answered init by init_ok\n",
            "✓ cas        replaces what it expects, and nothing else\n",
            "· delete     not offered: the protocol maelstrom has no such request: none is drawn\n",
            "! outside    n1 printed what is no message to anybody, 1 times; the first: \"a node begins\"",
        ],
    );
    files.write(
        "lin_kv.py",
        "print('I am no node', flush=True)\nimport time\ntime.sleep(600)\n",
    );
    let mute =
        files.check(&text.replace("init = \"maelstrom\"", "init = \"maelstrom\"\nwithin_s = 2"));
    has(
        &mute,
        70,
        &[
            "✗ ready      not within 2 s: it has not answered init by init_ok",
            "I am no node",
        ],
    );
}

#[test]
fn a_check_that_is_interrupted_leaves_nothing_behind() {
    if !python() {
        return;
    }
    let _machine = machine();
    let files = Files::new();
    let long = soon(&store("sleeps", 8080), 600);
    let file = files.write("mine.toml", &long);
    let mut check = Running::start(&["target", "check", file.to_str().unwrap()]);
    let pid = check.child.id();
    let name = format!("whitewater-check-{pid}-0");
    let log = std::env::temp_dir().join(name).join("nodes/1/log");
    let started = wait_until(Duration::from_secs(20), || {
        std::fs::read_to_string(&log)
            .ok()
            .filter(|text| !text.is_empty())
    });
    assert!(started.is_some(), "the node did not start");
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = check.end(Duration::from_secs(20));
    assert_eq!(status.code(), Some(130));
    nothing_left();
}
