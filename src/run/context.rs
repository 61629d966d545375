//! What records and logs in a run: history, judge and journal. It is there before the first child and after the last.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use checkers::history::Header;
use checkers::verdict::Counterexample;
use tokio::sync::{mpsc, oneshot};

use super::Setup;
use super::fitness;
use super::watch::Watch;
use crate::host::Host;
use crate::journal::{
    self, Entry, Event, EventLog, Kept, Listener, Opened, Phase, Progress, ResultFold,
    not_linearizable,
};
use crate::judge::{Judge, SoFar};
use crate::oracle::Finding;
use crate::oracle::blame::{self, Around, Blame};
use crate::recorder::Recorder;
use crate::scenario::Tested;

/// Of the screen's queue so many places are kept for what is not the history: more than a run logs while its screen is
/// stuck.
const PLACES_FOR_EVENTS: usize = 1 << 13;

/// What records and logs: it exists before the first child and after the last.
pub(super) struct RunContext {
    pub(super) dir: PathBuf,
    pub(super) log: EventLog,
    pub(super) recorder: Arc<Recorder>,
    /// What the run does, so that it can be run again.
    pub(super) kept: Arc<Kept>,
    pub(super) judge: Judge,
    pub(super) watch: Watch,
    /// The machine under the run.
    pub(super) host: Arc<Host>,
    /// Whether somebody else's programs are tested, which are as they are.
    unmodified: bool,
    /// What was last logged of the verdict so far.
    logged: Mutex<Option<Progress>>,
}

/// What rings at the first violation.
pub(super) type Bell = oneshot::Receiver<Box<Counterexample>>;

impl RunContext {
    /// Makes the run's folder and everything in it; gives also what rings at the first violation.
    pub(super) fn open(
        setup: &Setup,
        screen: mpsc::Sender<Entry>,
        behind: Arc<AtomicU64>,
    ) -> Result<(RunContext, Bell), String> {
        let resolved = &setup.resolved;
        // Before anything is made: a machine that cannot carry the run is left as it was.
        let warnings = fitness::before(setup).map_err(|e| e.to_string())?;
        let dir =
            journal::create(&setup.out, &resolved.scenario.name, resolved.seed).map_err(|e| {
                format!(
                    "could not make a folder for the run in {}: {e}",
                    setup.out.display()
                )
            })?;
        let wrong = |e: std::io::Error| format!("could not write in {}: {e}", dir.display());
        let host = Host::watch(&dir).map_err(|e| format!("could not watch this machine: {e}"))?;
        let kept = Kept::new(&dir, resolved.clone()).map_err(wrong)?;

        let (ring, bell) = oneshot::channel();
        let found = setup.found.clone();
        // Whether a violation is what a mode is documented to show is known when it has its name, at the end.
        let tested = resolved.tested.as_ref();
        let of = tested.and_then(Tested::of);
        let weak = tested.is_some_and(|tested| !tested.expect.is_empty());
        let (judge, feed) = Judge::start(
            of,
            Box::new(move |counterexample| {
                if !weak {
                    found.note(|| not_linearizable(counterexample));
                }
                // Nobody listens any more where the run is over already; the verdict says the same.
                let _ = ring.send(Box::new(counterexample.clone()));
            }),
        );
        let found = setup.found.clone();
        let listeners: Vec<Listener> = vec![
            Box::new(move |entry| {
                let documented = weak && matches!(entry.event, Event::Alarm { .. });
                if let Some(what) = entry.event.what_was_found().filter(|_| !documented) {
                    found.note(|| what);
                }
            }),
            to_screen(screen, behind),
        ];
        let fold = ResultFold::of(resolved.clone());
        let opened = Opened::new(&dir, fold, listeners).map_err(wrong)?;
        let register = Header::register(resolved.seed);
        let header = match of {
            // No generator of the workload writes a value twice.
            None => register.with_unique_values(),
            Some(of) => Header {
                spec: of.name().to_owned(),
                ..register
            },
        };
        let hears: Vec<_> = vec![
            Box::new(move |event: &_| feed.push(event)) as crate::recorder::Listener,
            opened.hears(),
        ];
        let recorder =
            Recorder::create(&dir.join("history.jsonl"), &header, hears).map_err(wrong)?;
        let recorder = Arc::new(recorder);
        let log = opened.on_the_clock_of(recorder.clone());
        let watch = Watch::new(log.clone(), recorder.clone());
        for text in warnings.into_iter().chain(resolved.left_out.clone()) {
            log.say(text);
        }
        Ok((
            RunContext {
                dir,
                log,
                recorder,
                kept: Arc::new(kept),
                judge,
                watch,
                host: Arc::new(host),
                unmodified: resolved.tested.is_some(),
                logged: Mutex::default(),
            },
            bell,
        ))
    }

    /// A phase begins.
    pub(super) fn phase(&self, phase: Phase) {
        self.recorder.mark(format!("phase {phase}"));
        self.log.log(Event::Phase { phase });
    }

    /// Logs the verdict so far, where it has changed.
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
            configurations: worlds,
            gave_up,
        };
        let mut logged = self.logged.lock().expect("nobody panics while logging");
        if logged.as_ref() != Some(&progress) {
            *logged = Some(progress.clone());
            self.log.log(Event::Progress { progress });
        }
    }

    /// An oracle other than the history's has found something: logged once, however often it is found, where it accuses the
    /// system under test.
    pub(super) fn found(&self, finding: Finding) {
        self.found_after(finding, &self.around());
    }

    /// What is around at any time.
    pub(super) fn around(&self) -> Around {
        Around {
            unmodified: self.unmodified,
            ..Around::default()
        }
    }

    /// The same of what was found after everything was healed, with what was around.
    pub(super) fn found_after(&self, finding: Finding, around: &Around) {
        let (known, faults) = self.log.so_far(|fold| {
            let mut known = fold.findings().iter();
            (known.any(|known| known.is_same(&finding)), fold.faults())
        });
        if known {
            return;
        }
        match blame::of(&finding, &self.host.unfit(), &faults, around) {
            Blame::Nobody => self.log.say(finding.evidence.to_string()),
            Blame::Bench(why) => self.bench_error(why),
            Blame::System => self.log.log(Event::Found { finding }),
        }
    }

    /// The bench or its host has failed: logged at once, and once.
    pub(super) fn bench_error(&self, text: String) {
        if !self.log.so_far(|fold| fold.has_failed_in(&text)) {
            self.log.log(Event::BenchError { text });
        }
    }
}

/// Hands everything on to a screen. One that falls behind loses operations, never what is said about them: that has its
/// places.
fn to_screen(screen: mpsc::Sender<Entry>, behind: Arc<AtomicU64>) -> Listener {
    Box::new(move |entry| {
        let full = match entry.event {
            // There may be thousands in a second, and no screen shows them.
            Event::Message(_) => return,
            Event::History(_) => screen.capacity() < PLACES_FOR_EVENTS,
            _ => false,
        };
        if full || screen.try_send(entry.clone()).is_err() {
            behind.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::state_hash::tests::differ;
    use crate::oracle::tests::panicked;
    use crate::oracle::{Evidence, Oracle};
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
        let (screen, mut entries) = mpsc::channel(1 << 14);
        let (context, _bell) = RunContext::open(&setup, screen, Arc::default()).unwrap();
        for look in 0..40 {
            // The sentence is another one at another instant, and the finding the same.
            let states = Evidence::StateHash(differ(look));
            context.found(states.into());
            context.found(panicked(1, "a hole").into());
        }
        context.found(panicked(2, "a hole").into());
        let findings = context.log.so_far(|fold| fold.findings().to_vec());
        let oracles = findings.iter().map(|found| found.oracle());
        let expected = [Oracle::StateHash, Oracle::Panic, Oracle::Panic];
        assert_eq!(oracles.collect::<Vec<_>>(), expected);
        assert_eq!(
            findings[0].evidence,
            Evidence::StateHash(differ(0)),
            "the first one is told"
        );
        assert_eq!(journal::found_in(&context.dir).len(), expected.len());
        let mut shown = 0;
        while let Ok(entry) = entries.try_recv() {
            shown += usize::from(matches!(entry.event, Event::Found { .. }));
        }
        assert_eq!(shown, expected.len());
        context.recorder.close();
        drop(context.judge.finish());
    }
}
