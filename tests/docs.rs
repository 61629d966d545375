//! The pages for developers: what they name exists, and what they say of adding things is how it is done.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGES: [&str; 3] = ["docs/architecture.md", "docs/adding.md", "docs/style.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("could not read {name}: {e}"))
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether it is meant as a path of this repository.
fn is_path(quoted: &str) -> bool {
    let roots = ["src/", "checkers/", "tests/", "docs/", "histories/", ".ci/"];
    roots.iter().any(|root| quoted.starts_with(root)) && !quoted.contains(' ')
}

#[test]
fn every_path_that_a_page_names_exists() {
    let mut gone = Vec::new();
    for name in PAGES {
        let text = page(name);
        let paths = quoted(&text).filter(|quoted| is_path(quoted));
        gone.extend(
            paths
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{name} names {path}")),
        );
    }
    assert!(gone.is_empty(), "{}", gone.join("\n"));
}

/// An example of the page: its words, and the files that they are said to be written in.
struct Recipe {
    title: String,
    words: Vec<String>,
    files: BTreeSet<String>,
}

/// The recipes of `docs/adding.md`: a heading, `Example: WORD`, and a list of files.
fn recipes() -> Vec<Recipe> {
    let text = page("docs/adding.md");
    let sections = text.split("\n## ").skip(1);
    let recipe = |section: &str| {
        let title = section.lines().next().expect("it has a title").to_owned();
        let example = section
            .lines()
            .find(|line| line.starts_with("Example: "))
            .unwrap_or_else(|| panic!("{title:?} has no example"));
        let words = quoted(example).map(str::to_owned).collect();
        let listed = section.lines().filter(|line| line.starts_with("- "));
        let files = listed.map(|line| quoted(line).next().expect("a file is quoted").to_owned());
        Recipe {
            words,
            files: files.collect(),
            title,
        }
    };
    sections.map(recipe).collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of sources can be listed") {
        let path = entry.expect("its entries can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let tests = name.contains("tests") || name.contains("fixtures");
        if path.is_dir() && !tests {
            sources(&path, found);
        } else if !tests && (name.ends_with(".rs") || name.ends_with(".toml")) {
            found.push(path);
        }
    }
}

/// The files of ours, but for tests, in which a word stands by itself, outside of comments.
fn files_with(word: &str) -> BTreeSet<String> {
    let mut all = Vec::new();
    for dir in ["src", "checkers/src", "checkers/model/src"] {
        sources(&root().join(dir), &mut all);
    }
    let has = |text: &str| {
        text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or("");
            code.match_indices(word).any(|(at, _)| {
                let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                let before = code[..at].chars().next_back();
                let after = code[at + word.len()..].chars().next();
                !part(before) && !part(after)
            })
        })
    };
    let path = |file: &PathBuf| {
        let below = file.strip_prefix(root()).expect("it is below the root");
        below.to_string_lossy().into_owned()
    };
    let read = |file: &PathBuf| fs::read_to_string(file).expect("a source is text");
    all.iter()
        .filter(|file| has(&read(file)))
        .map(path)
        .collect()
}

#[test]
fn what_is_added_is_written_in_the_files_that_the_page_lists() {
    let all = recipes();
    assert!(all.len() >= 8, "only {} recipes were read", all.len());
    for recipe in all {
        let found: BTreeSet<String> = recipe
            .words
            .iter()
            .flat_map(|word| files_with(word))
            .collect();
        assert_eq!(
            found, recipe.files,
            "{}: {:?} is written in the files on the left, and the page lists those on the right",
            recipe.title, recipe.words
        );
    }
}
