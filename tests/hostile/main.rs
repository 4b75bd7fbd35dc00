//! Peers that mean harm, against the server's real program over real sockets. For each: what it is answered, what it
//! costs, and that a good client beside it does not notice.
//!
//! Peers that are merely broken are in `tests/end_to_end/hostile.rs`.

#[path = "../classic/mod.rs"]
mod classic;
#[path = "../end_to_end/content.rs"]
#[expect(dead_code, reason = "tests/end_to_end uses the rest of it")]
mod content;
#[path = "../end_to_end/peer.rs"]
#[expect(dead_code, reason = "tests/end_to_end uses the rest of it")]
mod peer;
#[path = "../server/mod.rs"]
mod server;

mod beside;
mod floods;
mod keys;
mod lies;
mod names;
mod secure;
mod slow;
mod strangers;
mod verdicts;
