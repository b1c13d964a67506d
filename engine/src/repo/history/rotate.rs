//! Opens a key epoch. Normative: `FORMAT.md` 16.

use super::Whole;
use super::epochs::{DOMAIN, Found, read_epoch, take_up};
use crate::crypto::CryptoError;
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::client_of;
use crate::crypto::roots::{Bundle, Root};
use crate::crypto::slot::Slot;
use crate::crypto::wrap::{self, Place};
use crate::error::Corrupt;
use crate::format::MAX_NAMES;
use crate::id::{ClientId, ObjectId};
use crate::listing::Time;
use crate::log::epoch::{Epoch, MAX_EPOCH};
use crate::log::{ADMIT, ALL, APPEND, Act, LogError, MAX_MADE, Mark, Seen};
use crate::repo::{RepoError, Repository, SlotInfo, key_changes, signed, slots};
use crate::storage::{Family, Name, Put};
use std::collections::{BTreeMap, BTreeSet};

/// A key that is taken along into a new epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSlot {
    /// Its name.
    pub id: ObjectId,
    /// The client that signs with it from now on.
    pub client: ClientId,
    /// Its rights: [`APPEND`] and so on.
    pub rights: u64,
}

/// What opening a key epoch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochReport {
    /// Its number.
    pub number: u32,
    /// The keys that were taken along.
    pub kept: Vec<KeptSlot>,
    /// The keys that are stored and were not.
    pub left_out: Vec<ObjectId>,
}

impl Repository {
    /// Returns the keys that a new epoch could take along, those that are stored and were not removed, and of each
    /// whether the log says that somebody who may give rights added it. One of which it does not may be anybody's.
    ///
    /// # Errors
    /// [`RepoError::Refused`] if the key in use may not open an epoch: only the first signer may, who made the repository
    /// or opened the newest epoch.
    pub fn epoch_candidates(&self) -> Result<Vec<(SlotInfo, bool)>, RepoError> {
        self.assert_opens_epochs()?;
        let (gone, log) = (self.gone()?, self.whole_log()?);
        let mut known: BTreeSet<ObjectId> = BTreeSet::from([self.slot]);
        for (by, at, slot) in &log.slots_added {
            known.extend((log.rights.of_entry(by, *at) & ADMIT != 0).then_some(*slot));
        }
        if let Some(last) = self.objects.epochs().pop()
            && let Found::Epoch(epoch, _) = read_epoch(&self.objects, last.mark.number)?
        {
            known.extend(epoch.wrapped.iter().map(|wrapped| wrapped.slot));
        }
        let slots = self.slots()?.into_iter().filter(|slot| !gone.contains(&slot.id));
        Ok(slots.map(|slot| (slot.clone(), known.contains(&slot.id))).collect())
    }

    /// Opens a key epoch: what is stored from now on opens for the key in use and those of `keep` alone, and no other
    /// signer has any right. Each of them signs with a new key.
    ///
    /// # Errors
    /// As [`epoch_candidates`](Self::epoch_candidates); if one of `keep` is not among those.
    pub fn open_epoch(&self, keep: &BTreeSet<ObjectId>, now: Time) -> Result<EpochReport, RepoError> {
        self.assert_opens_epochs()?;
        let kept = self.kept(keep)?;
        let (number, segments) = (self.free_epoch()?, self.segments_that_count()?);
        // What was committed has its entry before the log of this time ends.
        self.log(Act::Heartbeat, Some(now))?;
        let log = self.whole_log()?;
        if !log.complaints.is_empty() {
            return Err(LogError { complaints: log.complaints }.into());
        }
        // Damage of what is forgotten and pinned is mended first: it is written anew below.
        self.retention()?;
        let (keyring, key) = (&self.objects.keyring, signed::signer(&self.objects.keyring)?);
        let (bundle, roots) = (keyring.bundle(), Bundle::of_epoch(number)?);
        let dedupe = bundle.get(Root::Dedupe, 1).ok_or(CryptoError::NotEntitled("the repository"))?;
        let public = roots.get(Root::X25519Public, number).ok_or(CryptoError::NotEntitled("the epoch"))?;
        let (mut wrapped, mut signers, mut slots) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut first_signer = [0; 32];
        for (id, slot) in &kept {
            let own = roots.for_contents(number, slot.header.contents)?;
            let signer = own.signer().ok_or(CryptoError::NotEntitled("signing"))?;
            let rights = if Bundle::can_read(slot.header.contents) { ALL } else { APPEND };
            if *id == self.slot {
                first_signer = signer;
            }
            let place = Place { repo: self.id(), epoch: number, slot: *id };
            wrapped.push(wrap::wrap(place, slot.public(), dedupe, &own)?);
            signers.insert(signer, rights);
            slots.push(KeptSlot { id: *id, client: client_of(&signer), rights });
        }
        let mut epoch = Epoch {
            number,
            previous: self.objects.epochs().pop().map_or(self.anchor.config, |last| last.mark.id),
            created_unix_secs: now.secs,
            x25519_public: **public,
            checks: roots.joined_with(&roots.write_only()?).checks(number),
            wrapped,
            first_signer,
            signers: signers.into_iter().collect(),
            generation: log.memory.generation.number + 1,
            retention: self.highest_retention()?.max(log.memory.retention.number) + 1,
            ends: ends_of(&log),
            segments,
            public_key: key.verifying_key().to_bytes(),
            signature: [0; 64],
        };
        epoch.signature = signed::sign(&key, keyring, DOMAIN, &epoch.encode_signed());
        let id = self.store_epoch(&epoch)?;
        // It counts. The entry, by the key of the time before, is there so that nobody can hide it.
        self.log_alone(&Act::Epoch(Mark { number: number.into(), id }), now)?;
        // What others did while this was at work was done in the time before, and is said again in the new one.
        let (stands, before) = (self.retention()?, self.with_log(|memory| memory.alive.clone()));
        self.begin_era()?;
        let after = self.with_log(|memory| memory.alive.clone()).unwrap_or_default();
        let missed: Vec<ObjectId> =
            before.unwrap_or_default().into_keys().filter(|id| !after.contains_key(id)).collect();
        for made in missed.chunks(MAX_MADE) {
            self.log_alone(&Act::Made(made.to_vec()), now)?;
        }
        // The numbers that the epoch names are taken, by these or by whoever was at work: those of before count no more.
        self.change_retention(now, true, &mut |_| Ok(stands.clone()))?;
        self.close_era(now)?;
        let all: Vec<ObjectId> = self.slots()?.iter().map(|slot| slot.id).collect();
        let left_out = all.into_iter().filter(|id| !kept.iter().any(|(kept, _)| kept == id)).collect();
        Ok(EpochReport { number, kept: slots, left_out })
    }

    /// Returns the number of the next epoch. What has its name and does not count goes, where the storage lets it: nobody
    /// else could have stored one that does.
    fn free_epoch(&self) -> Result<u32, RepoError> {
        let last = self.objects.epochs().pop().map_or(1, |last| last.mark.number);
        let free = take_up(&self.objects, self.slot, self.anchor)?;
        if self.objects.epochs().pop().map_or(1, |last| last.mark.number) == last {
            for void in last + 1..free {
                // On a storage that deletes nothing its number is used up.
                let _ = self.storage().delete(&Name::epoch(void));
            }
        }
        let free = take_up(&self.objects, self.slot, self.anchor)?;
        let number = u32::try_from(free).ok().filter(|number| u64::from(*number) <= MAX_EPOCH);
        number.ok_or_else(|| RepoError::Refused(format!("a repository has at most {MAX_EPOCH} key epochs")))
    }

    fn highest_retention(&self) -> Result<u64, RepoError> {
        let names = self.objects.names(Family::Retention)?;
        Ok(names.last().and_then(Name::number).unwrap_or(0))
    }

    fn assert_opens_epochs(&self) -> Result<(), RepoError> {
        let keyring = &self.objects.keyring;
        self.know_log()?;
        self.newest_epoch()?;
        let first = self.objects.epochs().pop().map_or(self.anchor.first_signer, |last| last.first_signer);
        let is_first = keyring.client()? == client_of(&first);
        if is_first && Bundle::is_full(keyring.bundle().contents()) && keyring.is_up_to_date() {
            return Ok(());
        }
        Err(RepoError::Refused(
            "only the key that made the repository, or that opened its newest key epoch, can open another one; without it, \
             copy what is to stay into a new repository (`dedup copy`)"
                .into(),
        ))
    }

    /// Returns the slots that were removed, whether they are stored or not.
    fn gone(&self) -> Result<BTreeSet<ObjectId>, RepoError> {
        let mut gone = key_changes::all(&self.objects)?.removed;
        gone.extend(self.with_log(|memory| memory.slots_gone.clone()).unwrap_or_default());
        // The last way to what is stored is none to be closed.
        gone.remove(&self.slot);
        Ok(gone)
    }

    fn kept(&self, keep: &BTreeSet<ObjectId>) -> Result<Vec<(ObjectId, Slot)>, RepoError> {
        let (stored, _) = slots::read_all(&*self.objects.storage, self.id())?;
        let gone = self.gone()?;
        let is_stored = |id: &ObjectId| stored.iter().any(|(other, _)| other == id) && !gone.contains(id);
        if let Some(id) = keep.iter().find(|id| !is_stored(id)) {
            return Err(RepoError::Refused(format!("there is no key {}, or it was removed", id.short())));
        }
        let mut kept: Vec<(ObjectId, Slot)> =
            stored.into_iter().filter(|(id, _)| *id == self.slot || keep.contains(id)).collect();
        kept.sort_by_key(|(id, _)| *id);
        Ok(kept)
    }

    /// Stores an epoch and reads it back: it will be the only copy of its roots for the keys there are.
    fn store_epoch(&self, epoch: &Epoch) -> Result<ObjectId, RepoError> {
        let (name, plain) = (Name::epoch(epoch.number.into()), epoch.encode());
        // As its reader reads it; what cannot be stored is refused with its reason.
        Epoch::decode(&plain)?;
        let means = |opened: &[u8]| Epoch::decode(opened).is_ok_and(|again| again == *epoch);
        let put = self.objects.put(ObjectKind::Epoch, &name, &plain, None, &means)?;
        match read_epoch(&self.objects, epoch.number.into())? {
            // Also where a storage stored and then reported an error, and was asked twice.
            Found::Epoch(there, id) if *there == *epoch => Ok(id),
            _ if put == Put::Present => Err(RepoError::Refused(
                "somebody else opened a key epoch at the same moment; look who was taken along".into(),
            )),
            _ => Err(Corrupt::new(name.to_string(), "what was stored is not what comes back").into()),
        }
    }

    /// Returns the segments that a new epoch names: all that are stored and count now.
    fn segments_that_count(&self) -> Result<Vec<ObjectId>, RepoError> {
        let mut segments = Vec::new();
        for id in self.objects.ids(Family::Segments)? {
            if self.objects.segment_counts(&id)? {
                segments.push(id);
            }
        }
        if segments.len() > MAX_NAMES {
            return Err(RepoError::Refused(
                "more segments than an epoch can name; `dedup prune` joins them".into(),
            ));
        }
        Ok(segments)
    }
}

/// Returns the ends of all logs that count.
fn ends_of(log: &Whole) -> Vec<(ClientId, u64)> {
    let counts = |client: &ClientId, seen: &Seen| seen.public_key != [0; 32] && log.rights.of(client) != 0;
    let heads = log.memory.heads.iter().filter(|(client, seen)| counts(client, seen));
    heads.map(|(client, seen)| (*client, seen.mark.number)).collect()
}
