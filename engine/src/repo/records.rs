//! Run records: what is said of a run after it committed. Normative: `FORMAT.md` 18.
//!
//! A snapshot is never changed, and some things are known only later: hooks that failed after the commit, data
//! that turned out to be of two moments, a verification. They are told beside it, in create-only objects numbered
//! by session; the newest one counts.

use super::control::Verdict;
use super::many::read_each;
use super::sessions::read_end;
use super::{RepoError, Repository};
use crate::crypto::header::ObjectKind;
use crate::error::Corrupt;
use crate::format::MAX_LIST;
use crate::id::{ObjectId, SessionId};
use crate::listing::Time;
use crate::snapshot::Snapshot;
use crate::storage::{Family, Name, Put as Stored};
use crate::wire::{Put, Reader};
use std::collections::BTreeMap;

const MAX_HOOK: usize = 255;
/// How often another number is tried when somebody was quicker.
const ATTEMPTS: u64 = 16;

/// What a record says of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunVerdict {
    /// What it stored may be relied on.
    Good,
    /// What it stored may be of several moments, or wrong: `latest` passes over it.
    Suspect,
    /// It is good as far as is known, and something that belongs to it is not done yet.
    Owed,
}

const VERDICTS: [RunVerdict; 3] = [RunVerdict::Good, RunVerdict::Suspect, RunVerdict::Owed];

/// One record of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Number in the session, from 1.
    pub number: u64,
    /// The snapshot that the session committed.
    pub snapshot: ObjectId,
    /// What it says.
    pub verdict: RunVerdict,
    /// Why, for people; at most 4,096 bytes.
    pub text: String,
    /// Hooks that ran after the commit, in their order: name of at most 255 bytes and exit status, or minus the
    /// signal that ended it. At most 4,096.
    pub hooks: Vec<(String, i64)>,
    /// When it was written, by the writer's clock.
    pub time: Time,
}

impl RunRecord {
    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.number);
        out.put(self.snapshot.as_bytes());
        out.put_u8(VERDICTS.iter().position(|known| *known == self.verdict).map_or(0, |at| at as u8 + 1));
        out.put_bytes(self.text.as_bytes());
        out.put_varint(self.hooks.len() as u64);
        for (name, exit) in &self.hooks {
            out.put_bytes(name.as_bytes());
            out.put_i64(*exit);
        }
        out.put_i64(self.time.secs);
        out.put_u32(self.time.nanos);
        out.put_no_extensions();
        out
    }

    /// Decodes a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("run record", bytes);
        let reader = &mut reader;
        let number = reader.varint()?;
        if number == 0 {
            return Err(reader.corrupt("number 0; records are numbered from 1"));
        }
        let snapshot = ObjectId::from_bytes(reader.array()?);
        let code = reader.u8()?;
        let verdict = usize::from(code).checked_sub(1).and_then(|at| VERDICTS.get(at)).copied();
        let verdict = verdict.ok_or_else(|| reader.corrupt(format!("verdict {code} is unknown")))?;
        let text = reader.text(MAX_LIST, "text")?;
        let mut hooks = Vec::new();
        for _ in 0..reader.count(MAX_LIST, 9, "hooks")? {
            hooks.push((reader.text(MAX_HOOK, "hook")?, reader.i64()?));
        }
        let time = Time { secs: reader.i64()?, nanos: reader.u32()? };
        if time.nanos >= 1_000_000_000 {
            return Err(reader.corrupt("nanoseconds of a second or more"));
        }
        reader.extensions()?;
        reader.clone().finish()?;
        Ok(Self { number, snapshot, verdict, text, hooks, time })
    }
}

impl Repository {
    /// Writes the next record of a run, whatever number `record` has, and returns its number.
    ///
    /// # Errors
    /// [`RepoError::Refused`] if the session did not commit that snapshot.
    pub fn add_run_record(&self, session: SessionId, record: &RunRecord) -> Result<u64, RepoError> {
        let committed = read_end(&self.objects, session)?;
        if committed != Some(Verdict::Committed(record.snapshot)) {
            let wrong = format!("session {session} did not commit snapshot {}", record.snapshot.short());
            return Err(RepoError::Refused(wrong));
        }
        let last = self.record_names()?.remove(&session).and_then(|numbers| numbers.last().copied());
        let first = last.unwrap_or(0).saturating_add(1);
        for number in first..first.saturating_add(ATTEMPTS) {
            let numbered = RunRecord { number, ..record.clone() };
            let plain = numbered.encode();
            // As its reader reads it; what cannot be stored is refused with its reason.
            RunRecord::decode(&plain)?;
            let means = |opened: &[u8]| RunRecord::decode(opened).is_ok_and(|again| again == numbered);
            let name = Name::Run(session, number);
            if self.objects.put(ObjectKind::Run, &name, &plain, Some(session), &means)? == Stored::Stored {
                return Ok(number);
            }
        }
        Err(RepoError::Refused(format!("others write records of session {session} all the time; try again")))
    }

    /// Returns the records of a run, oldest first.
    pub fn run_records(&self, session: SessionId) -> Result<Vec<RunRecord>, RepoError> {
        let numbers = self.record_names()?.remove(&session).unwrap_or_default();
        numbers.into_iter().map(|number| self.run_record(session, number)).collect()
    }

    /// Returns those of the snapshots that their newest record calls suspect, and why; one whose newest record cannot
    /// be read or is of another snapshot is suspect as well.
    pub fn suspects(
        &self,
        snapshots: &[(ObjectId, Snapshot)],
    ) -> Result<BTreeMap<ObjectId, String>, RepoError> {
        let mut suspects = BTreeMap::new();
        for (id, newest) in self.newest_records(snapshots)? {
            let why = match newest {
                Ok(record) => (record.verdict == RunVerdict::Suspect).then_some(record.text),
                Err(why) => Some(why),
            };
            suspects.extend(why.map(|why| (id, why)));
        }
        Ok(suspects)
    }

    /// Returns what is said of those snapshots that have a record: the newest one, or why that cannot be believed.
    pub fn newest_records(
        &self,
        snapshots: &[(ObjectId, Snapshot)],
    ) -> Result<BTreeMap<ObjectId, Result<RunRecord, String>>, RepoError> {
        let names = self.record_names()?;
        let newest = |(id, snapshot): &(ObjectId, Snapshot)| {
            Some((*id, snapshot.session, *names.get(&snapshot.session)?.last()?))
        };
        let newest: Vec<_> = snapshots.iter().filter_map(newest).collect();
        let mut records = BTreeMap::new();
        let read = read_each(&newest, |(_, session, number)| self.run_record(*session, *number));
        for ((id, session, number), read) in newest.into_iter().zip(read) {
            let record = match read {
                Ok(record) if record.snapshot != id => {
                    Err(format!("{} is of another snapshot", Name::Run(session, number)))
                }
                Ok(record) => Ok(record),
                Err(error) if error.kind() == crate::error::Kind::Cancelled => return Err(error),
                Err(error) => Err(format!("what is said of it cannot be read: {error}")),
            };
            records.insert(id, record);
        }
        Ok(records)
    }

    /// Reads a record; its number must be that of its name.
    pub(crate) fn run_record(&self, session: SessionId, number: u64) -> Result<RunRecord, RepoError> {
        let name = Name::Run(session, number);
        let plain = self.objects.get(ObjectKind::Run, &name)?;
        let record = RunRecord::decode(&plain).map_err(|corrupt| corrupt.within(name))?;
        if record.number != number {
            let wrong = format!("it calls itself {}", record.number);
            return Err(Corrupt::new(name.to_string(), wrong).into());
        }
        Ok(record)
    }

    /// Returns the numbers of the records there are, rising, by session.
    pub(crate) fn record_names(&self) -> Result<BTreeMap<SessionId, Vec<u64>>, RepoError> {
        let mut names: BTreeMap<SessionId, Vec<u64>> = BTreeMap::new();
        for name in self.objects.names(Family::Runs)? {
            if let Name::Run(session, number) = name {
                names.entry(session).or_default().push(number);
            }
        }
        Ok(names)
    }
}
