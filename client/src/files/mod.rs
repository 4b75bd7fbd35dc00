//! The files that a client keeps beside its work, byte for byte as the classic clients read and write them.

mod identity;
mod place;
pub(crate) mod small;
mod transfer;

pub use identity::{Identity, Info, Saved, load, parse_key_file, save};
pub use place::{state_dir, state_root};
pub use small::create_private_dir;
pub use transfer::{Server, Transfer};
