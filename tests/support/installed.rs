//! Programs that tests start and that not every machine has.

/// Whether all of them are here. Where one is not, the test that asks is passed over, and says so; in CI nothing is passed
/// over.
#[must_use]
pub(crate) fn here(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let lacks = |program: &&&str| {
        let mut folders = std::env::split_paths(&path);
        !folders.any(|folder| folder.join(program).is_file())
    };
    let Some(missing) = programs.iter().find(lacks) else {
        return true;
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "CI needs {missing}, which is not here"
    );
    eprintln!("there is no {missing} here: passed over");
    false
}
