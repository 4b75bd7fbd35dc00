//! What peers send: requests of every kind, sound or nearly so, put together from choices.

use coffer_protocol::encode::Encoder;
use coffer_protocol::request::{FilePacket, PACKET_NUMBER_AT, Request, Verdict};
use coffer_protocol::{ClientId, Dialect, PACKET};

use super::bytes::Bytes;
use super::world::World;

const NAMES: [&str; 4] = ["Alice", "Bob", "", "a\nb"];
const FILES: [&[u8]; 4] = [b"a", b"docs/b.txt", b"", &[0xff; 255]];
const VERDICTS: [Verdict; 3] = [Verdict::Right, Verdict::SendingAgain, Verdict::GivingUp];

/// Lengths of contents at and beside the borders of blocks, packets and buffers.
const LENGTHS: [usize; 12] =
    [0, 1, 15, 16, 1007, 1008, 1024, 1025, 3000, 70 << 10, 200 << 10, 300 << 10];

/// Sizes that an upload may announce.
const SIZES: [u32; 10] =
    [0, 15, 16, 32, 1024, 1040, 70 << 10, 1 << 31, (64 << 20) + 16, u32::MAX - 15];

/// The peers that there are: who they say they are, in which dialect.
struct Who {
    dialect: Dialect,
    name: &'static str,
    id: ClientId,
}

fn who(world: &World, bytes: &mut Bytes) -> Who {
    let choices = bytes.byte();
    let dialect = if choices & 1 == 0 { Dialect::D825 } else { Dialect::D1100 };
    let name = NAMES[usize::from(choices >> 1 & 3)];
    // The id that the name has, one that was given out lately, or none.
    let known = world.clients.get(name).map(|client| client.id);
    let id = match (choices >> 3 & 3, known) {
        (0 | 1, Some(id)) => id,
        (0..=2, _) => ClientId([choices >> 5; 16]),
        _ => ClientId::NONE,
    };
    Who { dialect, name, id }
}

/// A request of any kind.
pub(crate) fn request(world: &World, bytes: &mut Bytes) -> Vec<u8> {
    let Who { dialect, name, id } = who(world, bytes);
    let name = name.as_bytes();
    let file = bytes.one_of(&FILES);
    let (key, data) = ([0x30; 162], [bytes.byte(); PACKET]);
    let request = match bytes.below(7) {
        0 => Request::Register { name },
        1 => Request::PublicKey { name, key: &key[..bytes.one_of(&[160, 162, 1])] },
        2 => Request::Reconnect { name },
        3 => Request::Verdict { verdict: bytes.one_of(&VERDICTS), file },
        4 => Request::PublicKey { name, key: &[0xee; 160] },
        _ if dialect == Dialect::D1100 => {
            Request::Upload { encrypted_size: bytes.one_of(&SIZES), file }
        }
        _ => {
            let encrypted_size = bytes.one_of(&SIZES);
            let count = encrypted_size.div_ceil(PACKET as u32) as u16;
            Request::Packet(FilePacket {
                encrypted_size,
                plain_size: encrypted_size.wrapping_sub(bytes.below(18) as u32),
                number: u16::from(bytes.byte()),
                count: count.wrapping_add(bytes.one_of(&[0, 0, 0, 1, u16::MAX])),
                file,
                data: &data,
            })
        }
    };
    let mut wire = Vec::new();
    request.push(dialect, id, &mut wire);
    wire
}

/// A whole file; in d825 perhaps with packets missing, repeated or in another order.
pub(crate) fn upload(world: &World, bytes: &mut Bytes) -> Vec<u8> {
    let who = who(world, bytes);
    let content = vec![bytes.byte(); bytes.one_of(&LENGTHS)];
    let file = bytes.one_of(&FILES[..2]);
    let key = World::key(who.dialect);
    let mut encoder = Encoder::new(&key, who.id, file, content.len() as u64).expect("small");
    let mut wire = Vec::new();
    encoder.push_head(&mut wire);
    encoder.push(&content, &mut wire);
    encoder.finish(&mut wire);
    if who.dialect == Dialect::D825 {
        rearrange(&mut wire, bytes);
    }
    let cut = bytes.one_of(&[0, 0, 0, 1, 1000, 2000]);
    wire.truncate(wire.len().saturating_sub(cut));
    wire
}

/// Swaps some packets of an upload, or makes one another's repeat.
fn rearrange(wire: &mut [u8], bytes: &mut Bytes) {
    let length = coffer_protocol::request::FILE_PACKET;
    let count = wire.len() / length;
    for _ in 0..bytes.below(4) {
        let [one, other] = [bytes.byte(), bytes.byte()].map(|n| usize::from(n) % count * length);
        match bytes.below(3) {
            0 => wire.copy_within(one..one + length, other),
            1 => wire[other..][PACKET_NUMBER_AT].copy_from_slice(&bytes.u16().to_le_bytes()),
            _ => (0..length).for_each(|at| wire.swap(one + at, other + at)),
        }
    }
}
