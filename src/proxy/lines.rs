//! Lines of programs that speak by their stdin and stdout: each is a datagram, under the faults of its direction.
//!
//! ```text
//!   sender's line ─▶ carry: lost where the direction is held, or wait until due ─▶ look again ─▶ receiver
//! ```
//!
//! Unlike a byte inside a stream, a line may be lost: what is sent where it is held or held back never arrives, and so does
//! what was on its way when the cut came. A line that is slow waits alone, so that later ones overtake it.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::gate::LegState;
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

impl Network {
    /// Carries a line of so many bytes one way, under all faults of that direction: `give` hands it to its receiver, at
    /// once and without waiting, or says that there is none. It is called at most once, here or on a thread of the
    /// network's. A narrow link makes a line as late as its bytes take; lines do not queue for one another.
    pub fn carry(
        &self,
        direction: Direction,
        bytes: usize,
        give: impl FnOnce() -> bool + Send + 'static,
    ) -> Fate {
        let (legs, runtime) = self.carriers(direction);
        let Some(first) = legs.first().cloned() else {
            return Fate::Lost;
        };
        let counted = bytes as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(first.take_line(counted));
        let effects = legs.iter().map(|leg| leg.effect());
        // A direction's legs carry the same packets here, and have the same faults; where they differ the worse counts.
        let late = effects.map(|effect| effect.sample_delay(&mut rng) + effect.busy_for(bytes));
        let late = late.max().unwrap_or(Duration::ZERO);
        if late.is_zero() {
            return given(&legs, counted, give);
        }
        if legs.iter().any(|leg| leg.holds_lines()) || !first.keep_line(counted) {
            return Fate::Lost;
        }
        runtime.spawn(async move {
            tokio::time::sleep(late).await;
            first.let_line_go(counted);
            given(&legs, counted, give);
        });
        Fate::OnItsWay
    }
}

/// Gives a line, unless one of the legs of its direction is held.
fn given(legs: &[Arc<LegState>], bytes: u64, give: impl FnOnce() -> bool) -> Fate {
    let passed = match legs {
        [] => false,
        [only] => only.give_line(bytes, give),
        // Its bytes count once.
        [first, others @ ..] => {
            let give: Box<dyn FnOnce() -> bool + '_> = Box::new(give);
            let pass = others.iter().fold(give, |give, leg| {
                Box::new(move || leg.give_line(0, give)) as Box<dyn FnOnce() -> bool + '_>
            });
            first.give_line(bytes, pass)
        }
    };
    if passed { Fate::Given } else { Fate::Lost }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::super::{Delay, NetworkConfig};
    use super::*;

    const WAY: fn() -> Direction = || Direction::nodes(1, 2);

    fn network() -> Network {
        let config = NetworkConfig {
            nodes: 2,
            ..NetworkConfig::default()
        };
        Network::start(config).expect("ports are free")
    }

    fn say(network: &Network, way: Direction, heard: &mpsc::Sender<u32>, line: u32) -> Fate {
        let heard = heard.clone();
        network.carry(way, 10, move || heard.send(line).is_ok())
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
        assert_eq!(network.snapshot().between(1, 2).bytes_waiting, 0);
        cut.heal();
        slow.heal();
    }

    #[test]
    fn a_line_to_nobody_is_lost() {
        let network = network();
        assert_eq!(network.carry(WAY(), 1, || false), Fate::Lost);
        let unknown = Direction::nodes(1, 9);
        assert_eq!(network.carry(unknown, 1, || true), Fate::Lost);
    }
}
