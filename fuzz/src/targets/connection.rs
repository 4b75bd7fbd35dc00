//! The connection machine and the session behind it, fed with operations: bytes in pieces, answers of workers in any
//! order, time, half-closed and lost connections, a disk that fails.

use std::time::Duration;

use cofferd::connection::Connection;
use cofferd::job::ConnectionId;
use cofferd::session::{Existing, Quotas};

use super::bytes::Bytes;
use super::peer;
use super::world::World;

/// Operations in one run.
const OPERATIONS_MAX: usize = 200;

/// Connections in one run at the same time.
const CONNECTIONS: usize = 4;

/// Milliseconds that may pass: around every deadline.
const WAITS: [u64; 6] = [1, 1000, 10_001, 30_001, 120_001, 600_001];

/// The first byte chooses the settings, each operation takes a few more.
pub(crate) fn operations(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut world = world(bytes.byte());
    let mut open: Vec<ConnectionId> = (0..CONNECTIONS).map(|_| world.connect()).collect();
    for _ in 0..OPERATIONS_MAX {
        if bytes.is_empty() {
            break;
        }
        operation(&mut world, &mut open, &mut bytes);
    }
    world.failing = false;
    world.quiesce();
}

fn world(settings: u8) -> World {
    let existing =
        [Existing::Dialect, Existing::Refuse, Existing::Version][usize::from(settings % 3)];
    let limited = settings & 0x40 != 0;
    let limit = |number| if limited { number } else { usize::MAX };
    let quotas = Quotas {
        connections_per_address: limit(2),
        registrations_per_minute: limited.then_some(2),
        uploads: limit(2),
        open_files: limit(1),
    };
    World::new(existing, quotas)
}

fn operation(world: &mut World, open: &mut [ConnectionId], bytes: &mut Bytes) {
    let operation = bytes.byte();
    let place = usize::from(operation >> 4) % open.len();
    let id = open[place];
    match operation & 15 {
        0..=2 => {
            let request = peer::request(world, bytes);
            world.send(id, &request);
        }
        3 | 4 => {
            let upload = peer::upload(world, bytes);
            world.send(id, &upload);
        }
        5 => {
            let count = bytes.below(64);
            world.send(id, bytes.take(count));
        }
        6..=8 => (0..=bytes.below(8)).for_each(|_| world.work(bytes.below(256))),
        9 => world.wait(Duration::from_millis(bytes.one_of(&WAITS))),
        10 => world.half_close(id),
        11 => world.with(id, |machine, _| machine.lost()),
        12 => open[place] = world.connect(),
        13 => world.step = bytes.one_of(&[usize::MAX, 1300, 17, 100, 5000]),
        14 => world.read_answers(id),
        _ => match bytes.below(3) {
            0 => world.with(id, |machine, _| machine.drain()),
            1 => world.with(id, Connection::give_way),
            _ => world.failing = !world.failing,
        },
    }
}
