//! Objects that others write, for tests of those who must live beside them.

use super::control::{Condemned, Generation, Intent, Verdict};
use super::{RepoError, Repository};
use crate::crypto::header::ObjectKind;
use crate::crypto::roots::Root;
use crate::id::{ObjectId, SessionId};
use crate::index::Segment;
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
    pub fn publish_generation(&self, mut generation: Generation) -> Result<Put, RepoError> {
        use ed25519_dalek::Signer;
        let keyring = &self.objects.keyring;
        let seed = keyring.bundle().get(Root::Sign, 0);
        let seed = seed.ok_or_else(|| RepoError::Refused("this slot cannot sign".into()))?;
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        generation.public_key = key.verifying_key().to_bytes();
        let signed =
            [b"dedup generation 1", &keyring.repo().as_bytes()[..], &generation.encode_signed()].concat();
        generation.signature = key.sign(&signed).to_bytes();
        let name = Name::generation(generation.number);
        self.objects.put(ObjectKind::Generation, &name, &generation.encode(), None, &|_| true)
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
