//! Each harm of a disk, as a program meets it.

use std::io::{Read, Write};
use std::time::Duration;

use machine::disk::harm::{Full, Harms, Limit, SyncHarm};
use machine::disk::undo::PowerLoss;
use machine::disk::{Settings, Syncs};

use crate::node::Node;
use crate::support::until;

fn harmed(sync: SyncHarm) -> Node {
    let node = Node::new();
    node.disk.harm(Harms {
        sync,
        ..Harms::default()
    });
    node
}

fn text(node: &Node, name: &str) -> String {
    node.contents()[std::path::Path::new(name)].clone()
}

#[test]
fn a_slow_sync_takes_longer_and_succeeds() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::Slow(Duration::from_millis(200)));
    node.run("import time; fd = os.open('f', RW); os.write(fd, b'XX'); t = time.monotonic(); os.fsync(fd); assert time.monotonic() - t > 0.2");
    assert_eq!(node.disk.state().met.slow, 1);
    node.lose_power();
    assert_eq!(text(&node, "f"), "XX23456789");
}

#[test]
fn a_held_sync_waits_until_it_is_let_go_and_is_seen_meanwhile() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::Held);
    let mut program = node.python("fd = os.open('f', RW); os.write(fd, b'XX'); os.fsync(fd); print('done', flush=True); sys.stdin.read()");
    until("a sync that is under way", || {
        node.disk.state().syncs_under_way == 1
    });
    assert_eq!(
        (node.disk.state().syncs, node.disk.state().unsynced_bytes),
        (0, 2)
    );
    node.disk.let_go();
    let mut said = [0; 5];
    program
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    assert_eq!(&said, b"done\n");
    let state = node.disk.state();
    assert_eq!(
        (
            state.syncs,
            state.syncs_under_way,
            state.unsynced_bytes,
            state.met.held
        ),
        (1, 0, 0, 1)
    );
}

/// On older kernels each signal interrupts the call, which is then made again: still one sync, and not over before it is.
#[test]
fn a_held_sync_under_signals_is_one_sync() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::Held);
    let mut program = node.interruptible(
        "import signal, time
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
fd = os.open('f', RW)
os.write(fd, b'XX')
def watch():
    # Some thousand signals for the other thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(0.7)
    os.write(1, b'ticked\\n')
threading.Thread(target=watch).start()
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
os.fsync(fd)
signal.setitimer(signal.ITIMER_REAL, 0)
os.write(1, b'done\\n')
sys.stdin.read()",
    );
    until("a sync that is under way", || {
        node.disk.state().syncs_under_way == 1
    });
    let mut said = [0; 7];
    let output = program.stdout.as_mut().unwrap();
    output.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ticked\n");
    let state = node.disk.state();
    assert_eq!(
        (state.syncs, state.syncs_under_way, state.unsynced_bytes),
        (0, 1, 2)
    );
    node.disk.let_go();
    output.read_exact(&mut said[..5]).unwrap();
    assert_eq!(&said[..5], b"done\n");
    assert_eq!(
        (node.disk.state().syncs, node.disk.state().met.held),
        (1, 1)
    );
}

#[test]
fn a_sync_that_was_held_when_the_power_failed_made_nothing_durable() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::Held);
    let mut program = node.python("fd = os.open('f', RW); os.write(fd, b'XX'); os.fsync(fd)");
    until("a sync that is under way", || {
        node.disk.state().syncs_under_way == 1
    });
    program.kill().expect("it can be killed");
    node.lose_power();
    assert_eq!(text(&node, "f"), "0123456789");
    until("the held sync's end", || node.disk.state().syncs == 1);
    assert_eq!(node.disk.state().syncs_under_way, 0);
}

#[test]
fn a_node_that_died_in_a_sync_has_let_go_its_locks() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::Held);
    let locked =
        "import fcntl; fd = os.open('f', RW); fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)";
    for _ in 0..3 {
        let mut program = node.python(&format!("{locked}; os.fsync(fd)"));
        until("a sync that is under way", || {
            node.disk.state().syncs_under_way == 1
        });
        program.kill().expect("it can be killed");
        node.run(locked);
        until("the held sync's end", || {
            node.disk.state().syncs_under_way == 0
        });
    }
}

#[test]
fn after_a_failed_sync_a_good_one_does_not_bring_the_bytes_back() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::FailOnce);
    node.run("fd = os.open('e/g', RW); os.pwrite(fd, b'lost', 0); fails(errno.EIO, os.fsync, fd); os.pwrite(fd, b'kept', 8192); os.fsync(fd)");
    node.lose_power();
    let bytes = text(&node, "e/g");
    assert_eq!((&bytes[..4], &bytes[8192..8196]), ("xxxx", "kept"));
    assert_eq!(node.disk.state().met.failed, 1);
}

#[test]
fn syncs_and_synchronous_writes_fail_as_long_as_the_disk_does() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::Fail);
    node.run("fd = os.open('f', RW); os.write(fd, b'XX'); fails(errno.EIO, os.fsync, fd); fails(errno.EIO, os.fsync, fd); fails(errno.EIO, os.write, os.open('f', RW | os.O_DSYNC), b'YY')");
    node.lose_power();
    assert_eq!(text(&node, "f"), "0123456789");
}

#[test]
fn a_lying_sync_promises_what_a_power_loss_takes() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = harmed(SyncHarm::Lie);
    node.run("fd = os.open('f', RW); os.write(fd, b'XX'); os.fsync(fd); os.write(os.open('new', os.O_CREAT | RW | os.O_SYNC), b'new'); os.sync()");
    assert_eq!(node.disk.state().met.lied, 3);
    node.lose_power();
    assert_eq!(text(&node, "f"), "0123456789");
    assert!(!node.folder().join("new").exists());
}

#[test]
fn a_full_disk_takes_what_fits_and_what_does_not_grow() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::new();
    node.disk.harm(Harms {
        full: Some(Full {
            left: 100,
            limit: Limit::Space,
        }),
        ..Harms::default()
    });
    node.run(
        "fd = os.open('f', RW)
assert os.write(fd, b'a' * 10) == 10
assert os.write(fd, b'b' * 150) == 100
fails(errno.ENOSPC, os.write, fd, b'c')
fails(errno.ENOSPC, os.pwritev, fd, [b'c'], 200)
assert os.pwrite(fd, b'd' * 20, 100) == 10
fails(errno.ENOSPC, os.posix_fallocate, fd, 0, 500)
fails(errno.ENOSPC, os.sendfile, fd, os.open('e/g', RW), 0, 50)
assert len(read('f')) == 110",
    );
    assert_eq!(node.disk.state().met.full, 6);
    node.disk.harm(Harms {
        full: Some(Full {
            left: 0,
            limit: Limit::Quota,
        }),
        ..Harms::default()
    });
    node.run("fails(errno.EDQUOT, os.write, os.open('f', RW | os.O_APPEND), b'c')");
    node.disk.harm(Harms::default());
    node.run("os.write(os.open('f', RW | os.O_APPEND), b'c')");
}

#[test]
fn a_short_write_writes_half() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::new();
    node.disk.harm(Harms {
        short_writes: 2,
        ..Harms::default()
    });
    node.run("fd = os.open('f', RW); assert [os.write(fd, b'abcd') for _ in range(4)] == [4, 2, 4, 2]; os.fsync(fd)");
    node.lose_power();
    assert_eq!(text(&node, "f"), "abcdababcdab");
    assert_eq!(node.disk.state().met.short, 2);
}

#[test]
fn reads_fail_where_they_may_come_to() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::with(Settings {
        reads: true,
        ..Settings::default()
    });
    let mut program = node.python("fd = os.open('f', RW); assert os.read(fd, 3) == b'012'; print('first', flush=True); sys.stdin.readline(); fails(errno.EIO, os.read, fd, 3); fails(errno.EIO, os.pread, fd, 3, 0); fails(errno.EIO, os.preadv, fd, [bytearray(3)], 0); print('second')");
    let mut output = program.stdout.take().unwrap();
    let mut first = [0; 6];
    output.read_exact(&mut first).unwrap();
    node.disk.harm(Harms {
        reads_fail: true,
        ..Harms::default()
    });
    program.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second\n");
    assert_eq!(node.disk.state().met.reads, 3);
}

#[test]
fn each_read_gives_one_bit_that_is_not_on_the_disk() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::with(Settings {
        reads: true,
        ..Settings::default()
    });
    node.disk.harm(Harms {
        reads_flip: true,
        ..Harms::default()
    });
    node.run(
        "
def wrong(got, written):
    assert len(got) == len(written), got
    bits = [bin(one ^ other).count('1') for one, other in zip(got, written)]
    assert sum(bits) == 1, bits
fd = os.open('f', RW)
wrong(os.read(fd, 4), b'0123')
wrong(os.read(fd, 100), b'456789')
assert os.read(fd, 4) == b'', 'the position has moved on'
wrong(os.pread(fd, 5, 2), b'23456')
into = [bytearray(3), bytearray(4)]
assert os.preadv(fd, into, 1) == 7
wrong(into[0] + into[1], b'1234567')
fails(errno.EBADF, os.read, os.open('f', os.O_WRONLY), 1)",
    );
    assert_eq!(node.disk.state().met.flipped, 4);
    assert_eq!(text(&node, "f"), "0123456789");
    node.disk.harm(Harms::default());
    node.run("assert os.read(os.open('f', RW), 4) == b'0123'");
}

#[test]
fn bits_flip_on_the_disk_and_not_in_what_was_written_since() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::new();
    node.run("os.pwrite(os.open('f', RW), b'XX', 0)");
    node.disk
        .flip("f".as_ref(), 0, 1)
        .expect("it holds that byte");
    node.disk
        .flip("f".as_ref(), 9, 1)
        .expect("it holds that byte");
    assert_eq!(text(&node, "f"), "XX23456788");
    assert!(node.disk.flip("f".as_ref(), 10, 1).is_err());
    node.lose_power();
    assert_eq!(text(&node, "f"), "1123456788");
}

#[test]
fn the_machines_own_disk_syncs_as_well() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let node = Node::with(Settings {
        syncs: Syncs::Real,
        ..Settings::default()
    });
    node.run("fd = os.open('f', RW); os.write(fd, b'XX'); os.fsync(fd); os.write(os.open('f', RW | os.O_DSYNC), b'YY'); os.write(fd, b'ZZ'); os.fsync(os.open('.', os.O_RDONLY))");
    node.lose_power();
    assert_eq!(text(&node, "f"), "YY23456789");
}

#[test]
fn some_pages_of_an_unsynced_write_survive_where_some_may() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let node = Node::new();
        node.run("os.pwrite(os.open('e/g', RW), b'y' * 12288, 0)");
        node.disk
            .power_loss(PowerLoss::Subset(seed))
            .expect("the power can be lost");
        let bytes = text(&node, "e/g").into_bytes();
        let pages: Vec<bool> = (0..3).map(|page| bytes[page * 4096] == b'y').collect();
        assert!(
            bytes[..12288]
                .chunks(4096)
                .zip(&pages)
                .all(|(page, new)| page.iter().all(|byte| (*byte == b'y') == *new))
        );
        seen.insert(pages);
    }
    assert!(seen.len() > 3, "{seen:?}");
}
