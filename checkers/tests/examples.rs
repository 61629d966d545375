//! The examples that teach are run, so that what they say stays true.

#[path = "../examples/counter.rs"]
mod counter;

#[test]
fn a_spec_of_thirty_lines_judges_a_counter() {
    counter::main();
}

#[test]
fn it_judges_a_file_as_the_data_type_does() {
    for (file, expected) in [
        ("linearizable/counter-between-adds.edn", "linearizable"),
        ("linearizable/counter-up-and-down.jsonl", "linearizable"),
        ("violating/counter-too-low.edn", "violation"),
        ("violating/counter-that-falls.jsonl", "violation"),
    ] {
        let path = format!("{}/../histories/{file}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(
            counter::judge_file(&path).as_deref(),
            Ok(expected),
            "{file}"
        );
    }
}
