//! A campaign in words and as JSON: the table that was folded, printed as it is.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::asked::Asked;
use super::hunt::{Over, Standing};
use super::line::{Class, Line};
use super::ratio::Rate;
use super::table::{Control, Ended, Power, Row, Table};

/// What a run is called.
#[must_use]
pub fn name(line: &Line) -> String {
    let Line {
        run,
        scenario,
        seed,
        ..
    } = line;
    let planted = line.planted.as_ref();
    let planted = planted.map_or(String::new(), |name| format!(", {name}"));
    format!("#{run} {scenario}, seed {seed}{planted}")
}

/// A run that is over, in a line.
#[must_use]
pub fn sentence(line: &Line) -> String {
    let class = line.class;
    let mut text = format!("{}: {}", name(line), class.name());
    if let Some(signature) = &line.signature {
        let _ = write!(text, " ({signature})");
    }
    if let Some(at) = line.alarm_seconds {
        let _ = write!(text, " at {at:.1} s");
    }
    let told = matches!(class, Class::Unknown | Class::Vacuous | Class::BenchError);
    if let Some(note) = line.note.as_ref().filter(|_| told) {
        let _ = write!(text, ": {note}");
    }
    text
}

/// How far a hunt is, in a line.
#[must_use]
pub fn standing(standing: &Standing) -> String {
    let of = standing.total;
    let of = of.map_or(String::new(), |total| format!(" of {total}"));
    let left = standing.left_seconds;
    let left = left.map_or(String::new(), |left| format!(", {} left", time(left)));
    format!(
        "{}{of} runs, {} found, {:.1} runs/min{left}",
        standing.done, standing.found, standing.per_minute
    )
}

/// So many seconds, as a person says it.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The table in words.
#[must_use]
pub fn text(over: &Over, asked: &Asked, dir: &Path) -> String {
    let table = &over.table;
    let mut text = head(over, asked);
    if !table.defects.is_empty() {
        text += &powers(&table.defects);
    }
    if !table.controls.is_empty() {
        text += &controls(&table.controls);
    }
    if !table.failures.is_empty() {
        text += &failures(&table.failures, dir);
    }
    for (error, times) in &table.bench_errors {
        let _ = writeln!(text, "bench error, {times} times: {error}");
    }
    let _ = writeln!(text, "folder: {}", dir.display());
    if over.ended == Ended::Interrupted {
        let _ = writeln!(
            text,
            "It was ended before all was run; the same command with --out {} goes on.",
            dir.display()
        );
    }
    text
}

fn head(over: &Over, asked: &Asked) -> String {
    let Table {
        runs,
        classes,
        load,
        late,
        spent_seconds,
        ..
    } = &over.table;
    let plural = if *runs == 1 { "" } else { "s" };
    let classes = classes.iter().map(|(class, n)| format!("{n} {class}"));
    let classes = classes.collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "{runs} run{plural} of {}, seeds from {}: {}\n",
        asked.scenarios.join(", "),
        asked.seed,
        if classes.is_empty() { "none" } else { &classes },
    );
    if let Some((least, most)) = load {
        let jobs = over.jobs.as_ref();
        let jobs = jobs.map_or(String::new(), |jobs| jobs.sentence(asked.bearable_ms));
        let _ = writeln!(
            text,
            "{}, {least:.2} to {most:.2} meanwhile; in {late} runs timers were later than {:.0} ms; {} in all",
            jobs,
            asked.bearable_ms,
            time(*spent_seconds),
        );
    }
    text
}

/// `12/20  60 % (39 to 78)`.
fn rate(rate: Rate, (low, high): (f64, f64)) -> String {
    let Rate { hits, of } = rate;
    let percent = |share: f64| format!("{:.*}", usize::from(share < 0.1), share * 100.0);
    format!(
        "{hits}/{of}  {} % ({} to {})",
        percent(rate.share()),
        percent(low),
        percent(high)
    )
}

/// A time to the alarm; a run that missed it came later than any.
fn alarm(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// Rows in columns, the first row being their names.
fn columns(rows: &[Vec<String>]) -> String {
    let wide = |text: &String| text.chars().count();
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(wide).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(line, "{cell:width$}  ", width = widest(column));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn cells(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn powers(defects: &[Power]) -> String {
    let names = [
        "defect",
        "tier",
        "detected (95 %)",
        "median",
        "p90",
        "found by",
        "reached",
        "triggered",
    ];
    let mut rows = vec![cells(&names)];
    for defect in defects {
        let runs = |rate: Option<Rate>| {
            rate.map_or("-".to_owned(), |rate| format!("{}/{}", rate.hits, rate.of))
        };
        let oracles = defect
            .oracles
            .iter()
            .map(|(oracle, n)| format!("{oracle} {n}"));
        let oracles: Vec<String> = oracles.collect();
        let mut row = vec![
            defect.defect.clone(),
            defect.tier.to_owned(),
            rate(defect.rate, defect.interval),
            alarm(defect.median_seconds),
            alarm(defect.p90_seconds),
            if oracles.is_empty() {
                "-".to_owned()
            } else {
                oracles.join(", ")
            },
            runs(defect.reached),
            runs(defect.triggered),
        ];
        if defect.bench_errors > 0 {
            row.push(format!("{} bench errors", defect.bench_errors));
        }
        rows.push(row);
    }
    format!("\n{}", columns(&rows))
}

fn controls(controls: &[Control]) -> String {
    let mut rows = vec![cells(&["nothing to find", "false alarms (95 %)"])];
    for control in controls {
        let name = match &control.decoy {
            Some(decoy) => format!("{decoy} (decoy)"),
            None => "plain".to_owned(),
        };
        let mut row = vec![name, rate(control.alarms, control.interval)];
        if control.unknown > 0 {
            row.push(format!("{} unknown", control.unknown));
        }
        if control.bench_errors > 0 {
            row.push(format!("{} bench errors", control.bench_errors));
        }
        rows.push(row);
    }
    format!("\n{}", columns(&rows))
}

fn failures(failures: &[Row], dir: &Path) -> String {
    let mut text = "\nwhat was found\n".to_owned();
    for row in failures {
        let planted = row.planted.as_ref();
        let planted = planted.map_or(String::new(), |name| format!(" ({name})"));
        let _ = writeln!(text, "{}{planted}", row.signature);
        let _ = writeln!(
            text,
            "  {}; alarm: median {}, p90 {}",
            rate(row.rate, row.interval),
            alarm(row.median_seconds),
            alarm(row.p90_seconds)
        );
        if !row.beside.is_empty() {
            let beside = row.beside.iter().map(|(oracle, n)| format!("{oracle} {n}"));
            let _ = writeln!(text, "  besides: {}", beside.collect::<Vec<_>>().join(", "));
        }
        if let Some(folder) = &row.dir {
            let _ = writeln!(text, "  shortest: {}", dir.join(folder).display());
        }
        let _ = writeln!(text, "  again:    {}", row.again);
    }
    text
}

/// A run that is over, as an object.
#[must_use]
pub fn line_json(line: &Line) -> Value {
    json!(line)
}

/// The table as an object: the last of a campaign's.
#[must_use]
pub fn json(over: &Over, asked: &Asked, dir: &Path) -> Value {
    json!({
        "exit": over.code,
        "complete": over.ended == Ended::Complete,
        "asked": asked,
        "jobs": over.jobs,
        "dir": dir,
        "table": over.table,
    })
}
