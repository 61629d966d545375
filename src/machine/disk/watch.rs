//! The calls of a program that matter to its disk: which they are, and who of this room takes each.
//!
//! Only numbers are known here. Where a call's argument says that it cannot matter (an `openat` that neither creates nor
//! truncates, a private `mmap`), the kernel's filter lets it go on unheard.

use super::Disk;
use super::data::{Place, Write};
use super::names::{Name, Open};
use crate::caller::Caller;
use crate::watcher::{Answer, Want, Watcher};

/// `ioctl` commands that write have this bit (ioctl(2)); those of terminals and sockets do not.
const IOC_WRITE: u32 = 1 << 30;
/// `FICLONE`, `FICLONERANGE`, `FIDEDUPERANGE` (ioctl_ficlone(2), ioctl_fideduperange(2)).
const CLONES: [u32; 3] = [0x4004_9409, 0x4020_940d, 0xc018_9436];
const MAKES_OR_TRUNCATES: u32 = (libc::O_CREAT | libc::O_TRUNC) as u32;

/// `renameat`, whose number libc leaves out where C libraries do without the call.
#[cfg(target_arch = "x86_64")]
const RENAMEAT: i64 = libc::SYS_renameat;
#[cfg(target_arch = "aarch64")]
const RENAMEAT: i64 = 38;

/// Calls that are always heard: they write, sync or name.
const HEARD: &[i64] = &[
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_openat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    RENAMEAT,
    libc::SYS_renameat2,
];

/// The older names of some of them.
#[cfg(target_arch = "x86_64")]
const HEARD_BEFORE: &[i64] = &[
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_symlink,
    libc::SYS_link,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_rename,
];
#[cfg(not(target_arch = "x86_64"))]
const HEARD_BEFORE: &[i64] = &[];

const READS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_preadv,
    libc::SYS_preadv2,
];

/// Ways to write that nobody could follow. Programs have others for kernels that do not know these.
const REFUSED: &[i64] = &[
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    libc::SYS_io_uring_setup,
];

impl Watcher for Disk {
    fn wants(&self) -> Vec<Want> {
        let reads = if self.reads { READS } else { &[] };
        let always = HEARD
            .iter()
            .chain(HEARD_BEFORE)
            .chain(reads)
            .map(|nr| Want::Always(*nr));
        let refused = REFUSED.iter().map(|nr| Want::Never {
            nr: *nr,
            errno: libc::ENOSYS,
        });
        let bits = |nr, arg, mask| Want::Bits { nr, arg, mask };
        let mut some = vec![
            bits(libc::SYS_openat, 2, MAKES_OR_TRUNCATES),
            bits(libc::SYS_mmap, 3, libc::MAP_SHARED as u32),
            bits(libc::SYS_mprotect, 2, libc::PROT_WRITE as u32),
            bits(libc::SYS_pkey_mprotect, 2, libc::PROT_WRITE as u32),
            bits(libc::SYS_ioctl, 1, IOC_WRITE),
        ];
        #[cfg(target_arch = "x86_64")]
        some.push(bits(libc::SYS_open, 1, MAKES_OR_TRUNCATES));
        always.chain(refused).chain(some).collect()
    }

    fn answer(&self, caller: &Caller) -> Answer {
        self.answer_data(caller)
            .or_else(|| self.answer_names(caller))
            .or_else(|| self.answer_older(caller))
            .unwrap_or(Answer::Pass)
    }

    fn gone(&self) {
        self.changed.notify_all();
    }
}

impl Disk {
    /// Calls on descriptors. `None` where it is none of them.
    fn answer_data(&self, caller: &Caller) -> Option<Answer> {
        let call = caller.call();
        let args = call.args;
        let at = Place::At(args[3]);
        Some(match call.nr {
            libc::SYS_write => self.write(caller, &Write::of(caller, Place::Position)),
            libc::SYS_pwrite64 => self.write(caller, &Write::of(caller, at)),
            libc::SYS_writev => self.write_vector(caller, Place::Position, 0),
            libc::SYS_pwritev => self.write_vector(caller, at, 0),
            libc::SYS_pwritev2 => {
                let at = if args[3] == u64::MAX {
                    Place::Position
                } else {
                    at
                };
                self.write_vector(caller, at, caller.int(5))
            }
            libc::SYS_ftruncate => self.truncate(caller, caller.int(0), args[1]),
            libc::SYS_truncate => self.truncate_path(caller, args[0], args[1]),
            libc::SYS_fallocate => self.allocate(caller),
            libc::SYS_copy_file_range => self.copy_range(caller),
            libc::SYS_sendfile => self.send_file(caller),
            libc::SYS_splice => self.splice(caller),
            libc::SYS_fsync | libc::SYS_fdatasync => self.sync_one(caller),
            libc::SYS_sync => self.sync_all(caller),
            libc::SYS_syncfs => self.sync_file_system(caller),
            libc::SYS_mmap => self.map(caller),
            libc::SYS_mprotect | libc::SYS_pkey_mprotect => self.protect(caller),
            libc::SYS_ioctl if CLONES.contains(&(args[1] as u32)) => self.refuse_clone(caller),
            nr if READS.contains(&nr) => self.read(caller),
            _ => return None,
        })
    }

    /// Calls on names, as they are on every architecture.
    fn answer_names(&self, caller: &Caller) -> Option<Answer> {
        let args = caller.call().args;
        let name = |fd: usize, path: usize| Name {
            folder: caller.int(fd),
            path: args[path],
        };
        Some(match caller.call().nr {
            libc::SYS_openat => {
                let open = Open {
                    name: name(0, 1),
                    flags: caller.int(2),
                    mode: args[3] as u32,
                };
                self.open(caller, &open)
            }
            libc::SYS_openat2 => self.open_by_structure(caller),
            libc::SYS_mkdirat | libc::SYS_mknodat => self.make(caller, &name(0, 1)),
            libc::SYS_symlinkat => self.make(caller, &name(1, 2)),
            libc::SYS_linkat => self.link(caller, &name(2, 3)),
            libc::SYS_unlinkat => self.remove(caller, &name(0, 1), caller.int(2)),
            RENAMEAT => self.rename(caller, &name(0, 1), &name(2, 3), 0),
            libc::SYS_renameat2 => self.rename(caller, &name(0, 1), &name(2, 3), args[4] as u32),
            _ => return None,
        })
    }

    /// Calls on names that newer architectures do without.
    #[cfg(target_arch = "x86_64")]
    fn answer_older(&self, caller: &Caller) -> Option<Answer> {
        let args = caller.call().args;
        let name = |path: usize| Name {
            folder: libc::AT_FDCWD,
            path: args[path],
        };
        Some(match caller.call().nr {
            libc::SYS_open => {
                let open = Open {
                    name: name(0),
                    flags: caller.int(1),
                    mode: args[2] as u32,
                };
                self.open(caller, &open)
            }
            libc::SYS_creat => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                self.open(
                    caller,
                    &Open {
                        name: name(0),
                        flags,
                        mode: args[1] as u32,
                    },
                )
            }
            libc::SYS_mkdir | libc::SYS_mknod => self.make(caller, &name(0)),
            libc::SYS_symlink => self.make(caller, &name(1)),
            libc::SYS_link => self.link(caller, &name(1)),
            libc::SYS_unlink => self.remove(caller, &name(0), 0),
            libc::SYS_rmdir => self.remove(caller, &name(0), libc::AT_REMOVEDIR),
            libc::SYS_rename => self.rename(caller, &name(0), &name(1), 0),
            _ => return None,
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn answer_older(&self, _: &Caller) -> Option<Answer> {
        None
    }
}
