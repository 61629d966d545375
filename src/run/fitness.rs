//! Whether the machine is fit: for a run before it begins, and for an accusation when an oracle is about to make one.
//!
//! What the host did not give explains some of what oracles find, and nothing else:
//!
//! | oracle | is explained by |
//! | --- | --- |
//! | convergence, service | anything that is missing, a bench that stood still, nodes that had no processor: whoever was not heard may have spoken |
//! | exit, panic | space, memory, descriptors and threads of the whole host; of its own a node says itself what it lacked |
//! | trace | a disk without space: a line of it may be missing |
//! | state-hash, certificate | nothing: two states at one log id are equal on the poorest machine, too |
//!
//! A finding that is explained becomes an error of the bench, which says what was missing. It accuses nobody, and the
//! verdict on the history stands beside it.

use std::time::Duration;

use super::Setup;
use super::desk::Desk;
use super::ending::FaultSpan;
use super::notice::Finding;
use crate::cluster::{ChildState, Cluster, EndedBy, ExitByItself};
use crate::fault::{DiskHarm, Fault, LimitOf};
use crate::host::{self, Descriptors, Host, Need, NeedError, Unfit};
use crate::recorder::Missing;
use crate::shortage::Shortage;

/// How often the files are written that could not be, and what was noted is told.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// In so many of these looks the processors are looked at once.
const PROCESSORS_EVERY: u64 = 20;

/// Raises what may be raised, and holds what the run needs against what there is: what should be told all the same.
///
/// # Errors
/// What the run cannot do without.
pub(super) fn before(setup: &Setup) -> Result<Vec<String>, NeedError> {
    let scenario = &setup.resolved.scenario;
    let need = Need {
        nodes: scenario.node_ids().len() as u64,
        clients: scenario.clients.into(),
        rate: scenario.rate.into(),
        seconds: scenario.seconds,
    };
    need.check(host::raise_descriptors(), &setup.out)
}

/// Why a finding accuses nobody, where the machine explains it.
pub(super) fn excuse(finding: &Finding, host: &Host, spans: &[FaultSpan]) -> Option<String> {
    let own = own_words(finding).filter(|&shortage| !is_planned(shortage, spans));
    if let Some(shortage) = own {
        return Some(in_a_sentence(&format!("the host had {shortage}"), finding));
    }
    let unfit = host.unfit().into_iter();
    let mut unfit = unfit.filter(|unfit| explains(unfit, &finding.oracle));
    let first = unfit.next()?.to_string();
    let all = unfit.fold(first, |all, unfit| format!("{all}, and {unfit}"));
    Some(in_a_sentence(&all, finding))
}

fn in_a_sentence(why: &str, finding: &Finding) -> String {
    let Finding {
        oracle, evidence, ..
    } = finding;
    format!("{why}: that accuses nobody of what was seen ({oracle}): {evidence}")
}

/// What a panic itself says that there was none of.
fn own_words(finding: &Finding) -> Option<Shortage> {
    let panicked = finding.oracle == "panic";
    Shortage::in_text(&finding.evidence).filter(|_| panicked)
}

/// Whether a fault of the run took that away: then it is the node's own affair how it goes on.
fn is_planned(shortage: Shortage, spans: &[FaultSpan]) -> bool {
    let takes = |fault: &Fault| match (shortage, fault) {
        (Shortage::OpenFiles, Fault::Rlimit { of, .. }) => *of == LimitOf::OpenFiles,
        (Shortage::Space, Fault::Disk { harm, .. }) => *harm == DiskHarm::Full,
        _ => false,
    };
    spans.iter().any(|span| takes(&span.fault))
}

/// The table above.
fn explains(unfit: &Unfit, oracle: &str) -> bool {
    use Shortage::{Memory, OpenFiles, OpenFilesOfHost, Ports, Quota, Space, Threads};
    let on_disk = matches!(unfit, Unfit::Short(Space | Quota, _));
    match oracle {
        "convergence" | "service" => true,
        "exit" | "panic" => match unfit {
            Unfit::Short(Space | Quota | OpenFilesOfHost | Memory | Threads, _) => true,
            Unfit::Short(OpenFiles | Ports, _) | Unfit::Stalled(_) => false,
        },
        "trace" => on_disk,
        _ => false,
    }
}

/// Why the end of a child accuses nobody, where somebody else ended it or the host did not give what it needed.
pub(super) fn excuse_of_end(exit: &ExitByItself, host: &Host) -> Option<String> {
    let ExitByItself { id, status, .. } = exit;
    match exit.by {
        EndedBy::Itself => None,
        EndedBy::Shortage(shortage) => Some(format!(
            "n{id} ended because the host had {shortage} ({status}), which accuses nobody"
        )),
        EndedBy::Kill => {
            let who = match host.oom_kills() {
                0 => "by somebody else".to_owned(),
                n => format!(
                    "by the kernel, which has ended {n} for want of memory meanwhile, or by somebody else"
                ),
            };
            Some(format!(
                "n{id} was killed ({status}), not by the bench: {who}"
            ))
        }
    }
}

/// What keeps nodes that should serve from doing so, and is not their doing: a sentence for each.
pub(super) fn hindered(cluster: &Cluster) -> Vec<String> {
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

/// Writes what waits and tells what was noted, again and again, until the task is dropped.
pub(super) async fn upkeep(desk: Upkeep) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    for look in 0_u64.. {
        tick.tick().await;
        before = desk.look(before);
        if look % PROCESSORS_EVERY == 0 {
            desk.host.look_at_processors();
        }
    }
}

/// What the upkeep needs of a desk.
pub(super) struct Upkeep {
    recorder: std::sync::Arc<crate::recorder::Recorder>,
    teller: super::folder::Teller,
    host: std::sync::Arc<Host>,
}

impl Upkeep {
    pub(super) fn of(desk: &Desk) -> Upkeep {
        Upkeep {
            recorder: desk.recorder.clone(),
            teller: desk.teller.clone(),
            host: desk.host.clone(),
        }
    }

    /// Once; gives what is missing in the history now.
    fn look(&self, before: Option<Missing>) -> Option<Missing> {
        self.recorder.flush();
        self.teller.flush();
        for text in self.host.shortages().take_said() {
            self.teller.say(text);
        }
        let now = self.recorder.missing();
        if let Some(text) = changed(before.as_ref(), now.as_ref()) {
            // Behind the gap itself, and told.
            self.recorder.mark(text.clone());
            self.teller.say(text);
        }
        now
    }
}

/// What has become of the history since it was looked at before, where that is worth a sentence.
fn changed(before: Option<&Missing>, now: Option<&Missing>) -> Option<String> {
    let lost = |missing: Option<&Missing>| missing.map_or(0, |missing| missing.lost);
    let waits = |missing: Option<&Missing>| missing.is_some_and(|missing| missing.waiting > 0);
    match (waits(before), waits(now)) {
        (false, true) => {
            let why = now.map_or("", |missing| &missing.why);
            Some(format!(
                "the history cannot be written: {why}; its events wait"
            ))
        }
        (true, false) => Some(match lost(now) {
            0 => "the history is written again, and nothing of it is lost".to_owned(),
            lost => format!("the history is written again, and {lost} events of it are lost"),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::after::finding;

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
    fn explained(oracle: &str) -> (Vec<Shortage>, bool) {
        let short = ALL.into_iter();
        let short = short.filter(|&what| explains(&Unfit::Short(what, String::new()), oracle));
        let stalled = explains(&Unfit::Stalled(String::new()), oracle);
        (short.collect(), stalled)
    }

    #[test]
    fn each_oracle_is_explained_by_what_can_make_it_speak_and_by_nothing_else() {
        use Shortage::{Memory, OpenFilesOfHost, Quota, Space, Threads};
        for liveness in ["convergence", "service"] {
            assert_eq!(explained(liveness), (ALL.to_vec(), true));
        }
        for end in ["exit", "panic"] {
            let whole = vec![Space, Quota, OpenFilesOfHost, Memory, Threads];
            assert_eq!(explained(end), (whole, false));
        }
        assert_eq!(explained("trace"), (vec![Space, Quota], false));
        for proof in ["state-hash", "certificate"] {
            assert_eq!(explained(proof), (vec![], false));
        }
    }

    #[test]
    fn a_panic_for_want_of_something_is_a_finding_only_where_the_plan_took_it_away() {
        let dir = tempfile::tempdir().expect("a folder");
        let host = Host::watch(dir.path()).expect("a thread");
        let panicked =
            |why: &str| finding("panic", format!("n1: thread 'main' panicked at x: {why}"));
        let span = |fault| FaultSpan {
            fault,
            in_ns: 0,
            out_ns: None,
            remains: crate::nemesis::Remains::Perhaps,
        };
        let files = panicked("Too many open files (os error 24)");
        let limit = |of| span(Fault::Rlimit { who: 1, of });
        assert!(excuse(&files, &host, &[]).is_some());
        assert!(excuse(&files, &host, &[limit(LimitOf::FileSize)]).is_some());
        assert_eq!(excuse(&files, &host, &[limit(LimitOf::OpenFiles)]), None);
        assert_eq!(excuse(&panicked("a hole in the log"), &host, &[]), None);
        let full = panicked("No space left on device (os error 28)");
        let excused = excuse(&full, &host, &[]).expect("nobody took it away");
        assert!(
            excused.contains("no space left") && !excused.contains('\n'),
            "{excused}"
        );
    }

    #[test]
    fn a_shortage_that_was_noted_a_moment_ago_excuses_a_cluster_that_does_not_serve() {
        let dir = tempfile::tempdir().expect("a folder");
        let host = Host::watch(dir.path()).expect("a thread");
        let silent = finding("convergence", "n1 does not answer".into());
        let differ = finding("state-hash", "states differ".into());
        assert_eq!(excuse(&silent, &host, &[]), None, "the machine is fit");
        let shortages = host.shortages();
        shortages.add(Shortage::Ports, "a door", host::Cost::Delay, || "n1".into());
        let excused = excuse(&silent, &host, &[]).expect("there was no port");
        assert!(excused.contains("no free port") && excused.contains("n1 does not answer"));
        assert_eq!(
            excuse(&differ, &host, &[]),
            None,
            "no port makes states differ"
        );
    }

    #[test]
    fn what_becomes_of_the_history_is_said_once() {
        let missing = |waiting, lost| {
            let why = "the disk is full".to_owned();
            Some(Missing { waiting, lost, why })
        };
        let said = |before: Option<Missing>, now: Option<Missing>| {
            changed(before.as_ref(), now.as_ref()).unwrap_or_default()
        };
        assert_eq!(said(None, None), "");
        assert!(said(None, missing(9, 0)).contains("the disk is full"));
        assert_eq!(said(missing(9, 0), missing(20, 0)), "");
        assert!(said(missing(9, 0), None).contains("nothing of it is lost"));
        assert!(said(missing(9, 5), missing(0, 7)).contains("7 events of it are lost"));
        assert_eq!(said(missing(0, 7), missing(0, 7)), "");
    }
}
