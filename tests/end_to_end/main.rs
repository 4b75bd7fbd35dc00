//! The server's real program, and clients that speak to it over real sockets: the emulated classic ones, our own, and
//! such as no client should be.

#[path = "../classic/mod.rs"]
mod classic;
#[path = "../server/mod.rs"]
mod server;

mod content;
mod crash;
mod d1100;
mod d825;
mod full_disk;
mod hostile;
mod memory;
mod names;
mod own;
mod own_client;
#[allow(dead_code)] // what this program does not need of it, tests/hostile does
mod peer;
mod starting;
mod stopping;
mod survival;
