//! Fire drills: panics on purpose, in any of the program's threads, so that a test can walk the way out: the terminal
//! is given back, no child is left, and the exit code is a bench error's, or says what had been found before.

use std::time::Duration;

use crate::journal::Event;

/// So long: a test that fails, or is killed, leaves nothing behind for ever.
pub(super) const STUCK: Duration = Duration::from_secs(120);

/// What goes wrong in a run on purpose, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drill {
    place: Place,
    when: When,
}

/// Where a drill takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A panic of the conductor.
    Run,
    /// One of a task, which the runtime would catch and keep to itself.
    Task,
    /// One of a thread that nobody joins.
    Thread,
    /// One of the screen, with the terminal in its hands.
    Screen,
    /// No panic: the run's end does not come.
    Stuck,
}

/// When a drill takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// As soon as something of the history is proven.
    Proven,
    /// As soon as something was found.
    Found,
}

impl Drill {
    /// All, by name.
    pub const ALL: &'static [(&'static str, Drill)] = &[
        ("run", Drill::of(Place::Run, When::Proven)),
        ("task", Drill::of(Place::Task, When::Proven)),
        ("thread", Drill::of(Place::Thread, When::Proven)),
        ("screen", Drill::of(Place::Screen, When::Proven)),
        ("stuck", Drill::of(Place::Stuck, When::Proven)),
        ("run-found", Drill::of(Place::Run, When::Found)),
        ("task-found", Drill::of(Place::Task, When::Found)),
        ("thread-found", Drill::of(Place::Thread, When::Found)),
        ("screen-found", Drill::of(Place::Screen, When::Found)),
    ];

    const fn of(place: Place, when: When) -> Drill {
        Drill { place, when }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Drill> {
        let found = Drill::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, drill)| *drill)
    }

    /// Whether the end of this run does not come for [`STUCK`].
    pub(super) fn is_stuck(self) -> bool {
        self.place == Place::Stuck
    }

    /// For the conductor, when it is time: panics, or lets another thread or a task of its own do so, and waits for it to
    /// end the program.
    ///
    /// # Panics
    /// That is what it is for.
    pub(super) async fn in_the_run(self, now: When) {
        let fall = || panic!("a drill: this panic was asked for");
        match self.place {
            Place::Run if self.when == now => fall(),
            Place::Task if self.when == now => drop(tokio::spawn(async move { fall() })),
            Place::Thread if self.when == now => drop(std::thread::spawn(fall)),
            _ => return,
        }
        std::future::pending::<()>().await;
    }

    /// For the screen, at each thing that it is told: panics where it is the drill's turn.
    ///
    /// # Panics
    /// That is what it is for.
    pub fn on_the_screen(self, event: &Event) {
        let now = match event {
            Event::History(_) => When::Proven,
            event if event.what_was_found().is_some() => When::Found,
            _ => return,
        };
        assert!(
            self.place != Place::Screen || self.when != now,
            "a drill: this panic was asked for"
        );
    }
}
