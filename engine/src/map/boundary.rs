//! Where a node ends: decided by keyed hashes of keys, with a chance that grows with the node.
//!
//! After an entry whose key has |k| bytes, let w = 80 + |k| and s the sum of w over the node so far. The
//! chance of a boundary is (π/2) · w · s / T²: a hazard that grows linearly, so that sizes follow a
//! Rayleigh distribution of mean T (few tiny nodes, and one in a thousand cut by the hard stop at 3 · T).
//! Values play no part, so that editing one never moves a boundary. The hash is keyed, so that nobody
//! without the keys can choose names that make a map degenerate.
//!
//! Inner nodes do not end after their first entry: else keys longer than about T would make every node
//! of every level a single entry, and the tree would grow for ever.

use crate::error::Corrupt;
use crate::format::{MAX_LEAF_TARGET, max_node};
use zeroize::Zeroizing;

/// Weight of an entry beside its key: about what a listing's value takes, in bytes.
const ENTRY_WEIGHT: u64 = 80;
/// ⌊π/2 · 2^64⌋.
const HALF_PI: u128 = 28_976_077_832_308_491_369;
/// A node ends, whatever the hash says, when its weight reaches so many targets.
const HARD_STOP: u64 = 3;

/// Mean weight of map nodes in bytes, `T` of the format: 1 KiB to 16 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafTarget(u32);

impl LeafTarget {
    /// Smallest target.
    pub const MIN: u32 = 1 << 10;
    /// Largest target.
    pub const MAX: u32 = MAX_LEAF_TARGET;

    /// Takes a target in bytes; one outside the limits is damage of whatever gave it.
    pub fn new(bytes: u32) -> Result<Self, Corrupt> {
        if (Self::MIN..=Self::MAX).contains(&bytes) {
            return Ok(Self(bytes));
        }
        let (min, max) = (Self::MIN, Self::MAX);
        Err(Corrupt::new("leaf target", format!("{bytes} bytes, {min} to {max} are allowed")))
    }

    /// Returns the target in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Returns the length in bytes that no node of a map with this target exceeds.
    ///
    /// The weights before a leaf's last entry sum to less than 3 · T, each at least 80 (81 but for one), and
    /// an entry takes at most 1,024 + 16 bytes beside its key: less than 39 · T, and a last key of 64 KiB, or
    /// two in an inner node.
    pub const fn max_node(self) -> u32 {
        max_node(self.0)
    }
}

/// Returns the weight of an entry with a key of `key_len` bytes.
pub(super) fn weight(key_len: usize) -> u64 {
    ENTRY_WEIGHT + key_len as u64
}

/// The boundary rule of one repository.
pub(super) struct Boundary {
    key: Zeroizing<[u8; 32]>,
    target: LeafTarget,
    input: Vec<u8>,
}

impl Boundary {
    /// Takes the boundary key of the repository.
    pub fn new(key: &[u8; 32], target: LeafTarget) -> Self {
        Self { key: Zeroizing::new(*key), target, input: Vec::new() }
    }

    /// Returns whether a node of `level` ends after the entry with this `key`, which is the `count`th and
    /// brings the node's weight to `total`.
    pub fn ends(&mut self, level: u8, key: &[u8], count: u64, total: u64) -> bool {
        if level > 0 && count < 2 {
            return false;
        }
        if total >= HARD_STOP * u64::from(self.target.0) {
            return true;
        }
        self.input.clear();
        self.input.push(level);
        self.input.extend_from_slice(key);
        let hash = blake3::keyed_hash(&self.key, &self.input);
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        below(u64::from_le_bytes([a, b, c, d, e, f, g, h]), weight(key.len()), total, self.target)
    }
}

/// Returns whether `hash < w · s · P / T²`, or the right side is at least 2^64.
///
/// For integers `h < ⌊x / y⌋` is `(h + 1) · y <= x`, which needs no 128-bit division. No product
/// overflows: w < 2^17, s < 2^18, P < 2^65, and (h + 1) · T² <= 2^92.
fn below(hash: u64, w: u64, s: u64, target: LeafTarget) -> bool {
    let square = u128::from(target.0) * u128::from(target.0);
    (u128::from(hash) + 1) * square <= u128::from(w) * u128::from(s) * HALF_PI
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comparing_products_is_the_division_of_the_format(
            hash in any::<u64>(), w in 80u64..65_617, s in 80u64..180_000, t in LeafTarget::MIN..=LeafTarget::MAX,
            near in any::<bool>(), off in 0u64..3,
        ) {
            let right = u128::from(w) * u128::from(s) * HALF_PI / (u128::from(t) * u128::from(t));
            let hash = match u64::try_from(right) {
                Ok(right) if near => right.saturating_add(off).saturating_sub(1),
                _ => hash,
            };
            let expected = right >= 1 << 64 || u128::from(hash) < right;
            prop_assert_eq!(below(hash, w, s, LeafTarget(t)), expected);
        }
    }

    #[test]
    fn weights_between_boundaries_have_mean_t_and_stop_at_three() {
        let target = LeafTarget::new(4096).unwrap();
        let mut boundary = Boundary::new(&[7; 32], target);
        let (mut count, mut total, mut sizes) = (0, 0, Vec::new());
        for n in 0..200_000u32 {
            let key = format!("some/where/file{n:07}");
            (count, total) = (count + 1, total + weight(key.len()));
            if boundary.ends(0, key.as_bytes(), count, total) {
                sizes.push(total);
                (count, total) = (0, 0);
            }
        }
        let mean = sizes.iter().sum::<u64>() as f64 / sizes.len() as f64;
        assert!((3850.0..4350.0).contains(&mean), "{mean}");
        assert!(sizes.iter().all(|size| *size < 3 * 4096 + 110));
        let tiny = sizes.iter().filter(|size| **size < 410).count() as f64 / sizes.len() as f64;
        assert!(tiny < 0.02, "Rayleigh: 1 - exp(-π/4 · 0.01) = 0.8 % below a tenth; here {tiny}");
    }

    #[test]
    fn inner_nodes_have_two_entries_however_long_the_keys() {
        let mut boundary = Boundary::new(&[7; 32], LeafTarget::new(1024).unwrap());
        let key = vec![b'k'; 60_000];
        assert!(boundary.ends(0, &key, 1, weight(key.len())));
        assert!(!boundary.ends(1, &key, 1, weight(key.len())));
        assert!(boundary.ends(1, &key, 2, 2 * weight(key.len())));
    }

    #[test]
    fn targets_have_limits() {
        assert!(LeafTarget::new(1023).is_err());
        assert!(LeafTarget::new(16_385).is_err());
        assert_eq!(LeafTarget::new(4096).map(LeafTarget::max_node), Ok(320 << 10));
        assert_eq!(LeafTarget::new(16_384).map(LeafTarget::max_node), Ok(896 << 10));
    }
}
