//! One program for all targets: `COFFER_FUZZ_TARGET` names the one to run, and libFuzzer reads the rest of the command
//! line. `cargo xtask fuzz` does it.
#![no_main]

mod targets;

use std::sync::LazyLock;

static BODY: LazyLock<targets::Body> = LazyLock::new(|| {
    let name = std::env::var("COFFER_FUZZ_TARGET").expect("COFFER_FUZZ_TARGET names a target");
    targets::body(&name).unwrap_or_else(|| panic!("there is no target called {name}"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| BODY(data));
