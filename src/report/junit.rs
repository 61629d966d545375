//! JUnit XML, which every CI server shows: one test case for each run, each file, each run of a campaign.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::exit::Exit;

/// One test case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What was tried.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Its exit code: 0 is a success, 1 a failure, anything else an error, since nothing is proven then.
    pub code: u8,
    /// How it ended, in a line.
    pub said: String,
    /// All that is said of it.
    pub text: String,
}

impl Case {
    fn as_test_case(&self) -> TestCase {
        let kind = match self.code {
            0 => None,
            code if code == Exit::Found.code() => Some(NonSuccessKind::Failure),
            _ => Some(NonSuccessKind::Error),
        };
        let mut status = kind.map_or_else(TestCaseStatus::success, TestCaseStatus::non_success);
        if kind.is_some() {
            status.set_message(&self.said);
            status.set_description(&self.text);
        }
        let mut case = TestCase::new(&self.name, status);
        let seconds = Duration::try_from_secs_f64(self.seconds);
        case.set_time(seconds.unwrap_or_default());
        if kind.is_none() {
            case.set_system_out(&self.text);
        }
        case
    }
}

/// The cases of a command, as XML.
///
/// # Errors
/// Where the library cannot say them.
fn xml(suite: &str, cases: &[Case]) -> io::Result<String> {
    let mut tests = TestSuite::new(suite);
    tests.add_test_cases(cases.iter().map(Case::as_test_case));
    let mut report = Report::new("whitewater");
    report.add_test_suite(tests);
    report.to_string().map_err(io::Error::other)
}

/// Writes them into a file. Where it is a pipe whose reader has gone, that was enough.
///
/// # Errors
/// In words, with the file's name.
pub fn junit(path: &Path, suite: &str, cases: &[Case]) -> Result<(), String> {
    match xml(suite, cases).and_then(|text| fs::write(path, text)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("could not write {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, xml};

    #[test]
    fn a_violation_is_a_failure_and_what_proves_nothing_an_error() {
        let case = |name: &str, code: u8| Case {
            name: name.to_owned(),
            seconds: 1.25,
            code,
            said: "said <so> & \"so\"".to_owned(),
            text: "all\u{1} of it".to_owned(),
        };
        let text = xml(
            "run",
            &[case("held", 0), case("found", 1), case("vacuous", 3)],
        )
        .unwrap();
        assert!(
            text.contains(r#"tests="3" skipped="0" failures="1" errors="1""#),
            "{text}"
        );
        assert!(
            text.contains(r#"<testcase name="held" time="1.250">"#),
            "{text}"
        );
        assert!(
            text.contains("said &lt;so&gt; &amp; &quot;so&quot;"),
            "{text}"
        );
        assert!(!text.contains('\u{1}'), "XML has no such character: {text}");
    }
}
