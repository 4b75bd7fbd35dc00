//! d1100: from the chunks on the wire to the content.

use super::clients::wire::{self, CHUNK};

/// The chunks of an upload, still encrypted, without the fill of the last packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ciphertext {
    pub(crate) chunks: Vec<Vec<u8>>,
}

impl Ciphertext {
    /// As the real server reads it: padding is taken off a last chunk of less than 1024 bytes, never off a whole one.
    /// `None` where it dies of wrong padding.
    pub(crate) fn read_as_real(&self, aes_key: &[u8; 16]) -> Option<Vec<u8>> {
        let mut content = vec![];
        for chunk in &self.chunks {
            let plain = wire::decrypt_chunk(aes_key, chunk)?;
            content.extend_from_slice(if chunk.len() < CHUNK {
                wire::unpad(&plain)?
            } else {
                &plain
            });
        }
        Some(content)
    }

    /// With what looks like padding at the end taken off, or left on.
    pub(crate) fn read(&self, aes_key: &[u8; 16], strip: bool) -> Option<Vec<u8>> {
        let mut content = vec![];
        for chunk in &self.chunks {
            content.extend(wire::decrypt_chunk(aes_key, chunk)?);
        }
        let last = self.chunks.last().map_or(0, Vec::len);
        let padding = wire::unpad(&content).map_or(0, |plain| content.len() - plain.len());
        if strip && padding <= last {
            content.truncate(content.len() - padding);
        }
        Some(content)
    }
}
