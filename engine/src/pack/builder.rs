//! Gathers coded blocks until a pack is full, then seals everything at once.
//!
//! Sealing waits for the end because the salt must depend on all that is sealed under it (`FORMAT.md` 3).
//! A finished pack has been opened again and its chunks re-hashed: what a flipped bit in memory or a
//! fault in the compressor damaged is found before anything is stored.

use super::reader::{BlockReader, PackKey};
use super::{Chunk, Directory, PackKind};
use crate::compress::{Codec, Compressor, Stream};
use crate::crypto::capsule::{self, padme};
use crate::crypto::exchange::Ephemeral;
use crate::crypto::keyring::{Keyring, Namer};
use crate::crypto::seal::Domain;
use crate::crypto::{CryptoError, header::ObjectKind};
use crate::error::Corrupt;
use crate::format::{
    HEADER_LEN, MAX_BLOCKS_PER_PACK, MAX_CHUNKS_PER_PACK, PACK_END, PACK_TRAILER_LEN, TAG_LEN,
};
use crate::id::{ObjectId, SessionId};
use crate::planted::{Bug, planted};
use std::io;

/// A block that is compressed (or left raw) and not yet sealed.
#[derive(Debug)]
pub struct CodedBlock {
    codec: Codec,
    coded: Vec<u8>,
    chunks: Vec<Chunk>,
}

impl CodedBlock {
    /// Codes the plaintext of `chunks`, which lie in `plain` one after another.
    ///
    /// What does not shrink keeps its buffer: copying costs about as much as sealing here.
    pub fn code(
        plain: Vec<u8>,
        chunks: Vec<Chunk>,
        compressor: &mut Compressor,
        stream: &Stream,
    ) -> io::Result<Self> {
        debug_assert_eq!(plain.len() as u64, chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>());
        let shorter = match compressor.code(&plain, stream)? {
            (Codec::Zstd, coded) => Some(coded.to_vec()),
            (Codec::Raw, _) => None,
        };
        let codec = if shorter.is_some() { Codec::Zstd } else { Codec::Raw };
        Ok(Self { codec, coded: shorter.unwrap_or(plain), chunks })
    }

    /// Makes a block of bytes that were coded before, as a reader opened them and compared its `chunks` with their names.
    pub(crate) fn coded_before(codec: Codec, coded: Vec<u8>, chunks: Vec<Chunk>) -> Self {
        Self { codec, coded, chunks }
    }

    /// Returns the length it will have in the pack.
    pub fn sealed_len(&self) -> u64 {
        (self.coded.len() + TAG_LEN) as u64
    }

    /// Returns its bytes, to be changed by [`crate::tamper`].
    pub(crate) fn coded_mut(&mut self) -> &mut [u8] {
        &mut self.coded
    }

    /// Returns its chunks, to be changed by [`crate::tamper`].
    pub(crate) fn chunks_mut(&mut self) -> &mut [Chunk] {
        &mut self.chunks
    }

    /// Returns its chunks.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }
}

/// Blocks of one kind on their way into one pack.
#[derive(Debug)]
pub struct PackBuilder {
    kind: PackKind,
    target: u64,
    blocks: Vec<CodedBlock>,
    blocks_len: u64,
    chunks: usize,
}

/// A pack that is ready to be stored.
#[derive(Debug)]
pub struct BuiltPack {
    /// Its name: BLAKE3 of `bytes`.
    pub id: ObjectId,
    /// What it holds.
    pub kind: PackKind,
    /// The whole object.
    pub bytes: Vec<u8>,
    /// What lies where.
    pub directory: Directory,
    /// What opens it again if its writer cannot read.
    forgotten: Option<Ephemeral>,
}

impl BuiltPack {
    /// Returns the pack's header.
    pub fn header(&self) -> [u8; HEADER_LEN] {
        self.bytes.first_chunk().copied().unwrap_or([0; HEADER_LEN])
    }

    /// Opens the pack again and compares every chunk with its name.
    pub(crate) fn verify(&self, keyring: &Keyring, namer: &Namer) -> Result<(), CryptoError> {
        verify(self, keyring, namer)
    }
}

impl PackBuilder {
    /// Begins a pack of at most about `target` bytes.
    pub fn new(kind: PackKind, target: u64) -> Self {
        Self { kind, target, blocks: Vec::new(), blocks_len: 0, chunks: 0 }
    }

    /// Returns what the pack is to hold.
    pub fn kind(&self) -> PackKind {
        self.kind
    }

    /// Returns whether there is no block yet.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns whether `block` still belongs into this pack.
    ///
    /// A pack closes before it would pass its target; in its last quarter it closes as soon as little
    /// would be lost to padding (Padmé lengths are half a per cent to three per cent apart here).
    pub fn takes(&self, block: &CodedBlock) -> bool {
        if self.is_empty() {
            return true;
        }
        let len = self.estimate(0, 0);
        let fits = self.estimate(block.sealed_len(), block.chunks.len()) <= self.target
            && self.chunks + block.chunks.len() <= MAX_CHUNKS_PER_PACK
            && self.blocks.len() < MAX_BLOCKS_PER_PACK;
        let well_padded = len >= self.target / 4 * 3 && padme(len) - len <= len / 384;
        fits && !well_padded
    }

    /// Returns about how long the pack would be with so many bytes and chunks more.
    fn estimate(&self, more_bytes: u64, more_chunks: usize) -> u64 {
        let directory = 24 + (self.blocks.len() as u64 + 1) * 10 + (self.chunks + more_chunks) as u64 * 35;
        (HEADER_LEN + TAG_LEN + PACK_TRAILER_LEN) as u64 + self.blocks_len + more_bytes + directory
    }

    /// Appends a block; ask [`PackBuilder::takes`] first.
    pub fn push(&mut self, block: CodedBlock) {
        self.blocks_len += block.sealed_len();
        self.chunks += block.chunks.len();
        self.blocks.push(block);
    }

    /// Seals the pack, opens it again and re-hashes every chunk.
    pub fn finish(
        self,
        keyring: &Keyring,
        namer: &Namer,
        session: SessionId,
    ) -> Result<BuiltPack, CryptoError> {
        let pack = self.seal(keyring, session)?;
        if !planted(Bug::SkipReopening) {
            pack.verify(keyring, namer)?;
        }
        Ok(pack)
    }

    /// Seals the pack. What comes out was not opened again yet and must not be stored.
    pub(crate) fn seal(self, keyring: &Keyring, session: SessionId) -> Result<BuiltPack, CryptoError> {
        let mut directory = Directory::default();
        let mut digest = blake3::Hasher::new();
        for block in &self.blocks {
            directory.push(block.codec, block.sealed_len() as u32, &block.chunks);
            digest.update(&block.coded);
        }
        let mut capsule = capsule::fill(&directory.encode())?;
        digest.update(&capsule);
        let key = keyring.sealer(self.kind.object(), Some(session), &digest.finalize())?;

        let around = HEADER_LEN as u64 + self.blocks_len + (TAG_LEN + PACK_TRAILER_LEN) as u64;
        capsule::pad(&mut capsule, around);
        let mut bytes = Vec::with_capacity(around as usize + capsule.len());
        bytes.extend_from_slice(key.header().bytes());
        for (number, block) in self.blocks.into_iter().enumerate() {
            let start = bytes.len();
            bytes.extend_from_slice(&block.coded);
            let extra = block_extra(block.codec, block.chunks.iter().map(|chunk| chunk.len).sum());
            key.seal_from(start, Domain::Block, number as u64, &extra, &mut bytes)?;
        }
        let directory_len = ((capsule.len() + TAG_LEN) as u32).to_le_bytes();
        let start = bytes.len();
        bytes.extend_from_slice(&capsule);
        key.seal_from(start, Domain::Directory, 0, &directory_len, &mut bytes)?;
        let start = bytes.len();
        bytes.extend_from_slice(&directory_len);
        key.seal_from(start, Domain::Trailer, 0, &[], &mut bytes)?;
        bytes.extend_from_slice(&PACK_END);

        let id = ObjectId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let forgotten = key.forgotten().cloned();
        Ok(BuiltPack { id, kind: self.kind, bytes, directory, forgotten })
    }
}

/// Opens what was just sealed and compares every chunk with its name.
fn verify(pack: &BuiltPack, keyring: &Keyring, namer: &Namer) -> Result<(), CryptoError> {
    let BuiltPack { kind, bytes, directory, forgotten, .. } = pack;
    let faulty = |error: CryptoError| {
        let wrong = format!("what was just sealed does not open ({error}): faulty memory or processor");
        CryptoError::Corrupt(Corrupt::new(kind.object().word(), wrong))
    };
    let key = PackKey::reopen(keyring, bytes, *kind, forgotten.as_ref()).map_err(faulty)?;
    let stored = key.directory_of(bytes).map_err(faulty)?;
    if stored != *directory {
        return Err(faulty(Corrupt::new("directory", "it changed").into()));
    }
    let mut reader = BlockReader::new()?;
    for number in 0..directory.blocks().len() {
        let range = directory.range_of(number).unwrap_or_default();
        let sealed = &bytes[range.start as usize..range.end as usize];
        let block = &directory.blocks()[number];
        let plain = reader.open(&key, number as u32, block.codec, block.plain_len, sealed).map_err(faulty)?;
        let mut at = 0;
        for chunk in directory.chunks_of(number) {
            let end = at + chunk.len as usize;
            if namer.name(kind.chunks(), &plain[at..end]) != chunk.id {
                return Err(faulty(Corrupt::new("chunk", "it changed after it was named").into()));
            }
            at = end;
        }
    }
    Ok(())
}

/// What a block's seal is bound to beside its place: `codec ‖ plain length`.
pub(super) fn block_extra(codec: Codec, plain_len: u32) -> [u8; 5] {
    let len = plain_len.to_le_bytes();
    [codec.code(), len[0], len[1], len[2], len[3]]
}

/// The kinds of object that are packs.
pub(super) const PACK_OBJECTS: [ObjectKind; 3] =
    [ObjectKind::DataPack, ObjectKind::ListingPack, ObjectKind::SecretsPack];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Level;
    use crate::crypto::keyring::ChunkKind;
    use crate::crypto::roots::Bundle;
    use crate::id::RepoId;

    fn coded(namer: &Namer, plain: &[u8]) -> CodedBlock {
        let named = |bytes: &[u8]| Chunk { id: namer.name(ChunkKind::Data, bytes), len: bytes.len() as u32 };
        let chunks = plain.chunks(1000).map(named).collect();
        CodedBlock::code(
            plain.to_vec(),
            chunks,
            &mut Compressor::new(Level::Zstd(3)).unwrap(),
            &Stream::default(),
        )
        .unwrap()
    }

    /// A bit that flips in memory after chunks were named, before or after they were compressed, ends the run.
    #[test]
    fn a_pack_of_chunks_that_changed_after_they_were_named_is_never_finished() {
        let keyring = Keyring::new(RepoId::from_bytes([1; 16]), Bundle::generate().unwrap()).unwrap();
        let (namer, session) = (keyring.namer().unwrap(), SessionId::from_bytes([2; 16]));
        let mut noise = vec![0; 5000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for plain in [b"the same line again and again\n".repeat(200), noise] {
            let whole = coded(&namer, &plain);
            let bits = whole.coded.len() * 8;
            for bit in (0..bits).step_by(bits / 40).map(Some).chain([None]) {
                let mut block = coded(&namer, &plain);
                if let Some(bit) = bit {
                    block.coded_mut()[bit / 8] ^= 1 << (bit % 8);
                }
                let mut pack = PackBuilder::new(PackKind::Data, 1 << 20);
                pack.push(block);
                let finished = pack.finish(&keyring, &namer, session);
                match (bit, &whole.codec) {
                    (None, _) => drop(finished.unwrap()),
                    (Some(_), Codec::Raw) => drop(finished.unwrap_err()),
                    // A frame has bits that mean nothing; what comes out of it counts.
                    (Some(bit), Codec::Zstd) => {
                        let same = || decoded(&whole, bit, plain.len()) == Some(plain.clone());
                        assert!(finished.is_err() || same(), "bit {bit} goes unnoticed");
                    }
                }
            }
        }
    }

    #[test]
    fn a_seal_is_bound_to_coding_and_length() {
        assert_eq!(block_extra(Codec::Zstd, 0x0102_0304), [1, 4, 3, 2, 1]);
        assert_eq!(block_extra(Codec::Raw, 0xFFFE_FDFC), [0, 0xFC, 0xFD, 0xFE, 0xFF]);
    }

    /// A block of so many bytes and chunks, which is never opened.
    fn block(len: usize, chunks: usize) -> CodedBlock {
        let chunk = Chunk { id: crate::id::ChunkId::from_bytes([0; 32]), len: 1 };
        CodedBlock { codec: Codec::Raw, coded: vec![0; len], chunks: vec![chunk; chunks] }
    }

    /// A pack to which `blocks` were given, each of so many bytes and chunks.
    fn pack(target: u64, blocks: impl IntoIterator<Item = (usize, usize)>) -> PackBuilder {
        let mut pack = PackBuilder::new(PackKind::Data, target);
        blocks.into_iter().for_each(|(len, chunks)| pack.push(block(len, chunks)));
        pack
    }

    #[test]
    fn a_pack_takes_what_stays_within_its_limits_and_no_more() {
        assert!(pack(1, []).takes(&block(5000, 3)), "a block that is longer than packs has one of its own");
        let many = pack(1 << 30, [(100, MAX_CHUNKS_PER_PACK - 10)]);
        assert!(many.takes(&block(100, 10)) && !many.takes(&block(100, 11)), "chunks");
        let mut many = pack(1 << 30, vec![(1, 1); MAX_BLOCKS_PER_PACK - 1]);
        assert!(many.takes(&block(1, 1)), "blocks");
        many.push(block(1, 1));
        assert!(!many.takes(&block(1, 1)), "blocks");
        // 124 bytes around blocks and directory, 16 of a seal for each block; of the directory 24, 10 for each
        // block and 35 for each chunk.
        let len = 124 + (1000 + 16) + (500 + 16) + 24 + 2 * 10 + 3 * 35;
        assert!(pack(len, [(1000, 1)]).takes(&block(500, 2)), "its target");
        assert!(!pack(len - 1, [(1000, 1)]).takes(&block(500, 2)), "its target");
    }

    #[test]
    fn a_pack_ends_in_its_last_quarter_where_little_is_lost_to_padding() {
        let around = 124 + 16 + 24 + 2 * 10 + 35;
        let of = |len: u64, target| pack(target, [((len - around) as usize, 1)]);
        // Padmé lengths go in steps of 2^14 here, and 3 · 2^18 is one.
        let exact = 3 << 18;
        assert!(!of(exact, 1 << 20).takes(&block(1, 1)), "nothing is lost, and three quarters are there");
        assert!(of(exact, (1 << 20) + 4).takes(&block(1, 1)), "three quarters are not there yet");
        assert!(!of(exact - 2042, 1_000_000).takes(&block(1, 1)), "a 384th is lost");
        assert!(of(exact - 2043, 1_000_000).takes(&block(1, 1)), "more is lost");
    }

    #[test]
    fn a_finished_pack_is_no_longer_than_was_thought() {
        let keyring = Keyring::new(RepoId::from_bytes([1; 16]), Bundle::generate().unwrap()).unwrap();
        let namer = keyring.namer().unwrap();
        let mut noise = vec![0; 90_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let mut pack = PackBuilder::new(PackKind::Data, 1 << 20);
        for plain in noise.chunks(30_000) {
            pack.push(coded(&namer, plain));
        }
        let thought = pack.estimate(0, 0);
        let mut built = pack.finish(&keyring, &namer, SessionId::from_bytes([2; 16])).unwrap();
        assert!(built.bytes.len() as u64 <= padme(thought), "{} and {thought}", built.bytes.len());
        assert_eq!(built.header()[..], built.bytes[..HEADER_LEN]);
        assert_eq!(built.bytes.len() as u64, padme(built.bytes.len() as u64));
        built.verify(&keyring, &namer).unwrap();
        built.directory.chunks_mut()[0].len ^= 1;
        assert!(built.verify(&keyring, &namer).is_err(), "the directory in memory changed");
    }

    fn decoded(whole: &CodedBlock, bit: usize, len: usize) -> Option<Vec<u8>> {
        let (mut coded, mut plain) = (whole.coded.clone(), Vec::new());
        coded[bit / 8] ^= 1 << (bit % 8);
        let mut decompressor = crate::compress::Decompressor::new().unwrap();
        decompressor.decode(whole.codec, &coded, len, &mut plain).ok().map(|()| plain)
    }
}
