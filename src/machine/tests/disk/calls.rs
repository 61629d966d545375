//! Each call of the table, by a real program: without a sync a power loss takes it back, with one it stays.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use machine::launch::Exit;

use crate::node::Node;
use crate::support::PATIENCE;

/// The script changes the folder. Without a sync the change does not survive a power loss, after `sync` it does.
fn check(script: &str) {
    for sync in ["", "os.sync()"] {
        let node = Node::new();
        let before = node.contents();
        node.run(&format!("{script}\n{sync}"));
        let after = node.contents();
        assert_ne!(before, after, "{script}: nothing changed");
        node.lose_power();
        let expected = if sync.is_empty() { &before } else { &after };
        assert!(
            node.contents() == *expected,
            "{script}\n{sync}: {:#?}",
            node.contents()
        );
        assert_eq!(node.disk.state().limits, Vec::<String>::new(), "{script}");
    }
}

/// The script syncs by itself as much as is needed: all that it did survives.
fn check_durable(script: &str) {
    let node = Node::new();
    let before = node.contents();
    node.run(script);
    let after = node.contents();
    assert_ne!(before, after, "{script}: nothing changed");
    node.lose_power();
    assert!(node.contents() == after, "{script}: {:#?}", node.contents());
}

#[test]
fn writes_are_undone_until_they_are_synced() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "fd = os.open('f', RW); assert os.write(fd, b'XX') == 2; assert os.write(fd, b'YY') == 2; assert read('f') == b'XXYY456789'",
    );
    check(
        "fd = os.open('f', os.O_WRONLY | os.O_APPEND); assert os.write(fd, b'XX') == 2; assert os.lseek(fd, 0, 1) == 12; assert read('f') == b'0123456789XX'",
    );
    check(
        "fd = os.open('f', RW); assert os.pwrite(fd, b'XX', 20) == 2; assert os.lseek(fd, 0, 1) == 0; assert len(read('f')) == 22",
    );
    check(
        "fd = os.open('f', os.O_WRONLY | os.O_APPEND); os.pwrite(fd, b'XX', 0); assert read('f') == b'0123456789XX'",
    );
    check(
        "fd = os.open('f', RW); assert os.writev(fd, [b'ab', b'', b'cd']) == 4; assert read('f') == b'abcd456789'",
    );
    check(
        "fd = os.open('f', RW); assert os.pwritev(fd, [b'ab', b'cd'], 8) == 4; assert read('f') == b'01234567abcd'",
    );
    check(
        "fd = os.open('e/g', RW); data = os.urandom(5000000); assert os.write(fd, data) == 5000000; assert read('e/g') == data",
    );
    // Position -1 is the open file's own.
    check(
        "fd = os.open('f', RW); b = ctypes.create_string_buffer(b'ab', 2); v = (ctypes.c_size_t * 2)(ctypes.addressof(b), 2); assert call(pwritev2, fd, v, 1, -1, -1, 0) == 2; assert os.lseek(fd, 0, 1) == 2; assert read('f')[:2] == b'ab'",
    );
    check("with open('f', 'ab') as file: file.write(b'z' * 100000)");
}

#[test]
fn sizes_are_undone_until_they_are_synced() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check("fd = os.open('e/g', RW); os.ftruncate(fd, 5); assert read('e/g') == b'xxxxx'");
    check("os.truncate('f', 3); assert read('f') == b'012'");
    check("os.truncate('f', 50000); assert len(read('f')) == 50000");
    check("fd = os.open('f', RW); os.posix_fallocate(fd, 5, 8000); assert len(read('f')) == 8005");
    check(
        "fd = os.open('e/g', RW); call(fallocate, fd, 3, ctypes.c_long(100), ctypes.c_long(20000)); assert read('e/g')[100:20100] == bytes(20000)",
    );
    check(
        "fd = os.open('e/g', RW); call(fallocate, fd, 16, ctypes.c_long(29000), ctypes.c_long(9000)); assert len(read('e/g')) == 38000",
    );
}

#[test]
fn what_the_kernel_copies_is_undone_until_it_is_synced() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "fd = os.open('f', RW); assert os.copy_file_range(os.open('e/g', RW), fd, 4) == 4; assert os.lseek(fd, 0, 1) == 4; assert read('f') == b'xxxx456789'",
    );
    check(
        "assert os.copy_file_range(os.open('e/g', RW), os.open('f', RW), 4, 0, 8) == 4; assert read('f') == b'01234567xxxx'",
    );
    check(
        "fd = os.open('f', RW); assert os.sendfile(fd, os.open('e/g', RW), 0, 20000) == 20000; assert read('f') == b'x' * 20000",
    );
    check(
        "fd = os.open('f', RW); r, w = os.pipe(); os.write(w, b'abc'); assert os.splice(r, fd, 100, offset_dst=2) == 3; assert read('f') == b'01abc56789'",
    );
    // The pipe is empty at first: the call waits, and other threads go on.
    check(
        "fd = os.open('f', RW); r, w = os.pipe(); t = threading.Timer(0.1, os.write, (w, b'abc')); t.start(); assert os.splice(r, fd, 100) == 3; assert read('f') == b'abc3456789'",
    );
    check("import shutil; shutil.copyfile('e/g', 'copy'); assert read('copy') == b'x' * 30000");
}

#[test]
fn opens_that_truncate_or_make_a_file_are_undone_until_they_are_synced() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check("open('f', 'wb').close(); assert read('f') == b''");
    check("open('f', 'wb').write(b'new'); assert read('f') == b'new'");
    check("os.open('new', os.O_CREAT | RW, 0o640)");
    check("fd = os.open('d/new', os.O_CREAT | os.O_EXCL | os.O_WRONLY); os.write(fd, b'x' * 9000)");
    check(
        "how = (ctypes.c_uint64 * 3)(os.O_CREAT | RW, 0o600, 0); call(openat2, -100, b'new', how, 24)",
    );
    check("d = os.open('d', os.O_RDONLY); os.open('new', os.O_CREAT | RW, dir_fd=d)");
    check(
        "os.symlink('d/far', 'near'); open('near', 'wb').write(b'abc'); assert read('d/far') == b'abc'",
    );
    check("os.chdir('d'); open('../new', 'wb').write(b'abc')");
}

#[test]
fn an_open_that_is_carried_out_here_looks_to_the_program_as_ever() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::new();
    node.run(
        "os.umask(0o027)
first = os.open('f', RW)
fd = os.open('new', os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o666)
assert fd == first + 1 and not os.get_inheritable(fd)
assert os.stat('new').st_mode & 0o7777 == 0o640
assert libc.fcntl(fd, 3) & os.O_APPEND
fails(errno.EBADF, os.read, fd, 1)
fails(errno.EEXIST, os.open, 'new', os.O_CREAT | os.O_EXCL | RW)
fails(errno.ENOENT, os.open, 'nowhere/new', os.O_CREAT | RW)
fails(errno.EISDIR, os.open, 'd', os.O_CREAT | RW)
fails(errno.EISDIR, os.open, 'd', os.O_TRUNC | RW)
fails(errno.ENOTDIR, os.open, 'f/new', os.O_CREAT | RW)
os.symlink('f', 'link')
fails(errno.ELOOP, os.open, 'link', os.O_TRUNC | RW | os.O_NOFOLLOW)
bare = call(openat, -100, b'bare', os.O_CREAT | RW, 0o600)
assert os.get_inheritable(bare)
fails(errno.ENOTDIR, os.unlink, 'f/')
fails(errno.EISDIR, os.unlink, 'd')
fails(errno.ENOTDIR, os.rmdir, 'f')
fails(errno.ENOTEMPTY, os.rmdir, 'e')
fails(errno.ENOENT, os.rename, 'nothing', 'f')
fails(errno.EISDIR, os.rename, 'f', 'd')
fails(errno.EINVAL, os.ftruncate, first, -1)
fails(errno.EBADF, os.write, os.open('f', os.O_RDONLY), b'x')
fails(errno.EFAULT, call, write, first, 8, 5)
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (bare + 2, bare + 2))
fails(errno.EMFILE, os.open, 'one-too-many', os.O_CREAT | RW)
assert not os.path.exists('one-too-many')
",
    );
    let mode = std::fs::metadata(node.folder().join("new")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

/// The bench has a standard output too, which is another.
#[test]
fn a_file_that_is_opened_by_its_descriptor_is_the_programs() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "os.dup2(os.open('f', RW), 1); os.open('/dev/stdout', os.O_WRONLY | os.O_TRUNC); assert read('f') == b''",
    );
    check(
        "fd = os.open('f', RW); os.open(f'/proc/self/fd/{fd}', RW | os.O_TRUNC); os.truncate(f'/dev/fd/{fd}', 3); assert read('f') == bytes(3)",
    );
}

#[test]
fn names_are_undone_until_they_are_synced() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check("os.mkdir('new'); os.mkdir('new/inner'); open('new/inner/h', 'w').write('abc')");
    check("os.rmdir('d')");
    check("os.rename('f', 'd/f')");
    check("os.rename('f', 'e/g')");
    check("os.rename('e', 'd/e')");
    check("open('tmp', 'w').write('new'); os.rename('tmp', 'f')");
    check("call(renameat2, -100, b'f', -100, b'e', 2); assert read('e') == b'0123456789'");
    check(
        "fails(errno.EEXIST, call, renameat2, -100, b'f', -100, b'e/g', 1); call(renameat2, -100, b'f', -100, b'f2', 1)",
    );
    check("os.link('f', 'd/again'); open('f', 'ab').write(b'both')");
    check("os.symlink('nowhere', 'link')");
    check("os.symlink('f', 'link'); os.rename('link', 'e/g')");
    check("os.unlink('f'); os.unlink('e/g'); os.rmdir('e')");
    check("os.mkfifo('pipe')");
    check("fd = os.open('f', RW); os.unlink('f'); os.write(fd, b'gone')");
    check("import shutil; shutil.rmtree('e'); os.mkdir('e'); open('e/g', 'w').write('other')");
}

#[test]
fn a_sync_makes_durable_what_it_reaches_and_nothing_else() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check_durable("fd = os.open('f', RW); os.write(fd, b'XX'); os.fsync(fd)");
    check_durable("fd = os.open('f', RW); os.write(fd, b'XX'); os.fdatasync(fd)");
    check_durable("fd = os.open('f', RW); os.write(fd, b'XX'); call(syncfs, fd)");
    check_durable("fd = os.open('new', os.O_CREAT | RW); os.write(fd, b'XX'); os.fsync(fd)");
    check_durable(
        "open('t', 'w').write('new'); fd = os.open('t', RW); os.fsync(fd); os.rename('t', 'f'); os.fsync(os.open('.', os.O_RDONLY))",
    );
    check_durable("fd = os.open('f', RW | os.O_DSYNC); os.write(fd, b'XX')");
    check_durable(
        "fd = os.open('f', RW | os.O_SYNC | os.O_APPEND); os.write(fd, b'XX'); os.write(fd, b'YY'); assert read('f') == b'0123456789XXYY'",
    );
    check_durable("fd = os.open('f', RW); os.pwritev(fd, [b'XX'], 8, os.RWF_DSYNC)");
    check_durable(
        "fd = os.open('f', RW); os.pwrite(fd, b'aaaa', 0); os.pwritev(fd, [b'XX'], 2, os.RWF_SYNC)",
    );
    // What is promised to nobody is not kept.
    let node = Node::new();
    node.run(
        "fd = os.open('f', RW)
os.write(fd, b'one'); os.fsync(fd); os.write(fd, b'two')
call(sync_file_range, fd, 0, 0, 7)
os.rename('e/g', 'e/h'); os.fsync(os.open('d', os.O_RDONLY))",
    );
    node.lose_power();
    let contents = node.contents();
    assert_eq!(contents[std::path::Path::new("f")], "one3456789");
    assert!(contents.contains_key(std::path::Path::new("e/g")));
}

#[test]
fn threads_children_and_passed_descriptors_are_watched_alike() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "fd = os.open('f', RW); t = threading.Thread(target=os.write, args=(fd, b'XX')); t.start(); t.join(); assert read('f')[:2] == b'XX'",
    );
    check(
        "fd = os.open('f', RW); pid = os.fork() or (os.write(fd, b'XX'), os._exit(0)); os.waitpid(pid, 0); os.write(fd, b'YY'); assert read('f')[:4] == b'XXYY'",
    );
    check(
        "import socket; a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [os.open('f', RW)]); fd = socket.recv_fds(b, 1, 1)[1][0]; os.write(fd, b'XX')",
    );
    check("os.system('echo more >> f; mv f d/f; sed -i s/x/y/ e/g')");
}

/// The names that newer architectures do without: creat, rename, link, unlink, mkdir, rmdir, symlink, mknod.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_older_calls_are_undone_until_they_are_synced() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check("call(85, b'f', 0o600); call(85, b'made', 0o600); assert read('f') == b''");
    check(
        "call(82, b'f', b'f2'); call(86, b'f2', b'f3'); call(87, b'f2'); call(83, b'x', 0o700); call(84, b'd')
call(88, b'f3', b'link'); call(133, b'fifo', 0o10600, 0); call(2, b'opened', os.O_CREAT | RW, 0o600)",
    );
}

#[test]
fn a_call_that_a_signal_interrupts_is_carried_out_once() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::new();
    node.run_interruptible(
        "import signal
before = len(os.listdir('/proc/self/fd'))
came = 0
def tick(*_):
    global came
    came += 1
signal.signal(signal.SIGALRM, tick)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
fd = os.open('f', os.O_WRONLY | os.O_APPEND)
for n in range(600):
    assert os.write(fd, b'ab') == 2
    if n % 20 == 0:
        os.fsync(fd)
        os.close(os.open('new-%d' % n, os.O_CREAT | os.O_EXCL | RW))
        os.rename('new-%d' % n, 'old-%d' % n)
        os.unlink('old-%d' % n)
signal.setitimer(signal.ITIMER_REAL, 0)
os.fsync(fd)
assert came > 10, came
assert os.fstat(fd).st_size == 1210, os.fstat(fd).st_size
assert len(os.listdir('/proc/self/fd')) == before + 1",
    );
    node.lose_power();
    let expected = format!("0123456789{}", "ab".repeat(600));
    assert_eq!(node.contents()[std::path::Path::new("f")], expected);
}

/// Threads without a lock among them: writes over the same bytes, appends, truncates, renames and removals, first with
/// syncs between, then, after one sync of everything, without.
#[test]
fn threads_that_race_lose_what_came_after_the_last_sync_and_nothing_else() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let script = "import random
def race(seed, syncs):
    draw = random.Random(seed)
    for i in range(60):
        name = draw.choice('abc')
        try:
            flags = draw.choice([0, os.O_TRUNC, os.O_APPEND])
            fd = os.open(name, RW | os.O_CREAT | flags)
            os.write(fd, bytes([97 + seed]) * draw.randrange(1, 9000))
            os.pwrite(fd, bytes([65 + seed]) * 4096, draw.randrange(8000))
            if draw.random() < 0.3: os.ftruncate(fd, draw.randrange(9000))
            if draw.random() < 0.3: os.rename(name, draw.choice('abc'))
            if draw.random() < 0.2: os.unlink(draw.choice('abc'))
            if draw.random() < 0.2: os.link(name, draw.choice('abc'))
            if syncs and draw.random() < 0.3: os.fsync(draw.choice([fd, top]))
            os.close(fd)
        except (FileNotFoundError, FileExistsError):
            pass
top = os.open('.', os.O_RDONLY)
def all_race(syncs):
    threads = [threading.Thread(target=race, args=(seed, syncs)) for seed in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
all_race(True)
os.sync()
print('synced', flush=True)
sys.stdin.readline()
all_race(False)";
    let node = Node::new();
    for _ in 0..3 {
        let mut program = node.python(script);
        let mut said = [0; 7];
        program
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .expect("it syncs");
        let synced = node.contents();
        program.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(program.wait(PATIENCE), Some(Exit::Code(0)));
        assert!(program.wait_gone(PATIENCE));
        assert!(node.contents() != synced, "nothing changed since");
        node.lose_power();
        assert!(node.contents() == synced);
    }
}
