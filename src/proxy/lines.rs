//! Lines of programs that speak by their stdin and stdout: each is a datagram, under the faults of its direction.
//!
//! ```text
//!   sender's line ─▶ carry: lost where the direction is held, or wait until due ─▶ look again ─▶ receiver
//! ```
//!
//! Unlike a byte inside a stream, a line may be lost: what is sent where it is held or held back never arrives, and so does
//! what was on its way when the cut came. A line that is slow waits alone, so that later ones overtake it. Where everything stands
//! ([`Network::hold`]) nothing is lost: a line waits until everything goes on, and meets then what there is.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::gate::LegState;
use super::rule::{HeldPlace, LineFate};
use super::{Direction, Network};

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its receiver has it.
    Given,
    /// It waits for its time.
    OnItsWay,
    /// Nobody will ever see it.
    Lost,
}

/// A line, as far as its fate depends on what it says.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its type; empty where it says none.
    pub kind: &'a str,
    /// Whether it answers another one.
    pub answers: bool,
    /// How long it is.
    pub bytes: usize,
}

impl Network {
    /// Carries a line one way, under all faults of that direction and all rules for its like: `give` hands it to its receiver,
    /// without waiting, or says that there is none. It is called once at most, and once for each further copy that a rule
    /// makes; here, or on a thread of the network's. A narrow link makes a line as late as its bytes take; lines do not
    /// queue for one another.
    pub fn carry(
        &self,
        direction: Direction,
        line: Line<'_>,
        give: impl FnOnce() -> bool + Clone + Send + 'static,
    ) -> Fate {
        let (legs, runtime) = self.carriers(direction);
        let Some(first) = legs.first().cloned() else {
            return Fate::Lost;
        };
        let counted = line.bytes as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(first.take_line(counted));
        let effects = legs.iter().map(|leg| leg.effect());
        // A direction's legs carry the same packets here, and have the same faults; where they differ the worse counts.
        let late =
            effects.map(|effect| effect.sample_delay(&mut rng) + effect.busy_for(line.bytes));
        let late = late.max().unwrap_or(Duration::ZERO);
        let LineFate {
            dropped,
            late: later,
            copies,
            gap,
            held,
        } = self.fate_of(direction, line);
        if dropped {
            return Fate::Lost;
        }
        let way = Way {
            legs,
            counted,
            stands: self.stands(),
        };
        for copy in 1..=copies {
            let late = late + later + gap * copy;
            way.clone().send(runtime, late, Vec::new(), give.clone());
        }
        way.send(runtime, late + later, held, give)
    }
}

/// What a line goes by.
#[derive(Clone)]
struct Way {
    legs: Vec<Arc<LegState>>,
    counted: u64,
    stands: watch::Receiver<usize>,
}

impl Way {
    fn is_standing(&self) -> bool {
        *self.stands.borrow() > 0
    }

    /// Gives a line when its time has come. `held` is what it keeps from others until then.
    fn send(
        mut self,
        runtime: &Handle,
        late: Duration,
        held: Vec<HeldPlace>,
        give: impl FnOnce() -> bool + Send + 'static,
    ) -> Fate {
        let mut give = Some(give);
        if !self.is_standing() {
            if late.is_zero() && given(&self.legs, self.counted, &mut give) {
                return Fate::Given;
            }
            // Everything may stand since a moment ago: then it is that which holds it.
            let cut = self.legs.iter().any(|leg| leg.holds_lines());
            if give.is_none() || (cut && !self.is_standing()) {
                return Fate::Lost;
            }
        }
        let first = self.legs[0].clone();
        if !first.keep_line(self.counted) {
            return Fate::Lost;
        }
        runtime.spawn(async move {
            tokio::time::sleep(late).await;
            drop(held);
            loop {
                // A network that is gone has taken every line with it.
                let gone = self.stands.wait_for(|count| *count == 0).await.is_err();
                let came = gone || given(&self.legs, self.counted, &mut give);
                if came || give.is_none() || !self.is_standing() {
                    break;
                }
            }
            first.let_line_go(self.counted);
        });
        Fate::OnItsWay
    }
}

/// Gives a line, unless one of the legs of its direction is held: then it is still there.
fn given<G: FnOnce() -> bool>(legs: &[Arc<LegState>], bytes: u64, give: &mut Option<G>) -> bool {
    let mut hand_over = || give.take().is_some_and(|give| give());
    match legs {
        [] => false,
        [only] => only.give_line(bytes, hand_over),
        // Its bytes count once.
        [first, others @ ..] => {
            let hand_over: Box<dyn FnOnce() -> bool + '_> = Box::new(&mut hand_over);
            let pass = others.iter().fold(hand_over, |give, leg| {
                Box::new(move || leg.give_line(0, give)) as Box<dyn FnOnce() -> bool + '_>
            });
            first.give_line(bytes, pass)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::super::{
        Action, Delay, Endpoint, Match, MessageRule, Method, Methods, NetworkConfig, Route,
    };
    use super::*;

    const WAY: fn() -> Direction = || Direction::nodes(1, 2);

    fn network() -> Network {
        let config = NetworkConfig {
            nodes: 2,
            ..NetworkConfig::default()
        };
        Network::start(config).expect("ports are free")
    }

    /// A line is let go of a moment after it was given.
    fn nothing_waits(network: &Network) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let waiting = network.snapshot().between(1, 2).bytes_waiting;
            if waiting == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{waiting} bytes wait for ever");
            std::thread::yield_now();
        }
    }

    fn say(network: &Network, way: Direction, heard: &mpsc::Sender<u32>, line: u32) -> Fate {
        said(network, way, heard, ("append", false), line)
    }

    fn said(
        network: &Network,
        way: Direction,
        heard: &mpsc::Sender<u32>,
        (kind, answers): (&str, bool),
        number: u32,
    ) -> Fate {
        let heard = heard.clone();
        let line = Line {
            kind,
            answers,
            bytes: 10,
        };
        network.carry(way, line, move || heard.send(number).is_ok())
    }

    #[tokio::test]
    async fn a_cut_loses_lines_one_way_and_is_seen_to() {
        let network = network();
        let (tell, heard) = mpsc::channel();
        assert_eq!(say(&network, WAY(), &tell, 1), Fate::Given);
        let cut = network.cut(WAY());
        assert_eq!(say(&network, WAY(), &tell, 2), Fate::Lost);
        assert_eq!(say(&network, Direction::nodes(2, 1), &tell, 3), Fate::Given);
        let probe = network.verify(&cut).await;
        assert!(probe.effective, "{probe:?}");
        cut.heal();
        assert_eq!(say(&network, WAY(), &tell, 4), Fate::Given);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [1, 3, 4]);
        let link = network.snapshot().between(1, 2);
        assert_eq!((link.bytes_in, link.bytes_out), (30, 20));
    }

    #[test]
    fn a_slow_line_is_overtaken_and_is_lost_in_a_cut_that_comes_meanwhile() {
        let network = network();
        let (tell, heard) = mpsc::channel();
        let late = Duration::from_millis(60);
        let slow = network.slow(WAY(), Delay::Constant(late));
        let began = Instant::now();
        assert_eq!(say(&network, WAY(), &tell, 1), Fate::OnItsWay);
        slow.heal();
        assert_eq!(say(&network, WAY(), &tell, 2), Fate::Given);
        let patience = Duration::from_secs(10);
        assert_eq!(heard.recv_timeout(patience), Ok(2));
        assert_eq!(heard.recv_timeout(patience), Ok(1));
        assert!(began.elapsed() >= late);

        let slow = network.slow(WAY(), Delay::Constant(late));
        assert_eq!(say(&network, WAY(), &tell, 3), Fate::OnItsWay);
        let cut = network.cut(WAY());
        // A line that is lost is dropped with all that it holds.
        drop(tell);
        assert_eq!(
            heard.recv_timeout(patience),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        nothing_waits(&network);
        cut.heal();
        slow.heal();
    }

    #[test]
    fn lines_wait_while_everything_stands_and_meet_then_what_there_is() {
        let network = network();
        let (tell, heard) = mpsc::channel();
        let patience = Duration::from_secs(10);
        let slow = network.slow(WAY(), Delay::Constant(Duration::from_millis(20)));
        assert_eq!(say(&network, WAY(), &tell, 1), Fate::OnItsWay);
        let everything = network.hold();
        slow.heal();
        assert_eq!(say(&network, WAY(), &tell, 2), Fate::OnItsWay);
        let back = Direction::nodes(2, 1);
        assert_eq!(say(&network, back, &tell, 3), Fate::OnItsWay);
        let nothing = heard.recv_timeout(Duration::from_millis(100));
        assert_eq!(nothing, Err(mpsc::RecvTimeoutError::Timeout));
        // What is cut when everything goes on loses what comes then.
        let cut = network.cut(back);
        everything.heal();
        let mut came = [(); 2].map(|()| heard.recv_timeout(patience).unwrap());
        came.sort_unstable();
        assert_eq!(came, [1, 2]);
        drop(tell);
        let lost = heard.recv_timeout(patience);
        assert_eq!(lost, Err(mpsc::RecvTimeoutError::Disconnected));
        nothing_waits(&network);
        cut.heal();
    }

    #[test]
    fn a_rule_meets_the_lines_of_its_type_and_its_way_and_no_others() {
        let network = network();
        let (tell, heard) = mpsc::channel();
        let patience = Duration::from_secs(10);
        let put = |route, methods, kind: Option<&str>, action| {
            let mut matching = Match::every(methods);
            matching.kind = kind.map(str::to_owned);
            network.put_rule(&[route], &MessageRule { matching, action })
        };
        let (there, back) = (Route::nodes(1, 2), Direction::nodes(2, 1));
        let drops = put(there, Methods::All, Some("vote"), Action::DropRequest);
        let lines = [("vote", false), ("append", false), ("vote", true)];
        let fates = lines.map(|line| said(&network, WAY(), &tell, line, 1));
        assert_eq!(fates, [Fate::Lost, Fate::Given, Fate::Lost]);
        assert_eq!(said(&network, back, &tell, lines[0], 2), Fate::Given);
        assert_eq!(network.met(&drops), 2);
        drops.heal();
        // Answers go back by the route on which they were asked for.
        let answers = put(there, Methods::All, None, Action::DropResponse);
        assert_eq!(said(&network, WAY(), &tell, ("vote", true), 3), Fate::Given);
        assert_eq!(said(&network, back, &tell, ("vote", false), 4), Fate::Given);
        assert_eq!(said(&network, back, &tell, ("vote", true), 5), Fate::Lost);
        answers.heal();
        let twice = Action::Duplicate {
            copies: 1,
            gap: Duration::from_millis(5),
        };
        let twice = put(there, Methods::All, None, twice);
        assert_eq!(say(&network, WAY(), &tell, 6), Fate::Given);
        let all = [1, 2, 3, 4, 6, 6].map(|_| heard.recv_timeout(patience).unwrap());
        assert_eq!(all, [1, 2, 3, 4, 6, 6]);
        twice.heal();
        // Clients' requests are told apart by what they ask.
        let ask = Direction {
            from: Endpoint::Clients(0),
            to: Endpoint::Node(2),
        };
        let writes = Methods::Only(Method::Write);
        let writes = put(Route::clients(0, 2), writes, None, Action::DropRequest);
        let asked = ["cas", "read"].map(|kind| said(&network, ask, &tell, (kind, false), 7));
        assert_eq!(asked, [Fate::Lost, Fate::Given]);
        writes.heal();
        let decided = network.take_decisions().made;
        let kinds: Vec<&str> = decided
            .iter()
            .filter_map(|one| one.kind.as_deref())
            .collect();
        assert_eq!(kinds, ["vote", "vote", "vote", "append", "cas"]);
    }

    #[test]
    fn a_line_to_nobody_is_lost() {
        let network = network();
        let line = Line {
            kind: "",
            answers: false,
            bytes: 1,
        };
        assert_eq!(network.carry(WAY(), line, || false), Fate::Lost);
        let unknown = Direction::nodes(1, 9);
        assert_eq!(network.carry(unknown, line, || true), Fate::Lost);
    }
}
