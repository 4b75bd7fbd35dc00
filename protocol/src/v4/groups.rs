//! Bytes as text that people compare, read out and type: base32 in groups that are each checked for themselves.
//!
//! The alphabet is RFC 4648's, which has none of 0, 1, 8 and 9. A group is 4 characters of data and a check character;
//! the last one may be shorter. The check is a sum over the field of 32 elements in which every place has another
//! weight, so that it finds every wrong character and every two characters of a group that changed places. It starts
//! with the group's number, so that it also finds two groups that changed places, unless they stand a multiple of 32
//! apart.

use thiserror::Error;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Characters of data in a group.
const DATA: usize = 4;

/// Bits in a character.
const BITS: usize = 5;

/// Why a text in groups cannot be read. Groups are counted from 1.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum GroupError {
    /// A character that is never written.
    #[error(
        "group {group} has a {found:?}: only the letters A to Z and the digits 2 to 7 are in use"
    )]
    Character {
        /// The group in which it stands.
        group: usize,
        /// What stands there.
        found: char,
    },
    /// A group that does not fit its check character.
    #[error("group {group} is wrong: compare it with the original, character by character")]
    Check {
        /// The wrong group.
        group: usize,
    },
    /// The text ends too early.
    #[error("it is cut off: group {group} is missing, not whole, or has a wrong character")]
    CutOff {
        /// The first group that is not there as a whole.
        group: usize,
    },
    /// More than what is read could ever have.
    #[error("it is too long: nothing of its kind has more than {groups_max} groups")]
    TooLong {
        /// The most groups there can be.
        groups_max: usize,
    },
}

/// Characters of data that `bytes` bytes take.
const fn symbols(bytes: usize) -> usize {
    (bytes * 8).div_ceil(BITS)
}

/// Characters that `bytes` bytes take in groups, dashes included.
#[must_use]
pub(super) const fn text_len(bytes: usize) -> usize {
    let groups = symbols(bytes).div_ceil(DATA);
    (symbols(bytes) + 2 * groups).saturating_sub(1)
}

/// The group behind those that `bytes` bytes fill: what is missing first where there should be more.
pub(super) const fn next(bytes: usize) -> usize {
    symbols(bytes) / DATA + 1
}

/// Appends `bytes` in groups with dashes between them: [`text_len`] characters.
pub(super) fn push(bytes: &[u8], out: &mut String) {
    let data: Zeroizing<Vec<u8>> = Zeroizing::new(spread(bytes).collect());
    for (index, group) in data.chunks(DATA).enumerate() {
        if index > 0 {
            out.push('-');
        }
        out.extend(group.iter().map(|&symbol| letter(symbol)));
        out.push(letter(check(index, group)));
    }
}

/// The bytes that [`push`] writes as `text`, at most `bytes_max` of them. Case, dashes and white space do not matter.
///
/// # Errors
/// The first group that cannot be read, and why.
pub(super) fn read(text: &str, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, GroupError> {
    let written = checked_symbols(text, symbols(bytes_max))?;
    let mut data = Zeroizing::new(Vec::with_capacity(written.len()));
    for group in written.chunks(DATA + 1) {
        data.extend_from_slice(&group[..group.len() - 1]);
    }
    join(&data, symbols(bytes_max))
}

/// The values of the characters in `text` without what only divides them: groups that fit their checks, `data_max`
/// characters of data at most.
fn checked_symbols(text: &str, data_max: usize) -> Result<Zeroizing<Vec<u8>>, GroupError> {
    let groups_max = data_max.div_ceil(DATA);
    let written_max = data_max + groups_max;
    // With all the room from the start, so that growing leaves no copy of a secret behind.
    let mut written = Zeroizing::new(Vec::with_capacity(written_max.min(text.len())));
    for found in text.chars().filter(|&c| c != '-' && !c.is_whitespace()) {
        if written.len() == written_max {
            return Err(GroupError::TooLong { groups_max });
        }
        let index = written.len() / (DATA + 1);
        let group = index + 1;
        written.push(symbol(found).ok_or(GroupError::Character { group, found })?);
        if written.len() == group * (DATA + 1) && !fits(index, &written[index * (DATA + 1)..]) {
            return Err(GroupError::Check { group });
        }
    }
    let whole = written.len() / (DATA + 1);
    match &written[whole * (DATA + 1)..] {
        [] => Ok(written),
        short if fits(whole, short) => Ok(written),
        _ => Err(GroupError::CutOff { group: whole + 1 }),
    }
}

/// Whether the last symbol of a group is the check of the others.
fn fits(index: usize, group: &[u8]) -> bool {
    group.split_last().is_some_and(|(&last, data)| !data.is_empty() && check(index, data) == last)
}

/// The check character of a group: sum of weight times symbol over GF(32), the weights being powers of x.
/// Multiplied at last, so that the check itself, with weight 1, cannot change places with a character of data either.
fn check(index: usize, data: &[u8]) -> u8 {
    data.iter().fold((index % 32) as u8, |sum, symbol| times_x(sum ^ symbol))
}

/// Multiplies by x modulo x^5 + x^2 + 1, of which x is a generator: its first 31 powers all differ.
fn times_x(element: u8) -> u8 {
    let shifted = element << 1;
    if shifted & 0x20 == 0 { shifted } else { shifted ^ 0x25 }
}

fn letter(symbol: u8) -> char {
    char::from(ALPHABET[usize::from(symbol & 0x1f)])
}

fn symbol(letter: char) -> Option<u8> {
    let upper = letter.to_ascii_uppercase();
    ALPHABET.iter().position(|&known| char::from(known) == upper).map(|symbol| symbol as u8)
}

/// Bytes as symbols of 5 bits, high bits first; what is missing of the last one is zero.
fn spread(bytes: &[u8]) -> impl Iterator<Item = u8> {
    (0..symbols(bytes.len())).map(|index| {
        let (byte, shift) = (index * BITS / 8, index * BITS % 8);
        let high = u16::from(bytes[byte]) << 8;
        let low = bytes.get(byte + 1).map_or(0, |&byte| u16::from(byte));
        ((high | low) >> (16 - BITS - shift)) as u8 & 0x1f
    })
}

/// The bytes that [`spread`] makes `data` of. Only one text stands for some bytes: bits left over must be zero. Where
/// they are not, there was more, unless there cannot be more than `data_max`.
fn join(data: &[u8], data_max: usize) -> Result<Zeroizing<Vec<u8>>, GroupError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(data.len() * BITS / 8));
    let (mut bits, mut held) = (0_u16, 0);
    for &symbol in data {
        bits = bits << BITS | u16::from(symbol);
        held += BITS;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    match (held, bits) {
        (0..BITS, 0) => Ok(bytes),
        _ if data.len() == data_max => Err(GroupError::Check { group: data_max.div_ceil(DATA) }),
        _ => Err(GroupError::CutOff { group: data.len() / DATA + 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = String::new();
        push(bytes, &mut out);
        out
    }

    /// Without its checks and dashes it is what `base32 | tr -d =` of coreutils prints.
    #[test]
    fn the_data_is_ordinary_base32() {
        for (bytes, base32) in
            [("f", "MY"), ("fo", "MZXQ"), ("foobar", "MZXW6YTBOI"), ("a backup", "MEQGEYLDNN2XA")]
        {
            let text = text(bytes.as_bytes());
            let data: String = text.split('-').map(|group| &group[..group.len() - 1]).collect();
            assert_eq!(data, base32);
            assert_eq!(text.len(), text_len(bytes.len()));
        }
        assert_eq!((text(b"").as_str(), text_len(0)), ("", 0));
    }

    /// Every word of four symbols has the sum of its symbols' own checks: what holds for one symbol in a word of
    /// zeros then holds in every word.
    #[test]
    fn the_check_is_linear() {
        let single = |place: usize, symbol: u8| {
            let mut word = [0; DATA];
            word[place] = symbol;
            check(0, &word)
        };
        for word in 0..1_u32 << (DATA * BITS) {
            let word: [u8; DATA] =
                std::array::from_fn(|place| (word >> (place * BITS)) as u8 & 0x1f);
            let sum = (0..DATA).fold(0, |sum, place| sum ^ single(place, word[place]));
            assert_eq!(check(0, &word), sum, "{word:?}");
        }
    }

    #[test]
    fn every_wrong_character_is_found() {
        for (index, place, error) in triples(32, DATA + 1, 32).filter(|&(.., error)| error != 0) {
            let mut word = [0; DATA + 1];
            word[DATA] = check(index, &word[..DATA]);
            assert!(fits(index, &word));
            word[place] ^= error as u8;
            assert!(!fits(index, &word), "{error} at {place} of group {index}");
        }
    }

    #[test]
    fn every_two_characters_that_changed_places_are_found() {
        for (first, second, difference) in triples(DATA + 1, DATA + 1, 32) {
            if first == second || difference == 0 {
                continue;
            }
            // Exchanging two symbols adds their difference to both of them.
            let mut word = [0; DATA + 1];
            word[first] ^= difference as u8;
            word[second] ^= difference as u8;
            assert!(!fits(0, &word), "{difference} at {first} and {second}");
        }
    }

    #[test]
    fn groups_that_changed_places_are_found() {
        for (here, there, symbol) in triples(32, 32, 32).filter(|(here, there, _)| here != there) {
            let data = [symbol as u8; DATA];
            assert_ne!(check(here, &data), check(there, &data), "group {here} as {there}");
        }
    }

    fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..a).flat_map(move |a| (0..b).flat_map(move |b| (0..c).map(move |c| (a, b, c))))
    }

    #[test]
    fn errors_name_the_group() {
        let good = text(b"ten bytes.");
        assert_eq!(good.split('-').map(str::len).collect::<Vec<_>>(), [5; 4]);
        assert_eq!(good, "ORSWM-4IDCB-PF2GI-K4ZOI");
        let error = |text: &str| read(text, 10).expect_err("not ours");
        assert_eq!(error("ORSWM-4IDCC-PF2GI-K4ZOI"), GroupError::Check { group: 2 });
        assert_eq!(error("ORSWM-4IDCB-K4ZOI-PF2GI"), GroupError::Check { group: 3 });
        assert_eq!(error("ORSWM-4IDCC-PF2G0-K4ZOI"), GroupError::Check { group: 2 }, "the first");
        assert_eq!(
            error("ORSWM-4IDCB-PF2GI-K4Z0I"),
            GroupError::Character { group: 4, found: '0' }
        );
        for cut in [19, 20, 21, 22] {
            assert_eq!(error(&good[..cut]), GroupError::CutOff { group: 4 }, "{cut}");
        }
        assert_eq!(error("ORSWM-4IDCB-PF2GI-K4ZOI-A"), GroupError::TooLong { groups_max: 4 });
        assert_eq!(read("", 9).expect("nothing").len(), 0);
    }

    proptest! {
        #[test]
        fn groups_go_both_ways(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = text(&bytes);
            prop_assert_eq!(text.len(), text_len(bytes.len()));
            let again = read(&text.to_lowercase().replace('-', " "), bytes.len());
            let again = again.expect("our own groups");
            prop_assert_eq!(again.as_slice(), &bytes[..]);
        }

        #[test]
        fn what_can_be_read_is_written_the_same(text_of_strangers in "[A-Z2-7]{0,40}") {
            if let Ok(bytes) = read(&text_of_strangers, 32) {
                prop_assert_eq!(text(&bytes).replace('-', ""), text_of_strangers);
            }
        }
    }
}
