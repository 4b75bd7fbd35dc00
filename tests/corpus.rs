//! Replays what the fuzzer found interesting, and checks that what is fuzzed is told by name.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

/// Bytes that one target's corpus may take in the repository.
const CORPUS_MAX: usize = 200 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// Files of a corpus, with their bytes.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(corpus().join(target)).expect("every target has a corpus");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.map(|path| (path.clone(), fs::read(path).expect("it can be read"))).collect()
}

#[test]
fn every_kept_input_holds() {
    for (name, _) in targets::TARGETS {
        let body = targets::body(name).expect("a target");
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has an empty corpus");
        for (path, bytes) in &inputs {
            // Shown by the test harness only if the target panics.
            println!("{}", path.display());
            body(bytes);
        }
    }
}

#[test]
fn corpora_are_small_and_of_targets_that_exist() {
    for entry in fs::read_dir(corpus()).expect("a folder") {
        let name = entry.expect("it can be read").file_name().into_string().expect("text");
        assert!(targets::body(&name).is_some(), "a corpus without a target: {name}");
        let bytes: usize = inputs(&name).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= CORPUS_MAX, "the corpus of {name} has {bytes} bytes");
    }
    assert!(targets::body("no such target").is_none());
}
