//! Which scenario, whose system, with which seed and which planted defect: the picker's state.

/// A scenario as the picker shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it does, in a few words.
    pub about: String,
    /// How long its workload runs; 0: until somebody stops it.
    pub seconds: u64,
    /// How many nodes.
    pub nodes: u64,
    /// How many clients.
    pub clients: u32,
    /// How many contended keys.
    pub keys: u32,
}

/// Somebody's system as the picker shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Its name, or its file.
    pub name: String,
    /// Its modes, the usual one first.
    pub modes: Vec<String>,
    /// The command that installs its program, where that is not here.
    pub install: Option<String>,
}

/// What was picked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Whose system, in which of its modes; `None`: the program's own node.
    pub target: Option<(String, String)>,
    /// The planted defect.
    pub defect: Option<String>,
    /// How many clients, where it is not as many as before.
    pub clients: Option<u32>,
    /// How many contended keys, where it is not as many as before.
    pub keys: Option<u32>,
}

/// The picker's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picker {
    /// The scenarios to choose from.
    pub recipes: Vec<Recipe>,
    /// The systems to choose from, beside the program's own node.
    pub targets: Vec<Choice>,
    /// The chosen one: 0 is the program's own node.
    pub target: usize,
    /// Which of its modes.
    pub mode: usize,
    /// The defects to choose from.
    pub defects: Vec<String>,
    /// Only scenarios whose name or description has this in it are shown.
    pub filter: String,
    /// The selected scenario, among those that are shown.
    pub row: usize,
    /// The chosen defect: 0 is none.
    pub defect: usize,
    /// How many clients, once somebody has chosen; else as the scenario says.
    pub clients: Option<u32>,
    /// How many contended keys, once somebody has chosen.
    pub keys: Option<u32>,
    /// The seed, as typed.
    pub seed: String,
    /// What is being typed.
    pub typing: Option<Field>,
}

/// What can be typed into the picker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The seed.
    Seed,
    /// The filter.
    Filter,
}

impl Picker {
    /// The scenarios that the filter lets through.
    pub fn shown(&self) -> impl Iterator<Item = &Recipe> {
        let filter = self.filter.to_lowercase();
        self.recipes.iter().filter(move |recipe| {
            let Recipe { name, about, .. } = recipe;
            name.contains(&filter) || about.to_lowercase().contains(&filter)
        })
    }

    /// The chosen system; `None`: the program's own node.
    #[must_use]
    pub fn choice(&self) -> Option<&Choice> {
        self.targets.get(self.target.checked_sub(1)?)
    }

    /// The chosen mode of it.
    #[must_use]
    pub fn mode_name(&self) -> Option<&str> {
        let modes = &self.choice()?.modes;
        modes.get(self.mode).map(String::as_str)
    }

    /// Chooses the next system, the program's own node among them.
    pub fn next_target(&mut self) {
        self.target = (self.target + 1) % (self.targets.len() + 1);
        self.mode = 0;
    }

    /// Chooses the next of its modes, where there are several.
    pub fn next_mode(&mut self) {
        let modes = self.choice().map_or(1, |choice| choice.modes.len());
        self.mode = (self.mode + 1) % modes.max(1);
    }

    /// The defect's name, when one is chosen: it is planted in the program's own node, and in no other.
    #[must_use]
    pub fn defect_name(&self) -> Option<&str> {
        if self.choice().is_some() {
            return None;
        }
        self.defects
            .get(self.defect.checked_sub(1)?)
            .map(String::as_str)
    }

    /// How many clients and contended keys the next run will have.
    #[must_use]
    pub fn load(&self) -> (u32, u32) {
        let recipe = self.shown().nth(self.row);
        let own = recipe.map_or((1, 1), |recipe| (recipe.clients, recipe.keys));
        (self.clients.unwrap_or(own.0), self.keys.unwrap_or(own.1))
    }

    /// What is picked now; `None` when there is no scenario to pick or the seed is no number.
    #[must_use]
    pub fn pick(&self) -> Option<Pick> {
        Some(Pick {
            scenario: self.shown().nth(self.row)?.name.clone(),
            seed: self.seed.parse().ok()?,
            target: self
                .choice()
                .map(|choice| choice.name.clone())
                .zip(self.mode_name().map(str::to_owned)),
            defect: self.defect_name().map(str::to_owned),
            clients: self.clients,
            keys: self.keys,
        })
    }
}
