//! Sealed objects in storage: the one place where names, seals and limits meet.

use super::RepoError;
use super::history::Shared;
use crate::crypto::header::{Header, ObjectKind};
use crate::crypto::keyring::Keyring;
use crate::crypto::{CryptoError, capsule};
use crate::error::Corrupt;
use crate::format::{HEADER_LEN, MAX_BODY, MAX_SEGMENT, MAX_SMALL_BODY};
use crate::id::{ObjectId, SessionId};
use crate::planted::{Bug, planted};
use crate::storage::{Family, Name, Put, Storage};
use crate::tamper::{Stage, Tamper};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

/// Storage and keys together.
#[derive(Clone)]
pub(crate) struct Objects {
    pub storage: Arc<dyn Storage>,
    pub keyring: Arc<Keyring>,
    pub tamper: Tamper,
    /// What the log says of rights.
    pub known: Shared,
}

/// A body that was read.
pub(crate) struct Opened {
    pub plain: Vec<u8>,
    /// BLAKE3 of the stored bytes.
    pub hash: ObjectId,
    /// Key epoch that it was sealed in.
    pub epoch: u32,
}

/// Says whether an opened body is what its writer meant: decoded, it is the same.
type Means<'a> = &'a dyn Fn(&[u8]) -> bool;

impl ObjectKind {
    /// Returns the longest plain body of such an object.
    pub(crate) fn max_body(self) -> u32 {
        match self {
            Self::Segment => MAX_SEGMENT,
            Self::Config | Self::Session | Self::End | Self::Progress | Self::Parity => MAX_SMALL_BODY,
            _ => MAX_BODY,
        }
    }
}

impl Objects {
    /// Lists the names of a family, rising, each once. Not for packs, of which there are too many.
    pub fn names(&self, family: Family) -> Result<BTreeSet<Name>, RepoError> {
        self.listed(family, Some)
    }

    /// Lists the ids of a family whose objects are named by their content, rising, each once.
    pub fn ids(&self, family: Family) -> Result<BTreeSet<ObjectId>, RepoError> {
        self.listed(family, |name| name.object_id())
    }

    fn listed<T: Ord>(
        &self,
        family: Family,
        of: impl Fn(Name) -> Option<T>,
    ) -> Result<BTreeSet<T>, RepoError> {
        // Sorted once: of tens of thousands, putting one after another into a set took longer than listing them.
        let mut listed = Vec::new();
        let mut each = |name: Name| {
            listed.extend(of(name));
            Ok(())
        };
        self.storage.list_names(family, &mut each)?;
        Ok(listed.into_iter().collect())
    }

    /// Seals `plain` and stores it under a fixed name, to which the seal is bound.
    pub fn put(
        &self,
        kind: ObjectKind,
        name: &Name,
        plain: &[u8],
        session: Option<SessionId>,
        means: Means<'_>,
    ) -> Result<Put, RepoError> {
        Ok(self.put_known(kind, name, plain, session, means)?.0)
    }

    /// The same; returns the hash of the bytes as well, whether they were stored or another object is there.
    pub fn put_known(
        &self,
        kind: ObjectKind,
        name: &Name,
        plain: &[u8],
        session: Option<SessionId>,
        means: Means<'_>,
    ) -> Result<(Put, ObjectId), RepoError> {
        let (bytes, id) = self.seal(kind, plain, session, name.to_string().as_bytes(), means)?;
        Ok((self.store(name, bytes, id)?, id))
    }

    /// Seals `plain` and stores it under the hash of the stored bytes.
    pub fn put_hashed(
        &self,
        kind: ObjectKind,
        name: impl FnOnce(ObjectId) -> Name,
        plain: &[u8],
        session: Option<SessionId>,
        means: Means<'_>,
    ) -> Result<ObjectId, RepoError> {
        let (bytes, id) = self.seal(kind, plain, session, &[], means)?;
        self.store(&name(id), bytes, id)?;
        Ok(id)
    }

    /// Seals a body and opens it again: what is stored must be what was meant, whatever memory did meanwhile.
    fn seal(
        &self,
        kind: ObjectKind,
        plain: &[u8],
        session: Option<SessionId>,
        extra: &[u8],
        means: Means<'_>,
    ) -> Result<(Vec<u8>, ObjectId), RepoError> {
        let plain = &*self.tamper.passed(Stage::Body, plain);
        capsule::check_len(plain, kind.max_body(), kind.word())?;
        let capsule = capsule::fill(plain)?;
        let key = self.keyring.sealer(kind, session, &blake3::hash(&capsule))?;
        let bytes = capsule::seal_object(&key, &[], capsule, extra)?;
        let id = ObjectId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let again = Header::parse(&bytes, &[kind])
            .and_then(|header| self.keyring.reopener(header, key.forgotten()))
            .and_then(|key| {
                capsule::open_object(&key, &mut bytes[HEADER_LEN..].to_vec(), extra, kind.max_body())
            });
        if !again.is_ok_and(|opened| means(&opened)) {
            return Err(Corrupt::new(kind.word(), "it changed while it was sealed: faulty memory").into());
        }
        Ok((bytes, id))
    }

    fn store(&self, name: &Name, mut bytes: Vec<u8>, id: ObjectId) -> Result<Put, RepoError> {
        self.tamper.pass(Stage::Object, &mut bytes);
        self.put_unchanged(name, &bytes, id)
    }

    /// Stores bytes whose hash was `id` when they were verified, and looks whether it still is.
    ///
    /// What changed on the way was stored in vain: it goes again, and the run fails before anything refers to it.
    pub fn put_unchanged(&self, name: &Name, bytes: &[u8], id: ObjectId) -> Result<Put, RepoError> {
        let put = self.storage.put(name, bytes)?;
        if blake3::hash(bytes).as_bytes() != id.as_bytes() {
            if put == Put::Stored {
                // Best effort: `check` names what stays.
                let _ = self.storage.delete(name);
            }
            let wrong = "it changed while it was stored: faulty memory";
            return Err(Corrupt::new(name.to_string(), wrong).into());
        }
        Ok(put)
    }

    /// Reads, verifies and opens an object. One that is named by its content is hashed first.
    pub fn get(&self, kind: ObjectKind, name: &Name) -> Result<Vec<u8>, RepoError> {
        self.get_hashed(kind, name).map(|(plain, _)| plain)
    }

    /// Reads, verifies and opens an object; returns the hash of its stored bytes as well.
    pub fn get_hashed(&self, kind: ObjectKind, name: &Name) -> Result<(Vec<u8>, ObjectId), RepoError> {
        self.get_opened(kind, name).map(|opened| (opened.plain, opened.hash))
    }

    /// Reads, verifies and opens an object; returns as well what stands around it.
    pub fn get_opened(&self, kind: ObjectKind, name: &Name) -> Result<Opened, RepoError> {
        self.open_stored(kind, name, self.get_stored(kind, name)?)
    }

    /// Reads the bytes of an object as they are stored.
    pub fn get_stored(&self, kind: ObjectKind, name: &Name) -> Result<Vec<u8>, RepoError> {
        // Padding adds at most an eighth, header, seal and capsule less than 200 bytes.
        Ok(self.storage.get_all(name, u64::from(kind.max_body()) / 8 * 9 + 256)?)
    }

    /// Verifies and opens the stored bytes of an object, wherever they were kept.
    pub fn open_stored(
        &self,
        kind: ObjectKind,
        name: &Name,
        mut stored: Vec<u8>,
    ) -> Result<Opened, RepoError> {
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
        let open = |stored: &mut [u8]| {
            let header = Header::parse(stored, &[kind])?;
            let key = self.keyring.opener(header)?;
            let plain =
                capsule::open_object(&key, &mut stored[HEADER_LEN..], extra.as_bytes(), kind.max_body())?;
            Ok::<_, CryptoError>(Opened { plain, hash, epoch: header.epoch() })
        };
        open(&mut stored).map_err(RepoError::of(name))
    }

    /// Returns whether a stored segment counts.
    pub fn segment_counts(&self, id: &ObjectId) -> Result<bool, RepoError> {
        if self.counts(id, 1) {
            return Ok(true);
        }
        let name = Name::segment(*id);
        let header = match self.storage.get(&name, 0..HEADER_LEN as u64) {
            Ok(header) => header,
            Err(error) if error.is_missing() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let header = Header::parse(&header, &[ObjectKind::Segment]);
        Ok(header.is_ok_and(|header| self.counts(id, header.epoch())))
    }

    /// Returns whether a segment of an epoch counts: it is of the newest one, or named by it (`FORMAT.md` 16).
    pub fn counts(&self, segment: &ObjectId, epoch: u32) -> bool {
        let newest = self.keyring.epoch();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_named =
            |(of, named): &(u32, Arc<Vec<ObjectId>>)| *of == newest && named.binary_search(segment).is_ok();
        epoch >= newest || known.segments.as_ref().is_some_and(is_named) || planted(Bug::BelieveOldSegments)
    }
}
