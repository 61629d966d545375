//! The examples that teach are run, so that what they say stays true.

#[path = "../examples/counter.rs"]
mod counter;

#[test]
fn a_spec_of_thirty_lines_judges_a_counter() {
    counter::main();
}
