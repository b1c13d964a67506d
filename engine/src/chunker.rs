//! Content-defined chunks: FastCDC v2020 (Xia et al., IEEE TPDS 2020) with a secret gear table.
//!
//! The secret table is not proof against fingerprinting by lengths on its own (`reliability.md` of the
//! project's design, CCS 2025); blocks and padded packs hide the lengths.

use crate::error::Corrupt;
use crate::planted::{Bug, planted};
use crate::wire::{Put, Reader};
use std::io::{self, Read};
use zeroize::Zeroizing;

/// Sizes and masks of the chunker, as stored in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// No chunk but the last of a stream is shorter; a stream not longer than this is one chunk.
    pub min: u32,
    /// The size around which cutting gets likelier.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
    /// Mask before `avg`: more bits, fewer cuts.
    pub mask_small: u64,
    /// Mask after `avg`: fewer bits, more cuts.
    pub mask_large: u64,
}

impl Default for ChunkSizes {
    /// 16, 64 and 256 KiB, normalisation 1: see the tables in `DESIGN.md`.
    fn default() -> Self {
        Self::around(64 << 10)
    }
}

impl ChunkSizes {
    /// Returns sizes around an average: a quarter, the average, four times as much; normalisation 1.
    pub fn around(avg: u32) -> Self {
        let (mask_small, mask_large) =
            fastcdc::v2020::select_masks(avg as usize, fastcdc::v2020::Normalization::Level1);
        Self { min: avg / 4, avg, max: avg * 4, mask_small, mask_large }
    }

    /// Appends the stored form.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_u32(self.min);
        out.put_u32(self.avg);
        out.put_u32(self.max);
        out.put_u64(self.mask_small);
        out.put_u64(self.mask_large);
    }

    /// Reads the stored form, checking what the chunker relies on.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let kind = reader.u8()?;
        if kind != 1 {
            return Err(reader.corrupt(format!("chunker {kind} is unknown")));
        }
        let sizes = Self {
            min: reader.u32()?,
            avg: reader.u32()?,
            max: reader.u32()?,
            mask_small: reader.u64()?,
            mask_large: reader.u64()?,
        };
        if sizes.is_sound() { Ok(sizes) } else { Err(reader.corrupt("chunk sizes outside their limits")) }
    }

    /// Returns whether the sizes are within the format's limits. Odd sizes would end in a debug
    /// assertion of the chunker's library.
    pub fn is_sound(&self) -> bool {
        let masks = [self.mask_small, self.mask_large];
        let even = [self.min, self.avg, self.max].iter().all(|size| size % 2 == 0);
        even && (64..=1 << 20).contains(&self.min)
            && (256..=4 << 20).contains(&self.avg)
            && (1024..=8 << 20).contains(&self.max)
            && self.min <= self.avg
            && self.avg <= self.max
            && masks.iter().all(|mask| (1..=40).contains(&mask.count_ones()) && mask >> 63 == 0)
    }
}

/// Cuts streams into chunks. Cheap to share; holds no stream.
pub struct Chunker {
    sizes: ChunkSizes,
    gear: Zeroizing<Vec<u64>>,
    gear_shifted: Zeroizing<Vec<u64>>,
}

impl Chunker {
    /// Makes a chunker from sound sizes and a table of 256 words.
    pub(crate) fn new(sizes: ChunkSizes, gear: Zeroizing<Vec<u64>>) -> Self {
        debug_assert!(sizes.is_sound() && gear.len() == 256);
        let gear_shifted = Zeroizing::new(gear.iter().map(|word| word << 1).collect());
        Self { sizes, gear, gear_shifted }
    }

    /// Returns the sizes.
    pub fn sizes(&self) -> &ChunkSizes {
        &self.sizes
    }

    /// Returns the length of the first chunk of `bytes`.
    ///
    /// `bytes` must reach to the end of the stream or hold at least `max` bytes.
    pub fn cut(&self, bytes: &[u8]) -> usize {
        if bytes.len() <= self.sizes.min as usize {
            return bytes.len();
        }
        let sizes = &self.sizes;
        let (_, cut) = fastcdc::v2020::cut_gear(
            bytes,
            sizes.min as usize,
            sizes.avg as usize,
            sizes.max as usize,
            sizes.mask_small,
            sizes.mask_large,
            sizes.mask_small << 1,
            sizes.mask_large << 1,
            &self.gear,
            &self.gear_shifted,
        );
        cut.clamp(1, bytes.len())
    }

    /// Calls `each` with every chunk of a stream; `buffer` is reused between streams and grows to at
    /// most four times the longest chunk.
    pub fn chunks<E: From<io::Error>>(
        &self,
        stream: &mut dyn Read,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let capacity = 4 * self.sizes.max as usize;
        buffer.resize(capacity, 0);
        let (mut start, mut end, mut total, mut ended) = (0usize, 0usize, 0u64, false);
        loop {
            if !ended && end - start < self.sizes.max as usize {
                buffer.copy_within(start..end, 0);
                end -= start;
                start = 0;
                while end < capacity {
                    match stream.read(&mut buffer[end..]) {
                        Ok(0) => {
                            ended = true;
                            break;
                        }
                        Ok(len) => end += len,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            if start == end {
                return Ok(total);
            }
            let len = self.cut(&buffer[start..end]);
            if planted(Bug::DropLastChunk) && total > 0 && start + len == end {
                return Ok(total);
            }
            each(&buffer[start..start + len])?;
            start += len;
            total += len as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunker() -> Chunker {
        let mut bytes = [0u8; 2048];
        blake3::Hasher::new_derive_key("test gear").finalize_xof().fill(&mut bytes);
        let gear = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        Chunker::new(ChunkSizes::around(128 << 10), Zeroizing::new(gear))
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Hands out at most `step` bytes per read.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.0.len().min(self.1).min(buffer.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    fn lengths(bytes: &[u8], step: usize) -> Vec<usize> {
        let mut lengths = Vec::new();
        let total = chunker()
            .chunks::<io::Error>(&mut Dribble(bytes, step), &mut Vec::new(), |chunk| {
                lengths.push(chunk.len());
                Ok(())
            })
            .unwrap();
        assert_eq!(total, bytes.len() as u64);
        lengths
    }

    /// The cut points of version 1: they must never change, or deduplication with old data ends.
    #[test]
    fn golden_cut_points() {
        let cuts = lengths(&noise(1 << 20), usize::MAX);
        assert_eq!(cuts, GOLDEN, "cut points moved");
    }

    const GOLDEN: &[usize] = &[52784, 248690, 191710, 189668, 143976, 221748];

    #[test]
    fn short_streams_are_one_chunk_and_empty_ones_none() {
        assert_eq!(lengths(&[], 10), Vec::<usize>::new());
        assert_eq!(lengths(&noise(1), 10), [1]);
        assert_eq!(lengths(&noise(32 << 10), 1000), [32 << 10]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn cuts_depend_on_content_not_on_reads(len in 0usize..3_000_000, step in 1000usize..1_000_000) {
            let bytes = noise(len);
            let whole = lengths(&bytes, usize::MAX);
            prop_assert_eq!(&lengths(&bytes, step), &whole);
            let sizes = *chunker().sizes();
            for (n, len) in whole.iter().enumerate() {
                prop_assert!(*len <= sizes.max as usize);
                prop_assert!(n + 1 == whole.len() || *len >= sizes.min as usize);
            }
        }
    }
}
