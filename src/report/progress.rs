//! Progress on stderr: one plain line for each notable event, and one every five seconds; a line that rewrites itself
//! where stderr is a terminal.

use std::io::{self, Write};

use checkers::history::Step;

use crate::fault::By;
use crate::journal::{Entry, Event, Phase, Progress as SoFar, Role, UNPROMISED};

/// Between two lines that say how far the run is.
const LINE_EVERY_NS: u64 = 5_000_000_000;
/// Between two rewritings of the status line on a terminal.
const STATUS_EVERY_NS: u64 = 250_000_000;

/// Turns what a run tells into lines.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    last_ns: u64,
    completed: u64,
    so_far: SoFar,
    active: Vec<String>,
    leader: Option<(u64, u64)>,
}

impl Progress {
    /// For a stderr that is a terminal, or is not.
    #[must_use]
    pub fn new(terminal: bool) -> Progress {
        Progress {
            terminal,
            last_ns: 0,
            completed: 0,
            so_far: SoFar::default(),
            active: Vec::new(),
            leader: None,
        }
    }

    /// Takes one thing in and prints what is worth a line.
    ///
    /// # Errors
    /// When `out` does.
    pub fn take(&mut self, out: &mut impl Write, entry: &Entry) -> io::Result<()> {
        let Entry { time_ns, event } = entry;
        let time_ns = *time_ns;
        match event {
            Event::History(event) => {
                self.completed += u64::from(matches!(event.kind.step(), Step::Ends(..)));
                return self.status(out, time_ns);
            }
            Event::FaultIn { fault, .. } => self.active.push(fault.to_string()),
            Event::FaultOut { fault, .. } => self.active.retain(|text| *text != fault.to_string()),
            Event::Progress { progress } => {
                self.so_far.clone_from(progress);
                return self.status(out, time_ns);
            }
            _ => {}
        }
        if let Some(text) = self.sentence(event) {
            self.line(out, time_ns, &text)?;
        }
        Ok(())
    }

    /// Ends the line that rewrites itself.
    ///
    /// # Errors
    /// When `out` does.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.terminal {
            write!(out, "\r\x1b[K")
        } else {
            Ok(())
        }
    }

    fn sentence(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::Started {
                scenario,
                seed,
                nodes,
                defect,
                dir,
                ..
            } => {
                let defect = defect
                    .as_ref()
                    .map_or(String::new(), |name| format!(", defect {name}"));
                format!(
                    "{scenario}, seed {seed}, {} nodes{defect}; {}",
                    nodes.len(),
                    dir.display()
                )
            }
            Event::Phase { phase } => match phase {
                Phase::Starting => return None,
                Phase::Running => "the workload begins".to_owned(),
                Phase::Healing => "everything heals".to_owned(),
                Phase::FinalReads => "final reads".to_owned(),
                Phase::Judging => "the last verdict is made".to_owned(),
                Phase::Ended => return None,
            },
            Event::Node { node }
                if node.role == Role::Leader && self.leader < Some((node.term, node.id)) =>
            {
                self.leader = Some((node.term, node.id));
                match node.term {
                    0 => format!("n{} leads", node.id),
                    term => format!("n{} leads term {term}", node.id),
                }
            }
            Event::FaultIn {
                fault,
                by,
                unpromised,
                ..
            } => {
                let label = if *unpromised { UNPROMISED } else { "" };
                format!("{fault}{}{label}", whose(*by))
            }
            Event::FaultOut { fault, by, .. } => format!("{fault}: out{}", whose(*by)),
            Event::FaultSkipped { fault, why, .. } => format!("{fault} was skipped: {why}"),
            Event::FaultUnresolved { fault, why, .. } => format!("{fault} was skipped: {why}"),
            Event::FaultIndeterminate { fault, why, .. } => {
                format!("nobody knows whether {fault} had any effect: {why}")
            }
            Event::Say { text } => text.clone(),
            Event::Anchor { text } => format!("the plan saw {text}"),
            Event::BenchError { text } => format!("bench error: {text}"),
            Event::Explained { events, .. } => format!("consensus: {events} events explained"),
            event => return event.what_was_found().or_else(|| event.of_steps()),
        })
    }

    fn line(&mut self, out: &mut impl Write, time_ns: u64, text: &str) -> io::Result<()> {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        writeln!(out, "{clear}{:7.2} s  {text}", time_ns as f64 / 1e9)
    }

    fn status(&mut self, out: &mut impl Write, time_ns: u64) -> io::Result<()> {
        let every = if self.terminal {
            STATUS_EVERY_NS
        } else {
            LINE_EVERY_NS
        };
        if time_ns.saturating_sub(self.last_ns) < every {
            return Ok(());
        }
        self.last_ns = time_ns;
        let SoFar {
            proven_to,
            open,
            gave_up,
            ..
        } = &self.so_far;
        let verdict = match gave_up {
            Some(key) => format!("? gave up on {key}"),
            None => format!("✓ linearizable to #{proven_to} ({open} open)"),
        };
        let faults = if self.active.is_empty() {
            "calm".to_owned()
        } else {
            self.active.join(" + ")
        };
        let text = format!("{verdict}; {} operations; {faults}", self.completed);
        if self.terminal {
            write!(out, "\r\x1b[K{:7.2} s  {text}", time_ns as f64 / 1e9)?;
            out.flush()
        } else {
            self.line(out, time_ns, &text)
        }
    }
}

fn whose(by: By) -> &'static str {
    match by {
        By::You => " (you)",
        By::Plan | By::End => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::journal::NodeView;

    fn lines(entries: &[Entry]) -> String {
        let (mut progress, mut out) = (Progress::new(false), Vec::new());
        for entry in entries {
            progress.take(&mut out, entry).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn at(seconds: u64, event: Event) -> Entry {
        Entry {
            time_ns: seconds * 1_000_000_000,
            event,
        }
    }

    #[test]
    fn a_leader_is_named_once_a_term_and_only_when_it_is_newer() {
        let leads = |id, term| Event::Node {
            node: NodeView {
                id,
                term,
                role: Role::Leader,
                ..NodeView::default()
            },
        };
        let text = lines(&[
            at(1, leads(1, 1)),
            at(2, leads(1, 1)),
            at(3, leads(2, 2)),
            at(4, leads(1, 1)),
        ]);
        assert_eq!(
            text,
            "   1.00 s  n1 leads term 1\n   3.00 s  n2 leads term 2\n"
        );
    }

    #[test]
    fn the_status_line_comes_every_five_seconds_and_names_the_active_faults() {
        let fault = Fault::Cut { from: 1, to: 2 };
        let so_far = |proven_to| Event::Progress {
            progress: SoFar {
                proven_to,
                open: 2,
                ..SoFar::default()
            },
        };
        let text = lines(&[
            at(
                1,
                Event::FaultIn {
                    id: 1,
                    fault,
                    by: By::Plan,
                    unpromised: false,
                },
            ),
            at(2, so_far(10)),
            at(6, so_far(20)),
            at(7, so_far(30)),
        ]);
        assert!(
            text.contains("   6.00 s  ✓ linearizable to #20 (2 open); 0 operations; cut n1 → n2\n"),
            "{text}"
        );
        assert!(!text.contains("#30") && !text.contains("#10"), "{text}");
    }
}
