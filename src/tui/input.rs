//! What a person does at the terminal, read on a thread of its own.
//!
//! The reader of crossterm 0.29 never comes back from a terminal that has gone: it reads, is told that there is nothing
//! there, and reads again, with its lock held. Whoever else asks it for a key waits for ever. So nobody asks it but this
//! thread, and whether the terminal is still there is looked at beside it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

/// The thread looks so often whether anybody still wants keys.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is looked whether the terminal is still there.
const LOOK_AT_TERMINAL_EVERY: Duration = Duration::from_millis(250);
/// A person is slower than the screen.
const QUEUE: usize = 256;

/// Keys, mouse and sizes, in order, until the terminal has gone. Dropping it ends its thread.
pub(super) struct Keys {
    events: mpsc::Receiver<io::Result<Event>>,
    look: Interval,
    over: Arc<AtomicBool>,
}

impl Keys {
    /// Begins to read. Must be called within a runtime.
    ///
    /// # Errors
    /// When there is no thread.
    pub(super) fn read() -> io::Result<Keys> {
        let (tell, events) = mpsc::channel(QUEUE);
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || read(&tell, &ends))?;
        let mut look = tokio::time::interval(LOOK_AT_TERMINAL_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Keys { events, look, over })
    }

    /// The next one; `None` once the terminal has gone.
    pub(super) async fn next(&mut self) -> Option<io::Result<Event>> {
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => return event,
                _ = self.look.tick() => {
                    if is_gone() {
                        return None;
                    }
                }
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn read(tell: &mpsc::Sender<io::Result<Event>>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) && !is_gone() {
        let event = match event::poll(LOOK_EVERY) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let failed = event.is_err();
        if tell.blocking_send(event).is_err() || failed {
            return;
        }
    }
}

/// Whether nobody is at the other end of the terminal any more.
fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut end = [PollFd::new(&stdin, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // What cannot be asked has not said that it has gone.
    poll(&mut end, Some(&at_once)).is_ok_and(|_| {
        let seen = end[0].revents();
        seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    })
}
