//! Every task of a contributor: `cargo xtask TASK`, with nothing to install.

mod fuzz;
mod run;

use clap::{Parser, Subcommand};
use run::{Ended, Step};
use std::process::ExitCode;

/// Tasks of a contributor. Each runs in the root of the workspace and prints the commands that it runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Lists the tasks.
    Help,
    /// All that must hold before a merge: .ci/run.
    Ci,
    /// Formats the code.
    Fmt,
    /// Formatting and clippy, warnings denied.
    Lint,
    /// All tests; what follows goes to `cargo test`.
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// All benchmarks; what follows goes to `cargo bench`.
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Tries every order in which threads can meet at the queues between them.
    Loom,
    /// Fuzzes every target, or one, for so many seconds each (needs a nightly toolchain and a C++ compiler).
    Fuzz {
        /// How long each target runs.
        seconds: u32,
        /// A target of fuzz/src/targets; without it, all in turn.
        target: Option<String>,
    },
    /// Kills the server under load, again and again, and looks at all that it has stored each time.
    Crash {
        /// How often.
        #[arg(default_value_t = 200)]
        kills: u32,
    },
    /// Records what the server does under load, and lets the power fail at many points of it; and lets syncs fail
    /// (needs strace).
    Powerloss,
    /// The documentation, warnings denied.
    Docs,
    /// Licences, advisories and sources of the dependencies (needs cargo-deny).
    Deny,
}

fn main() -> ExitCode {
    match Cli::parse().task.run() {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Badly) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Task {
    fn run(self) -> anyhow::Result<Ended> {
        match self {
            Self::Help => {
                <Cli as clap::CommandFactory>::command().print_long_help()?;
                Ok(Ended::Well)
            }
            Self::Ci => Step::new(".ci/run", &[]).run(),
            Self::Fmt => Step::cargo(&["fmt", "--all"]).run(),
            Self::Lint => run::all(&[
                Step::cargo(&["fmt", "--all", "--check"]),
                Step::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            ]),
            Self::Test { arguments } => Step::cargo(&["test", "--workspace"]).and(arguments).run(),
            Self::Bench { arguments } => {
                Step::cargo(&["bench", "--workspace"]).and(arguments).run()
            }
            Self::Loom => Step::cargo(&["test", "--package", "cofferd", "--lib", "models::"])
                .env("RUSTFLAGS", "--cfg loom")
                // Unbounded, two takers take hours; loom's authors find two or three enough for nearly every fault.
                .env("LOOM_MAX_PREEMPTIONS", "3")
                // Other flags build everything anew; what is built without them stays.
                .env("CARGO_TARGET_DIR", "target/loom")
                .run(),
            Self::Fuzz { seconds, target } => fuzz::run(seconds, target.as_deref()),
            Self::Crash { kills } => Step::cargo(&["test", "--test", "end_to_end", "crash::"])
                .and(vec!["--".to_owned(), "--nocapture".to_owned()])
                .env("COFFER_KILLS", &kills.to_string())
                .run(),
            Self::Powerloss => Step::cargo(&["test", "--test", "power_loss"])
                .and(["--", "--ignored", "--nocapture"].map(str::to_owned).into())
                .run(),
            Self::Docs => Step::cargo(&["doc", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings")
                .run(),
            Self::Deny => deny(),
        }
    }
}

/// A missing cargo-deny is no failure: nothing has to be installed to contribute.
fn deny() -> anyhow::Result<Ended> {
    if !Step::cargo(&["deny", "--version"]).succeeds_quietly() {
        println!(
            "skipped: cargo-deny is not installed; `cargo install --locked cargo-deny` brings it"
        );
        return Ok(Ended::Well);
    }
    Step::cargo(&["deny", "--workspace", "check"]).run()
}
