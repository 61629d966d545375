//! Picks the front door and maps the ending to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(whitewater::cli::main())
}
