//! Opens directories and blocks of stored packs. Works on bytes; who fetches them is another floor's business.

use super::builder::block_extra;
use super::{Directory, PackKind};
use crate::compress::{Codec, Decompressor};
use crate::crypto::CryptoError;
use crate::crypto::capsule;
use crate::crypto::exchange::Ephemeral;
use crate::crypto::header::Header;
use crate::crypto::keyring::Keyring;
use crate::crypto::seal::{Domain, ObjectKey};
use crate::error::Corrupt;
use crate::format::{HEADER_LEN, MAX_PACK_DIRECTORY, PACK_END, PACK_TRAILER_LEN, TAG_LEN};

/// The key of one stored pack.
#[derive(Clone)]
pub struct PackKey {
    key: ObjectKey,
}

impl PackKey {
    /// Makes the key from the pack's first 80 bytes.
    pub fn open(keyring: &Keyring, header: &[u8], kind: PackKind) -> Result<Self, CryptoError> {
        Ok(Self { key: keyring.opener(Header::parse(header, &[kind.object()])?)? })
    }

    /// Makes the key of a pack that was just sealed, also where nobody but its writer of this moment could.
    pub(super) fn reopen(
        keyring: &Keyring,
        header: &[u8],
        kind: PackKind,
        forgotten: Option<&Ephemeral>,
    ) -> Result<Self, CryptoError> {
        Ok(Self { key: keyring.reopener(Header::parse(header, &[kind.object()])?, forgotten)? })
    }

    /// Makes the key of a pack of whatever kind, and says which.
    pub fn open_any(keyring: &Keyring, header: &[u8]) -> Result<(Self, PackKind), CryptoError> {
        let header = Header::parse(header, &super::builder::PACK_OBJECTS)?;
        let kind = PackKind::from_code(header.kind().code())
            .ok_or_else(|| Corrupt::new("object header", "not a pack"))?;
        Ok((Self { key: keyring.opener(header)? }, kind))
    }

    /// Reads the sealed directory's length from the last 28 bytes of a pack of `pack_len` bytes.
    pub fn directory_len(&self, trailer: &[u8], pack_len: u64) -> Result<u64, CryptoError> {
        let corrupt = |wrong: &str| {
            let at = pack_len.saturating_sub(PACK_TRAILER_LEN as u64);
            CryptoError::from(Corrupt::new("pack trailer", wrong).at(at))
        };
        let trailer: &[u8; PACK_TRAILER_LEN] =
            trailer.try_into().map_err(|_| corrupt("it is not 28 bytes long"))?;
        if trailer[20..] != PACK_END {
            return Err(corrupt("the pack does not end as packs do: truncated or extended"));
        }
        let mut sealed = trailer[..20].to_vec();
        let plain = self.key.unseal(Domain::Trailer, 0, &[], &mut sealed)?;
        let len = plain.first_chunk::<4>().map_or(0, |len| u64::from(u32::from_le_bytes(*len)));
        let most = pack_len.saturating_sub((HEADER_LEN + PACK_TRAILER_LEN) as u64);
        if len < TAG_LEN as u64 || len > most {
            return Err(corrupt("the directory's length does not fit the pack's"));
        }
        Ok(len)
    }

    /// Opens the sealed directory of a pack of `pack_len` bytes.
    pub fn directory(&self, sealed: &mut [u8], pack_len: u64) -> Result<Directory, CryptoError> {
        let sealed_len = (sealed.len() as u32).to_le_bytes();
        let place = pack_len.saturating_sub(PACK_TRAILER_LEN as u64 + sealed.len() as u64);
        let capsule = self.key.unseal(Domain::Directory, 0, &sealed_len, sealed)?;
        let plain = capsule::empty(capsule, MAX_PACK_DIRECTORY, "pack directory")?;
        let directory = Directory::decode(&plain)?;
        if directory.blocks_end() != place {
            let wrong = format!("its blocks end at byte {}, it begins at {place}", directory.blocks_end());
            return Err(Corrupt::new("pack directory", wrong).into());
        }
        Ok(directory)
    }

    /// Opens the directory of a whole pack in memory.
    pub fn directory_of(&self, pack: &[u8]) -> Result<Directory, CryptoError> {
        let trailer_at = pack.len().saturating_sub(PACK_TRAILER_LEN);
        let len = self.directory_len(&pack[trailer_at..], pack.len() as u64)? as usize;
        let mut sealed = pack[trailer_at - len..trailer_at].to_vec();
        self.directory(&mut sealed, pack.len() as u64)
    }
}

/// Opens blocks one after another, reusing its buffers.
pub struct BlockReader {
    decompressor: Decompressor,
    /// A block as it is sealed, and then as it is coded.
    held: Vec<u8>,
    plain: Vec<u8>,
}

impl BlockReader {
    /// Makes a reader; it holds at most one block, sealed and plain.
    pub fn new() -> Result<Self, CryptoError> {
        let decompressor = Decompressor::new().map_err(|error| CryptoError::Internal(error.to_string()))?;
        Ok(Self { decompressor, held: Vec::new(), plain: Vec::new() })
    }

    /// Opens block `number` of a pack and returns its plaintext. Ids are the caller's to check.
    pub fn open(
        &mut self,
        key: &PackKey,
        number: u32,
        codec: Codec,
        plain_len: u32,
        sealed: &[u8],
    ) -> Result<&[u8], CryptoError> {
        self.held.clear();
        self.held.extend_from_slice(sealed);
        self.open_held(key, number, codec, plain_len)
    }

    /// The same for a caller who needs the sealed bytes no more: they are opened where they are.
    pub fn open_owned(
        &mut self,
        key: &PackKey,
        number: u32,
        codec: Codec,
        plain_len: u32,
        sealed: Vec<u8>,
    ) -> Result<&[u8], CryptoError> {
        self.held = sealed;
        self.open_held(key, number, codec, plain_len)
    }

    /// Returns the coded bytes of the block that was opened last, as they were before they were sealed.
    pub(crate) fn take_coded(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn open_held(
        &mut self,
        key: &PackKey,
        number: u32,
        codec: Codec,
        plain_len: u32,
    ) -> Result<&[u8], CryptoError> {
        let extra = block_extra(codec, plain_len);
        let len = key.key.unseal(Domain::Block, number.into(), &extra, &mut self.held)?.len();
        self.held.truncate(len);
        if codec == Codec::Raw && len == plain_len as usize {
            return Ok(&self.held);
        }
        self.plain.clear();
        self.decompressor.decode(codec, &self.held, plain_len as usize, &mut self.plain)?;
        Ok(&self.plain)
    }
}
