//! A folder under watch, and programs that work in it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::disk::undo::PowerLoss;
use machine::disk::{Disk, Settings};
use machine::launch::{Exit, Launch, Program, Stream};
use tempfile::TempDir;

use crate::support::{PATIENCE, launch, place, said};

/// What scripts may use without saying it, and a call by number for what Python has no name for.
const PRELUDE: &str = "
import ctypes, errno, mmap, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    done = libc.syscall(*args)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done
def read(name):
    with open(name, 'rb') as file:
        return file.read()
def fails(code, do, *args):
    try:
        do(*args)
    except OSError as error:
        assert error.errno == code, error
    else:
        assert False, 'it did not fail'
RW = os.O_RDWR
";

pub(crate) struct Node {
    place: TempDir,
    pub(crate) disk: Arc<Disk>,
}

impl Node {
    /// A node whose folder holds `f` (ten digits), an empty folder `d` and `e/g` (thirty thousand bytes).
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let place = place();
        let folder = place.path().join("data");
        for inner in ["d", "e"] {
            std::fs::create_dir_all(folder.join(inner)).expect("a folder can be made");
        }
        std::fs::write(folder.join("f"), "0123456789").expect("it can be written");
        std::fs::write(folder.join("e/g"), "x".repeat(30_000)).expect("it can be written");
        let store = place.path().join("store");
        let disk = Disk::new(Settings {
            folder,
            store,
            ..settings
        })
        .expect("a disk");
        Self { place, disk }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// A folder of the test's own, which nobody watches.
    pub(crate) fn outside(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn launch(&self, program: &str) -> Launch {
        launch(program)
            .folder(self.folder())
            .watch(self.disk.clone())
    }

    /// Python, not started yet.
    fn python_launch(&self, script: &str) -> Launch {
        let script = format!("{PRELUDE}\n{}\n{script}", numbers());
        let errors =
            std::fs::File::create(self.place.path().join("errors")).expect("it can be made");
        self.launch("/usr/bin/python3")
            .args(["-c", &script])
            .stdin(Stream::Pipe)
            .stdout(Stream::Pipe)
            .stderr(errors)
    }

    pub(crate) fn python(&self, script: &str) -> Program {
        self.python_launch(script).start().expect("Python starts")
    }

    /// As on kernels before 5.19, where any signal interrupts a call that waits.
    pub(crate) fn interruptible(&self, script: &str) -> Program {
        let launch = self.python_launch(script).let_signals_interrupt();
        launch.start().expect("Python starts")
    }

    pub(crate) fn run_interruptible(&self, script: &str) {
        self.to_the_end(self.interruptible(script), script);
    }

    /// Runs a script to its end, which must be a good one. Gives what it said.
    pub(crate) fn run(&self, script: &str) -> String {
        self.to_the_end(self.python(script), script)
    }

    fn to_the_end(&self, mut program: Program, script: &str) -> String {
        let said = said(&mut program);
        let end = program.wait(PATIENCE);
        let errors = std::fs::read_to_string(self.place.path().join("errors")).unwrap_or_default();
        assert_eq!(end, Some(Exit::Code(0)), "{script}\n{errors}");
        assert!(
            program.wait_gone(PATIENCE),
            "{script}: something of it is left"
        );
        said
    }

    pub(crate) fn lose_power(&self) {
        self.disk
            .power_loss(PowerLoss::Strict)
            .expect("the power can be lost");
    }

    /// All that is in the folder: a file's bytes, a link's target, nothing for a folder.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        walk(&self.folder(), Path::new(""), &mut all);
        all
    }
}

/// `sync_file_range`, whose number libc leaves out on aarch64.
#[cfg(target_arch = "x86_64")]
const SYNC_FILE_RANGE: i64 = libc::SYS_sync_file_range;
#[cfg(target_arch = "aarch64")]
const SYNC_FILE_RANGE: i64 = 84;

/// The calls that scripts make by number, which differ between architectures.
fn numbers() -> String {
    let calls = [
        ("sync_file_range", SYNC_FILE_RANGE),
        ("fallocate", libc::SYS_fallocate),
        ("syncfs", libc::SYS_syncfs),
        ("renameat2", libc::SYS_renameat2),
        ("pwritev2", libc::SYS_pwritev2),
        ("openat", libc::SYS_openat),
        ("openat2", libc::SYS_openat2),
        ("write", libc::SYS_write),
        ("ioctl", libc::SYS_ioctl),
        ("io_setup", libc::SYS_io_setup),
        ("io_submit", libc::SYS_io_submit),
        ("io_uring_setup", libc::SYS_io_uring_setup),
    ];
    let line = |(name, number): &(&str, i64)| format!("{name} = {number}\n");
    calls.iter().map(line).collect()
}

fn walk(root: &Path, inner: &Path, all: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(root.join(inner))
        .expect("a folder")
        .map(Result::unwrap)
    {
        let (path, kind) = (inner.join(entry.file_name()), entry.file_type().unwrap());
        let shown = if kind.is_dir() {
            walk(root, &path, all);
            "a folder".to_owned()
        } else if kind.is_symlink() {
            format!(
                "leads to {}",
                std::fs::read_link(entry.path()).unwrap().display()
            )
        } else if kind.is_file() {
            String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned()
        } else {
            "something else".to_owned()
        };
        all.insert(path, shown);
    }
}
