//! How to run a run again: the line that is printed is read back by the real command line, and gives the same run.

use std::time::Duration;

use clap::Parser;

use super::{Door, Program};
use crate::run::{DEFECTS, Picked, Scenario, Setup};

/// What the program would run for these words.
fn setup(words: &[String]) -> anyhow::Result<Setup> {
    let program = Program::try_parse_from(words)?;
    match program.door {
        None => program.screen.setup(),
        Some(Door::Run(args)) => args.setup(),
        Some(door) => panic!("{words:?} opens {door:?}"),
    }
}

/// The words of a line, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    if !line.contains(['\'', '"', '\\']) {
        return line.split(' ').map(str::to_owned).collect();
    }
    let script = format!("printf '%s\\0' {line}");
    let shell = std::process::Command::new("sh")
        .args(["-c", &script])
        .output();
    let out = shell.expect("there is a shell").stdout;
    let out = String::from_utf8(out).expect("words are text");
    out.split_terminator('\0').map(str::to_owned).collect()
}

/// The line is taken, needs nobody where there is nobody, and gives what it was made from.
fn check(first: &Setup) {
    let line = first.again();
    let words = words(&line);
    let second = setup(&words).unwrap_or_else(|why| panic!("{line}: {why}"));
    assert_eq!(second.resolved, first.resolved, "{line}");
    assert_eq!(second.again(), line);
    let headless = words.get(1).is_some_and(|word| word == "run");
    assert!(
        !(headless && second.needs_somebody()),
        "{line} is refused without a terminal"
    );
}

fn of(line: &str) -> anyhow::Result<Setup> {
    setup(&words(line))
}

#[test]
fn the_line_that_runs_a_run_again_is_taken_and_gives_the_same_run() {
    let changes = [
        "",
        "--nodes 5",
        "--time 7",
        "--time 0",
        "--rate 77",
        "--clients 3",
        "--keys 9",
        "--faults none",
        "--faults kill,slow",
        "--reads lease",
        "--reads follower-local --vote-guard on",
        "--append unary --vote-guard off",
        "--nodes 3 --time 3 --rate 9 --clients 2 --keys 1 --faults pause --reads read-index",
        "--direct",
    ];
    let mut taken = 0;
    for scenario in Scenario::built_in() {
        for change in changes {
            let line = format!("whitewater run {} --seed 41 {change}", scenario.name);
            if let Ok(first) = of(line.trim_end()) {
                check(&first);
                taken += 1;
            }
        }
    }
    assert!(taken > 250, "{taken}");
}

#[test]
fn a_defect_or_a_decoy_is_planted_again() {
    for defect in DEFECTS {
        let flag = if defect.is_decoy() {
            "--decoy"
        } else {
            "--defect"
        };
        for time in ["", " --time 0", " --time 9"] {
            let line = format!(
                "whitewater run by-hand --seed 4 {flag} {}{time}",
                defect.name
            );
            check(&of(&line).unwrap());
        }
    }
}

#[test]
fn what_is_picked_on_the_screen_is_run_again_as_it_was() {
    for (before, faults) in [
        ("whitewater --seed 5", false),
        ("whitewater calm --nodes 5 --rate 9 --clients 4", false),
        (
            "whitewater rapids --faults kill,isolate --time 9 --reads lease",
            true,
        ),
    ] {
        let before = of(before).unwrap();
        // One that is about a system is not picked beside others.
        let all = Scenario::built_in().into_iter();
        for scenario in all.filter(|scenario| scenario.system.is_none()) {
            for (clients, keys, defect) in [
                (None, None, None),
                (Some(11), Some(7), Some("stale-read")),
                (Some(1), None, Some("restless-leader")),
            ] {
                let defect = defect.map(str::to_owned);
                let pick = Picked {
                    seed: 42,
                    defect,
                    target: None,
                    clients,
                    keys,
                };
                match before.picked(&scenario.name, pick) {
                    Ok(picked) => check(&picked),
                    Err(why) => assert!(faults, "{}: {why}", scenario.name),
                }
            }
        }
    }
}

#[test]
fn a_file_is_run_again_whatever_it_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let calm = toml::to_string(&Scenario::find("rapids").unwrap()).unwrap();
    for name in [
        "plain.toml",
        "it's a file.toml",
        "-x.toml",
        "$HOME `x`.toml",
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, &calm).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let line = ["whitewater", "run", &path, "--seed", "9"].map(str::to_owned);
        let first = setup(&line).unwrap();
        check(&first);
        // And what a run's folder keeps of it.
        let kept = dir.path().join("scenario.toml");
        std::fs::write(&kept, toml::to_string(&first.resolved).unwrap()).unwrap();
        let kept = kept.to_str().unwrap().to_owned();
        check(&setup(&["whitewater".to_owned(), "run".to_owned(), kept]).unwrap());
    }
}

#[test]
fn a_run_that_needs_somebody_is_one_of_the_screen_and_another_load_is_said_not_to_be_repeated() {
    let by_hand = of("whitewater by-hand --seed 1").unwrap();
    assert!(by_hand.needs_somebody());
    let line = by_hand.again();
    assert_eq!(line, "whitewater by-hand --nodes 3 --time 0 --seed 1");
    let said = crate::journal::again_in_words(&line, true);
    assert!(
        said.contains("by hand, which no command repeats: whitewater by-hand"),
        "{said}"
    );
    assert_eq!(
        crate::journal::again_in_words(&line, false),
        format!("again: {line}")
    );
}

#[test]
fn a_run_that_somebody_broke_is_run_again_from_its_folder_and_needs_nobody() {
    let by_hand = of("whitewater by-hand --seed 18446744073709551615 --defect stale-read").unwrap();
    let plan = "[[episodes]]\nat_ms = 700\nfor_ms = 900\n\
                faults = [{ fault = \"isolate\", who = \"leader\", way = \"both\" }]\n";
    let plan = || toml::from_str(plan).unwrap();
    let lasted = Duration::from_millis(4_200);
    let went = by_hand.resolved.clone().as_it_went(plan(), lasted, true);
    assert_eq!(went.scenario.seconds, 5);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("it's a run");
    std::fs::create_dir(&dir).unwrap();
    let kept = toml::to_string(&went).unwrap();
    std::fs::write(dir.join("scenario.toml"), kept).unwrap();
    let line = by_hand.again_as_it_went(&dir);
    let again = of(&line).unwrap();
    assert_eq!(again.resolved, went, "{line}");
    assert!(!again.needs_somebody(), "{line}");
    check(&again);
    let direct = Setup {
        direct: true,
        ..by_hand
    };
    assert!(of(&direct.again_as_it_went(&dir)).unwrap().direct);
    // While it goes on it may go on as long as was planned.
    let rapids = of("whitewater rapids --time 30 --seed 1").unwrap();
    let goes_on = rapids.resolved.as_it_went(plan(), lasted, false);
    assert_eq!(goes_on.scenario.seconds, 30);
}
