//! Picks the front door and maps the ending to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // It may have been started as a part of a machine, and is nothing else then.
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    ExitCode::from(whitewater::cli::main())
}
