//! The README shows what the program draws: its pictures are printed from a recorded run, and compared here, so that
//! they cannot go stale. `README_UPDATE=1 cargo test --test readme` puts the present ones in.

mod support;

use std::path::Path;
use std::time::Duration;

use support::{assert_nothing_left, machine, said};

/// A picture in the README stands between a comment that holds its command's flags and the end of its code block.
const BEGIN: &str = "<!-- whitewater ";

#[test]
fn the_pictures_in_the_readme_are_what_the_program_draws() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let mut drawn = String::new();
    let mut rest = readme.as_str();
    let mut pictures = 0;
    while let Some(at) = rest.find(BEGIN) {
        let (flags, _) = rest[at + BEGIN.len()..]
            .split_once(" -->")
            .expect("a comment ends");
        let from = at
            + rest[at..]
                .find("```text\n")
                .expect("a picture is a code block")
            + 8;
        let to = from + rest[from..].find("```").expect("a code block ends");
        let args: Vec<&str> = flags.split(' ').collect();
        let (code, picture, error) = said(&args);
        assert_eq!((code, error.as_str()), (0, ""), "{flags}");
        assert!(picture.lines().count() == 24, "{flags}: {picture}");
        drawn.push_str(&rest[..from]);
        drawn.push_str(&picture);
        rest = &rest[to..];
        pictures += 1;
    }
    drawn.push_str(rest);
    assert!(pictures >= 2, "Live and Verdict are shown");
    if std::env::var_os("README_UPDATE").is_some() {
        std::fs::write(&path, drawn).unwrap();
    } else {
        assert!(
            readme == drawn,
            "the README's pictures are old; README_UPDATE=1 cargo test --test readme draws them again:\n{drawn}"
        );
    }
}

#[test]
fn the_scenario_in_the_readme_runs() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.unwrap();
    let (_, rest) = readme
        .split_once("<!-- my.toml -->\n```toml\n")
        .expect("a scenario is shown");
    let (scenario, _) = rest.split_once("```").expect("a code block ends");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.toml");
    std::fs::write(&file, scenario).unwrap();
    let _machine = machine();
    let (file, runs) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
    let (code, out, error) = said(&[
        "run", file, "--time", "9", "--seed", "1", "--json", "--out", runs,
    ]);
    assert_eq!(code, 0, "{out}\n{error}");
    let said_of: serde_json::Value = serde_json::from_str(&out).unwrap();
    for kind in ["wire", "delay-response", "kill"] {
        assert_eq!(said_of["faults"][kind], 1, "{said_of:#}");
    }
    assert_nothing_left(dir.path(), Duration::ZERO);
    // Its folder is enough for those who look at it later.
    let folder = said_of["dir"].as_str().unwrap();
    for command in [&["check", folder][..], &["model", "trace", folder]] {
        let (code, out, error) = said(command);
        assert_eq!(code, 0, "{command:?}: {out}\n{error}");
    }
}

#[test]
fn what_cannot_be_printed_is_refused() {
    let dir = "tests/shown/stale-read";
    for (flags, why) in [
        (
            &["--print", "nothing"][..],
            "live, history, verdict, charts",
        ),
        (&["--print", "live", "--size", "80"][..], "80x24"),
        (&["--print", "live", "--at=-1"][..], "--at"),
        (&["--at", "1"][..], "--print"),
    ] {
        let (code, out, error) = said(&[&["replay", dir], flags].concat());
        assert_eq!((code, out.as_str()), (64, ""), "{flags:?}");
        assert!(error.contains(why), "{flags:?}: {error}");
    }
}
