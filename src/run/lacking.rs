//! What this host does not allow of the machines that our own nodes' disks and clocks are on, found out by doing it, once:
//! the nodes run without, and the faults that need it are not offered.

use std::sync::LazyLock;

use machine::doctor::{Probe, called};

use crate::fault::Need;

/// What cannot be had here, and why.
static LACKING: LazyLock<Vec<(Need, String)>> =
    LazyLock::new(|| without(&machine::doctor::examine("/proc/self/exe")));

/// What cannot be had here, and why.
pub(super) fn lacking() -> Vec<(Need, String)> {
    LACKING.clone()
}

/// What cannot be had where these probes say so.
fn without(probes: &[Probe]) -> Vec<(Need, String)> {
    let fails = |name: &str| {
        let mut failing = probes.iter().filter(|probe| !probe.works());
        failing.find(|probe| probe.name == name)
    };
    let why = |what: &str, needed: &[&str]| {
        let probe = needed.iter().find_map(|name| fails(name))?;
        let name = probe.name;
        Some(format!(
            "{what} of kiwi cannot go wrong on this host: {name} does not work; whitewater doctor says why"
        ))
    };
    let watched = [called::NOTIFICATION, called::MEMORY];
    let disk = [called::COPIES, called::PLACES];
    let disk = why("disks", &[watched, disk].concat());
    let clock = why("clocks", &[&watched[..], &[called::PTRACE]].concat());
    let all = [
        (Need::UnsyncedDisk, disk.clone()),
        (Need::Disk, disk),
        (Need::Clock, clock),
    ];
    all.into_iter()
        .filter_map(|(need, why)| Some((need, why?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(failing: &[&str]) -> Vec<Probe> {
        let all = [
            called::NOTIFICATION,
            "withheld interrupts",
            called::MEMORY,
            called::COPIES,
            called::PLACES,
            called::PTRACE,
            "addresses of 127/8",
        ];
        let probe = |name: &'static str| Probe {
            name,
            fails: failing.contains(&name).then(|| "refused".to_owned()),
            without: "",
        };
        all.map(probe).to_vec()
    }

    #[test]
    fn a_host_without_a_machine_offers_neither_disks_nor_clocks_and_says_why() {
        let lacks = |failing: &[&str]| without(&probes(failing));
        let needs = |failing: &[&str]| -> Vec<Need> {
            lacks(failing).into_iter().map(|(need, _)| need).collect()
        };
        // Our own nodes need no addresses, and older kernels will do.
        let unneeded = ["withheld interrupts", "addresses of 127/8"];
        assert_eq!(lacks(&unneeded), []);
        let disks = [Need::UnsyncedDisk, Need::Disk];
        assert_eq!(needs(&[called::COPIES]), disks);
        assert_eq!(needs(&[called::PTRACE]), [Need::Clock]);
        let all = lacks(&[called::NOTIFICATION, called::PTRACE]);
        assert_eq!(all.len(), 3);
        for (_, why) in all {
            assert!(why.contains("user notification does not work;"), "{why}");
        }
    }
}
