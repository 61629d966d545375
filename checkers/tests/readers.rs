//! No reader panics on damaged files, and a nest of brackets exhausts no stack.

mod support;

use checkers::format::{self, Format};
use support::mutate;

#[test]
fn twenty_thousand_damaged_files_are_survived() {
    let readable = (0..20_000).filter(|seed| mutate::survives(*seed)).count();
    // Damage that leaves nothing readable would test the first line of each reader only.
    assert!(readable > 1_000, "{readable} were readable");
}

#[test]
fn a_deep_nest_of_brackets_is_malformed() {
    for (format, open) in [
        (Format::Edn, "["),
        (Format::Edn, "#_"),
        (Format::Edn, "#a "),
        (Format::Json, "{\"a\":"),
    ] {
        let text = open.repeat(100_000);
        let error = format::read(text.as_bytes(), "deep", Some(format), None).expect_err("deep");
        let error = error.to_string();
        assert!(error.starts_with("deep:1:"), "{error}");
        assert!(error.contains("nested more than 100 deep"), "{error}");
    }
}
