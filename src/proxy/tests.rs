//! Each fault on live connections to an echo server: it does what its name says, and healing undoes it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Longer than anything that should happen; a test that waits so long fails.
const SOON: Duration = Duration::from_secs(10);

/// Long enough for a byte on the loopback to arrive many times over.
const QUIET: Duration = Duration::from_millis(60);

/// A server that gives back what it gets, and says who came.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

/// Three nodes, all at one echo server, at the byte level.
async fn network() -> Network {
    let config = NetworkConfig {
        nodes: 3,
        node_level: Level::Bytes,
        ..NetworkConfig::default()
    };
    let network = Network::start(config).unwrap();
    let server = echo().await;
    for node in 1..=3 {
        network.set_upstream(node, Some(server));
    }
    network
}

/// Dials until the door is open: [`Network::set_upstream`] does not wait for it.
async fn dial(network: &Network, route: Route) -> TcpStream {
    let began = Instant::now();
    loop {
        match timeout(SOON, TcpStream::connect(network.address(route))).await {
            Ok(Ok(stream)) => return stream,
            other => assert!(began.elapsed() < SOON, "dial {route}: {other:?}"),
        }
        tokio::task::yield_now().await;
    }
}

async fn round_trip(stream: &mut TcpStream, word: &[u8]) -> Duration {
    let began = Instant::now();
    stream.write_all(word).await.unwrap();
    expect(stream, word).await;
    began.elapsed()
}

/// The best of several: how fast it can be, whatever else this machine does.
async fn best_trip(stream: &mut TcpStream, word: &[u8]) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..10 {
        best = best.min(round_trip(stream, word).await);
    }
    best
}

async fn expect(stream: &mut TcpStream, word: &[u8]) {
    let mut got = vec![0; word.len()];
    let read = timeout(SOON, stream.read_exact(&mut got)).await;
    read.expect("an answer in time").expect("an answer");
    assert_eq!(got, word);
}

async fn expect_nothing(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = timeout(QUIET, stream.read(&mut byte)).await;
    assert!(read.is_err(), "it should be quiet, but {read:?}");
}

async fn expect_reset(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = timeout(SOON, stream.read(&mut byte))
        .await
        .expect("in time");
    let error = read.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn verified(network: &Network, guard: &Guard) {
    let probe = network.verify(guard).await;
    assert!(probe.effective, "{probe:?}");
}

const ONE_TWO: Direction = Direction {
    from: Endpoint::Node(1),
    to: Endpoint::Node(2),
};
const TWO_ONE: Direction = Direction {
    from: Endpoint::Node(2),
    to: Endpoint::Node(1),
};

fn leg(half: Half) -> Leg {
    let route = Route::nodes(1, 2);
    Leg { route, half }
}

#[test]
fn packets_between_nodes_are_carried_by_two_legs() {
    let legs = Direction::nodes(1, 2).legs();
    assert_eq!(
        legs,
        [
            Leg {
                route: Route::nodes(1, 2),
                half: Half::Request
            },
            Leg {
                route: Route::nodes(2, 1),
                half: Half::Response
            },
        ]
    );
    for leg in legs {
        assert_eq!(Direction::of(leg), Direction::nodes(1, 2));
    }
}

#[test]
fn packets_of_clients_are_carried_by_the_one_leg_of_the_route_that_they_dial() {
    let to_node = Direction {
        from: Endpoint::Clients(1),
        to: Endpoint::Node(2),
    };
    let back = Direction {
        from: Endpoint::Node(2),
        to: Endpoint::Clients(1),
    };
    for (direction, half) in [(to_node, Half::Request), (back, Half::Response)] {
        let route = Route::clients(1, 2);
        assert_eq!(direction.legs(), [Leg { route, half }]);
    }
}

#[tokio::test]
async fn without_faults_bytes_pass_and_are_counted() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"hello").await;
    // A byte is counted right after it was given, so the counter may be behind the echo by a moment.
    let counted = |snapshot: &NetworkSnapshot| snapshot.between(2, 1).bytes_out == 5;
    let snapshot = until(&network, counted).await;
    let there = snapshot.between(1, 2);
    assert_eq!((there.bytes_in, there.bytes_out), (5, 5));
    assert_eq!((there.connections, there.accepted), (1, 1));
    assert_eq!(there.state, LinkState::Open);
    assert_eq!(snapshot.between(2, 1).bytes_out, 5);
    assert_eq!(snapshot.between(1, 3), snapshot.between(3, 1));
    assert_eq!(snapshot.faults, 0);
}

#[tokio::test]
async fn a_route_without_upstream_refuses_and_serves_on_the_same_port_later() {
    let config = NetworkConfig {
        nodes: 2,
        node_level: Level::Bytes,
        ..NetworkConfig::default()
    };
    let network = Network::start(config).unwrap();
    let route = Route::nodes(1, 2);
    let error = TcpStream::connect(network.address(route))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    network.set_upstream(2, Some(echo().await));
    let mut stream = dial(&network, route).await;
    round_trip(&mut stream, b"there").await;
    // A restart: a new upstream, the same address for the dialler. Old connections live on.
    network.set_upstream(2, None);
    network.set_upstream(2, Some(echo().await));
    round_trip(&mut dial(&network, route).await, b"again").await;
    round_trip(&mut stream, b"still").await;
}

#[tokio::test]
async fn the_death_of_an_upstream_reaches_the_dialler() {
    let network = network().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    network.set_upstream(2, Some(listener.local_addr().unwrap()));
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    let (up, _) = listener.accept().await.unwrap();
    gate::reset(&up);
    expect_reset(&mut stream).await;
}

#[tokio::test]
async fn a_cut_stops_one_direction_and_passes_the_other() {
    let network = network().await;
    let mut dialled_by_one = dial(&network, Route::nodes(1, 2)).await;
    let mut dialled_by_two = dial(&network, Route::nodes(2, 1)).await;
    round_trip(&mut dialled_by_one, b"before").await;
    round_trip(&mut dialled_by_two, b"before").await;

    let guard = network.cut(ONE_TWO);
    verified(&network, &guard).await;
    let before = network.snapshot();
    assert_eq!(before.between(1, 2).state, LinkState::Cut);
    assert_eq!(before.between(2, 1).state, LinkState::Open);
    dialled_by_one.write_all(b"request").await.unwrap();
    dialled_by_two.write_all(b"answered").await.unwrap();
    expect_nothing(&mut dialled_by_one).await;
    expect_nothing(&mut dialled_by_two).await;
    // n2's request did arrive at n1; it is n1's answer that does not come back.
    let after = network.snapshot();
    assert_eq!(
        after.between(1, 2).bytes_out,
        before.between(1, 2).bytes_out
    );
    assert_eq!(
        after.between(2, 1).bytes_out,
        before.between(2, 1).bytes_out + 8
    );

    guard.heal();
    expect(&mut dialled_by_one, b"request").await;
    expect(&mut dialled_by_two, b"answered").await;
    assert_eq!(network.snapshot().between(1, 2).state, LinkState::Open);
}

#[tokio::test]
async fn during_a_cut_new_connections_are_neither_accepted_nor_refused() {
    let network = network().await;
    round_trip(&mut dial(&network, Route::nodes(1, 2)).await, b"x").await;
    let guard = network.cut(TWO_ONE);
    verified(&network, &guard).await;
    for route in [Route::nodes(1, 2), Route::nodes(2, 1)] {
        let connect = timeout(QUIET, TcpStream::connect(network.address(route))).await;
        assert!(connect.is_err(), "{route}: {connect:?}");
    }
    let mut other = dial(&network, Route::nodes(1, 3)).await;
    round_trip(&mut other, b"open").await;
    guard.heal();
    for route in [Route::nodes(1, 2), Route::nodes(2, 1)] {
        round_trip(&mut dial(&network, route).await, b"healed").await;
    }
}

#[tokio::test]
async fn faults_stack_and_a_leg_is_whole_when_no_guard_holds_it() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    let one = network.cut(ONE_TWO);
    let two = network.cut(ONE_TWO);
    stream.write_all(b"wait").await.unwrap();
    drop(one);
    expect_nothing(&mut stream).await;
    drop(two);
    expect(&mut stream, b"wait").await;

    let cuts = Guard::join([network.cut(ONE_TWO), network.cut(TWO_ONE)]);
    stream.write_all(b"all").await.unwrap();
    expect_nothing(&mut stream).await;
    assert_eq!(network.heal_all(), 2);
    expect(&mut stream, b"all").await;
    let probe = network.verify(&cuts).await;
    assert!(!probe.effective, "it was healed: {probe:?}");
    assert_eq!(network.heal_all(), 0);
}

/// Sends a word to the echo, and waits until so many bytes of its answers wait.
async fn answered(network: &Network, stream: &mut TcpStream, word: &[u8], waiting: u64) {
    stream.write_all(word).await.unwrap();
    let come = |snapshot: &NetworkSnapshot| snapshot.between(2, 1).bytes_waiting == waiting;
    until(network, come).await;
}

#[tokio::test]
async fn what_is_held_back_comes_out_by_chunks_or_up_to_an_instant_and_the_rest_stays() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"before").await;
    let held = network.hold_back(&[leg(Half::Response)]);
    verified(&network, &held).await;
    answered(&network, &mut stream, b"one", 3).await;
    expect_nothing(&mut stream).await;
    // A connection that is made now is made, and what comes on it is counted with the rest.
    let mut other = dial(&network, Route::nodes(1, 2)).await;
    answered(&network, &mut other, b"two", 6).await;
    network.let_out(&held, LetOut::Chunks(1));
    expect(&mut stream, b"one").await;
    expect_nothing(&mut other).await;
    answered(&network, &mut stream, b"three", 8).await;
    tokio::time::sleep(MS).await;
    let instant = Instant::now();
    answered(&network, &mut stream, b"four", 12).await;
    network.let_out(&held, LetOut::Before(instant));
    expect(&mut other, b"two").await;
    expect(&mut stream, b"three").await;
    expect_nothing(&mut stream).await;
    assert_eq!(
        network.snapshot().between(2, 1).state,
        LinkState::Partly,
        "what n2 dials is whole"
    );
    held.heal();
    expect(&mut stream, b"four").await;
    round_trip(&mut other, b"after").await;
}

#[tokio::test]
async fn the_end_of_a_stream_is_held_back_behind_what_came_before_it() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    let held = network.hold_back(&[leg(Half::Request)]);
    verified(&network, &held).await;
    stream.write_all(b"last").await.unwrap();
    until(&network, |now| now.between(1, 2).bytes_waiting == 4).await;
    stream.shutdown().await.unwrap();
    network.let_out(&held, LetOut::Chunks(1));
    expect(&mut stream, b"last").await;
    expect_nothing(&mut stream).await;
    held.heal();
    let mut byte = [0];
    let end = timeout(SOON, stream.read(&mut byte)).await;
    assert_eq!(end.expect("in time").expect("an end"), 0);
}

#[tokio::test]
async fn a_change_takes_effect_in_less_than_5_ms() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    // The best of several: what is measured is the network, not the other work of this machine.
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        let guard = network.put(&[leg(Half::Request)], ByteFault::Hold);
        stream.write_all(b"y").await.unwrap();
        drop(guard);
        expect(&mut stream, b"y").await;
        best = best.min(began.elapsed());
    }
    assert!(best < 5 * MS, "{best:?}");
}

/// Sends numbered words through holds and resumes; every one arrives, in order.
#[tokio::test]
async fn nothing_is_lost_or_reordered_over_holds_and_delays() {
    const WORDS: u64 = 400_000;
    let network = network().await;
    let stream = dial(&network, Route::nodes(1, 2)).await;
    let (mut from, mut to) = stream.into_split();
    let sender = tokio::spawn(async move {
        let mut numbers = (0..WORDS).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        loop {
            let block: Vec<u8> = numbers
                .by_ref()
                .take(997)
                .flat_map(u64::to_be_bytes)
                .collect();
            if block.is_empty() {
                return to;
            }
            to.write_all(&block).await.unwrap();
        }
    });
    let receiver = tokio::spawn(async move {
        for i in 0..WORDS {
            let word = timeout(SOON, from.read_u64())
                .await
                .expect("in time")
                .unwrap();
            assert_eq!(word, i.wrapping_mul(0x9e37_79b9_7f4a_7c15), "word {i}");
        }
    });
    let legs = [leg(Half::Request), leg(Half::Response)];
    let mut turns = 0;
    while !receiver.is_finished() {
        let fault = match turns % 5 {
            0 | 2 => ByteFault::Hold,
            1 => ByteFault::Delay(Delay::around(3 * MS, 2 * MS)),
            3 => ByteFault::Slice {
                at_most: 1000,
                pause: Duration::ZERO,
            },
            _ => ByteFault::Delay(Delay::Exponential { mean: MS }),
        };
        let guard = network.put(&legs[turns % 2..], fault);
        tokio::time::sleep(4 * MS).await;
        drop(guard);
        tokio::time::sleep(2 * MS).await;
        turns += 1;
    }
    receiver.await.unwrap();
    assert!(turns > 3, "it was over after {turns} turns");
    drop(sender.await.unwrap());
    until(&network, |snapshot| {
        snapshot.between(1, 2).bytes_out == WORDS * 8
    })
    .await;
}

#[tokio::test]
async fn a_delay_is_added_to_each_message_and_not_to_each_other() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    let swift = round_trip(&mut stream, b"x").await;
    let guard = network.slow(ONE_TWO, Delay::Constant(50 * MS));
    let second = network.slow(TWO_ONE, Delay::Constant(30 * MS));
    verified(&network, &guard).await;
    let state = network.snapshot().between(1, 2).state;
    assert_eq!(state, LinkState::Slow(50 * MS));
    let slow = round_trip(&mut stream, b"x").await;
    assert!(slow >= 80 * MS, "{slow:?}");
    // Twenty messages on their way at once take one delay, not twenty.
    let began = Instant::now();
    for _ in 0..20 {
        stream.write_all(b"y").await.unwrap();
        tokio::time::sleep(MS).await;
    }
    expect(&mut stream, &[b'y'; 20]).await;
    let all = began.elapsed();
    // One after the other they would take 1600 ms.
    assert!((80 * MS..1600 * MS).contains(&all), "{all:?}");
    guard.heal();
    second.heal();
    let healed = best_trip(&mut stream, b"x").await;
    assert!(healed < 50 * MS, "{healed:?}, at first {swift:?}");
}

/// How late single words came under this delay of their way there.
async fn trips(delay: Delay) -> Vec<Duration> {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    let guard = network.slow(ONE_TWO, delay);
    let mut trips = Vec::new();
    for _ in 0..30 {
        trips.push(round_trip(&mut stream, b"x").await);
    }
    guard.heal();
    let healed = best_trip(&mut stream, b"x").await;
    assert!(healed < 10 * MS, "{delay:?}: healed, it takes {healed:?}");
    trips
}

#[tokio::test]
async fn every_distribution_of_delays_is_felt_as_it_is_named() {
    let (base, most) = (10 * MS, 30 * MS);
    let spikes = Delay::Spikes {
        base: MS,
        spike: most,
        per_mille: 300,
    };
    let (constant, uniform, exponential, spikes) = tokio::join!(
        trips(Delay::Constant(base)),
        trips(Delay::Uniform { least: base, most }),
        trips(Delay::Exponential { mean: base }),
        trips(spikes),
    );
    // What a busy machine adds comes on top of each, so only the least that each must take is certain.
    assert!(constant.iter().all(|&trip| trip >= base), "{constant:?}");
    assert!(uniform.iter().all(|&trip| trip >= base), "{uniform:?}");
    let spread = *uniform.iter().max().unwrap() - *uniform.iter().min().unwrap();
    assert!(spread >= 8 * MS, "{uniform:?}");
    let mean = exponential.iter().sum::<Duration>() / 30;
    assert!(mean >= 5 * MS, "{exponential:?}");
    let shortest = exponential.iter().min().unwrap();
    assert!(*shortest < base, "{exponential:?}");
    let slow = spikes.iter().filter(|&&trip| trip >= most).count();
    assert!((1..30).contains(&slow), "{spikes:?}");
}

#[tokio::test]
async fn what_waits_for_a_long_delay_comes_at_once_when_it_is_taken_out() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    let guard = network.slow(ONE_TWO, Delay::Constant(Duration::from_secs(3600)));
    stream.write_all(b"late").await.unwrap();
    expect_nothing(&mut stream).await;
    assert_eq!(network.snapshot().between(1, 2).bytes_waiting, 4);
    guard.heal();
    expect(&mut stream, b"late").await;
    assert_eq!(network.snapshot().between(1, 2).bytes_waiting, 0);
}

#[tokio::test]
async fn a_reset_reaches_both_ends_and_only_that_route() {
    let network = network().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    network.set_upstream(2, Some(listener.local_addr().unwrap()));
    let mut other = dial(&network, Route::nodes(1, 3)).await;
    let mut down = dial(&network, Route::nodes(1, 2)).await;
    let (mut up, _) = listener.accept().await.unwrap();
    down.write_all(b"hi").await.unwrap();
    expect(&mut up, b"hi").await;
    assert_eq!(network.reset(Route::nodes(1, 2)), 1);
    expect_reset(&mut down).await;
    expect_reset(&mut up).await;
    round_trip(&mut other, b"fine").await;
    assert_eq!(network.reset(Route::nodes(2, 1)), 0);
}

#[tokio::test]
async fn a_door_resets_or_refuses_new_connections_and_leaves_live_ones() {
    let network = network().await;
    let route = Route::nodes(1, 2);
    let mut live = dial(&network, route).await;
    round_trip(&mut live, b"x").await;

    let guard = network.on_connect(route, ConnectFault::Refuse);
    verified(&network, &guard).await;
    let error = TcpStream::connect(network.address(route))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    round_trip(&mut live, b"y").await;
    guard.heal();
    round_trip(&mut dial(&network, route).await, b"x").await;

    let guard = network.on_connect(route, ConnectFault::Reset);
    verified(&network, &guard).await;
    let mut stream = dial(&network, route).await;
    expect_reset(&mut stream).await;
    round_trip(&mut live, b"z").await;
    guard.heal();
    round_trip(&mut dial(&network, route).await, b"x").await;
}

#[tokio::test]
async fn the_end_of_a_stream_passes_in_order_and_waits_while_held() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    let guard = network.put(&[leg(Half::Response)], ByteFault::Hold);
    stream.write_all(b"last").await.unwrap();
    stream.shutdown().await.unwrap();
    expect_nothing(&mut stream).await;
    guard.heal();
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await;
    read.expect("in time").unwrap();
    assert_eq!(rest, b"last");
    drained(&network).await;
}

/// Waits until the counters are as they should be.
async fn until(network: &Network, right: impl Fn(&NetworkSnapshot) -> bool) -> NetworkSnapshot {
    let began = Instant::now();
    loop {
        let snapshot = network.snapshot();
        if right(&snapshot) {
            return snapshot;
        }
        assert!(began.elapsed() < SOON, "{snapshot:?}");
        tokio::time::sleep(MS).await;
    }
}

/// Waits until no connection is left on n1→n2: no task lingers.
async fn drained(network: &Network) {
    until(network, |snapshot| snapshot.between(1, 2).connections == 0).await;
}

#[tokio::test]
async fn a_reset_of_the_peer_does_not_pass_a_cut() {
    let network = network().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    network.set_upstream(2, Some(listener.local_addr().unwrap()));
    let mut down = dial(&network, Route::nodes(1, 2)).await;
    let (up, _) = listener.accept().await.unwrap();
    let guard = network.cut(TWO_ONE);
    verified(&network, &guard).await;
    gate::reset(&up);
    // The request leg notices that nobody takes its bytes; n1 must not learn of it.
    down.write_all(b"anybody?").await.unwrap();
    expect_nothing(&mut down).await;
    down.write_all(b"anybody?").await.unwrap();
    expect_nothing(&mut down).await;
    guard.heal();
    expect_reset(&mut down).await;
    drained(&network).await;
}

#[tokio::test]
async fn a_bandwidth_is_kept() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    let fault = ByteFault::Bandwidth {
        bytes_per_second: 100_000,
    };
    let guard = network.put(&[leg(Half::Request)], fault);
    verified(&network, &guard).await;
    let word = vec![7; 20_000];
    let took = round_trip(&mut stream, &word).await;
    assert!(took >= 190 * MS, "{took:?}");
    guard.heal();
    let took = best_trip(&mut stream, &word).await;
    assert!(took < 150 * MS, "{took:?}");
}

#[tokio::test]
async fn slices_come_one_by_one() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    let fault = ByteFault::Slice {
        at_most: 3,
        pause: 10 * MS,
    };
    let guard = network.put(&[leg(Half::Response)], fault);
    let took = round_trip(&mut stream, b"0123456789").await;
    assert!(took >= 40 * MS, "{took:?}");
    // Seen from the network, for a reader that is late finds several slices at once.
    let out = |network: &Network| network.snapshot().between(2, 1).bytes_out;
    let before = 1 + 10;
    until(&network, |snapshot| {
        snapshot.between(2, 1).bytes_out == before
    })
    .await;
    stream.write_all(b"0123456789").await.unwrap();
    let began = Instant::now();
    loop {
        let n = out(&network) - before;
        assert!([0, 3, 6, 9, 10].contains(&n), "{n}");
        if n == 10 {
            break;
        }
        assert!(began.elapsed() < SOON, "{n}");
        tokio::time::sleep(MS).await;
    }
    expect(&mut stream, b"0123456789").await;
    guard.heal();
    let took = best_trip(&mut stream, b"0123456789").await;
    assert!(took < 40 * MS, "{took:?}");
}

#[tokio::test]
async fn a_limit_cuts_in_the_middle_of_what_is_sent() {
    let network = network().await;
    let mut live = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut live, b"not counted").await;
    let guard = network.put(&[leg(Half::Response)], ByteFault::Limit { bytes: 6 });
    let mut fresh = dial(&network, Route::nodes(1, 2)).await;
    for stream in [&mut live, &mut fresh] {
        round_trip(stream, b"1234").await;
        stream.write_all(b"5678").await.unwrap();
        expect(stream, b"56").await;
        expect_reset(stream).await;
    }
    guard.heal();
    round_trip(&mut dial(&network, Route::nodes(1, 2)).await, b"12345678").await;
}

#[tokio::test]
async fn a_slow_close_delays_the_end_and_nothing_else() {
    let network = network().await;
    let late = 400 * MS;
    let guard = network.put(&[leg(Half::Response)], ByteFault::SlowClose(late));
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    let took = best_trip(&mut stream, b"x").await;
    assert!(took < late, "{took:?}");
    let began = Instant::now();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert!(began.elapsed() >= late, "{:?}", began.elapsed());
    guard.heal();
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    stream.shutdown().await.unwrap();
    let began = Instant::now();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert!(began.elapsed() < late, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_half_close_ends_one_half_and_the_other_goes_on() {
    let network = network().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    network.set_upstream(2, Some(listener.local_addr().unwrap()));
    let mut down = dial(&network, Route::nodes(1, 2)).await;
    let (mut up, _) = listener.accept().await.unwrap();
    down.write_all(b"x").await.unwrap();
    expect(&mut up, b"x").await;
    let guard = network.put(&[leg(Half::Request)], ByteFault::HalfClose);
    let read = timeout(SOON, up.read(&mut [0])).await.expect("in time");
    assert_eq!(read.unwrap(), 0, "n2 sees the end");
    up.write_all(b"still here").await.unwrap();
    expect(&mut down, b"still here").await;
    guard.heal();
    let fresh = dial(&network, Route::nodes(1, 2));
    let (mut fresh, accepted) = tokio::join!(fresh, listener.accept());
    let (mut up, _) = accepted.unwrap();
    fresh.write_all(b"y").await.unwrap();
    expect(&mut up, b"y").await;
}

#[tokio::test]
async fn the_end_of_a_vanished_machine_is_not_heard_until_it_is_back() {
    let network = network().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    network.set_upstream(2, Some(listener.local_addr().unwrap()));
    let mut down = dial(&network, Route::nodes(1, 2)).await;
    let (up, _) = listener.accept().await.unwrap();
    let guard = network.put(&[leg(Half::Response)], ByteFault::Vanish);
    drop(up);
    down.write_all(b"hello?").await.unwrap();
    expect_nothing(&mut down).await;
    guard.heal();
    expect_reset(&mut down).await;
    drained(&network).await;
}

#[tokio::test]
async fn a_vanished_node_is_silent_in_every_way_until_it_is_back() {
    let network = network().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    network.set_upstream(2, Some(listener.local_addr().unwrap()));
    let mut to_it = dial(&network, Route::nodes(1, 2)).await;
    let (mut up, _) = listener.accept().await.unwrap();
    let mut from_it = dial(&network, Route::nodes(2, 3)).await;
    round_trip(&mut from_it, b"x").await;
    up.write_all(b"last words").await.unwrap();

    let guard = network.vanish(2);
    verified(&network, &guard).await;
    drop((up, listener));
    network.set_upstream(2, None);
    expect(&mut to_it, b"last words").await;
    expect_nothing(&mut to_it).await;
    for route in [Route::nodes(1, 2), Route::clients(0, 2)] {
        let connect = timeout(QUIET, TcpStream::connect(network.address(route))).await;
        assert!(connect.is_err(), "{route}: {connect:?}");
    }
    let theirs = |snapshot: &NetworkSnapshot| snapshot.between(2, 3).connections;
    drop(from_it);
    tokio::time::sleep(QUIET).await;
    assert_eq!(
        theirs(&network.snapshot()),
        1,
        "n3 has not heard of the end"
    );

    guard.heal();
    expect_reset(&mut to_it).await;
    until(&network, |snapshot| theirs(snapshot) == 0).await;
    let error = TcpStream::connect(network.address(Route::nodes(1, 2)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn dropping_the_network_closes_every_port_and_connection() {
    let network = network().await;
    let mut stream = dial(&network, Route::nodes(1, 2)).await;
    round_trip(&mut stream, b"x").await;
    let guard = network.cut(ONE_TWO);
    let address = network.address(Route::nodes(1, 2));
    drop(network);
    let end = timeout(SOON, stream.read(&mut [0])).await.expect("in time");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let error = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    drop(guard);
}

#[test]
fn a_network_can_be_started_and_dropped_outside_of_any_runtime() {
    let network = Network::start(NetworkConfig::default()).unwrap();
    let routes = network.snapshot().links.len();
    // 72 ordered pairs of nodes, and 2 groups of clients with 9 nodes, both ways.
    assert_eq!(routes, 72 + 2 * 9 * 2);
    drop(network);
}
