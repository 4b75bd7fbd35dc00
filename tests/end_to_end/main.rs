//! The server's real program, and clients that speak to it over real sockets: the emulated classic ones, our own, and
//! such as no client should be.

#[path = "../classic/mod.rs"]
mod classic;
#[path = "../server/mod.rs"]
mod server;

mod content;
mod d1100;
mod d825;
mod own;
mod own_client;
mod peer;
mod survival;
