//! What a seed tries. Every run has only some of the troubles: all at once would keep most of them from biting.

use cofferd::session::{Existing, Quotas};

use crate::dice::Dice;

/// The troubles of one run.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) workers: usize,
    pub(crate) correct: usize,
    pub(crate) hostile: usize,
    /// Clients that take their time.
    pub(crate) slow: bool,
    /// Clients that want the same names.
    pub(crate) contested: bool,
    /// Contents over what is collected in memory.
    pub(crate) large: bool,
    /// Packets out of order and repeated.
    pub(crate) disorder: bool,
    /// Clients that call a right checksum wrong.
    pub(crate) doubts: bool,
    pub(crate) existing: Existing,
    pub(crate) quotas: Quotas,
    /// Each is the mean of steps between two such events; 0 for never.
    pub(crate) cuts: u32,
    pub(crate) crashes: u32,
    /// Each is the mean of operations between two such failures; 0 for never.
    pub(crate) store_faults: u32,
    pub(crate) catalog_faults: u32,
    /// Syncs take their time.
    pub(crate) slow_syncs: bool,
    /// After so many steps there are no more troubles but slow and hostile peers.
    pub(crate) calm_after: u64,
}

impl Profile {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut rare = |mean: u32| {
            if dice.once_in(2) { 0 } else { mean * dice.within(1, 8) as u32 }
        };
        let (cuts, crashes) = (rare(60), rare(250));
        let (store_faults, catalog_faults) = (rare(3), rare(5));
        let unlimited = dice.below(4) > 0;
        Self {
            workers: 1 + dice.below(3),
            correct: 1 + dice.below(7),
            hostile: dice.below(5),
            slow: dice.once_in(3),
            contested: dice.once_in(3),
            large: dice.once_in(4),
            disorder: dice.once_in(2),
            doubts: dice.once_in(3),
            existing: *dice.pick(&[Existing::Dialect, Existing::Refuse, Existing::Version]),
            quotas: if unlimited { UNLIMITED } else { tight(dice) },
            cuts,
            crashes,
            store_faults,
            catalog_faults,
            slow_syncs: dice.once_in(3),
            calm_after: 3_000,
        }
    }
}

impl Profile {
    /// Whether the server and the network work as they should.
    pub(crate) fn is_healthy(&self) -> bool {
        self.cuts + self.crashes + self.store_faults + self.catalog_faults == 0
    }
}

const UNLIMITED: Quotas = Quotas {
    connections_per_address: usize::MAX,
    registrations_per_minute: None,
    uploads: usize::MAX,
    open_files: usize::MAX,
};

fn tight(dice: &mut Dice) -> Quotas {
    Quotas {
        connections_per_address: 2 + dice.below(3),
        registrations_per_minute: Some(1 + dice.below(4) as u32),
        uploads: 1 + dice.below(2),
        open_files: 1,
    }
}
