//! Traces: walks of the model are explained, the counterexamples of broken rules are not, and one edit is seen.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::check::Configuration;
use super::conform::{Conformance, Rejected, conform};
use super::mutants::{self, Mutant};
use super::project::project;
use super::raft::{Action, Raft};
use super::state::State;
use super::trace::{self, Kind, Line};

const VOTERS: Option<&[u64]> = Some(&[1, 2, 3]);

fn walk<const SLOTS: usize>(model: &Raft<SLOTS>, rng: &mut impl Rng, steps: usize) -> Vec<Action> {
    let mut state = State::default();
    let mut walked = Vec::new();
    let mut actions = Vec::new();
    for _ in 0..steps {
        actions.clear();
        model.actions(&state, &mut actions);
        // Campaigns and restarts use up the terms: seldom, so that something is replicated in each.
        let seldom =
            |a: &Action| matches!(a, Action::Elect(_) | Action::Restart(_) | Action::Learn(..));
        if rng.random_range(0..8) != 0 && actions.iter().any(|a| !seldom(a)) {
            actions.retain(|a| !seldom(a));
        }
        if actions.is_empty() {
            break;
        }
        let action = actions[rng.random_range(0..actions.len())];
        if let Some(next) = model.step(&state, action, &mut 0) {
            state = next;
            walked.push(action);
        }
    }
    walked
}

fn three_by_three() -> Configuration {
    Configuration {
        entries: 3,
        ..Configuration::named("3x2").unwrap()
    }
}

#[test]
fn random_walks_are_explained() {
    let base = three_by_three();
    let configurations = [
        base,
        Configuration {
            restore: true,
            ..base
        },
        Configuration {
            flush: true,
            ..base
        },
        Configuration {
            snapshots: true,
            ..base
        },
        Configuration {
            change: Some((0b111, 0b001)),
            ..base
        },
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut events, mut committed) = (0, 0);
    for configuration in configurations {
        let model = Raft::<9>::new(configuration);
        for _ in 0..400 {
            let actions = walk(&model, &mut rng, 60);
            match conform(project(&model, &actions), VOTERS) {
                Conformance::Accepted(accepted) => {
                    events += accepted.events;
                    committed += accepted.committed;
                }
                Conformance::Rejected(rejected) => panic!("{actions:?}\n{rejected:#?}"),
            }
        }
    }
    assert!(
        events > 50_000 && committed > 1_500,
        "{events} events, {committed} committed: the walks show little"
    );
}

fn rejection(mutant: Mutant) -> Option<Rejected> {
    let pinned = mutant.pinned();
    let mut configuration = Configuration::named(pinned.configuration).unwrap();
    configuration.rules.broken = Some(mutant);
    configuration.reduce = false;
    let actions = mutants::search(pinned)
        .violation
        .expect("it is killed")
        .actions;
    let files = if configuration.terms == 1 {
        project(&Raft::<3>::new(configuration), &actions)
    } else {
        project(&Raft::<6>::new(configuration), &actions)
    };
    match conform(files, VOTERS) {
        Conformance::Accepted(_) => None,
        Conformance::Rejected(rejected) => Some(rejected),
    }
}

#[test]
fn counterexamples_of_broken_writes_are_rejected_with_the_reason() {
    for (mutant, reason) in [
        (Mutant::NoVotePersist, "its vote was saved as"),
        (Mutant::NoLogCheck, "1 grant is no quorum"),
        (
            Mutant::CommitOldTerm,
            "not known to be on a quorum under its leader",
        ),
        (
            Mutant::SkipPrevCheck,
            "not known to be on a quorum under its leader",
        ),
        (Mutant::TruncateAlways, "does not conflict with"),
        (Mutant::MinorityQuorum, "1 grant is no quorum"),
        (Mutant::GrantTwice, "its vote goes back"),
        (Mutant::CommitBeyondMatch, "it applies"),
        (
            Mutant::NoConflictTruncate,
            "not known to be on a quorum under its leader",
        ),
        (
            Mutant::AckBeforeFlush,
            "not known to be on a quorum under its leader",
        ),
        (Mutant::StaleAppend, ""),
        (Mutant::RestoreUncommitted, "1 grant is no quorum"),
        (Mutant::CountStaleVotes, "1 grant is no quorum"),
        (
            Mutant::AckWholeLog,
            "not known to be on a quorum under its leader",
        ),
        (
            Mutant::ConflictAsSuccess,
            "not known to be on a quorum under its leader",
        ),
        (Mutant::JointAsUnion, "no quorum"),
        (Mutant::SkipJoint, "without"),
        (Mutant::SnapshotDropsTail, "entries are lost or changed"),
    ] {
        let rejected = rejection(mutant).unwrap_or_else(|| panic!("{mutant:?} is accepted"));
        assert!(
            rejected.missing.contains(reason),
            "{mutant:?}: {rejected:#?}"
        );
    }
}

#[test]
fn broken_reads_leave_no_trace() {
    // What a storage writes says nothing about reads: those are for the judge of histories.
    for mutant in [
        Mutant::LocalRead,
        Mutant::ReadNoNoop,
        Mutant::ReadAckNoTermCheck,
        Mutant::LeaseForgotten,
    ] {
        assert_eq!(rejection(mutant), None, "{mutant:?}");
    }
}

fn lines(texts: &[&str]) -> Vec<Line> {
    trace::read(&(texts.join("\n") + "\n")).unwrap()
}

fn rejects(files: Vec<Vec<Line>>, missing: &str) {
    match conform(files, None) {
        Conformance::Rejected(r) => assert!(r.missing.contains(missing), "{r:#?}"),
        Conformance::Accepted(a) => panic!("accepted: {a:?}"),
    }
}

/// A cluster of one, as a real node writes it: initialize, campaign, lead, write, snapshot, purge, restart.
fn alone() -> Vec<Line> {
    lines(&[
        r#"{"seq":1,"t_us":0,"node":1,"e":"start"}"#,
        r#"{"seq":2,"t_us":0,"node":1,"e":"append","entries":[[0,1,0,7]],"members":[[0,[[1]]]]}"#,
        r#"{"seq":3,"t_us":0,"node":1,"e":"done","of":2}"#,
        r#"{"seq":4,"t_us":0,"node":1,"e":"vote","vote":[1,1,false]}"#,
        r#"{"seq":5,"t_us":0,"node":1,"e":"done","of":4}"#,
        r#"{"seq":6,"t_us":0,"node":1,"e":"vote","vote":[1,1,true]}"#,
        r#"{"seq":7,"t_us":0,"node":1,"e":"done","of":6}"#,
        r#"{"seq":8,"t_us":0,"node":1,"e":"append","entries":[[1,1,1,0],[1,1,2,9]]}"#,
        r#"{"seq":9,"t_us":0,"node":1,"e":"done","of":8}"#,
        r#"{"seq":10,"t_us":0,"node":1,"e":"apply","entries":[[0,1,0,7],[1,1,1,0],[1,1,2,9]]}"#,
        r#"{"seq":11,"t_us":0,"node":1,"e":"done","of":10}"#,
        r#"{"seq":12,"t_us":0,"node":1,"e":"snapshot","last":[1,1,2]}"#,
        r#"{"seq":13,"t_us":0,"node":1,"e":"done","of":12}"#,
        r#"{"seq":14,"t_us":0,"node":1,"e":"purge","upto":[1,1,1]}"#,
        r#"{"seq":15,"t_us":0,"node":1,"e":"done","of":14}"#,
        r#"{"seq":16,"t_us":0,"node":1,"e":"append","entries":[[1,1,3,5],[1,1,4,6]]}"#,
        r#"{"seq":1,"t_us":0,"node":1,"e":"start","vote":[1,1,true],"purged":[1,1,1],"log":[[1,1,2,3]],"snapshot":[1,1,2],"applied":[1,1,2]}"#,
    ])
}

#[test]
fn a_whole_life_is_explained_also_with_a_kill_between_begin_and_done() {
    let Conformance::Accepted(accepted) = conform(vec![alone()], None) else {
        panic!()
    };
    assert_eq!(
        (
            accepted.events,
            accepted.committed,
            accepted.leaders,
            accepted.starts
        ),
        (17, 3, 1, 2)
    );
}

#[test]
fn nothing_recorded_is_no_proof() {
    rejects(vec![], "nothing was recorded");
    rejects(vec![vec![]], "nothing was recorded");
    rejects(vec![alone().split_off(1)], "no start");
    rejects(vec![alone(), alone()], "two files");
}

#[test]
fn a_leaders_entry_comes_after_its_committed_vote() {
    let start = r#""e":"start""#;
    let first = r#""e":"append","entries":[[0,1,0,7]],"members":[[0,[[1]]]]"#;
    let asks = r#""e":"vote","vote":[1,1,false]"#;
    let leads = r#""e":"vote","vote":[1,1,true]"#;
    let blank = r#""e":"append","entries":[[1,1,1,0]]"#;
    let in_order = file(1, &[start, first, asks, leads, blank]);
    assert!(matches!(
        conform(vec![in_order], None),
        Conformance::Accepted(_)
    ));
    let missing = "it offers 1.1-1 before it has saved that it leads term 1";
    rejects(vec![file(1, &[start, first, asks, blank, leads])], missing);
    rejects(vec![file(1, &[start, first, asks, blank])], missing);
    // A kill before the committed vote was saved: the node starts as a candidate that was, and leads no more.
    let mut killed = file(1, &[start, first, asks, leads]);
    killed.pop();
    let again = r#""e":"start","vote":[1,1,false],"log":[[0,1,0,0]]"#;
    killed.extend(file(1, &[again, blank]));
    rejects(vec![killed], missing);
}

#[test]
fn a_voter_without_a_file_is_named() {
    // n1 and n2 are a quorum and explain everything; n3 might have forgotten its vote.
    let follows = r#""e":"vote","vote":[1,1,true]"#;
    let whole = || a_replacement(&[r#""e":"start""#, follows, FIRST_FOUR, LAST_TWO]);
    assert!(matches!(conform(whole(), None), Conformance::Accepted(_)));
    for absent in 0..3 {
        let mut files = whole();
        let node = files.remove(absent)[0].node;
        match conform(files, None) {
            Conformance::Rejected(r) => {
                let missing = format!("names n{node} as a voter, and there is no file of it");
                assert_eq!((r.node, r.event.as_str()), (node, "no trace"));
                assert!(r.missing.contains(&missing), "{r:#?}");
            }
            Conformance::Accepted(a) => panic!("{a:?}"),
        }
    }
    // One that votes from the middle on counts too, and so does one of voters that no membership names.
    let mut grows = alone();
    grows[7].members = vec![(2, vec![vec![1], vec![1, 2]])];
    rejects(vec![grows], "names n2 as a voter");
    match conform(vec![alone()], Some(&[1, 2])) {
        Conformance::Rejected(r) => assert_eq!(r.node, 2, "{r:#?}"),
        Conformance::Accepted(a) => panic!("{a:?}"),
    }
    // A learner has no vote: its file is read if there is one.
    let learner = file(4, &[r#""e":"start""#, follows, FIRST_FOUR]);
    let with_learner = whole().into_iter().chain([learner]).collect();
    assert!(matches!(
        conform(with_learner, None),
        Conformance::Accepted(_)
    ));
}

#[test]
fn ids_that_fit_in_no_set_are_refused() {
    for id in [64, 65, u64::MAX] {
        let missing = format!("node ids go up to 63, and this is {id}");
        for members in [vec![vec![1, id]], vec![vec![1], vec![id]]] {
            let mut file = alone();
            file[1].members = vec![(0, members)];
            rejects(vec![file], &missing);
        }
        let mut installs = alone();
        installs[11].e = Kind::Install;
        installs[11].members = vec![(0, vec![vec![id]])];
        rejects(vec![installs], &missing);
        let mut far = alone();
        for line in &mut far {
            line.node = id;
        }
        rejects(vec![far], &missing);
        match conform(vec![alone()], Some(&[1, id])) {
            Conformance::Rejected(r) => assert!(r.missing.contains("go up to 63"), "{r:#?}"),
            Conformance::Accepted(a) => panic!("{a:?}"),
        }
    }
    let highest = format!(
        r#"{{"seq":1,"t_us":0,"node":{0},"e":"start"}}
{{"seq":2,"t_us":0,"node":{0},"e":"append","entries":[[0,{0},0,7]],"members":[[0,[[{0}]]]]}}
"#,
        trace::LAST_NODE
    );
    let highest = trace::read(&highest).unwrap();
    assert!(matches!(
        conform(vec![highest], None),
        Conformance::Accepted(_)
    ));
}

#[test]
fn a_start_that_lost_something_is_refused() {
    let change = |edit: fn(&mut Line), missing: &str| {
        let mut file = alone();
        edit(file.last_mut().unwrap());
        rejects(vec![file], missing);
    };
    change(
        |l| l.vote = None,
        "its vote was saved as 1.1 committed, and now it is none",
    );
    change(|l| l.log.clear(), "entries are lost or changed");
    change(
        |l| l.log = vec![(1, 1, 2, 5)],
        "entries are lost or changed",
    );
    change(
        |l| l.log = vec![(1, 2, 2, 3)],
        "entries are lost or changed",
    );
    change(|l| l.purged = None, "what is purged");
    change(
        |l| (l.snapshot, l.applied) = (None, None),
        "nothing it holds covers that",
    );
    change(
        |l| l.applied = Some((1, 1, 3).into()),
        "never about to apply index 3",
    );
}

#[test]
fn single_edits_of_a_good_trace_are_seen() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let model = Raft::<9>::new(three_by_three());
    let (mut seen, mut tried) = ([0u32; 4], [0u32; 4]);
    for _ in 0..400 {
        let files = project(&model, &walk(&model, &mut rng, 60));
        let kind = rng.random_range(0..4);
        let mut edited = files.clone();
        let file = rng.random_range(0..3);
        let wanted = [Kind::Append, Kind::Apply, Kind::Vote, Kind::Append][kind];
        let at: Vec<usize> = (0..edited[file].len())
            .filter(|&n| edited[file][n].e == wanted)
            .collect();
        if at.is_empty() {
            continue;
        }
        let n = at[rng.random_range(0..at.len())];
        let line = &mut edited[file][n];
        match kind {
            0 => line.entries[0].id.index += 1,
            1 => line.entries[0].payload ^= 8,
            // To a term that nobody reached: the next term may make another story that could have been.
            2 => line.vote.as_mut().unwrap().term += 3,
            // The effect is left out; its done stays.
            _ => drop(edited[file].remove(n)),
        }
        tried[kind] += 1;
        seen[kind] += u32::from(matches!(conform(edited, VOTERS), Conformance::Rejected(_)));
    }
    assert_eq!(seen, tried, "index, payload, vote, omission");
    assert!(tried.iter().all(|&t| t > 20), "{tried:?}");
}

/// One node's file from what it did, each a line without the common fields: numbered, and every effect done at once.
fn file(node: u64, did: &[&str]) -> Vec<Line> {
    let mut texts = Vec::new();
    let mut seq = 0;
    for what in did {
        seq = if what.starts_with(r#""e":"start""#) {
            1
        } else {
            seq + 1
        };
        let of = seq;
        texts.push(format!(r#"{{"seq":{seq},"t_us":0,"node":{node},{what}}}"#));
        if !what.starts_with(r#""e":"start""#) && !what.starts_with(r#""e":"replaced""#) {
            seq += 1;
            texts.push(format!(
                r#"{{"seq":{seq},"t_us":0,"node":{node},"e":"done","of":{of}}}"#
            ));
        }
    }
    trace::read(&(texts.join("\n") + "\n")).unwrap()
}

/// n1 leads term 1; n3 leaves by entry 3, its store is emptied, and a new n3 gets its vote by entry 5.
fn a_replacement(third: &[&str]) -> Vec<Vec<Line>> {
    let start = r#""e":"start""#;
    let asks = r#""e":"vote","vote":[1,1,false]"#;
    let leads = r#""e":"vote","vote":[1,1,true]"#;
    let first = file(
        1,
        &[
            start,
            r#""e":"append","entries":[[0,1,0,7]],"members":[[0,[[1,2,3]]]]"#,
            asks,
            leads,
            r#""e":"append","entries":[[1,1,1,0]]"#,
            r#""e":"append","entries":[[1,1,2,5]],"members":[[2,[[1,2,3],[1,2]]]]"#,
            r#""e":"append","entries":[[1,1,3,6]],"members":[[3,[[1,2]]]]"#,
            r#""e":"append","entries":[[1,1,4,8]],"members":[[4,[[1,2],[1,2,3]]]]"#,
            r#""e":"append","entries":[[1,1,5,9]],"members":[[5,[[1,2,3]]]]"#,
            r#""e":"apply","entries":[[0,1,0,7],[1,1,1,0],[1,1,2,5],[1,1,3,6],[1,1,4,8],[1,1,5,9]]"#,
        ],
    );
    let second = file(2, &[start, asks, leads, FIRST_FOUR, LAST_TWO]);
    vec![first, second, file(3, third)]
}

const FIRST_FOUR: &str = r#""e":"append","entries":[[0,1,0,7],[1,1,1,0],[1,1,2,5],[1,1,3,6]],"members":[[0,[[1,2,3]]],[2,[[1,2,3],[1,2]]],[3,[[1,2]]]]"#;
const LAST_TWO: &str =
    r#""e":"append","entries":[[1,1,4,8],[1,1,5,9]],"members":[[4,[[1,2],[1,2,3]]],[5,[[1,2,3]]]]"#;

#[test]
fn a_member_that_left_may_start_anew_and_nobody_else_may() {
    let start = r#""e":"start""#;
    let grants = r#""e":"vote","vote":[1,1,false]"#;
    let follows = r#""e":"vote","vote":[1,1,true]"#;
    let three = r#""e":"append","entries":[[0,1,0,7],[1,1,1,0],[1,1,2,5]],"members":[[0,[[1,2,3]]],[2,[[1,2,3],[1,2]]]]"#;
    let anew = |replaced: &'static str| {
        a_replacement(&[
            start, grants, follows, three, replaced, start, follows, FIRST_FOUR, LAST_TWO,
        ])
    };
    match conform(anew(r#""e":"replaced","last":[1,1,3]"#), None) {
        Conformance::Accepted(a) => assert_eq!((a.starts, a.committed), (4, 6)),
        Conformance::Rejected(r) => panic!("{r:#?}"),
    }
    // The membership must be one, be simple, be without its vote, and be committed.
    for (by, missing) in [
        (r#""e":"replaced","last":[0,1,0]"#, "while it had a vote"),
        (r#""e":"replaced","last":[1,1,2]"#, "is joint"),
        (r#""e":"replaced","last":[1,1,1]"#, "no membership"),
        (
            r#""e":"replaced","last":[1,1,9]"#,
            "not known to be committed",
        ),
        (r#""e":"replaced","last":[2,1,3]"#, "is committed there"),
    ] {
        rejects(anew(by), missing);
    }
    // Without its owner's word a node that starts from nothing has forgotten its vote.
    let forgot = [start, grants, follows, three, start, follows, FIRST_FOUR];
    rejects(
        a_replacement(&forgot),
        "its vote was saved as 1.1 committed",
    );
    // A store that was emptied holds nothing.
    let replaced = r#""e":"replaced","last":[1,1,3]"#;
    let kept = r#""e":"start","vote":[1,1,true]"#;
    let kept = [start, grants, follows, three, replaced, kept];
    rejects(a_replacement(&kept), "its vote was saved as none");
    let kept = r#""e":"start","log":[[0,1,0,0],[1,1,1,2]]"#;
    let kept = [start, grants, follows, three, replaced, kept];
    rejects(a_replacement(&kept), "entries are lost or changed");
}

#[test]
fn a_member_whose_vote_was_given_back_may_not_start_anew() {
    let follows = r#""e":"vote","vote":[1,1,true]"#;
    let did = [
        r#""e":"start""#,
        follows,
        FIRST_FOUR,
        LAST_TWO,
        r#""e":"replaced","last":[1,1,3]"#,
        r#""e":"start""#,
    ];
    rejects(a_replacement(&did), "gave the vote back");
}
