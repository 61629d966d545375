//! The filter that a program carries: which of its system calls wait for the bench. Wants in, a dozen instructions out.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};

use crate::sys::Instruction;
use crate::watcher::Want;

/// `AUDIT_ARCH_*`: a number means another call on another architecture.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// From here on a number is one of x86-64's 32-bit interface (x32), which no kernel of a distribution offers any more.
const X32: u32 = 0x4000_0000;

/// Where `seccomp_data` has what.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// More wants than this are a mistake of ours: the kernel walks them at every call that it has not cached.
const WANTS: usize = 200;

/// The filter for these wants. Calls that nobody wants go on at full speed; a call of another architecture ends the
/// program with `SIGSYS`, because it would go unnoticed otherwise.
///
/// # Panics
/// With more than [`WANTS`] wants, or a want of an argument that is not there.
pub(crate) fn build(wants: &[Want]) -> Vec<Instruction> {
    assert!(wants.len() <= WANTS, "{} wants", wants.len());
    let mut filter = vec![
        statement(BPF_LD | BPF_W | BPF_ABS, ARCH),
        jump(BPF_JEQ, ARCHITECTURE, 1, 0),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        statement(BPF_LD | BPF_W | BPF_ABS, NR),
        jump(BPF_JGE, X32, 0, 1),
        give(refusal(libc::ENOSYS)),
    ];
    for want in wants {
        match *want {
            Want::Always(nr) => {
                filter.push(jump(BPF_JEQ, number(nr), 0, 1));
                filter.push(give(libc::SECCOMP_RET_USER_NOTIF));
            }
            Want::Bits { nr, arg, mask } => bits(&mut filter, nr, &[(arg, mask)]),
            Want::BothBits { nr, bits: both } => bits(&mut filter, nr, &both),
            Want::Never { nr, errno } => {
                filter.push(jump(BPF_JEQ, number(nr), 0, 1));
                filter.push(give(refusal(errno)));
            }
        }
    }
    filter.push(give(libc::SECCOMP_RET_ALLOW));
    filter
}

/// A call of this number with one of the bits set in each of these arguments, of which there are one or two.
fn bits(filter: &mut Vec<Instruction>, nr: i64, wanted: &[(u8, u32)]) {
    let rest = 2 * wanted.len() as u8;
    filter.push(jump(BPF_JEQ, number(nr), 0, rest + 2));
    for (index, (arg, mask)) in wanted.iter().enumerate() {
        assert!(*arg < 6, "a call has six arguments");
        // The low half: both architectures are little-endian.
        let at = ARGS + 8 * u32::from(*arg);
        filter.push(statement(BPF_LD | BPF_W | BPF_ABS, at));
        filter.push(jump(BPF_JSET, *mask, 0, rest - 2 * index as u8 - 1));
    }
    filter.push(give(libc::SECCOMP_RET_USER_NOTIF));
    // What was loaded is gone: the next want begins with the number again.
    filter.push(statement(BPF_LD | BPF_W | BPF_ABS, NR));
}

fn number(nr: i64) -> u32 {
    u32::try_from(nr).expect("a system call's number is small")
}

fn refusal(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (errno.unsigned_abs() & libc::SECCOMP_RET_DATA)
}

fn give(what: u32) -> Instruction {
    statement(BPF_RET | BPF_K, what)
}

fn statement(code: u32, k: u32) -> Instruction {
    Instruction {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction {
        code: (BPF_JMP | code | BPF_K) as u16,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would make of a call: seccomp's corner of the classic BPF machine.
    fn verdict(filter: &[Instruction], nr: u32, arch: u32, args: [u64; 6]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = filter[at];
            let taken = match u32::from(code) {
                c if c == BPF_LD | BPF_W | BPF_ABS => {
                    loaded = match k {
                        NR => nr,
                        ARCH => arch,
                        _ => args[(k - ARGS) as usize / 8] as u32,
                    };
                    None
                }
                c if c == BPF_RET | BPF_K => return k,
                c if c == BPF_JMP | BPF_JEQ | BPF_K => Some(loaded == k),
                c if c == BPF_JMP | BPF_JGE | BPF_K => Some(loaded >= k),
                c if c == BPF_JMP | BPF_JSET | BPF_K => Some(loaded & k != 0),
                c => panic!("an instruction that is not made here: {c:#x}"),
            };
            at += 1 + match taken {
                Some(true) => usize::from(jt),
                Some(false) => usize::from(jf),
                None => 0,
            };
        }
    }

    fn check(wants: &[Want], nr: i64, args: [u64; 6], expected: u32) {
        let filter = build(wants);
        assert_eq!(
            verdict(&filter, nr as u32, ARCHITECTURE, args),
            expected,
            "{wants:?} {nr} {args:?}"
        );
    }

    #[test]
    fn a_want_is_met_by_its_number_and_its_bits_alone() {
        let wants = [
            Want::Always(10),
            Want::Bits {
                nr: 11,
                arg: 2,
                mask: 0b110,
            },
            Want::Bits {
                nr: 11,
                arg: 5,
                mask: 1,
            },
            Want::Never { nr: 12, errno: 38 },
            Want::BothBits {
                nr: 13,
                bits: [(1, 8), (3, u32::MAX)],
            },
            Want::Always(2),
        ];
        let (ask, go) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
        check(&wants, 10, [0; 6], ask);
        check(&wants, 2, [0; 6], ask);
        check(&wants, 9, [7; 6], go);
        check(&wants, 11, [0, 0, 0b100, 0, 0, 0], ask);
        check(&wants, 11, [0, 0, 0b001, 0, 0, 0], go);
        check(&wants, 11, [0, 0, 0b001, 0, 0, 3], ask);
        check(&wants, 12, [0; 6], libc::SECCOMP_RET_ERRNO | 38);
        check(&wants, 13, [0, 9, 0, 77, 0, 0], ask);
        check(&wants, 13, [0, 9, 0, 0, 0, 0], go);
        check(&wants, 13, [0, 1, 0, 77, 0, 0], go);
        check(&wants, 13, [0, 0, 0, 2, 0, 0], go);
        // Bits of another call's argument, where that value is a number that is wanted.
        check(&wants, 11, [0, 0, 10 << 8, 0, 0, 0], go);
    }

    #[test]
    fn a_call_of_another_architecture_does_not_slip_through() {
        let filter = build(&[]);
        let foreign = verdict(&filter, 1, 0x4000_0003, [0; 6]);
        assert_eq!(foreign, libc::SECCOMP_RET_KILL_PROCESS);
        let x32 = verdict(&filter, X32 + 1, ARCHITECTURE, [0; 6]);
        assert_eq!(x32, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    }
}
