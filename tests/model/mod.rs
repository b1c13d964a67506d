//! The protocol of sessions, commits, prune and generations, explored exhaustively in small worlds.
//!
//! Backups, prunes and readers share one storage without locks and without clocks (`engine/FORMAT.md`,
//! sections 13, 14 and 20). Nobody can test all the orders in which their steps may fall. A model checker
//! can: it takes every step that anybody can take, in every state that can be reached. A crash is an actor
//! that never moves again, or one that begins again from nothing; a sleep of any length is an actor that
//! does not move while the others do.
//!
//! # The world
//!
//! - Storage is linearizable and create-only: an object is there or not, and of two creations of one name one
//!   wins. A listing is read at one instant.
//! - There is one chunk. A snapshot needs it, every pack holds it, and there may be many copies of it: by
//!   chance (an index that did not know), by caution (stored anew) or on purpose (repacked by a prune).
//! - An index is as stale as it likes: a backup may believe in any pack that any segment ever named, also one
//!   of a session that has not ended, one of a session that was fenced, or one that is long deleted.
//! - A prune condemns what it likes and fences whom it likes; see [`prune`]. Of a fenced session it may
//!   delete everything but the end.
//! - At first there is one committed snapshot with its pack.
//!
//! # What is proven, for the shapes below
//!
//! - Every snapshot whose owner was told "committed", or that readers can see, and that nobody forgot, is
//!   there, and its chunk is in a pack that exists, that a segment names and that no generation has removed.
//! - A fenced session never commits. A reader never fails on a snapshot that exists.
//! - The states where something is at stake are reached ([`protocol::SIGHTS`]), and each of the planted bugs
//!   ([`protocol::Bug`]) loses data in the model: so the model would notice.
//!
//! Fences are not needed for safety. What protects a running backup is that it writes (its intent) before it
//! reads (condemned sets, then generations), while a prune writes (its condemned set) before it reads
//! (intents): at least one sees the other. A fence only lets a prune ignore the intent of a session that
//! will not end.
//!
//! # What is not
//!
//! - Larger worlds; snapshots of several packs, where only some are condemned; parts of intents. Packs do
//!   not interact except as copies of one chunk, and an unfinished intent protects nothing here, so nothing
//!   new is expected of them. Run records of retired sessions: nobody depends on them.
//! - A fence of a prune's own session, which stops nothing: its commit point is the generation.
//! - Orders inside what the model takes as one step: reading the newest generation and publishing the
//!   condemned set planned on it; a prune's own pack and its segment; the deletions after a generation; the
//!   deletions of one session's objects. In between, others see either nothing new or objects that count for
//!   nobody.
//! - More than one fence in one run, and, in shapes that are `sweeping`, condemned sets that name only some
//!   packs.
//! - A `put` whose answer is lost: whoever retries a create-only `put` must read what is there and recognise
//!   its own bytes.
//! - Storage whose listings lag behind, or that has no conditional put; half-written objects; a listing that
//!   is read page by page (each fact a prune or a backup needs is a fact about one session, and it may be
//!   read at an instant of its own).
//! - Progress: that a backup or a prune ends some day. Two prunes can make a backup store anew again and
//!   again.
//! - The code. It must take these steps in this order.
//!
//! # Reading a counterexample
//!
//! Actors of one kind are interchangeable and are kept sorted, so that the number of an actor may change
//! from one step to the next. Session 4 is that of the first snapshot, pack 1 its pack (packs are bits: 1,
//! 2, 4, …).

mod backup;
mod protocol;
mod prune;
mod reader;
mod undo;
mod world;

use protocol::{BUGS, Bug, FENCED, Protocol, READS, SIGHTS, STILL, Shape, WHOLE};
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeSet;

/// Two backups and two prunes at once, each backup with a second session after a fence.
const FENCES: Shape = Shape { backups: 2, prunes: 2, backup_attempts: 2, fences: 1, sweeping: true, ..STILL };
/// Two backups and two prunes at once, while a snapshot is forgotten.
const FORGETS: Shape = Shape { backups: 2, prunes: 2, forgets: 1, sweeping: true, ..STILL };
/// A forgotten snapshot is taken back while two prunes and a backup are at work.
const UNDO: Shape =
    Shape { backups: 1, prunes: 2, prune_attempts: 2, forgets: 2, undos: 1, sweeping: true, ..STILL };
/// Somebody restores while two backups and a prune are at work.
const READER: Shape =
    Shape { backups: 2, prunes: 1, backup_attempts: 2, fences: 1, forgets: 1, reader: true, ..STILL };
/// Two prunes with condemned sets of any kind around one backup: every planted bug but those of undo shows here.
const BUSY: Shape = Shape { backups: 1, prunes: 2, backup_attempts: 2, fences: 1, forgets: 1, ..STILL };
/// Prunes and a backup that begin again after a crash or a lost race.
const CRASH: Shape = Shape {
    backups: 1,
    prunes: 2,
    backup_attempts: 2,
    prune_attempts: 2,
    forgets: 1,
    crashes: 1,
    sweeping: true,
    ..STILL
};
/// Prunes alone: they must not take each other's copies away, nor a reader's.
const PRUNES_ONLY: Shape =
    Shape { prunes: 2, prune_attempts: 2, packs: 5, crashes: 1, reader: true, ..STILL };

/// Explores every state of a shape, and refuses the first that breaks a promise.
fn explore(shape: Shape) {
    let run = Protocol { shape, bug: None, sights: false }.checker().threads(2);
    let done = run.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states, {} steps deep, of {shape:?}", done.unique_state_count(), done.max_depth());
    for promise in [WHOLE, FENCED, READS] {
        done.assert_no_discovery(promise);
    }
}

/// Looks for states that break or show these properties; gives those that it finds none of.
fn missed(shape: Shape, bug: Option<Bug>, wanted: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    let run = Protocol { shape, bug, sights: bug.is_none() }.checker().threads(2);
    let done = run.finish_when(HasDiscoveries::AllOf(wanted.clone())).spawn_bfs().join();
    let found = done.discoveries();
    wanted.iter().copied().filter(|name| !found.contains_key(name)).collect()
}

#[test]
fn two_backups_and_two_prunes_lose_nothing() {
    explore(FORGETS);
}

#[test]
fn two_backups_fenced_by_two_prunes_lose_nothing() {
    explore(FENCES);
}

#[test]
fn a_reader_among_backups_and_a_prune_loses_nothing() {
    explore(READER);
}

#[test]
fn a_backup_between_two_prunes_loses_nothing() {
    explore(BUSY);
}

#[test]
fn what_is_taken_back_is_not_lost() {
    explore(UNDO);
}

#[test]
fn crashes_lose_nothing() {
    explore(CRASH);
}

#[test]
fn prunes_lose_nothing_to_each_other() {
    explore(PRUNES_ONLY);
}

#[test]
#[ignore = "minutes, and some gigabytes of memory"]
fn larger_worlds_lose_nothing() {
    explore(Shape { forgets: 1, ..FENCES });
    explore(Shape { sweeping: false, ..FORGETS });
    explore(Shape { fences: 1, ..CRASH });
    explore(Shape { prune_attempts: 2, crashes: 1, sweeping: true, reader: false, ..READER });
    explore(Shape { backups: 1, prunes: 2, packs: 4, backup_attempts: 1, fences: 0, ..READER });
}

#[test]
fn every_interesting_state_is_reached() {
    let mut wanted: BTreeSet<_> = SIGHTS.iter().map(|(name, _)| *name).collect();
    for shape in [BUSY, PRUNES_ONLY, READER, UNDO] {
        wanted = missed(shape, None, &wanted);
    }
    assert!(wanted.is_empty(), "never seen: {wanted:?}");
}

/// The shape in which a planted bug shows.
fn shape_of(bug: Bug) -> Shape {
    if matches!(bug, Bug::RetentionReadOnce | Bug::UndoneUnseen) { UNDO } else { BUSY }
}

#[test]
fn every_planted_bug_loses_data() {
    let unseen: Vec<Bug> = BUGS
        .into_iter()
        .filter(|&bug| !missed(shape_of(bug), Some(bug), &[WHOLE].into()).is_empty())
        .collect();
    assert!(unseen.is_empty(), "not noticed: {unseen:?}");
}

#[test]
fn planted_bugs_break_the_other_promises() {
    for (bug, shape, promise) in [
        (Bug::CommitOverwrites, BUSY, FENCED),
        (Bug::FencedEndDeleted, BUSY, FENCED),
        (Bug::DeletedBeforeGeneration, READER, READS),
    ] {
        assert!(missed(shape, Some(bug), &[promise].into()).is_empty(), "{bug:?}: {promise}");
    }
}
