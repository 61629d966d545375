//! Watchers: what they can see of a call, how they answer it, and that signals do not make two calls of one.

mod support;

use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use machine::call::Reply;
use machine::caller::Caller;
use machine::launch::{Exit, Launch, Stream};
use machine::watcher::{Answer, Want, Watcher};
use support::{PATIENCE, launch, python, said};

/// A watcher of one system call that no script here makes by itself: `acct`, with whatever arguments.
struct Acct<F>(F);

impl<F: Fn(&Caller) -> Answer + Send + Sync> Watcher for Acct<F> {
    fn wants(&self) -> Vec<Want> {
        vec![Want::Always(libc::SYS_acct)]
    }

    fn answer(&self, caller: &Caller) -> Answer {
        (self.0)(caller)
    }
}

/// A script that can say `acct(...)`, which gives the value or the negative error number.
fn script(text: &str) -> Launch {
    let head = format!(
        "
import ctypes, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def acct(*args):
    value = libc.syscall({}, *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return value if value != -1 else -ctypes.get_errno()
",
        libc::SYS_acct
    );
    let errors: OwnedFd = std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .expect("it can be copied");
    launch(python())
        .args(["-c", &(head + text)])
        .stdout(Stream::Pipe)
        .stderr(std::fs::File::from(errors))
}

fn check(launch: Launch, expected: &str) -> u64 {
    let mut program = launch.start().expect("it starts");
    let text = said(&mut program);
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(0)), "{text}");
    assert_eq!(text.trim_end(), expected);
    program.broken()
}

#[test]
fn a_watcher_sees_memory_and_descriptors_and_gives_values_and_errors() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let seen = |caller: &Caller| {
        let look = || -> std::io::Result<i64> {
            let [at, fd, ..] = caller.call().args;
            let fd = fd as i32;
            assert_eq!(caller.string(at)?.as_bytes(), [b'z'; 3000]);
            assert_eq!(caller.bytes(at, 3)?, b"zzz");
            assert!(caller.target(fd)?.to_string_lossy().ends_with("(deleted)"));
            let open = caller.open_file(fd)?;
            assert_eq!(open.position, 5);
            assert_eq!(open.flags & libc::O_ACCMODE, libc::O_RDWR);
            assert_ne!(open.flags & libc::O_CLOEXEC, 0);
            // The same open file: its position is shared.
            let mut file = std::fs::File::from(caller.take(fd)?);
            let mut rest = String::new();
            file.read_to_string(&mut rest)?;
            assert_eq!(rest, "world");
            file.seek(SeekFrom::Start(1))?;
            caller.write(at, b"written")?;
            // Another file under the same number.
            let (read, write) = std::io::pipe()?;
            caller.put(&write, fd, 0)?;
            drop(write);
            drop(read);
            assert!(caller.target(fd)?.to_string_lossy().starts_with("pipe:"));
            assert_eq!(
                caller.string(1).err().and_then(|e| e.raw_os_error()),
                Some(libc::EFAULT)
            );
            assert_eq!(
                caller.target(999).err().and_then(|e| e.raw_os_error()),
                Some(libc::EBADF)
            );
            assert_eq!(
                caller.take(999).err().and_then(|e| e.raw_os_error()),
                Some(libc::EBADF)
            );
            assert_eq!(caller.process()?, caller.call().args[2] as u32);
            assert!(caller.waits());
            Ok(1 << 40)
        };
        Reply::Value(look().expect("all of it can be seen")).into()
    };
    let broken = check(
        script(
            "
import mmap, tempfile
f = tempfile.TemporaryFile(buffering=0)
f.write(b'helloworld')
f.seek(5)
# The string ends with its page, and crosses another's end.
m = mmap.mmap(-1, 3 * 4096)
libc.mprotect(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(m)) + 8192), 4096, 0)
at = ctypes.addressof(ctypes.c_char.from_buffer(m)) + 8192 - 3001
ctypes.memmove(at, b'z' * 3000 + b'\\0', 3001)
libc.syscall.restype = ctypes.c_long
def other():
    print(acct(at, f.fileno(), os.getpid()) == 1 << 40, ctypes.string_at(at, 8), os.fstat(f.fileno()).st_mode >> 12)
t = threading.Thread(target=other)
t.start()
t.join()",
        )
        .watch(Arc::new(Acct(seen))),
        "True b'writtenz' 1",
    );
    assert_eq!(broken, 0);
}

#[test]
fn watchers_are_asked_in_turn_and_a_panic_is_the_benchs_own() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let first = Acct(|caller: &Caller| match caller.call().args[0] {
        1 => Reply::Errno(libc::EIO).into(),
        2 => panic!("the bench is at fault"),
        3 => Answer::later(|| panic!("the bench is at fault, later")),
        _ => Answer::Pass,
    });
    let second = Acct(|caller: &Caller| match caller.call().args[0] {
        4 => Reply::Value(44).into(),
        5 => Reply::Continue.into(),
        _ => Answer::Pass,
    });
    // The kernel finds no path at these addresses, or no right to do it.
    let broken = check(
        script("print(acct(1), [acct(n) in (-1, -14, -38) for n in (2, 3, 5, 6)], acct(4))")
            .watch(Arc::new(first))
            .watch(Arc::new(second)),
        "-5 [True, True, True, True] 44",
    );
    assert_eq!(broken, 2);
}

#[test]
fn a_call_that_is_held_holds_no_other() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let gate = Arc::new((Mutex::new(0), Condvar::new()));
    let watcher = Acct(move |_: &Caller| {
        let gate = Arc::clone(&gate);
        // Each waits until all of them are there: answered one after the other, none ever would be.
        Answer::later(move || {
            let mut here = gate.0.lock().expect("nobody panicked");
            *here += 1;
            gate.1.notify_all();
            let here = gate
                .1
                .wait_while(here, |here| *here < 20)
                .expect("nobody panicked");
            Reply::Value(*here)
        })
    });
    check(
        script(
            "
got = []
threads = [threading.Thread(target=lambda: got.append(acct(0))) for _ in range(20)]
for t in threads: t.start()
for t in threads: t.join()
print(got == [20] * 20)",
        )
        .watch(Arc::new(watcher)),
        "True",
    );
}

#[test]
fn hundreds_of_calls_that_wait_hold_no_other() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let gate = Arc::new((Mutex::new((0, false)), Condvar::new()));
    let watcher = Acct(move |caller: &Caller| {
        let gate = Arc::clone(&gate);
        let mut now = gate.0.lock().expect("nobody panicked");
        match caller.call().args[0] {
            // How many wait.
            0 => Reply::Value(now.0).into(),
            1 => {
                now.1 = true;
                gate.1.notify_all();
                Reply::Value(0).into()
            }
            _ => {
                now.0 += 1;
                drop(now);
                Answer::later(move || {
                    let now = gate.0.lock().expect("nobody panicked");
                    drop(gate.1.wait_while(now, |now| !now.1));
                    Reply::Value(7)
                })
            }
        }
    });
    check(
        script(
            "
got = []
threading.stack_size(65536)
threads = [threading.Thread(target=lambda: got.append(acct(2))) for _ in range(400)]
for t in threads: t.start()
while acct(0) < 400: time.sleep(0.001)
# While all of them wait, two threads have a thousand calls each answered, and children theirs.
def ask(): assert all(acct(0) == 400 for _ in range(1000))
asking = [threading.Thread(target=ask) for _ in range(2)]
for t in asking: t.start()
for t in asking: t.join()
import subprocess
print(len(got), subprocess.run(['true']).returncode)
acct(1)
for t in threads: t.join()
print(got == [7] * 400)",
        )
        .watch(Arc::new(watcher)),
        "0 0\nTrue",
    );
}

/// A thread is bombarded with signals while each of its calls takes longer than a signal takes to come.
fn bombarded(launch: impl Fn(Launch) -> Launch) -> u64 {
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    let watcher = Acct(move |caller: &Caller| {
        let (count, number) = (Arc::clone(&count), caller.call().args[0] as i64);
        Answer::later(move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(15));
            Reply::Value(number)
        })
    });
    let text = "
hits = 0
def hit(*_):
    global hits
    hits += 1
signal.signal(signal.SIGALRM, hit)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
right = all(acct(n) == n for n in range(1, 51))
signal.setitimer(signal.ITIMER_REAL, 0)
print(right, hits > 20)";
    check(launch(script(text)).watch(Arc::new(watcher)), "True True");
    done.load(Ordering::Relaxed)
}

#[test]
fn a_call_that_signals_interrupt_is_done_once() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    assert_eq!(bombarded(|launch| launch), 50);
}

#[test]
fn a_call_that_signals_interrupt_is_done_once_on_an_older_kernel_too() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    assert_eq!(bombarded(Launch::let_signals_interrupt), 50);
    let program = launch("/bin/true")
        .let_signals_interrupt()
        .start()
        .expect("it starts");
    assert!(program.signals_interrupt());
}
