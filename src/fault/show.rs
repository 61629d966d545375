//! A fault in a few words, as on the screen and in the history's marks.

use std::fmt;

use super::{Act, Fault, LimitOf, NodeId, Only, Signal, Way, WireHarm};

/// `n1,n2,n3`.
fn list(f: &mut fmt::Formatter<'_>, nodes: &[NodeId]) -> fmt::Result {
    for (i, node) in nodes.iter().enumerate() {
        write!(f, "{}n{node}", if i == 0 { "" } else { "," })?;
    }
    Ok(())
}

/// What becomes of the bytes of a link.
fn wire(f: &mut fmt::Formatter<'_>, harm: WireHarm, amount: u64) -> fmt::Result {
    match harm {
        WireHarm::Narrow => write!(f, "at {amount} bytes a second"),
        WireHarm::Sliced => write!(f, "in slices of {amount} bytes"),
        WireHarm::Spikes => write!(f, "late by {amount} ms now and then"),
        WireHarm::LongTail => write!(f, "late by {amount} ms on average, seldom much later"),
        WireHarm::CutShort => write!(f, "reset after {amount} bytes"),
        WireHarm::SlowClose => write!(f, "closes {amount} ms late"),
        WireHarm::HalfClose => write!(f, "half closed"),
        WireHarm::Reset => write!(f, "reset, and again as soon as it is dialled"),
        WireHarm::Refuse => write!(f, "reset, and refused"),
        WireHarm::Unanswered => write!(f, "reset, and dialled in vain"),
    }
}

/// ` of terms 3-5, with 1-9 entries, 1-3 of each link`.
fn which(f: &mut fmt::Formatter<'_>, only: &Only) -> fmt::Result {
    if let Some([least, most]) = only.terms {
        write!(f, " of terms {least}-{most}")?;
    }
    if let Some([least, most]) = only.entries {
        write!(f, " with {least}-{most} entries")?;
    }
    if let Some([first, last]) = only.nth {
        write!(f, ", number {first}-{last} of each link")?;
    }
    Ok(())
}

impl fmt::Display for Fault {
    /// As on the screen and in the history's marks: `cut n1 → n3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill { node } => write!(f, "kill n{node}"),
            Fault::Pause { node } => write!(f, "pause n{node}"),
            Fault::KillSeveral { nodes } => {
                write!(f, "kill ")?;
                list(f, nodes)
            }
            Fault::Freeze { nodes, stagger_ms } => {
                write!(f, "pause ")?;
                list(f, nodes)?;
                match stagger_ms {
                    0 => write!(f, " at once"),
                    ms => write!(f, " at once, resume {ms} ms apart"),
                }
            }
            Fault::Limit { node, of } => match of {
                LimitOf::FileSize => write!(f, "let n{node} write no file"),
                LimitOf::OpenFiles => write!(f, "let n{node} open no file"),
            },
            Fault::Restart {
                node,
                signal: Signal::Term,
            } => write!(f, "restart n{node}"),
            Fault::Restart {
                node,
                signal: Signal::Kill,
            } => write!(f, "crash and restart n{node}"),
            Fault::Isolate {
                node,
                way: Way::Both,
            } => write!(f, "isolate n{node}"),
            Fault::Isolate { node, way: Way::In } => write!(f, "isolate n{node} (hears nobody)"),
            Fault::Isolate {
                node,
                way: Way::Out,
            } => write!(f, "isolate n{node} (nobody hears it)"),
            Fault::Split { side } => {
                write!(f, "split ")?;
                list(f, side)?;
                write!(f, " from the rest")
            }
            Fault::Bridge { over, side } => {
                write!(f, "split ")?;
                list(f, side)?;
                write!(f, " from the rest but for n{over}")
            }
            Fault::Ring { order } => {
                write!(f, "ring ")?;
                list(f, order)
            }
            Fault::Graph { cut } => {
                write!(f, "cut")?;
                for (i, (from, to)) in cut.iter().enumerate() {
                    write!(f, "{} n{from} → n{to}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Fault::Hide { node } => write!(f, "hide n{node} from its clients"),
            Fault::CrashLoop { node, up_ms } => write!(f, "kill n{node} every {up_ms} ms"),
            Fault::Throttle {
                node,
                run_ms,
                stand_ms,
            } => write!(f, "throttle n{node}: {run_ms} ms on, {stand_ms} ms off"),
            Fault::Cut { from, to } => write!(f, "cut n{from} → n{to}"),
            Fault::Slow {
                from,
                to,
                delay_ms,
                jitter_ms,
            } => {
                write!(f, "slow n{from} → n{to} {delay_ms} ms ±{jitter_ms}")
            }
            Fault::Wire {
                from,
                to,
                harm,
                amount,
            } => {
                write!(f, "n{from} → n{to} ")?;
                wire(f, *harm, *amount)
            }
            Fault::Crash { nodes } => {
                write!(f, "power loss of ")?;
                list(f, nodes)
            }
            Fault::Message {
                act,
                of,
                node,
                per_mille,
                ms,
                to,
                only,
            } => {
                let answers = if *act == Act::Swallow || *act == Act::LateAnswer {
                    "answers to "
                } else {
                    ""
                };
                write!(f, "{} {answers}{}", act.name(), of.name())?;
                if *ms > 0 {
                    write!(f, " {ms} ms")?;
                }
                match (node, to) {
                    (Some(node), Some(to)) => write!(f, " n{node} → n{to}")?,
                    (Some(node), None) => write!(f, " at n{node}")?,
                    (None, Some(to)) => write!(f, " to n{to}")?,
                    (None, None) => {}
                }
                which(f, only)?;
                if *per_mille < 1000 {
                    write!(f, " ({}.{} %)", per_mille / 10, per_mille % 10)?;
                }
                Ok(())
            }
            Fault::Disk { node, harm, ms: 0 } => write!(f, "disk of n{node}: {}", harm.name()),
            Fault::Disk { node, harm, ms } => {
                write!(f, "disk of n{node}: {} of {ms} ms", harm.name())
            }
            Fault::Clock {
                node,
                rate_percent,
                step_ms,
            } => {
                write!(f, "clock of n{node} ")?;
                match (rate_percent, step_ms) {
                    (100, step) => write!(f, "steps {step} ms"),
                    (0, 0) => write!(f, "stands still"),
                    (0, step) => write!(f, "steps {step} ms and stands still"),
                    (rate, 0) => write!(f, "at {rate} %"),
                    (rate, step) => write!(f, "steps {step} ms, then at {rate} %"),
                }
            }
            Fault::Shrink { node } => write!(f, "take n{node}'s vote away"),
            Fault::Transfer { to } => write!(f, "hand the leadership to n{to}"),
            Fault::Replace { node } => write!(f, "replace n{node} by a new member"),
            Fault::Grow { node } => write!(f, "let n{node} join"),
            Fault::Wipe { node } => write!(f, "wipe n{node} (outside of the fault model)"),
        }
    }
}
