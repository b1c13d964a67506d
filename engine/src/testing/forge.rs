//! A client that holds the keys and lies: sound seals and names around whatever it likes. For tests of those
//! who must read it all the same.

use crate::compress::{Codec, Compressor, Level, Stream};
use crate::crypto::capsule;
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::ChunkKind;
use crate::crypto::seal::Domain;
use crate::format::{HEADER_LEN, TAG_LEN};
use crate::id::{ChunkId, ObjectId, SessionId};
use crate::index::{Segment, SegmentPack};
use crate::listing::Time;
use crate::map::{BuildError, Builder, Content, ContentBuilder, Root, SaveChunk};
use crate::pack::builder::{CodedBlock, PackBuilder};
use crate::pack::{Chunk, Directory, PackKind};
use crate::repo::control::{Purpose, Verdict};
use crate::repo::sessions::{Dependencies, OpenSession};
use crate::repo::write::lock;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{self, Account, Listing, Section, Snapshot};
use crate::storage::{Name, Put};
use crate::wire::Put as _;
use std::sync::Mutex;

/// Chunks of one forged block.
const CHUNKS_PER_BLOCK: usize = 512;

/// A session of the liar. Nothing of it is checked before it is stored.
pub struct Forge<'r> {
    repo: &'r Repository,
    session: OpenSession,
    chunks: Mutex<Vec<(ChunkKind, ChunkId, Vec<u8>)>>,
    packs: Mutex<Vec<SegmentPack>>,
}

/// A block as it is to stand in a pack.
pub struct ForgedBlock {
    /// How its bytes are said to be coded.
    pub codec: Codec,
    /// Its bytes, as they are sealed.
    pub coded: Vec<u8>,
    /// The chunks it is said to hold, with their lengths.
    pub chunks: Vec<Chunk>,
}

impl<'r> Forge<'r> {
    /// Begins a session in a repository that was opened with an index.
    pub fn begin(repo: &'r Repository) -> Result<Self, RepoError> {
        let started = Time { secs: 1_700_000_000, nanos: 0 };
        let session = OpenSession::begin(&repo.objects, Purpose::Backup, "liar", started, 0)?;
        Ok(Self { repo, session, chunks: Mutex::default(), packs: Mutex::default() })
    }

    /// Returns the session.
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// Keeps a chunk for the next pack and returns its name.
    pub fn chunk(&self, kind: ChunkKind, plain: &[u8]) -> ChunkId {
        let id = self.repo.namer.name(kind, plain);
        self.chunk_as(kind, id, plain);
        id
    }

    /// The same under a name of the liar's choice.
    pub fn chunk_as(&self, kind: ChunkKind, id: ChunkId, plain: &[u8]) {
        lock(&self.chunks).push((kind, id, plain.to_vec()));
    }

    /// Keeps a file's content, cut into pieces of at most `piece` bytes.
    pub fn content(&self, bytes: &[u8], piece: usize) -> Result<Content, RepoError> {
        let mut content = ContentBuilder::new(self);
        for chunk in bytes.chunks(piece) {
            content.push(self.chunk(ChunkKind::Data, chunk), chunk.len() as u32).map_err(built)?;
        }
        content.finish().map_err(built)
    }

    /// Keeps a well-formed map of entries whose keys rise; what stands in keys and values is the liar's.
    pub fn map<'e>(
        &self,
        entries: impl IntoIterator<Item = (&'e [u8], &'e [u8])>,
    ) -> Result<Root, RepoError> {
        let key = self.repo.objects.keyring.further("dedup 2026-11-21 boundary")?;
        let mut builder = Builder::new(self, &key, self.repo.leaf_target());
        for (key, value) in entries {
            builder.push(key, value).map_err(built)?;
        }
        builder.finish().map_err(built)
    }

    /// Stores a pack of blocks as they are given.
    pub fn pack(&self, kind: PackKind, blocks: Vec<ForgedBlock>) -> Result<ObjectId, RepoError> {
        let mut directory = Directory::default();
        let mut digest = blake3::Hasher::new();
        for block in &blocks {
            directory.push(block.codec, (block.coded.len() + TAG_LEN) as u32, &block.chunks);
            digest.update(&block.coded);
        }
        let capsule = capsule::fill(&directory.encode())?;
        self.pack_with(kind, &blocks, directory, capsule, digest)
    }

    /// Stores a pack whose directory is a capsule of the liar's: see [`capsule_of`].
    pub fn pack_with_directory(
        &self,
        kind: PackKind,
        blocks: &[ForgedBlock],
        capsule: Vec<u8>,
    ) -> Result<ObjectId, RepoError> {
        let mut directory = Directory::default();
        for block in blocks {
            directory.push(block.codec, (block.coded.len() + TAG_LEN) as u32, &block.chunks);
        }
        self.pack_with(kind, blocks, directory, capsule, blake3::Hasher::new())
    }

    fn pack_with(
        &self,
        kind: PackKind,
        blocks: &[ForgedBlock],
        directory: Directory,
        capsule: Vec<u8>,
        mut digest: blake3::Hasher,
    ) -> Result<ObjectId, RepoError> {
        digest.update(&capsule);
        let keyring = &self.repo.objects.keyring;
        let key = keyring.sealer(kind.object(), Some(self.session.id), &digest.finalize())?;
        let mut bytes = key.header().bytes().to_vec();
        for (number, block) in blocks.iter().enumerate() {
            let start = bytes.len();
            bytes.extend_from_slice(&block.coded);
            let plain_len: u32 = block.chunks.iter().map(|chunk| chunk.len).sum();
            let extra = [&[block.codec.code()][..], &plain_len.to_le_bytes()].concat();
            key.seal_from(start, Domain::Block, number as u64, &extra, &mut bytes)?;
        }
        let len = ((capsule.len() + TAG_LEN) as u32).to_le_bytes();
        let start = bytes.len();
        bytes.extend_from_slice(&capsule);
        key.seal_from(start, Domain::Directory, 0, &len, &mut bytes)?;
        let start = bytes.len();
        bytes.extend_from_slice(&len);
        key.seal_from(start, Domain::Trailer, 0, &[], &mut bytes)?;
        bytes.extend_from_slice(&crate::format::PACK_END);
        let id = crate::repo::hash_of(&bytes);
        self.repo.storage().put(&Name::pack(id), &bytes)?;
        let header = bytes.first_chunk().copied().unwrap_or([0; HEADER_LEN]);
        lock(&self.packs).push(SegmentPack { id, kind, header, stored_len: bytes.len() as u64, directory });
        Ok(id)
    }

    /// Stores what was kept so far in packs.
    pub fn flush(&self) -> Result<(), RepoError> {
        let chunks = std::mem::take(&mut *lock(&self.chunks));
        for (chunk_kind, kind) in [(ChunkKind::Data, PackKind::Data), (ChunkKind::Listing, PackKind::Listing)]
        {
            let of_kind: Vec<_> = chunks.iter().filter(|(kind, ..)| *kind == chunk_kind).collect();
            let mut pack = PackBuilder::new(kind, 1 << 20);
            for part in of_kind.chunks(CHUNKS_PER_BLOCK) {
                let named = part.iter().map(|(_, id, plain)| Chunk { id: *id, len: plain.len() as u32 });
                let plain: Vec<u8> = part.iter().flat_map(|(_, _, plain)| plain.iter().copied()).collect();
                let mut compressor = Compressor::new(Level::Zstd(1)).map_err(internal)?;
                let block = CodedBlock::code(plain, named.collect(), &mut compressor, &Stream::default())
                    .map_err(internal)?;
                if !pack.takes(&block) {
                    self.store(std::mem::replace(&mut pack, PackBuilder::new(kind, 1 << 20)))?;
                }
                pack.push(block);
            }
            if !pack.is_empty() {
                self.store(pack)?;
            }
        }
        Ok(())
    }

    fn store(&self, pack: PackBuilder) -> Result<(), RepoError> {
        let built = pack.seal(&self.repo.objects.keyring, self.session.id)?;
        self.repo.storage().put(&Name::pack(built.id), &built.bytes)?;
        let (header, stored_len) = (built.header(), built.bytes.len() as u64);
        let (id, kind, directory) = (built.id, built.kind, built.directory);
        lock(&self.packs).push(SegmentPack { id, kind, header, stored_len, directory });
        Ok(())
    }

    /// Stores the segment of all packs so far, after `lie` has changed what it says of them.
    pub fn segment(&self, lie: impl FnOnce(&mut Vec<SegmentPack>)) -> Result<(), RepoError> {
        self.flush()?;
        let mut packs = std::mem::take(&mut *lock(&self.packs));
        lie(&mut packs);
        let segment = Segment { session: self.session.id, packs };
        let session = Some(self.session.id);
        self.repo.objects.put_hashed(
            ObjectKind::Segment,
            Name::segment,
            &segment.encode(),
            session,
            &|_| true,
        )?;
        Ok(())
    }

    /// Stores everything and a snapshot of `sources` with this listing, which then exists.
    pub fn commit(self, sources: &[&[u8]], root: Root) -> Result<ObjectId, RepoError> {
        self.segment(|_| {})?;
        let snapshot = self.snapshot(sources, root);
        self.commit_body(&snapshot::encode(&snapshot))
    }

    /// Returns the snapshot that [`Forge::commit`] stores.
    pub fn snapshot(&self, sources: &[&[u8]], root: Root) -> Snapshot {
        let listing = Listing { section: Section::Data, root, problems: Root::EMPTY };
        let mut account = Account::new("files");
        account.sources = sources.iter().map(|source| source.to_vec()).collect();
        account.listings.push(listing);
        Snapshot {
            session: self.session.id,
            user: "liar".into(),
            program: "forge".into(),
            accounts: vec![account],
            ..Snapshot::bare("liar", 1_700_000_000)
        }
    }

    /// Stores bytes as the body of a snapshot, which then exists; packs and segments must be stored by now.
    pub fn commit_body(self, body: &[u8]) -> Result<ObjectId, RepoError> {
        let objects = &self.repo.objects;
        let session = Some(self.session.id);
        let id = objects.put_hashed(ObjectKind::Snapshot, Name::snapshot, body, session, &|_| true)?;
        self.session.publish(&Dependencies::default())?;
        self.session.end(Verdict::Committed(id))?;
        Ok(id)
    }

    /// Stores an object of a kind that is named by its bytes, with a capsule of the liar's.
    pub fn hashed_object(
        &self,
        kind: ObjectKind,
        name: impl FnOnce(ObjectId) -> Name,
        capsule: Vec<u8>,
    ) -> Result<ObjectId, RepoError> {
        let bytes = self.sealed(kind, capsule, &[])?;
        let id = crate::repo::hash_of(&bytes);
        self.repo.storage().put(&name(id), &bytes)?;
        Ok(id)
    }

    /// Stores an object under a name, with a capsule of the liar's.
    pub fn named_object(&self, kind: ObjectKind, name: &Name, capsule: Vec<u8>) -> Result<Put, RepoError> {
        let bytes = self.sealed(kind, capsule, name.to_string().as_bytes())?;
        Ok(self.repo.storage().put(name, &bytes)?)
    }

    fn sealed(&self, kind: ObjectKind, capsule: Vec<u8>, extra: &[u8]) -> Result<Vec<u8>, RepoError> {
        let keyring = &self.repo.objects.keyring;
        let key = keyring.sealer(kind, Some(self.session.id), &blake3::hash(&capsule))?;
        Ok(capsule::seal_object(&key, &[], capsule, extra)?)
    }

    /// Ends the session with a snapshot that was stored before.
    pub fn end(self, snapshot: ObjectId) -> Result<(), RepoError> {
        self.session.publish(&Dependencies::default())?;
        self.session.end(Verdict::Committed(snapshot))
    }
}

impl SaveChunk for Forge<'_> {
    type Error = RepoError;

    fn save(&self, plain: &[u8]) -> Result<ChunkId, RepoError> {
        Ok(self.chunk(ChunkKind::Listing, plain))
    }
}

/// Returns a capsule: what stands inside a seal (`FORMAT.md` 3), with a length of the liar's choice.
pub fn capsule_of(codec: Codec, plain_len: u32, coded: &[u8]) -> Vec<u8> {
    let mut capsule = Vec::with_capacity(coded.len() + 9);
    capsule.put_u8(codec.code());
    capsule.put_u32(plain_len);
    capsule.put_u32(coded.len() as u32);
    capsule.put(coded);
    capsule
}

/// Returns a Zstandard frame of so many zeros: about 1/16,000 of them.
pub fn frame_of_zeros(len: usize) -> Result<Vec<u8>, RepoError> {
    let mut compressor = Compressor::new(Level::Zstd(3)).map_err(internal)?;
    Ok(compressor.code(&vec![0; len], &Stream::default()).map_err(internal)?.1.to_vec())
}

fn built(error: BuildError<RepoError>) -> RepoError {
    match error {
        BuildError::Save(error) => error,
        BuildError::Refused(refused) => RepoError::Refused(refused.to_string()),
    }
}

fn internal(error: std::io::Error) -> RepoError {
    RepoError::Internal(error.to_string())
}
