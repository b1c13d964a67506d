//! Key changes: which slots were removed, decided by create-only objects. Normative: `FORMAT.md` 4.2.

use super::RepoError;
use super::objects::Objects;
use crate::crypto::header::ObjectKind;
use crate::error::{Corrupt, Kind};
use crate::format::MAX_LIST;
use crate::id::ObjectId;
use crate::storage::{Family, Name, Put as Stored};
use crate::wire::{Put, Reader};
use std::collections::BTreeSet;

/// The removal of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Its number, from 1, as in its name.
    pub number: u64,
    /// The slot that is removed.
    pub removed: ObjectId,
    /// Slots that stay and hold every root; the remover has opened one of them.
    pub stays: Vec<ObjectId>,
    /// Who removed it.
    pub client: [u8; 16],
}

impl KeyChange {
    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        plain.put_varint(self.number);
        plain.put(self.removed.as_bytes());
        plain.put_varint(self.stays.len() as u64);
        self.stays.iter().for_each(|id| plain.put(id.as_bytes()));
        plain.put(&self.client);
        plain.put_no_extensions();
        plain
    }

    /// Decodes a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("key change", bytes);
        let reader = &mut reader;
        let number = reader.varint()?;
        let removed = ObjectId::from_bytes(reader.array()?);
        let count = reader.count(MAX_LIST, 32, "slots")?;
        let stays = (0..count).map(|_| Ok(ObjectId::from_bytes(reader.array()?)));
        let stays = stays.collect::<Result<Vec<_>, Corrupt>>()?;
        if number == 0 || stays.is_empty() || stays.contains(&removed) {
            return Err(reader.corrupt("a removal after which no slot stays"));
        }
        let client = reader.array()?;
        reader.extensions()?;
        reader.clone().finish()?;
        Ok(Self { number, removed, stays, client })
    }
}

/// What all key changes say.
pub(super) struct Changes {
    /// Slots that they name as removed.
    pub removed: BTreeSet<ObjectId>,
    /// Number of the next one.
    pub next: u64,
}

/// Reads every key change. One that is lost or damaged names nobody: `check` tells of it.
pub(super) fn all(objects: &Objects) -> Result<Changes, RepoError> {
    let mut changes = Changes { removed: BTreeSet::new(), next: 1 };
    for name in objects.names(Family::KeyChanges)? {
        let Some(number) = name.number() else { continue };
        changes.removed.extend(read(objects, number)?.flatten().map(|change| change.removed));
        changes.next = number.saturating_add(1);
    }
    // A listing may lag behind; an object that is asked for by its name does not.
    while let Some(change) = read(objects, changes.next)? {
        changes.removed.extend(change.map(|change| change.removed));
        changes.next = changes.next.saturating_add(1);
    }
    Ok(changes)
}

/// Reads a key change: `None` if it is not there, `Some(None)` if it is damaged.
fn read(objects: &Objects, number: u64) -> Result<Option<Option<KeyChange>>, RepoError> {
    match objects.get(ObjectKind::KeyChange, &Name::key_change(number)) {
        Ok(plain) => Ok(Some(KeyChange::decode(&plain).ok())),
        Err(RepoError::Storage(error)) if error.is_missing() => Ok(None),
        Err(error) if error.kind() == Kind::Integrity => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

/// Stores a key change, unless its number is taken.
pub(super) fn store(objects: &Objects, change: &KeyChange) -> Result<Stored, RepoError> {
    let (name, plain) = (Name::key_change(change.number), change.encode());
    // As its reader reads it; what cannot be stored is refused with its reason.
    KeyChange::decode(&plain)?;
    let means = |opened: &[u8]| KeyChange::decode(opened).is_ok_and(|again| again == *change);
    match objects.put(ObjectKind::KeyChange, &name, &plain, None, &means)? {
        // A storage that stored and then reported an error may have been asked twice.
        Stored::Present if read(objects, change.number)?.flatten().as_ref() == Some(change) => {
            Ok(Stored::Stored)
        }
        put => Ok(put),
    }
}
