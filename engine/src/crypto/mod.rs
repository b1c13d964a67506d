//! Keys and seals: passphrase → wrapping key → roots → one key per object. Normative: `FORMAT.md` 3 and 4.
//!
//! - [`roots`]: the independent random roots and the bundle a slot wraps.
//! - [`slot`]: a bundle sealed under a passphrase (Argon2id, RFC 9106) or a key file.
//! - [`keyring`]: what the roots of one repository are used for; one derived key per use.
//! - `exchange`: keys of objects whose writer cannot read (X25519, RFC 7748).
//! - [`paper`]: keys as text that a person types or scans back.
//! - [`header`]: the 80 bytes before every sealed object.
//! - [`seal`]: ChaCha20-Poly1305 (RFC 8439) with a key per object, a committed key, and associated data.
//! - `wrap`: the roots of a later epoch, sealed to a slot.
//! - [`capsule`]: compressed, length-hiding bodies inside a seal.

pub mod capsule;
pub(crate) mod exchange;
pub mod header;
pub mod keyring;
pub mod paper;
pub mod roots;
pub mod seal;
pub mod slot;
pub(crate) mod wrap;

use crate::error::{Corrupt, Kind};
use zeroize::Zeroizing;

/// A secret of 32 bytes, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// Damaged, forged, or sealed for something else.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The slot does not open with this passphrase or key file.
    #[error("wrong passphrase or key file")]
    WrongKey,
    /// Written in a format that this build does not know.
    #[error("{0} needs a newer dedup: {1}")]
    TooNew(String, String),
    /// The key in use does not hold the root that this needs.
    #[error("this key does not open {0}")]
    NotEntitled(&'static str),
    /// A parameter is outside its limits.
    #[error("{0}")]
    Refused(String),
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// Compression or key derivation failed for want of memory or by a fault of the library.
    #[error("{0}")]
    Internal(String),
}

impl CryptoError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Corrupt(_) => Kind::Integrity,
            Self::WrongKey => Kind::WrongKey,
            Self::TooNew(..) => Kind::TooNew,
            Self::NotEntitled(_) | Self::Refused(_) => Kind::Refused,
            Self::Random(_) => Kind::Io,
            Self::Internal(_) => Kind::Internal,
        }
    }
}

/// Returns `N` random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(CryptoError::Random)?;
    Ok(bytes)
}

/// Derives a key for one use: BLAKE3 `derive_key`; `context` must be a constant of the format.
pub(crate) fn derive(context: &str, material: &[u8]) -> Secret {
    Zeroizing::new(blake3::derive_key(context, material))
}
