//! What the doctor says of the host that these tests run on.

mod support;

use support::hobbled::{Refused, hobbled};

/// What the doctor says where some calls are refused: the names of what does not work, and the whole text.
fn check(refused: &[Refused], expected: &[&str]) -> String {
    let output = hobbled(refused, env!("CARGO_BIN_EXE_machine-bench"))
        .arg("doctor")
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let fails: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(": does not work ("))
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(fails, expected, "{text}{errors}");
    assert_eq!(text.lines().count(), 7, "{text}{errors}");
    text
}

#[test]
fn what_a_container_refuses_is_found_and_nothing_else() {
    if !support::installed::here(&["python3"]) {
        return;
    }
    check(&[], &[]);
    check(
        &[Refused::always(libc::SYS_pidfd_getfd)],
        &["copies of descriptors"],
    );
    check(&[Refused::always(libc::SYS_ptrace)], &["ptrace"]);
    let text = check(
        &[Refused::always(libc::SYS_process_vm_readv)],
        &["memory of a program"],
    );
    assert!(text.contains("Operation not permitted"), "{text}");
    let withheld = Refused {
        nr: libc::SYS_seccomp,
        bits: Some((1, libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32)),
        errno: libc::EINVAL,
    };
    check(&[withheld], &["withheld interrupts"]);
    let text = check(
        &[Refused::always(libc::SYS_seccomp)],
        &[
            "user notification",
            "withheld interrupts",
            "memory of a program",
            "copies of descriptors",
            "descriptors put in place",
            "ptrace",
        ],
    );
    assert!(
        text.contains("refuses to let system calls be watched"),
        "{text}"
    );
}

#[test]
fn a_host_that_passes_the_other_tests_is_told_so() {
    if !support::installed::here(&["python3"]) {
        return;
    }
    let probes = machine::doctor::examine(env!("CARGO_BIN_EXE_machine-bench"));
    for probe in &probes {
        println!("{probe}");
    }
    let names: Vec<_> = probes.iter().map(|probe| probe.name).collect();
    assert_eq!(
        names,
        [
            "user notification",
            "withheld interrupts",
            "memory of a program",
            "copies of descriptors",
            "descriptors put in place",
            "ptrace",
            "addresses of 127/8",
        ]
    );
    // The tests of this crate need these three; the others have another way, or are not needed.
    for needed in [0, 2, 6] {
        assert!(probes[needed].works(), "{}", probes[needed]);
    }
}

#[test]
fn an_executable_that_is_no_machine_is_no_reason_to_hang() {
    if !support::installed::here(&["python3"]) {
        return;
    }
    let probes = machine::doctor::examine("/bin/false");
    assert!(!probes[0].works());
    assert!(!probes[2].works());
    let text = probes[0].to_string();
    assert!(text.contains("could not be started"), "{text}");
    assert!(
        text.contains("no program can be given a host of its own"),
        "{text}"
    );
}
