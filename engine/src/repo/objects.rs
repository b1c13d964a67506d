//! Sealed objects in storage: the one place where names, seals and limits meet.

use super::RepoError;
use crate::crypto::header::{Header, ObjectKind};
use crate::crypto::keyring::Keyring;
use crate::crypto::{CryptoError, capsule};
use crate::error::Corrupt;
use crate::format::{HEADER_LEN, MAX_BODY, MAX_SEGMENT, MAX_SMALL_BODY};
use crate::id::{ObjectId, SessionId};
use crate::planted::{Bug, planted};
use crate::storage::{Family, Name, Put, Storage};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Storage and keys together.
#[derive(Clone)]
pub(crate) struct Objects {
    pub storage: Arc<dyn Storage>,
    pub keyring: Arc<Keyring>,
}

impl ObjectKind {
    /// Returns the longest plain body of such an object.
    fn max_body(self) -> u32 {
        match self {
            Self::Segment => MAX_SEGMENT,
            Self::Config | Self::Session | Self::End | Self::Progress => MAX_SMALL_BODY,
            _ => MAX_BODY,
        }
    }
}

impl Objects {
    /// Lists the ids of a family whose objects are named by their content, rising, each once.
    pub fn ids(&self, family: Family) -> Result<BTreeSet<ObjectId>, RepoError> {
        let mut ids = BTreeSet::new();
        let mut each = |name: Name, _: u64| {
            ids.extend(name.object_id());
            Ok(())
        };
        self.storage.list(family, &mut each, &mut |_| {})?;
        Ok(ids)
    }

    /// Seals `plain` and stores it under a fixed name, to which the seal is bound.
    pub fn put(
        &self,
        kind: ObjectKind,
        name: &Name,
        plain: &[u8],
        session: Option<SessionId>,
    ) -> Result<Put, RepoError> {
        let bytes = self.seal(kind, plain, session, name.to_string().as_bytes())?;
        Ok(self.storage.put(name, &bytes)?)
    }

    /// Seals `plain` and stores it under the hash of the stored bytes.
    pub fn put_hashed(
        &self,
        kind: ObjectKind,
        name: impl FnOnce(ObjectId) -> Name,
        plain: &[u8],
        session: Option<SessionId>,
    ) -> Result<ObjectId, RepoError> {
        let (id, bytes) = self.seal_hashed(kind, plain, session)?;
        self.storage.put(&name(id), &bytes)?;
        Ok(id)
    }

    /// Seals `plain`; returns the hash of the bytes, for which they are to be named, and the bytes.
    pub fn seal_hashed(
        &self,
        kind: ObjectKind,
        plain: &[u8],
        session: Option<SessionId>,
    ) -> Result<(ObjectId, Vec<u8>), RepoError> {
        let bytes = self.seal(kind, plain, session, &[])?;
        Ok((ObjectId::from_bytes(*blake3::hash(&bytes).as_bytes()), bytes))
    }

    fn seal(
        &self,
        kind: ObjectKind,
        plain: &[u8],
        session: Option<SessionId>,
        extra: &[u8],
    ) -> Result<Vec<u8>, RepoError> {
        capsule::check_len(plain, kind.max_body(), kind.word())?;
        let capsule = capsule::fill(plain)?;
        let key = self.keyring.sealer(kind, session, &blake3::hash(&capsule))?;
        Ok(capsule::seal_object(&key, &[], capsule, extra)?)
    }

    /// Reads, verifies and opens an object. One that is named by its content is hashed first.
    pub fn get(&self, kind: ObjectKind, name: &Name) -> Result<Vec<u8>, RepoError> {
        self.get_hashed(kind, name).map(|(plain, _)| plain)
    }

    /// Reads, verifies and opens an object; returns the hash of its stored bytes as well.
    pub fn get_hashed(&self, kind: ObjectKind, name: &Name) -> Result<(Vec<u8>, ObjectId), RepoError> {
        // Padding adds at most an eighth, header, seal and capsule less than 200 bytes.
        let max = u64::from(kind.max_body()) / 8 * 9 + 256;
        let mut stored = self.storage.get_all(name, max)?;
        let hash = ObjectId::from_bytes(*blake3::hash(&stored).as_bytes());
        let extra = match name.object_id() {
            Some(id) if id != hash && !planted(Bug::SkipObjectName) => {
                let wrong = "the bytes do not hash to the name: damaged, truncated or swapped";
                let source = Corrupt::new(kind.word(), wrong).into();
                return Err(RepoError::Object { object: name.to_string(), source });
            }
            Some(_) => String::new(),
            None => name.to_string(),
        };
        let plain = self.open(kind, &mut stored, extra.as_bytes()).map_err(RepoError::of(name))?;
        Ok((plain, hash))
    }

    fn open(&self, kind: ObjectKind, stored: &mut [u8], extra: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let key = self.keyring.opener(Header::parse(stored, &[kind])?)?;
        capsule::open_object(&key, &mut stored[HEADER_LEN..], extra, kind.max_body())
    }
}
