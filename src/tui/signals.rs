//! The signals that wake the screen.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, as streams.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
    stop: Signal,
    go_on: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Signals> {
        let of = |raw| signal(SignalKind::from_raw(raw));
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            stop: of(rustix::process::Signal::TSTP.as_raw())?,
            go_on: of(rustix::process::Signal::CONT.as_raw())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Woken {
        tokio::select! {
            _ = self.interrupt.recv() => Woken::End,
            _ = self.terminate.recv() => Woken::End,
            _ = self.quit.recv() => Woken::End,
            _ = self.hangup.recv() => Woken::HungUp,
            _ = self.stop.recv() => Woken::Stop,
            _ = self.go_on.recv() => Woken::GoOn,
        }
    }
}

/// What a signal asks the screen for.
#[derive(Clone, Copy)]
pub(super) enum Woken {
    /// To end.
    End,
    /// The same, but nobody is impatient: the terminal has gone.
    HungUp,
    /// To stop, as Ctrl-Z does.
    Stop,
    /// It was continued.
    GoOn,
}
