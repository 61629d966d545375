//! `whitewater check`: histories from files, folders or stdin, each with its verdict.
//!
//! A folder whose subfolders are all named linearizable, violating, unknown or malformed is a corpus: the names are
//! the expected verdicts, and only a mismatch is a failure.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use checkers::anomaly::{self, Anomaly};
use checkers::explain;
use checkers::format::{self, Format, Loaded};
use checkers::history::{History, LIST_APPEND, Lint, Names, Nil};
use checkers::linear::explanation::explanation;
use checkers::linear::stream::{self, Read};
use checkers::linear::{self, Options};
use checkers::verdict::Verdict;
use clap::{Args, ValueEnum};
use rayon::prelude::*;
use serde_json::json;

use super::Usage;
use super::gather::{self, Gathered};
use super::out::{Out, worst};

/// What `check` takes.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files, folders, or - for stdin. A folder whose subfolders are named linearizable, violating, unknown and
    /// malformed is a corpus: each name is the expected verdict.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The format: auto, or one of `whitewater list formats`.
    #[arg(long, default_value = "auto")]
    format: String,
    /// The sequential machine that the histories must be of: register or list-append. Each file says its own.
    #[arg(long)]
    spec: Option<String>,
    /// What an ok read of nil means: the key was absent (checked), or nothing. Each format has its own default.
    #[arg(long)]
    nil: Option<NilArg>,
    /// Take failed cas at their word, as Knossos does: "the value was not what you expect" is an answer, too. Only for
    /// histories in which a cas fails by comparison alone: one that was refused for another reason would be accused.
    #[arg(long)]
    strict: bool,
    /// One JSON object a file on stdout, and nothing else.
    #[arg(long)]
    json: bool,
    /// Draw the counterexample and say why, what would have been legal and what was kept; for what holds, an order.
    #[arg(long)]
    explain: bool,
    /// Threads.
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Megabytes that a history may hold, and one key's search. A longer one is judged on its way instead;
    /// its keys and its different texts stay, whatever they take.
    #[arg(long, value_name = "MB", default_value_t = 2048, value_parser = clap::value_parser!(u64).range(1..))]
    memory: u64,
    /// Configurations that one key's search may visit before the verdict is unknown. A file's header may pin its own.
    #[arg(long, value_name = "CONFIGURATIONS")]
    budget: Option<u64>,
    /// Write the verdicts as JUnit XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Take a corpus as any folder: its names mean nothing.
    #[arg(long)]
    no_expect: bool,
}

/// What a read of nil means.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum NilArg {
    /// The key was absent.
    Absent,
    /// Nothing: such a read is legal anywhere.
    Any,
}

/// A file to check, and the verdict that its folder promises.
#[derive(Debug)]
struct Item {
    path: PathBuf,
    expected: Option<&'static str>,
    /// Several files that are one history, and what is to be said of that.
    gathered: Option<Gathered>,
}

impl Item {
    fn of(path: &Path, expected: Option<&'static str>) -> Self {
        Self {
            path: path.to_owned(),
            expected,
            gathered: None,
        }
    }
}

/// Adds a history that was gathered, once.
fn add_gathered(gathered: Gathered, expected: Option<&'static str>, items: &mut Vec<Item>) {
    if !items.iter().any(|item| item.path == gathered.path) {
        items.push(Item {
            path: gathered.path.clone(),
            expected,
            gathered: Some(gathered),
        });
    }
}

/// The folders of a corpus, and the verdicts that they promise.
const FOLDERS: [(&str, &str); 4] = [
    ("linearizable", "linearizable"),
    ("violating", "violation"),
    ("unknown", "unknown"),
    ("malformed", "malformed"),
];

/// What came of one file.
struct Checked {
    path: String,
    expected: Option<&'static str>,
    seconds: f64,
    notes: Vec<String>,
    came: Came,
}

/// What is left of a history that was judged.
struct Judged {
    verdict: Verdict,
    /// What a violation is called.
    anomaly: Option<Anomaly>,
    ops: u64,
    keys: u64,
    algorithm: &'static str,
    names: Names,
    lints: Vec<Lint>,
    /// With `--explain`: as data, and as sentences.
    explained: Option<(serde_json::Value, String)>,
}

enum Came {
    /// It was no history.
    Malformed(String),
    Judged(Box<Judged>),
}

/// Checks what the arguments name, and gives the exit code: the worst of all files.
///
/// # Errors
/// When the arguments make no sense or a file can't be read.
pub(crate) fn run(args: &CheckArgs, out: &mut Out) -> anyhow::Result<u8> {
    let format = match args.format.as_str() {
        "auto" => None,
        name => Some(
            name.parse::<Format>()
                .map_err(|error| Usage(error.to_string()))?,
        ),
    };
    if let Some(spec) = &args.spec
        && !["register", LIST_APPEND].contains(&spec.as_str())
    {
        return Err(Usage(format!(
            "spec {spec:?} is not known; known: register, {LIST_APPEND}"
        ))
        .into());
    }
    let mut items = Vec::new();
    for path in &args.paths {
        let before = items.len();
        collect(path, args.no_expect, &mut items)?;
        if items.len() == before {
            return Err(Usage(format!("{}: no file to check in it", path.display())).into());
        }
    }
    if let Some(jobs) = args.jobs {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs.get());
        pool.build_global().context("could not start the threads")?;
    }
    let bar = progress_bar(items.len());
    let checked: Vec<Checked> = items
        .par_iter()
        .map(|item| {
            let checked = check(item, args, format);
            bar.inc(1);
            checked
        })
        .collect::<anyhow::Result<_>>()?;
    bar.finish_and_clear();
    for one in &checked {
        out.print(|out| match args.json {
            true => {
                serde_json::to_writer(&mut *out, &one.json())?;
                writeln!(out)
            }
            false => one.print(out, args.explain),
        });
    }
    if !args.json && checked.len() > 1 {
        out.print(|out| summary(out, &checked));
    }
    if let Some(path) = &args.junit {
        let written =
            File::create(path).and_then(|file| junit(&mut io::BufWriter::new(file), &checked));
        if let Err(error) = written {
            out.failed(format_args!("could not write {}: {error}", path.display()));
        }
    }
    Ok(checked.iter().map(Checked::code).fold(0, worst))
}

/// A bar over the files, where stderr is a terminal and there is something to wait for.
fn progress_bar(files: usize) -> indicatif::ProgressBar {
    if files > 1 && io::stderr().is_terminal() {
        indicatif::ProgressBar::new(files as u64)
    } else {
        indicatif::ProgressBar::hidden()
    }
}

/// Finds the files that a path stands for.
fn collect(path: &Path, no_expect: bool, items: &mut Vec<Item>) -> anyhow::Result<()> {
    if let Some(gathered) = gather::file(path) {
        add_gathered(gathered, None, items);
        return Ok(());
    }
    if path.as_os_str() == "-" || path.is_file() {
        items.push(Item::of(path, None));
        return Ok(());
    }
    if !path.exists() {
        return Err(Usage(format!("{}: no such file or folder", path.display())).into());
    }
    // A run's folder: what is beside its history is none.
    let history = path.join("history.jsonl");
    if history.is_file() && path.join("scenario.toml").is_file() {
        items.push(Item::of(&history, None));
        return Ok(());
    }
    if let Some(gathered) = gather::folder(path) {
        add_gathered(gathered, None, items);
        return Ok(());
    }
    let children = children(path)?;
    let folders: Vec<&PathBuf> = children.iter().filter(|child| child.is_dir()).collect();
    let promise = |folder: &Path| {
        let name = folder.file_name()?.to_str()?;
        FOLDERS
            .iter()
            .find(|known| known.0 == name)
            .map(|known| known.1)
    };
    let corpus = !no_expect && !folders.is_empty() && folders.iter().all(|f| promise(f).is_some());
    for child in &children {
        if child.is_dir() {
            let expected = if corpus { promise(child) } else { None };
            collect_all(child, expected, items)?;
        } else if !corpus {
            collect_all(child, None, items)?;
        }
    }
    Ok(())
}

/// All files below a path, but what is hidden or a README.
fn collect_all(
    path: &Path,
    expected: Option<&'static str>,
    items: &mut Vec<Item>,
) -> anyhow::Result<()> {
    if let Some(gathered) = gather::folder(path) {
        add_gathered(gathered, expected, items);
    } else if path.is_dir() {
        for child in children(path)? {
            collect_all(&child, expected, items)?;
        }
    } else {
        items.push(Item::of(path, expected));
    }
    Ok(())
}

fn children(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let say = || format!("could not list {}", folder.display());
    let mut children = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(say)? {
        let path = entry.with_context(say)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') && !name.starts_with("README") && !gather::is_alias(&path) {
            children.push(path);
        }
    }
    children.sort();
    Ok(children)
}

/// Reads and judges one file.
fn check(item: &Item, args: &CheckArgs, format: Option<Format>) -> anyhow::Result<Checked> {
    let started = Instant::now();
    let name = match item.path.as_os_str() == "-" {
        true => "stdin".to_owned(),
        false => item.path.display().to_string(),
    };
    let input: Box<dyn io::Read> = if item.path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else if let Some(gathered) = &item.gathered {
        gather::open(&gathered.parts).with_context(|| format!("could not open {name}"))?
    } else {
        let file = File::open(&item.path);
        Box::new(file.with_context(|| format!("could not open {name}"))?)
    };
    let nil = args.nil.map(|nil| match nil {
        NilArg::Absent => Nil::Absent,
        NilArg::Any => Nil::Any,
    });
    let input = BufReader::with_capacity(1 << 16, input);
    let options = Options {
        budget: args.budget.unwrap_or(Options::default().budget),
        memory: args.memory << 20,
        ..Options::default()
    };
    let read = stream::read(input, &name, format, nil, &options, args.budget.is_some());
    let (notes, came) = match read {
        Ok(Read::Whole(loaded)) => {
            let Loaded { history, notes } = *loaded;
            let pinned = history.header.budget.filter(|_| args.budget.is_none());
            let options = Options {
                budget: pinned.unwrap_or(options.budget),
                ..options
            };
            is_of(&name, &history.header.spec, args.spec.as_deref())?;
            let mut report = linear::check(&history, &options);
            if args.strict && report.verdict.holds() {
                report.verdict = linear::strict::check(&history, &options);
            }
            let explained = args.explain.then(|| {
                let explained = explanation(&history, &report, &options);
                (json!(explained), explain::more(&explained, &history))
            });
            let mut notes = notes;
            if report.verdict.holds() {
                let little = history.shows_little().into_iter();
                notes.extend(little.map(|note| format!("{name}: {note}")));
            }
            let judged = Judged {
                explained,
                anomaly: named(&report.verdict, Some(&history)),
                verdict: report.verdict,
                ops: report.ops,
                keys: history.keys.len() as u64,
                algorithm: report.algorithm.name(),
                lints: history.lint(),
                names: history.names,
            };
            (notes, Came::Judged(Box::new(judged)))
        }
        Ok(Read::Judged(_)) if args.strict => {
            let why = "is too long to be held, and --strict needs all of it: allow more --memory";
            return Err(Usage(format!("{name} {why}")).into());
        }
        Ok(Read::Judged(streamed)) => {
            is_of(&name, &streamed.spec, args.spec.as_deref())?;
            let judged = Judged {
                anomaly: named(&streamed.verdict, None),
                verdict: streamed.verdict,
                ops: streamed.ops,
                keys: streamed.keys,
                algorithm: "online",
                explained: None,
                lints: Vec::new(),
                names: streamed.names,
            };
            (streamed.notes, Came::Judged(Box::new(judged)))
        }
        Err(error @ format::Error::Malformed { .. }) => malformed(error, item),
        Err(error) => return Err(error.into()),
    };
    let mut notes = notes;
    if let Some(gathered) = &item.gathered {
        notes.insert(0, format!("{name}: {}", gathered.note));
    }
    Ok(Checked {
        path: name,
        expected: item.expected,
        seconds: started.elapsed().as_secs_f64(),
        notes,
        came,
    })
}

/// What a violation is called.
fn named(verdict: &Verdict, history: Option<&History>) -> Option<Anomaly> {
    match verdict {
        Verdict::Violation(found) => Some(anomaly::of(found, history)),
        Verdict::Linearizable | Verdict::Unknown(_) => None,
    }
}

/// What is said of a file that is no history: of several, in which of them.
fn malformed(mut error: format::Error, item: &Item) -> (Vec<String>, Came) {
    let parts = item
        .gathered
        .as_ref()
        .map_or(&[][..], |gathered| &gathered.parts);
    let mut notes = Vec::new();
    if let format::Error::Malformed {
        name, line, advice, ..
    } = &mut error
    {
        if let Some((part, there)) = gather::part_of(parts, *line) {
            *name = part.display().to_string();
            *line = there;
        }
        notes.extend(advice.take());
    }
    (notes, Came::Malformed(error.to_string()))
}

/// Whether a file is a history of the spec that was asked for, where one was.
fn is_of(name: &str, own: &str, wanted: Option<&str>) -> Result<(), Usage> {
    match wanted {
        Some(wanted) if wanted != own => Err(Usage(format!(
            "{name} is a history of {own}, not of {wanted}"
        ))),
        _ => Ok(()),
    }
}

impl Checked {
    fn verdict(&self) -> &'static str {
        match &self.came {
            Came::Malformed(_) => "malformed",
            Came::Judged(judged) => judged.verdict.name(),
        }
    }

    /// Whether it came out as its folder promises; without a promise, always.
    fn as_expected(&self) -> bool {
        self.expected
            .is_none_or(|expected| expected == self.verdict())
    }

    fn code(&self) -> u8 {
        match (self.expected, self.verdict()) {
            (Some(_), _) if self.as_expected() => 0,
            (Some(_), _) => 1,
            (None, "violation") => 1,
            (None, "malformed") => 65,
            (None, "unknown") => 2,
            _ => 0,
        }
    }

    fn json(&self) -> serde_json::Value {
        let mut object = json!({
            "path": self.path,
            "verdict": self.verdict(),
            "seconds": self.seconds,
        });
        let mut put = |name: &str, value: serde_json::Value| object[name] = value;
        match &self.came {
            Came::Malformed(reason) => {
                put("ops", json!(0));
                put("keys", json!(0));
                put("algorithm", json!(null));
                put("counterexample", json!([]));
                put("reason", json!(reason));
            }
            Came::Judged(judged) => {
                put("ops", json!(judged.ops));
                put("keys", json!(judged.keys));
                put("algorithm", json!(judged.algorithm));
                put("counterexample", json!([]));
                match &judged.verdict {
                    Verdict::Linearizable => {}
                    Verdict::Violation(found) => {
                        put("anomaly", json!(judged.anomaly));
                        put("counterexample", json!(found.operations));
                        put("key", json!(found.key));
                        put("order", json!(found.order));
                        put("culprit", json!(found.culprit));
                        put("why", json!(found.why));
                        put("event", json!(found.event));
                        put("staleness", json!(found.staleness));
                    }
                    Verdict::Unknown(reason) => put("reason", json!(reason)),
                }
                put("lints", json!(judged.lints));
                if let Some((explained, _)) = &judged.explained {
                    put("explanation", explained.clone());
                }
            }
        }
        put("notes", json!(self.notes));
        if let Some(expected) = self.expected {
            put("expected", json!(expected));
        }
        if let Came::Judged(judged) = &self.came {
            judged.names.restore(&mut object);
        }
        object
    }

    fn print(&self, out: &mut impl Write, explain: bool) -> io::Result<()> {
        let surprise = match self.expected {
            Some(expected) if !self.as_expected() => format!("  EXPECTED {expected}"),
            _ => String::new(),
        };
        match &self.came {
            Came::Malformed(reason) => writeln!(out, "malformed     {reason}{surprise}")?,
            Came::Judged(judged) => {
                writeln!(
                    out,
                    "{:<13} {}  {} ops, {} keys, {:.3} s, {}{surprise}",
                    self.verdict(),
                    self.path,
                    judged.ops,
                    judged.keys,
                    self.seconds,
                    judged.algorithm,
                )?;
                match &judged.verdict {
                    Verdict::Unknown(reason) => writeln!(out, "  {reason}")?,
                    Verdict::Violation(found) if explain || self.expected.is_none() => {
                        if let Some(anomaly) = judged.anomaly {
                            writeln!(out, "  {anomaly}: {}", anomaly.about())?;
                        }
                        for line in explain::text(found, Some(&judged.names)).lines() {
                            writeln!(out, "  {line}")?;
                        }
                    }
                    Verdict::Violation(_) | Verdict::Linearizable => {}
                }
                let sentences = judged.explained.iter().filter(|_| explain);
                for line in sentences.flat_map(|(_, text)| text.lines()) {
                    writeln!(out, "  {line}")?;
                }
                for lint in &judged.lints {
                    writeln!(out, "  note: {lint}")?;
                }
            }
        }
        for note in &self.notes {
            writeln!(out, "  note: {note}")?;
        }
        Ok(())
    }
}

fn summary(out: &mut impl Write, checked: &[Checked]) -> io::Result<()> {
    let count = |verdict| {
        checked
            .iter()
            .filter(|one| one.verdict() == verdict)
            .count()
    };
    let surprises = checked.iter().filter(|one| !one.as_expected()).count();
    write!(
        out,
        "{} files: {} linearizable, {} violation, {} unknown, {} malformed",
        checked.len(),
        count("linearizable"),
        count("violation"),
        count("unknown"),
        count("malformed"),
    )?;
    if checked.iter().any(|one| one.expected.is_some()) {
        write!(out, "; {surprises} not as their folder says")?;
    }
    writeln!(out)
}

/// The verdicts as JUnit XML: a test case a file, failed where the exit code would not be 0.
fn junit(out: &mut impl Write, checked: &[Checked]) -> io::Result<()> {
    let failures = checked.iter().filter(|one| one.code() != 0).count();
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuite name="whitewater check" tests="{}" failures="{failures}">"#,
        checked.len()
    )?;
    for one in checked {
        write!(
            out,
            r#"  <testcase name="{}" time="{:.3}""#,
            escape(&one.path),
            one.seconds
        )?;
        if one.code() == 0 {
            writeln!(out, "/>")?;
            continue;
        }
        let mut text = Vec::new();
        one.print(&mut text, true)?;
        writeln!(
            out,
            r#"><failure message="{}">{}</failure></testcase>"#,
            one.verdict(),
            escape(&String::from_utf8_lossy(&text))
        )?;
    }
    writeln!(out, "</testsuite>")?;
    out.flush()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 has no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t' | '\r') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
