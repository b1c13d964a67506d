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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::{Compressor, Level, Stream};
    use crate::crypto::roots::Bundle;
    use crate::id::{RepoId, SessionId};
    use crate::pack::builder::{BuiltPack, CodedBlock, PackBuilder};
    use crate::pack::{Block, Chunk};

    /// A pack of two blocks, the first of which was compressed, and what they hold.
    fn pack(keyring: &Keyring, kind: PackKind) -> (BuiltPack, [Vec<u8>; 2]) {
        let mut noise = vec![0; 5000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let plain = [b"the same line again and again\n".repeat(200), noise];
        let (namer, chunks) = (keyring.namer().unwrap(), kind.chunks());
        let mut builder = PackBuilder::new(kind, 1 << 20);
        assert!(builder.is_empty() && builder.kind() == kind);
        for plain in &plain {
            let named = |bytes: &[u8]| Chunk { id: namer.name(chunks, bytes), len: bytes.len() as u32 };
            let chunks = plain.chunks(1000).map(named).collect::<Vec<_>>();
            let mut compressor = Compressor::new(Level::Zstd(3)).unwrap();
            let block =
                CodedBlock::code(plain.clone(), chunks.clone(), &mut compressor, &Stream::default()).unwrap();
            assert_eq!(block.chunks(), chunks);
            builder.push(block);
            assert!(!builder.is_empty());
        }
        (builder.finish(keyring, &namer, SessionId::from_bytes([2; 16])).unwrap(), plain)
    }

    fn keyring() -> Keyring {
        Keyring::new(RepoId::from_bytes([1; 16]), Bundle::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_pack_opens_as_what_it_is_and_as_nothing_else() {
        let keyring = keyring();
        for kind in PackKind::ALL {
            let (pack, plain) = pack(&keyring, kind);
            let len = pack.bytes.len() as u64;
            let (key, found) = PackKey::open_any(&keyring, &pack.bytes).unwrap();
            assert_eq!(found, kind);
            for other in PackKind::ALL {
                assert_eq!(PackKey::open(&keyring, &pack.bytes, other).is_ok(), other == kind);
            }
            let directory = key.directory_of(&pack.bytes).unwrap();
            assert_eq!(directory, pack.directory);
            assert_eq!(
                directory.blocks().iter().map(|block| block.codec).collect::<Vec<_>>(),
                [Codec::Zstd, Codec::Raw]
            );
            assert_eq!(directory.chunks().len(), 11);
            let mut reader = BlockReader::new().unwrap();
            for (number, block) in directory.blocks().iter().enumerate() {
                let range = directory.range_of(number).unwrap();
                let sealed = &pack.bytes[range.start as usize..range.end as usize];
                let Block { codec, plain_len, .. } = *block;
                let number = number as u32;
                assert!(
                    reader.open(&key, number, codec, plain_len, sealed).unwrap() == plain[number as usize]
                );
                // The seal binds the place, the coding and the length.
                assert!(reader.open(&key, number + 1, codec, plain_len, sealed).is_err());
                assert!(reader.open(&key, number, codec, plain_len + 1, sealed).is_err());
            }
            assert_eq!(directory.range_of(2), None);
            assert_eq!((directory.chunks_of(0).len(), directory.chunks_of(1).len()), (6, 5));
            assert_eq!(directory.chunks_of(2), []);
            // The directory must begin where the blocks end.
            let at = directory.blocks_end() as usize;
            let mut sealed = pack.bytes[at..pack.bytes.len() - PACK_TRAILER_LEN].to_vec();
            assert_eq!(key.directory(&mut sealed.clone(), len).unwrap(), directory);
            let error = key.directory(&mut sealed, len + 1).unwrap_err();
            assert!(error.to_string().contains(&format!("it begins at {}", at + 1)), "{error}");
        }
    }

    #[test]
    fn a_trailer_says_no_more_than_there_is() {
        let keyring = keyring();
        let (pack, _) = pack(&keyring, PackKind::Data);
        let key = PackKey::open(&keyring, &pack.bytes, PackKind::Data).unwrap();
        let len = pack.bytes.len() as u64;
        let there = pack.bytes.last_chunk::<PACK_TRAILER_LEN>().unwrap();
        let directory_len = len - PACK_TRAILER_LEN as u64 - pack.directory.blocks_end();
        assert_eq!(key.directory_len(there, len).unwrap(), directory_len);
        // A directory of all that is left around it, and one byte more than that.
        let around = (HEADER_LEN + PACK_TRAILER_LEN) as u64;
        let least = directory_len + around;
        assert_eq!(key.directory_len(there, least).unwrap(), directory_len);
        let wrong = |trailer: &[u8], len| key.directory_len(trailer, len).unwrap_err().to_string();
        assert!(wrong(there, least - 1).contains("does not fit"));
        assert!(wrong(&there[1..], len).contains("not 28 bytes long"));
        let mut other_end = *there;
        other_end[27] ^= 1;
        assert!(wrong(&other_end, len).contains("does not end as packs do"));
        assert!(wrong(&other_end, len).contains(&(len - 28).to_string()), "where it is");

        // Shorter than a seal no directory is.
        let sealed = |claimed: u32| {
            let mut trailer = claimed.to_le_bytes().to_vec();
            key.key.seal_from(0, Domain::Trailer, 0, &[], &mut trailer).unwrap();
            trailer.extend_from_slice(&PACK_END);
            trailer
        };
        assert_eq!(key.directory_len(&sealed(16), len).unwrap(), 16);
        for claimed in [0, 15] {
            assert!(wrong(&sealed(claimed), len).contains("does not fit"));
        }
    }

    #[test]
    fn a_block_is_what_its_codec_makes_of_it() {
        let keyring = keyring();
        let (pack, plain) = pack(&keyring, PackKind::Data);
        let key = PackKey::open(&keyring, &pack.bytes, PackKind::Data).unwrap();
        let mut reader = BlockReader::new().unwrap();
        let mut open = |codec: Codec, plain_len: usize, coded: &[u8]| {
            let (plain_len, mut sealed) = (plain_len as u32, coded.to_vec());
            key.key.seal_from(0, Domain::Block, 0, &block_extra(codec, plain_len), &mut sealed).unwrap();
            reader.open(&key, 0, codec, plain_len, &sealed).map(<[u8]>::to_vec)
        };
        assert_eq!(open(Codec::Raw, 5000, &plain[1]).unwrap(), plain[1]);
        // Whoever may seal may lie: what is no frame is not taken for one, whatever its length.
        assert!(open(Codec::Zstd, 5000, &plain[1]).is_err());
        for len in [4999, 5001] {
            assert!(open(Codec::Raw, len, &plain[1]).is_err());
        }
    }

    #[test]
    fn other_objects_are_no_packs() {
        let keyring = keyring();
        let (pack, _) = pack(&keyring, PackKind::Listing);
        for code in [1, 2, 6] {
            let mut bytes = pack.bytes.clone();
            bytes[7] = code;
            assert!(PackKey::open_any(&keyring, &bytes).is_err());
        }
        assert!(PackKey::open_any(&keyring, &pack.bytes[..HEADER_LEN - 1]).is_err());
    }
}
