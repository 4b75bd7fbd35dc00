//! The server's real program, and clients that speak to it over real sockets: the emulated classic ones, our own, and
//! such as no client should be.

#[path = "../classic/mod.rs"]
mod classic;
#[path = "../server/mod.rs"]
mod server;

mod check;
mod content;
mod crash;
mod d1100;
mod d825;
mod exhaustion;
mod full_disk;
mod hostile;
mod inherited;
mod inviting;
mod machine;
mod memory;
mod names;
mod own;
mod own_client;
#[expect(dead_code, reason = "tests/hostile uses the rest of it")]
mod peer;
mod secure;
mod starting;
mod stopping;
mod survival;
