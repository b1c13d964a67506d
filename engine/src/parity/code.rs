//! The code itself: Reed-Solomon over GF(2^16), stripe by stripe. Normative: `FORMAT.md` 17.
//!
//! Each unit of 64 bytes is coded for itself, so a shard is the same whatever the length of the stripes.

use crate::format::PARITY_UNIT;
use crate::repo::RepoError;
use rayon::prelude::*;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};
use std::ops::Range;

const UNIT: usize = PARITY_UNIT as usize;

fn internal(error: reed_solomon_simd::Error) -> RepoError {
    RepoError::Internal(format!("parity code: {error}"))
}

/// Cuts a stripe into as many parts as there are lanes, in units.
fn parts(len: usize, lanes: usize) -> Vec<Range<usize>> {
    let each = len.div_ceil(lanes.max(1)).next_multiple_of(UNIT).max(UNIT);
    (0..len).step_by(each).map(|start| start..len.min(start + each)).collect()
}

/// Computes shards; keeps its working memory from stripe to stripe.
pub(super) struct Encoder {
    lanes: Vec<HighRateEncoder<DefaultEngine>>,
    packs: usize,
    shards: usize,
}

impl Encoder {
    /// Prepares for so many packs and shards, on `lanes` threads.
    pub fn new(packs: usize, shards: usize, lanes: usize) -> Result<Self, RepoError> {
        let lane =
            |_| HighRateEncoder::new(packs, shards, UNIT, DefaultEngine::new(), None).map_err(internal);
        let lanes = (0..lanes.max(1)).map(lane).collect::<Result<_, _>>()?;
        Ok(Self { lanes, packs, shards })
    }

    /// Returns the stripe of each shard; `stripes` are those of the packs, in order, all of one length.
    pub fn encode(&mut self, stripes: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, RepoError> {
        let len = stripes.first().map_or(0, Vec::len);
        let (packs, shards) = (self.packs, self.shards);
        let parts = parts(len, self.lanes.len());
        let done: Vec<Vec<Vec<u8>>> = self
            .lanes
            .par_iter_mut()
            .zip(parts.into_par_iter())
            .map(|(lane, part)| {
                lane.reset(packs, shards, part.len())?;
                for stripe in stripes {
                    lane.add_original_shard(stripe.get(part.clone()).unwrap_or_default())?;
                }
                Ok(lane.encode()?.recovery_iter().map(<[u8]>::to_vec).collect())
            })
            .collect::<Result<_, _>>()
            .map_err(internal)?;
        Ok((0..shards).map(|number| joined(done.iter().map(|lane| lane.get(number)))).collect())
    }
}

/// Puts the parts of one shard or pack together.
fn joined<'a>(parts: impl Iterator<Item = Option<&'a Vec<u8>>>) -> Vec<u8> {
    parts.flatten().map(|part| &part[..]).collect::<Vec<_>>().concat()
}

/// Computes packs that are lost; keeps its working memory from stripe to stripe.
pub(super) struct Decoder {
    lanes: Vec<HighRateDecoder<DefaultEngine>>,
    packs: usize,
    shards: usize,
}

impl Decoder {
    /// Prepares for so many packs and shards, on `lanes` threads.
    pub fn new(packs: usize, shards: usize, lanes: usize) -> Result<Self, RepoError> {
        let lane =
            |_| HighRateDecoder::new(packs, shards, UNIT, DefaultEngine::new(), None).map_err(internal);
        let lanes = (0..lanes.max(1)).map(lane).collect::<Result<_, _>>()?;
        Ok(Self { lanes, packs, shards })
    }

    /// Returns the stripes of the packs at `wanted`, which are not among `packs`: places and stripes of those that are there.
    /// There must be at least as many shards as packs lacking.
    pub fn decode(
        &mut self,
        packs: &[(usize, &[u8])],
        shards: &[(usize, &[u8])],
        wanted: &[usize],
    ) -> Result<Vec<Vec<u8>>, RepoError> {
        let len = packs.iter().chain(shards).map(|(_, stripe)| stripe.len()).next().unwrap_or(0);
        let (packs_all, shards_all) = (self.packs, self.shards);
        let parts = parts(len, self.lanes.len());
        let done: Vec<Vec<Vec<u8>>> = self
            .lanes
            .par_iter_mut()
            .zip(parts.into_par_iter())
            .map(|(lane, part)| {
                lane.reset(packs_all, shards_all, part.len())?;
                for (place, stripe) in packs {
                    lane.add_original_shard(*place, stripe.get(part.clone()).unwrap_or_default())?;
                }
                for (number, stripe) in shards {
                    lane.add_recovery_shard(*number, stripe.get(part.clone()).unwrap_or_default())?;
                }
                let decoded = lane.decode()?;
                let of = |place: &usize| decoded.restored_original(*place).unwrap_or_default().to_vec();
                Ok(wanted.iter().map(of).collect())
            })
            .collect::<Result<_, _>>()
            .map_err(internal)?;
        Ok((0..wanted.len()).map(|place| joined(done.iter().map(|lane| lane.get(place)))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stripes(packs: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
        let stripe = |n: usize| {
            let mut bytes = vec![0; len];
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_le_bytes()).update(&(n as u64).to_le_bytes());
            hasher.finalize_xof().fill(&mut bytes);
            bytes
        };
        (0..packs).map(stripe).collect()
    }

    /// Pinned: these bytes are stored. Computed by a program that shares nothing with this one, from the text of the format
    /// alone (Lagrange, symbol by symbol). Shapes at both ends and around the powers of two of the code.
    #[test]
    fn shards_are_what_they_always_were() {
        let made = GOLDEN.map(|(packs, shards, _)| {
            let made = Encoder::new(packs, shards, 1).unwrap().encode(&stripes(packs, 256, 7)).unwrap();
            (packs, shards, blake3::hash(&made.concat()).to_hex()[..32].to_owned())
        });
        assert_eq!(made, GOLDEN.map(|(packs, shards, hash)| (packs, shards, hash.to_owned())));
    }

    const GOLDEN: [(usize, usize, &str); 9] = [
        (1, 1, "35d60826f80442a54fda59c34657b99c"),
        (1, 32, "b629aeb764441d6f5b66a49f79f4bdb1"),
        (2, 1, "403b67d632564bbc44b3af2f9e75582f"),
        (3, 2, "02a16b939214d2a8e30962b5e21843e3"),
        (5, 3, "121bf9b8fe047d1986c23fb750fa11dc"),
        (17, 16, "2ef49b2ae6feac79039c7a0ffd92509f"),
        (128, 1, "81bdf5938ffefc768a4ae6d3ff2d88e7"),
        (128, 2, "d07ba872c62a0d1e828333ff1d7a3c0d"),
        (128, 32, "742c85bcb7c974242ad27ef14dbb33b4"),
    ];

    #[test]
    fn stripes_and_threads_change_nothing() {
        let all = stripes(5, 64 * 37, 1);
        let whole = Encoder::new(5, 3, 1).unwrap().encode(&all).unwrap();
        for (lanes, width) in [(1, 64), (2, 64 * 5), (3, 64 * 37), (4, 64 * 36)] {
            let (mut encoder, mut made) = (Encoder::new(5, 3, lanes).unwrap(), vec![Vec::new(); 3]);
            for start in (0..64 * 37).step_by(width) {
                let end = (start + width).min(64 * 37);
                let stripe: Vec<Vec<u8>> = all.iter().map(|pack| pack[start..end].to_vec()).collect();
                let parts = encoder.encode(&stripe).unwrap();
                made.iter_mut().zip(parts).for_each(|(made, part)| made.extend(part));
            }
            assert_eq!(made, whole, "{lanes} lanes, {width} bytes");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Any packs up to the number of shards come back from any shards.
        #[test]
        fn what_is_lost_comes_back(
            packs in 1..=128usize, shards in 1..=32usize, seed in any::<u64>(), units in 1..5usize, lanes in 1..3usize,
        ) {
            let all = stripes(packs, units * 64, seed);
            let made = Encoder::new(packs, shards, lanes).unwrap().encode(&all).unwrap();
            let order = |count: usize, salt: u64| {
                let mut places: Vec<usize> = (0..count).collect();
                places.sort_by_key(|place| blake3::hash(&(seed ^ salt ^ *place as u64).to_le_bytes()).as_bytes().to_vec());
                places
            };
            let count = (seed as usize % shards + 1).min(packs);
            let lost = &order(packs, 1 << 60)[..count];
            let used = &order(shards, 1 << 61)[..count];
            let there: Vec<_> = (0..packs).filter(|at| !lost.contains(at)).map(|at| (at, &all[at][..])).collect();
            let used: Vec<_> = used.iter().map(|at| (*at, &made[*at][..])).collect();
            let back = Decoder::new(packs, shards, lanes).unwrap().decode(&there, &used, lost).unwrap();
            for (place, stripe) in lost.iter().zip(back) {
                prop_assert_eq!(&stripe, &all[*place]);
            }
        }
    }
}
