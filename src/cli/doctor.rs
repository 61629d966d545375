//! `whitewater doctor`: what this kernel and container allow, found out by doing it.

use std::io::Write;

use clap::Args;

use super::UNAVAILABLE;
use super::out::Out;

/// Nothing to say.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {}

/// A line for each thing that other people's systems need to be tested here: whether it works, and what is not offered
/// where it does not. 0 where all works, else 69.
pub(crate) fn run(_args: &DoctorArgs, out: &mut Out) -> anyhow::Result<u8> {
    let probes = machine::doctor::examine("/proc/self/exe");
    for probe in &probes {
        out.print(|out| writeln!(out, "{probe}"));
    }
    match probes.iter().all(machine::doctor::Probe::works) {
        true => Ok(0),
        false => Ok(UNAVAILABLE),
    }
}
