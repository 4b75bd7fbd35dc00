//! A bounded queue between threads: pushing never waits, taking does.

use std::collections::VecDeque;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// A first-in, first-out queue of at most `capacity` items, shared by [`std::sync::Arc`].
///
/// ```text
/// open --close--> closed: refuses new items, hands out what it holds, then says that it is done
/// ```
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Takers that wait: without one, waking is a system call for nothing.
    waiting: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// An open, empty queue for at most `capacity` items. Memory is taken as items come.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let state = Mutex::new(State { items: VecDeque::new(), waiting: 0, closed: false });
        Self { state, filled: Condvar::new(), capacity }
    }

    /// Appends `item` without waiting.
    ///
    /// # Errors
    /// Gives the item back when the queue is full or closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.items.len() >= self.capacity {
            return Err(item);
        }
        state.items.push_back(item);
        let wanted = state.waiting > 0;
        drop(state);
        if wanted {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes the oldest item, waiting for one; nothing once the queue is closed and empty.
    pub fn pop(&self) -> Option<T> {
        self.wait_for_items().items.pop_front()
    }

    /// Moves the oldest `max` items or fewer to the end of `out`, waiting for the first one. False once the queue
    /// is closed and empty.
    pub fn take_all(&self, max: usize, out: &mut Vec<T>) -> bool {
        let mut state = self.wait_for_items();
        let count = state.items.len().min(max);
        out.extend(state.items.drain(..count));
        count > 0
    }

    /// Refuses items from now on. Takers get what is left and then learn that there is no more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// How many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether no item waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn wait_for_items(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock();
        while state.items.is_empty() && !state.closed {
            state.waiting += 1;
            state = self.filled.wait(state).expect("no holder of this lock panics");
            state.waiting -= 1;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_full_or_closed_queue_gives_the_item_back() {
        let queue = Queue::new(2);
        assert_eq!((queue.push('a'), queue.push('b'), queue.push('c')), (Ok(()), Ok(()), Err('c')));
        assert_eq!(queue.pop(), Some('a'));
        queue.close();
        assert_eq!(queue.push('d'), Err('d'));
        assert_eq!((queue.pop(), queue.pop()), (Some('b'), None));
    }

    #[test]
    fn take_all_takes_in_order_and_within_its_bound() {
        let queue = Queue::new(8);
        (0..5).for_each(|n| queue.push(n).expect("room"));
        let mut taken = Vec::new();
        assert!(queue.take_all(3, &mut taken));
        assert_eq!((taken.as_slice(), queue.len()), (&[0, 1, 2][..], 2));
        queue.close();
        assert!(queue.take_all(3, &mut taken), "what a closed queue holds is still handed out");
        assert!(!queue.take_all(3, &mut taken));
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn takers_wait_until_there_is_something_or_nothing_more() {
        let queue = Arc::new(Queue::new(1000));
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || std::iter::from_fn(|| queue.pop()).collect::<Vec<u32>>())
            })
            .collect();
        (0..1000).for_each(|n| queue.push(n).expect("room"));
        queue.close();
        let mut all: Vec<u32> = takers.into_iter().flat_map(|t| t.join().expect("taker")).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
    }
}

/// What holds in every order in which threads can meet.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread::{self, JoinHandle};

    /// A thread that takes up to `max` items at a time until there are no more, and returns them.
    fn taker(queue: &Arc<Queue<u32>>, max: usize) -> JoinHandle<Vec<u32>> {
        let queue = Arc::clone(queue);
        thread::spawn(move || {
            let mut taken = Vec::new();
            while queue.take_all(max, &mut taken) {}
            taken
        })
    }

    fn sorted(takers: impl IntoIterator<Item = JoinHandle<Vec<u32>>>) -> Vec<u32> {
        let mut all: Vec<u32> =
            takers.into_iter().flat_map(|taker| taker.join().expect("a taker")).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn one_taker_gets_everything_in_order() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(8));
            let popped = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || std::iter::from_fn(|| queue.pop()).collect::<Vec<u32>>())
            };
            (0..3).for_each(|n| queue.push(n).expect("room"));
            queue.close();
            assert_eq!(popped.join().expect("a taker"), [0, 1, 2]);
        });
    }

    #[test]
    fn two_takers_share_everything_and_both_end() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(8));
            let takers = [taker(&queue, 1), taker(&queue, 1)];
            (0..2).for_each(|n| queue.push(n).expect("room"));
            queue.close();
            assert_eq!(sorted(takers), [0, 1]);
        });
    }

    #[test]
    fn every_item_has_a_taker_awake_without_a_close() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(8));
            let takers = [(), ()].map(|()| {
                let queue = Arc::clone(&queue);
                // Each is content with one item, so that both end only if both are woken.
                thread::spawn(move || {
                    let mut taken = Vec::new();
                    assert!(queue.take_all(1, &mut taken));
                    taken
                })
            });
            (0..2).for_each(|n| queue.push(n).expect("room"));
            assert_eq!(sorted(takers), [0, 1]);
        });
    }

    #[test]
    fn closing_wakes_all() {
        loom::model(|| {
            let queue = Arc::new(Queue::<u32>::new(8));
            let takers = [taker(&queue, 8), taker(&queue, 8)];
            queue.close();
            assert!(sorted(takers).is_empty());
        });
    }

    #[test]
    fn a_group_is_all_that_waits() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(8));
            queue.push(0).expect("room");
            queue.push(1).expect("room");
            let committer = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let (mut first, mut all) = (Vec::new(), Vec::new());
                    assert!(queue.take_all(8, &mut first));
                    while queue.take_all(8, &mut all) {}
                    (first, all)
                })
            };
            let pushed = queue.push(2);
            queue.close();
            let (first, rest) = committer.join().expect("the committer");
            assert_eq!(pushed, Ok(()));
            assert!(first.starts_with(&[0, 1]), "what waited goes in one group: {first:?}");
            assert_eq!([first, rest].concat(), [0, 1, 2]);
        });
    }

    #[test]
    fn a_push_is_taken_or_given_back_never_lost() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(1));
            let taker = taker(&queue, 8);
            let pusher = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || (0..2).filter(|&n| queue.push(n).is_ok()).collect::<Vec<_>>())
            };
            queue.close();
            assert_eq!(sorted([taker]), pusher.join().expect("the pusher"));
        });
    }
}
