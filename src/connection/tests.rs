//! Dialogues with the pure machines: no socket, no thread, no disk. [`World`] does the workers' jobs at once.

mod framing;
mod limits;
mod sessions;
mod world;
