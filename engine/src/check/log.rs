//! The log: every entry, what it says of all others, and whether what is stored is what it tells of. Snapshots that it
//! tells of and that are not there are told with the listings, by the catalog.

use super::{CheckError, CheckReport};
use crate::crypto::keyring::client_of;
use crate::id::ClientId;
use crate::log::{APPEND, Entry, MAX_HEADS, Seen};
use crate::repo::history::Whole;
use crate::repo::sessions::{generation, is_obeyed};
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Checks the log. Call before snapshots are looked at.
pub(super) fn run(repo: &Repository, report: &mut CheckReport) -> Result<(), CheckError> {
    match repo.know_log() {
        // What is wrong is told below, one by one.
        Err(RepoError::Log(_)) => {}
        known => known?,
    }
    let log = repo.whole_log()?;
    (report.log_entries, report.log_clients) = (log.entries, log.memory.heads.len() as u64);
    for complaint in &log.complaints {
        let since = complaint.since.as_ref().filter(|(_, host)| !host.is_empty());
        let on = since.map_or(String::new(), |(_, host)| format!(" (written on {host})"));
        report.damage(complaint.object, format!("{complaint}{on}"));
    }
    counts(&log, report);
    for id in repo.objects.ids(Family::Keys)?.intersection(&log.memory.slots_gone) {
        report.damage(Name::slot(*id), "this key was removed, as the log says, and somebody has put it back");
    }
    void(repo, &log, report)?;
    for number in repo.void_epochs()? {
        let message = "it is no key epoch that counts: cut off, rotten, or stored by who may not begin one";
        report.notice(Name::epoch(number), message);
    }
    if log.entries > 0 {
        unlogged(repo, &log, report)?;
    }
    Ok(())
}

/// Returns whether a client may write, or might when it began to: the signers of before a key epoch are no strangers.
fn may_write(log: &Whole, client: &ClientId, seen: &Seen) -> bool {
    (log.rights.of_entry(client, 1) | log.rights.of_entry(client, seen.mark.number)) & APPEND != 0
}

/// Counts anew what the last entry of each log counted.
fn counts(log: &Whole, report: &mut CheckReport) {
    // What an entry counted that some client had no right to write depends on when it was read.
    let all_write = log.memory.heads.iter().all(|(client, seen)| may_write(log, client, seen));
    if !all_write || !log.complaints.is_empty() {
        return;
    }
    // What was accepted as it is need not add up.
    let accepted = |client: &ClientId| log.memory.accepted.get(client).copied().unwrap_or(0);
    // What was written when a key epoch had begun, by a key of before, counts for nothing.
    let counts = |client: &ClientId, entry: &Entry| log.rights.of_entry(client, entry.number) & APPEND != 0;
    let last =
        log.last.iter().filter(|(client, entry)| entry.number > accepted(client) && counts(client, entry));
    for (client, entry) in last.filter(|(_, entry)| entry.heads.len() < MAX_HEADS) {
        let live = live(log, *client, entry);
        if !live.contains(&entry.live) {
            let (name, live) = (Name::log(*client, entry.number), live.start());
            report.damage(
                name,
                format!("it counts {} snapshots, and those it follows give {live}", entry.live),
            );
        }
    }
}

/// Returns how many snapshots are alive by an entry and all that it follows: so many at least, and with those that somebody
/// made though a generation he knew had removed them, as earlier versions did where two with one key were at it.
fn live(log: &Whole, client: ClientId, entry: &Entry) -> RangeInclusive<u64> {
    let end = |of: &ClientId| match entry.heads.binary_search_by_key(of, |head| head.client) {
        _ if *of == client => entry.number,
        Ok(at) => entry.heads[at].mark.number,
        Err(_) => 0,
    };
    let (mut alive, mut late) = (BTreeSet::new(), BTreeSet::new());
    for made in log.made.iter().filter(|made| made.number <= end(&made.by)) {
        for id in &made.snapshots {
            match log.removed.get(id) {
                Some(number) if *number <= made.generation => drop(late.insert(id)),
                Some(number) if *number <= entry.generation.number => {}
                _ => drop(alive.insert(id)),
            }
        }
    }
    let least = alive.len() as u64;
    least..=least + late.difference(&alive).count() as u64
}

/// Tells of what somebody wrote who has no right to: nobody obeys it.
fn void(repo: &Repository, log: &Whole, report: &mut CheckReport) -> Result<(), CheckError> {
    if !log.rights.are_told_apart() {
        return Ok(());
    }
    let whose = |key: &[u8; 32]| format!("client {} signed it and may not", client_of(key).short());
    let mut number = 1;
    while let Ok(Some((one, _))) = generation(&repo.objects, number) {
        if one.names_anything() && !is_obeyed(&log.rights, &one) {
            let named = one.packs.len() + one.segments.len() + one.snapshots.len();
            let whose = whose(&one.public_key);
            let message = format!(
                "{whose} remove anything: it counts for nobody, though what it names ({named}) may be gone"
            );
            report.damage(Name::generation(number), message);
        }
        number += 1;
    }
    for name in repo.objects.names(Family::Retention)? {
        let Some(Ok(retention)) = name.number().map(|number| repo.retention_object(number)) else { continue };
        if !repo.is_entitled(&retention) {
            let message = format!("{} forget anything: it counts for nobody", whose(&retention.public_key));
            report.damage(name, message);
        }
    }
    for (client, _) in log.memory.heads.iter().filter(|(client, seen)| !may_write(log, client, seen)) {
        report.notice(
            "log",
            format!("client {} writes entries and was never admitted: they count for nobody", client.short()),
        );
    }
    Ok(())
}

/// Tells of snapshots without an entry.
fn unlogged(repo: &Repository, log: &Whole, report: &mut CheckReport) -> Result<(), CheckError> {
    // Who cannot read has no list of them, and adopts them all the same.
    if !repo.can_read() {
        return Ok(());
    }
    let (snapshots, _) = repo.catalog_with_forgotten()?;
    let count = snapshots.iter().filter(|(id, _)| !log.memory.alive.contains_key(id)).count();
    if count > 0 {
        let message = format!(
            "{count} snapshots have no entry: a run was cut off after its commit, the next one adds them"
        );
        report.notice("log", message);
    }
    Ok(())
}
