//! Fire drills: panics on purpose, in any of the program's threads, so that a test can walk the way out: the terminal
//! is given back, no child is left, and the exit code is a bench error's.

/// Where a run panics, as soon as something of its history is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// In the conductor.
    Run,
    /// In a task, whose panic the runtime would catch and keep to itself.
    Task,
    /// In a thread that nobody joins.
    Thread,
    /// On the screen, with the terminal in its hands.
    Screen,
}

impl Drill {
    /// All, by name.
    pub const ALL: &'static [(&'static str, Drill)] = &[
        ("run", Drill::Run),
        ("task", Drill::Task),
        ("thread", Drill::Thread),
        ("screen", Drill::Screen),
    ];

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Drill> {
        let found = Drill::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, drill)| *drill)
    }

    /// Panics there. It returns at once where the panic is another's.
    ///
    /// # Panics
    /// That is what it is for.
    pub fn panic(self) {
        let fall = || panic!("a drill: this panic was asked for");
        match self {
            Drill::Run | Drill::Screen => fall(),
            Drill::Task => drop(tokio::spawn(async move { fall() })),
            Drill::Thread => drop(std::thread::spawn(fall)),
        }
    }
}
