//! Objects that others write, for tests of those who must live beside them.

use super::control::{Condemned, Generation, Intent, Verdict};
use super::{RepoError, Repository};
use crate::compress::{Compressor, Level, Stream};
use crate::crypto::header::ObjectKind;
use crate::id::{ChunkId, ObjectId, SessionId};
use crate::index::{Segment, SegmentPack};
use crate::pack::builder::{CodedBlock, PackBuilder};
use crate::pack::{Chunk, PackKind};
use crate::storage::{Name, Put};

/// Returns the name that stored bytes have, where objects are named by their bytes.
pub fn hash_of(stored: &[u8]) -> ObjectId {
    ObjectId::from_bytes(*blake3::hash(stored).as_bytes())
}

impl Repository {
    /// From now on, hands everything between the stages of a run to `flip`.
    pub fn tamper_with(&mut self, flip: crate::tamper::Flip) {
        self.objects.tamper = crate::tamper::Tamper(Some(flip));
    }

    /// Publishes a condemned set, as a prune does.
    pub fn publish_condemned(&self, set: &Condemned) -> Result<Put, RepoError> {
        let (name, means) = (Name::condemned(set.number), |_: &[u8]| true);
        self.objects.put(ObjectKind::Condemned, &name, &set.encode(), None, &means)
    }

    /// Ends a session, as its owner or a prune does.
    pub fn end_session(&self, session: SessionId, verdict: Verdict) -> Result<Put, RepoError> {
        self.objects.put(ObjectKind::End, &Name::end(session), &verdict.encode(), None, &|_| true)
    }

    /// Signs a generation with this slot's key and publishes it; key and signature are filled in.
    pub fn publish_generation(&self, generation: Generation) -> Result<Put, RepoError> {
        Ok(self.publish_signed_generation(generation)?.1)
    }

    /// Stores a data pack, and the segment that names it, whose chunks need not be what their names say: what a
    /// client could do that has faulty memory, or bad intentions.
    pub fn store_unverified(&self, chunks: &[(ChunkId, &[u8])]) -> Result<ObjectId, RepoError> {
        let plain: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let named = chunks.iter().map(|(id, bytes)| Chunk { id: *id, len: bytes.len() as u32 }).collect();
        let internal = |error: std::io::Error| RepoError::Internal(error.to_string());
        let mut compressor = Compressor::new(Level::Off).map_err(internal)?;
        let mut builder = PackBuilder::new(PackKind::Data, 1 << 20);
        builder.push(CodedBlock::code(plain, named, &mut compressor, &Stream::default()).map_err(internal)?);
        let session = SessionId::from_bytes([9; 16]);
        let pack = builder.seal(&self.objects.keyring, session)?;
        let (id, header, stored_len) = (pack.id, pack.header(), pack.bytes.len() as u64);
        self.objects.storage.put(&Name::pack(id), &pack.bytes)?;
        let pack = SegmentPack { id, kind: pack.kind, header, stored_len, directory: pack.directory };
        let plain = Segment { session, packs: vec![pack] }.encode();
        self.objects.put_hashed(ObjectKind::Segment, Name::segment, &plain, Some(session), &|_| true)?;
        Ok(id)
    }

    /// Opens an intent.
    pub fn read_intent(&self, session: SessionId, number: u64) -> Result<Intent, RepoError> {
        Ok(Intent::decode(&self.objects.get(ObjectKind::Intent, &Name::intent(session, number))?)?)
    }

    /// Opens a segment.
    pub fn read_segment(&self, id: ObjectId) -> Result<Segment, RepoError> {
        Ok(Segment::decode(&self.objects.get(ObjectKind::Segment, &Name::segment(id))?)?)
    }
}
