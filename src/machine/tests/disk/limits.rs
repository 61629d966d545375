//! What cannot be undone is noticed and said; what is none of the disk's business is left alone.

use machine::disk::undo::PowerLoss;
use machine::disk::{PowerError, Settings};

use crate::node::Node;
use crate::support::hobbled::{Refused, once_more};

fn refused(script: &str) -> String {
    let node = Node::new();
    node.run(script);
    match node.disk.power_loss(PowerLoss::Strict) {
        Err(error @ PowerError::NotOffered(_)) => error.to_string(),
        other => panic!("{script}: {other:?}"),
    }
}

#[test]
fn a_file_mapped_shared_and_writable_ends_the_offer() {
    let sentence = "this node offers no power loss: it maps e/g shared and writable, and what it writes there cannot be seen";
    assert_eq!(
        refused("mmap.mmap(os.open('e/g', RW), 0)[0:2] = b'YY'"),
        sentence
    );
    let later = "libc.mmap.restype = ctypes.c_void_p; libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
at = libc.mmap(None, 8192, 1, 1, os.open('e/g', RW), 0)
assert libc.mprotect(ctypes.c_void_p(at), 4096, 3) == 0";
    assert_eq!(refused(later), sentence);
}

#[test]
fn other_mappings_do_not() {
    let node = Node::new();
    node.run("fd = os.open('e/g', RW); mmap.mmap(fd, 0, prot=mmap.PROT_READ); mmap.mmap(fd, 0, mmap.MAP_PRIVATE); mmap.mmap(-1, 8192); b = bytearray(1 << 24)");
    node.lose_power();
}

#[test]
fn a_volatile_file_may_be_mapped_and_is_gone_after_a_power_loss() {
    let node = Node::with(Settings {
        volatile: vec!["*-shm".to_owned()],
        ..Settings::default()
    });
    node.run("fd = os.open('d/f-shm', os.O_CREAT | RW); os.ftruncate(fd, 4096); mmap.mmap(fd, 0)[0:2] = b'YY'; os.fsync(fd)");
    assert_eq!(
        (
            node.disk.state().unsynced_bytes,
            node.disk.state().unsynced_names
        ),
        (0, 0)
    );
    assert!(node.folder().join("d/f-shm").exists());
    node.lose_power();
    assert!(!node.folder().join("d/f-shm").exists());
    assert!(node.folder().join("d").exists());
}

#[test]
fn ways_to_write_that_nobody_can_follow_are_refused() {
    let node = Node::new();
    node.run(
        "context = ctypes.c_ulong(0)
fails(errno.ENOSYS, call, io_setup, 8, ctypes.byref(context))
fails(errno.ENOSYS, call, io_submit, 0, 0, 0)
fails(errno.ENOSYS, call, io_uring_setup, 8, ctypes.create_string_buffer(128))
fails(errno.EOPNOTSUPP, call, ioctl, os.open('f', RW), 0x40049409, os.open('e/g', RW))
fails(errno.EOPNOTSUPP, call, fallocate, os.open('e/g', RW), 8, ctypes.c_long(0), ctypes.c_long(4096))
import array, fcntl, termios; fcntl.ioctl(os.pipe()[0], termios.FIONREAD, array.array('i', [0]))",
    );
    node.lose_power();
}

#[test]
fn writes_elsewhere_are_counted_and_go_on() {
    let node = Node::new();
    let elsewhere = node.outside().join("pid");
    node.run(&format!("fd = os.open({elsewhere:?}, os.O_CREAT | os.O_TRUNC | RW); os.write(fd, b'1'); os.write(fd, b'2'); print('to a pipe'); os.rename({elsewhere:?}, {elsewhere:?} + '2')"));
    let state = node.disk.state();
    assert_eq!(
        state.outside.into_iter().collect::<Vec<_>>(),
        [(elsewhere.clone(), 2)]
    );
    assert_eq!((state.unsynced_bytes, state.unsynced_names), (0, 0));
    node.lose_power();
    assert_eq!(
        std::fs::read_to_string(elsewhere.with_file_name("pid2")).unwrap(),
        "12"
    );
}

#[test]
fn a_process_may_not_make_a_file_larger_than_its_limit() {
    let node = Node::new();
    node.run(
        "import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
fd = os.open('f', RW | os.O_APPEND)
assert os.write(fd, b'a' * 15) == 10
fails(errno.EFBIG, os.write, fd, b'a')
fails(errno.EFBIG, os.ftruncate, fd, 21)
fails(errno.EFBIG, os.posix_fallocate, fd, 0, 21)
fd = os.open('f', RW)
assert os.sendfile(fd, os.open('e/g', RW), 0, 500) == 20
fails(errno.EFBIG, os.sendfile, fd, os.open('e/g', RW), 0, 500)
assert read('f') == b'x' * 20
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
if (child := os.fork()) == 0:
    os.write(fd, b'a')
    os._exit(0)
assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGXFSZ",
    );
    node.lose_power();
}

#[test]
fn a_disk_that_cannot_have_a_programs_descriptors_says_so() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let name = "limits::a_disk_that_cannot_have_a_programs_descriptors_says_so";
    if once_more(&[Refused::always(libc::SYS_pidfd_getfd)], name) {
        return;
    }
    let sentence = "this node offers no power loss: a descriptor of the program could not be had (Operation not permitted (os error 1))";
    assert_eq!(
        refused("assert os.write(os.open('f', RW), b'XX') == 2"),
        sentence
    );
}
