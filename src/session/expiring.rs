//! A bounded map whose entries expire: all after the same time, the oldest first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use crate::moment::Moment;

/// A map with a bound in entries and in time. What it lets go it hands out, so that nobody forgets to clean up.
pub(super) struct Expiring<K, V> {
    entries: HashMap<K, (V, Stamp)>,
    /// Keys in the order of their insertion; a key that was replaced or removed is skipped when its turn comes.
    order: VecDeque<(K, Stamp)>,
    insertions: u64,
    ttl: Duration,
    entries_max: usize,
}

/// When an entry was inserted, and as which: two of the same millisecond differ.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    at: Moment,
    number: u64,
}

impl<K: Clone + Eq + Hash, V> Expiring<K, V> {
    pub(super) fn new(ttl: Duration, entries_max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), insertions: 0, ttl, entries_max }
    }

    /// Inserts an entry and returns what had to go for it: the one that it replaces, what has expired, and the
    /// oldest while there are too many.
    pub(super) fn insert(&mut self, key: K, value: V, now: Moment) -> Vec<V> {
        let mut gone: Vec<V> = self.remove(&key).into_iter().collect();
        gone.extend(self.expire(now));
        while self.entries.len() >= self.entries_max {
            let (oldest, since) = self.order.pop_front().expect("an entry for every key");
            gone.extend(self.remove_since(&oldest, since));
        }
        self.insertions += 1;
        let stamp = Stamp { at: now, number: self.insertions };
        self.order.push_back((key.clone(), stamp));
        self.entries.insert(key, (value, stamp));
        gone
    }

    /// Takes out what has expired.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<V> {
        let mut gone = Vec::new();
        while let Some((_, since)) = self.order.front()
            && since.at + self.ttl <= now
        {
            let (key, since) = self.order.pop_front().expect("just seen");
            gone.extend(self.remove_since(&key, since));
        }
        gone
    }

    fn remove_since(&mut self, key: &K, since: Stamp) -> Option<V> {
        let (_, inserted) = self.entries.get(key)?;
        if *inserted == since { self.remove(key) } else { None }
    }

    pub(super) fn get(&self, key: &K, now: Moment) -> Option<&V> {
        let (value, since) = self.entries.get(key)?;
        (since.at + self.ttl > now).then_some(value)
    }

    pub(super) fn get_mut(&mut self, key: &K, now: Moment) -> Option<&mut V> {
        let (value, since) = self.entries.get_mut(key)?;
        (since.at + self.ttl > now).then_some(value)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (value, _) = self.entries.remove(key)?;
        // Replaced and removed keys stay in the order until their turn; without this a client that does nothing but
        // replace its entry would make it grow.
        if self.order.len() > 2 * self.entries.len() + 16 {
            let entries = &self.entries;
            self.order.retain(|(key, since)| entries.get(key).is_some_and(|(_, at)| at == since));
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.entries_max
    }

    /// When the next entry expires, unless it is replaced before.
    pub(super) fn next_expiry(&self) -> Option<Moment> {
        self.order.front().map(|(_, since)| since.at + self.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(10);

    #[test]
    fn entries_expire_oldest_first_and_replacing_renews() {
        let mut map = Expiring::new(TTL, 8);
        assert!(map.insert("a", 1, Moment(0)).is_empty());
        assert!(map.insert("b", 2, Moment(3)).is_empty());
        assert_eq!(map.insert("a", 3, Moment(5)), [1]);
        assert_eq!((map.get(&"b", Moment(12)), map.get(&"b", Moment(13))), (Some(&2), None));
        assert_eq!(map.expire(Moment(14)), [2]);
        assert_eq!(map.next_expiry(), Some(Moment(15)));
        assert_eq!(map.expire(Moment(15)), [3]);
        assert_eq!(map.next_expiry(), None);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut map = Expiring::new(TTL, 2);
        map.insert(1, "one", Moment(0));
        map.insert(2, "two", Moment(0));
        assert!(map.is_full());
        assert_eq!(map.insert(3, "three", Moment(1)), ["one"]);
        map.remove(&2);
        assert_eq!(map.insert(4, "four", Moment(1)), [""; 0]);
    }

    #[test]
    fn replacing_for_ever_does_not_grow() {
        let mut map = Expiring::new(TTL, 2);
        for round in 0..10_000 {
            map.insert("same", round, Moment(round / 5_000));
        }
        assert!(map.order.len() < 32, "{} keys", map.order.len());
    }
}
