//! What the doctor says of the host that these tests run on.

#[test]
fn a_host_that_passes_the_other_tests_is_told_so() {
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
