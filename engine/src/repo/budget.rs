//! How the most memory that a run may use is shared out: one number, from which every bound follows.
//!
//! | share | for |
//! |---|---|
//! | 1/4, less 4 MiB | the index: cache, filters, write buffers, neighbours |
//! | an eighth, a sixteenth, a quarter of that | beside it: claims; links between files; in a prune, needed chunks (what does not fit goes to disk) |
//! | 3/8 | packs that are filled, sealed and stored; instead of them two thirds of it for stripes of parity, one for what is kept of it |
//! | 3/16 | threads that read and compress, with their blocks |
//! | 1/16 | opened blocks of listings |
//! | 1/32 | entries on their way into the listing, of some 500 bytes each |
//! | the rest | the program itself, about 15 MiB; what lies between two segments; gaps between what is allocated |
//!
//! What belongs to a pack or a snapshot as such (names, lengths) is in none of the shares: 40 bytes of a pack.

use crate::compress::Level;
use crate::format::{MAX_CHUNKS_PER_PACK, MAX_CHUNKS_PER_SEGMENT};

/// What the program takes that does nothing: mostly its own code.
const PROGRAM_BYTES: u64 = 16 << 20;
/// What the blocks of a thread that reads and one that compresses take: 1 MiB each, a few of them.
const THREAD_BYTES: u64 = 6 << 20;
/// What an opened block takes: as it was read, unsealed, and plain.
const OPENED_BYTES: u64 = 4 << 20;
/// Least length of packs: shorter ones would be too many.
const LEAST_PACK_BYTES: u64 = 1 << 20;
/// From here on two packs are sealed and stored at once.
const TWO_STORERS_BYTES: u64 = 192 << 20;

/// The most memory that a run may use, shared out.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes: u64,
}

impl Budget {
    /// Least memory that a run can do with. With less, bounds are those of this much.
    pub const LEAST_BYTES: u64 = 64 << 20;

    /// Shares out `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self { bytes: max_bytes.max(Self::LEAST_BYTES) }
    }

    /// Returns the memory of the local index.
    pub(crate) fn index_bytes(self) -> u64 {
        (self.bytes - PROGRAM_BYTES) / 4
    }

    /// Returns how much of opened blocks a reader of listings keeps.
    pub(crate) fn listing_bytes(self) -> usize {
        usize::try_from(self.bytes / 16).unwrap_or(usize::MAX)
    }

    /// Returns how many threads each may read and compress, of so many that are wanted.
    pub(crate) fn threads(self, wanted: usize, level: Level) -> usize {
        let most = self.bytes / 16 * 3 / (THREAD_BYTES + compressor_bytes(level));
        wanted.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1)
    }

    /// Returns how many threads may each have a block of a pack open, of so many that are wanted.
    pub(crate) fn openers(self, wanted: usize) -> usize {
        let most = self.bytes / 8 / OPENED_BYTES;
        wanted.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1)
    }

    /// Returns how many threads seal and store packs.
    pub(crate) fn storers(self) -> usize {
        if self.bytes < TWO_STORERS_BYTES { 1 } else { 2 }
    }

    /// Returns the length of packs where `wanted` is configured: one of each kind is filled, one waits, and each
    /// storer has one, of which the blocks go as the sealed bytes come.
    pub(crate) fn pack_target(self, wanted: u32) -> u64 {
        let packs = 4 + self.storers() as u64;
        u64::from(wanted).min((self.bytes / 8 * 3 / packs).max(LEAST_PACK_BYTES))
    }

    /// Returns how many bytes of the shards of a parity group, or of packs that are rebuilt, are kept at once.
    pub(crate) fn parity_kept_bytes(self) -> u64 {
        self.bytes / 8
    }

    /// Returns how many bytes of a parity group are read and coded at once: as read, and in the code's own memory.
    pub(crate) fn parity_stripe_bytes(self) -> u64 {
        self.bytes / 4
    }

    /// Returns how many entries may be between those found and those listed.
    pub(crate) fn entries(self) -> u64 {
        (self.bytes / 16_384).min(32_768)
    }

    /// Returns after how many chunks a segment is written: their directories are in memory until then.
    pub(crate) fn chunks_per_segment(self) -> usize {
        let most = MAX_CHUNKS_PER_SEGMENT - MAX_CHUNKS_PER_PACK;
        usize::try_from(self.bytes / 4096).map_or(most, |chunks| chunks.min(most))
    }
}

/// Returns about what zstd needs at a level for a block of a little over 1 MiB.
fn compressor_bytes(level: Level) -> u64 {
    match level {
        Level::Off | Level::Zstd(..=3) => 2 << 20,
        // A context for each of its two levels.
        Level::Auto => 4 << 20,
        Level::Zstd(4..=8) => 6 << 20,
        Level::Zstd(9) => 11 << 20,
        Level::Zstd(10..=12) => 21 << 20,
        Level::Zstd(_) => 34 << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

    #[test]
    fn compressors_take_no_more_than_is_set_aside_for_them() {
        let plain: Vec<u8> = (0..5u32 << 18).map(|n| (n.wrapping_mul(2_654_435_761) >> 27) as u8).collect();
        let mut out = vec![0; compress_bound(plain.len())];
        for level in 1..=22 {
            let mut context = CCtx::create();
            context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
            context.compress2(&mut out[..], &plain).unwrap();
            let (used, set_aside) = (context.sizeof() as u64, compressor_bytes(Level::Zstd(level)));
            assert!(used <= set_aside, "level {level}: {used} bytes");
        }
    }

    #[test]
    fn more_memory_never_means_less_of_anything_and_the_shares_fit() {
        let sizes: Vec<u64> = (0..80).map(|n| (n * 16) << 20).collect();
        let of = |bytes| {
            let budget = Budget::new(bytes);
            let packs = budget.pack_target(u32::MAX) * (4 + budget.storers() as u64);
            let threads = budget.threads(usize::MAX, Level::Zstd(3)) as u64;
            assert!(
                packs <= budget.bytes / 8 * 3 && threads * (THREAD_BYTES + (2 << 20)) <= budget.bytes / 4
            );
            (budget.index_bytes(), budget.listing_bytes(), threads, budget.storers(), packs, budget.entries())
        };
        for pair in sizes.windows(2) {
            let (less, more) = (of(pair[0]), of(pair[1]));
            assert!(
                less.0 <= more.0 && less.1 <= more.1 && less.2 <= more.2 && less.3 <= more.3,
                "{less:?} {more:?}"
            );
            assert!(less.4 <= more.4 && less.5 <= more.5, "{less:?} {more:?}");
        }
        let default = Budget::new(256 << 20);
        assert_eq!((default.pack_target(16 << 20), default.storers()), (16 << 20, 2), "as configured");
        assert_eq!(default.threads(4, Level::Zstd(3)), 4);
        assert_eq!(Budget::new(0).index_bytes(), 12 << 20, "bounds do not go below those of 64 MiB");
    }
}
