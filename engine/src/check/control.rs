//! The small objects: key slots, sessions with their intents and ends, condemned sets, generations, key changes.

use super::structure::stop_if_asked;
use super::{CheckError, CheckReport, damage_or};
use crate::crypto::header::ObjectKind;
use crate::crypto::slot::Slot;
use crate::error::Corrupt;
use crate::format::MAX_SLOT;
use crate::progress::Events;
use crate::repo::control::{Condemned, Intent, Session, Verdict};
use crate::repo::sessions::read_generation;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name, Part};

/// Opens every one of them: what orders concurrent runs must be readable when a prune needs it.
pub(super) fn control(
    repo: &Repository,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    for family in [Family::Keys, Family::KeyChanges, Family::Sessions, Family::Condemned, Family::Generations]
    {
        let mut names = Vec::new();
        let mut each = |name: Name, _: u64| {
            names.push(name);
            Ok(())
        };
        repo.storage().list(family, &mut each, &mut |_| {}).map_err(RepoError::from)?;
        for name in names {
            stop_if_asked(events)?;
            match open(repo, &name) {
                // A prune removed it since the listing.
                Err(RepoError::Storage(error)) if error.is_missing() => {}
                Err(error) => damage_or(error, name, report)?,
                Ok(()) => {}
            }
        }
    }
    Ok(())
}

fn open(repo: &Repository, name: &Name) -> Result<(), RepoError> {
    let kind = match name {
        Name::Slot(_) => return slot(repo, name),
        Name::Generation(number) => return read_generation(&repo.objects, *number).map(drop),
        Name::KeyChange(_) => ObjectKind::KeyChange,
        Name::Condemned(_) => ObjectKind::Condemned,
        Name::Session(_, Part::Begin) => ObjectKind::Session,
        Name::Session(_, Part::Alive(_)) => ObjectKind::Progress,
        Name::Session(_, Part::Intent(_)) => ObjectKind::Intent,
        Name::Session(_, Part::End) => ObjectKind::End,
        _ => return Ok(()),
    };
    let plain = repo.objects.get(kind, name)?;
    let decoded = match kind {
        ObjectKind::Condemned => Condemned::decode(&plain).map(drop),
        ObjectKind::Session => Session::decode(&plain).map(drop),
        ObjectKind::Intent => Intent::decode(&plain).map(drop),
        ObjectKind::End => Verdict::decode(&plain).map(drop),
        _ => Ok(()),
    };
    Ok(decoded.map_err(|corrupt| corrupt.within(name))?)
}

/// A slot is not opened, which would take its own key; its name and its form can be checked.
fn slot(repo: &Repository, name: &Name) -> Result<(), RepoError> {
    let bytes = repo.storage().get_all(name, MAX_SLOT)?;
    let hash = *blake3::hash(&bytes).as_bytes();
    if name.object_id().is_some_and(|id| *id.as_bytes() != hash) {
        return Err(Corrupt::new(name.to_string(), "its bytes do not hash to its name").into());
    }
    Slot::parse(bytes).map(drop).map_err(RepoError::of(name))
}
