//! What benches measure and the public interface does not show. Only with the feature `testing`.

use crate::chunker::{ChunkSizes, Chunker};
use crate::crypto::CryptoError;
use crate::crypto::keyring::{Keyring, Namer};
use crate::id::SessionId;
use crate::pack::builder::{BuiltPack, PackBuilder};

/// Returns the chunker of a repository with these keys; the sizes must be sound.
pub fn chunker(keyring: &Keyring, sizes: ChunkSizes) -> Result<Chunker, CryptoError> {
    Ok(Chunker::new(sizes, keyring.gear()?))
}

/// Returns what names the chunks of a repository with these keys.
pub fn namer(keyring: &Keyring) -> Result<Namer, CryptoError> {
    keyring.namer()
}

/// Seals a pack without opening it again: what [`PackBuilder::finish`] does before it verifies.
pub fn seal_unverified(
    pack: PackBuilder,
    keyring: &Keyring,
    session: SessionId,
) -> Result<BuiltPack, CryptoError> {
    pack.seal(keyring, session)
}
