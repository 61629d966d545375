//! Targets on the command line: what is listed, shown, checked and begun, and with which exit code.

mod support;

use std::path::Path;

use support::said;

fn example() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/protocols/targets/http-example.toml");
    path.display().to_string()
}

#[test]
fn targets_are_listed_with_their_modes_and_how_to_get_them() {
    let (code, out, err) = said(&["list", "targets"]);
    assert_eq!(code, 0, "{err}");
    let line = |name: &str| {
        let line = out
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name}: {out}"))
            .to_owned()
    };
    line("kiwi");
    for (name, modes) in [
        ("etcd", "modes strong, weak"),
        ("redis", "modes strong, failover"),
        ("maelstrom-lin-kv", "modes strong, weak"),
        ("pysyncobj", "modes strong, weak"),
        ("maelstrom-unique-ids", "modes strong, weak"),
        ("maelstrom-broadcast", "modes strong, weak"),
        ("maelstrom-g-set", "modes strong, weak"),
    ] {
        let line = line(name);
        assert!(line.contains(modes), "{line}");
        assert!(
            line.contains("[found /") || line.contains(" install "),
            "{line}"
        );
    }
}

#[test]
fn a_target_is_checked_by_name_or_by_file() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let (code, out, err) = said(&["target", "check", "maelstrom-lin-kv", "--mode", "weak"]);
    assert_eq!(code, 0, "{out}\n{err}");
    for part in [
        "maelstrom-lin-kv: the file reads; 3 nodes, register\n",
        "mode strong: holds under pause, isolate, split, cut, slow",
        "mode weak: stale-read or lost-write must be found under isolate, pause\n",
        "\nprogram: /",
        ", version 3.",
        "one node of it, in mode weak:\n",
        "✓ cas        replaces what it expects, and nothing else\n",
        "· delete     not offered: the protocol maelstrom has no such request: none is drawn\n",
        "it works; next: whitewater run --target maelstrom-lin-kv --mode weak\n",
    ] {
        assert!(out.contains(part), "no {part:?}: {out}");
    }
    let (code, out, err) = said(&["target", "check", &example()]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(
        out.starts_with("http-example: the file reads; 1 node, register\n"),
        "{out}"
    );
}

#[test]
fn a_program_that_is_missing_is_said_with_what_installs_it() {
    let (code, _, err) = said(&["target", "check", "etcd", "--program", "/nonexistent/etcd"]);
    assert_eq!(code, 69, "{err}");
    assert_eq!(
        err,
        "whitewater: there is no program /nonexistent/etcd here; to install it: apt install etcd-server\n"
    );
    // One that is there, and is another one.
    let (code, _, err) = said(&["target", "check", "etcd", "--program", "/bin/true"]);
    assert_eq!(code, 69, "{err}");
    assert!(
        err.contains("`/bin/true --version` does not tell a version"),
        "{err}"
    );
}

#[test]
fn a_file_that_does_not_read_says_everything_that_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    let right = std::fs::read_to_string(example()).unwrap();
    let wrong = right
        .replace("nodes = 1", "node = 1")
        .replace("\"pause\"", "\"paws\"")
        .replace("from = \"http_example.py\"", "text = \"\"");
    std::fs::write(&file, wrong).unwrap();
    let path = file.display().to_string();
    for command in [&["target", "check", &path][..], &["target", "show", &path]] {
        let (code, out, err) = said(command);
        assert_eq!((code, out.as_str()), (65, ""), "{err}");
        assert!(
            err.contains(&format!("{path}:3: the file has no key \"node\": ")),
            "{err}"
        );
        assert!(
            err.contains("\"paws\" is no fault: there are isolate, "),
            "{err}"
        );
        assert_eq!(err.lines().count(), 2, "{err}");
    }
    let gone = dir.path().join("gone.toml").display().to_string();
    let (code, _, err) = said(&["target", "check", &gone]);
    assert_eq!(code, 64, "{err}");
    std::fs::write(&file, [0xff]).unwrap();
    let (code, _, err) = said(&["target", "check", &path]);
    assert_eq!(code, 65, "{err}");
    let (code, _, err) = said(&["target", "check", "etcdd"]);
    assert_eq!(code, 64, "{err}");
    assert!(
        err.contains("there are etcd, redis, maelstrom-lin-kv, pysyncobj, maelstrom-unique-ids, maelstrom-broadcast, maelstrom-g-set; a file has"),
        "{err}"
    );
}

#[test]
fn what_is_shown_and_what_is_begun_can_be_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    let path = file.display().to_string();
    let mut texts = Vec::new();
    for name in [
        "etcd",
        "redis",
        "maelstrom-lin-kv",
        "maelstrom-unique-ids",
        "maelstrom-broadcast",
        "maelstrom-g-set",
    ] {
        texts.push(said(&["target", "show", name]));
    }
    for kind in ["openraft", "http", "lines", "maelstrom"] {
        texts.push(said(&["target", "new", kind]));
    }
    for (code, text, err) in texts {
        assert_eq!((code, err.as_str()), (0, ""));
        std::fs::write(&file, &text).unwrap();
        // Whoever begins has not named a program yet.
        let (code, out, err) = said(&["target", "check", &path, "--program", "/nonexistent"]);
        assert_eq!(code, 69, "{err}\n{text}");
        assert!(out.contains(": the file reads; 3 nodes, "), "{out}");
    }
    let (code, ..) = said(&["target", "new", "java"]);
    assert_eq!(code, 64);
}

/// A driver of one's own, which is a program, is a client of a whole run.
#[test]
fn a_run_asks_by_a_client_program_and_leaves_none_behind() {
    if !crate::support::installed::here(&["python3", "redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().display().to_string();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = root.join("tests/protocols/targets/lines-example.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let client = root.join("tests/protocols/targets/client.py");
    // A name of its own, to be looked for afterwards.
    let own = dir.path().join("client.py");
    std::fs::copy(client, &own).unwrap();
    let own = own.display().to_string();
    let file = dir.path().join("mine.toml");
    std::fs::write(
        &file,
        text.replace("tests/protocols/targets/client.py", &own),
    )
    .unwrap();
    let file = file.display().to_string();
    let (code, said, err) = said(&[
        "run", "calm", "--target", &file, "--time", "8", "--seed", "3", "--out", &out, "--json",
    ]);
    let ended: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(ended["verdict"], "linearizable", "{said}\n{err}");
    assert!([0, 3].contains(&code), "{code}: {said}\n{err}");
    let ok = ended["ops"]["ok"].as_u64().unwrap();
    assert!(ok > 50, "{said}\n{err}");
    let left = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let line = |process: std::fs::DirEntry| std::fs::read(process.path().join("cmdline"));
        let mut lines = all.filter_map(|process| line(process).ok());
        lines.any(|line| String::from_utf8_lossy(&line).contains(&own))
    };
    let gone = support::wait_until(std::time::Duration::from_secs(10), || {
        (!left()).then_some(())
    });
    assert!(gone.is_some(), "a client program is left");
}
