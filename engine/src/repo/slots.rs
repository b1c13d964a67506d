//! Key slots of a repository: listing, opening, adding, changing, removing. Normative: `FORMAT.md` 4.2.

use super::key_changes::{self, KeyChange};
use super::objects::Objects;
use super::{Config, RepoError};
use crate::crypto::CryptoError;
use crate::crypto::keyring::Keyring;
use crate::crypto::roots::Bundle;
use crate::crypto::slot::{self, KdfParams, Slot, Unlock};
use crate::error::Corrupt;
use crate::format::{MAX_SLOT, MAX_SLOTS};
use crate::id::{ObjectId, RepoId};
use crate::planted::{Bug, planted};
use crate::storage::{Family, Name, Put, Storage};
use std::sync::Arc;

/// One slot, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its name.
    pub id: ObjectId,
    /// Whether it opens with a passphrase; otherwise with a key file.
    pub passphrase: bool,
    /// What it is for, in the user's words.
    pub label: String,
    /// When it was made, in Unix seconds.
    pub created_unix_secs: i64,
    /// Whether it opens snapshots and data; otherwise it can only write.
    pub can_read: bool,
    /// Whether it opens secret sections.
    pub holds_secrets: bool,
    /// Whether it is the one in use.
    pub current: bool,
}

/// Slots with their names, the cheapest to try first.
type Slots = Vec<(ObjectId, Slot)>;

/// Reads every slot of the repository `repo`; what cannot be parsed or belongs to another is left out.
///
/// Returns the slots and the faults of those left out.
pub(crate) fn read_all(storage: &dyn Storage, repo: RepoId) -> Result<(Slots, Vec<CryptoError>), RepoError> {
    let mut ids = Vec::new();
    let mut too_many = false;
    let mut each = |name: Name, len: u64| {
        if let Some(id) = name.object_id().filter(|_| len <= MAX_SLOT) {
            too_many |= ids.len() >= MAX_SLOTS * 4;
            if !too_many {
                ids.push(id);
            }
        }
        Ok(())
    };
    storage.list(Family::Keys, &mut each, &mut |_| {})?;
    if too_many {
        return Err(RepoError::Refused("more than 256 key slots: somebody put them there".into()));
    }
    let (mut slots, mut faults) = (Vec::new(), Vec::new());
    for id in ids {
        let bytes = match storage.get_all(&Name::slot(id), MAX_SLOT) {
            Ok(bytes) => bytes,
            // Removed since the listing.
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.into()),
        };
        if blake3::hash(&bytes).as_bytes() != id.as_bytes() {
            faults.push(Corrupt::new(Name::slot(id).to_string(), "its bytes do not hash to its name").into());
            continue;
        }
        match Slot::parse(bytes) {
            Ok(slot) if slot.header.repo == repo => slots.push((id, slot)),
            Ok(_) => {}
            Err(fault) => faults.push(fault),
        }
    }
    slots.sort_by_key(|(id, slot)| (slot.work(), slot.header.created_unix_secs, *id));
    slots.truncate(MAX_SLOTS);
    Ok((slots, faults))
}

/// Opens the first slot that `unlock` fits; `first` is tried before the others.
pub(crate) fn open_any(
    storage: &dyn Storage,
    repo: RepoId,
    unlock: &Unlock,
    first: Option<ObjectId>,
    max_memory_bytes: u64,
) -> Result<(ObjectId, Bundle), RepoError> {
    let (mut slots, faults) = read_all(storage, repo)?;
    if let Some(place) = slots.iter().position(|(id, _)| Some(*id) == first) {
        slots[..=place].rotate_right(1);
    }
    let (mut work, mut too_big) = (0u64, None);
    for (id, slot) in slots.iter().filter(|(_, slot)| slot.fits(unlock)) {
        if slot.memory_bytes() > max_memory_bytes {
            too_big = Some(slot.memory_bytes());
            continue;
        }
        work = work.saturating_add(slot.work());
        if work > 64 << 20 {
            return Err(RepoError::Refused("opening all key slots would take too long; name one".into()));
        }
        match slot.open(unlock) {
            Ok(bundle) => return Ok((*id, bundle)),
            Err(CryptoError::WrongKey) => {}
            Err(error) => return Err(RepoError::of(Name::slot(*id))(error)),
        }
    }
    if let Some(need_bytes) = too_big {
        return Err(RepoError::TooLittleMemory { need_bytes, allowed_bytes: max_memory_bytes });
    }
    // With no slot left to try, a damaged or newer one is the likelier reason than a wrong key.
    if slots.is_empty()
        && let Some(fault) = faults.into_iter().next()
    {
        return Err(RepoError::Object { object: "key slots".into(), source: fault });
    }
    let what = if matches!(unlock, Unlock::Passphrase(_)) { "passphrase" } else { "key file" };
    Err(RepoError::WrongKey { place: storage.place(), what })
}

/// Stores a new slot and returns its name.
pub(crate) fn store(
    storage: &dyn Storage,
    repo: RepoId,
    bundle: &Bundle,
    unlock: &Unlock,
    kdf: &KdfParams,
    label: &str,
    now_unix_secs: i64,
) -> Result<ObjectId, RepoError> {
    let bytes = slot::create(bundle, unlock, kdf, repo, now_unix_secs, label)?;
    // Never store what could not be opened again: this is the only copy of the keys.
    Slot::parse(bytes.clone())?.open(unlock)?;
    let id = ObjectId::from_bytes(*blake3::hash(&bytes).as_bytes());
    storage.put(&Name::slot(id), &bytes)?;
    if !planted(Bug::SkipSlotReadBack) && storage.get_all(&Name::slot(id), MAX_SLOT)? != bytes {
        let wrong = "what was stored is not what comes back: the storage cannot be trusted with keys";
        return Err(Corrupt::new(Name::slot(id).to_string(), wrong).into());
    }
    Ok(id)
}

/// Puts a slot back that was kept elsewhere; returns its name, and whether it was gone.
///
/// # Errors
/// Refused if it is another repository's, or was removed while others that hold everything are there.
pub(crate) fn put_back(
    storage: &Arc<dyn Storage>,
    sealed_config: Vec<u8>,
    stored: &[u8],
    unlock: &Unlock,
    max_memory_bytes: u64,
) -> Result<(ObjectId, bool), RepoError> {
    let repo = Config::repo_id(&sealed_config).map_err(RepoError::of("config"))?;
    let slot = Slot::parse(stored.to_vec())?;
    if slot.header.repo != repo {
        return Err(RepoError::Refused("it is a key of another repository".into()));
    }
    if slot.memory_bytes() > max_memory_bytes {
        let need_bytes = slot.memory_bytes();
        return Err(RepoError::TooLittleMemory { need_bytes, allowed_bytes: max_memory_bytes });
    }
    let bundle = slot.open(unlock)?;
    let id = ObjectId::from_bytes(*blake3::hash(stored).as_bytes());
    let name = Name::slot(id);
    let keyring = Arc::new(Keyring::new(repo, bundle)?);
    Config::open(sealed_config, &keyring).map_err(RepoError::of("config"))?;
    let (tamper, known) = Default::default();
    let objects = Objects { storage: Arc::clone(storage), keyring, tamper, known };
    let (others, _) = read_all(&**storage, repo)?;
    let is_full = |(other, slot): &(ObjectId, Slot)| *other != id && Bundle::is_full(slot.header.contents);
    if key_changes::all(&objects)?.removed.contains(&id) && others.iter().any(is_full) {
        let hint = "open the repository with a key that it has, and add a new one";
        return Err(RepoError::Refused(format!("key {} was removed: {hint}", id.short())));
    }
    // A damaged one gives way to what hashes to its name.
    let is_there = match storage.get_all(&name, MAX_SLOT) {
        Ok(there) if there == stored => true,
        Ok(_) => {
            storage.delete(&name)?;
            false
        }
        Err(error) if error.is_missing() => false,
        Err(error) => return Err(error.into()),
    };
    if !is_there {
        storage.put(&name, stored)?;
        if storage.get_all(&name, MAX_SLOT)? != stored {
            return Err(Corrupt::new(name.to_string(), "what was stored is not what comes back").into());
        }
    }
    Ok((id, !is_there))
}

/// Removes a slot: first the create-only record that two removers cannot both make, then the slot.
///
/// `current` is the slot that this process has opened; it must be full and stay. A removal that was cut off after its
/// record is carried out.
pub(crate) fn remove(
    objects: &Objects,
    id: ObjectId,
    current: ObjectId,
    client: [u8; 16],
) -> Result<(), RepoError> {
    if id == current {
        let hint = "open the repository with the slot that is to stay";
        return Err(RepoError::Refused(format!("the slot in use cannot be removed: {hint}")));
    }
    let repo = objects.keyring.repo();
    loop {
        let changes = key_changes::all(objects)?;
        let (slots, _) = read_all(&*objects.storage, repo)?;
        if !slots.iter().any(|(other, _)| *other == id) {
            return Err(RepoError::Refused(format!("there is no slot {}", id.short())));
        }
        // What somebody else is about to delete must not be what stays.
        let is_gone = |slot: &ObjectId| changes.removed.contains(slot) && !planted(Bug::IgnoreKeyChanges);
        if is_gone(&current) {
            let wrong = "the slot in use was removed by somebody else; open the repository with another";
            return Err(RepoError::Refused(wrong.into()));
        }
        let full = slots.iter().filter(|(other, slot)| *other != id && Bundle::is_full(slot.header.contents));
        let stays: Vec<ObjectId> = full.map(|(other, _)| *other).filter(|other| !is_gone(other)).collect();
        if !stays.contains(&current) {
            let wrong = "it may hold the only copy of some keys; open the repository with a full slot";
            return Err(RepoError::Refused(format!("slot {} stays: {wrong}", id.short())));
        }
        // Whoever makes the record decides on what it saw; the loser looks again.
        let change = KeyChange { number: changes.next, removed: id, stays, client };
        if is_gone(&id) || key_changes::store(objects, &change)? == Put::Stored {
            objects.storage.delete(&Name::slot(id))?;
            return Ok(());
        }
    }
}

/// Lists the slots for people.
pub(crate) fn infos(
    storage: &dyn Storage,
    repo: RepoId,
    current: ObjectId,
) -> Result<Vec<SlotInfo>, RepoError> {
    let (slots, _) = read_all(storage, repo)?;
    let info = |(id, slot): &(ObjectId, Slot)| SlotInfo {
        id: *id,
        passphrase: slot.header.kdf.is_some(),
        label: slot.header.label.clone(),
        created_unix_secs: slot.header.created_unix_secs,
        can_read: Bundle::can_read(slot.header.contents),
        holds_secrets: Bundle::holds_secrets(slot.header.contents),
        current: *id == current,
    };
    let mut infos: Vec<_> = slots.iter().map(info).collect();
    infos.sort_by_key(|info| (info.created_unix_secs, info.id));
    Ok(infos)
}
