//! Numbers by their value: `42`, `42.0` and `4.2e1` are one number, written in three ways.

use super::Tree;

/// Fewer digits than this are written out; more of them need an exponent.
const WRITTEN_OUT: i64 = 40;

/// The number that a decimal text is, exactly: an integer where its value is one that fits, else the one text that
/// stands for it. `None` where it is no decimal number, or one whose exponent is beyond all reason.
pub(in crate::format) fn number(text: &str) -> Option<Tree> {
    if let Ok(integer) = text.parse() {
        return Some(Tree::Int(integer));
    }
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    // So many zeros follow the digits, or, where negative, so many digits stand behind the point.
    let zeros = i64::from(exponent) - fraction.len() as i64 + (digits.len() - trimmed.len()) as i64;
    let digits = trimmed.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Tree::Int(0));
    }
    let sign = if negative { "-" } else { "" };
    let length = digits.len() as i64;
    let text = if zeros >= 0 && length + zeros <= WRITTEN_OUT {
        let text = format!("{sign}{digits}{}", "0".repeat(zeros as usize));
        if let Ok(integer) = text.parse() {
            return Some(Tree::Int(integer));
        }
        text
    } else if zeros < 0 && -zeros <= WRITTEN_OUT {
        let behind = -zeros as usize;
        let padded = format!("{digits:0>width$}", width = behind + 1);
        let (whole, fraction) = padded.split_at(padded.len() - behind);
        format!("{sign}{whole}.{fraction}")
    } else {
        format!("{sign}{digits}e{zeros}")
    };
    Some(Tree::Number(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], expected: &Tree) {
        for text in texts {
            assert_eq!(number(text).as_ref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_number_is_one_number_however_it_is_written() {
        check(
            &["42", "42.0", "42.", "4.2e1", "420e-1", "+42", "0042.00"],
            &Tree::Int(42),
        );
        check(&["0", "-0", "0.0", "-0e9", "0e-9"], &Tree::Int(0));
        check(&["-1e3", "-1000", "-1000.000"], &Tree::Int(-1000));
        let named = |text: &str| Tree::Number(text.to_owned());
        check(&["1.5", "1.50", "15e-1", "0.15e1"], &named("1.5"));
        check(&["-0.25", "-25e-2"], &named("-0.25"));
        check(
            &["18446744073709551616", "18446744073709551616.0"],
            &named("18446744073709551616"),
        );
        check(&["1e400", "10e399", "0.1e401"], &named("1e400"));
        check(&["3e-99", "0.3e-98"], &named("3e-99"));
    }

    #[test]
    fn numbers_that_differ_in_one_digit_are_told_apart() {
        for (one, other) in [
            ("9007199254740993.0", "9007199254740992.0"),
            ("0.1", "0.10000000000000001"),
            ("1e400", "1e401"),
            ("1e400", "-1e400"),
        ] {
            assert_ne!(number(one), number(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_decimal_number_is_none() {
        for text in [
            "",
            "-",
            ".",
            ".5",
            "1.2.3",
            "1e",
            "1e99999999999",
            "0x10",
            "1/2",
            "e5",
            "1-2",
            "2020-01-02",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
