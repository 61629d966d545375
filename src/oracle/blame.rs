//! Who is to blame for what was seen: decided here, and nowhere else.
//!
//! What the host did not give explains some of what oracles find ([`Oracle::explained`]), and nothing else. A finding that
//! is explained becomes an error of the bench, which says what was missing. It accuses nobody, and the verdict on the
//! history stands beside it. What is left accuses the system under test, unless a fault was in that no quorum protocol
//! need survive ([`unpromised`]): that is said beside it.

use checkers::verdict::Verdict;

use super::assertion::Of;
use super::{Evidence, Explained, Finding, Oracle};
use crate::cluster::{ChildState, Cluster, EndedBy, ExitByItself};
use crate::fault::{DiskHarm, Fault, FaultSpan, Kind, LimitOf, Remains};
use crate::host::{self, Descriptors, Unfit};
use crate::shortage::Shortage;

/// How long a fault that is over may still be to blame: a failover and a lease.
pub const RECENT_NS: u64 = 3_000_000_000;

/// Whom something accuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The system under test.
    System,
    /// The bench or its host, and how.
    Bench(String),
    /// Nobody: it is said, and that is all.
    Nobody,
}

/// What was around when something was seen after the faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Whether something could not be healed: what the cluster does then proves nothing against it.
    pub unhealed: bool,
    /// What keeps nodes that should serve from doing so: see [`hindered`].
    pub hindered: Vec<String>,
    /// Whether the programs are unmodified: each may give up in its own way where its disk or a limit fails it.
    pub unmodified: bool,
}

/// Whom a finding accuses on a machine of which this is wrong.
#[must_use]
pub fn of(finding: &Finding, unfit: &[Unfit], faults: &[FaultSpan], around: &Around) -> Blame {
    let evidence = &finding.evidence;
    if finding.oracle().is_of_liveness() {
        if around.unhealed {
            return Blame::Nobody;
        }
        if !around.hindered.is_empty() {
            let why = around.hindered.join(", ");
            return Blame::Bench(format!("{why}: that accuses nobody: {evidence}"));
        }
    }
    if around.unmodified && has_given_up(evidence, faults) {
        return Blame::Nobody;
    }
    let own = own_words(finding).filter(|&shortage| !is_planned(shortage, faults));
    if let Some(shortage) = own {
        return excused(&format!("the host had {shortage}"), finding);
    }
    let unfit = unfit.iter();
    let mut unfit = unfit.filter(|unfit| explains(unfit, finding.oracle()));
    let Some(first) = unfit.next() else {
        return Blame::System;
    };
    let all = unfit.fold(first.to_string(), |all, unfit| {
        format!("{all}, and {unfit}")
    });
    excused(&all, finding)
}

fn excused(why: &str, finding: &Finding) -> Blame {
    let (oracle, evidence) = (finding.oracle(), &finding.evidence);
    Blame::Bench(format!(
        "{why}: that accuses nobody of what was seen ({oracle}): {evidence}"
    ))
}

/// Whether a node has left a panic or an assertion in its log after a fault of the run had let its disk or a limit fail it.
/// A program that can do nothing else then does right to end like that, as one does that exits (its end is excused by
/// the nemesis, before it can come). Our own node promises to exit; a sanitizer's report has no such reason.
fn has_given_up(evidence: &Evidence, faults: &[FaultSpan]) -> bool {
    let node = match evidence {
        Evidence::Panic(panicked) => panicked.node,
        Evidence::Assertion(broken) if matches!(broken.of, Of::Assertion | Of::GoRuntime) => {
            broken.node
        }
        _ => return false,
    };
    let fails = |fault: &Fault| match fault {
        Fault::Rlimit { who, .. } => *who == node,
        Fault::Disk { who, harm, .. } => *who == node && harm.excuses_an_end(),
        _ => false,
    };
    faults.iter().any(|span| fails(&span.fault))
}

/// What a node's log itself says that there was none of.
fn own_words(finding: &Finding) -> Option<Shortage> {
    match &finding.evidence {
        Evidence::Panic(panicked) => Shortage::in_text(&panicked.to_string()),
        _ => None,
    }
}

/// Whether a fault of the run took that away: then it is the node's own affair how it goes on.
fn is_planned(shortage: Shortage, faults: &[FaultSpan]) -> bool {
    let takes = |fault: &Fault| match (shortage, fault) {
        (Shortage::OpenFiles, Fault::Rlimit { of, .. }) => *of == LimitOf::OpenFiles,
        (Shortage::Space, Fault::Disk { harm, .. }) => *harm == DiskHarm::Full,
        _ => false,
    };
    faults.iter().any(|span| takes(&span.fault))
}

/// Whether that is why an oracle speaks.
fn explains(unfit: &Unfit, oracle: Oracle) -> bool {
    use Shortage::{Memory, OpenFiles, OpenFilesOfHost, Ports, Quota, Space, Threads};
    match oracle.explained() {
        Explained::ByAnything => true,
        Explained::ByTheHost => match unfit {
            Unfit::Short(Space | Quota | OpenFilesOfHost | Memory | Threads, _) => true,
            Unfit::Short(OpenFiles | Ports, _) | Unfit::Stalled(_) => false,
        },
        Explained::ByTheDisk => matches!(unfit, Unfit::Short(Space | Quota, _)),
        Explained::ByNothing => false,
    }
}

/// Whom the end of a child accuses: somebody else may have ended it, as the kernel has so many for want of memory, or
/// the host did not give what it needed.
#[must_use]
pub fn of_end(exit: &ExitByItself, oom_kills: u64) -> Blame {
    let ExitByItself { id, status, .. } = exit;
    match exit.by {
        EndedBy::Itself => Blame::System,
        EndedBy::Shortage(shortage) => Blame::Bench(format!(
            "n{id} ended because the host had {shortage} ({status}), which accuses nobody"
        )),
        EndedBy::Kill => {
            let who = match oom_kills {
                0 => "by somebody else".to_owned(),
                n => format!(
                    "by the kernel, which has ended {n} for want of memory meanwhile, or by somebody else"
                ),
            };
            Blame::Bench(format!(
                "n{id} was killed ({status}), not by the bench: {who}"
            ))
        }
    }
}

/// What keeps nodes that should serve from doing so, and is not their doing: a sentence for each.
#[must_use]
pub fn hindered(cluster: &Cluster) -> Vec<String> {
    let up = cluster.views().into_iter();
    let up = up.filter(|view| view.state == ChildState::Up);
    let seen = up.filter_map(|view| {
        let (id, pid) = (view.id, view.pid?);
        if host::is_stopped(pid) {
            return Some(format!("n{id} is stopped by a signal, not by the bench"));
        }
        // One that has just ended cannot be looked at, and is none of these.
        let open = Descriptors::of(&pid.to_string()).ok();
        let Descriptors { open, limit } = open.filter(Descriptors::are_gone)?;
        Some(format!("n{id} has {open} of {limit} files open"))
    });
    seen.collect()
}

/// What a run found, and what was in before.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What the history proves.
    pub verdict: Option<&'a Verdict>,
    /// What other oracles prove.
    pub findings: &'a [Finding],
    /// Every fault that took effect.
    pub faults: &'a [FaultSpan],
    /// How the nodes read.
    pub reads: &'a str,
}

/// The faults that may be to blame for what was found, and that what is tested does not promise to survive: those that
/// were in before it; `promised` are the kinds that it does. What is found after them accuses nobody. No quorum protocol
/// promises anything outside of the fault model.
///
/// However long ago: what a disk has lost or a bit has changed may show when its node leads next, or never, and the
/// bench cannot tell which acknowledged entry it was. Only of a lie that was made true while the same process went on
/// it is certain that nothing is left. Nothing was lost then, neither while the disk lied nor later, so that it
/// excuses nothing; one that a process died under excuses what is found to the end of the run.
#[must_use]
pub fn unpromised<'a>(found: &Found<'a>, promised: &[Kind]) -> Vec<&'a FaultSpan> {
    let culprit = match found.verdict {
        Some(Verdict::Violation(proof)) if found.findings.is_empty() => proof.answered(),
        _ => None,
    };
    let until = culprit.map_or(u64::MAX, |culprit| culprit.answered_ns);
    let spans = found.faults.iter();
    spans
        .filter(|span| {
            let outside = !promised.contains(&span.fault.kind())
                && span.in_ns <= until
                && span.remains == Remains::Perhaps;
            outside || may_have_broken_a_lease(found, span)
        })
        .collect()
}

/// Whether this fault's clock may have made the culprit a stale read, and legally so: leases trust clocks (Raft,
/// section 6.4), nothing else does, and a clock that has run right for a while breaks none. A stale read that shows
/// in its log id only, which says of no instant when that was, is the certificate's finding.
fn may_have_broken_a_lease(found: &Found<'_>, span: &FaultSpan) -> bool {
    if found.reads != "lease" || !matches!(span.fault, Fault::Clock { .. }) {
        return false;
    }
    let mut findings = found.findings.iter();
    if findings.any(|finding| finding.oracle() != Oracle::Certificate) {
        return false;
    }
    let Some(Verdict::Violation(proof)) = found.verdict else {
        return !found.findings.is_empty();
    };
    let read = proof.answered().filter(|culprit| culprit.reads);
    read.is_some_and(|read| {
        let at = read.answered_ns;
        let gone = span.out_ns.map_or(0, |out| at.saturating_sub(out));
        span.in_ns <= at && gone < RECENT_NS
    })
}

#[cfg(test)]
mod tests {
    use super::super::assertion::Broken;
    use super::super::tests::{panicked, some};
    use super::*;
    use crate::fault::By;

    const ALL: [Shortage; 7] = [
        Shortage::Space,
        Shortage::Quota,
        Shortage::OpenFiles,
        Shortage::OpenFilesOfHost,
        Shortage::Ports,
        Shortage::Memory,
        Shortage::Threads,
    ];

    /// The shortages that explain what this oracle finds, and whether a stall does.
    fn explained(oracle: Oracle) -> (Vec<Shortage>, bool) {
        let short = ALL.into_iter();
        let short = short.filter(|&what| explains(&Unfit::Short(what, String::new()), oracle));
        let stalled = explains(&Unfit::Stalled(String::new()), oracle);
        (short.collect(), stalled)
    }

    #[test]
    fn each_oracle_is_explained_by_what_can_make_it_speak_and_by_nothing_else() {
        use Shortage::{Memory, OpenFilesOfHost, Quota, Space, Threads};
        let host = vec![Space, Quota, OpenFilesOfHost, Memory, Threads];
        for (oracle, expected) in [
            (Oracle::Convergence, (ALL.to_vec(), true)),
            (Oracle::Service, (ALL.to_vec(), true)),
            (Oracle::Exit, (host.clone(), false)),
            (Oracle::Panic, (host, false)),
            (Oracle::Trace, (vec![Space, Quota], false)),
            (Oracle::StateHash, (vec![], false)),
            (Oracle::Certificate, (vec![], false)),
        ] {
            assert_eq!(explained(oracle), expected, "{oracle}");
        }
    }

    /// Why the bench is to blame; `None`: the system is.
    fn excuse(finding: &Finding, unfit: &[Unfit], faults: &[FaultSpan]) -> Option<String> {
        match of(finding, unfit, faults, &Around::default()) {
            Blame::System => None,
            Blame::Bench(why) => Some(why),
            Blame::Nobody => panic!("somebody is to blame"),
        }
    }

    #[test]
    fn a_panic_for_want_of_something_is_a_finding_only_where_the_plan_took_it_away() {
        let panicked = |why: &str| Finding::from(panicked(1, why));
        let span = |fault| FaultSpan {
            id: 1,
            fault,
            by: By::Plan,
            in_ns: 0,
            out_ns: None,
            remains: Remains::Perhaps,
        };
        let excused = |finding: &Finding, spans: &[FaultSpan]| excuse(finding, &[], spans);
        let files = panicked("Too many open files (os error 24)");
        let limit = |of| span(Fault::Rlimit { who: 1, of });
        assert!(excused(&files, &[]).is_some());
        assert!(excused(&files, &[limit(LimitOf::FileSize)]).is_some());
        assert_eq!(excused(&files, &[limit(LimitOf::OpenFiles)]), None);
        assert_eq!(excused(&panicked("a hole in the log"), &[]), None);
        let full = panicked("No space left on device (os error 28)");
        let why = excused(&full, &[]).expect("nobody took it away");
        assert!(
            why.contains("no space left") && !why.contains('\n'),
            "{why}"
        );
    }

    #[test]
    fn a_shortage_excuses_a_cluster_that_does_not_serve_and_no_states_that_differ() {
        let silent = some(Oracle::Convergence);
        let differ = some(Oracle::StateHash);
        assert_eq!(excuse(&silent, &[], &[]), None, "the machine is fit");
        let short = [Unfit::Short(Shortage::Ports, "a door, 3 times".into())];
        let why = excuse(&silent, &short, &[]).expect("there was no port");
        for words in ["no free port", "a door, 3 times", "n1 does not answer"] {
            assert!(why.contains(words), "{why}");
        }
        assert_eq!(excuse(&differ, &short, &[]), None);
    }

    #[test]
    fn an_unmodified_program_that_gives_up_for_an_error_of_its_disk_does_right() {
        let span = |who, harm| FaultSpan {
            id: 1,
            fault: Fault::Disk { who, harm, ms: 0 },
            by: By::Plan,
            in_ns: 0,
            out_ns: None,
            remains: Remains::Perhaps,
        };
        let unmodified = Around {
            unmodified: true,
            ..Around::default()
        };
        let broken = |node, of| {
            let line = "panic: sync: input/output error".to_owned();
            Finding::from(Evidence::Assertion(Broken { node, of, line }))
        };
        let blame =
            |finding: &Finding, who, harm, around| of(finding, &[], &[span(who, harm)], around);
        let (fails, slow) = (DiskHarm::SyncFails, DiskHarm::SlowSync);
        let go = broken(1, Of::GoRuntime);
        assert_eq!(blame(&go, 1, fails, &unmodified), Blame::Nobody);
        let rust = Finding::from(panicked(1, "could not sync"));
        assert_eq!(blame(&rust, 1, fails, &unmodified), Blame::Nobody);
        for (finding, who, harm) in [(&go, 2, fails), (&go, 1, slow)] {
            assert_eq!(blame(finding, who, harm, &unmodified), Blame::System);
        }
        let sanitizer = broken(1, Of::Sanitizer);
        assert_eq!(blame(&sanitizer, 1, fails, &unmodified), Blame::System);
        assert_eq!(blame(&go, 1, fails, &Around::default()), Blame::System);
    }

    #[test]
    fn what_is_not_healed_or_is_hindered_excuses_silence_and_nothing_else() {
        let unhealed = Around {
            unhealed: true,
            ..Around::default()
        };
        let stopped = Around {
            hindered: vec!["n2 is stopped by a signal, not by the bench".to_owned()],
            ..Around::default()
        };
        for &oracle in Oracle::ALL {
            let blame = |around| of(&some(oracle), &[], &[], around);
            if oracle.is_of_liveness() {
                assert_eq!(blame(&unhealed), Blame::Nobody, "{oracle}");
                let Blame::Bench(why) = blame(&stopped) else {
                    panic!("{oracle} accuses");
                };
                assert!(why.starts_with("n2 is stopped"), "{why}");
            } else {
                assert_eq!(blame(&unhealed), Blame::System, "{oracle}");
                assert_eq!(blame(&stopped), Blame::System, "{oracle}");
            }
        }
    }
}
