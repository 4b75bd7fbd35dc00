//! `cofferd`: the server and its operator's commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferd::cli::run()
}
