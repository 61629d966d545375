//! What the violation of a run is called: read off its whole history, once it is closed.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use checkers::anomaly::{self, Anomaly};
use checkers::format::jsonl;
use checkers::history::{History, Nil};
use checkers::verdict::Verdict;

use super::certify::AT_MOST_BYTES;

/// The anomaly's name; `None` where there is no violation. A history that cannot be read back, or is too large for it,
/// withholds nothing: then the counterexample has to do.
pub(super) fn anomaly(dir: &Path, verdict: &Verdict) -> Option<Anomaly> {
    let Verdict::Violation(found) = verdict else {
        return None;
    };
    if let Some(typed) = &found.typed {
        return Some(Anomaly::named(&typed.kind).unwrap_or_default());
    }
    let history = read_back(&dir.join("history.jsonl"));
    Some(anomaly::of(found, history.as_ref()))
}

fn read_back(path: &Path) -> Option<History> {
    let file = File::open(path).ok()?;
    let small = file.metadata().ok()?.len() <= AT_MOST_BYTES;
    let name = path.display().to_string();
    let loaded = small.then(|| jsonl::read(BufReader::new(file), &name, Nil::Absent));
    loaded?.ok().map(|loaded| loaded.history)
}
