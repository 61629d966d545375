//! The undo log against a model of the disk: random calls on real files, then the power fails.
//!
//! `WHITEWATER_SEQUENCES` sets how many sequences are played, `WHITEWATER_SEED` the first one's seed.

mod model;
mod play;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::disk::undo::{Log, PowerLoss, Synced, What};

use play::Play;

/// Every sequence is played to one kind of power loss, goes on with what is left, and loses power once more.
#[test]
fn after_a_power_loss_the_folder_is_what_the_disk_would_hold() {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
    };
    let (sequences, first) = (
        number("WHITEWATER_SEQUENCES", 300),
        number("WHITEWATER_SEED", 1),
    );
    let place = tempfile::tempdir().unwrap();
    println!("{sequences} sequences from seed {first} on");
    for seed in first..first + sequences {
        let mut play = Play::new(place.path(), seed);
        for round in 0..2 {
            play.calls(30);
            let how = match (seed + round) % 3 {
                0 => PowerLoss::Subset(seed),
                1 => PowerLoss::Torn(seed),
                _ => PowerLoss::Strict,
            };
            play.lose_power(how);
        }
    }
}

/// What a sync of `synced` makes durable of some changes of names, and what of it a power loss leaves.
fn check_names(changes: impl Fn(&Path, &mut Log), synced: &str, expected: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    std::fs::create_dir_all(folder.join("a/x")).unwrap();
    std::fs::create_dir(folder.join("b")).unwrap();
    std::fs::write(folder.join("b/f"), "f").unwrap();
    let mut log = Log::open(&folder, &place.path().join("store")).unwrap();
    changes(&folder, &mut log);
    let fd = File::open(folder.join(synced)).unwrap();
    let sync = log.begin_sync(What::Of(fd.as_fd())).unwrap();
    log.end_sync(sync, Synced::Durable);
    log.power_loss(PowerLoss::Strict).unwrap();
    let mut there = Vec::new();
    let mut next = vec![folder.clone()];
    while let Some(path) = next.pop() {
        there.push(
            path.strip_prefix(&folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
        );
        if path.is_dir() {
            next.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    there.sort();
    assert_eq!(there[1..], *expected, "after a sync of {synced:?}");
}

fn rename(folder: &Path, log: &mut Log, from: &str, to: &str) {
    let at = |path: &str| {
        (
            File::open(folder.join(path).parent().unwrap()).unwrap(),
            folder.join(path),
        )
    };
    let ((from_fd, from), (to_fd, to)) = (at(from), at(to));
    let names = (from.file_name().unwrap(), to.file_name().unwrap());
    log.before_rename((from_fd.as_fd(), names.0), (to_fd.as_fd(), names.1), false)
        .unwrap();
    std::fs::rename(&from, &to).unwrap();
}

fn remove(folder: &Path, log: &mut Log, path: &str) {
    let path = folder.join(path);
    let fd = File::open(path.parent().unwrap()).unwrap();
    log.before_remove(&fd, path.file_name().unwrap()).unwrap();
    let folder = path.is_dir();
    if folder {
        std::fs::remove_dir(&path)
    } else {
        std::fs::remove_file(&path)
    }
    .unwrap();
}

#[test]
fn a_removed_folder_takes_along_what_was_removed_in_it() {
    let both = |folder: &Path, log: &mut Log| {
        remove(folder, log, "b/f");
        remove(folder, log, "b");
    };
    check_names(both, "", &["a", "a/x"]);
    check_names(both, "a", &["a", "a/x", "b", "b/f"]);
}

#[test]
fn two_moves_of_folders_never_leave_each_in_the_other() {
    let turned_around = |folder: &Path, log: &mut Log| {
        rename(folder, log, "a/x", "x");
        rename(folder, log, "a", "x/a");
    };
    check_names(turned_around, "x", &["b", "b/f", "x", "x/a"]);
    check_names(turned_around, "b", &["a", "a/x", "b", "b/f"]);
}

#[test]
fn a_move_is_durable_by_either_of_its_folders() {
    let moved = |folder: &Path, log: &mut Log| rename(folder, log, "b/f", "a/g");
    check_names(moved, "a", &["a", "a/g", "a/x", "b"]);
    check_names(moved, "b", &["a", "a/g", "a/x", "b"]);
    check_names(moved, "a/x", &["a", "a/x", "b", "b/f"]);
}

/// A log of ten thousand appends, and a sync that is under way for some of them: the appends join where they may.
#[test]
fn a_long_log_loses_what_was_appended_after_the_last_sync_began() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let file = File::create_new(folder.join("log")).unwrap();
    let mut log = Log::open(&folder, &place.path().join("store")).unwrap();
    let append = |log: &mut Log, count: usize| {
        for _ in 0..count {
            let at = file.metadata().unwrap().len();
            // Each write is short.
            let step = log.before_write(&file, at, 10).unwrap();
            file.write_all_at(b"12345", at).unwrap();
            log.wrote(step, 10, 5);
        }
    };
    append(&mut log, 6000);
    let sync = log.begin_sync(What::Of(file.as_fd())).unwrap();
    append(&mut log, 500);
    log.end_sync(sync, Synced::Durable);
    assert_eq!(log.unsynced_bytes(), 2500);
    append(&mut log, 5000);
    assert_eq!(log.unsynced_bytes(), 27_500);
    log.power_loss(PowerLoss::Strict).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 30_000);
}
