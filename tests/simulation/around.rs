//! What a peer is lent for a step.

use cofferd::moment::Moment;

use crate::dice::Dice;
use crate::link::Links;
use crate::model::Model;
use crate::server::Keyring;

pub(crate) struct Around<'a> {
    pub(crate) links: &'a mut Links,
    pub(crate) model: &'a mut Model,
    /// In the place of every peer's private key.
    pub(crate) keyring: &'a Keyring,
    pub(crate) dice: &'a mut Dice,
    pub(crate) now: Moment,
    /// Whether there are no troubles any more.
    pub(crate) calm: bool,
}
