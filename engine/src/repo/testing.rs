//! Objects that others write, for tests of those who must live beside them.

use super::control::{Condemned, Generation, Intent, Verdict};
use super::retention::{Retention, Signed};
use super::{RepoError, Repository, signed};
use crate::compress::{Compressor, Level, Stream};
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::client_of;
use crate::crypto::roots::{Bundle, Root};
use crate::crypto::wrap::{Place, wrap};
use crate::id::{ChunkId, ClientId, ObjectId, SessionId};
use crate::index::{Segment, SegmentPack};
use crate::log::epoch::Epoch;
use crate::log::{Entry, Mark};
use crate::pack::builder::{CodedBlock, PackBuilder};
use crate::pack::{Chunk, PackKind};
use crate::storage::{Name, Put};
use ed25519_dalek::SigningKey;

/// Returns the name that stored bytes have, where objects are named by their bytes.
pub fn hash_of(stored: &[u8]) -> ObjectId {
    ObjectId::from_bytes(*blake3::hash(stored).as_bytes())
}

/// Returns the public key of whoever signs with this seed.
pub fn public_of(seed: [u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(&seed).verifying_key().to_bytes()
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
        self.store_pack(PackKind::Data, chunks)
    }

    /// Stores a pack of one block likewise, of whatever kind.
    pub(crate) fn store_pack(
        &self,
        kind: PackKind,
        chunks: &[(ChunkId, &[u8])],
    ) -> Result<ObjectId, RepoError> {
        let plain: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let named = chunks.iter().map(|(id, bytes)| Chunk { id: *id, len: bytes.len() as u32 }).collect();
        let internal = |error: std::io::Error| RepoError::Internal(error.to_string());
        let mut compressor = Compressor::new(Level::Off).map_err(internal)?;
        let mut builder = PackBuilder::new(kind, 1 << 20);
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

    /// Signs and stores an entry of a log with a key of its own: what whoever holds DEDUPE can do. The signature is made
    /// wrong if `is_genuine` says so.
    pub fn forge_entry(&self, seed: [u8; 32], mut entry: Entry, is_genuine: bool) -> Result<Put, RepoError> {
        let key = SigningKey::from_bytes(&seed);
        entry.public_key = key.verifying_key().to_bytes();
        entry.signature = self.forged(&key, b"dedup log 1", &entry.encode_signed());
        entry.signature[0] ^= u8::from(!is_genuine);
        let name = Name::log(client_of(&entry.public_key), entry.number);
        self.objects.put(ObjectKind::Log, &name, &entry.encode(), None, &|_| true)
    }

    /// The same, of a generation.
    pub fn forge_generation(&self, seed: [u8; 32], mut generation: Generation) -> Result<Put, RepoError> {
        let key = SigningKey::from_bytes(&seed);
        generation.public_key = key.verifying_key().to_bytes();
        generation.signature = self.forged(&key, b"dedup generation 1", &generation.encode_signed());
        let (name, plain) = (Name::generation(generation.number), generation.encode());
        self.objects.put(ObjectKind::Generation, &name, &plain, None, &|_| true)
    }

    /// The same, of what is forgotten and pinned.
    pub fn forge_retention(&self, seed: [u8; 32], mut retention: Retention) -> Result<Put, RepoError> {
        let key = SigningKey::from_bytes(&seed);
        retention.public_key = key.verifying_key().to_bytes();
        retention.signature = Signed(self.forged(&key, b"dedup retention 1", &retention.encode_signed()));
        let (name, plain) = (Name::retention(retention.number), retention.encode());
        self.objects.put(ObjectKind::Retention, &name, &plain, None, &|_| true)
    }

    /// Stores a key epoch of this number with these signers and roots that `seed` knows, signed by it and sealed to every
    /// slot; returns its mark.
    pub fn forge_epoch(&self, seed: [u8; 32], number: u32, rights: u64) -> Result<Mark, RepoError> {
        let key = SigningKey::from_bytes(&seed);
        let own = key.verifying_key().to_bytes();
        let roots = Bundle::of_epoch(number)?;
        let (bundle, mut wrapped) = (self.objects.keyring.bundle(), Vec::new());
        let dedupe = bundle.get(Root::Dedupe, 1).ok_or(RepoError::WriteOnly)?;
        for (id, slot) in super::slots::read_all(&*self.objects.storage, self.id())?.0 {
            let place = Place { repo: self.id(), epoch: number, slot: id };
            let part = roots.for_contents(number, slot.header.contents)?;
            wrapped.push(wrap(place, slot.public(), dedupe, &part)?);
        }
        wrapped.sort_by_key(|one| one.slot);
        let before = self.objects.epochs().pop().map_or(self.anchor.config, |last| last.mark.id);
        let mut epoch = Epoch {
            number,
            previous: before,
            created_unix_secs: 0,
            x25519_public: **roots.get(Root::X25519Public, number).ok_or(RepoError::WriteOnly)?,
            checks: roots.checks(number),
            wrapped,
            first_signer: own,
            signers: vec![(own, rights)],
            generation: 0,
            retention: 0,
            ends: Vec::new(),
            segments: Vec::new(),
            public_key: own,
            signature: [0; 64],
        };
        epoch.signature = self.forged(&key, b"dedup epoch 1", &epoch.encode_signed());
        let name = Name::epoch(number.into());
        let (_, id) = self.objects.put_known(ObjectKind::Epoch, &name, &epoch.encode(), None, &|_| true)?;
        Ok(Mark { number: number.into(), id })
    }

    /// Returns the key epoch of a stored object.
    pub fn epoch_of(&self, name: &Name) -> Result<u32, RepoError> {
        let header = self.objects.storage.get(name, 12..16)?;
        Ok(header.try_into().map_or(0, u32::from_le_bytes))
    }

    fn forged(&self, key: &SigningKey, domain: &[u8], body: &[u8]) -> [u8; 64] {
        signed::sign(key, &self.objects.keyring, domain, body)
    }

    /// Opens an entry of a log.
    pub fn read_log_entry(&self, client: ClientId, number: u64) -> Result<Entry, RepoError> {
        Ok(Entry::decode(&self.objects.get(ObjectKind::Log, &Name::log(client, number))?)?)
    }

    /// Returns the client of the key in use.
    pub fn own_client(&self) -> ClientId {
        self.objects.keyring.client().unwrap_or(ClientId::from_bytes([0; 16]))
    }
}
