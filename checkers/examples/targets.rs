//! Measures the judge against its targets: `cargo run --release -p checkers --example targets [-- --quick] [--corpus DIR]`.
//!
//! Each case runs in a process of its own, so that its peak memory is its own (VmHWM of /proc/self/status), and says on
//! stdout what it measured; the table is made of that. What is generated is generated before the clock starts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use checkers::format::{binary, jsonl};
use checkers::generate::{Domain, Generator, Recipe, Violation};
use checkers::history::{Builder, Event, EventKind, History, KeyHistory, Kind, Outcome};
use checkers::linear::stream::{self, Read, Reading};
use checkers::linear::{self, Judgement, Options, judge_key, online::Online, zones};
use checkers::types;
use checkers::verdict::Algorithm;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as WglHistory};
use todc_utils::specifications::Specification;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--case", rest)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        return case(rest);
    }
    let mut quick = false;
    let mut corpus = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (argument.as_str(), rest.len()) {
            ("--quick", _) => quick = true,
            ("--corpus", 1..) => corpus = rest.next(),
            _ => {
                eprintln!("{argument}? This takes --quick and --corpus DIR");
                std::process::exit(64);
            }
        }
    }
    let folder = tempfile::tempdir().expect("a folder for files");
    println!(
        "{:<66} {:>10} {:>9} {:>9} {:>8}  target",
        "case", "seconds", "ns/op", "Mops/s", "B/op"
    );
    in_memory(quick);
    files(folder.path(), quick);
    side_by_side(quick);
    against_porcupine(quick);
    where_others_give_up(quick);
    jepsens_shape();
    online(quick);
    public_corpus(corpus.map(Path::new));
}

/// What a case said.
struct Measured {
    seconds: f64,
    cpu: f64,
    bytes: f64,
    ops: f64,
    said: String,
}

impl Measured {
    fn ns(&self) -> f64 {
        self.seconds * 1e9 / self.ops
    }

    fn row(&self, what: &str, target: &str, met: bool) {
        println!(
            "{what:<66} {:>10.4} {:>9.1} {:>9.2} {:>8.1}  {target}: {}  {}",
            self.seconds,
            self.ns(),
            self.ops / self.seconds / 1e6,
            self.bytes / self.ops,
            if met { "met" } else { "NOT MET" },
            self.said
        );
    }
}

/// Runs a case in a process of its own; nothing when it takes longer than `patience`.
fn measure(arguments: &[&str], patience: Duration) -> Option<Measured> {
    let program = std::env::current_exe().expect("the path of this program");
    let mut child = Command::new(program)
        .arg("--case")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process for the case");
    let started = Instant::now();
    while child.try_wait().expect("a child of ours").is_none() {
        if started.elapsed() > patience {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("a child of ours");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.trim().splitn(5, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<f64>().ok());
    let (seconds, cpu, bytes, ops) = (number()?, number()?, number()?, number()?);
    let said = words.next().unwrap_or_default().to_owned();
    Some(Measured {
        seconds,
        cpu,
        bytes,
        ops,
        said,
    })
}

const PATIENCE: Duration = Duration::from_secs(300);

fn must(arguments: &[&str]) -> Measured {
    measure(arguments, PATIENCE).unwrap_or_else(|| panic!("{arguments:?} did not end well"))
}

fn in_memory(quick: bool) {
    for ops in [1_000_000, 10_000_000] {
        if quick && ops > 1_000_000 {
            continue;
        }
        let recipe = format!("ops={ops},clients=100,pending=0.05,seed=1");
        let measured = must(&["zones", &recipe]);
        let bytes = measured.bytes / measured.ops;
        let met = measured.ns() <= 12.5 && bytes <= 48.0;
        let what = format!("zones, {ops} ops, 1 key, 100 clients, 5 % unknown");
        measured.row(&what, "80 Mops/s, 48 B/op (array made before)", met);
    }
}

fn files(folder: &Path, quick: bool) {
    let million = "ops=1000000,clients=100,pending=0.05,seed=1";
    let text = written(folder, "h.jsonl", million);
    let measured = must(&["check", &text, "2048"]);
    let met = measured.seconds < 0.6 && measured.bytes < 200e6;
    measured.row(
        "check, 1,000,000 ops of JSONL, everything included",
        "0.6 s, 200 MB",
        met,
    );
    let log = written(folder, "h.ww", million);
    let measured = must(&["check", &log, "2048"]);
    let met = measured.ops / measured.cpu >= 10e6;
    let what = "check, the same as binary log";
    measured.row(what, "10 Mops/s a core (of CPU time)", met);
    if !quick {
        let log = written(
            folder,
            "l.ww",
            "ops=10000000,clients=100,pending=0.01,seed=1",
        );
        let measured = must(&["check", &log, "200"]);
        let met = measured.bytes < 400e6;
        let what = "check, 10,000,000 ops as binary log, --memory 200";
        measured.row(what, "bounded: below 400 MB", met);
    }
}

/// Zones, frontier, depth first and another checker from the registry on the same histories.
fn side_by_side(quick: bool) {
    for (ops, clients) in [
        (1_000, 5),
        (1_000, 10),
        (1_000, 20),
        (10_000, 5),
        (10_000, 10),
    ] {
        if quick && ops > 1_000 {
            continue;
        }
        let recipe = format!("ops={ops},clients={clients},seed=3");
        let zones = must(&["judge", &recipe, "zones"]);
        for algorithm in ["zones", "frontier", "depth-first"] {
            let measured = must(&["judge", &recipe, algorithm]);
            let what = format!("{ops} ops, {clients} clients, unique: {algorithm}");
            measured.row(&what, "(same input)", true);
        }
        let what = format!("{ops} ops, {clients} clients, unique: todc-utils WGL 0.1.1");
        match measure(&["wgl", &recipe], Duration::from_secs(10)) {
            Some(measured) => {
                let target = format!("zones {:.0}x faster", measured.seconds / zones.seconds);
                measured.row(&what, &target, true);
            }
            None => println!("{what:<66}   gives up within 10 s"),
        }
    }
}

/// Porcupine's seconds and megabytes, quoted from CHECKERS.md (same machine, one key): not measured here.
const PORCUPINE: [(&str, f64, f64); 5] = [
    ("ops=100000,clients=5,seed=4", 6.3, 4300.0),
    ("ops=10000,clients=10,seed=4", 3.5, 1000.0),
    ("ops=10000,clients=5,pending=0.05,seed=4", 29.0, 6400.0),
    ("ops=10000,clients=10,cas=0.3,seed=4", 2.6, f64::NAN),
    ("ops=1000000,clients=100,keys=100,seed=4", 2.1, 1100.0),
];

fn against_porcupine(quick: bool) {
    for (recipe, seconds, megabytes) in PORCUPINE {
        if quick && recipe.starts_with("ops=1000000") {
            continue;
        }
        let measured = must(&["judge", recipe, "best"]);
        let times = seconds / measured.seconds;
        let less = megabytes * 1e6 / measured.bytes.max(1.0);
        // NaN where its memory was not measured.
        let met = times >= 100.0 && (less >= 20.0 || less.is_nan());
        let what = format!("{recipe} (Porcupine {seconds} s, {megabytes} MB, quoted)");
        let target = format!("100x, 1/20 of memory: {times:.0}x, 1/{less:.0}");
        measured.row(&what, &target, met);
    }
}

/// Rows in which Porcupine gives up (CHECKERS.md).
fn where_others_give_up(quick: bool) {
    let ops = if quick { 2_000 } else { 10_000 };
    for clients in [20, 50, 100] {
        for pending in [0.0, 0.01, 0.05, 0.2] {
            for rest in [
                "values=unique",
                "values=unique,cas=0.3",
                "values=unique,violate=stale-read",
                "values=small:5",
                "values=small:5,violate=stale-read",
                "values=small:5,cas=0.3",
                "values=small:50",
                "values=small:50,cas=0.3",
            ] {
                let recipe = format!("ops={ops},clients={clients},pending={pending},{rest},seed=2");
                let expected = match rest.contains("violate") {
                    true => "violation",
                    false => "holds",
                };
                match measure(&["judge", &recipe, "best"], Duration::from_secs(120)) {
                    Some(measured) => {
                        let right = measured.said.split(',').next() == Some(expected);
                        let met = right && measured.seconds < 10.0;
                        measured.row(&recipe, &format!("{expected} in 10 s"), met);
                    }
                    None => println!("{recipe:<66}   NOT MET: no answer within 120 s"),
                }
            }
        }
    }
}

fn jepsens_shape() {
    for clients in [10, 20] {
        let shape = format!("ops=10000,clients={clients},pending=0.05,values=jepsen,seed=1");
        let measured = must(&["judge", &shape, "best"]);
        let met = measured.ns() <= 1000.0 && measured.said.starts_with("holds");
        let what = format!("Jepsen's shape, 10,000 ops, {clients} clients, holds");
        measured.row(&what, "1 us/op", met);
        let shape = format!("ops=1000,clients={clients},pending=0.05,values=jepsen,seed=1");
        let measured = must(&["damaged", &shape]);
        let what = format!("Jepsen's shape, 1,000 damaged ops, {clients} clients, median of 20");
        measured.row(&what, "1 ms to a verdict", measured.seconds <= 1e-3);
    }
}

fn online(quick: bool) {
    let ops = if quick { 300_000 } else { 3_000_000 };
    for (values, ops, target) in [
        ("unique,cas=0.1", ops, 5e6),
        ("unique", ops, 5e6),
        // A delete ends the zones of its key: from there on it is a frontier's.
        ("unique,cas=0.1,delete=0.05", ops / 5, 5e4),
        ("unique,delete=0.05,pending=0.01", ops / 5, 5e4),
        ("small:1000000", ops / 5, 5e4),
    ] {
        let recipe = format!("ops={ops},clients=50,keys=5,pending=0.001,values={values},seed=1");
        let measured = must(&["online", &recipe]);
        let what = format!("online, {ops} ops, 5 keys, 50 clients, {values}");
        let wanted = format!("{} Mops/s", target / 1e6);
        measured.row(&what, &wanted, measured.ops / measured.seconds >= target);
    }
    for (values, ops) in [
        ("unique,cas=0.1", ops),
        ("unique,cas=0.1,delete=0.05", ops / 30),
        ("small:5", ops / 30),
    ] {
        let recipe = format!("ops={ops},clients=50,keys=5,pending=0.001,values={values},seed=1");
        let measured = must(&["pace", &recipe]);
        println!(
            "{:<66} {:>10.6} s  p99 below 0.05 s: {}  {}",
            format!("completion to verdict at 5,000 ops/s, {ops} ops, {values}"),
            measured.seconds,
            if measured.seconds < 0.05 {
                "met"
            } else {
                "NOT MET"
            },
            measured.said
        );
    }
}

/// Rows of public corpora, which are not ours to ship.
fn public_corpus(folder: Option<&Path>) {
    let Some(folder) = folder else {
        println!("the 102 Jepsen logs of etcd: 2 ms in all            needs --corpus DIR");
        println!("Knossos' own data set, 122 EDN files: 1 s each      needs --corpus DIR");
        return;
    };
    let mut folders = vec![folder.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder that can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "log" || e == "edn") {
                files.push(path);
            }
        }
    }
    files.sort();
    for file in files {
        let path = file.display().to_string();
        match measure(&["check", &path, "2048"], PATIENCE) {
            Some(measured) => measured.row(&path, "1 s", measured.seconds < 1.0),
            None => println!("{path:<66}   could not be read"),
        }
    }
}

// What follows runs in the process of a case.

fn case(arguments: &[String]) {
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    let recipe = || recipe(argument(1));
    match argument(0) {
        "write" => write(&recipe(), Path::new(argument(2))),
        "check" => check(argument(1), argument(2).parse().expect("megabytes")),
        "zones" => zones_of(&recipe()),
        "judge" => judge(&recipe(), argument(2)),
        "wgl" => wgl(&recipe()),
        "damaged" => damaged(&recipe()),
        "online" => feed(&recipe()),
        "pace" => pace(&recipe()),
        other => panic!("no such case: {other}"),
    }
}

/// A recipe out of `name=value` pairs.
fn recipe(text: &str) -> Recipe {
    let mut recipe = Recipe::default();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').expect("name=value");
        let number = || value.parse::<f64>().expect("a number");
        match name {
            "ops" => recipe.ops = number() as u64,
            "clients" => recipe.clients = number() as u64,
            "keys" => recipe.keys = number() as u64,
            "pending" => recipe.pending = number(),
            "cas" => recipe.cas = number(),
            "delete" => recipe.delete = number(),
            "seed" => recipe.seed = number() as u64,
            "values" if value == "jepsen" => {
                recipe.values = Domain::Small(5);
                // Reads one half, writes one sixth, cas one third.
                recipe.cas = 1.0 / 3.0;
                recipe.read = 0.75;
            }
            "values" => recipe.values = value.parse().expect("a domain"),
            "violate" => recipe.violate = Some(value.parse::<Violation>().expect("a violation")),
            other => panic!("no such part of a recipe: {other}"),
        }
    }
    recipe
}

fn say(seconds: f64, cpu: f64, bytes: u64, ops: u64, said: &str) {
    println!("{seconds} {cpu} {bytes} {ops} {said}");
}

/// A figure of /proc/self/status, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    kilobytes.and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Forgets the peak of memory so far; gives what is held now.
fn reset_peak() -> u64 {
    // Where the system does not allow it, peaks include what was prepared: too much rather than too little.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    status("VmRSS")
}

/// Seconds of processor time of all threads.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_ascii_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn written(folder: &Path, name: &str, recipe: &str) -> String {
    let path = folder.join(name).display().to_string();
    must(&["write", recipe, &path]);
    path
}

fn write(recipe: &Recipe, path: &Path) {
    let file = std::fs::File::create(path).expect("a file to write");
    let mut out = std::io::BufWriter::new(file);
    let events = Generator::new(recipe.clone());
    if path.extension().is_some_and(|extension| extension == "ww") {
        let mut writer = binary::Writer::new(out, &recipe.header()).expect("written");
        for event in events {
            writer.event(&event).expect("written");
        }
        writer.finish().expect("written");
    } else {
        jsonl::write_header(&mut out, &recipe.header()).expect("written");
        for event in events {
            jsonl::write_event(&mut out, &event).expect("written");
        }
        std::io::Write::flush(&mut out).expect("written");
    }
    say(0.0, 0.0, 0, recipe.ops, "");
}

/// What `check` does with a file.
fn check(path: &str, megabytes: u64) {
    let options = Options {
        memory: megabytes << 20,
        ..Options::default()
    };
    let (started, before) = (Instant::now(), cpu());
    let file = std::fs::File::open(path).expect("a file to read");
    let file = std::io::BufReader::with_capacity(1 << 16, file);
    let (ops, said) = match stream::read(file, path, &Reading::default(), &options) {
        Ok(Read::Whole(loaded)) => {
            let report = linear::check(&loaded.history, &options);
            let _ = loaded.history.lint();
            (report.ops, report.verdict.name().to_owned())
        }
        Ok(Read::Judged(streamed)) => (
            streamed.ops,
            format!("{}, streamed", streamed.verdict.name()),
        ),
        Ok(Read::Typed(loaded)) => {
            let report = types::check(loaded.of, &loaded.ops, &options);
            (report.ops, report.verdict.name().to_owned())
        }
        Err(error) => (1, error.to_string()),
    };
    let seconds = started.elapsed().as_secs_f64();
    let peak = status("VmHWM");
    let said = format!("{said}, {} MB", peak >> 20);
    say(seconds, cpu() - before, peak, ops, &said);
}

/// One key, without what only people want to know.
fn make_key(recipe: &Recipe) -> KeyHistory {
    let mut builder = Builder::new(recipe.header());
    for event in Generator::new(recipe.clone()) {
        builder
            .event(&event)
            .expect("the generator makes histories");
    }
    let mut history: History = builder.finish();
    history.keys.swap_remove(0)
}

fn zones_of(recipe: &Recipe) {
    let key = make_key(recipe);
    let held = reset_peak();
    let mut best = f64::MAX;
    for _ in 0..7 {
        let started = Instant::now();
        let found = zones::check(&key.ops, key.values.len(), key.events);
        best = best.min(started.elapsed().as_secs_f64());
        assert_eq!(found, zones::Zones::Holds);
    }
    let array = size_of_val(key.ops.as_slice()) as u64;
    let bytes = array + status("VmHWM").saturating_sub(held);
    say(best, best, bytes, recipe.ops, "best of 7");
}

fn judge(recipe: &Recipe, algorithm: &str) {
    let algorithm = match algorithm {
        "zones" => Some(Algorithm::Zones),
        "frontier" => Some(Algorithm::Frontier),
        "depth-first" => Some(Algorithm::DepthFirst),
        _ => None,
    };
    let events = Generator::new(recipe.clone());
    let mut builder = Builder::new(recipe.header());
    for event in events {
        builder
            .event(&event)
            .expect("the generator makes histories");
    }
    let history = builder.finish();
    let options = Options {
        algorithm,
        ..Options::default()
    };
    let held = reset_peak();
    let (started, before) = (Instant::now(), cpu());
    let judged: Vec<_> = history
        .keys
        .iter()
        .map(|key| judge_key(key, &options))
        .collect();
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu() - before);
    let array = history.len() * size_of::<checkers::history::Op>();
    let bytes = array as u64 + status("VmHWM").saturating_sub(held);
    let worst = judged
        .iter()
        .max_by_key(|report| report.judgement != Judgement::Holds)
        .expect("a key");
    let said = match worst.judgement {
        Judgement::Holds => "holds".to_owned(),
        Judgement::Fails => "violation".to_owned(),
        Judgement::Unknown { proven_to, .. } => {
            format!(
                "unknown, proven to {proven_to} of {}",
                history.keys[0].events
            )
        }
    };
    let said = format!(
        "{said}, {}, {} configurations, {cpu:.2} s of processor time",
        worst.algorithm.name(),
        worst.configurations
    );
    say(seconds, cpu, bytes, recipe.ops, &said);
}

/// A register for the other checker.
struct Register;

#[derive(Clone, Copy, Debug)]
enum Asked {
    Read(Option<i64>),
    Write(i64),
}

impl Specification for Register {
    type State = Option<i64>;
    type Operation = Asked;

    fn init() -> Self::State {
        None
    }

    fn apply(operation: &Asked, state: &Self::State) -> (bool, Self::State) {
        match operation {
            Asked::Read(found) => (found == state, *state),
            Asked::Write(value) => (true, Some(*value)),
        }
    }
}

fn wgl(recipe: &Recipe) {
    let mut actions = Vec::new();
    let mut open = vec![None; recipe.clients as usize];
    for event in Generator::new(recipe.clone()) {
        let client = event.client.expect("a client") as usize;
        match event.kind {
            EventKind::Invoke { call, .. } => {
                let asked = match call {
                    checkers::history::Call::Write(value) => Asked::Write(value),
                    _ => Asked::Read(None),
                };
                open[client] = Some(asked);
                actions.push((client, Action::Call(asked)));
            }
            EventKind::Complete { outcome, .. } => {
                let answered = match (open[client], outcome) {
                    (Some(Asked::Read(_)), Outcome::Ok(found)) => Asked::Read(found),
                    (Some(asked), _) => asked,
                    (None, _) => panic!("nothing was open"),
                };
                actions.push((client, Action::Response(answered)));
            }
            EventKind::Mark(_) | EventKind::Gap { .. } | EventKind::Typed(_) => {}
        }
    }
    let history = WglHistory::from_actions(actions);
    let held = reset_peak();
    let started = Instant::now();
    let holds = WGLChecker::<Register>::is_linearizable(history);
    let seconds = started.elapsed().as_secs_f64();
    let bytes = status("VmHWM").saturating_sub(held);
    say(
        seconds,
        seconds,
        bytes,
        recipe.ops,
        if holds { "holds" } else { "violation" },
    );
}

/// A tenth of the reads in the second half find another value than they did; the median time of twenty histories.
fn damaged(shape: &Recipe) {
    let mut times = Vec::new();
    let mut verdicts = [0, 0, 0];
    for seed in 0..20 {
        let mut key = make_key(&Recipe {
            seed,
            ..shape.clone()
        });
        let values = key.values.len() as u32;
        let reads = |op: &&mut checkers::history::Op| {
            op.kind == Kind::Read && op.end == checkers::history::End::Ok
        };
        // One alone often fits somewhere else among five values.
        let middle = key.ops.len() / 2;
        for op in key.ops[middle..].iter_mut().filter(reads).step_by(10) {
            op.value = op.value % (values - 1) + 1;
        }
        let started = Instant::now();
        let judged = judge_key(&key, &Options::default());
        times.push(started.elapsed().as_secs_f64());
        verdicts[match judged.judgement {
            Judgement::Holds => 0,
            Judgement::Fails => 1,
            Judgement::Unknown { .. } => 2,
        }] += 1;
    }
    times.sort_by(f64::total_cmp);
    let [holds, fails, unknown] = verdicts;
    let said = format!(
        "{holds} hold all the same, {fails} violations, {unknown} unknown; longest {:.4} s",
        times[19]
    );
    say(times[10], times[10], 0, shape.ops, &said);
}

/// The online checker, as fast as it goes: processor time of this thread. Generated in pieces that stay in the cache,
/// as events do that have just come, and so that what it holds is its own.
fn feed(recipe: &Recipe) {
    let mut events = Generator::new(recipe.clone());
    let mut judge = Online::new(Options::default());
    let mut time = Duration::ZERO;
    let (mut held, mut paces, mut before) = (Vec::new(), Vec::new(), Duration::ZERO);
    let mut piece: Vec<Event> = Vec::new();
    let (mut pushed, tenth) = (0, recipe.ops / 5);
    loop {
        piece.clear();
        piece.extend(events.by_ref().take(1_000));
        if piece.is_empty() {
            break;
        }
        let started = thread_time();
        for event in &piece {
            assert!(judge.push(event).is_none(), "a false alarm");
        }
        time += thread_time() - started;
        pushed += piece.len() as u64;
        if pushed / tenth > held.len() as u64 {
            held.push(format!("{:.1}", status("VmRSS") as f64 / (1 << 20) as f64));
            let nanoseconds = (time - before).as_nanos() / u128::from(recipe.ops / 10).max(1);
            paces.push(nanoseconds.to_string());
            before = time;
        }
    }
    let seconds = time.as_secs_f64();
    let said = format!(
        "MB held after each tenth: {}; ns/op in it: {}",
        held.join(" "),
        paces.join(" ")
    );
    say(seconds, seconds, status("VmHWM"), recipe.ops, &said);
}

/// The processor time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Events come at 5,000 operations a second, and each waits until those before it are judged: the time from a
/// completion to its verdict. The waiting is reckoned, not done: the work of each event is measured.
fn pace(recipe: &Recipe) {
    const GAP: f64 = 1.0 / 10_000.0;
    let mut judge = Online::new(Options::default());
    let mut delays = Vec::with_capacity(recipe.ops as usize);
    let (mut arrives, mut ready) = (0.0, 0.0);
    for event in Generator::new(recipe.clone()) {
        arrives += GAP;
        let started = Instant::now();
        assert!(judge.push(&event).is_none(), "a false alarm");
        ready = f64::max(arrives, ready) + started.elapsed().as_secs_f64();
        if matches!(event.kind, EventKind::Complete { .. }) {
            delays.push(ready - arrives);
        }
    }
    delays.sort_by(f64::total_cmp);
    let p99 = delays[delays.len() * 99 / 100];
    let said = format!("longest {:.6} s", delays[delays.len() - 1]);
    say(p99, p99, status("VmHWM"), recipe.ops, &said);
}
