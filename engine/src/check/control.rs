//! The small objects: configuration, key slots, sessions, and what a prune says. Every one is opened. Snapshots
//! that are committed and not there are told with the listings, by the catalog.

use super::structure::{hit, stop_if_asked};
use super::{CheckError, CheckReport, Finding, Severity};
use crate::crypto::header::ObjectKind;
use crate::crypto::slot::Slot;
use crate::error::{Corrupt, Kind};
use crate::format::MAX_SLOT;
use crate::id::{ObjectId, SessionId};
use crate::listing::StoredPath;
use crate::progress::Events;
use crate::repo::control::{Condemned, Intent, Session, Verdict};
use crate::repo::key_changes::KeyChange;
use crate::repo::sessions::read_generation;
use crate::repo::{Config, RepoError, Repository, read_config};
use crate::snapshot;
use crate::storage::{Family, Name, Part};
use std::collections::{BTreeMap, BTreeSet};

/// Checks every object that is neither pack nor segment.
pub(super) fn run(
    repo: &Repository,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    let config = read_config(&**repo.storage());
    let config = config.and_then(|stored| {
        // It stands in clear, and was read once, when the repository was opened.
        if Config::repo_id(&stored).map_err(RepoError::of(Name::config()))? != repo.id() {
            return Err(Corrupt::new("config", "it names another repository by now").into());
        }
        Config::open(stored, &repo.objects.keyring).map_err(RepoError::of(Name::config()))
    });
    tell(config, &Name::config(), report)?;
    let names = |family| repo.objects.names(family);
    let stored_snapshots = repo.objects.ids(Family::Snapshots)?;
    for name in names(Family::Keys)? {
        stop_if_asked(events)?;
        tell(slot(repo, &name), &name, report)?;
    }
    let mut removed = Removed::default();
    generations(repo, &mut removed, report)?;
    for name in names(Family::Condemned)?.into_iter().chain(names(Family::KeyChanges)?) {
        stop_if_asked(events)?;
        tell(opened(repo, &name), &name, report)?;
    }
    for name in names(Family::Retention)? {
        stop_if_asked(events)?;
        if let Some(number) = name.number() {
            tell(repo.retention_object(number), &name, report)?;
        }
    }
    let mut ends = BTreeMap::new();
    for name in names(Family::Sessions)? {
        stop_if_asked(events)?;
        if let Some(Some((session, verdict))) = tell(opened(repo, &name), &name, report)? {
            ends.insert(session, verdict);
        }
    }
    records(repo, &ends, report, events)?;
    uncommitted(repo, &stored_snapshots, &ends, &removed, report, events)
}

/// What generations removed.
#[derive(Default)]
struct Removed {
    snapshots: BTreeSet<ObjectId>,
    sessions: BTreeSet<SessionId>,
}

/// Makes a finding of what is wrong with an object. One that needs keys which this slot lacks is damaged as
/// far as anybody can tell: what is checked here opens with the roots that every slot has. One that is gone
/// since the listing was somebody's to remove.
fn tell<T>(
    result: Result<T, RepoError>,
    name: &Name,
    report: &mut CheckReport,
) -> Result<Option<T>, CheckError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(RepoError::Storage(error)) if error.is_missing() && *name != Name::config() => Ok(None),
        Err(error) if error.is_damage() || matches!(error.kind(), Kind::Refused | Kind::NoRepository) => {
            report.damage(name, error);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn slot(repo: &Repository, name: &Name) -> Result<(), RepoError> {
    let bytes = repo.storage().get_all(name, MAX_SLOT)?;
    if Some(*blake3::hash(&bytes).as_bytes()) != name.object_id().map(|id| *id.as_bytes()) {
        return Err(Corrupt::new(name.to_string(), "its bytes do not hash to its name").into());
    }
    // One of another repository was left by an `init` that did not get through; it opens nothing.
    Slot::parse(bytes).map_err(RepoError::of(name)).map(drop)
}

/// Opens a control object; returns the verdict of a session's end.
fn opened(repo: &Repository, name: &Name) -> Result<Option<(SessionId, Verdict)>, RepoError> {
    let kind = match name {
        Name::Session(_, Part::Begin) => ObjectKind::Session,
        Name::Session(_, Part::Intent(_)) => ObjectKind::Intent,
        Name::Session(_, Part::Alive(_)) => ObjectKind::Progress,
        Name::Session(_, Part::End) => ObjectKind::End,
        Name::Condemned(_) => ObjectKind::Condemned,
        Name::KeyChange(_) => ObjectKind::KeyChange,
        _ => return Ok(None),
    };
    let plain = repo.objects.get(kind, name)?;
    let within = |corrupt: Corrupt| corrupt.within(name);
    match name {
        Name::Session(_, Part::Begin) => drop(Session::decode(&plain).map_err(within)?),
        Name::Session(_, Part::Intent(_)) => drop(Intent::decode(&plain).map_err(within)?),
        Name::Session(id, Part::End) => return Ok(Some((*id, Verdict::decode(&plain).map_err(within)?))),
        Name::Condemned(_) => drop(Condemned::decode(&plain).map_err(within)?),
        Name::KeyChange(_) => drop(KeyChange::decode(&plain).map_err(within)?),
        _ => {}
    }
    Ok(None)
}

/// Opens every generation; none may be missing before the last, or those after it would count for nobody.
fn generations(repo: &Repository, removed: &mut Removed, report: &mut CheckReport) -> Result<(), CheckError> {
    let (mut expected, mut before) = (1, Some(ObjectId::from_bytes([0; 32])));
    for name in repo.objects.names(Family::Generations)? {
        let Some(number) = name.number() else { continue };
        if number != expected {
            report.damage(Name::generation(expected), format!("missing, though there is {name}"));
            before = None;
        }
        expected = number.saturating_add(1);
        let read = tell(read_generation(&repo.objects, number), &name, report)?;
        let Some(Some((generation, id))) = read else {
            before = None;
            continue;
        };
        if before.is_some_and(|before| generation.previous != before) {
            report.damage(name, "it follows another generation than the one before it");
        }
        before = Some(id);
        removed.snapshots.extend(generation.snapshots);
        removed.sessions.extend(generation.retired);
    }
    Ok(())
}

/// Opens every run record; each must be of the snapshot that its session committed. One whose session has no end
/// any more was left by a prune.
fn records(
    repo: &Repository,
    ends: &BTreeMap<SessionId, Verdict>,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    // Who cannot read them cannot tell whether they are sound.
    let names = if repo.can_read() { repo.record_names()? } else { BTreeMap::new() };
    for (session, numbers) in names {
        for number in numbers {
            stop_if_asked(events)?;
            let name = Name::Run(session, number);
            let Some(record) = tell(repo.run_record(session, number), &name, report)? else { continue };
            match ends.get(&session) {
                Some(Verdict::Committed(id)) if *id == record.snapshot => {}
                Some(_) => report.damage(name, "it is of a snapshot that its session did not commit"),
                None => {
                    report.notice(name, "it counts for nobody, as its session has no end that can be read");
                }
            }
        }
    }
    Ok(())
}

/// Tells of snapshots whose session has no end. A run that was cut off leaves one, so it is only a notice;
/// unless a later snapshot was made on top of it: then it was committed once.
fn uncommitted(
    repo: &Repository,
    stored: &BTreeSet<ObjectId>,
    ends: &BTreeMap<SessionId, Verdict>,
    removed: &Removed,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    if !repo.can_read() {
        return Ok(());
    }
    let (mut without_end, mut parents) = (Vec::new(), BTreeSet::new());
    for id in stored.iter().filter(|id| !removed.snapshots.contains(id)) {
        stop_if_asked(events)?;
        let opened = repo.objects.get(ObjectKind::Snapshot, &Name::snapshot(*id));
        // What cannot be opened is told with the listings.
        let Ok(snapshot) = opened.and_then(|plain| Ok(snapshot::decode(&plain)?)) else { continue };
        if !ends.contains_key(&snapshot.session) && !removed.sessions.contains(&snapshot.session) {
            without_end.push((*id, Name::end(snapshot.session)));
        }
        parents.extend(snapshot.parents);
    }
    for (id, end) in without_end {
        let (severity, why) = match parents.contains(&id) {
            true => (Severity::Damage, "it was committed once, since a later snapshot was made on top of it"),
            false => (Severity::Notice, "its run was cut off, or is not done yet"),
        };
        let message = format!("it counts for nobody, as {end} is not there or cannot be read; {why}");
        let object = Name::snapshot(id).to_string();
        let hits = vec![hit(&id, &StoredPath::root())];
        report.find(Finding { severity, object, offset: None, message, hits });
    }
    Ok(())
}
