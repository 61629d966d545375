//! The embedded scenarios.

use super::{Error, Scenario};

const BUILT_IN: &[&str] = &[
    include_str!("../scenarios/rapids.toml"),
    include_str!("../scenarios/calm.toml"),
    include_str!("../scenarios/pause-and-return.toml"),
    include_str!("../scenarios/rolling-crash.toml"),
    include_str!("../scenarios/power-loss.toml"),
    include_str!("../scenarios/changing-members.toml"),
    include_str!("../scenarios/lease-restart.toml"),
    include_str!("../scenarios/partitions.toml"),
    include_str!("../scenarios/figure-8.toml"),
    include_str!("../scenarios/late-heir.toml"),
    include_str!("../scenarios/kill-on-append.toml"),
    include_str!("../scenarios/flapping.toml"),
    include_str!("../scenarios/sweep.toml"),
    include_str!("../scenarios/old-votes.toml"),
    include_str!("../scenarios/slow-clock.toml"),
    include_str!("../scenarios/bad-disks.toml"),
    include_str!("../scenarios/lying-disk.toml"),
    include_str!("../scenarios/flipped-bits.toml"),
    include_str!("../scenarios/power-loss-on-sync.toml"),
    include_str!("../scenarios/kill-in-snapshot.toml"),
    include_str!("../scenarios/stand-still.toml"),
    include_str!("../scenarios/lost-answers.toml"),
    include_str!("../scenarios/lost-sessions.toml"),
    include_str!("../scenarios/demo.toml"),
    include_str!("../scenarios/etcd-20418.toml"),
    include_str!("../scenarios/pysyncobj-84.toml"),
    include_str!("../scenarios/by-hand.toml"),
];

impl Scenario {
    /// The embedded scenarios, in the order in which they are listed.
    ///
    /// # Panics
    /// If one of them is malformed, which a test excludes.
    #[must_use]
    pub fn built_in() -> Vec<Scenario> {
        let read = |text: &&str| -> Scenario {
            toml::from_str(text).expect("an embedded scenario is well formed")
        };
        let all = BUILT_IN.iter().map(read);
        all.flat_map(Scenario::with_its_twin).collect()
    }

    /// The embedded scenario of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn find(name: &str) -> Result<Scenario, Error> {
        let all = Scenario::built_in();
        let known = all
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        all.into_iter()
            .find(|s| s.name == name)
            .ok_or_else(|| Error::NoSuch {
                name: name.to_owned(),
                known,
            })
    }
}
