//! SIGINT, SIGTERM and SIGHUP, for doors without a screen. None of them ends the program as if nothing had been found.

use std::io;
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::sync::mpsc;

use super::INTERRUPTED;
use crate::run::{Command, Found, ONE_WISH};

/// The first signal ends the run in order, the second one at once. A hangup is nobody's impatience: it is never the
/// second one, since a terminal that is closed may send several.
pub(super) fn stop(commands: mpsc::Sender<Command>, found: Found) -> io::Result<()> {
    let heeded = [SIGINT, SIGTERM].into_iter();
    let heeded = heeded.chain((!is_ignored(SIGHUP)).then_some(SIGHUP));
    let mut first: Option<Instant> = None;
    listen(heeded, move |signal| match first {
        None => {
            first = Some(Instant::now());
            // A run that is over has no use for it.
            let _ = commands.blocking_send(Command::Stop);
        }
        Some(at) if signal == SIGHUP || at.elapsed() < ONE_WISH => {}
        Some(_) => found.end(INTERRUPTED),
    })
}

/// A signal ends the program at once, as it does by default; where something was found, with the code that says so.
pub(super) fn end(found: Found) -> io::Result<()> {
    let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter();
    listen(
        heeded.filter(|&signal| !is_ignored(signal)),
        move |signal| {
            if found.what().is_none() {
                // A shell that has us in a loop ends the loop only where we die of the signal itself.
                let _ = emulate_default_handler(signal);
            }
            found.end(INTERRUPTED)
        },
    )
}

fn listen(
    heeded: impl Iterator<Item = i32>,
    mut act: impl FnMut(i32) + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new(heeded)?;
    let listener = std::thread::Builder::new().name("signals".to_owned());
    listener.spawn(move || signals.forever().for_each(&mut act))?;
    Ok(())
}

/// Whether whoever started us wants us to ignore it: nohup(1) does so with the hangup, a shell without jobs with the
/// interrupt of what it puts in the background.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
