//! Check: whether every snapshot can be restored, and if not, what is hit.
//!
//! - *Structure*: configuration, slots, names of all objects, everything that orders runs; every segment; for every pack its length and
//!   that a segment names it; for every snapshot every node of its maps, and that every chunk they
//!   refer to is in a pack that is there. Each map is compared with the one before of the same module and
//!   sources: what both share was walked already.
//! - *Log*: in the structure, every entry, its signature, and all that it says of other objects.
//! - *Data*: packs are read whole: name, header, directory, every block, every chunk.
//! - *Parity*: in the structure, what opens and which shards a group has; when all data are read, each shard against its packs.
//!
//! What the key in use does not open (secrets; for one that can only write, all snapshots and data) is counted and told: nothing is known of it, so nothing is said
//! of its soundness.
//!
//! Others may go on meanwhile. What a backup stores after the packs were listed is asked for by name. What a prune removes
//! between two looks seems to be missing: so damage of the structure is damage if a second look finds the same, and
//! a pack that cannot be read is damaged if no generation has removed it.
//!
//! Memory: 40 bytes per pack, the block cache of listings, one block per reading thread.

mod chosen;
mod control;
mod data;
mod hits;
mod log;
mod maps;
mod parents;
mod parity;
mod structure;
mod written;

use crate::error::Kind;
use crate::id::ObjectId;
use crate::progress::{Event, Events, Phase};
use crate::repo::{RepoError, Repository};
use crate::storage::Name;

/// Findings that a report carries at most.
pub const REPORTED: usize = 1000;

pub(crate) use chosen::packs as chosen_packs;
pub(crate) use data::{Looked, each as look_at_packs};
pub(crate) use structure::stop_if_asked;
pub use written::{Extent, written};

/// How much stored data to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadData {
    /// None.
    Nothing,
    /// So many per cent of the packs, at least one: those first that this machine has not read for longest, else chosen by the seed.
    Percent(u8),
    /// Everything.
    All,
}

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// How much stored data to read.
    pub data: ReadData,
    /// Reads only packs that this machine has not read for so many days, as far as is known.
    pub unread_for_days: Option<u32>,
    /// Today, in days since 1970-01-01: noted for the packs that are read and sound. Nothing: nothing is noted.
    pub today: Option<u32>,
    /// Chooses the packs of a sample, where they waited equally long.
    pub seed: u64,
    /// Threads that read packs; at least 1, and fewer where memory is short.
    pub threads: usize,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something to know; nothing is lost.
    Notice,
    /// An object that is none of the format's.
    Foreign,
    /// Something is damaged, forged or missing.
    Damage,
}

/// One thing a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The object, by name.
    pub object: String,
    /// Byte offset in it, where one is known.
    pub offset: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What does not restore because of it: `snapshot 1a2b3c4d: home/ann/x`, or `snapshot 1a2b3c4d: /` if
    /// nothing of it does; the first few.
    pub hits: Vec<String>,
}

/// What a check looked at and found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Snapshots that were walked.
    pub snapshots: u64,
    /// Snapshots that are there and that the key in use does not open: nothing is known of them.
    pub snapshots_unopened: u64,
    /// Packs there are.
    pub packs: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Packs of which this machine does not know that it ever read them, after this check.
    pub packs_never_read: u64,
    /// Listings, dumps and the like that the key in use does not open: nothing is known of them.
    pub maps_unopened: u64,
    /// Packs among those that were read which the key in use does not open: only their names were compared.
    pub packs_unopened: u64,
    /// Entries of all logs.
    pub log_entries: u64,
    /// Clients that have written some.
    pub log_clients: u64,
    /// Parity groups there are.
    pub parity_groups: u64,
    /// Parity objects there are.
    pub parity_objects: u64,
    /// Bytes of parity objects that were read whole and compared with their packs.
    pub parity_bytes_read: u64,
    /// The first [`REPORTED`] findings.
    pub findings: Vec<Finding>,
    /// How many there were.
    pub findings_total: u64,
    /// How many of them are damage.
    pub damage_total: u64,
}

impl CheckReport {
    /// Returns whether everything that was asked for could be looked at.
    pub fn saw_all(&self) -> bool {
        self.snapshots_unopened == 0 && self.maps_unopened == 0 && self.packs_unopened == 0
    }

    /// Returns whether nothing is damaged of what was looked at.
    pub fn is_sound(&self) -> bool {
        self.damage_total == 0
    }

    /// Adds what somebody else found.
    pub fn add(&mut self, finding: Finding) {
        self.find(finding);
    }

    /// Returns the place that the finding has among those that are kept.
    fn find(&mut self, finding: Finding) -> usize {
        self.findings_total += 1;
        self.damage_total += u64::from(finding.severity == Severity::Damage);
        if self.findings.len() < REPORTED {
            self.findings.push(finding);
            return self.findings.len() - 1;
        }
        usize::MAX
    }

    /// Returns what is damaged, of what is kept.
    fn damaged(&self) -> Vec<(String, Option<u64>, String)> {
        let damaged = self.findings.iter().filter(|finding| finding.severity == Severity::Damage);
        damaged.map(|one| (one.object.clone(), one.offset, one.message.clone())).collect()
    }

    fn damage(&mut self, object: impl ToString, message: impl ToString) {
        self.tell(Severity::Damage, object, message);
    }

    fn notice(&mut self, object: impl ToString, message: impl ToString) {
        self.tell(Severity::Notice, object, message);
    }

    fn tell(&mut self, severity: Severity, object: impl ToString, message: impl ToString) {
        let (object, message) = (object.to_string(), message.to_string());
        self.find(Finding { severity, object, offset: None, message, hits: Vec::new() });
    }
}

/// Why a check could not be carried out; what it *finds* is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The repository could not be read at all.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// Each look found something else missing: others remove things all the time.
    #[error("others change the repository all the time, so nothing can be said of it")]
    Overtaken,
}

impl CheckError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::Overtaken => Kind::Busy,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repo(error) => error.hint(),
            Self::Overtaken => Some("check again when no prune is under way".into()),
        }
    }
}

/// Checks the repository.
pub fn run(
    repo: &Repository,
    options: &CheckOptions,
    events: &dyn Events,
) -> Result<CheckReport, CheckError> {
    events.event(Event::Phase(Phase::Structure));
    let Structure { mut report, packs, broken } = look_twice(repo, events)?;
    if options.data != ReadData::Nothing {
        events.event(Event::Phase(Phase::Data));
        let chosen = chosen::packs(repo, &packs, options)?;
        data::read(repo, &chosen, options, &mut report, events)?;
    }
    parity::run(repo, &packs, options, &mut report, events)?;
    report.packs_never_read = chosen::never_read(repo, &packs)?;
    hits::locate(repo, &broken, &mut report, events)?;
    Ok(report)
}

/// What a look at the structure found.
struct Structure {
    report: CheckReport,
    packs: StoredPacks,
    broken: maps::Broken,
}

/// Most looks at the structure.
const LOOKS: usize = 8;

/// Looks at the structure, and again until nothing is damaged or the same as the time before.
fn look_twice(repo: &Repository, events: &dyn Events) -> Result<Structure, CheckError> {
    let mut before = None;
    for _ in 0..LOOKS {
        let found = look(repo, events)?;
        let damaged = found.report.damaged();
        if damaged.is_empty() || before.as_ref() == Some(&damaged) {
            return Ok(found);
        }
        before = Some(damaged);
        repo.catch_up(events)?;
    }
    Err(CheckError::Overtaken)
}

fn look(repo: &Repository, events: &dyn Events) -> Result<Structure, CheckError> {
    let mut report = CheckReport::default();
    let packs = structure::packs(repo, &mut report)?;
    control::run(repo, &mut report, events)?;
    log::run(repo, &mut report)?;
    structure::segments(repo, &packs, &mut report, events)?;
    let broken = maps::snapshots(repo, &packs, &mut report, events)?;
    Ok(Structure { report, packs, broken })
}

/// Packs that are stored, sorted by name, with their lengths: 40 bytes each.
pub(crate) type StoredPacks = Vec<(ObjectId, u64)>;

/// Returns the length of a pack, which may have been stored since they were listed.
fn stored_len(repo: &Repository, packs: &StoredPacks, id: &ObjectId) -> Result<Option<u64>, RepoError> {
    match packs.binary_search_by_key(id, |(id, _)| *id) {
        Ok(place) => Ok(packs.get(place).map(|(_, len)| *len)),
        Err(_) => Ok(repo.storage().len(&Name::pack(*id))?),
    }
}

/// Turns an error that means damage into a finding; others end the check.
fn damage_or(error: RepoError, object: impl ToString, report: &mut CheckReport) -> Result<(), CheckError> {
    if !error.is_damage() {
        return Err(error.into());
    }
    report.damage(object, error);
    Ok(())
}
