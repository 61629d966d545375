//! The undo log against a model of the disk: random calls on real files, then the power fails.
//!
//! `WHITEWATER_SEQUENCES` sets how many sequences are played, `WHITEWATER_SEED` the first one's seed.

mod model;
mod play;

use machine::disk::undo::PowerLoss;

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
