//! A node's own network, as real programs meet it: ports side by side, connections by the links, localhost.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::launch::{Exit, Launch, Program, Stream};
use machine::net::{Host, Network, NodeId, Way};
use support::forward::Forward;
use support::hobbled::{Refused, hobbled};
use support::{PATIENCE, launch, python, said, until};

/// Two nodes and what lies between them.
struct Two {
    network: Arc<Network>,
    links: Arc<Forward>,
    hosts: [Arc<Host>; 2],
}

impl Two {
    fn new() -> Self {
        Self::by(Way::here())
    }

    fn by(way: Way) -> Self {
        let network = Network::claim().expect("addresses are free");
        let links = Forward::new(&network);
        let hosts = [1, 2].map(|node| Host::by(way, &network, node, links.clone()));
        Self {
            network,
            links,
            hosts,
        }
    }

    fn on(&self, node: NodeId, program: &str) -> Launch {
        let host = &self.hosts[usize::from(node) - 1];
        launch(program)
            .stdout(Stream::Pipe)
            .watch(Arc::new(Arc::clone(host)))
            .env("PEER", self.network.address(3 - node).to_string())
            .env("OWN", self.network.address(node).to_string())
    }

    fn python(&self, node: NodeId, script: &str) -> Launch {
        self.on(node, python()).args(["-c", script])
    }

    fn at(&self, node: NodeId, port: u16) -> SocketAddr {
        (self.network.address(node), port).into()
    }
}

/// Accepts on port 9000 of any address, says who has connected, and echoes.
const ECHO: &str = "
import os, socket, threading
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 9000))
s.listen(100)
print(s.getsockname(), flush=True)
def serve(c):
    with c:
        while True:
            d = c.recv(100)
            if not d: return
            c.sendall(d)
while True:
    c, a = s.accept()
    print(a[0], flush=True)
    threading.Thread(target=serve, args=(c,)).start()
";

/// A program and the lines that it says.
struct Talking(Program, BufReader<std::fs::File>);

impl Talking {
    fn new(launch: Launch) -> Self {
        let mut program = launch.start().expect("it starts");
        let output = program.stdout.take().expect("a pipe was asked for");
        Self(program, BufReader::new(output))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("it says text");
        line.trim_end().to_owned()
    }
}

/// Runs a script on node 1 while node 2 echoes, by both ways of coming by a socket: what it says, and the connections
/// that the echo saw.
fn check(script: &str, expected: &str, connections: u64) -> Two {
    if Way::here() != Way::Replace {
        check_by(Way::Replace, script, expected, connections);
    }
    check_by(Way::here(), script, expected, connections)
}

fn check_by(way: Way, script: &str, expected: &str, connections: u64) -> Two {
    let two = Two::by(way);
    let mut echo = Talking::new(two.python(2, ECHO));
    assert_eq!(echo.line(), format!("('{}', 9000)", two.network.address(2)));
    let mut program = two
        .python(1, script)
        .env("WAY", format!("{way:?}"))
        .stderr(std::fs::File::from(stderr()))
        .start()
        .expect("it starts");
    let text = said(&mut program);
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(0)), "{text}");
    assert_eq!(text.trim_end(), expected);
    for _ in 0..connections {
        assert_eq!(
            echo.line(),
            two.network.address(1).to_string(),
            "the true source"
        );
    }
    assert_eq!(
        two.links.seen().get(&(1, 2, 9000)).copied().unwrap_or(0),
        connections
    );
    assert_eq!(program.broken(), 0);
    two
}

/// A test's own standard error, so that a script's complaint is seen.
fn stderr() -> std::os::fd::OwnedFd {
    use std::os::fd::AsFd;
    std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .expect("it can be copied")
}

#[test]
fn a_connection_to_a_peer_goes_by_its_link_and_does_not_show_it() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "
import os, socket
c = socket.create_connection((os.environ['PEER'], 9000))
c.sendall(b'hello')
print(c.recv(100), c.getpeername() == (os.environ['PEER'], 9000), c.getsockname()[0] == os.environ['OWN'])",
        "b'hello' True True",
        1,
    );
}

#[test]
fn sockets_that_do_not_block_threads_and_forked_children_go_by_it_too() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "
import asyncio, os, socket, threading
peer = (os.environ['PEER'], 9000)
def blocking(n):
    with socket.create_connection(peer) as c:
        c.sendall(b'x%d' % n)
        assert c.recv(100) == b'x%d' % n
        assert c.getpeername() == peer
threads = [threading.Thread(target=blocking, args=(n,)) for n in range(8)]
for t in threads: t.start()
async def one(n):
    r, w = await asyncio.open_connection(*peer)
    w.write(b'y%d' % n)
    assert await r.read(100) == b'y%d' % n
    assert w.get_extra_info('peername') == peer
    w.close()
    await w.wait_closed()
async def every():
    await asyncio.gather(*(one(n) for n in range(8)))
asyncio.run(every())
for t in threads: t.join()
children = []
for n in range(4):
    pid = os.fork()
    if pid == 0:
        blocking(n)
        os._exit(0)
    children.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
c = socket.socket()
c.setblocking(False)
code = c.connect_ex(peer)
import errno, select
assert code in (0, errno.EINPROGRESS), code
select.select([], [c], [])
assert c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
assert c.connect_ex(peer) in (0, errno.EISCONN)
print('done')",
        "done",
        21,
    );
}

#[test]
fn a_v6_socket_reaches_a_mapped_address() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "
import os, socket
c = socket.socket(socket.AF_INET6)
c.connect(('::ffff:' + os.environ['PEER'], 9000))
c.sendall(b'six')
print(c.recv(100), c.getpeername()[0] == '::ffff:' + os.environ['PEER'], c.getsockname()[0] == '::ffff:' + os.environ['OWN'])",
        "b'six' True True",
        1,
    );
}

#[test]
fn what_a_program_has_set_of_its_socket_stays() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "
import fcntl, os, socket
c = socket.socket()
before = os.stat(c.fileno()).st_ino
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
c.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\\1\\0\\0\\0\\7\\0\\0\\0')
c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
c.bind(('', 0))
c.connect((os.environ['PEER'], 9000))
assert c.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
assert c.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
assert c.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == b'\\1\\0\\0\\0\\7\\0\\0\\0'
assert not c.get_inheritable()
c.setblocking(False)
d = socket.socket()
d.set_inheritable(True)
d.setblocking(False)
d.connect_ex((os.environ['PEER'], 9000))
assert d.get_inheritable()
assert fcntl.fcntl(d, fcntl.F_GETFL) & os.O_NONBLOCK
print((os.stat(c.fileno()).st_ino != before) == (os.environ['WAY'] == 'Replace'))",
        "True",
        2,
    );
}

#[test]
fn a_refusal_is_the_programs_refusal() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = check(
        "
import errno, os, select, socket
c = socket.socket()
print(errno.errorcode[c.connect_ex((os.environ['PEER'], 9999))])
c = socket.socket()
c.setblocking(False)
code = c.connect_ex((os.environ['PEER'], 9999))
if code == errno.EINPROGRESS:
    select.select([], [c], [])
    code = c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
print(errno.errorcode[code])
c = socket.socket()
print(errno.errorcode[c.connect_ex(('127.0.0.1', 9999))])",
        "ECONNREFUSED\nECONNREFUSED\nECONNREFUSED",
        0,
    );
    assert_eq!(two.links.seen().get(&(1, 2, 9999)), Some(&2));
}

#[test]
fn localhost_is_the_nodes_own_in_every_spelling() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = check(
        "
import os, socket, threading
def meet(family, bound, reached):
    s = socket.socket(family)
    s.bind((bound, 0))
    s.listen(5)
    port = s.getsockname()[1]
    assert s.getsockname()[0].endswith(os.environ['OWN']), s.getsockname()
    for address in reached:
        c = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        c.connect((address, port))
        assert c.getpeername()[0] == address, c.getpeername()
        a, who = s.accept()
        assert who[0].endswith(os.environ['OWN']), who
        assert who[:2] == c.getsockname()[:2] or ':' in address or ':' in bound
        c.setblocking(False)
    s.close()
every = ['127.0.0.1', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', os.environ['OWN'], '::ffff:' + os.environ['OWN']]
for bound in '', '127.0.0.1', os.environ['OWN']:
    meet(socket.AF_INET, bound, every)
for bound in '::', '::1', '::ffff:0.0.0.0', '::ffff:127.0.0.1':
    meet(socket.AF_INET6, bound, every)
print('met')",
        "met",
        0,
    );
    assert!(two.links.seen().is_empty());
}

#[test]
fn a_host_without_ipv6_says_so_and_a_peers_address_is_not_ones_own() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "
import errno, os, socket
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
for do in s.bind, s.connect:
    try: do(('::1', 9001)); print('no')
    except OSError as e: print(errno.errorcode[e.errno])
try: socket.socket().bind((os.environ['PEER'], 9001)); print('no')
except OSError as e: print(errno.errorcode[e.errno])
try: socket.socket().bind((os.environ['OWN'], 9001)); print('bound')
except OSError as e: print(e)",
        "EADDRNOTAVAIL\nEADDRNOTAVAIL\nEADDRNOTAVAIL\nbound",
        0,
    );
}

#[test]
fn unix_sockets_and_mistakes_are_left_to_the_kernel() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        "
import ctypes, errno, os, socket, tempfile
with tempfile.TemporaryDirectory() as d:
    s = socket.socket(socket.AF_UNIX)
    s.bind(d + '/s')
    s.listen()
    c = socket.socket(socket.AF_UNIX)
    c.connect(d + '/s')
    print(c.getpeername() == d + '/s')
libc = ctypes.CDLL(None, use_errno=True)
def tried(name, *args):
    getattr(libc, name)(*args)
    print(errno.errorcode[ctypes.get_errno()])
t = socket.socket()
tried('connect', 999, b'\\2\\0\\0\\1\\177\\0\\0\\1' + bytes(8), 16)
tried('connect', 1, b'\\2\\0\\0\\1\\177\\0\\0\\1' + bytes(8), 16)
tried('connect', t.fileno(), 0, 16)
tried('bind', t.fileno(), b'\\2\\0\\0\\1\\177\\0\\0\\1', 8)
tried('connect', t.fileno(), b'\\12\\0\\0\\1' + bytes(24), 28)
tried('getpeername', t.fileno(), 0, 0)
tried('syscall', 425, 1, 0)",
        "True\nEBADF\nENOTSOCK\nEFAULT\nEINVAL\nEAFNOSUPPORT\nENOTCONN\nENOSYS",
        0,
    );
}

#[test]
fn what_goes_by_no_link_is_noticed() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let outside =
        std::net::TcpListener::bind((Ipv4Addr::new(127, 1, 2, 3), 0)).expect("it is free");
    let port = outside.local_addr().expect("it is bound").port();
    let two = check(
        &format!(
            "
import os, socket
for _ in range(2): socket.create_connection(('127.1.2.3', {port})).close()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.sendto(b'x', (os.environ['PEER'], 9002))
u.sendmsg([b'x'], [], 0, (os.environ['PEER'], 9002))
print('sent')"
        ),
        "sent",
        0,
    );
    let noticed = two.hosts[0].noticed();
    let foreign: Vec<_> = noticed.foreign.into_iter().collect();
    assert_eq!(foreign, [(([127, 1, 2, 3], port).into(), 2)]);
    assert_eq!(noticed.datagrams, BTreeSet::from([2]));
}

#[test]
fn a_datagram_to_localhost_comes_home() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = Two::by(Way::Copy);
    let script = "
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 9003))
s.settimeout(20)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(u.sendto(b'home', ('127.0.0.1', 9003)), s.recvfrom(100)[0])
u.connect(('localhost', 9003))
u.send(b'again')
print(s.recvfrom(100)[0], s.getsockname()[0] == os.environ['OWN'])";
    let mut program = two.python(1, script).start().expect("it starts");
    assert_eq!(said(&mut program), "4 b'home'\nb'again' True\n");
}

#[test]
fn a_held_connection_holds_its_thread_alone_and_ends_with_its_program() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = Two::new();
    let mut echo = Talking::new(two.python(2, ECHO));
    echo.line();
    two.links.hold(true);
    let mut program = Talking::new(two.python(
        1,
        "
import os, socket, threading
peer = (os.environ['PEER'], 9000)
def held():
    socket.create_connection(peer).sendall(b'x')
    print('through', flush=True)
threading.Thread(target=held).start()
s = socket.socket()
s.bind(('', 0))
print('bound', flush=True)
threading.Event().wait()",
    ));
    assert_eq!(program.line(), "bound");
    until("the held connection", || two.links.seen().len() == 1);
    // A thread that waits for an answer does not hold up a pause.
    program.0.pause().expect("it can be paused");
    program.0.resume();
    two.links.hold(false);
    assert_eq!(program.line(), "through");

    two.links.hold(true);
    let mut other = two
        .python(
            1,
            "import os, socket; socket.create_connection((os.environ['PEER'], 9000))",
        )
        .start()
        .expect("it starts");
    until("the second held connection", || {
        two.links.seen()[&(1, 2, 9000)] == 2
    });
    let began = Instant::now();
    assert_eq!(
        other.kill().expect("it can be killed"),
        Some(Exit::Signal(9))
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    two.links.hold(false);
}

#[test]
fn a_link_that_is_cut_does_not_stop_a_program_that_does_not_block() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = Two::new();
    let mut echo = Talking::new(two.python(2, ECHO));
    echo.line();
    two.links.cut();
    let mut program = Talking::new(two.python(
        1,
        "
import asyncio, os
async def main():
    connecting = asyncio.create_task(asyncio.open_connection(os.environ['PEER'], 9000))
    for _ in range(100): await asyncio.sleep(0.001)
    print('in progress' if not connecting.done() else connecting, flush=True)
    r, w = await connecting
    w.write(b'hello')
    print(await r.read(100), w.get_extra_info('peername')[0] == os.environ['PEER'])
asyncio.run(main())",
    ));
    assert_eq!(program.line(), "in progress");
    two.links.heal(1, two.at(2, 9000));
    assert_eq!(program.line(), "b'hello' True");
}

#[test]
fn nothing_waits_on_for_a_program_that_was_killed() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = Two::new();
    two.links.cut();
    let mut program = two
        .python(
            1,
            "import os, socket; socket.create_connection((os.environ['PEER'], 9000))",
        )
        .start()
        .expect("it starts");
    until("its connection", || two.links.seen().len() == 1);
    program.kill().expect("it can be killed");
    // The worker that waits in its connection holds the host, and without an end of its own would for two minutes.
    until("the worker's end", || Arc::strong_count(&two.hosts[0]) == 1);
}

#[test]
fn programs_that_share_a_host_reach_each_other_and_do_not_end_each_others_waits() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = Two::new();
    let mut echo = Talking::new(two.python(1, ECHO));
    echo.line();
    let mut far = Talking::new(two.python(2, ECHO));
    far.line();
    let mut stays = Talking::new(
        two.python(
            1,
            "
import os, socket
c = socket.create_connection((os.environ['PEER'], 9000))
print('connected', flush=True)
input()
socket.create_connection(('localhost', 9000)).close()
d = socket.create_connection((os.environ['PEER'], 9000))
d.sendall(b'x')
print(d.recv(1), c.getpeername()[0] == os.environ['PEER'])",
        )
        .stdin(Stream::Pipe),
    );
    assert_eq!(stays.line(), "connected");
    two.links.hold(true);
    let mut tell = stays.0.stdin.take().expect("a pipe was asked for");
    tell.write_all(b"\n").expect("it reads");
    until("the held connection", || {
        two.links.seen()[&(1, 2, 9000)] == 2
    });
    // Another one comes, and goes: what it leaves behind is not the first one's.
    let mut goes = two
        .python(1, "input()")
        .stdin(Stream::Pipe)
        .start()
        .expect("it starts");
    goes.kill().expect("it can be killed");
    two.links.hold(false);
    assert_eq!(stays.line(), "b'x' True");
    assert_eq!(echo.line(), two.network.address(1).to_string());
}

#[test]
fn two_programs_have_the_same_port_side_by_side() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let two = Two::new();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder can be made"));
    let servers: Vec<Program> = [1, 2]
        .into_iter()
        .zip(&folders)
        .map(|(node, folder)| {
            std::fs::write(folder.path().join("who"), format!("node {node}"))
                .expect("it can be written");
            two.on(node, python())
                .args(["-m", "http.server", "8080"])
                // It asks for its own name, which nobody may know.
                .env("RES_OPTIONS", "timeout:1 attempts:1")
                .stdout(Stream::Null)
                .folder(folder.path())
                .start()
                .expect("it starts")
        })
        .collect();
    for node in [1, 2] {
        let mut stream = None;
        until("a server", || {
            stream = TcpStream::connect(two.at(node, 8080)).ok();
            stream.is_some()
        });
        let mut stream = stream.expect("it was just waited for");
        stream
            .write_all(b"GET /who HTTP/1.0\r\n\r\n")
            .expect("it can be asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.ends_with(&format!("node {node}")), "{answer}");
    }
    drop(servers);
}

/// The tests of this file where containers refuse to copy descriptors, and interrupts cannot be withheld: then sockets are
/// replaced because they must be.
#[test]
fn a_host_that_allows_less_has_the_same_network() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let names = [
        "a_connection_to_a_peer_goes_by_its_link_and_does_not_show_it",
        "sockets_that_do_not_block_threads_and_forked_children_go_by_it_too",
        "a_refusal_is_the_programs_refusal",
        "localhost_is_the_nodes_own_in_every_spelling",
        "two_programs_have_the_same_port_side_by_side",
    ];
    let test = std::env::current_exe().expect("it has a path");
    let withheld = Refused {
        nr: libc::SYS_seccomp,
        bits: Some((1, libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32)),
        errno: libc::EINVAL,
    };
    let refused = [Refused::always(libc::SYS_pidfd_getfd), withheld];
    let output = hobbled(&refused, test.to_str().expect("a path of text"))
        .arg("--exact")
        .args(names)
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = format!("{} passed; 0 failed", names.len());
    assert!(output.status.success() && text.contains(&passed), "{text}");
}
