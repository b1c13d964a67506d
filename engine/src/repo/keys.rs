//! Work on the keys of a repository: listed, added, changed, removed, exported and put back. Normative: `FORMAT.md` 4.2.

use super::{RepoError, Repository, SlotInfo, read_config, slots};
use crate::crypto::CryptoError;
use crate::crypto::roots::{Bundle, Root};
use crate::crypto::slot::{KdfParams, Unlock};
use crate::error::{Corrupt, Kind};
use crate::format::MAX_SLOT;
use crate::id::ObjectId;
use crate::listing::Time;
use crate::log::{ALL, APPEND, Act};
use crate::planted::{Bug, planted};
use crate::storage::{Name, Storage};
use std::sync::Arc;

impl Repository {
    /// Lists the key slots, oldest first.
    pub fn slots(&self) -> Result<Vec<SlotInfo>, RepoError> {
        slots::infos(&*self.objects.storage, self.id(), self.slot)
    }

    /// Adds a slot with the roots of the one in use, all of them or all but those of secrets.
    ///
    /// # Errors
    /// [`RepoError::WriteOnly`] if the one in use can only write: so could any that it adds.
    pub fn add_slot(
        &self,
        unlock: &Unlock,
        kdf: &KdfParams,
        label: &str,
        secrets: bool,
        now_unix_secs: i64,
    ) -> Result<ObjectId, RepoError> {
        self.assert_reads()?;
        let mut bundle = (*self.objects.keyring.bundle()).clone();
        if !secrets {
            bundle = bundle.without(Root::Secrets);
        }
        bundle.renew_slot_secrets()?;
        self.know_log()?;
        let id = self.store_slot(&bundle, unlock, kdf, label, now_unix_secs)?;
        let time = Time { secs: now_unix_secs, nanos: 0 };
        // The slot is there; without its entry nobody says whose it is, and without rights it stores nothing that counts.
        self.log(Act::Slot { id, is_removed: false }, Some(time))?;
        match bundle.signer().map(|signer| self.admit(signer, ALL, time)) {
            // Without the right to admit it can open and write, and somebody else has to admit it.
            Some(Err(error)) if error.kind() != Kind::Refused => Err(error),
            _ => Ok(id),
        }
    }

    /// Adds a slot that stores and cannot read: it holds DEDUPE and public keys (`FORMAT.md` 4.2). Secrets can be stored
    /// with it if they can be with the slot in use.
    pub fn add_write_only_slot(
        &self,
        unlock: &Unlock,
        kdf: &KdfParams,
        label: &str,
        now_unix_secs: i64,
    ) -> Result<ObjectId, RepoError> {
        let mut bundle = self.objects.keyring.bundle().write_only()?;
        bundle.renew_slot_secrets()?;
        self.know_log()?;
        let time = Time { secs: now_unix_secs, nanos: 0 };
        // Before the slot is there: until somebody has fewer rights, all who can write are equals (`FORMAT.md` 15).
        let signer = bundle.signer().ok_or(CryptoError::NotEntitled("writing (no signing key)"))?;
        self.admit(signer, APPEND, time)?;
        let id = self.store_slot(&bundle, unlock, kdf, label, now_unix_secs)?;
        self.log(Act::Slot { id, is_removed: false }, Some(time))?;
        Ok(id)
    }

    /// Stores a slot of its own for a bundle made of the one in use. If a key epoch began meanwhile it would lack its roots:
    /// it goes again, and it is an error.
    fn store_slot(
        &self,
        bundle: &Bundle,
        unlock: &Unlock,
        kdf: &KdfParams,
        label: &str,
        now_unix_secs: i64,
    ) -> Result<ObjectId, RepoError> {
        self.assert_taken_along()?;
        let storage = &*self.objects.storage;
        let id = slots::store(storage, self.id(), bundle, unlock, kdf, label, now_unix_secs)?;
        if bundle.get(Root::Dedupe, self.newest_epoch()?).is_none() {
            storage.delete(&Name::slot(id))?;
            return Err(RepoError::Refused("a key epoch began at this moment; try again".into()));
        }
        Ok(id)
    }

    /// Returns the slot in use as it is stored, to be kept elsewhere: with what opens it, and the repository, it is all that
    /// a restore needs.
    pub fn export_slot(&self) -> Result<(ObjectId, Vec<u8>), RepoError> {
        let name = Name::slot(self.slot);
        let stored = self.storage().get_all(&name, MAX_SLOT)?;
        if blake3::hash(&stored).as_bytes() != self.slot.as_bytes() {
            return Err(Corrupt::new(name.to_string(), "its bytes do not hash to its name").into());
        }
        Ok((self.slot, stored))
    }

    /// Puts a slot back that [`export_slot`](Self::export_slot) gave; returns its name, and whether it was gone.
    ///
    /// # Errors
    /// Refused if it is another repository's, or was removed while others that hold everything are there.
    pub fn import_slot(
        storage: &Arc<dyn Storage>,
        stored: &[u8],
        unlock: &Unlock,
        max_memory_bytes: u64,
    ) -> Result<(ObjectId, bool), RepoError> {
        slots::put_back(storage, read_config(&**storage)?, stored, unlock, max_memory_bytes)
    }

    /// Removes a slot other than the one in use, which must hold every root.
    pub fn remove_slot(&self, id: &ObjectId) -> Result<(), RepoError> {
        let client = self.objects.keyring.client()?;
        self.know_log()?;
        self.assert_taken_along()?;
        slots::remove(&self.objects, *id, self.slot, *client.as_bytes())?;
        self.log_after(Act::Slot { id: *id, is_removed: true }, None)
    }

    /// Replaces the slot in use: the new one is durable before the old one goes.
    pub fn change_slot(
        &mut self,
        unlock: &Unlock,
        kdf: &KdfParams,
        now_unix_secs: i64,
    ) -> Result<ObjectId, RepoError> {
        self.know_log()?;
        let label = self.slots()?.into_iter().find(|slot| slot.current).map(|slot| slot.label);
        let mut bundle = (*self.objects.keyring.bundle()).clone();
        // Later roots are sealed to a key that nobody has who has a copy of the old slot, and what opened that.
        bundle.renew_slot_key()?;
        let storage = &*self.objects.storage;
        let label = label.unwrap_or_default();
        if planted(Bug::RemoveSlotFirst) {
            storage.delete(&Name::slot(self.slot))?;
        }
        let mut new = self.store_slot(&bundle, unlock, kdf, &label, now_unix_secs)?;
        let old = self.slot;
        if planted(Bug::RemoveSlotFirst) {
            self.slot = new;
            return Ok(new);
        }
        if Bundle::is_full(bundle.contents()) {
            let client = self.objects.keyring.client()?;
            slots::remove(&self.objects, old, new, *client.as_bytes())?;
        } else {
            // A slot that lacks some roots may always go: nothing is only in it.
            self.objects.storage.delete(&Name::slot(old))?;
        }
        // The roots of an epoch that began at this very moment are sealed to the slot that went.
        if bundle.get(Root::Dedupe, self.newest_epoch()?).is_none() {
            bundle = (*self.objects.keyring.bundle()).clone();
            bundle.renew_slot_key()?;
            let whole = slots::store(storage, self.id(), &bundle, unlock, kdf, &label, now_unix_secs)?;
            storage.delete(&Name::slot(new))?;
            new = whole;
        }
        self.slot = new;
        let time = Some(Time { secs: now_unix_secs, nanos: 0 });
        self.log_after(Act::Slot { id: new, is_removed: false }, time)?;
        self.log_after(Act::Slot { id: old, is_removed: true }, time)?;
        Ok(new)
    }
}
