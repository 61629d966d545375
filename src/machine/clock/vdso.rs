//! The clock functions of the vDSO of a program that runs already, made to ask the kernel.
//!
//! As long as nobody wants its clocks to be wrong, a program reads them from that page, unheard and at no cost. Once
//! somebody does, the first instructions of each function there become the system call that it stands for: the page is
//! the process's own then (a breakpoint would be written in the same way), and its children have it, too.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The functions, and the system calls that they stand for.
#[cfg(target_arch = "x86_64")]
const FUNCTIONS: [(&str, i64); 3] = [
    ("__vdso_clock_gettime", libc::SYS_clock_gettime),
    ("__vdso_gettimeofday", libc::SYS_gettimeofday),
    ("__vdso_time", libc::SYS_time),
];
#[cfg(target_arch = "aarch64")]
const FUNCTIONS: [(&str, i64); 2] = [
    ("__kernel_clock_gettime", libc::SYS_clock_gettime),
    ("__kernel_gettimeofday", libc::SYS_gettimeofday),
];

/// `mov eax, NUMBER; syscall; ret`: arguments are where the kernel wants them.
#[cfg(target_arch = "x86_64")]
fn code(number: i64) -> Vec<u8> {
    let number = (number as u32).to_le_bytes();
    [&[0xb8], &number[..], &[0x0f, 0x05, 0xc3]].concat()
}

/// `mov x8, NUMBER; svc 0; ret`.
#[cfg(target_arch = "aarch64")]
fn code(number: i64) -> Vec<u8> {
    let mov = 0xd280_0008 | (number as u32) << 5;
    [mov, 0xd400_0001, 0xd65f_03c0]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect()
}

/// Makes a process, which stands, ask the kernel for the time from now on. `false`: a thread of it stands in the very
/// instructions that would go, and has to run on a little first.
///
/// # Errors
/// It may not be looked into, or has a page of another kind.
pub(super) fn ask_the_kernel(pid: u32) -> io::Result<bool> {
    let Some(page) = page(pid)? else {
        return Ok(true);
    };
    let memory = OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/{pid}/mem"))?;
    let mut image = vec![0; (page.end - page.start) as usize];
    memory.read_exact_at(&mut image, page.start)?;
    let symbols = symbols(&image).ok_or(io::ErrorKind::InvalidData)?;
    let mut changes = Vec::new();
    for (name, number) in FUNCTIONS {
        let found = symbols.iter().find(|(known, _)| known == name);
        let (_, at) = found.ok_or(io::ErrorKind::InvalidData)?;
        let code = code(number);
        let at = page.start + at;
        let before = image.get((at - page.start) as usize..).unwrap_or_default();
        if !before.starts_with(&code) {
            changes.push((at, code));
        }
    }
    let within = |counter: u64| {
        let inside =
            |(at, code): &(u64, Vec<u8>)| *at < counter && counter < at + code.len() as u64;
        changes.iter().any(inside)
    };
    if counters(pid)?.into_iter().any(within) {
        return Ok(false);
    }
    for (at, code) in &changes {
        memory.write_all_at(code, *at)?;
    }
    Ok(true)
}

/// Where the process has the vDSO, if it has one.
fn page(pid: u32) -> io::Result<Option<Range<u64>>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"));
    let range = line.and_then(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(number(from)?..number(to)?)
    });
    match (line, range) {
        (Some(_), None) => Err(io::ErrorKind::InvalidData.into()),
        (_, range) => Ok(range),
    }
}

/// The instruction that each thread of a process that stands would carry out next.
fn counters(pid: u32) -> io::Result<Vec<u64>> {
    let mut counters = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended meanwhile carries out nothing; one that runs is in the kernel, about to stand.
        let Ok(said) = fs::read_to_string(thread?.path().join("syscall")) else {
            continue;
        };
        let last = said.split_whitespace().next_back();
        let counter = last.and_then(|text| text.strip_prefix("0x"));
        counters.extend(counter.and_then(|text| u64::from_str_radix(text, 16).ok()));
    }
    Ok(counters)
}

/// The names that a shared object of 64 bits defines, with their addresses in it: its dynamic symbols (elf(5)).
fn symbols(image: &[u8]) -> Option<Vec<(String, u64)>> {
    let number = |at: u64, bytes: usize| {
        let at = usize::try_from(at).ok()?;
        let bytes = image.get(at..at.checked_add(bytes)?)?;
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(whole))
    };
    image.strip_prefix(b"\x7fELF\x02")?;
    let (sections, size, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
    let section = |index: u64| (index < count).then(|| sections + index * size);
    let dynamic = (0..count).find(|&index| {
        const DYNSYM: u64 = 11;
        section(index).and_then(|at| number(at + 4, 4)) == Some(DYNSYM)
    })?;
    let dynamic = section(dynamic)?;
    let (from, length) = (number(dynamic + 24, 8)?, number(dynamic + 32, 8)?);
    let names = number(section(number(dynamic + 40, 4)?)? + 24, 8)?;
    let symbol = |at: u64| {
        let (name, address) = (number(at, 4)?, number(at + 8, 8)?);
        let name = image.get(usize::try_from(names + name).ok()?..)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        Some((String::from_utf8_lossy(&name[..end]).into_owned(), address))
    };
    Some(
        (0..length / 24)
            .filter_map(|n| symbol(from + 24 * n))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_functions_are_found_in_the_page_of_this_very_process() {
        let page = page(std::process::id()).unwrap().expect("it has one");
        let mut image = vec![0; (page.end - page.start) as usize];
        let memory = File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut image, page.start).unwrap();
        let symbols = symbols(&image).expect("it is a shared object");
        for (name, _) in FUNCTIONS {
            let found = symbols.iter().find(|(known, _)| known == name);
            assert!(
                found.is_some_and(|(_, at)| *at < image.len() as u64),
                "{name}"
            );
        }
        assert_eq!(super::symbols(b"\x7fELF\x02"), None);
        assert_eq!(super::symbols(b"#!/bin/sh"), None);
    }
}
