//! Every algorithm against the definition of linearizability, on thousands of random small histories.

mod support;

use proptest::prelude::*;
use support::agree::{check_long, check_one};

#[test]
fn twenty_thousand_random_histories_agree_with_the_definition() {
    let violations = (0..20_000).filter(|seed| check_one(*seed, 7)).count();
    // A test whose histories are all alike proves nothing.
    assert!(
        (4_000..16_000).contains(&violations),
        "{violations} violations"
    );
}

#[test]
fn longer_histories_agree_with_each_other() {
    let violations = (0..400).filter(|seed| check_long(*seed)).count();
    assert!((40..320).contains(&violations), "{violations} violations");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_seed_agrees_with_the_definition(seed: u64) {
        check_one(seed, 6);
    }
}
