//! What a process said last, without the frames of a backtrace: those of a panic may be many, and hide what it said.

/// The last lines of a log, at most so many, without what belongs to a backtrace.
#[must_use]
pub fn last_words(log: &str, most: usize) -> Vec<&str> {
    let lines = log.lines().filter(|line| !is_of_a_backtrace(line));
    let mut words: Vec<&str> = lines.collect();
    words.split_off(words.len().saturating_sub(most))
}

/// The heading, the note below, `  12: tokio::runtime::...`, and `             at ./src/x.rs:1:2` below that.
fn is_of_a_backtrace(line: &str) -> bool {
    let text = line.trim_start();
    let number = text.split(": ").next().unwrap_or_default();
    let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_frame = line.starts_with("  ") && (is_numbered || text.starts_with("at "));
    let is_note = line.starts_with("note: ") && line.contains("RUST_BACKTRACE");
    is_frame || is_note || line == "stack backtrace:"
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO up\n\nthread 'main' (7) panicked at src/x.rs:1:2:\na hole in the log\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/x/library/std/src/panicking.rs:689:5\n  10: main\nnote: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n";

    #[test]
    fn the_words_of_a_panic_are_not_hidden_by_its_backtrace() {
        assert_eq!(
            last_words(LOG, 2),
            [
                "thread 'main' (7) panicked at src/x.rs:1:2:",
                "a hole in the log"
            ]
        );
        let goes_on = format!("{LOG}12: not a frame\n");
        assert_eq!(
            last_words(&goes_on, 2),
            ["a hole in the log", "12: not a frame"]
        );
    }

    #[test]
    fn without_one_they_are_the_last_lines() {
        assert_eq!(last_words("a\nb\nc\n", 2), ["b", "c"]);
        assert_eq!(last_words("a\n", 3), ["a"]);
        assert!(last_words("", 3).is_empty());
    }
}
