//! zstd or raw, whichever is smaller; bounded decompression; a cheap test for what does not compress.
//!
//! One frame per buffer, its content size present, no dictionary. Contexts are kept by the user
//! ([`Compressor`], [`Decompressor`]): creating one costs more than a small block. Decoding is at once
//! into a buffer of exactly the expected length, so a hostile frame cannot ask for more.

mod effort;

pub use effort::Stream;

use crate::error::Corrupt;
use effort::Effort;
use std::io;
use zstd::zstd_safe::{CParameter, ParamSwitch, get_error_name, get_frame_content_size};

/// How a block or body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As it is.
    Raw,
    /// One zstd frame (RFC 8878).
    Zstd,
}

impl Codec {
    /// Returns the stored code.
    pub fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// How hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Not at all.
    Off,
    /// zstd at this level, 1 to 22.
    Zstd(i32),
    /// zstd at level 3, and at level 1 in streams where level 3 gains next to nothing.
    Auto,
}

/// What [`Level::Auto`] chooses from.
const FULL: i32 = 3;
const FAST: i32 = 1;

/// Compresses buffers, one after another.
pub struct Compressor {
    level: Level,
    context: zstd::bulk::Compressor<'static>,
    fast: zstd::bulk::Compressor<'static>,
    probe: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
    /// What the fast level made of a block that both compress.
    spare: Vec<u8>,
}

impl Compressor {
    /// Makes a compressor for `level`.
    pub fn new(level: Level) -> io::Result<Self> {
        let zstd_level = match level {
            Level::Off => FAST,
            Level::Auto => FULL,
            Level::Zstd(level) => level.clamp(1, 22),
        };
        let context = zstd::bulk::Compressor::new(zstd_level)?;
        let fast = zstd::bulk::Compressor::new(FAST)?;
        let mut probe = zstd::bulk::Compressor::new(1)?;
        probe.set_parameter(CParameter::CompressionLevel(-5))?;
        // Negative levels leave literals as they are; hexadecimal text, numbers and the like have little else.
        probe.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
        Ok(Self { level, context, fast, probe, buffer: Vec::new(), spare: Vec::new() })
    }

    /// Returns `plain` coded the shorter way. Blocks that are likely to be alike share a `stream`, from which
    /// [`Level::Auto`] learns; other levels leave it alone.
    ///
    /// The result borrows either `plain` or a buffer of this compressor.
    pub fn code<'a>(&'a mut self, plain: &'a [u8], stream: &Stream) -> io::Result<(Codec, &'a [u8])> {
        if self.level == Level::Off || plain.len() < 32 || !self.is_promising(plain)? {
            return Ok((Codec::Raw, plain));
        }
        let effort = if self.level == Level::Auto { stream.next(plain.len()) } else { Effort::Full };
        let mut is_fast = effort != Effort::Full;
        if is_fast {
            compress(&mut self.fast, plain, &mut self.spare)?;
        }
        if effort != Effort::Fast || !stream.is_alike(plain.len(), self.spare.len()) {
            compress(&mut self.context, plain, &mut self.buffer)?;
            if is_fast {
                stream.compared(plain.len(), self.spare.len(), self.buffer.len());
                is_fast = self.spare.len() < self.buffer.len();
            }
        }
        let shorter = if is_fast { &self.spare } else { &self.buffer };
        if shorter.len() < plain.len() { Ok((Codec::Zstd, shorter)) } else { Ok((Codec::Raw, plain)) }
    }

    /// Guesses from samples whether compressing is worth its time: the fastest level must save a
    /// fiftieth of one of five 4 KiB samples. Wrong guesses cost space or time, never data.
    fn is_promising(&mut self, plain: &[u8]) -> io::Result<bool> {
        const SAMPLE: usize = 4096;
        const SAMPLES: usize = 5;
        if plain.len() < 4 * SAMPLE * SAMPLES {
            return Ok(true);
        }
        let step = (plain.len() - SAMPLE) / (SAMPLES - 1);
        for start in (0..SAMPLES).map(|n| n * step) {
            compress(&mut self.probe, &plain[start..start + SAMPLE], &mut self.buffer)?;
            if self.buffer.len() < SAMPLE - SAMPLE / 50 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn compress(context: &mut zstd::bulk::Compressor<'_>, plain: &[u8], coded: &mut Vec<u8>) -> io::Result<()> {
    coded.clear();
    coded.reserve(zstd::zstd_safe::compress_bound(plain.len()));
    context.compress_to_buffer(plain, coded).map(drop)
}

/// Decompresses buffers, one after another, never beyond the length it is told.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl Decompressor {
    /// Makes a decompressor.
    pub fn new() -> io::Result<Self> {
        Ok(Self { context: zstd::bulk::Decompressor::new()? })
    }

    /// Replaces `plain` by the plain bytes of `coded`: exactly `plain_len` of them, from exactly one frame.
    pub fn decode(
        &mut self,
        codec: Codec,
        coded: &[u8],
        plain_len: usize,
        plain: &mut Vec<u8>,
    ) -> Result<(), Corrupt> {
        let corrupt = |wrong: String| Corrupt::new("compressed data", wrong);
        match codec {
            Codec::Raw if coded.len() == plain_len => {
                plain.clear();
                plain.extend_from_slice(coded);
                Ok(())
            }
            Codec::Raw => Err(corrupt(format!("{} raw bytes instead of {plain_len}", coded.len()))),
            Codec::Zstd => {
                let frame = zstd::zstd_safe::find_frame_compressed_size(coded)
                    .map_err(|code| corrupt(get_error_name(code).to_owned()))?;
                if frame != coded.len() {
                    return Err(corrupt(format!("{} bytes after the frame", coded.len() - frame)));
                }
                if get_frame_content_size(coded).ok().flatten() != Some(plain_len as u64) {
                    return Err(corrupt(format!("the frame does not say that it holds {plain_len} bytes")));
                }
                plain.clear();
                plain.reserve_exact(plain_len);
                let len = self
                    .context
                    .decompress_to_buffer(coded, plain)
                    .map_err(|error| corrupt(error.to_string()))?;
                if len != plain_len {
                    return Err(corrupt(format!("{len} bytes came out instead of {plain_len}")));
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(level: Level, plain: &[u8]) -> (Codec, usize) {
        let mut compressor = Compressor::new(level).unwrap();
        let (codec, coded) = compressor.code(plain, &Stream::default()).unwrap();
        let mut back = Vec::new();
        Decompressor::new().unwrap().decode(codec, coded, plain.len(), &mut back).unwrap();
        assert_eq!(back, plain);
        (codec, coded.len())
    }

    #[test]
    fn text_shrinks_and_noise_stays_as_it_is() {
        let text = b"the same line again and again\n".repeat(10_000);
        assert_eq!(round_trip(Level::Zstd(3), &text).0, Codec::Zstd);
        assert_eq!(round_trip(Level::Off, &text), (Codec::Raw, text.len()));
        let mut noise = vec![0; 300_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(round_trip(Level::Zstd(3), &noise), (Codec::Raw, noise.len()));
        for level in [Level::Auto, Level::Zstd(1), Level::Zstd(19), Level::Zstd(22)] {
            assert_eq!(round_trip(level, &text).0, Codec::Zstd);
        }
    }

    #[test]
    fn what_has_no_repetitions_but_few_symbols_shrinks() {
        let mut noise = vec![0; 300_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let (codec, len) = round_trip(Level::Zstd(3), crate::id::to_hex(&noise).as_bytes());
        assert!(codec == Codec::Zstd && len < 330_000, "{codec:?}, {len} bytes for 600,000 digits");
    }

    /// Lines of a table: short words of their own and much that repeats.
    fn rows(from: u64, lines: u64) -> Vec<u8> {
        let row = |n: u64| {
            let noise = crate::id::to_hex(&blake3::hash(&n.to_le_bytes()).as_bytes()[..9]);
            format!("INSERT INTO t VALUES ({n}, 'customer', '{noise}', NULL);\n")
        };
        (from..from + lines).map(row).collect::<String>().into_bytes()
    }

    #[test]
    fn auto_is_level_3_until_level_1_proves_as_good_and_then_level_1() {
        let blocks: Vec<_> = (0..20).map(|n| rows(n * 10_000, 8000)).collect();
        let coded = |level, plain: &[u8], stream: &Stream| {
            Compressor::new(level).unwrap().code(plain, stream).unwrap().1.to_vec()
        };
        let alone = |level, plain: &[u8]| coded(Level::Zstd(level), plain, &Stream::default());
        let stream = Stream::default();
        for (n, plain) in blocks.iter().enumerate() {
            let auto = coded(Level::Auto, plain, &stream);
            let [fast, full] = [alone(1, plain), alone(3, plain)];
            assert!(full.len() > fast.len() - fast.len() / 64 && fast != full, "vain here");
            let both = if fast.len() < full.len() { &fast } else { &full };
            let expected = if n < 4 {
                &full
            } else if n < 6 {
                both
            } else {
                &fast
            };
            assert!(n == 14 || auto == *expected, "block {n}");
            assert_eq!(coded(Level::Zstd(3), plain, &stream), full, "a chosen level stays");
        }
    }

    #[test]
    fn a_frame_must_hold_exactly_what_is_expected() {
        let plain = vec![7; 100_000];
        let mut compressor = Compressor::new(Level::Zstd(3)).unwrap();
        let coded = compressor.code(&plain, &Stream::default()).unwrap().1.to_vec();
        let mut decompressor = Decompressor::new().unwrap();
        let mut decode = |coded: &[u8], len| decompressor.decode(Codec::Zstd, coded, len, &mut Vec::new());
        assert!(decode(&coded, plain.len()).is_ok());
        assert!(decode(&coded, plain.len() - 1).is_err());
        assert!(decode(&coded, plain.len() + 1).is_err());
        assert!(decode(&coded[..coded.len() - 1], plain.len()).is_err());
        assert!(decode(&[&coded[..], &[0]].concat(), plain.len()).is_err());
        assert!(decode(&[&coded[..], &coded[..]].concat(), plain.len() * 2).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_round_trip(plain in proptest::collection::vec(any::<u8>(), 0..3000), level in 1..6) {
            round_trip(Level::Zstd(level), &plain);
        }

        #[test]
        fn hostile_frames_are_refused_without_harm(coded in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut plain = Vec::new();
            let _ = Decompressor::new().unwrap().decode(Codec::Zstd, &coded, 1000, &mut plain);
            prop_assert!(plain.len() <= 1000);
        }
    }
}
