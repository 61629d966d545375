//! The summary of a job on GitHub: Markdown that is appended to the file which the runner names.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where a runner wants it.
pub const VARIABLE: &str = "GITHUB_STEP_SUMMARY";

/// The file that the runner of this job names, if there is one.
#[must_use]
pub fn summary_file() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    named.map(PathBuf::from)
}

/// Appends how something ended: a line, and all that is said of it.
///
/// # Errors
/// In words, with the file's name.
pub fn summary(path: &Path, said: &str, text: &str) -> Result<(), String> {
    // A fence that is longer than any in the text.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let appended = File::options()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| {
            write!(
                file,
                "### {said}\n\n{fence}text\n{}\n{fence}\n\n",
                text.trim_end()
            )
        });
    appended.map_err(|error| format!("could not write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn a_summary_is_appended_and_no_fence_of_the_text_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.md");
        summary(&path, "✓ held", "one").unwrap();
        summary(&path, "✗ found", "```two").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "### ✓ held\n\n```text\none\n```\n\n### ✗ found\n\n````text\n```two\n````\n\n"
        );
    }
}
