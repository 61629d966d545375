//! What the reader of trees takes, and what it refuses.

use super::*;

/// What stands on the second line, in both syntaxes.
fn check(text: &[u8], expected: std::result::Result<&str, &str>) {
    for syntax in [Syntax::Edn, Syntax::Json] {
        let text = [b"\n", text].concat();
        let mut reader = Reader::new(text.as_slice(), syntax);
        let read = match reader.next(false) {
            Ok(Some(Tree::Text(text))) => Ok(text),
            Err(trouble) => Err(trouble.reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(read.as_deref().map_err(String::as_str), expected);
        assert_eq!(reader.began(), 1);
    }
}

#[test]
fn a_text_is_taken_exactly_or_refused() {
    check(br#""\uD83D\uDE00""#, Ok("\u{1f600}"));
    check(br#""\ud83d\ude01\ud83d\ude02""#, Ok("\u{1f601}\u{1f602}"));
    check(
        br#""\udbff\udfff\ue000\ud7ff""#,
        Ok("\u{10ffff}\u{e000}\u{d7ff}"),
    );
    check(
        "\"\u{1f600}\\n\\\\\\/\\\"\"".as_bytes(),
        Ok("\u{1f600}\n\\/\""),
    );
    for (text, half) in [
        (&br#""\uD83D""#[..], "d83d"),
        (br#""\uD83Dx""#, "d83d"),
        (br#""\uD83D\n""#, "d83d"),
        (br#""\uD83D\u0041""#, "d83d"),
        (br#""\uD83D\uD83D\uDE00""#, "d83d"),
        (br#""\uDE00""#, "de00"),
    ] {
        check(text, Err(&format!("\\u{half} is half a surrogate pair")));
    }
    for text in [&b"\"\xff\""[..], b"\"\xfe\"", b"v\xff", b"\"\xf0\x9f\""] {
        check(text, Err("bytes that are no UTF-8"));
    }
    // "\101" would be taken for "101".
    check(br#""\101""#, Err("the escape \\1 is not known"));
}

fn edn(text: &str) -> Result<Tree> {
    let datum = Reader::new(text.as_bytes(), Syntax::Edn).next(false)?;
    Ok(datum.expect("a datum"))
}

#[test]
fn every_literal_of_edn_is_read_and_is_no_other() {
    let mut names = std::collections::BTreeSet::new();
    let texts = [
        r"\a",
        r"\{",
        r#"\""#,
        r"\newline",
        r"\u00e9",
        "##NaN",
        "##Inf",
        "##-Inf",
        "NaN",
        "a",
        "\"a\"",
        ":a",
        "#inst \"2024-05-06\"",
        "\"2024-05-06\"",
        "#{1 2}",
        "[1 2]",
        "#uuid \"a\"",
        "7",
        "\"7\"",
        "7.5",
        "1/2",
        r#"#"\d+""#,
        r#"#"\w+""#,
        "#<Timeout after {5 s>",
        "nil",
        "true",
        "{:a 1}",
        "#x.Y{:a 1}",
    ];
    for text in texts {
        assert!(
            names.insert(edn(text).expect(text).name()),
            "{text}: {names:?}"
        );
    }
    for (one, other) in [
        (r"\newline", r"\u000a"),
        (r"\u0041", r"\A"),
        ("(1 2)", "[1 2]"),
        ("^{:line 3} [1]", "[1]"),
        ("'a", "a"),
        ("[1 #_ 2]", "[1]"),
        ("5N", "5"),
        ("5.0M", "5"),
    ] {
        assert_eq!(edn(one).expect(one), edn(other).expect(other), "{one}");
    }
    for (text, reason) in [
        ("##nan", "##nan is not known; ##NaN, ##Inf and ##-Inf are"),
        (r"\foo", r"the character \foo is not known"),
        ("017", "017 may be octal: a number has no zero before it"),
        ("#<half", "'>' is missing"),
    ] {
        assert_eq!(edn(text).expect_err(text).reason, reason);
    }
}

#[test]
fn a_bare_word_is_no_json() {
    let json = |text: &str| Reader::new(text.as_bytes(), Syntax::Json).next(false);
    for text in ["jam", "None", "'a'", "0x10", ":a"] {
        json(text).expect_err(text);
    }
    for (text, expected) in [("NaN", "##NaN"), ("-Infinity", "##-Inf"), ("4.20e1", "42")] {
        let tree = json(text).expect(text).expect("a datum");
        assert_eq!(tree.name(), expected);
    }
}
