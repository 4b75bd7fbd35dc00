//! The real program and a power loss at any moment, SQLite included: strace records its system calls under load, and
//! what a power loss at many points of the record would leave must hold everything acknowledged by then.
//!
//! Needs strace, so that it is no part of `cargo test`: `cargo xtask powerloss`.

#[path = "../classic/mod.rs"]
mod classic;
#[path = "../end_to_end/content.rs"]
#[expect(dead_code, reason = "tests/end_to_end uses the rest of it")]
mod content;
#[path = "../simulation/dice.rs"]
#[expect(dead_code, reason = "tests/simulation uses the rest of it")]
mod dice;
#[path = "../end_to_end/peer.rs"]
#[expect(dead_code, reason = "tests/end_to_end uses the rest of it")]
mod peer;
#[path = "../server/mod.rs"]
mod server;

mod disk;
mod failing;
mod load;
mod promises;
mod replay;
mod strace;
