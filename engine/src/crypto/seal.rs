//! Sealing and opening: ChaCha20-Poly1305 with one key per object. Normative: `FORMAT.md` 3.
//!
//! An [`ObjectKey`] seals each (domain, counter) at most once, and its salt was drawn when everything
//! to be sealed was fixed (see [`Keyring::sealer`](super::keyring::Keyring::sealer)).

use super::exchange::Ephemeral;
use super::header::{Header, ObjectKind};
use super::roots::Bundle;
use super::{CryptoError, Secret};
use crate::error::Corrupt;
use crate::format::TAG_LEN;
use crate::id::RepoId;
use crate::planted::{Bug, planted};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use zeroize::Zeroizing;

/// What a nonce is for; keeps the parts of one object apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Block of a pack; the counter is its number.
    Block,
    /// Directory of a pack.
    Directory,
    /// Body of any other object.
    Body,
    /// Trailer of a pack.
    Trailer,
}

impl Domain {
    fn nonce(self, counter: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[0] = match self {
            Self::Block => 0,
            Self::Directory => 1,
            Self::Body => 2,
            Self::Trailer => 3,
        };
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        nonce
    }
}

/// The key of one object, with all that its seals are bound to.
#[derive(Clone)]
pub struct ObjectKey {
    cipher: ChaCha20Poly1305,
    header: Header,
    repo: RepoId,
    /// What opens it again, where the roots do not; gone with the writer.
    forgotten: Option<Ephemeral>,
}

/// Derives key and commitment of an object from its kind's key and the header's first 48 bytes.
pub(super) fn derive_object(kind_key: &Secret, repo: RepoId, header: &Header) -> Zeroizing<[u8; 64]> {
    let mut okm = Zeroizing::new([0; 64]);
    blake3::Hasher::new_keyed(kind_key)
        .update(repo.as_bytes())
        .update(header.prefix())
        .update(header.salt())
        .finalize_xof()
        .fill(&mut okm[..]);
    okm
}

impl ObjectKey {
    /// Makes the key for a new object and completes its header.
    pub(super) fn create(kind_key: &Secret, repo: RepoId, mut header: Header) -> Self {
        let okm = derive_object(kind_key, repo, &header);
        let (key, commitment) = okm.split_at(32);
        header.commit(commitment.try_into().unwrap_or(&[0; 32]));
        Self { cipher: cipher(key), header, repo, forgotten: None }
    }

    /// Makes the key of a stored object, if its header is committed to that key.
    pub(super) fn open(kind_key: &Secret, repo: RepoId, header: Header) -> Result<Self, CryptoError> {
        let okm = derive_object(kind_key, repo, &header);
        let (key, commitment) = okm.split_at(32);
        if !equal(commitment, header.commitment()) {
            let wrong = "not sealed with this repository's keys, or its header is damaged";
            return Err(Corrupt::new(header.kind().word(), wrong).at(0).into());
        }
        Ok(Self { cipher: cipher(key), header, repo, forgotten: None })
    }

    /// Keeps what makes the key anew, for as long as the object is being written.
    pub(super) fn forgetting(self, ephemeral: Ephemeral) -> Self {
        Self { forgotten: Some(ephemeral), ..self }
    }

    /// Returns what makes the key anew, where the roots do not.
    pub(crate) fn forgotten(&self) -> Option<&Ephemeral> {
        self.forgotten.as_ref()
    }

    /// Returns the object's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns what the object is.
    pub fn kind(&self) -> ObjectKind {
        self.header.kind()
    }

    /// Seals what stands in `data` from `start` on, in place, and appends the tag.
    pub(crate) fn seal_from(
        &self,
        start: usize,
        domain: Domain,
        counter: u64,
        extra: &[u8],
        data: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let nonce = domain.nonce(counter);
        let aad = self.associated(&nonce, extra);
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(nonce), &aad, (&mut data[start..]).into())
            .map_err(|_| CryptoError::Internal("more data than one seal may hold".into()))?;
        data.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens `sealed` in place and returns the part before the tag.
    pub(crate) fn unseal<'a>(
        &self,
        domain: Domain,
        counter: u64,
        extra: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        let corrupt = |wrong: &str| CryptoError::from(Corrupt::new(self.kind().word(), wrong));
        let Some(len) = sealed.len().checked_sub(TAG_LEN) else {
            return Err(corrupt("too short for a seal"));
        };
        let (data, tag) = sealed.split_at_mut(len);
        let tag = Tag::try_from(&*tag).map_err(|_| corrupt("too short for a seal"))?;
        let nonce = domain.nonce(counter);
        let aad = self.associated(&nonce, extra);
        self.cipher
            .decrypt_inout_detached(&Nonce::from(nonce), &aad, (&mut *data).into(), &tag)
            .map_err(|_| corrupt("the seal is broken: damaged or forged"))?;
        Ok(data)
    }

    fn associated(&self, nonce: &[u8; 12], extra: &[u8]) -> Vec<u8> {
        let extra = if planted(Bug::IgnoreAssociatedData) { &[] } else { extra };
        [self.repo.as_bytes(), &self.header.bytes()[..], nonce, extra].concat()
    }
}

/// Seals a bundle under a key that seals nothing else, so that the nonce may be zero; returns it with its tag.
pub(super) fn seal_bundle(key: &[u8], associated: &[u8], bundle: &Bundle) -> Result<Vec<u8>, CryptoError> {
    let mut sealed = bundle.encode();
    let tag = cipher(key)
        .encrypt_inout_detached(&Nonce::default(), associated, sealed.as_mut_slice().into())
        .map_err(|_| CryptoError::Internal("a bundle is too long to seal".into()))?;
    Ok([&sealed[..], &tag[..]].concat())
}

/// Opens what [`seal_bundle`] sealed; `broken` says what is damaged or forged otherwise.
pub(super) fn open_bundle(
    key: &[u8],
    associated: &[u8],
    sealed: &[u8],
    broken: impl Fn() -> Corrupt,
) -> Result<Bundle, CryptoError> {
    let (data, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or_else(&broken)?;
    let mut plain = Zeroizing::new(data.to_vec());
    cipher(key)
        .decrypt_inout_detached(&Nonce::default(), associated, plain.as_mut_slice().into(), &Tag::from(*tag))
        .map_err(|_| broken())?;
    Ok(Bundle::decode(&plain)?)
}

fn cipher(key: &[u8]) -> ChaCha20Poly1305 {
    let mut fixed = Zeroizing::new([0; 32]);
    fixed.copy_from_slice(key);
    ChaCha20Poly1305::new(&(*fixed).into())
}

/// Compares in constant time.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    match (<&[u8; 32]>::try_from(a), <&[u8; 32]>::try_from(b)) {
        // BLAKE3's hash compares in constant time.
        (Ok(a), Ok(b)) => blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b),
        _ => false,
    }
}
