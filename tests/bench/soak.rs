//! How often a correct store is accused: many short runs of it, while its nodes crash again and again, half of them where
//! connections have only a few hundred ports, and runs as everybody has them. Prints a line a run and a count, and exits
//! 1 when anything was found or a clean run did not hold.
//!
//! ```text
//! cargo run --release --example soak -- [--crashes 40] [--clean 25] [--seed 1]
//! ```
//!
//! The few ports are those of a network namespace (unshare(1), as root or, where that is allowed, as any user), which is
//! gone with its run. This program is also the bench that it starts, so it is never another version.

use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Two of five nodes are killed whenever they are up for a moment: their ports go to each other and to connections.
const CRASH_LOOPS: &str = r#"
name = "crash-loops"
about = "two of five nodes crash whenever they are up for a moment"
nodes = 5
seconds = 10
clients = 6
rate = 100
keys = { contended = 5, wide = 20 }
mix = { read = 50, write = 35, cas = 10, delete = 5 }

[[opening]]
at_ms = 500
for_ms = 9000
faults = [
  { fault = "kill-loop", who = "n4", up_ms = 120 },
  { fault = "kill-loop", who = "n5", up_ms = 170 },
]
"#;

/// The fewest ports that a run gets, and how many more at most.
const PORTS: (u64, u64) = (600, 301);

/// What to do.
#[derive(Clone, Copy)]
struct Asked {
    crashes: u64,
    clean: u64,
    seed: u64,
}

fn main() -> ExitCode {
    // What a run starts, and what its nodes are, is this program, too.
    if let Some("run" | "node") = std::env::args().nth(1).as_deref() {
        return ExitCode::from(whitewater::cli::main());
    }
    match asked().and_then(soak) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("soak: {why:#}");
            ExitCode::from(64)
        }
    }
}

fn asked() -> anyhow::Result<Asked> {
    let mut asked = Asked {
        crashes: 40,
        clean: 25,
        seed: 1,
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let number = args.next().map(|number| number.parse::<u64>());
        let Some(Ok(number)) = number else {
            anyhow::bail!("{flag} needs a number");
        };
        match flag.as_str() {
            "--crashes" => asked.crashes = number,
            "--clean" => asked.clean = number,
            "--seed" => asked.seed = number,
            _ => anyhow::bail!("{flag} is not known: there are --crashes, --clean, --seed"),
        }
    }
    Ok(asked)
}

/// All runs, one after the other; whether nothing was found and every clean one held.
fn soak(asked: Asked) -> anyhow::Result<bool> {
    let dir = tempfile::tempdir()?;
    let loops = dir.path().join("crash-loops.toml");
    std::fs::write(&loops, CRASH_LOOPS)?;
    let loops = loops.to_string_lossy().into_owned();
    println!("scenario       seed  ports  exit  verdict       late ms  what");
    let mut crashes = Count::default();
    for run in 0..asked.crashes {
        let seed = asked.seed + run;
        // Both kinds of crash with many ports and with few.
        let scenario = ["rolling-crash", &loops][(run % 2) as usize];
        let few = (run / 2 % 2 == 1).then(|| PORTS.0 + seed * 37 % PORTS.1);
        crashes.add(&Ended::of(scenario, seed, 10, few, dir.path())?);
    }
    let mut clean = Count::default();
    for run in 0..asked.clean {
        clean.add(&Ended::of(
            "rapids",
            asked.seed + run,
            20,
            None,
            dir.path(),
        )?);
    }
    println!("{} runs of crashes: {}", asked.crashes, crashes.words());
    println!("{} clean runs: {}", asked.clean, clean.words());
    Ok(crashes.found == 0 && clean.held == asked.clean)
}

/// What runs came to.
#[derive(Default)]
struct Count {
    held: u64,
    found: u64,
    by_the_trace: u64,
    blame_a_port: u64,
    bench_errors: u64,
}

impl Count {
    fn add(&mut self, run: &Ended) {
        println!("{}", run.line());
        self.held += u64::from(run.exit == 0);
        self.found += u64::from(run.exit == 1);
        self.bench_errors += u64::from(run.exit == 70);
        let findings = || run.findings.iter();
        self.by_the_trace += u64::from(findings().any(|(oracle, _)| oracle == "trace"));
        let port = |evidence: &str| evidence.contains("ddress") || evidence.contains("port");
        self.blame_a_port += u64::from(findings().any(|(_, evidence)| port(evidence)));
    }

    fn words(&self) -> String {
        format!(
            "{} held, {} found something ({} by the trace, {} that blame a port), {} errors of the bench",
            self.held, self.found, self.by_the_trace, self.blame_a_port, self.bench_errors
        )
    }
}

/// How one run ended.
struct Ended {
    scenario: String,
    seed: u64,
    ports: Option<u64>,
    exit: i32,
    verdict: String,
    late_ms: u64,
    /// Oracle and evidence.
    findings: Vec<(String, String)>,
    bench_errors: Vec<String>,
}

/// A run that goes on; it ends with this program.
struct Going(Child);

impl Drop for Going {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // In order, so that nothing of it is left; its nodes see its end in any case.
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

impl Ended {
    /// Runs it to its end.
    fn of(
        scenario: &str,
        seed: u64,
        seconds: u64,
        ports: Option<u64>,
        dir: &std::path::Path,
    ) -> anyhow::Result<Ended> {
        let out = dir.join("runs");
        let mut command = command(ports)?;
        command
            .args(["run", scenario, "--json", "--seed", &seed.to_string()])
            .args(["--time", &seconds.to_string(), "--out"])
            .arg(&out);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut going = Going(command.spawn()?);
        let mut said = String::new();
        let stdout = going.0.stdout.as_mut().expect("it is a pipe");
        std::io::Read::read_to_string(stdout, &mut said)?;
        let status = going.0.wait()?;
        // What a finding would need is printed; many runs fill a disk.
        std::fs::remove_dir_all(&out).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let object: Value = serde_json::from_str(&said).unwrap_or_default();
        let texts = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let finding = |one: &Value| (text(&one["oracle"]), text(&one["evidence"]));
        Ok(Ended {
            scenario: text(&object["scenario"]),
            seed,
            ports,
            exit: status.code().unwrap_or(-1),
            verdict: text(&object["verdict"]),
            late_ms: object["coverage"]["late_ms"].as_u64().unwrap_or(0),
            findings: texts(&object["findings"]).iter().map(finding).collect(),
            bench_errors: texts(&object["bench_errors"]).iter().map(text).collect(),
        })
    }

    fn line(&self) -> String {
        let ports = self.ports.map_or("-".to_owned(), |ports| ports.to_string());
        let found = self.findings.iter();
        let found = found.map(|(oracle, evidence)| format!("{oracle}: {evidence}"));
        let all: Vec<String> = found.chain(self.bench_errors.iter().cloned()).collect();
        let Ended {
            scenario,
            seed,
            exit,
            verdict,
            late_ms,
            ..
        } = self;
        format!(
            "{scenario:<14} {seed:>4}  {ports:>5}  {exit:>4}  {verdict:<12}  {late_ms:>7}  {}",
            all.join("; ")
        )
    }
}

/// This program; where ports are to be few, in a network of its own that has so many.
fn command(ports: Option<u64>) -> anyhow::Result<Command> {
    let me = std::env::current_exe()?;
    let Some(ports) = ports else {
        return Ok(Command::new(me));
    };
    let root = rustix::process::geteuid().is_root();
    let flags: &[&str] = if root { &["-n"] } else { &["-r", "-n"] };
    let script = format!(
        "ip link set lo up && echo 20000 {} > /proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" \"$@\"",
        19_999 + ports
    );
    let mut command = Command::new("unshare");
    command.args(flags).args(["sh", "-c", &script]).arg(me);
    Ok(command)
}
