//! Capsules: what stands inside the seal of a body or directory. Normative: `FORMAT.md` 3.
//!
//! ```text
//! codec u8 | plain length u32 | coded length u32 | coded bytes | zeros
//! ```
//!
//! The lengths are inside, and the zeros bring the object to a Padmé length, so its size tells little.

use super::CryptoError;
use super::seal::{Domain, ObjectKey};
use crate::compress::{Codec, Compressor, Decompressor, Level, Stream};
use crate::error::Corrupt;
use crate::format::{HEADER_LEN, TAG_LEN};
use crate::wire::{Put, Reader};
use std::cell::RefCell;

const PREFIX_LEN: usize = 9;

/// Returns the Padmé length of an object of `len` bytes (Nikitin et al., PETS 2019): at most 12 % more.
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1u64 << (exponent - significant)) - 1;
    len.saturating_add(mask) & !mask
}

/// Returns the capsule of `plain`, without padding, compressed where that is shorter.
pub(crate) fn fill(plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let internal = |error: std::io::Error| CryptoError::Internal(error.to_string());
    let plain_len =
        u32::try_from(plain.len()).map_err(|_| CryptoError::Refused("a body of more than 4 GiB".into()))?;
    let mut compressor = Compressor::new(Level::Zstd(3)).map_err(internal)?;
    let (codec, coded) = compressor.code(plain, &Stream::default()).map_err(internal)?;
    let mut capsule = Vec::with_capacity(PREFIX_LEN + coded.len() + coded.len() / 8 + TAG_LEN);
    capsule.put_u8(codec.code());
    capsule.put_u32(plain_len);
    capsule.put_u32(coded.len() as u32);
    capsule.put(coded);
    Ok(capsule)
}

/// Pads a capsule so that `around` bytes (header, tag and the like) and the capsule have a Padmé length.
pub(crate) fn pad(capsule: &mut Vec<u8>, around: u64) {
    let len = padme(around + capsule.len() as u64) - around;
    capsule.resize(len as usize, 0);
}

/// Reads an opened capsule whose plaintext must not exceed `max` bytes.
pub(crate) fn empty(capsule: &[u8], max: u32, what: &'static str) -> Result<Vec<u8>, CryptoError> {
    let mut reader = Reader::new(what, capsule);
    let code = reader.u8()?;
    let codec = Codec::from_code(code)
        .ok_or_else(|| CryptoError::TooNew(what.into(), format!("codec {code} is unknown")))?;
    let plain_len = reader.u32()?;
    if plain_len > max {
        return Err(reader.corrupt(format!("{plain_len} bytes, at most {max} are allowed")).into());
    }
    let coded_len = reader.u32()?;
    let coded = reader.take(coded_len as usize)?;
    reader.zeros(reader.left())?;
    let mut plain = Vec::new();
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => {
                kept.insert(Decompressor::new().map_err(|error| CryptoError::Internal(error.to_string()))?)
            }
        };
        decompressor
            .decode(codec, coded, plain_len as usize, &mut plain)
            .map_err(|corrupt| CryptoError::from(corrupt.within(what)))
    })?;
    Ok(plain)
}

thread_local! {
    /// Kept, since to make one took longer than all else that opening a small object takes.
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// Completes an object that has one body: header ‖ sealed capsule.
///
/// `between` stands in clear after the header (the configuration's repository id; empty elsewhere);
/// `extra` is the object's name, or empty where the name is a hash.
pub(crate) fn seal_object(
    key: &ObjectKey,
    between: &[u8],
    capsule: Vec<u8>,
    extra: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut object = [&key.header().bytes()[..], between, &capsule].concat();
    let len = padme((object.len() + TAG_LEN) as u64) as usize - TAG_LEN;
    object.resize(len, 0);
    key.seal_from(HEADER_LEN + between.len(), Domain::Body, 0, extra, &mut object)?;
    Ok(object)
}

/// Opens what follows the header (and `between`) of an object that has one body.
pub(crate) fn open_object(
    key: &ObjectKey,
    sealed: &mut [u8],
    extra: &[u8],
    max: u32,
) -> Result<Vec<u8>, CryptoError> {
    let capsule = key.unseal(Domain::Body, 0, extra, sealed)?;
    empty(capsule, max, key.kind().word())
}

/// Returns the plain length limit's error for writers, so that nothing unreadable is ever stored.
pub(crate) fn check_len(plain: &[u8], max: u32, what: &'static str) -> Result<(), CryptoError> {
    if plain.len() > max as usize {
        let wrong = format!("would have {} bytes, at most {max} are allowed", plain.len());
        return Err(CryptoError::Refused(Corrupt::new(what, wrong).to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn padme_matches_the_paper() {
        for (len, padded) in [(0, 0), (1, 1), (8, 8), (9, 10), (100, 104), (1000, 1024), (1 << 20, 1 << 20)] {
            assert_eq!(padme(len), padded, "{len}");
        }
    }

    proptest! {
        #[test]
        fn padme_adds_at_most_an_eighth_and_is_stable(len in 2u64..1 << 40) {
            let padded = padme(len);
            prop_assert!(padded >= len && padded - len <= len / 8 + 1);
            prop_assert_eq!(padme(padded), padded);
        }

        #[test]
        fn capsules_round_trip_within_their_limit(plain in proptest::collection::vec(any::<u8>(), 0..5000), around in 0u64..200) {
            let mut capsule = fill(&plain).unwrap();
            pad(&mut capsule, around);
            prop_assert_eq!(padme(around + capsule.len() as u64), around + capsule.len() as u64);
            prop_assert_eq!(empty(&capsule, plain.len() as u32, "test").unwrap(), plain.clone());
            if !plain.is_empty() {
                prop_assert!(empty(&capsule, plain.len() as u32 - 1, "test").is_err());
            }
        }
    }
}
