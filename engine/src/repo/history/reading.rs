//! Reading logs on from what is remembered of them, and comparing all that they say with each other and with what is
//! stored. Nothing is believed before all of it was compared.

use super::compare::Row;
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::client_of;
use crate::error::Kind;
use crate::id::{ClientId, ObjectId};
use crate::log::{ADMIT, APPEND, Act, Complaint, Entry, Head, Mark, Memory, Rights, Seen, Word, Wrong};
use crate::planted::{Bug, planted};
use crate::repo::RepoError;
use crate::repo::objects::Objects;
use crate::repo::signed;
use crate::storage::{Family, Name};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const DOMAIN: &[u8] = b"dedup log 1";
/// Claims that wait at most, before those that can be are settled.
const WAITING: usize = 1 << 16;
/// Entries that are read before that is looked at.
const AT_ONCE: usize = 1 << 10;

/// What an entry says of an object of another row: which it is, and who says so in which entry.
pub(super) type Claims = BTreeMap<(Row, Mark, ClientId), u64>;

/// What an entry made.
pub(crate) struct Made {
    /// Whose entry.
    pub by: ClientId,
    /// Its number.
    pub number: u64,
    /// How many entries it follows.
    pub rank: u64,
    /// The newest generation that its writer knew.
    pub generation: u64,
    /// The snapshots.
    pub snapshots: Vec<ObjectId>,
}

/// Returns who may do what, by what was said and by the key epochs that count.
pub(super) fn rights(objects: &Objects, first: ClientId, words: &[Word]) -> Rights {
    Rights::new(first, words, &objects.epochs().into_iter().map(|epoch| epoch.opening).collect::<Vec<_>>())
}

/// One reading.
pub(super) struct Reading<'o> {
    pub(super) objects: &'o Objects,
    pub(super) first: ClientId,
    /// Verify every signature: else only that of the last entry of each log, which vouches for those before it.
    pub(super) thorough: bool,
    /// Whose log goes on behind what is listed: its next number turned out to be taken.
    pub probe: Option<ClientId>,
    pub before: Memory,
    pub now: Memory,
    /// Hashes that were compared.
    pub(super) hashes: BTreeMap<(Row, u64), ObjectId>,
    pub listed: BTreeMap<ClientId, BTreeSet<u64>>,
    pub(super) claims: Claims,
    /// The same of generations, which are read after all entries.
    pub(super) of_generations: Claims,
    /// The highest retention object that each log relies on, and in which entry.
    pub(super) of_retention: BTreeMap<ClientId, (Mark, u64)>,
    /// Complaints, and which entry of whom they come from; those of clients without rights do not count.
    found: Vec<(Option<(ClientId, u64)>, Complaint)>,
    /// The last entry of each log that was read.
    pub last: BTreeMap<ClientId, Entry>,
    pub made: Vec<Made>,
    /// Key slots that went, and who says so.
    slots_gone: Vec<(ClientId, u64, ObjectId)>,
    /// Key slots that came, and who says so.
    pub slots_added: Vec<(ClientId, u64, ObjectId)>,
    /// Key epochs that entries name: whose, which entry, what.
    pub(super) of_epochs: Vec<(ClientId, u64, Mark)>,
    /// Lowest generation that the writer of a snapshot's entry had seen.
    pub(super) oldest_seen: u64,
    /// Removed snapshots and the generation that did it; kept by thorough readings.
    pub removed: BTreeMap<ObjectId, u64>,
    pub rights: Rights,
}

impl<'o> Reading<'o> {
    pub fn new(objects: &'o Objects, first: ClientId, before: Memory, thorough: bool) -> Self {
        let now = before.clone();
        let rights = rights(objects, first, &before.words);
        let oldest_seen = before.generation.number;
        let (hashes, listed, claims, of_generations, of_retention) = Default::default();
        let (found, last, made, slots_gone, of_epochs, removed) = Default::default();
        let slots_added = Vec::new();
        Self {
            objects,
            first,
            thorough,
            probe: None,
            before,
            now,
            hashes,
            listed,
            claims,
            of_generations,
            of_retention,
            found,
            last,
            made,
            slots_gone,
            slots_added,
            of_epochs,
            oldest_seen,
            removed,
            rights,
        }
    }

    /// Reads everything that is new; returns what is wrong.
    pub fn run(&mut self) -> Result<Vec<Complaint>, RepoError> {
        for name in self.objects.names(Family::Log)? {
            if let Name::Log(client, number) = name {
                self.listed.entry(client).or_default().insert(number);
            }
        }
        self.remembered()?;
        let clients: BTreeSet<ClientId> = self.listed.keys().copied().collect();
        for client in clients {
            while self.read_on(client, AT_ONCE)? {
                if self.claims.len() > WAITING {
                    self.settle()?;
                }
            }
        }
        while let Some(client) = self.probe {
            let next = self.end_of(client) + 1;
            if !self.read_one(client, next)? {
                break;
            }
        }
        self.settle()?;
        self.signatures();
        self.epochs()?;
        self.rights = rights(self.objects, self.first, &self.now.words);
        for (by, at, slot) in std::mem::take(&mut self.slots_gone) {
            // Or a machine that can only write could keep everybody out.
            if self.rights.of_entry(&by, at) & ADMIT != 0 || planted(Bug::BelieveAnyRemovedSlot) {
                self.now.slots_gone.insert(slot);
            }
        }
        self.generations()?;
        self.retention()?;
        let complaints = std::mem::take(&mut self.found);
        let counts = |by: &Option<(ClientId, u64)>| {
            by.is_none_or(|(by, at)| self.rights.of_entry(&by, at) & APPEND != 0)
        };
        Ok(complaints.into_iter().filter(|(by, _)| counts(by)).map(|(_, complaint)| complaint).collect())
    }

    pub(super) fn complain(&mut self, by: Option<(ClientId, u64)>, complaint: Complaint) {
        self.found.push((by, complaint));
    }

    /// Complains of what an entry of ours lacks, in the name of its own log.
    fn complain_of(&mut self, client: ClientId, number: u64, wrong: Wrong, why: impl ToString) {
        if self.before.accepted.get(&client).is_some_and(|end| number <= *end) {
            return;
        }
        let object = Name::log(client, number);
        let since = self.now.heads.get(&client).map(|seen| (seen.time, seen.host.clone()));
        let known_by = String::new();
        let complaint = Complaint { object, wrong, known_by, since, why: why.to_string() };
        self.complain(Some((client, number)), complaint);
    }

    /// Compares what is remembered with what is there: the last entry of each log, and the newest generation.
    fn remembered(&mut self) -> Result<(), RepoError> {
        let mut rows: Vec<_> =
            self.before.heads.iter().map(|(client, seen)| (Row::Log(*client), seen.mark)).collect();
        rows.push((Row::Generations, self.before.generation));
        for (row, mark) in rows.into_iter().filter(|(_, mark)| mark.number > 0) {
            self.hashes.insert((row, mark.number), mark.id);
            let there = self.hash_of_stored(&row.name(mark.number))?;
            if there == Some(mark.id) || planted(Bug::AcceptLowerHead) && there.is_none() {
                continue;
            }
            let wrong = if there.is_none() { Wrong::Missing } else { Wrong::Other };
            let seen = row.client().and_then(|client| self.before.heads.get(&client));
            let since = seen.map(|seen| (seen.time, seen.host.clone()));
            let last = row.client().and_then(|client| self.listed.get(&client)?.last().copied());
            let why = match (row, last) {
                (Row::Log(_), None) => "of its log nothing is left".into(),
                (Row::Log(_), Some(last)) if last < mark.number => format!("its log ends at {last}"),
                _ => String::new(),
            };
            let object = row.name(mark.number);
            let known_by = "this machine".into();
            self.complain(None, Complaint { object, wrong, known_by, since, why });
        }
        Ok(())
    }

    pub(super) fn hash_of_stored(&self, name: &Name) -> Result<Option<ObjectId>, RepoError> {
        match self.objects.storage.get_all(name, super::MAX_STORED) {
            Ok(bytes) => Ok(Some(ObjectId::from_bytes(*blake3::hash(&bytes).as_bytes()))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the next entries of a log that are listed; returns whether there may be more.
    fn read_on(&mut self, client: ClientId, most: usize) -> Result<bool, RepoError> {
        for _ in 0..most {
            let last = self.end_of(client);
            let listed = self.listed.get(&client).and_then(|listed| listed.range(last + 1..).next().copied());
            let Some(next) = listed else { return Ok(false) };
            // Listings may lag: what is missing between two is asked for.
            if !self.read_one(client, last + 1)? {
                let why = format!("there is {}", Name::log(client, next));
                self.complain_of(client, last + 1, Wrong::Missing, why);
                self.skip_to(client, next - 1);
            }
        }
        Ok(true)
    }

    fn end_of(&self, client: ClientId) -> u64 {
        self.now.heads.get(&client).map_or(0, |seen| seen.mark.number)
    }

    /// Goes on behind a gap.
    fn skip_to(&mut self, client: ClientId, number: u64) {
        let mark = Mark { number, id: Mark::NONE.id };
        let seen = self.now.heads.remove(&client);
        let seen = seen.map_or_else(|| super::unseen(mark), |seen| Seen { mark, ..seen });
        self.now.heads.insert(client, seen);
    }

    /// Reads the next entry of a log; returns whether there is one.
    pub(super) fn read_one(&mut self, client: ClientId, number: u64) -> Result<bool, RepoError> {
        let name = Name::log(client, number);
        let (entry, id) = match self.objects.get_hashed(ObjectKind::Log, &name) {
            Ok((plain, id)) => match Entry::decode(&plain) {
                Ok(entry) => (entry, id),
                Err(corrupt) => return self.unreadable(client, number, corrupt.to_string()),
            },
            Err(RepoError::Storage(error)) if error.is_missing() => return Ok(false),
            // What its header says of itself is anybody's word.
            Err(error) if matches!(error.kind(), Kind::Integrity | Kind::TooNew | Kind::Refused) => {
                return self.unreadable(client, number, error.to_string());
            }
            Err(error) => return Err(error),
        };
        if entry.number != number || client_of(&entry.public_key) != client {
            return self.unreadable(client, number, "it calls itself another one".into());
        }
        let before = self.now.heads.get(&client).map_or(Mark::NONE, |seen| seen.mark);
        let is_gap = before.number > 0 && before.id == Mark::NONE.id;
        if entry.previous != before.id && !is_gap {
            let why = format!("it does not follow {}", Name::log(client, before.number));
            self.complain_of(client, number, Wrong::Forged, why);
        }
        self.hashes.insert((Row::Log(client), number), id);
        self.take(client, entry, id);
        Ok(true)
    }

    fn unreadable(&mut self, client: ClientId, number: u64, why: String) -> Result<bool, RepoError> {
        let Some(id) = self.hash_of_stored(&Name::log(client, number))? else { return Ok(false) };
        // A storage that stores by halves leaves such. If it was another one once, its hash says so: to whoever remembers
        // it or names it, and in the entry after it.
        if self.thorough {
            self.complain_of(client, number, Wrong::Unreadable, why);
        }
        self.skip_to(client, number);
        if let Some(seen) = self.now.heads.get_mut(&client) {
            seen.mark.id = id;
        }
        self.hashes.insert((Row::Log(client), number), id);
        Ok(true)
    }

    /// Takes up what an entry says.
    fn take(&mut self, client: ClientId, entry: Entry, id: ObjectId) {
        let number = entry.number;
        if self.thorough && !self.is_genuine(&entry) {
            self.complain_of(client, number, Wrong::Forged, "its signature is wrong");
        }
        let before = self.last.get(&client);
        // What the entry before it said already was compared then.
        let is_new = |head: &&Head| before.is_none_or(|before| !before.names(head));
        for head in entry.heads.iter().filter(is_new) {
            self.claims.insert((Row::Log(head.client), head.mark, client), number);
        }
        if before.is_none_or(|before| before.generation != entry.generation) && entry.generation != Mark::NONE
        {
            self.of_generations.insert((Row::Generations, entry.generation, client), number);
        }
        let relied = self.of_retention.entry(client).or_insert((Mark::NONE, 0));
        *relied = (*relied).max((entry.retention, number));
        match &entry.act {
            Act::Made(snapshots) => {
                self.oldest_seen = self.oldest_seen.min(entry.generation.number);
                let (rank, snapshots) = (entry.rank(), snapshots.clone());
                let generation = entry.generation.number;
                self.made.push(Made { by: client, number, rank, generation, snapshots });
            }
            Act::Slot { id, is_removed: true } => self.slots_gone.push((client, number, *id)),
            Act::Slot { id, is_removed: false } => self.slots_added.push((client, number, *id)),
            Act::Epoch(epoch) => self.of_epochs.push((client, number, *epoch)),
            Act::Admitted { public_key, rights } => self.now.words.push(Word {
                by: client,
                number,
                of: client_of(public_key),
                rights: *rights,
                generation: entry.generation.number,
                retention: entry.retention.number,
            }),
            Act::Retained | Act::Heartbeat | Act::Verified | Act::Removed => {}
        }
        let seen = Seen {
            mark: Mark { number, id },
            time: entry.time,
            host: entry.host.clone(),
            public_key: entry.public_key,
            live: entry.live,
        };
        self.now.heads.insert(client, seen);
        self.last.insert(client, entry);
    }

    fn is_genuine(&self, entry: &Entry) -> bool {
        let (body, key) = (entry.encode_signed(), &entry.public_key);
        signed::is_genuine(&self.objects.keyring, DOMAIN, &body, key, &entry.signature)
            || planted(Bug::SkipLogSignature)
    }

    /// Verifies the last entry of each log; by its hash it vouches for those before it.
    fn signatures(&mut self) {
        let wrong: Vec<_> =
            self.last.values().filter(|entry| !self.thorough && !self.is_genuine(entry)).collect();
        let wrong: Vec<_> =
            wrong.into_iter().map(|entry| (client_of(&entry.public_key), entry.number)).collect();
        for (client, number) in wrong {
            self.complain_of(client, number, Wrong::Forged, "its signature is wrong");
        }
    }
}
