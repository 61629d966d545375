//! Which faults can be in at the same time, and why others cannot: asked before one goes in, and by the screen before
//! anybody asks.

use super::{DiskHarm, Fault, Signal};

impl Fault {
    /// Why this fault cannot go in while another one is, as a sentence; `None` where it can.
    #[must_use]
    pub fn refused_by(&self, active: &Fault) -> Option<String> {
        if self == active {
            return Some("it is in already".to_owned());
        }
        if let Some(member) = self.member().filter(|_| self.member() == active.member()) {
            return Some(format!(
                "“{active}” has n{member}'s vote in hand: heal that first"
            ));
        }
        let others = active.children();
        let children = self.children();
        let child = children.iter().find(|child| others.contains(child))?;
        (!active.bears(self)).then(|| {
            format!("n{child} has “{active}” already, and a process takes one such fault at a time: heal that first")
        })
    }

    /// Whether another fault may meet the same child while this one is in: when either is taken out it must still be
    /// known what the other has done to it.
    fn bears(&self, other: &Fault) -> bool {
        let ends = matches!(
            other,
            Fault::Kill { .. }
                | Fault::KillSeveral { .. }
                | Fault::Restart { .. }
                | Fault::PowerLoss { .. }
        );
        if self.is_a_switch() {
            let others_switch = other.is_a_switch() && other.kind() != self.kind();
            // A disk that does two things at once would do only the one that was asked for last.
            let disks = [self, other].map(|fault| matches!(fault, Fault::Disk { .. }));
            let both_disks = disks == [true, true];
            return ends || other.stops() || (others_switch && !both_disks);
        }
        // A process that stands hears nothing: SIGTERM would wait, and SIGKILL does not.
        let asks = matches!(
            other,
            Fault::Restart {
                signal: Signal::Term,
                ..
            }
        );
        self.stops() && ends && !asks
    }

    /// Whether a node that lives on does it by itself, at a word of ours, until another word: it ends with its child.
    #[must_use]
    pub fn is_a_switch(&self) -> bool {
        matches!(
            self,
            Fault::Clock { .. }
                | Fault::Disk {
                    harm: DiskHarm::SlowSync | DiskHarm::HoldSync | DiskHarm::LyingSync,
                    ..
                }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(harm: DiskHarm) -> Fault {
        let ms = if harm == DiskHarm::SlowSync { 50 } else { 0 };
        Fault::Disk { who: 1, harm, ms }
    }

    fn clock() -> Fault {
        Fault::Clock {
            who: 1,
            rate_percent: 300,
            step_ms: 0,
        }
    }

    fn pause(node: u64) -> Fault {
        Fault::Pause { who: node }
    }

    #[test]
    fn a_slow_disk_a_wrong_clock_and_a_pause_meet_one_node_at_once() {
        let slow = disk(DiskHarm::SlowSync);
        for (second, first) in [
            (pause(1), slow.clone()),
            (clock(), slow.clone()),
            (slow.clone(), clock()),
            (pause(1), clock()),
            (pause(1), disk(DiskHarm::HoldSync)),
        ] {
            assert_eq!(second.refused_by(&first), None, "{second} on {first}");
        }
    }

    #[test]
    fn what_ends_a_node_goes_on_top_of_what_ends_with_it() {
        let power_loss = Fault::PowerLoss { who: vec![1] };
        let kill = Fault::Kill { who: 1 };
        let restart = |signal| Fault::Restart { who: 1, signal };
        for first in [
            disk(DiskHarm::HoldSync),
            disk(DiskHarm::LyingSync),
            clock(),
            pause(1),
        ] {
            assert_eq!(power_loss.refused_by(&first), None, "{first}");
            assert_eq!(kill.refused_by(&first), None, "{first}");
            assert_eq!(restart(Signal::Kill).refused_by(&first), None, "{first}");
            assert!(first.refused_by(&kill).is_some(), "{first}");
        }
        assert!(restart(Signal::Term).refused_by(&pause(1)).is_some());
        assert_eq!(restart(Signal::Term).refused_by(&clock()), None);
        assert!(power_loss.refused_by(&disk(DiskHarm::Full)).is_some());
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence_that_names_what_is_in() {
        let throttle = Fault::Throttle {
            who: 1,
            run_ms: 50,
            stand_ms: 50,
        };
        let why = pause(1).refused_by(&throttle).expect("one at a time");
        assert!(
            why.contains("n1 has “throttle n1: 50 ms on, 50 ms off”"),
            "{why}"
        );
        assert_eq!(pause(2).refused_by(&throttle), None);
        assert_eq!(
            pause(1).refused_by(&pause(1)).as_deref(),
            Some("it is in already")
        );
        let [slow, held] = [DiskHarm::SlowSync, DiskHarm::HoldSync].map(disk);
        assert!(held.refused_by(&slow).is_some(), "one disk does one thing");
        let (removed, replaced) = (Fault::RemoveVoter { who: 2 }, Fault::Replace { who: 2 });
        let why = replaced.refused_by(&removed).expect("one vote");
        assert!(why.contains("n2's vote"), "{why}");
    }
}
