//! Key slots of a repository: listing, opening, adding, changing, removing. Normative: `FORMAT.md` 4.2.

use super::RepoError;
use super::objects::Objects;
use crate::crypto::CryptoError;
use crate::crypto::header::ObjectKind;
use crate::crypto::roots::Bundle;
use crate::crypto::slot::{self, KdfParams, Slot, Unlock};
use crate::error::Corrupt;
use crate::format::{MAX_SLOT, MAX_SLOTS};
use crate::id::{ObjectId, RepoId};
use crate::planted::{Bug, planted};
use crate::storage::{Family, Name, Put, Storage};
use crate::wire::Put as _;

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

/// Removes a slot: first the create-only record that two removers cannot both make, then the slot.
///
/// `current` is the slot that this process has opened; it must be full and stay.
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
        let (slots, _) = read_all(&*objects.storage, repo)?;
        if !slots.iter().any(|(other, _)| *other == id) {
            return Err(RepoError::Refused(format!("there is no slot {}", id.short())));
        }
        let full = slots.iter().filter(|(other, slot)| *other != id && Bundle::is_full(slot.header.contents));
        let stays: Vec<ObjectId> = full.map(|(other, _)| *other).collect();
        if !stays.contains(&current) {
            let wrong = "it may hold the only copy of some keys; open the repository with a full slot";
            return Err(RepoError::Refused(format!("slot {} stays: {wrong}", id.short())));
        }
        let number = next_change(objects)?;
        let mut plain = Vec::new();
        plain.put_varint(number);
        plain.put(id.as_bytes());
        plain.put_varint(stays.len() as u64);
        stays.iter().for_each(|id| plain.put(id.as_bytes()));
        plain.put(&client);
        plain.put_no_extensions();
        // Whoever makes the record decides on what it saw; the loser looks again.
        let (name, means) = (Name::key_change(number), |opened: &[u8]| opened == plain);
        if objects.put(ObjectKind::KeyChange, &name, &plain, None, &means)? == Put::Stored {
            objects.storage.delete(&Name::slot(id))?;
            return Ok(());
        }
    }
}

fn next_change(objects: &Objects) -> Result<u64, RepoError> {
    let mut highest = 0;
    let mut each = |name: Name, _: u64| {
        highest = highest.max(name.number().unwrap_or(0));
        Ok(())
    };
    objects.storage.list(Family::KeyChanges, &mut each, &mut |_| {})?;
    Ok(highest + 1)
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
        holds_secrets: Bundle::holds_secrets(slot.header.contents),
        current: *id == current,
    };
    let mut infos: Vec<_> = slots.iter().map(info).collect();
    infos.sort_by_key(|info| (info.created_unix_secs, info.id));
    Ok(infos)
}
