//! A bounded map that forgets what was not used lately: two generations, no lists.
//!
//! Entries enter the young generation; when it is full it becomes the old one, and what was old is
//! gone. A hit in the old one moves the entry over. So it holds between one and two times `room`.

use std::collections::HashMap;
use std::hash::Hash;

pub(super) struct Aging<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    weight: usize,
    room: usize,
}

impl<K: Hash + Eq + Clone, V> Aging<K, V> {
    /// Makes a map whose generations hold entries of a total weight of `room` each.
    pub(super) fn new(room: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), weight: 0, room }
    }

    /// Adds entries that weigh `weight` together. What weighs more than a generation is not kept.
    pub(super) fn extend(&mut self, weight: usize, entries: impl IntoIterator<Item = (K, V)>) {
        if weight > self.room {
            return;
        }
        if self.weight.saturating_add(weight) > self.room {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.young.extend(entries);
    }

    /// Returns the entry, wherever it is, without making it younger.
    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Returns the entry and makes it young, as one that weighs `weight`.
    pub(super) fn get(&mut self, key: &K, weight: impl Fn(&V) -> usize) -> Option<&V> {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key)?;
            self.extend(weight(&value), [(key.clone(), value)]);
        }
        self.young.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let mut map = Aging::new(10);
        for key in 0..1000 {
            map.extend(1, [(key, key)]);
            assert_eq!(map.get(&0, |_| 1), Some(&0), "used every time");
            assert!(map.young.len() + map.old.len() <= 20);
        }
        assert_eq!(map.peek(&999), Some(&999));
        assert_eq!(map.peek(&900), None);
        map.extend(11, [(5000, 0)]);
        assert_eq!(map.peek(&5000), None, "heavier than a generation");
    }

    #[test]
    fn a_generation_is_full_at_its_room_and_not_before() {
        let mut map = Aging::new(10);
        map.extend(4, [(1, "a")]);
        map.extend(6, [(2, "b")]);
        assert_eq!((map.young.len(), map.old.len(), map.weight), (2, 0, 10), "just as much");
        map.extend(1, [(3, "c")]);
        assert_eq!((map.young.len(), map.old.len(), map.weight), (1, 2, 1));
        // Whoever is asked for weighs again, as what the caller says.
        assert_eq!(map.get(&1, |_| 4), Some(&"a"));
        assert_eq!((map.young.len(), map.old.len(), map.weight), (2, 1, 5));
        assert_eq!(map.get(&1, |_| 4), Some(&"a"), "young by now");
        assert_eq!((map.peek(&2), map.weight), (Some(&"b"), 5));
        assert_eq!(map.get(&9, |_| 1), None);
        map.extend(10, [(4, "d")]);
        assert_eq!(
            (map.peek(&2), map.peek(&3), map.peek(&4), map.weight),
            (None, Some(&"c"), Some(&"d"), 10)
        );
    }
}
