//! The short name of a public key, for programs to pin and for people to compare.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::groups::{self, GroupError};

/// Bytes of a fingerprint.
pub const PIN: usize = 32;

/// Groups in which it is written.
pub const PIN_GROUPS: usize = 13;

/// The SHA-256 of a public key's DER SubjectPublicKeyInfo: who a side of a connection is. A public value.
///
/// Printed for people as 13 groups of 4 characters and a check character each (77 characters with the dashes), and
/// parsed in upper and lower case, with and without dashes and spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin(pub [u8; PIN]);

impl Pin {
    /// The pin of the key whose SubjectPublicKeyInfo is `spki_der`.
    #[must_use]
    pub fn of_public_key(spki_der: &[u8]) -> Self {
        Self(Sha256::digest(spki_der).into())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(groups::text_len(PIN));
        groups::push(&self.0, &mut text);
        f.pad(&text)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// Why a text is no fingerprint, and where.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("this is no fingerprint of a key: {0}")]
pub struct FingerprintError(#[from] pub GroupError);

impl FromStr for Pin {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = groups::read(text, PIN)?;
        match bytes.as_slice().try_into() {
            Ok(pin) => Ok(Self(pin)),
            Err(_) => Err(GroupError::CutOff { group: groups::next(bytes.len()) }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pin() -> Pin {
        Pin(std::array::from_fn(|index| index as u8))
    }

    const TEXT: &str =
        "AAAQF-EAYE5-AUDAY-OCAJM-BIFQB-YDIOC-B4IBD-CEQTW-CQKRP-MFYYN-DENBS-WHA5B-DYPQJ";

    #[test]
    fn it_is_the_digest_of_the_key() {
        // printf abc | sha256sum
        let digest = Pin::of_public_key(b"abc").0;
        assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn it_is_written_in_groups() {
        assert_eq!(pin().to_string(), TEXT);
        assert_eq!(format!("{:?}", pin()), format!("Pin({TEXT})"));
        assert_eq!(TEXT.split('-').map(str::len).collect::<Vec<_>>(), [5; PIN_GROUPS]);
        for same in [TEXT.to_lowercase(), TEXT.replace('-', ""), TEXT.replace('-', " \n ")] {
            assert_eq!(same.parse(), Ok(pin()));
        }
    }

    #[test]
    fn errors_say_where() {
        let error = |text: &str| text.parse::<Pin>().expect_err("not ours").0;
        for (length, group) in [(0, 1), (5, 2), (71, 13), (72, 13), (74, 13), (76, 13)] {
            assert_eq!(error(&TEXT[..length]), GroupError::CutOff { group }, "{length}");
        }
        let too_long = GroupError::TooLong { groups_max: PIN_GROUPS };
        assert_eq!(error(&format!("{TEXT}-A")), too_long);
        assert_eq!(
            "fingerprint".parse::<Pin>().expect_err("not ours").to_string(),
            "this is no fingerprint of a key: group 1 is wrong: compare it with the original, character by character",
        );
    }

    /// Every wrong character and every exchange of two neighbours, wherever it is, is told with its group.
    #[test]
    fn every_slip_is_told_with_its_group() {
        let text: Vec<char> = TEXT.chars().filter(|&c| c != '-').collect();
        let wrong = |slip: &[char], group: usize| {
            let slip: String = slip.iter().collect();
            assert_eq!(slip.parse::<Pin>(), Err(GroupError::Check { group }.into()), "{slip}");
        };
        for place in 0..text.len() {
            let group = place / 5 + 1;
            for letter in ('A'..='Z').chain('2'..='7').filter(|&letter| letter != text[place]) {
                let mut slip = text.clone();
                slip[place] = letter;
                wrong(&slip, group);
            }
            if place % 5 < 4 && text[place] != text[place + 1] {
                let mut slip = text.clone();
                slip.swap(place, place + 1);
                wrong(&slip, group);
            }
        }
        for (first, second) in
            (0..PIN_GROUPS).flat_map(|a| (a + 1..PIN_GROUPS).map(move |b| (a, b)))
        {
            let mut slip: Vec<&str> = TEXT.split('-').collect();
            slip.swap(first, second);
            wrong(&slip.concat().chars().collect::<Vec<_>>(), first + 1);
        }
    }

    proptest! {
        #[test]
        fn fingerprints_go_both_ways(bytes: [u8; PIN]) {
            prop_assert_eq!(Pin(bytes).to_string().parse(), Ok(Pin(bytes)));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = text.parse::<Pin>();
        }
    }
}
