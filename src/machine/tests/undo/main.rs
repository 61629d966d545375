//! The undo log against a model of the disk: random calls on real files, then the power fails.
//!
//! `WHITEWATER_SEQUENCES` sets how many sequences are played, `WHITEWATER_SEED` the first one's seed.

mod model;
mod play;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use machine::disk::undo::{Log, PowerLoss, Synced, What};

use play::Play;

/// Every sequence is played to one kind of power loss, goes on with what is left, and loses power once more.
#[test]
fn after_a_power_loss_the_folder_is_what_the_disk_would_hold() {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
    };
    let (sequences, first) = (
        number("WHITEWATER_SEQUENCES", 500),
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
