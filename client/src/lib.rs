//! Coffer's client: backs up files to a Coffer server, or to either of the classic ones.
//!
//! [`run::put`] does a whole run: it registers or reconnects, sends files, and tells an [`observe::Observer`] what
//! happens. [`secure`] is the client of the secure door. [`flow`] is the pure machine of one session inside it, for whoever brings sockets of their own. [`files`]
//! reads and writes the state files of both dialects.

mod advice;
mod content;
mod driver;
mod error;
pub mod files;
pub mod flow;
pub mod observe;
pub mod run;
pub mod secure;
mod transport;

pub use error::{Class, Error};
