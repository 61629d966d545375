//! What a link does to two real processes: one dials, the other echoes, and each says on its stdout what it meets.
//!
//! The table of the link's faults, each with the test that shows that it does what its name says and that healing
//! undoes it. Those of this file have a process at each end; those of `proxy::tests` and `proxy::message_tests` have
//! tasks there, which the kernel treats alike as long as nobody dies.
//!
//! | fault of bytes | shown by |
//! | --- | --- |
//! | hold, one way | `a_hold_stops_one_way_and_what_waited_arrives` here; `a_cut_stops_one_direction_and_passes_the_other` |
//! | reset | `a_reset_is_heard_by_both_processes` here; `a_reset_reaches_both_ends_and_only_that_route` |
//! | reset, refuse, unanswered (new connections) | `a_door_resets_refuses_or_stays_silent` here; `a_door_resets_or_refuses_new_connections_and_leaves_live_ones`, `during_a_cut_new_connections_are_neither_accepted_nor_refused` |
//! | delay: constant, uniform, exponential, spikes | `a_delay_is_added_to_each_message_and_not_to_each_other`, `every_distribution_of_delays_is_felt_as_it_is_named`, `what_waits_for_a_long_delay_comes_at_once_when_it_is_taken_out` |
//! | bandwidth | `a_bandwidth_is_kept` |
//! | slice | `slices_come_one_by_one` |
//! | limit, then reset | `a_limit_cuts_in_mid_word_and_both_processes_hear_a_reset` here; `a_limit_cuts_in_the_middle_of_what_is_sent` |
//! | slow close | `a_slow_close_lets_a_dead_process_be_heard_late` here; `a_slow_close_delays_the_end_and_nothing_else` |
//! | half close | `a_half_close_ends_one_half_of_a_live_connection` here; `a_half_close_ends_one_half_and_the_other_goes_on` |
//! | vanish | `a_vanished_machine_is_silent_where_a_dead_process_is_heard` here; `a_vanished_node_is_silent_in_every_way_until_it_is_back` |
//! | (all) nothing lost or reordered | `nothing_is_lost_or_reordered_over_holds_and_delays` |
//! | (all) within 5 ms | `a_change_takes_effect_in_less_than_5_ms` |
//!
//! | fault of messages | shown by |
//! | --- | --- |
//! | drop request, drop response | `a_dropped_request_never_arrives_and_a_dropped_response_was_applied` |
//! | delay request (late delivery: 20 of 20) | `late_requests_arrive_although_their_senders_have_given_up` |
//! | delay response | `a_delayed_response_comes_late_and_the_request_does_not` |
//! | duplicate | `a_duplicated_vote_really_arrives_again_and_is_answered_once` |
//! | reorder | `reordered_requests_all_arrive_and_some_overtake_others` |
//! | fail | `a_failed_request_is_answered_with_its_status_and_never_arrives` |
//! | replay an old message | `an_old_request_is_replayed_before_a_new_one` |
//! | corrupt (outside of the model) | `a_corrupt_request_differs_in_one_bit_and_is_outside_of_the_model` |
//! | cut a stream after k messages | `a_stream_is_cut_after_so_many_messages_and_the_next_is_whole_after_healing` |
//! | stall a stream | `a_stalled_stream_stays_open_and_goes_on_where_it_stood_after_healing` |
//! | delay in a stream | `messages_of_a_stream_come_late_and_in_order` |
//! | matching: kind, content, count, probability | `rules_pick_messages_by_kind_content_and_count`, `the_same_seed_deals_the_same_fates_and_another_seed_others` |
//!
//! On a real cluster each family of faults is shown by `tests/faults.rs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use whitewater::proxy::{
    ByteFault, ConnectFault, Direction, Guard, Half, Leg, Level, Network, NetworkConfig, Route,
};

const MS: Duration = Duration::from_millis(1);
/// Longer than anything that should happen.
const SOON: Duration = Duration::from_secs(10);
/// Long enough for a byte on the loopback to arrive many times over.
const QUIET: Duration = Duration::from_millis(80);
/// Set for a process that is the other end, and no test.
const ROLE: &str = "WHITEWATER_TEST_ECHO";

/// Not a test where [`ROLE`] is set: then this process listens, echoes, and does what it reads on stdin.
#[test]
fn the_process_at_the_other_end() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    tell(&format!("port {}", listener.local_addr().unwrap().port()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || echo(stream));
        }
    });
    let mut dialled: Option<TcpStream> = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "dial" => match TcpStream::connect(rest) {
                Ok(stream) => {
                    tell("dialled");
                    let from = stream.try_clone().unwrap();
                    std::thread::spawn(move || hear(from, ""));
                    dialled = Some(stream);
                }
                Err(error) => tell(&format!("{:?}", error.kind())),
            },
            "send" => {
                // What became of it is heard by the reader.
                let _ = dialled.as_mut().unwrap().write_all(rest.as_bytes());
            }
            other => panic!("{other}"),
        }
    }
    // The test is over, or gone.
    std::process::exit(0);
}

fn tell(what: &str) {
    println!("@{what}");
    std::io::stdout().flush().unwrap();
}

/// Says what comes, to its end.
fn hear(mut from: TcpStream, prefix: &str) {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return tell(&format!("{prefix}end")),
            Ok(n) => tell(&format!(
                "{prefix}got {}",
                String::from_utf8_lossy(&buffer[..n])
            )),
            Err(error) => return tell(&format!("{prefix}{:?}", error.kind())),
        }
    }
}

/// Gives back what comes, and a farewell after its end.
fn echo(mut stream: TcpStream) {
    tell("accepted");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => {
                tell("end");
                let _ = stream.write_all(b"bye");
                let _ = stream.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) => {
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                tell(&format!("got {text}"));
                let _ = stream.write_all(&buffer[..n]);
            }
            Err(error) => return tell(&format!("{:?}", error.kind())),
        }
    }
}

/// One of the two processes, as the test has it. It is killed when this goes.
struct Process {
    child: Child,
    stdin: ChildStdin,
    says: mpsc::Receiver<String>,
    port: u16,
}

impl Process {
    fn start() -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "the_process_at_the_other_end",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, says) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The harness may have begun the line.
                if let Some((_, said)) = line.split_once('@')
                    && send.send(said.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let mut process = Process {
            child,
            stdin,
            says,
            port: 0,
        };
        let port = process.next();
        let port = port.strip_prefix("port ").expect("its first word");
        process.port = port.parse().unwrap();
        process
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn order(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    #[track_caller]
    fn next(&self) -> String {
        self.says.recv_timeout(SOON).expect("it says something")
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        assert_eq!(self.next(), expected);
    }

    /// It gets these bytes, in one piece or in several.
    #[track_caller]
    fn gets(&self, expected: &str) {
        let mut all = String::new();
        while all.len() < expected.len() {
            let said = self.next();
            let part = said.strip_prefix("got ");
            all += part.unwrap_or_else(|| panic!("{said:?} after {all:?}"));
        }
        assert_eq!(all, expected);
    }

    #[track_caller]
    fn is_quiet(&self) {
        let said = self.says.recv_timeout(QUIET);
        assert!(said.is_err(), "it should be quiet, but {said:?}");
    }

    fn kill(&mut self) {
        // Where it is gone already there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Two processes and the link between them: n1 dials, n2 echoes.
struct Pair {
    network: Network,
    one: Process,
    two: Process,
}

const ROUTE: Route = Route {
    from: whitewater::proxy::Endpoint::Node(1),
    to: 2,
};

fn leg(half: Half) -> Leg {
    Leg { route: ROUTE, half }
}

impl Pair {
    /// A pair that has spoken: the link is whole.
    fn start() -> Pair {
        let network = Network::start(NetworkConfig {
            nodes: 2,
            node_level: Level::Bytes,
            ..NetworkConfig::default()
        })
        .unwrap();
        let (one, two) = (Process::start(), Process::start());
        network.set_upstream(2, Some(two.address()));
        let mut pair = Pair { network, one, two };
        pair.dial();
        pair
    }

    /// n1 dials n2 until it gets through: the door needs a moment after a change.
    fn dial(&mut self) {
        let began = Instant::now();
        loop {
            self.one
                .order(&format!("dial {}", self.network.address(ROUTE)));
            let said = self.one.next();
            if said == "dialled" {
                break;
            }
            assert!(began.elapsed() < SOON, "{said}");
        }
        self.two.says("accepted");
        self.echoes("hello");
    }

    #[track_caller]
    fn echoes(&mut self, word: &str) {
        self.one.order(&format!("send {word}"));
        self.two.gets(word);
        self.one.gets(word);
    }

    #[track_caller]
    fn seen(&self, guard: Guard) -> Guard {
        let probe = futures::executor::block_on(self.network.verify(&guard));
        assert!(probe.effective, "{probe:?}");
        guard
    }
}

#[test]
fn a_hold_stops_one_way_and_what_waited_arrives() {
    let mut pair = Pair::start();
    let there = pair.seen(pair.network.cut(Direction::nodes(1, 2)));
    pair.one.order("send there");
    pair.two.is_quiet();
    there.heal();
    pair.two.gets("there");
    pair.one.gets("there");

    // The other way: the request arrives, and only its echo does not.
    let back = pair.seen(pair.network.cut(Direction::nodes(2, 1)));
    pair.one.order("send back");
    pair.two.gets("back");
    pair.one.is_quiet();
    back.heal();
    pair.one.gets("back");
    pair.echoes("healed");
}

#[test]
fn a_reset_is_heard_by_both_processes() {
    let mut pair = Pair::start();
    assert_eq!(pair.network.reset(ROUTE), 1);
    pair.one.says("ConnectionReset");
    pair.two.says("ConnectionReset");
    pair.dial();
}

#[test]
fn a_door_resets_refuses_or_stays_silent() {
    let mut pair = Pair::start();
    let dial = format!("dial {}", pair.network.address(ROUTE));

    let door = pair.seen(pair.network.on_connect(ROUTE, ConnectFault::Refuse));
    pair.one.order(&dial);
    pair.one.says("ConnectionRefused");
    door.heal();
    pair.dial();

    let door = pair.seen(pair.network.on_connect(ROUTE, ConnectFault::Reset));
    pair.one.order(&dial);
    pair.one.says("dialled");
    pair.one.says("ConnectionReset");
    pair.two.is_quiet();
    door.heal();
    pair.dial();

    let door = pair.seen(pair.network.on_connect(ROUTE, ConnectFault::Unanswered));
    pair.one.order(&dial);
    pair.one.is_quiet();
    pair.two.is_quiet();
    // Its kernel sends the SYN again a second later: the same connect succeeds.
    door.heal();
    pair.one.says("dialled");
    pair.two.says("accepted");
    pair.echoes("healed");
}

#[test]
fn a_limit_cuts_in_mid_word_and_both_processes_hear_a_reset() {
    let mut pair = Pair::start();
    let fault = ByteFault::Limit { bytes: 3 };
    let limit = pair.network.put(&[leg(Half::Response)], fault);
    pair.one.order("send abcdef");
    pair.two.gets("abcdef");
    pair.one.gets("abc");
    pair.one.says("ConnectionReset");
    pair.two.says("ConnectionReset");
    limit.heal();
    pair.dial();
    pair.echoes("abcdef");
}

#[test]
fn a_slow_close_lets_a_dead_process_be_heard_late() {
    let mut pair = Pair::start();
    let late = 400 * MS;
    let slow = pair
        .network
        .put(&[leg(Half::Response)], ByteFault::SlowClose(late));
    pair.echoes("bytes are as quick as ever");
    let began = Instant::now();
    pair.two.kill();
    pair.one.says("end");
    assert!(began.elapsed() >= late, "{:?}", began.elapsed());
    slow.heal();

    let mut pair = Pair::start();
    let began = Instant::now();
    pair.two.kill();
    pair.one.says("end");
    assert!(began.elapsed() < late, "{:?}", began.elapsed());
}

#[test]
fn a_half_close_ends_one_half_of_a_live_connection() {
    let mut pair = Pair::start();
    let half = pair
        .network
        .put(&[leg(Half::Request)], ByteFault::HalfClose);
    // n2 sees the end although n1 has closed nothing; the other half still carries n2's farewell.
    pair.two.says("end");
    pair.one.gets("bye");
    pair.one.says("end");
    pair.one.order("send unheard");
    pair.two.is_quiet();
    half.heal();
    pair.dial();
}

#[test]
fn a_vanished_machine_is_silent_where_a_dead_process_is_heard() {
    let mut pair = Pair::start();
    let gone = pair.seen(pair.network.vanish(2));
    pair.two.kill();
    pair.network.set_upstream(2, None);
    pair.one.is_quiet();
    pair.one.order("send anybody?");
    pair.one.is_quiet();
    gone.heal();
    pair.one.says("ConnectionReset");
    // The machine is back and the program is not: the kernel refuses.
    let dial = format!("dial {}", pair.network.address(ROUTE));
    pair.one.order(&dial);
    pair.one.says("ConnectionRefused");
    pair.two = Process::start();
    pair.network.set_upstream(2, Some(pair.two.address()));
    pair.dial();

    // Without the fault the kernel tells of the death at once.
    pair.two.kill();
    pair.one.says("end");
}

#[test]
fn every_test_of_the_table_exists() {
    let here = include_str!("links.rs");
    let there = [
        include_str!("../src/proxy/tests.rs"),
        include_str!("../src/proxy/message_tests.rs"),
    ];
    let rows = here.lines().filter_map(|line| line.strip_prefix("//! | "));
    let shown_by = rows.filter_map(|row| row.split(" | ").nth(1));
    let names: Vec<&str> = shown_by
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let function = format!("fn {name}(");
        let found = here.contains(&function) || there.iter().any(|text| text.contains(&function));
        assert!(found, "there is no test {name}");
    }
}
