//! What clients back up.

use std::rc::Rc;

use coffer_protocol::PACKET;
use cofferd::limits::{COLLECTED_BYTES_MAX, INLINE_BYTES_MAX};

use crate::dice::Dice;
use crate::profile::Profile;

/// A file of a client.
pub(crate) struct File {
    pub(crate) name: Vec<u8>,
    pub(crate) content: Rc<[u8]>,
}

/// Names that several clients use, and that differ by little.
const NAMES: [&[u8]; 6] = [b"a.txt", b"A.TXT", b"docs/a.txt", b"docs", b"..\\..\\b", b"caf\xe9"];

impl File {
    /// A file that the client did not send before, unless it may send the name again.
    pub(crate) fn draw(profile: &Profile, repeats: bool, number: usize, dice: &mut Dice) -> Self {
        let mut name = dice.pick(&NAMES).to_vec();
        if !repeats {
            name.extend(format!(" {number}").bytes());
        }
        let size = size(profile, dice);
        let mut content = vec![0; size];
        let mut state = u64::from_le_bytes(dice.bytes()) | 1;
        for chunk in content.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
        }
        if let Some(last) = content.last_mut()
            && dice.once_in(4)
        {
            // Ends like a padding: d1100 cannot tell at first.
            *last = 1;
        }
        Self { name, content: content.into() }
    }
}

fn size(profile: &Profile, dice: &mut Dice) -> usize {
    let near = |size: usize, dice: &mut Dice| size - 2 + dice.below(4);
    match dice.below(12) {
        0 => 0,
        1 => near(PACKET, dice),
        2 => PACKET * (1 + dice.below(4)),
        3 => near(INLINE_BYTES_MAX as usize, dice),
        4 | 7 => INLINE_BYTES_MAX as usize + 1 + dice.below(8 << 10),
        5 if profile.large => near(COLLECTED_BYTES_MAX as usize, dice),
        6 if profile.large => COLLECTED_BYTES_MAX as usize + dice.below(48 << 10),
        _ => 1 + dice.below(3000),
    }
}
