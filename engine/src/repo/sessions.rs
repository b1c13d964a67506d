//! Sessions: how concurrent runs order themselves without locks and without clocks. Normative: `FORMAT.md` 13, 20.
//!
//! ```text
//! session ─ packs ─ segments ─ intents … final intent ─ look again ─ snapshot ─ end (create-only)
//! ```

use super::control::{Condemned, Generation, Intent, Purpose, Session, Verdict};
use super::objects::Objects;
use super::{RepoError, Repository, signed};
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::client_of;
use crate::crypto::random;
use crate::error::Corrupt;
use crate::id::{ObjectId, SessionId};
use crate::listing::Time;
use crate::log::{Act, PRUNE, Rights};
use crate::planted::{Bug, planted};
use crate::storage::{Family, Name, Part, Put};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

const GENERATION_DOMAIN: &[u8] = b"dedup generation 1";
/// Names per list of one intent, so that its body stays well under its limit.
const NAMES_PER_INTENT: usize = 100_000;

/// A session of this process.
pub(crate) struct OpenSession {
    pub id: SessionId,
    objects: Objects,
    intents: AtomicU64,
    signs_of_life: AtomicU64,
}

/// What a session depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dependencies {
    /// Snapshots whose subtrees are referred to.
    pub snapshots: Vec<ObjectId>,
    /// Packs of others.
    pub packs: Vec<ObjectId>,
    /// Its own packs.
    pub own_packs: Vec<ObjectId>,
    /// Its own segments.
    pub own_segments: Vec<ObjectId>,
}

/// What a second look at condemned sets and generations found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endangered {
    pub snapshots: BTreeSet<ObjectId>,
    pub packs: BTreeSet<ObjectId>,
    pub segments: BTreeSet<ObjectId>,
}

impl OpenSession {
    /// Opens a session; its object is durable before anything is decided on what is stored.
    pub fn begin(
        objects: &Objects,
        purpose: Purpose,
        host: &str,
        started: Time,
        generation: u64,
    ) -> Result<Self, RepoError> {
        let client = objects.keyring.client()?;
        let id = SessionId::from_bytes(random()?);
        let session = Session { client, started, host: host.to_owned(), purpose, generation };
        let means = |opened: &[u8]| Session::decode(opened).is_ok_and(|again| again == session);
        objects.put(ObjectKind::Session, &Name::session(id), &session.encode(), Some(id), &means)?;
        let zero = || AtomicU64::new(0);
        Ok(Self { id, objects: objects.clone(), intents: zero(), signs_of_life: zero() })
    }

    /// Publishes what the session depends on, in as many intents as it takes; the last one is final.
    pub fn publish(&self, all: &Dependencies) -> Result<(), RepoError> {
        let lists = [&all.packs, &all.own_packs, &all.own_segments];
        let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
        let parts = longest.div_ceil(NAMES_PER_INTENT).max(1);
        let part = |list: &[ObjectId], n: usize| {
            list.chunks(NAMES_PER_INTENT).nth(n).map(<[ObjectId]>::to_vec).unwrap_or_default()
        };
        for n in 0..parts {
            let number = self.intents.fetch_add(1, Ordering::Relaxed) + 1;
            let intent = Intent {
                number,
                is_final: n + 1 == parts,
                snapshots: all.snapshots.clone(),
                packs: part(&all.packs, n),
                own_packs: part(&all.own_packs, n),
                own_segments: part(&all.own_segments, n),
            };
            let name = Name::intent(self.id, number);
            let means = |opened: &[u8]| Intent::decode(opened).is_ok_and(|again| again == intent);
            self.objects.put(ObjectKind::Intent, &name, &intent.encode(), Some(self.id), &means)?;
        }
        Ok(())
    }

    /// Writes a sign of life.
    pub fn progress(&self) -> Result<(), RepoError> {
        let number = self.signs_of_life.fetch_add(1, Ordering::Relaxed) + 1;
        let mut plain = Vec::new();
        crate::wire::Put::put_varint(&mut plain, number);
        let (name, means) = (Name::alive(self.id, number), |opened: &[u8]| opened == plain);
        self.objects.put(ObjectKind::Progress, &name, &plain, Some(self.id), &means)?;
        Ok(())
    }

    /// Ends the session. [`RepoError::Fenced`] if somebody ended it first.
    pub fn end(&self, verdict: Verdict) -> Result<(), RepoError> {
        let name = Name::end(self.id);
        let means = |opened: &[u8]| Verdict::decode(opened).is_ok_and(|again| again == verdict);
        match self.objects.put(ObjectKind::End, &name, &verdict.encode(), Some(self.id), &means)? {
            Put::Stored => Ok(()),
            // A storage that stored and then reported an error may have been asked twice.
            Put::Present if read_end(&self.objects, self.id)? == Some(verdict) => Ok(()),
            Put::Present if planted(Bug::IgnoreFence) => Ok(()),
            Put::Present => Err(RepoError::Fenced),
        }
    }
}

/// Reads how a session ended, if it did.
pub(crate) fn read_end(objects: &Objects, session: SessionId) -> Result<Option<Verdict>, RepoError> {
    Ok(read_end_of(objects, session)?.map(|(verdict, _)| verdict))
}

/// The same, with the key epoch in which that was said.
pub(crate) fn read_end_of(
    objects: &Objects,
    session: SessionId,
) -> Result<Option<(Verdict, u32)>, RepoError> {
    let name = Name::end(session);
    match objects.get_opened(ObjectKind::End, &name) {
        Ok(opened) => {
            let verdict = Verdict::decode(&opened.plain).map_err(|corrupt| corrupt.within(name))?;
            Ok(Some((verdict, opened.epoch)))
        }
        Err(RepoError::Storage(error)) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether any session but `own` has not ended: its packs may be in no segment.
pub(crate) fn any_unended(objects: &Objects, own: SessionId) -> Result<bool, RepoError> {
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    let mut each = |name| {
        match name {
            Name::Session(id, Part::Begin) => begun.push(id),
            Name::Session(id, Part::End) => ended.push(id),
            _ => {}
        }
        Ok(())
    };
    objects.storage.list_names(Family::Sessions, &mut each)?;
    ended.sort_unstable();
    Ok(begun.iter().any(|id| *id != own && ended.binary_search(id).is_err()))
}

/// Reads generation `number`, if it exists, and the hash of its stored bytes; its signature is checked, not whether its
/// signer may remove anything.
pub(crate) fn generation(
    objects: &Objects,
    number: u64,
) -> Result<Option<(Generation, ObjectId)>, RepoError> {
    let name = Name::generation(number);
    let (plain, id) = match objects.get_hashed(ObjectKind::Generation, &name) {
        Ok(opened) => opened,
        Err(RepoError::Storage(error)) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let generation = Generation::decode(&plain).map_err(|corrupt| corrupt.within(name))?;
    if generation.number != number {
        let wrong = format!("it calls itself {}", generation.number);
        return Err(Corrupt::new(name.to_string(), wrong).into());
    }
    let (body, key) = (generation.encode_signed(), &generation.public_key);
    let genuine = signed::is_genuine(&objects.keyring, GENERATION_DOMAIN, &body, key, &generation.signature);
    if !genuine {
        return Err(Corrupt::new(name.to_string(), "its signature is wrong").into());
    }
    Ok(Some((generation, id)))
}

/// Returns whether a generation removes what it names: its signer had the right to.
pub(crate) fn is_obeyed(rights: &Rights, generation: &Generation) -> bool {
    let signer = client_of(&generation.public_key);
    rights.at_generation(&signer, generation.number) & PRUNE != 0 || planted(Bug::ObeyAnybody)
}

/// Reads generation `number` likewise. One whose signer had no right to it removes nothing: its lists are empty.
pub(crate) fn read_generation(
    objects: &Objects,
    number: u64,
) -> Result<Option<(Generation, ObjectId)>, RepoError> {
    let Some((read, id)) = generation(objects, number)? else { return Ok(None) };
    let known = objects.known.read().unwrap_or_else(PoisonError::into_inner);
    let is_void = known.rights.as_ref().is_some_and(|rights| !is_obeyed(rights, &read));
    Ok(Some((if is_void { read.without_effect() } else { read }, id)))
}

impl Repository {
    /// Signs a generation with this slot's key and publishes it; key and signature are filled in. Returns it, and
    /// whether it is the one of its number that counts.
    pub(crate) fn publish_signed_generation(
        &self,
        mut generation: Generation,
    ) -> Result<(Generation, Put), RepoError> {
        // After a new epoch another key signs.
        let epoch = self.newest_epoch()?;
        // One that names nothing removes nothing, whoever signs it.
        if generation.names_anything() {
            self.assert_right(PRUNE, "remove anything for good")?;
        }
        let keyring = &self.objects.keyring;
        let key = signed::signer(keyring)?;
        generation.public_key = key.verifying_key().to_bytes();
        generation.signature = signed::sign(&key, keyring, GENERATION_DOMAIN, &generation.encode_signed());
        let (name, plain) = (Name::generation(generation.number), generation.encode());
        let means = |opened: &[u8]| Generation::decode(opened).is_ok_and(|again| again == generation);
        let mut put =
            self.objects.put(ObjectKind::Generation, &name, &plain, Some(generation.session), &means)?;
        // A storage that stored and then reported an error may have been asked twice.
        if put == Put::Present
            && read_generation(&self.objects, generation.number)?
                .is_some_and(|(there, _)| there == generation)
        {
            put = Put::Stored;
        }
        if put == Put::Stored && self.newest_epoch()? != epoch {
            // An epoch that began at this moment may have made it void: nothing may be deleted by it then.
            self.begin_era()?;
            let known = self.objects.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.rights.as_ref().is_some_and(|rights| !is_obeyed(rights, &generation)) {
                put = Put::Present;
            }
        }
        if put == Put::Stored {
            self.log_after(Act::Removed, None)?;
        }
        Ok((generation, put))
    }
}

/// Reads the condemned sets there are; those whose generation exists are among them.
pub(crate) fn live_condemned(objects: &Objects) -> Result<Vec<Condemned>, RepoError> {
    let mut sets = Vec::new();
    for name in objects.names(Family::Condemned)? {
        match objects.get(ObjectKind::Condemned, &name) {
            Ok(plain) => sets.push(Condemned::decode(&plain).map_err(|corrupt| corrupt.within(name))?),
            // Its generation exists by now, and is read after the sets.
            Err(RepoError::Storage(error)) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sets)
}

/// Looks at the live condemned sets, *then* at the generations after `seen`: in this order a set that
/// ends between the two looks is seen as a generation (`FORMAT.md` 20). Whoever signed one may be deleting what it names,
/// with a right to or not.
pub(crate) fn look_again(objects: &Objects, seen: u64) -> Result<Endangered, RepoError> {
    let sets = live_condemned(objects)?;
    let mut endangered = Endangered::default();
    let mut newest = seen;
    while let Some((generation, _)) = self::generation(objects, newest + 1)? {
        endangered.snapshots.extend(generation.snapshots);
        endangered.packs.extend(generation.packs);
        endangered.segments.extend(generation.segments);
        newest += 1;
    }
    for set in sets.into_iter().filter(|set| set.base >= newest) {
        endangered.snapshots.extend(set.snapshots);
        endangered.packs.extend(set.packs);
        endangered.segments.extend(set.segments);
    }
    Ok(endangered)
}
