//! Contents to send.

/// `length` bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `length` bytes that end like `padding` bytes of PKCS#7 padding.
pub(crate) fn like_padding(length: usize, padding: u8) -> Vec<u8> {
    let mut bytes = noise(u64::from(padding), length);
    let start = length - usize::from(padding);
    bytes[start..].fill(padding);
    bytes
}
