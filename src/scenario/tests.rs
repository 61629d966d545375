//! Recipes: what they promise, what a change on the command line makes of them, and what is refused.

use super::*;
use crate::fault::plan::When;
use crate::fault::{DiskHarm, Kind, Role, WireHarm};

fn resolve(changes: &Changes) -> Result<Resolved, Error> {
    Scenario::find(DEFAULT).unwrap().resolve(changes, 1, None)
}

#[test]
fn every_built_in_scenario_makes_sense_and_survives_toml() {
    for scenario in Scenario::built_in() {
        scenario
            .check()
            .unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
        let changes = Changes::default().with_its_system(&scenario);
        let resolved = scenario.resolve(&changes, 3, None).unwrap();
        let text = toml::to_string(&resolved).unwrap();
        let read = Given::parse(&text).unwrap();
        assert_eq!(read, Given::Resolved(Box::new(resolved)), "{text}");
    }
}

#[test]
fn the_page_names_every_word_that_a_scenario_may_hold() {
    let page = include_str!("../scenarios/README.md");
    let words = Kind::ALL.iter().map(|kind| kind.name());
    let words = words.chain(READ_MODES.iter().copied());
    let words = words.chain(WireHarm::ALL.map(WireHarm::name));
    let words = words.map(str::to_owned);
    let written = toml::to_string(&Scenario {
        voters: Some(1),
        phases: vec![Phase {
            at_ms: 1,
            mix: Scenario::find("calm").unwrap().mix,
        }],
        reads: Some("lease".to_owned()),
        append: Some("unary".to_owned()),
        vote_guard: Some(true),
        timings: Timings {
            heartbeat_ms: Some(1),
            election_min_ms: Some(1),
            election_max_ms: Some(1),
            snapshot_every: Some(1),
            keep_logs: Some(1),
            lag: Some(1),
            snapshot_chunk: Some(1),
        },
        opening: vec![Episode {
            when: Some(When::LeaderChange),
            after_ms: 1,
            within_ms: Some(1),
            ..Episode::at(1, 1, DiskHarm::ALL.map(disk).to_vec())
        }],
        random: Random {
            kinds: Vec::new(),
            swarm: true,
            episode_ms: Some([1, 1]),
            calm_ms: Some([1, 1]),
        },
        promises: Promises {
            elections: 1,
            kinds: 1,
            snapshots: 1,
            leaders_hit: 1,
            leaders_in_minority: 1,
            tails: 1,
            changes: 1,
            power_losses: 1,
        },
        ..Scenario::find("calm").unwrap()
    })
    .unwrap();
    let fields = written.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
    let fields = fields.filter(|word| word.len() > 2 && word.parse::<u64>().is_err());
    let said = ["calm", "true", "fault"];
    let about = Scenario::find("calm").unwrap().about;
    let fields = fields.filter(|word| !said.contains(word) && !about.contains(word));
    for word in words.chain(fields.map(str::to_owned)) {
        assert!(page.contains(&word), "{word} is not on the page");
    }
}

fn disk(harm: DiskHarm) -> Fault<Role> {
    let (who, ms) = (NodeSelector::Leader, 1);
    Fault::Disk { who, harm, ms }
}

#[test]
fn the_default_is_the_one_that_the_design_settles() {
    let Resolved { scenario, plan, .. } = resolve(&Changes::default()).unwrap();
    assert_eq!(
        (
            scenario.nodes,
            scenario.seconds,
            scenario.clients,
            scenario.rate
        ),
        (3, 30, 8, 200)
    );
    assert_eq!((scenario.keys.contended, scenario.keys.wide), (5, 200));
    assert!(plan.kinds().len() >= 3, "{:?}", plan.kinds());
}

#[test]
fn what_is_outside_of_the_model_may_be_named_where_the_opening_has_it_and_is_never_drawn() {
    let changes = |kinds: &[Kind]| Changes {
        faults: Some(kinds.to_vec()),
        ..Changes::default()
    };
    let scenario = Scenario::find("lying-disk").unwrap();
    let named = scenario.resolve(&changes(&[Kind::LyingDisk, Kind::PowerLoss]), 1, None);
    let Resolved { scenario, plan, .. } = named.unwrap();
    assert!(
        plan.kinds().contains(&Kind::LyingDisk),
        "{:?}",
        plan.kinds()
    );
    assert_eq!(scenario.random.kinds, [Kind::PowerLoss]);
    let refused = resolve(&changes(&[Kind::LyingDisk]))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("outside of the fault model"), "{refused}");
}

#[test]
fn faults_none_leaves_no_fault_and_no_promise_of_one() {
    let calm = resolve(&Changes {
        faults: Some(Vec::new()),
        ..Changes::default()
    })
    .unwrap();
    assert!(calm.plan.episodes.is_empty());
    assert_eq!(calm.scenario.promises, Promises::default());
}

#[test]
fn a_recipe_promises_what_it_is_for_and_a_part_of_it_only_what_it_holds() {
    let promises = |name: &str, seconds| {
        let changes = Changes {
            seconds,
            ..Changes::default()
        };
        let scenario = Scenario::find(name).unwrap();
        scenario
            .resolve(&changes, 1, None)
            .unwrap()
            .scenario
            .promises
    };
    assert_eq!(promises("figure-8", None).tails, 2);
    assert_eq!(promises("late-heir", None).snapshots, 1);
    assert_eq!(promises("kill-on-append", None).leaders_hit, 3);
    assert_eq!(promises("power-loss", None).power_losses, 90);
    assert_eq!(promises("changing-members", None).changes, 3);
    assert_eq!(promises("partitions", None).leaders_in_minority, 1);
    assert_eq!(promises("late-heir", Some(3)).snapshots, 0);
    let some = promises("power-loss", Some(20));
    assert!((4..20).contains(&some.power_losses), "{some:?}");
    assert_eq!(some.elections, 2, "of 20 in 225 s");
    assert_eq!(promises("changing-members", Some(1)).changes, 0);
}

#[test]
fn a_recipe_without_newcomers_does_not_let_them_grow() {
    let faults = |kind| Changes {
        faults: Some(vec![kind]),
        ..Changes::default()
    };
    let refused = resolve(&faults(Kind::AddVoter)).unwrap_err().to_string();
    assert!(refused.contains("voters"), "{refused}");
    let refused = resolve(&faults(Kind::Wipe)).unwrap_err().to_string();
    assert!(refused.contains("outside"), "{refused}");
    // As many nodes as voters: the recipe goes without.
    let three = Changes {
        nodes: Some(3),
        ..Changes::default()
    };
    let scenario = Scenario::find("changing-members").unwrap();
    let resolved = scenario.resolve(&three, 1, None).unwrap();
    assert_eq!(resolved.scenario.voter_ids(), [1, 2, 3]);
    assert!(!resolved.scenario.random.kinds.contains(&Kind::AddVoter));
}

#[test]
fn kinds_that_are_named_are_all_drawn_and_from_the_beginning() {
    for seed in 0..20 {
        let changes = Changes {
            faults: Some(vec![Kind::Kill, Kind::Pause]),
            ..Changes::default()
        };
        let scenario = Scenario::find(DEFAULT).unwrap();
        let Resolved { plan, .. } = scenario.resolve(&changes, seed, None).unwrap();
        assert_eq!(plan.kinds(), [Kind::Kill, Kind::Pause], "seed {seed}");
        assert!(plan.episodes[0].at_ms < 3_000, "seed {seed}: {plan:?}");
        assert!(plan.episodes.len() >= 5, "seed {seed}: {plan:?}");
        let mut free_from = 0;
        for episode in &plan.episodes {
            assert!(episode.at_ms >= free_from, "seed {seed}: {plan:?}");
            free_from = episode.ends_by_ms();
        }
    }
}

#[test]
fn a_plan_ends_with_the_workload() {
    let short = resolve(&Changes {
        seconds: Some(5),
        ..Changes::default()
    })
    .unwrap();
    assert!(!short.plan.episodes.is_empty());
    assert!(
        short
            .plan
            .episodes
            .iter()
            .all(|e| e.at_ms + e.for_ms <= 5_000)
    );
}

#[test]
fn nonsense_is_refused_with_the_reason() {
    let refused = |changes: Changes, part: &str| {
        let text = resolve(&changes).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    };
    refused(
        Changes {
            nodes: Some(0),
            ..Changes::default()
        },
        "0 nodes",
    );
    refused(
        Changes {
            nodes: Some(10),
            ..Changes::default()
        },
        "10 nodes",
    );
    refused(
        Changes {
            rate: Some(0),
            ..Changes::default()
        },
        "rate of 0",
    );
    refused(
        Changes {
            faults: Some(vec![Kind::LyingDisk]),
            ..Changes::default()
        },
        "outside of the fault model",
    );
    let no_kind = parse(&written("[random]\nkinds = [\"kill\", \"flood\"]\n")).unwrap_err();
    assert!(
        no_kind.contains("there is no kind of fault \"flood\"; there are isolate, kill"),
        "{no_kind}"
    );
    assert!(no_kind.contains("line "), "{no_kind}");
    assert!(
        Scenario::find("nosuch")
            .unwrap_err()
            .to_string()
            .contains("rapids")
    );
}

/// What is written in a file, read.
pub(super) fn parse(text: &str) -> Result<Given, String> {
    Given::parse(text)
}

/// A scenario with this behind its first fields.
pub(super) fn written(more: &str) -> String {
    format!(
        "name = \"x\"\nabout = \"y\"\nnodes = 3\nseconds = 6\nclients = 4\nrate = 100\n\
         keys = {{ contended = 3, wide = 10 }}\nmix = {{ read = 50, write = 40, cas = 10 }}\n{more}"
    )
}

#[test]
fn a_fault_without_effect_is_refused_with_its_line() {
    let refused = |fault: &str, words: &str| {
        let more = format!("[[opening]]\nat_ms = 500\nfor_ms = 900\nfaults = [{{ {fault} }}]\n");
        let why = parse(&written(&more)).expect_err(fault);
        assert!(why.starts_with("line 12: the opening at 500 ms: "), "{why}");
        assert!(why.contains(words), "{fault}: {why}");
    };
    for (fault, words) in [
        (
            "fault = \"slow\", from = \"leader\", to = \"follower 0\", delay_ms = 0, jitter_ms = 0",
            "slow: without effect: delay_ms",
        ),
        (
            "fault = \"clock\", who = \"leader\", rate_percent = 100, step_ms = 0",
            "clock: without effect: a clock at 100 %",
        ),
        (
            "fault = \"clock\", who = \"leader\"",
            "clock: without effect",
        ),
        (
            "fault = \"disk\", who = \"leader\", harm = \"slow-sync\"",
            "disk: without effect: syncs that take 0 ms more",
        ),
        (
            "fault = \"throttle\", who = \"leader\", run_ms = 1000, stand_ms = 0",
            "throttle: without effect: stand_ms = 0",
        ),
        (
            "fault = \"message\", act = \"drop\", of = \"snapshots\"",
            "drop: without effect: drop snapshots",
        ),
        (
            "fault = \"message\", act = \"stall\", of = \"votes\"",
            "they are no stream",
        ),
        (
            "fault = \"message\", act = \"duplicate\", of = \"appends\", only = { entries = [1, 9] }",
            "entries travel in streams",
        ),
        (
            "fault = \"ring\", order = [\"n1\", \"n2\", \"n3\"]",
            "every node is a neighbour",
        ),
        (
            "fault = \"ring\", order = [\"n1\", \"n2\"]",
            "n3 is not in it",
        ),
        (
            "fault = \"split\", side = [\"leader\", \"follower 0\", \"follower 1\"]",
            "all nodes are on one side",
        ),
        (
            "fault = \"bridge\", over = \"leader\", side = [\"follower 0\", \"follower 1\"]",
            "nobody is left for the other side",
        ),
        ("fault = \"graph\", cut = []", "no link is named"),
        ("fault = \"transfer\", to = \"leader\"", "leads already"),
    ] {
        refused(fault, words);
    }
}

#[test]
fn an_episode_that_does_nothing_is_refused_with_its_line() {
    let refused = |episode: &str, line: usize, words: &str| {
        let why = parse(&written(&format!("[[opening]]\n{episode}"))).expect_err(episode);
        assert!(why.starts_with(&format!("line {line}: ")), "{why}");
        assert!(why.contains(words), "{episode}: {why}");
    };
    let kill = "faults = [{ fault = \"kill\", who = \"leader\" }]";
    let pause = "faults = [{ fault = \"pause\", who = \"leader\" }]";
    let times = "at_ms = 500\nfor_ms = 900\n";
    refused(&format!("{times}faults = []"), 12, "it has no fault");
    refused(
        &format!("at_ms = 500\nfor_ms = 0\n{pause}"),
        11,
        "pause is out as soon as it is in",
    );
    refused(&format!("{times}within_ms = 9\n{kill}"), 12, "when says");
    refused(&format!("{times}after_ms = 9\n{kill}"), 12, "when says");
    refused(
        &format!("{times}when = \"leader-change\"\nwithin_ms = 0\n{kill}"),
        13,
        "skipped always",
    );
    refused(
        &format!("{times}when = {{ message = \"append\", count = 0 }}\n{kill}"),
        12,
        "counted from 1",
    );
    // What kills has happened, however soon it is over; and a transfer is over at once anyway.
    for fault in [
        "fault = \"kill\", who = \"leader\"",
        "fault = \"transfer\", to = \"follower 0\"",
    ] {
        let more = format!("[[opening]]\nat_ms = 500\nfor_ms = 0\nfaults = [{{ {fault} }}]\n");
        assert!(parse(&written(&more)).is_ok(), "{fault}");
    }
}

#[test]
fn a_phase_has_a_mix_and_begins_within_the_run() {
    for (phases, line, words) in [
        (
            "[[phases]]\nat_ms = 1000\nmix = { read = 0, write = 0, cas = 0, delete = 0 }\n",
            11,
            "every weight of the mix is 0",
        ),
        (
            "[[phases]]\nat_ms = 6000\nmix = { read = 1, write = 0 }\n",
            10,
            "the run ends at 6000 ms",
        ),
        (
            "[[phases]]\nat_ms = 5\nmix = { read = 1, write = 0 }\n[[phases]]\nat_ms = 5\nmix = { read = 1, write = 1 }\n",
            13,
            "two phases at 5 ms",
        ),
        (
            "[[phases]]\nat_ms = 5\nmix = { read = 1, write = 4294967295 }\n",
            11,
            "write = 4294967295",
        ),
    ] {
        let why = parse(&written(phases)).expect_err(phases);
        assert!(why.starts_with(&format!("line {line}: ")), "{why}");
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn timings_under_which_nobody_can_lead_are_refused_with_their_line() {
    for (timings, line, words) in [
        ("heartbeat_ms = 0", 10, "heartbeat_ms = 0"),
        ("heartbeat_ms = 9", 10, "heartbeat_ms = 9: there can be 10"),
        ("heartbeat_ms = 300", 10, "never wait for one"),
        ("heartbeat_ms = 400", 10, "never wait for one"),
        ("election_min_ms = 100", 10, "a heartbeat every 100 ms"),
        ("election_min_ms = 600", 10, "from 600 ms to 600 ms"),
        ("election_max_ms = 300", 10, "from 300 ms to 300 ms"),
        (
            "election_max_ms = 50\nelection_min_ms = 100",
            11,
            "from 100 ms to 50 ms",
        ),
        ("election_max_ms = 20000", 10, "there can be 10 to 3000"),
        ("snapshot_every = 0", 10, "snapshot_every = 0"),
        ("lag = 0", 10, "lag = 0"),
        ("snapshot_chunk = 0", 10, "snapshot_chunk = 0"),
        ("snapshot_chunk = 1048577", 10, "snapshot_chunk = 1048577"),
    ] {
        let why = parse(&written(&format!("[timings]\n{timings}\n"))).expect_err(timings);
        assert!(
            why.starts_with(&format!("line {line}: ")),
            "{timings}: {why}"
        );
        assert!(why.contains(words), "{timings}: {why}");
    }
    let fine = "[timings]\nheartbeat_ms = 50\nelection_min_ms = 200\nelection_max_ms = 400\nkeep_logs = 0\n";
    assert!(parse(&written(fine)).is_ok());
}

#[test]
fn a_name_is_a_part_of_a_folders_name() {
    for name in [
        "",
        "../../x",
        "a b",
        "a/b",
        ".x",
        "-x",
        "a\\u0007",
        &"x".repeat(61),
    ] {
        let text = written("").replacen("\"x\"", &format!("\"{name}\""), 1);
        let why = parse(&text).expect_err(name);
        assert!(why.starts_with("line 1: name = "), "{name}: {why}");
    }
}

#[test]
fn kinds_that_so_few_nodes_cannot_have_are_refused_by_name() {
    let faults = |kind, nodes| Changes {
        faults: Some(vec![kind]),
        nodes: Some(nodes),
        ..Changes::default()
    };
    for (kind, nodes) in [
        (Kind::Ring, 3),
        (Kind::Bridge, 2),
        (Kind::Isolate, 1),
        (Kind::Freeze, 2),
    ] {
        let why = resolve(&faults(kind, nodes)).unwrap_err().to_string();
        assert!(why.contains("without effect"), "{why}");
        assert!(resolve(&faults(kind, nodes + 1)).is_ok(), "{kind}");
    }
}

#[test]
fn what_a_seed_draws_always_does_something() {
    let all = Scenario::built_in().into_iter();
    for scenario in all.filter(|scenario| scenario.system.is_none()) {
        for (seed, append) in (0..40).flat_map(|seed| ["stream", "unary"].map(|how| (seed, how))) {
            let changes = Changes {
                append: Some(append.to_owned()),
                ..Changes::default()
            };
            let (nodes, written) = (scenario.nodes, scenario.opening.clone());
            let Resolved { plan, .. } = scenario.clone().resolve(&changes, seed, None).unwrap();
            let drawn = plan.episodes.iter().filter(|one| !written.contains(one));
            for episode in drawn {
                let checked = episode.check(nodes);
                let checked = checked.and_then(|()| episode.check_among(nodes, append == "stream"));
                assert_eq!(checked, Ok(()), "{} {seed}: {episode:?}", scenario.name);
            }
        }
    }
}
