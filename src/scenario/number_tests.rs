//! No number of a scenario makes the bench panic: it is refused, or the run can begin.

use super::tests::{parse, written};
use super::*;
use crate::fault::Roles;
use crate::workload::Generator;

/// Numbers that break what nobody has thought of.
const HARD: [i64; 12] = [
    i64::MIN,
    -1,
    0,
    1,
    2,
    7,
    100,
    65_536,
    4_294_967_295,
    4_294_967_296,
    1 << 62,
    i64::MAX,
];

/// Every number of a value, by a number of its own.
fn numbers(value: &mut toml::Value, at: &mut dyn FnMut(&mut i64)) {
    match value {
        toml::Value::Integer(number) => at(number),
        toml::Value::Array(list) => list.iter_mut().for_each(|one| numbers(one, at)),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, one)| numbers(one, at)),
        _ => {}
    }
}

/// Recipes with every number that there is, and what a run keeps of one.
fn recipes() -> Vec<toml::Value> {
    let full = written(
        "voters = 2\n[timings]\nheartbeat_ms = 100\nelection_min_ms = 300\nelection_max_ms = 600\n\
         snapshot_every = 9\nkeep_logs = 9\nlag = 9\nsnapshot_chunk = 9\n[[phases]]\nat_ms = 5\n\
         mix = { read = 1, write = 2, cas = 3, delete = 4 }\n[random]\nkinds = [\"kill\", \"slow\"]\n\
         episode_ms = [200, 300]\ncalm_ms = [100, 200]\n",
    );
    let mut all = vec![full.parse().map(toml::Value::Table).unwrap()];
    for scenario in Scenario::built_in() {
        all.push(toml::Value::try_from(&scenario).unwrap());
        let changes = Changes::default().with_its_system(&scenario);
        let resolved = scenario.resolve(&changes, 5, None).unwrap();
        all.push(toml::Value::try_from(&resolved).unwrap());
    }
    all
}

/// Reads it, and where it is not refused draws its plan and its first operations.
fn begin(recipe: &toml::Value) {
    let text = toml::to_string(recipe).unwrap();
    let Ok(given) = parse(&text) else { return };
    let seed = given.seed().unwrap_or(3);
    let Ok(resolved) = given.resolve(&Changes::default(), seed, None) else {
        return;
    };
    let Resolved { scenario, plan, .. } = resolved;
    let slots = scenario.slots();
    let mut generator = Generator::new(seed, 0, slots, scenario.keys, scenario.mix);
    for phase in &scenario.phases {
        generator.set_mix(scenario.mix_at(Duration::from_millis(phase.at_ms)));
        (0..20).for_each(|_| drop(generator.next_call()));
    }
    assert!(!Generator::keys(scenario.keys).is_empty());
    let nodes = scenario.node_ids();
    for episode in plan.episodes.iter().take(1_000) {
        assert!(episode.ends_by_ms() >= episode.at_ms);
        for fault in &episode.faults {
            let roles = Roles {
                nodes: &nodes,
                leader: nodes.first().copied(),
                newcomer: None,
            };
            if let Ok(fault) = fault.resolve(roles) {
                // What so few nodes cannot have is skipped, and that is said.
                let _ = (fault.check(), fault.to_string(), fault.links(&nodes));
            }
        }
    }
}

#[test]
fn no_number_of_a_scenario_makes_the_bench_panic() {
    for recipe in recipes() {
        let mut count = 0;
        numbers(&mut recipe.clone(), &mut |_| count += 1);
        let hard = [-1, 0, 1, 4_294_967_295, i64::MAX];
        for (place, hard) in (0..count).flat_map(|place| hard.map(|hard| (place, hard))) {
            let (mut changed, mut at) = (recipe.clone(), 0);
            numbers(&mut changed, &mut |number| {
                if at == place {
                    *number = hard;
                }
                at += 1;
            });
            begin(&changed);
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]
    #[test]
    fn no_several_numbers_of_a_scenario_together_make_the_bench_panic(
        which in 0_usize..1_000,
        places in proptest::collection::vec((0_usize..200, 0..HARD.len()), 1..6),
    ) {
        let recipes = recipes();
        let mut recipe = recipes[which % recipes.len()].clone();
        let mut count = 0;
        numbers(&mut recipe, &mut |_| count += 1);
        for (place, hard) in places {
            let mut at = 0;
            numbers(&mut recipe, &mut |number| {
                if at == place % count {
                    *number = HARD[hard];
                }
                at += 1;
            });
        }
        begin(&recipe);
    }
}
