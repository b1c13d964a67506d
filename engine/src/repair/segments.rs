//! Segments made anew from what packs say of themselves, and those that cannot be read removed.

use super::found;
use super::packs::in_session;
use super::{How, RepairError};
use crate::check::stop_if_asked;
use crate::id::ObjectId;
use crate::index::SegmentPack;
use crate::map::Class;
use crate::progress::{Event, Events, Phase};
use crate::prune::{Going, Removed};
use crate::repo::{RepoError, Repository};
use std::collections::BTreeSet;

/// How often a removal begins anew because of others.
const ATTEMPTS: usize = 8;
/// Names that a report carries.
const REPORTED: usize = 1000;

/// What was found and done, or would be done.
#[derive(Clone, Debug, Default)]
pub struct SegmentReport {
    /// Segments there are.
    pub segments: u64,
    /// Packs that are stored.
    pub packs: u64,
    /// Segments that cannot be read, or tell of a pack what the pack does not: the first 1,000, and what is wrong with each.
    pub damaged: Vec<(ObjectId, String)>,
    /// How many there are.
    pub damaged_total: u64,
    /// Packs that no sound segment named.
    pub unnamed: u64,
    /// Those of them that could not be put into a segment: what they say of themselves cannot be read.
    pub unreadable: u64,
    /// Segments that were removed.
    pub removed: u64,
    /// Damaged segments that stay for now, since a run that goes on depends on them.
    pub spared: u64,
}

impl SegmentReport {
    /// Returns whether there was nothing to repair.
    pub fn is_sound(&self) -> bool {
        self.damaged_total == 0 && self.unnamed == 0
    }
}

/// Looks at all segments, and at the directories of all packs if `from_packs`, and puts right what is wrong.
pub fn run(
    repo: &Repository,
    how: &How<'_>,
    from_packs: bool,
    events: &dyn Events,
) -> Result<SegmentReport, RepairError> {
    // Packs of secrets have directories too.
    repo.assert_opens(Class::Secrets)?;
    repo.apply_generations()?;
    events.event(Event::Phase(Phase::Structure));
    let mut report = SegmentReport::default();
    let (mut named, mut wrong) = (BTreeSet::new(), BTreeSet::new());
    repo.each_readable_segment(&mut |id, segment| {
        stop_if_asked(events)?;
        report.segments += 1;
        let fault = match &segment {
            Ok(segment) if from_packs => differs(repo, &segment.packs)?,
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        match (segment, fault) {
            (Ok(segment), None) => named.extend(segment.packs.iter().map(|pack| pack.id)),
            (_, fault) => {
                wrong.insert(id);
                if report.damaged.len() < REPORTED {
                    report.damaged.push((id, fault.unwrap_or_default()));
                }
            }
        }
        events.event(Event::Done { entries: 1, bytes: 0, path: None });
        Ok(())
    })?;
    report.damaged_total = wrong.len() as u64;
    let stored = found::stored(repo)?;
    report.packs = stored.len() as u64;
    let unnamed: Vec<_> = stored.into_iter().filter(|(id, _)| !named.contains(id)).collect();
    report.unnamed = unnamed.len() as u64;
    for (id, len) in &unnamed {
        stop_if_asked(events)?;
        report.unreadable += u64::from(repo.pack_directory(*id, *len)?.is_none());
    }
    if how.dry_run || report.is_sound() || wrong.is_empty() && report.unnamed == report.unreadable {
        return Ok(report);
    }
    in_session(repo, how, &wrong, events, |removal| {
        if wrong.is_empty() {
            return Ok(());
        }
        let going = Going { segments: wrong.clone(), ..Going::default() };
        for _ in 0..ATTEMPTS {
            match removal.carry_out(&going, &mut |_| Ok(Default::default()), events)? {
                Removed::Done { segments, .. } => {
                    report.removed = segments.len() as u64;
                    report.spared = report.damaged_total.saturating_sub(report.removed);
                    return Ok(());
                }
                Removed::Again => {}
            }
        }
        Err(RepairError::Overtaken)
    })?;
    Ok(report)
}

/// Says in which pack a segment differs from what that pack says of itself. What cannot be read says nothing.
fn differs(repo: &Repository, packs: &[SegmentPack]) -> Result<Option<String>, RepoError> {
    for told in packs {
        let Some(len) = repo.storage().len(&crate::storage::Name::pack(told.id))? else { continue };
        if repo.pack_directory(told.id, len)?.is_some_and(|own| own != *told) {
            return Ok(Some(format!("it tells of pack {} what the pack does not", told.id.short())));
        }
    }
    Ok(None)
}
