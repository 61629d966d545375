//! Every algorithm against the definition of linearizability, on thousands of random small histories.

mod support;

use proptest::prelude::*;
use support::agree::{check_certificate, check_explanation, check_list, check_long, check_one};
use support::starts::{check_started, check_started_list};

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
fn random_lists_agree_with_the_definition() {
    let violations = (0..5_000).filter(|seed| check_list(*seed, 7)).count();
    assert!(
        (500..4_500).contains(&violations),
        "{violations} violations"
    );
}

#[test]
fn histories_that_begin_somehow_agree_with_the_definition() {
    let violations = (0..20_000).filter(|seed| check_started(*seed, 6)).count();
    assert!(
        (4_000..16_000).contains(&violations),
        "{violations} violations"
    );
    let violations = (0..8_000)
        .filter(|seed| check_started_list(*seed, 7))
        .count();
    assert!(
        (800..7_200).contains(&violations),
        "{violations} violations of lists"
    );
}

#[test]
fn a_certificate_holds_for_true_log_ids_and_proves_what_it_says() {
    let holds = (0..6_000)
        .filter(|seed| check_certificate(*seed, 9))
        .count();
    assert!((2_500..5_000).contains(&holds), "{holds} hold");
}

#[test]
fn explanations_agree_with_the_definitions() {
    let apart = (0..6_000)
        .filter(|seed| check_explanation(*seed, 8))
        .count();
    assert!(apart > 100, "{apart} are weaker and not nothing");
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
