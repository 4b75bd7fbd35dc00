//! In which order a worker does what it has taken: small work goes before pieces of large uploads.
//!
//! The jobs of one upload share a lane and stay in order; only its publication, which comes when all of them are
//! done, may be small.

use std::collections::VecDeque;

use super::Task;
use crate::job::Work;
use crate::limits::SMALL_TASKS_IN_A_ROW;

/// Tasks that wait for one worker.
#[derive(Default)]
pub(super) struct Lanes {
    small: VecDeque<Task>,
    large: VecDeque<Task>,
    /// Small tasks since the last large one.
    in_a_row: u32,
}

impl Lanes {
    pub(super) fn push(&mut self, task: Task) {
        if is_large(&task) {
            self.large.push_back(task);
        } else {
            self.small.push_back(task);
        }
    }

    /// The next task. Many small ones do not keep a large one waiting for ever.
    pub(super) fn pop(&mut self) -> Option<Task> {
        let its_turn = self.small.is_empty() || self.in_a_row >= SMALL_TASKS_IN_A_ROW;
        if its_turn && let Some(task) = self.large.pop_front() {
            self.in_a_row = 0;
            return Some(task);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.small.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }
}

fn is_large(task: &Task) -> bool {
    match task {
        Task::Job(job) => match job.work {
            Work::Begin(upload, _)
            | Work::Piece(upload, _)
            | Work::Finish(upload)
            | Work::Discard(upload) => upload.is_large,
            Work::FindClient { .. }
            | Work::WrapKey { .. }
            | Work::AddClient { .. }
            | Work::Publish(_) => false,
        },
        Task::Synced(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ConnectionId, Job, UploadId};

    fn task(number: u64, is_large: bool, work: impl FnOnce(UploadId) -> Work) -> Task {
        let connection = ConnectionId { slot: 0, generation: 0 };
        Task::Job(Job { connection, work: work(UploadId { number, is_large }) })
    }

    fn number(task: &Task) -> u64 {
        match task {
            Task::Job(Job {
                work: Work::Finish(id) | Work::Discard(id) | Work::Publish(id),
                ..
            }) => id.number,
            _ => panic!("no other tasks here"),
        }
    }

    #[test]
    fn small_work_overtakes_large_uploads_and_each_lane_keeps_its_order() {
        let mut lanes = Lanes::default();
        lanes.push(task(1, true, Work::Finish));
        lanes.push(task(2, true, Work::Discard));
        lanes.push(task(3, false, Work::Finish));
        lanes.push(task(4, true, Work::Publish));
        lanes.push(task(5, false, Work::Discard));
        let order: Vec<u64> =
            std::iter::from_fn(|| lanes.pop()).map(|task| number(&task)).collect();
        assert_eq!(order, [3, 4, 5, 1, 2]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_large_upload_gets_its_turn_among_any_number_of_small_ones() {
        let mut lanes = Lanes::default();
        lanes.push(task(0, true, Work::Finish));
        lanes.push(task(0, true, Work::Finish));
        for _ in 0..3 * SMALL_TASKS_IN_A_ROW {
            lanes.push(task(1, false, Work::Finish));
        }
        let order: Vec<u64> =
            std::iter::from_fn(|| lanes.pop()).map(|task| number(&task)).collect();
        let row = SMALL_TASKS_IN_A_ROW as usize;
        let large: Vec<usize> =
            order.iter().enumerate().filter(|(_, n)| **n == 0).map(|(at, _)| at).collect();
        assert_eq!(large, [row, 2 * row + 1]);
    }
}
