//! What records and tells in a run: history, judge, notices and counts. It is there before the first child and after
//! the last.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use checkers::history::Header;
use checkers::verdict::Counterexample;
use tokio::sync::{mpsc, oneshot};

use super::Setup;
use super::coverage::Coverage;
use super::ending::{Ending, FaultSpan};
use super::fitness;
use super::folder::{self, Kept, Teller};
use super::notice::{Finding, Notice, Phase, Progress, Told, not_linearizable};
use super::watch::Watch;
use crate::fault::FaultId;
use crate::host::Host;
use crate::judge::{Judge, SoFar};
use crate::recorder::{self, Recorder};

/// Of the screen's queue so many places are kept for notices: more than a run tells while its screen is stuck.
const PLACES_FOR_NOTICES: usize = 1 << 13;

/// What records and tells: it exists before the first child and after the last.
pub(super) struct Desk {
    pub(super) dir: PathBuf,
    pub(super) teller: Teller,
    pub(super) recorder: Arc<Recorder>,
    /// Where the run keeps what it does, so that it can be run again.
    pub(super) kept: Arc<Kept>,
    pub(super) coverage: Arc<Mutex<Coverage>>,
    pub(super) judge: Judge,
    pub(super) spans: Arc<Mutex<BTreeMap<FaultId, FaultSpan>>>,
    pub(super) watch: Watch,
    /// The machine under the run.
    pub(super) host: Arc<Host>,
    /// What was last told of the verdict so far.
    said: Mutex<Option<Progress>>,
}

impl Desk {
    /// Makes the run's folder and everything in it; gives also what rings at the first violation.
    pub(super) fn open(
        setup: &Setup,
        screen: mpsc::Sender<Told>,
        behind: Arc<AtomicU64>,
    ) -> Result<(Desk, oneshot::Receiver<Box<Counterexample>>), String> {
        let resolved = &setup.resolved;
        // Before anything is made: a machine that cannot carry the run is left as it was.
        let warnings = fitness::before(setup).map_err(|e| e.to_string())?;
        let dir =
            folder::create(&setup.out, &resolved.scenario.name, resolved.seed).map_err(|e| {
                format!(
                    "could not make a folder for the run in {}: {e}",
                    setup.out.display()
                )
            })?;
        let wrong = |e: std::io::Error| format!("could not write in {}: {e}", dir.display());
        let host = Host::watch(&dir).map_err(|e| format!("could not watch this machine: {e}"))?;
        let kept = Kept::new(&dir);
        kept.keep(resolved).map_err(wrong)?;

        let (ring, alarm) = oneshot::channel();
        let found = setup.found.clone();
        let (judge, feed) = Judge::start(Box::new(move |counterexample| {
            found.note(|| not_linearizable(counterexample));
            // Nobody listens any more where the run is over already; the verdict says the same.
            let _ = ring.send(Box::new(counterexample.clone()));
        }));
        let coverage = Arc::new(Mutex::new(Coverage::of(resolved.scenario.clients)));
        let counted = coverage.clone();
        let (to_screen, missed) = (screen.clone(), behind.clone());
        let listeners: Vec<recorder::Listener> = vec![
            Box::new(move |event| feed.push(event)),
            Box::new(move |event| {
                counted
                    .lock()
                    .expect("nobody panics while counting")
                    .event(event)
            }),
            Box::new(move |event| {
                // A screen that falls behind loses operations, never what is said about them: notices have their places.
                let full = to_screen.capacity() < PLACES_FOR_NOTICES;
                if full || to_screen.try_send(Told::Event(event.clone())).is_err() {
                    missed.fetch_add(1, Ordering::Relaxed);
                }
            }),
        ];
        // No generator of the workload writes a value twice.
        let header = Header::register(resolved.seed).with_unique_values();
        let recorder =
            Recorder::create(&dir.join("history.jsonl"), &header, listeners).map_err(wrong)?;
        let recorder = Arc::new(recorder);
        let (counts, found) = (coverage.clone(), setup.found.clone());
        let teller =
            Teller::new(&dir, recorder.clone(), counts, found, screen, behind).map_err(wrong)?;
        let watch = Watch::new(teller.clone(), recorder.clone());
        for warning in warnings {
            teller.say(warning);
        }
        Ok((
            Desk {
                dir,
                teller,
                recorder,
                kept: Arc::new(kept),
                coverage,
                judge,
                spans: Arc::default(),
                watch,
                host: Arc::new(host),
                said: Mutex::default(),
            },
            alarm,
        ))
    }

    /// A phase begins.
    pub(super) fn phase(&self, phase: Phase) {
        self.recorder.mark(format!("phase {phase}"));
        self.teller.tell(Notice::Phase { phase });
    }

    /// Tells the verdict so far, where it has changed.
    pub(super) fn tell_progress(&self) {
        let SoFar {
            proven_to,
            open,
            worlds,
            gave_up,
            ..
        } = self.judge.so_far();
        let progress = Progress {
            proven_to,
            open,
            worlds,
            gave_up,
        };
        let mut said = self.said.lock().expect("nobody panics while telling");
        if said.as_ref() != Some(&progress) {
            *said = Some(progress.clone());
            self.teller.tell(Notice::Progress { progress });
        }
    }

    /// An oracle other than the history's has found something: told once, however often it is found. Where the machine
    /// explains it, it accuses nobody.
    pub(super) fn found(&self, ending: &mut Ending, finding: Finding) {
        if ending.findings.iter().any(|known| known.is_same(&finding)) {
            return;
        }
        let spans = self.spans.lock().expect("nobody panics while listing");
        let spans: Vec<FaultSpan> = spans.values().cloned().collect();
        if let Some(excuse) = fitness::excuse(&finding, &self.host, &spans) {
            self.bench_error(ending, excuse);
            return;
        }
        self.teller.tell(Notice::Found {
            finding: finding.clone(),
        });
        ending.findings.push(finding);
    }

    /// The bench or its host has failed: said at once, and once.
    pub(super) fn bench_error(&self, ending: &mut Ending, text: String) {
        if !ending.bench_errors.contains(&text) {
            self.teller.say(text.clone());
            ending.bench_errors.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::after::{finding, states_differ};
    use crate::scenario::{Changes, Scenario};

    #[test]
    fn a_finding_is_told_once_however_often_it_is_found() {
        let out = tempfile::tempdir().unwrap();
        let changes = Changes::default();
        let resolved = Scenario::find("calm").unwrap().resolve(&changes, 1, None);
        let setup = Setup {
            given: "calm".to_owned(),
            resolved: resolved.unwrap(),
            changes,
            out: out.path().to_owned(),
            hold: true,
            drill: None,
            direct: false,
            found: crate::run::Found::default(),
        };
        let (screen, mut told) = mpsc::channel(1 << 14);
        let (desk, _alarm) = Desk::open(&setup, screen, Arc::default()).unwrap();
        let mut ending = Ending::of(setup.resolved.clone(), setup.again());
        for look in 0..40 {
            // The sentence is another one at another instant, and the finding the same.
            let states = format!("states of n1 and n3 differ at applied log id 2/{look}");
            desk.found(&mut ending, states_differ(states));
            desk.found(
                &mut ending,
                finding("panic", "n1: thread 'raft' panicked".to_owned()),
            );
        }
        desk.found(
            &mut ending,
            finding("panic", "n2: thread 'raft' panicked".to_owned()),
        );
        let oracles = ending.findings.iter().map(|found| found.oracle.as_str());
        let expected = ["state-hash", "panic", "panic"];
        assert_eq!(oracles.collect::<Vec<_>>(), expected);
        assert!(
            ending.findings[0].evidence.ends_with("2/0"),
            "the first one is told"
        );
        let written = std::fs::read_to_string(desk.dir.join("notices.jsonl")).unwrap();
        assert_eq!(written.matches("\"found\"").count(), expected.len());
        let mut shown = 0;
        while let Ok(Told::Notice { notice, .. }) = told.try_recv() {
            shown += usize::from(matches!(notice, Notice::Found { .. }));
        }
        assert_eq!(shown, expected.len());
        desk.recorder.close();
        drop(desk.judge.finish());
    }
}
