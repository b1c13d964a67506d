//! The log of a repository: read on before anything is done, written after whatever changes what is alive.
//! Normative: `FORMAT.md` 15.
//!
//! ```text
//! what is remembered ─ entries since ─ generations since ─ what is forgotten ─ all compared ─ remembered
//! ```
//!
//! - `reading`: entries, in their order. `compare`: what they say of other objects.
//! - `epochs`: key epochs that count. `rotate`: opens one.
//! - `append`: entries of our own. `admit`: who gets which rights.
//!
//! Cost, where everything is remembered: a listing of the log and one of what is forgotten, and one small read for
//! each client and each new entry. Where nothing is, every entry is read once.

mod admit;
mod append;
mod compare;
pub(crate) mod epochs;
mod reading;
mod rotate;

pub(crate) use reading::Made;
pub use rotate::{EpochReport, KeptSlot};

use super::write::lock;
use super::{RepoError, Repository, SlotInfo};
use crate::crypto::keyring::client_of;
use crate::error::{Corrupt, Kind};
use crate::id::{ClientId, ObjectId};
use crate::listing::Time;
use crate::log::{Complaint, Entry, LogError, Mark, Memory, MemoryFile, Rights, Seen};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::storage::Name;
use epochs::Counted;
use reading::{Reading, rights};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, RwLock};

/// Longest stored object that is read only to be hashed: one of 16 MiB with its padding.
const MAX_STORED: u64 = 19 << 20;

/// What of the log everybody asks for who reads objects.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Who may do what; until the log is read, all who can write.
    pub rights: Option<Rights>,
    /// Newest key epoch when that was counted.
    pub era: u32,
    /// Number of the retention object below which none counts.
    pub retention: u64,
    /// Key epochs that count, from the second on, in their order.
    pub epochs: Vec<Counted>,
    /// Segments of earlier epochs that the newest one names, and its number.
    pub segments: Option<(u32, Arc<Vec<ObjectId>>)>,
}

/// The same, shared.
pub(crate) type Shared = Arc<RwLock<Known>>;

/// What this process knows of the log.
#[derive(Default)]
pub(super) struct History(Mutex<State>);

#[derive(Default)]
struct State {
    /// Everything that was read and compared; nothing before the first look.
    memory: Option<Memory>,
    file: Option<MemoryFile>,
    host: String,
    time: Time,
    is_first_contact: bool,
    /// Whose log goes on behind what is listed.
    probe: Option<ClientId>,
}

impl State {
    /// Returns the number of the newest generation that is known.
    fn generation(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.generation.number)
    }
}

/// The log of one client, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Whose.
    pub client: ClientId,
    /// Whether it is the client of the key in use.
    pub is_own: bool,
    /// Its last entry.
    pub seen: Seen,
    /// Its rights: [`APPEND`](crate::log::APPEND) and so on.
    pub rights: u64,
}

/// What all logs come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Every log, by client.
    pub heads: Vec<LogHead>,
    /// Clients that were taken along into the newest key epoch and have written nothing since, and when that was made.
    pub unheard: Vec<(ClientId, Time)>,
    /// Newest generation.
    pub generation: u64,
    /// Snapshots that an entry made and no generation removed.
    pub alive: u64,
    /// One number for all of it, to be compared with what another machine shows.
    pub fingerprint: [u8; 32],
    /// Nothing was remembered, so that nothing can be said of what was before.
    pub is_first_contact: bool,
}

/// What a reading of every entry found.
pub(crate) struct Whole {
    pub complaints: Vec<Complaint>,
    pub memory: Memory,
    pub made: Vec<Made>,
    /// Which generation removed what entries made.
    pub removed: BTreeMap<ObjectId, u64>,
    /// The last entry of each log.
    pub last: BTreeMap<ClientId, Entry>,
    pub rights: Rights,
    /// Key slots that were added, by whom and in which entry.
    pub slots_added: Vec<(ClientId, u64, ObjectId)>,
    pub entries: u64,
}

/// Why a log was not taken up, and what it says all the same.
struct Contradicted {
    error: RepoError,
    seen: Option<Box<Memory>>,
}

/// A log of which nothing but its end is known.
fn unseen(mark: Mark) -> Seen {
    Seen { mark, time: Time::default(), host: String::new(), public_key: [0; 32], live: 0 }
}

impl Repository {
    /// Reads the log on from what this machine remembers, and remembers what it reads: to be done before anything else.
    /// Without a file nothing is remembered. `host` and `now` stand in the entries that this process writes.
    ///
    /// # Errors
    /// [`RepoError::Log`] if the storage shows less than it did, or different things to different clients; then nothing is
    /// remembered. Damage, if the key in use was removed and put back.
    pub fn attach_log(
        &self,
        file: Option<MemoryFile>,
        host: &str,
        now: Time,
        events: &dyn Events,
    ) -> Result<(), RepoError> {
        let mut state = lock(&self.history.0);
        let host = &host[..host.floor_char_boundary(255)];
        *state = State { file, host: host.to_owned(), time: now, ..State::default() };
        for notice in self.look(&mut state)? {
            events.event(Event::Notice(notice));
        }
        if let Err(error) = self.assert_taken_along() {
            events.event(Event::Notice(error.to_string()));
        }
        let Some(memory) = &state.memory else { return Ok(()) };
        if memory.slots_gone.contains(&self.slot) && !planted(Bug::TrustOldSlot) {
            let stays = |slot: &SlotInfo| slot.can_read && !memory.slots_gone.contains(&slot.id);
            let wrong = "it was removed, as the log says, and somebody has put it back";
            if self.slots()?.iter().any(stays) {
                let wrong = format!("{wrong}; open with another key");
                return Err(Corrupt::new(Name::slot(self.slot).to_string(), wrong).into());
            }
            // The last way to what is stored is none to be closed.
            events.event(Event::Notice(format!("{}: {wrong}; no other key is left", Name::slot(self.slot))));
        }
        Ok(())
    }

    /// Takes up the newest key epoch, and counts anew what the log says.
    pub(crate) fn begin_era(&self) -> Result<(), RepoError> {
        self.newest_epoch()?;
        let mut state = lock(&self.history.0);
        self.look(&mut state).map(drop)
    }

    /// Makes sure that the log was read once in this process.
    pub(crate) fn know_log(&self) -> Result<(), RepoError> {
        let mut state = lock(&self.history.0);
        if state.memory.is_none() {
            self.look(&mut state)?;
        }
        Ok(())
    }

    /// Returns the client that made the repository.
    pub(crate) fn first_client(&self) -> ClientId {
        client_of(&self.config().first_signer)
    }

    /// Reads on, compares everything, and only then remembers it. Returns what a person should know.
    fn look(&self, state: &mut State) -> Result<Vec<String>, RepoError> {
        let mut notices = Vec::new();
        let known = match state.memory.take() {
            Some(memory) => Some(memory),
            None => self.recall(state.file.as_ref(), &mut notices),
        };
        state.is_first_contact |= known.is_none();
        let before = known.clone().unwrap_or_default();
        let now = match self.read_on(before.clone(), state.probe) {
            Ok(now) => now,
            Err(Contradicted { error, seen }) => {
                if planted(Bug::RememberFirst)
                    && let Some(memory) = seen
                {
                    state.memory = Some(*memory);
                    let _ = self.remember(state);
                    state.memory = None;
                }
                return Err(error);
            }
        };
        self.know(&now);
        let is_new = known.is_none_or(|known| known != now);
        state.memory = Some(now);
        if is_new {
            notices.extend(self.remember(state)?);
        }
        Ok(notices)
    }

    /// Tells everybody who reads objects what the log says.
    fn know(&self, memory: &Memory) {
        let era = self.objects.keyring.epoch();
        let rights = rights(&self.objects, self.first_client(), &memory.words);
        let mut known = self.objects.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        (known.rights, known.era, known.retention) = (Some(rights), era, memory.retention.number);
    }

    /// Reads on from what is known; an error comes with what was read.
    fn read_on(&self, before: Memory, probe: Option<ClientId>) -> Result<Memory, Contradicted> {
        let read = |before: Memory| {
            let mut reading = Reading::new(&self.objects, self.first_client(), before, false);
            reading.probe = probe;
            let complaints = reading.run().map_err(|error| Contradicted { error, seen: None })?;
            if complaints.is_empty() {
                Ok(reading.now)
            } else {
                Err(Contradicted { error: LogError { complaints }.into(), seen: Some(Box::new(reading.now)) })
            }
        };
        let (words, epochs) = (before.words.clone(), before.epochs.len());
        let (is_fresh, accepted) = (before.heads.is_empty(), before.accepted.clone());
        let is_unranked = before.is_unranked;
        let now = read(before)?;
        if is_fresh || now.words == words && now.epochs.len() == epochs && !is_unranked {
            return Ok(now);
        }
        // What is obeyed may be more or less than it seemed, or of what is known the order is not: everything is counted anew.
        read(Memory { accepted, ..Memory::default() })
    }

    /// Reads what this machine remembers. What cannot be read is no memory, and that is told.
    fn recall(&self, file: Option<&MemoryFile>, notices: &mut Vec<String>) -> Option<Memory> {
        let lost = |why: &dyn std::fmt::Display| {
            format!(
                "what this machine remembers of the repository's log is lost, so that older states cannot be told from it: {why}"
            )
        };
        match file?.read() {
            Ok(bytes) => match Memory::decode(&bytes?, self.id()) {
                Ok(memory) => return Some(memory),
                Err(corrupt) => notices.push(lost(&corrupt)),
            },
            Err(error) => notices.push(lost(&error)),
        }
        None
    }

    /// Stores what is known; never less than what stands there already. Returns why that cannot be, if it cannot.
    fn remember(&self, state: &mut State) -> Result<Option<String>, RepoError> {
        let (Some(file), Some(memory)) = (&state.file, &mut state.memory) else { return Ok(None) };
        let failed = |error: crate::log::MemoryError| {
            Ok(Some(format!(
                "{error}; whether the storage is set back later cannot be told from what is seen now"
            )))
        };
        let held = match file.hold() {
            Ok(held) => held,
            Err(error) => return failed(error),
        };
        let there = file.read().ok().flatten().and_then(|bytes| Memory::decode(&bytes, self.id()).ok());
        if let Some(there) = there.filter(|there| memory.lacks(there)) {
            // Another process has seen more meanwhile.
            *memory = self.read_on(there, state.probe).map_err(|wrong| wrong.error)?;
        }
        held.write(&memory.encode(self.id())).map_or_else(failed, |()| Ok(None))
    }

    /// Forgets what this machine remembers and takes the storage as it is, though it has lost something. Returns what is
    /// given up by that: what was remembered and is not there, and what the logs that are there name in vain.
    pub fn accept_log(&self) -> Result<Vec<Complaint>, RepoError> {
        let mut state = lock(&self.history.0);
        let mut given_up = Vec::new();
        if let Some(known) = self.recall(state.file.as_ref(), &mut Vec::new()) {
            given_up = Reading::new(&self.objects, self.first_client(), known, false).run()?;
        }
        let mut reading = Reading::new(&self.objects, self.first_client(), Memory::default(), true);
        for complaint in reading.run()? {
            if !given_up.contains(&complaint) {
                given_up.push(complaint);
            }
        }
        let mut memory = reading.now;
        memory.accepted = memory.heads.iter().map(|(client, seen)| (*client, seen.mark.number)).collect();
        // What was relied on and is not there is not waited for.
        let mut again = Reading::new(&self.objects, self.first_client(), memory, false);
        again.before.retention = Mark::NONE;
        again.run()?;
        if let Some(file) = &state.file {
            let failed = |error: crate::log::MemoryError| RepoError::Refused(error.to_string());
            file.hold().and_then(|held| held.write(&again.now.encode(self.id()))).map_err(failed)?;
        }
        state.memory = Some(again.now);
        self.look(&mut state)?;
        Ok(given_up)
    }

    /// Reads every entry, whatever is remembered, and verifies every signature.
    pub(crate) fn whole_log(&self) -> Result<Whole, RepoError> {
        let accepted = self.with_log(|memory| memory.accepted.clone()).unwrap_or_default();
        let before = Memory { accepted, ..Memory::default() };
        let mut reading = Reading::new(&self.objects, self.first_client(), before, true);
        let complaints = reading.run()?;
        let entries = reading.listed.values().map(|numbers| numbers.len() as u64).sum();
        let Reading { now: memory, made, removed, last, rights, slots_added, .. } = reading;
        Ok(Whole { complaints, memory, made, removed, last, rights, slots_added, entries })
    }

    /// Asks what is known of the log; nothing if it was not read.
    pub(crate) fn with_log<T>(&self, ask: impl FnOnce(&Memory) -> T) -> Option<T> {
        lock(&self.history.0).memory.as_ref().map(ask)
    }

    /// Returns the snapshots that the log says are alive and that are not among these; nothing if it was not read.
    pub(crate) fn logged_but(&self, ids: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
        let but = |memory: &Memory| memory.alive.keys().filter(|id| !ids.contains(id)).copied().collect();
        self.with_log(but).unwrap_or_default()
    }

    /// Returns whether the log says that a snapshot is alive.
    pub(crate) fn is_logged(&self, id: &ObjectId) -> bool {
        self.with_log(|memory| memory.alive.contains_key(id)).unwrap_or_default()
    }

    /// Returns what all logs come to; they are read on first.
    pub fn log_state(&self) -> Result<LogState, RepoError> {
        let mut state = lock(&self.history.0);
        self.look(&mut state)?;
        let memory = state.memory.clone().unwrap_or_default();
        let (own, rights) =
            (self.objects.keyring.client()?, rights(&self.objects, self.first_client(), &memory.words));
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.id().as_bytes());
        for (client, seen) in &memory.heads {
            hasher.update(client.as_bytes()).update(&seen.mark.number.to_le_bytes());
            hasher.update(seen.mark.id.as_bytes());
        }
        hasher.update(memory.generation.id.as_bytes());
        let head = |(client, seen): (&ClientId, &Seen)| LogHead {
            client: *client,
            is_own: *client == own,
            seen: seen.clone(),
            rights: rights.of(client),
        };
        let unheard = self.objects.epochs().pop().map(|epoch| {
            let time = Time { secs: epoch.created_unix_secs, nanos: 0 };
            let unheard =
                epoch.opening.signers.into_keys().filter(|client| !memory.heads.contains_key(client));
            unheard.map(|client| (client, time)).collect()
        });
        Ok(LogState {
            unheard: unheard.unwrap_or_default(),
            heads: memory.heads.iter().map(head).collect(),
            generation: memory.generation.number,
            alive: memory.alive.len() as u64,
            fingerprint: *hasher.finalize().as_bytes(),
            is_first_contact: state.is_first_contact,
        })
    }

    /// Returns whether nothing was remembered when the log was read first in this process.
    pub fn is_first_contact(&self) -> bool {
        lock(&self.history.0).is_first_contact
    }
}

/// Returns whether a failure to write an entry must end a run that has done its work: the log contradicts what is known.
/// After any other the next entry of anybody says the same.
pub(crate) fn is_contradiction(error: &RepoError) -> bool {
    matches!(error, RepoError::Log(_)) || error.kind() == Kind::Integrity
}
