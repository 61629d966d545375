//! Picks the front door and maps the ending to an exit code.

fn main() {}
