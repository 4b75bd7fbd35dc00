//! The program `coffer-loadtest`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    coffer_loadtest::main()
}
