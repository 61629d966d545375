//! What the screen costs: `cargo run --release --example frames`. It prints, each with its target:
//!
//! - the time of a frame at 120x40 in which every cell changes, of each screen, encoded as for a terminal: with little
//!   behind it and with a history of 1,000,000 operations loaded;
//! - how long a key waits for its frame while 5,000 operations a second are told;
//! - what the recorder's calls take with the screen and without, in turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checkers::generate::{Generator, Recipe};
use checkers::history::{self, Call, Header, Outcome};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::widgets::Paragraph;
use ratatui::{Terminal, TerminalOptions, Viewport};
use whitewater::fault::{By, Fault};
use whitewater::journal::{ChildState, Entry, Event, Load, NodeView, Phase, Progress, Role};
use whitewater::recorder::Recorder;
use whitewater::tui::keys::{self, Screen, Verb};
use whitewater::tui::theme::Theme;
use whitewater::tui::{App, Input, draw, update};

const COLUMNS: u16 = 120;
const ROWS: u16 = 40;
/// Frames of each screen.
const FRAMES: usize = 200;
/// Between two frames of the program.
const FRAME: Duration = Duration::from_millis(50);
/// Operations a second, where they are told at a pace.
const RATE: u64 = 5_000;
/// A round of the recorder's turns, and how many of each kind.
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

fn main() {
    println!("a frame at {COLUMNS}x{ROWS} in which every cell changes, {FRAMES} frames a screen");
    for (operations, target_ms) in [(2_000, 5.0), (1_000_000, 8.0)] {
        let mut app = loaded(operations);
        for screen in Screen::ALL {
            app.screen = screen;
            let mut times = frames(&mut app);
            let (median, worst) = (at(&mut times, 0.5), at(&mut times, 0.99));
            let name = screen.name();
            println!(
                "  {operations:>9} operations  {name:<8} p50 {median:>7.3} ms  p99 {worst:>7.3} ms  target {target_ms} ms  {}",
                met(worst <= target_ms)
            );
        }
    }
    keys_under_load();
    recorder_with_and_without();
}

fn met(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

/// The `share` quantile, in place.
fn at(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    times
        .get((last as f64 * share) as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The terminal's end of the encoder: bytes, counted and forgotten.
#[derive(Default)]
struct Sink(u64);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn terminal() -> Terminal<CrosstermBackend<Sink>> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, COLUMNS, ROWS));
    Terminal::with_options(
        CrosstermBackend::new(Sink::default()),
        TerminalOptions { viewport },
    )
    .expect("a sink takes everything")
}

/// Milliseconds of each frame: the clock's input, the drawing, the difference and its encoding.
fn frames(app: &mut App) -> Vec<f64> {
    let mut terminal = terminal();
    let blank = vec!["\u{2588}".repeat(usize::from(COLUMNS)); usize::from(ROWS)].join("\n");
    let mut times = Vec::new();
    let mut clock_ns = app.clock_ns;
    for _ in 0..FRAMES {
        let filled = terminal.draw(|frame| {
            frame.render_widget(Paragraph::new(blank.as_str()), frame.area());
        });
        filled.expect("a sink takes everything");
        clock_ns += FRAME.as_nanos() as u64;
        let begun = Instant::now();
        update(app, Input::Clock(clock_ns));
        terminal
            .draw(|frame| draw(app, frame))
            .expect("a sink takes everything");
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times
}

fn told(time_ns: u64, event: Event) -> Input {
    Input::Entry(Entry { time_ns, event })
}

fn events(operations: u64) -> Vec<history::Event> {
    let recipe = Recipe {
        ops: operations,
        clients: 50,
        keys: 5,
        ..Recipe::default()
    };
    Generator::new(recipe).collect()
}

/// A live run with so many operations told, nodes, and a fault.
fn loaded(operations: u64) -> App {
    let mut app = App::new(Theme::colourful());
    update(&mut app, Input::Size(COLUMNS, ROWS));
    let started = Event::Started {
        scenario: "rapids".to_owned(),
        seed: 7,
        nodes: vec![1, 2, 3],
        seconds: 0,
        load: Load {
            rate: 200,
            clients: 8,
            contended: 5,
        },
        defect: None,
        dir: "runs/bench".into(),
        again: String::new(),
    };
    update(&mut app, told(0, started));
    update(
        &mut app,
        told(
            0,
            Event::Phase {
                phase: Phase::Running,
            },
        ),
    );
    for id in 1..=3 {
        let node = NodeView {
            id,
            child: ChildState::Up,
            role: if id == 1 {
                Role::Leader
            } else {
                Role::Follower
            },
            term: 1,
            leader: Some(1),
            ..NodeView::default()
        };
        update(&mut app, told(0, Event::Node { node }));
    }
    let mut last_ns = 0;
    for event in events(operations) {
        last_ns = event.time_ns;
        update(&mut app, Input::Entry(Entry::from(event)));
    }
    let fault = Fault::Pause { who: 2 };
    update(
        &mut app,
        told(
            last_ns,
            Event::FaultIn {
                id: 1,
                fault,
                by: By::You,
                unpromised: false,
            },
        ),
    );
    let progress = Progress {
        proven_to: operations,
        open: 50,
        configurations: 5,
        gave_up: None,
    };
    update(&mut app, told(last_ns, Event::Progress { progress }));
    app
}

/// Tells operations at a pace and presses a key in every frame: what the key waits for.
fn keys_under_load() {
    let mut app = loaded(100_000);
    let mut terminal = terminal();
    let frames = 400;
    let more = events(RATE / 20 * frames);
    let mut more = more.into_iter();
    let base_ns = app.picture.time_ns;
    let mut times = Vec::new();
    let presses = [
        Verb::History,
        Verb::Live,
        Verb::Down,
        Verb::Charts,
        Verb::Verdict,
        Verb::Up,
    ];
    for frame in 0..frames {
        // Two events an operation. They are told just before the key is pressed: it waits for all of them.
        let batch: Vec<history::Event> = more.by_ref().take(2 * RATE as usize / 20).collect();
        let key = keys::binding(presses[frame as usize % presses.len()]).keys[0].event();
        let begun = Instant::now();
        for mut event in batch {
            event.time_ns += base_ns;
            update(&mut app, Input::Entry(Entry::from(event)));
        }
        update(&mut app, Input::Key(key));
        terminal
            .draw(|frame| draw(&app, frame))
            .expect("a sink takes everything");
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let (median, worst) = (at(&mut times, 0.5), at(&mut times, 0.99));
    println!(
        "a key's answer while {RATE} operations/s are told: p50 {median:.3} ms  p99 {worst:.3} ms  target one frame, 50 ms  {}",
        met(worst <= 50.0)
    );
}

/// The recorder's calls at a pace, with a thread that draws what it hears twenty times a second, and without.
fn recorder_with_and_without() {
    let mut with = Vec::new();
    let mut without = Vec::new();
    for _ in 0..ROUNDS {
        without.extend(recorded(false));
        with.extend(recorded(true));
    }
    println!(
        "a call of the recorder at {RATE} operations/s, in turns of {} s",
        ROUND.as_secs()
    );
    for (name, times) in [
        ("without the screen", &mut without),
        ("with the screen", &mut with),
    ] {
        println!(
            "  {name:<18} p50 {:>7.2} us  p99 {:>7.2} us  p99.9 {:>8.2} us",
            at(times, 0.5) * 1e3,
            at(times, 0.99) * 1e3,
            at(times, 0.999) * 1e3
        );
    }
}

/// Milliseconds of each call.
fn recorded(screen: bool) -> Vec<f64> {
    let dir = tempfile::tempdir().expect("a folder");
    let (tell, told) = sync_channel::<history::Event>(1 << 16);
    let over = Arc::new(AtomicBool::new(false));
    let lost = Arc::new(AtomicU64::new(0));
    let missed = lost.clone();
    let listener: whitewater::recorder::Listener = Box::new(move |event| {
        if screen && tell.try_send(event.clone()).is_err() {
            missed.fetch_add(1, Ordering::Relaxed);
        }
    });
    let file = dir.path().join("history.jsonl");
    let recorder = Recorder::create(&file, &Header::register(1), vec![listener]).expect("a file");
    let drawn = Arc::new(Mutex::new(told));
    let eyes = screen.then(|| {
        let (over, told) = (over.clone(), drawn.clone());
        std::thread::spawn(move || watch(&told.lock().expect("one thread reads"), &over))
    });
    let mut times = Vec::new();
    let begun = Instant::now();
    let mut count: u32 = 0;
    while begun.elapsed() < ROUND {
        let due = Duration::from_secs(1) / RATE as u32 * count;
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let value = i64::from(count);
        let call = Instant::now();
        let ticket = recorder.invoke(u64::from(count % 50), Some(1), "k1", Call::Write(value));
        times.push(call.elapsed().as_secs_f64() * 1e3);
        let call = Instant::now();
        recorder.complete(ticket, Some(1), Outcome::Ok(None), None, None);
        times.push(call.elapsed().as_secs_f64() * 1e3);
        count += 1;
    }
    over.store(true, Ordering::Relaxed);
    recorder.close();
    if let Some(eyes) = eyes {
        eyes.join().expect("drawing does not panic");
        let lost = lost.load(Ordering::Relaxed);
        assert_eq!(lost, 0, "the screen fell behind");
    }
    times
}

/// A screen: it drains what it is told and draws it, every frame, until it is over.
fn watch(told: &Receiver<history::Event>, over: &AtomicBool) {
    let mut app = loaded(10_000);
    let mut terminal = terminal();
    let base_ns = app.picture.time_ns;
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        for mut event in told.try_iter() {
            event.time_ns += base_ns;
            update(&mut app, Input::Entry(Entry::from(event)));
        }
        terminal
            .draw(|frame| draw(&app, frame))
            .expect("a sink takes everything");
        next += FRAME;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
