//! Parity: every object opens, every group has its shards; and with all data read, each shard is what its packs say.

use super::{CheckError, CheckOptions, CheckReport, ReadData, StoredPacks};
use crate::id::ObjectId;
use crate::parity::groups::{Groups, Standing, Stored, standing};
use crate::parity::{GroupKey, verify};
use crate::progress::Events;
use crate::repo::{RepoError, Repository};
use crate::storage::Name;

/// Checks parity. What a group lacks is a notice: nothing is lost by it, and a `parity add` that was broken off, or is
/// under way, leaves such groups too.
pub(super) fn run(
    repo: &Repository,
    packs: &StoredPacks,
    options: &CheckOptions,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    let groups = Groups::look(repo, events)?;
    let stored: Stored = packs.iter().copied().collect();
    let index = repo.index()?;
    for (id, _, why) in &groups.faults {
        report.damage(Name::parity(*id), why);
    }
    if !groups.left_over.is_empty() {
        let left = groups.left_over.len();
        let message = format!("{left} objects are removed and not deleted yet: the next prune goes on");
        report.notice("parity", message);
    }
    report.parity_groups = groups.all.len() as u64;
    report.parity_objects = groups.objects();
    for (key, pieces) in &groups.all {
        let is_removed = |id: &ObjectId| index.is_removed(id).map_err(RepoError::from);
        let standing = standing(key, pieces, &stored, &is_removed)?;
        if let (Some(message), Some((first, _))) = (message(key, &standing), key.packs.first()) {
            report.notice(format!("parity group {}", first.short()), message);
        }
    }
    if options.data == ReadData::All && options.unread_for_days.is_none() {
        let (wrong, bytes) = verify(repo, &groups, repo.budget.openers(options.threads), events)?;
        wrong.into_iter().for_each(|(id, why)| report.damage(Name::parity(id), why));
        report.parity_bytes_read = bytes;
    }
    Ok(())
}

/// Says what a group lacks; nothing if it stands all that it was made for.
fn message(key: &GroupKey, standing: &Standing) -> Option<String> {
    let Standing { shards, lost, removed, .. } = *standing;
    let wanted = usize::from(key.shards);
    if shards == wanted && lost + removed == 0 {
        return None;
    }
    let mut parts = Vec::new();
    if shards < wanted {
        parts.push(format!(
            "{shards} of {wanted} shards are there (lost, or its run was cut off or is not done yet): `dedup parity repair`"
        ));
    }
    if lost > 0 && lost + removed <= shards {
        parts.push(format!("{lost} packs are missing and can be rebuilt: `dedup parity repair`"));
    } else if lost > 0 {
        parts.push(format!("{lost} packs are missing, too many for it"));
    }
    if removed > 0 {
        parts.push(format!("{removed} packs were pruned: `dedup parity add` makes a new group"));
    }
    Some(format!("it stands {} more losses; {}", standing.spare(), parts.join("; ")))
}
