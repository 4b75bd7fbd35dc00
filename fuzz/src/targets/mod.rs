//! What is fuzzed: each target is a function that takes any bytes and panics if something does not hold for them. The
//! fuzzer and the replay of its corpora (`tests/corpus.rs`) share them.

mod bytes;
mod connection;
mod content;
mod door;
mod files;
mod names;
mod peer;
mod secure;
mod wire;
mod world;

/// A target.
pub(crate) type Body = fn(&[u8]);

/// All targets by name; each has a corpus of that name in `fuzz/corpus`.
pub(crate) const TARGETS: [(&str, Body); 13] = [
    ("request", wire::request),
    ("reply", wire::reply),
    ("connection", connection::operations),
    ("content", content::decoder),
    ("name", names::names),
    ("public_key", files::public_key),
    ("transfer_info", files::transfer_info),
    ("me_info", files::me_info),
    ("priv_key", files::priv_key),
    ("port", files::port),
    ("frame", secure::frame),
    ("code", secure::code),
    ("door", door::operations),
];

/// The target of a name.
pub(crate) fn body(name: &str) -> Option<Body> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, body)| *body)
}
