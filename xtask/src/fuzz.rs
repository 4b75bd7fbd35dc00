//! Fuzzing: one instrumented program in `fuzz/`, and a run of it for each target.
//!
//! The flags are those that cargo-fuzz sets, so that it does not have to be installed.

use std::fs;

use anyhow::Context;

use crate::run::{Ended, Step, root};

/// What the fuzzer is built for. Named, so that the flags below do not reach build scripts.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Coverage for libFuzzer, and AddressSanitizer for the dependencies' unsafe code.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address";

/// Bytes of the longest input. Beyond that inputs only get slower: operations stop before.
const INPUT_MAX: u32 = 4096;

/// An input that takes longer, in seconds, is reported as a fault.
const SLOW_MAX: u32 = 20;

/// Memory that a run may take, in MiB.
const MEMORY_MAX: u32 = 2048;

/// Builds the fuzzer and runs each target, or the one that is named, for so many seconds. What it finds interesting
/// goes to `fuzz/target/corpus`; what fails, to `fuzz/target/artifacts`.
///
/// # Errors
/// If a command cannot be started, or a folder not be read or made.
pub(crate) fn run(seconds: u32, target: Option<&str>) -> anyhow::Result<Ended> {
    let mut targets = targets()?;
    if let Some(target) = target {
        anyhow::ensure!(
            targets.iter().any(|known| known == target),
            "there is no target {target}; there are: {}",
            targets.join(", ")
        );
        targets.retain(|known| known == target);
    }
    let build =
        ["+nightly", "build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", HOST];
    // Through rustup's cargo: the one that runs us is of one toolchain.
    if Step::new("cargo", &build)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("CARGO_TARGET_DIR", "fuzz/target")
        .run()?
        == Ended::Badly
    {
        return Ok(Ended::Badly);
    }
    for target in targets {
        if fuzz(seconds, &target)? == Ended::Badly {
            return Ok(Ended::Badly);
        }
    }
    Ok(Ended::Well)
}

/// Targets are known by their corpora; a test sees to it that each has one.
fn targets() -> anyhow::Result<Vec<String>> {
    let corpora = root().join("fuzz/corpus");
    let entries = fs::read_dir(&corpora).with_context(|| format!("cannot read {corpora:?}"))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn fuzz(seconds: u32, target: &str) -> anyhow::Result<Ended> {
    let found = format!("fuzz/target/corpus/{target}");
    let artifacts = format!("fuzz/target/artifacts/{target}/");
    for folder in [&found, &artifacts] {
        fs::create_dir_all(root().join(folder))
            .with_context(|| format!("cannot create {folder}"))?;
    }
    let program = format!("./fuzz/target/{HOST}/release/coffer-fuzz");
    let kept = format!("fuzz/corpus/{target}");
    Step::new(&program, &[&found, &kept])
        .and(vec![
            format!("-max_total_time={seconds}"),
            format!("-max_len={INPUT_MAX}"),
            format!("-timeout={SLOW_MAX}"),
            format!("-rss_limit_mb={MEMORY_MAX}"),
            format!("-artifact_prefix={artifacts}"),
            "-print_final_stats=1".to_owned(),
        ])
        .env("COFFER_FUZZ_TARGET", target)
        .run()
}
