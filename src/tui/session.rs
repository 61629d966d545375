//! The event loop: what wakes the screen, in this order: keys, what the run says, the frame clock, signals.
//!
//! A key is drawn at once. What the run says is drained and drawn with the next frame, at most twenty a second, and
//! none when nothing changed. The run's queue is bounded and it never waits for us: what we miss, it counts.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::crossterm::event::Event;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::app::{Action, App, Input};
use super::input::Keys;
use super::picker::{Choice, Pick, Picker, Recipe};
use super::signals::{Signals, Woken};
use super::terminal::{self, Taken, is_possible};
use super::theme::{ColorChoice, Environment, Theme};
use super::update::update;
use crate::journal::{self, Entry, RunResult};
use crate::run::{self, Command, Drill, Handle, Scenario, Setup};

/// Between two frames.
const FRAME: Duration = Duration::from_millis(50);
/// The most facts that are folded before keys are looked at again.
const BATCH: usize = 4096;
/// An end that takes longer than this is spoken of.
const SAID_AFTER: Duration = Duration::from_millis(200);
/// How long a stop of the program waits for the workload to be quiet.
const QUIET: Duration = Duration::from_millis(500);
/// Interrupted before anything was found.
const INTERRUPTED: u8 = crate::exit::Exit::Interrupted.code();
/// How much of a node's log is read for its card.
const LOG_TAIL: u64 = 64 * 1024;

/// How the screen shall look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--color`.
    pub color: ColorChoice,
    /// `--ascii`.
    pub ascii: bool,
    /// Leave the mouse to the terminal.
    pub no_mouse: bool,
    /// Say what happens, a sentence at a time, for somebody who sees it for the first time.
    pub tour: bool,
}

/// Starts a run and shows it until the person leaves; then ends it and gives how it ended. When another run was picked
/// on the screen, it is that one's ending, and `before` has those of the runs before it; what it says is shown.
///
/// A screen that fails is a bench error of the run, which is ended in order all the same. A terminal that is gone is none:
/// whoever looked has left.
///
/// # Errors
/// Where the run could not begin.
pub fn run(
    setup: Setup,
    options: Options,
    mut before: impl FnMut(&RunResult) -> Option<String>,
) -> anyhow::Result<RunResult> {
    let mut session = Session::new(options);
    session.app.picker.recipes = recipes(&setup);
    whose(&mut session.app.picker, &setup);
    session.app.picker.clients = setup.changes.clients;
    session.app.picker.keys = setup.changes.keys;
    session.app.lacks = setup.changes.lacks.clone();
    session.app.tour = options.tour;
    session.app.picker.defects = run::DEFECTS
        .iter()
        .map(|defect| defect.name.to_owned())
        .collect();
    on_a_runtime(async {
        let mut signals = Signals::new().context("could not listen to signals")?;
        let mut live = Live::start(setup);
        let shown = session.show(&mut live, &mut signals, &mut before).await;
        // The terminal is ours no more: what follows is said on the normal screen.
        let mut ending = live.end(&mut signals).await;
        if let Err(why) = shown
            && is_possible()
        {
            ending
                .bench_errors
                .push(format!("the screen failed: {why:#}"));
        }
        Ok(ending)
    })?
}

/// Shows a finished run until the person leaves, or the terminal is gone.
///
/// # Errors
/// Where the terminal cannot be used.
pub fn replay(entries: Vec<Entry>, options: Options) -> anyhow::Result<()> {
    let mut session = Session::new(options);
    session.app = App::replaying(session.app.theme, entries);
    let shown = on_a_runtime(session.show_replay())?;
    shown.or_else(|why| if is_possible() { Err(why) } else { Ok(()) })
}

fn on_a_runtime<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(future);
    // A read of the keyboard may still wait in a thread of its own: nobody waits for it.
    runtime.shutdown_background();
    Ok(result)
}

/// The systems to choose from, and the one that the command line has chosen.
fn whose(picker: &mut Picker, setup: &Setup) {
    let tested = setup.changes.target.as_ref().map(|target| &target.tested);
    let offered = run::offered(tested.map(|tested| tested.target.as_str()));
    let choice = |offered: run::Offered| Choice {
        name: offered.name,
        modes: offered.modes,
        install: offered.program.err(),
    };
    picker.targets = offered.into_iter().map(choice).collect();
    let Some(tested) = tested else {
        return;
    };
    let mut targets = picker.targets.iter_mut();
    if let Some(at) = targets.position(|choice| choice.name == tested.target) {
        let choice = &mut picker.targets[at];
        // A run of it goes on.
        choice.install = None;
        let mode = choice.modes.iter().position(|mode| *mode == tested.mode);
        (picker.target, picker.mode) = (at + 1, mode.unwrap_or_default());
    }
}

/// The scenarios that can be picked: those about a system only where that was chosen for them.
fn recipes(setup: &Setup) -> Vec<Recipe> {
    let target = setup.changes.target.as_ref();
    let subject = target.and_then(|target| target.subject.as_ref());
    let fits =
        |scenario: &Scenario| scenario.system.is_none() || scenario.system.as_ref() == subject;
    let recipe = |s: Scenario| Recipe {
        name: s.name,
        about: s.about,
        seconds: s.seconds,
        nodes: s.nodes,
        clients: s.clients,
        keys: s.keys.contended,
    };
    let all = Scenario::built_in().into_iter();
    all.filter(fits).map(recipe).collect()
}

/// A run and what it says, apart, so that one can be awaited while the other is asked.
struct Live {
    handle: Handle,
    entries: mpsc::Receiver<Entry>,
    setup: Setup,
}

impl Live {
    fn start(setup: Setup) -> Live {
        let mut handle = run::start(setup.clone());
        let entries = std::mem::replace(&mut handle.entries, mpsc::channel(1).1);
        Live {
            handle,
            entries,
            setup,
        }
    }

    /// What was picked, with the command line's changes. A system's program is asked for its version: not on this thread.
    async fn setup_of(&self, pick: Pick) -> anyhow::Result<Setup> {
        let Pick {
            scenario,
            seed,
            target,
            defect,
            clients,
            keys,
        } = pick;
        let picked = run::Picked {
            seed,
            defect,
            target,
            clients,
            keys,
        };
        let setup = self.setup.clone();
        let made = tokio::task::spawn_blocking(move || setup.picked(&scenario, picked)).await;
        Ok(made.context("could not look for the system")??)
    }

    /// Ends the run in order and waits until no child is left. A signal meanwhile is the second one: it skips the grace.
    /// A hangup is not, since a terminal that is closed may send several.
    async fn end(mut self, signals: &mut Signals) -> RunResult {
        self.handle.send(Command::Stop);
        let began = Instant::now();
        let mut batch = Vec::with_capacity(BATCH);
        let mut said = false;
        let late = tokio::time::sleep(SAID_AFTER);
        tokio::pin!(late);
        loop {
            tokio::select! {
                biased;
                // Also a run that says nothing more is one that somebody waits for.
                () = &mut late, if !said => {
                    said = true;
                    let _ = writeln!(std::io::stderr(), "ending the run; Ctrl-C ends it at once");
                }
                woken = signals.next() => {
                    if matches!(woken, Woken::End) && began.elapsed() > run::ONE_WISH {
                        self.setup.found.end(INTERRUPTED);
                    }
                }
                count = self.entries.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        // The run's last sender is gone: its thread has nothing more to do.
                        return self.handle.join();
                    }
                    batch.clear();
                }
            }
        }
    }
}

struct Session {
    app: App,
    options: Options,
    began: Instant,
    /// Where the panic hook finds the run's folder.
    dir: Arc<Mutex<PathBuf>>,
    /// Something changed since the last frame.
    dirty: bool,
    drawn_second: u64,
}

/// What the loop does after an input.
enum Next {
    Stay,
    Leave,
    Start(Pick),
}

impl Session {
    fn new(options: Options) -> Session {
        let theme = Theme::new(options.color, options.ascii, &Environment::of_process());
        Session {
            app: App::new(theme),
            options,
            began: Instant::now(),
            dir: Arc::default(),
            dirty: true,
            drawn_second: 0,
        }
    }

    /// Shows runs until the person leaves; the last one is still to be ended.
    async fn show(
        &mut self,
        live: &mut Live,
        signals: &mut Signals,
        before: &mut dyn FnMut(&RunResult) -> Option<String>,
    ) -> anyhow::Result<()> {
        terminal::give_back_on_panic(self.dir.clone());
        let mut screen =
            Taken::take(!self.options.no_mouse).context("could not use the terminal")?;
        self.resize(&screen)?;
        let mut keys = Keys::read().context("could not read keys")?;
        let mut frame = tokio::time::interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(BATCH);
        let mut over = false;
        let mut picked: Option<Setup> = None;
        loop {
            let next = tokio::select! {
                biased;
                event = keys.next() => match event {
                    Some(event) => self.event(event?, &mut screen, Some(&mut *live)).await?,
                    // The terminal is gone: nobody looks, and nobody can press a key.
                    None => Next::Leave,
                },
                count = live.entries.recv_many(&mut batch, BATCH), if !over => {
                    over = count == 0;
                    for entry in batch.drain(..) {
                        self.remember(&entry.event, live.setup.drill);
                        self.input(Input::Entry(entry));
                    }
                    if over {
                        self.without_an_end();
                    }
                    Next::Stay
                }
                _ = frame.tick() => {
                    let behind = live.handle.behind();
                    if behind != self.app.behind {
                        self.input(Input::Behind(behind));
                    }
                    let action = self.tick(&mut screen)?;
                    self.act(action, &mut screen, Some(&mut *live)).await?
                }
                woken = signals.next() => self.signal(woken, &mut screen, Some(&mut *live)).await?,
            };
            match next {
                Next::Stay => {}
                Next::Leave => return Ok(()),
                Next::Start(pick) => match live.setup_of(pick.clone()).await {
                    Ok(setup) => {
                        live.handle.send(Command::Stop);
                        picked = Some(setup);
                    }
                    // The run that goes on is not ended for one that cannot begin.
                    Err(why) => {
                        self.input(Input::Say(format!("{}: {why}", pick.scenario)));
                    }
                },
            }
            if over && let Some(setup) = picked.take() {
                let ending = self.again(live, setup);
                if let Some(said) = before(&ending) {
                    self.input(Input::Say(said));
                }
                over = false;
            }
        }
    }

    /// The run has said its last word. When that was no ending, it failed before it had a folder to say it in.
    fn without_an_end(&mut self) {
        if self.app.picture.is_live() && self.app.frozen.is_none() {
            let text = "the run ended before it began; q leaves and says why".to_owned();
            let time_ns = self.app.picture.time_ns;
            self.app.picture.bench_error = Some(text.clone());
            let event = journal::Event::BenchError { text };
            self.input(Input::Entry(Entry { time_ns, event }));
        }
    }

    async fn show_replay(&mut self) -> anyhow::Result<()> {
        terminal::give_back_on_panic(self.dir.clone());
        let mut signals = Signals::new().context("could not listen to signals")?;
        let mut screen =
            Taken::take(!self.options.no_mouse).context("could not use the terminal")?;
        self.resize(&screen)?;
        let mut keys = Keys::read().context("could not read keys")?;
        let mut frame = tokio::time::interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let next = tokio::select! {
                biased;
                event = keys.next() => match event {
                    Some(event) => self.event(event?, &mut screen, None).await?,
                    None => Next::Leave,
                },
                _ = frame.tick() => {
                    let playing = self.app.replay.as_ref().is_some_and(|replay| replay.playing);
                    self.dirty |= playing;
                    let action = self.tick(&mut screen)?;
                    self.act(action, &mut screen, None).await?
                }
                woken = signals.next() => self.signal(woken, &mut screen, None).await?,
            };
            if matches!(next, Next::Leave) {
                return Ok(());
            }
        }
    }

    /// The panic hook needs to know where the run's folder is.
    fn remember(&self, event: &journal::Event, drill: Option<Drill>) {
        if let Some(drill) = drill {
            drill.on_the_screen(event);
        }
        if let journal::Event::Started { dir, .. } = event
            && let Ok(mut known) = self.dir.lock()
        {
            known.clone_from(dir);
        }
    }

    fn clock(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn input(&mut self, input: Input) -> Option<Action> {
        self.dirty = true;
        update(&mut self.app, input)
    }

    fn resize(&mut self, screen: &Taken) -> anyhow::Result<()> {
        let (columns, rows) = screen.size()?;
        self.input(Input::Size(columns, rows));
        Ok(())
    }

    /// A key, a click, a new size: answered and drawn at once.
    async fn event(
        &mut self,
        event: Event,
        screen: &mut Taken,
        live: Option<&mut Live>,
    ) -> anyhow::Result<Next> {
        let clock_ns = self.clock();
        update(&mut self.app, Input::Clock(clock_ns));
        let action = match event {
            Event::Key(key) => self.input(Input::Key(key)),
            Event::Mouse(mouse) => self.input(Input::Mouse(mouse)),
            Event::Resize(columns, rows) => self.input(Input::Size(columns, rows)),
            Event::FocusGained | Event::FocusLost | Event::Paste(_) => None,
        };
        let next = self.act(action, screen, live).await?;
        if matches!(next, Next::Stay | Next::Start(_)) {
            self.draw(screen)?;
        }
        Ok(next)
    }

    /// One frame: the clock goes on, and what changed is drawn. When nothing did, only each new second is.
    fn tick(&mut self, screen: &mut Taken) -> anyhow::Result<Option<Action>> {
        let flashing = self.app.flashing().is_some();
        let clock_ns = self.clock();
        let action = update(&mut self.app, Input::Clock(clock_ns));
        let second = self.app.now_ns / 1_000_000_000;
        self.dirty |= second != self.drawn_second || flashing != self.app.flashing().is_some();
        self.drawn_second = second;
        if self.dirty {
            self.draw(screen)?;
        }
        Ok(action)
    }

    fn draw(&mut self, screen: &mut Taken) -> anyhow::Result<()> {
        self.dirty = false;
        screen.draw(&self.app).context("could not draw")
    }

    async fn act(
        &mut self,
        action: Option<Action>,
        screen: &mut Taken,
        live: Option<&mut Live>,
    ) -> anyhow::Result<Next> {
        match action {
            None => {}
            Some(Action::Send(commands)) => {
                for command in commands {
                    if let Some(live) = &live {
                        live.handle.send(command);
                    }
                }
            }
            Some(Action::Leave) => return Ok(Next::Leave),
            Some(Action::Start(pick)) => return Ok(Next::Start(pick)),
            Some(Action::Suspend) => self.suspend(screen, live).await?,
            Some(Action::Copy(text)) => screen.whisper(&terminal::clipboard(&text))?,
            Some(Action::ReadLog(node)) => {
                let path = self
                    .app
                    .picture
                    .dir
                    .join("nodes")
                    .join(node.to_string())
                    .join("log");
                let lines = log_tail(&path).unwrap_or_default();
                self.input(Input::Log(node, lines));
            }
        }
        Ok(Next::Stay)
    }

    async fn signal(
        &mut self,
        woken: Woken,
        screen: &mut Taken,
        live: Option<&mut Live>,
    ) -> anyhow::Result<Next> {
        match woken {
            Woken::End | Woken::HungUp => return Ok(Next::Leave),
            Woken::Stop => self.suspend(screen, live).await?,
            // Stopped by SIGSTOP and continued: the terminal may have been used meanwhile.
            Woken::GoOn => {
                screen.again()?;
                self.dirty = true;
            }
        }
        Ok(Next::Stay)
    }

    /// Gives the terminal back, holds the workload, stops, and goes on where it was when the shell continues us. The
    /// workload's time stands meanwhile.
    async fn suspend(
        &mut self,
        screen: &mut Taken,
        mut live: Option<&mut Live>,
    ) -> anyhow::Result<()> {
        terminal::give_back();
        let ours = !self.app.present().workload_paused && self.app.is_live();
        if let Some(live) = live.as_mut().filter(|_| ours) {
            live.handle.send(Command::HoldWorkload(true));
            // The run's thread stops with us: it has to hear of it first, and what is asked has to be answered.
            let quiet = async {
                while !self.is_quiet() {
                    match live.entries.recv().await {
                        Some(entry) => self.input(Input::Entry(entry)),
                        None => break,
                    };
                }
            };
            // A cluster that answers nobody does not keep a person from the shell.
            let _ = tokio::time::timeout(QUIET, quiet).await;
        }
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        screen.again()?;
        if let Some(live) = live.filter(|_| ours) {
            live.handle.send(Command::HoldWorkload(false));
        }
        self.resize(screen)
    }

    /// Whether the workload is held and no operation is open.
    fn is_quiet(&self) -> bool {
        let frozen = self.app.frozen.is_some();
        self.app.present().workload_paused && (frozen || self.app.picture.progress.open == 0)
    }

    /// Starts what was picked, now that the run before has ended; gives how that one did.
    fn again(&mut self, live: &mut Live, setup: Setup) -> RunResult {
        // The channel is closed: the old run's thread has ended or is about to, without children.
        let lacks = setup.changes.lacks.clone();
        let before = std::mem::replace(live, Live::start(setup));
        self.input(Input::NewRun);
        self.app.lacks = lacks;
        before.handle.join()
    }
}

/// The last lines of a log.
fn log_tail(path: &Path) -> std::io::Result<Vec<String>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may be cut in two, unless it is the file's first.
    let skip = usize::from(length > LOG_TAIL);
    Ok(text.lines().skip(skip).map(str::to_owned).collect())
}
