//! Which parts of which shards are there: how many shards cover each place, and which objects hold them.

use super::object::Piece;
use std::collections::BTreeSet;
use std::ops::Range;

/// Objects of one group, chosen so that those of each shard lie one after another.
#[derive(Clone, Debug, Default)]
pub(super) struct Cover {
    /// For each shard what is there of it: ranges rising, and the places of the objects.
    spans: Vec<Vec<(Range<u64>, usize)>>,
    shard_len: u64,
}

impl Cover {
    /// Chooses among the objects that are `good`.
    pub fn new(pieces: &[Piece], shards: u8, shard_len: u64, good: &dyn Fn(&Piece) -> bool) -> Self {
        let mut all = vec![Vec::new(); usize::from(shards)];
        for (place, piece) in pieces.iter().enumerate().filter(|(_, piece)| good(piece)) {
            if let Some(of_shard) = all.get_mut(usize::from(piece.number)) {
                of_shard.push((piece.range(), place));
            }
        }
        let spans = all.into_iter().map(|mut of_shard| {
            // The longest first of those that begin together; what adds nothing is left out.
            of_shard.sort_by_key(|(range, place)| (range.start, std::cmp::Reverse(range.end), *place));
            let mut spans: Vec<(Range<u64>, usize)> = Vec::new();
            for (range, place) in of_shard {
                let end = spans.last().map_or(0, |(last, _)| last.end);
                if range.end > end {
                    spans.push((range.start.max(end)..range.end, place));
                }
            }
            spans
        });
        Self { spans: spans.collect(), shard_len }
    }

    /// Returns the places of the objects that were chosen.
    pub fn chosen(&self) -> BTreeSet<usize> {
        self.spans.iter().flatten().map(|(_, place)| *place).collect()
    }

    /// Returns every place where what covers it may change, both ends among them.
    pub fn bounds(&self) -> BTreeSet<u64> {
        let spans = self.spans.iter().flatten();
        let ends = spans.flat_map(|(range, _)| [range.start, range.end]);
        ends.chain([0, self.shard_len]).collect()
    }

    /// Returns number and object of each shard that is there at a place.
    pub fn at(&self, place: u64) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        for (number, spans) in self.spans.iter().enumerate() {
            let after = spans.partition_point(|(range, _)| range.start <= place);
            let span = after.checked_sub(1).and_then(|at| spans.get(at));
            found.extend(span.filter(|(range, _)| place < range.end).map(|(_, at)| (number as u8, *at)));
        }
        found
    }

    /// Returns how many shards cover every place at least.
    pub fn least(&self) -> usize {
        let bounds = self.bounds();
        let places = bounds.iter().filter(|place| **place < self.shard_len);
        places.map(|place| self.at(*place).len()).min().unwrap_or(0)
    }

    /// Returns the shards that lack something within a range.
    pub fn lacking(&self, range: &Range<u64>) -> Vec<u8> {
        let lacks = |spans: &Vec<(Range<u64>, usize)>| {
            let mut at = range.start;
            for (span, _) in spans.iter().filter(|(span, _)| span.start <= range.end) {
                if span.start <= at {
                    at = at.max(span.end);
                }
            }
            at < range.end
        };
        let numbers = self.spans.iter().enumerate().filter(|(_, spans)| lacks(spans));
        numbers.map(|(number, _)| number as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ObjectId;
    use proptest::prelude::*;

    fn piece(number: u8, start: u64, end: u64) -> Piece {
        let id = ObjectId::from_bytes([number; 32]);
        Piece { id, number, start, len: end - start, hash: [0; 32], part_at: 0 }
    }

    #[test]
    fn the_weakest_place_counts() {
        let least = |pieces: &[Piece]| Cover::new(pieces, 2, 100, &|_| true).least();
        assert_eq!(least(&[]), 0);
        assert_eq!(least(&[piece(0, 0, 100)]), 1);
        assert_eq!(least(&[piece(0, 0, 100), piece(0, 0, 100)]), 1, "the same one twice");
        assert_eq!(least(&[piece(0, 0, 100), piece(1, 0, 60), piece(1, 60, 100)]), 2);
        assert_eq!(least(&[piece(0, 0, 100), piece(1, 0, 60), piece(1, 61, 100)]), 1);
        assert_eq!(least(&[piece(0, 0, 50), piece(1, 50, 100)]), 1, "one or the other everywhere");
        assert_eq!(least(&[piece(0, 0, 50), piece(1, 51, 100)]), 0);
        assert_eq!(least(&[piece(0, 0, 80), piece(0, 20, 100), piece(1, 0, 100)]), 2, "they overlap");
    }

    proptest! {
        /// Beside looking at every place.
        #[test]
        fn covers_are_what_a_look_at_each_place_finds(
            made in proptest::collection::vec((0..4u8, 0..30u64, 1..30u64, any::<bool>()), 0..20),
            start in 0..30u64, len in 1..10u64,
        ) {
            let pieces: Vec<Piece> = made.iter()
                .map(|(number, start, len, _)| piece(*number, *start, (start + len).min(30)))
                .filter(|piece| piece.len > 0)
                .collect();
            let good = |piece: &Piece| piece.start % 5 != 3;
            let cover = Cover::new(&pieces, 4, 30, &good);
            let there = |number: u8, place: u64| {
                pieces.iter().any(|piece| good(piece) && piece.number == number && piece.range().contains(&place))
            };
            for place in 0..30 {
                let found = cover.at(place);
                let holds = found.iter().all(|(number, at)| {
                    let piece = &pieces[*at];
                    piece.number == *number && good(piece) && piece.range().contains(&place)
                });
                prop_assert!(holds);
                let numbers: Vec<u8> = found.iter().map(|(number, _)| *number).collect();
                let expected: Vec<u8> = (0..4).filter(|number| there(*number, place)).collect();
                prop_assert_eq!(numbers, expected);
            }
            let least = (0..30).map(|place| cover.at(place).len()).min();
            prop_assert_eq!(Some(cover.least()), least);
            let range = start..(start + len).min(30);
            if range.start < range.end {
                let lacking: Vec<u8> = (0..4).filter(|n| range.clone().any(|place| !there(*n, place))).collect();
                prop_assert_eq!(cover.lacking(&range), lacking);
            }
        }
    }
}
