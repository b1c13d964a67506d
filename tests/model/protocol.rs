//! Shapes, planted bugs, and the protocol as something that a model checker can explore.

use super::{
    backup, prune, reader, undo,
    world::{BACKUPS, Backup, BackupPhase, End, FIRST, PRUNES, PrunePhase, Reader, Session, World},
};
use stateright::{Model, Property};

/// Whatever was promised is there.
pub(super) const WHOLE: &str = "every committed snapshot that nobody forgot can be read";
/// A fence is final.
pub(super) const FENCED: &str = "no fenced session commits";
/// Readers need no lock.
pub(super) const READS: &str = "no reader fails on a snapshot that exists";

/// A state that some run has to reach, or the properties above would say nothing about it.
type Sight = (&'static str, fn(&Protocol, &World) -> bool);

/// All of them.
pub(super) const SIGHTS: [Sight; 13] = [
    ("a prune deletes a pack", |_, world| world.known & !world.packs != 0),
    ("a fenced backup commits in its second session", |_, world| {
        world.sessions[..FIRST].chunks(2).any(|pair| pair[0].fenced && pair[1].promised)
    }),
    ("an intent rescues a condemned pack", |_, world| world.prunes.iter().any(|prune| prune.rescued)),
    ("a backup stores anew what is condemned", |_, world| {
        let again = |b: &&Backup| b.phase == BackupPhase::Again;
        world.backups.iter().filter(again).any(|b| b.pack & !world.removed != 0)
    }),
    ("a backup learns that the pack it relies on is long gone", |_, world| {
        let again = |b: &&Backup| b.phase == BackupPhase::Again;
        world.backups.iter().filter(again).any(|b| b.pack & !world.packs != 0)
    }),
    ("a backup depends on a pack of a session that has not ended", |_, world| {
        let [a, b] = &world.backups;
        let ready = |b: &Backup| b.phase == BackupPhase::Snapshot;
        [(a, b), (b, a)].iter().any(|(x, y)| ready(x) && !x.own && y.own && x.pack == y.pack)
    }),
    ("a prune loses the race for a generation", |_, world| {
        world.prunes.iter().any(|prune| prune.phase == PrunePhase::Lost)
    }),
    ("a fence comes too late", |_, world| world.prunes.iter().any(|prune| prune.late)),
    ("a prune repacks", |protocol, world| protocol.shape.backups == 0 && world.written > 1),
    ("a prune removes a snapshot", |_, world| world.sessions.iter().any(|s| s.retired && !s.snapshot)),
    ("who takes back ends a condemned set", |_, world| world.overtaken),
    ("who takes back comes too late", |_, world| world.too_late),
    ("a reader is overtaken and tries again", |_, world| matches!(world.reader, Reader::Again(_))),
];

/// How large a world is explored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Backups at work, at most [`BACKUPS`].
    pub backups: usize,
    /// Prunes at work, at most [`PRUNES`].
    pub prunes: usize,
    /// Sessions that one backup may begin.
    pub backup_attempts: u8,
    /// Attempts of one prune.
    pub prune_attempts: u8,
    /// Packs that may ever be written, the first one included.
    pub packs: u8,
    /// Fences tried, by all prunes.
    pub fences: u8,
    /// Snapshots forgotten.
    pub forgets: u8,
    /// Snapshots taken back.
    pub undos: u8,
    /// Crashes after which somebody begins again.
    pub crashes: u8,
    /// Whether prunes condemn all packs there are, and not any set of them: many fewer states.
    pub sweeping: bool,
    /// Whether somebody restores.
    pub reader: bool,
}

/// Nobody does anything: what the shapes below are built from.
pub(super) const STILL: Shape = Shape {
    backups: 0,
    prunes: 0,
    backup_attempts: 1,
    prune_attempts: 1,
    packs: 3,
    fences: 0,
    forgets: 0,
    undos: 0,
    crashes: 0,
    sweeping: false,
    reader: false,
};

/// A mistake planted into the protocol: each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A prune reads sessions and intents before it publishes its condemned set.
    SessionsBeforeCondemned,
    /// A prune lists snapshots before sessions.
    SnapshotsBeforeSessions,
    /// A prune lists snapshots before ends.
    SnapshotsBeforeEnds,
    /// A backup publishes no intent.
    IntentOmitted,
    /// A backup reads neither condemned sets nor generations after its intent.
    NoLookAfterIntent,
    /// A backup reads only generations after its intent.
    CondemnedNotLookedAt,
    /// A backup reads only condemned sets after its intent.
    GenerationsNotLookedAt,
    /// A backup reads generations, then condemned sets: one that is deleted in between is seen in neither.
    GenerationsLookedAtFirst,
    /// A backup looks for packs it relies on, not for its own.
    OwnPacksUnchecked,
    /// A backup that stored anew publishes no new intent.
    StoredAnewUnannounced,
    /// A backup that stored anew and published does not look again.
    StoredAnewUnchecked,
    /// An index believes a segment that is still there more than a generation it has applied.
    SegmentRevivesPack,
    /// The commit replaces an end that is there.
    CommitOverwrites,
    /// A prune that comes too late to fence drops the intent all the same.
    LostFenceIgnored,
    /// A prune deletes packs, then publishes the generation.
    DeletedBeforeGeneration,
    /// A prune that finds its generation number taken uses the next one.
    AnyGenerationNumber,
    /// A pack that an older generation removed, but nobody has deleted yet, counts as the copy that stays.
    TombstonedCopyCounts,
    /// A pack that no segment names counts as the copy that stays.
    SegmentlessCopyCounts,
    /// The condemned set of a prune that can still publish is deleted.
    CondemnedDeletedAlive,
    /// The end of a fenced session is deleted.
    FencedEndDeleted,
    /// The intent of a session is deleted once its snapshot object is there, before the end.
    IntentDeletedEarly,
    /// A snapshot object is deleted because no committed end is there yet.
    UncommittedSnapshotDeleted,
    /// A prune does not read again, after its condemned set, what is forgotten.
    RetentionReadOnce,
    /// Who takes a snapshot back does not look at condemned sets.
    UndoneUnseen,
}

/// All of them.
pub(super) const BUGS: [Bug; 24] = [
    Bug::SessionsBeforeCondemned,
    Bug::SnapshotsBeforeSessions,
    Bug::SnapshotsBeforeEnds,
    Bug::IntentOmitted,
    Bug::NoLookAfterIntent,
    Bug::CondemnedNotLookedAt,
    Bug::GenerationsNotLookedAt,
    Bug::GenerationsLookedAtFirst,
    Bug::OwnPacksUnchecked,
    Bug::StoredAnewUnannounced,
    Bug::StoredAnewUnchecked,
    Bug::SegmentRevivesPack,
    Bug::CommitOverwrites,
    Bug::LostFenceIgnored,
    Bug::DeletedBeforeGeneration,
    Bug::AnyGenerationNumber,
    Bug::TombstonedCopyCounts,
    Bug::SegmentlessCopyCounts,
    Bug::CondemnedDeletedAlive,
    Bug::FencedEndDeleted,
    Bug::IntentDeletedEarly,
    Bug::UncommittedSnapshotDeleted,
    Bug::RetentionReadOnce,
    Bug::UndoneUnseen,
];

/// The protocol in a world of some shape, perhaps with a planted bug.
#[derive(Clone, Debug)]
pub(super) struct Protocol {
    /// How large.
    pub shape: Shape,
    /// What is wrong.
    pub bug: Option<Bug>,
    /// Whether to look out for the sights too; that takes its time.
    pub sights: bool,
}

/// One atomic step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A backup goes on.
    Backup(usize, backup::Step),
    /// A prune goes on.
    Prune(usize, prune::Step),
    /// The reader goes on.
    Reader(reader::Step),
    /// Somebody who takes a snapshot back goes on.
    Undo(undo::Step),
    /// The snapshot of this session is forgotten.
    Forget(usize),
    /// A backup dies and begins again.
    CrashBackup(usize),
    /// A prune dies and begins again.
    CrashPrune(usize),
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::default();
        let first = world.write_pack();
        world.write_segment(first);
        world.sessions[FIRST] = Session {
            listed: true,
            snapshot: true,
            end: End::Committed,
            promised: true,
            ..Session::default()
        };
        for backup in &mut world.backups[..self.shape.backups] {
            backup.phase = BackupPhase::Open;
        }
        for prune in &mut world.prunes[..self.shape.prunes] {
            prune.phase = PrunePhase::Plan(0);
        }
        if self.shape.reader {
            world.reader = Reader::Idle;
        }
        world.sort_actors();
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let shape = &self.shape;
        for b in 0..BACKUPS {
            actions.extend(backup::steps(shape, world, b).into_iter().map(|step| Action::Backup(b, step)));
            if world.crashes < shape.crashes && backup::can_crash(shape, world, b) {
                actions.push(Action::CrashBackup(b));
            }
        }
        for p in 0..PRUNES {
            let steps = prune::steps(shape, self.bug, world, p);
            actions.extend(steps.into_iter().map(|step| Action::Prune(p, step)));
            if world.crashes < shape.crashes && prune::can_crash(shape, world, p) {
                actions.push(Action::CrashPrune(p));
            }
        }
        actions.extend(reader::steps(world).into_iter().map(Action::Reader));
        actions.extend(undo::steps(shape, world).into_iter().map(Action::Undo));
        if world.forgets < shape.forgets {
            let all = 0..world.sessions.len();
            actions.extend(all.filter(|&s| world.sessions[s].exists()).map(Action::Forget));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Backup(b, step) => backup::take(&self.shape, self.bug, &mut next, b, step),
            Action::Prune(p, step) => prune::take(&self.shape, self.bug, &mut next, p, step),
            Action::Reader(step) => reader::take(&mut next, step),
            Action::Undo(step) => undo::take(self.bug, &mut next, step),
            Action::Forget(s) => {
                next.forgets += 1;
                next.sessions[s].marked = true;
                next.sessions[s].forgotten = true;
            }
            Action::CrashBackup(b) => {
                next.crashes += 1;
                backup::start_over(&self.shape, &mut next, b);
            }
            Action::CrashPrune(p) => {
                next.crashes += 1;
                prune::start_over(&mut next, p);
            }
        }
        next.forget_details(next.fences == self.shape.fences);
        next.sort_actors();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = [
            Property::always(WHOLE, |_, world: &World| world.is_whole()),
            Property::always(FENCED, |_, world: &World| {
                !world.sessions.iter().any(|s| s.fenced && s.promised)
            }),
            Property::always(READS, |_, world: &World| world.reader != Reader::Failed),
        ];
        let sometimes = SIGHTS.map(|(name, seen)| Property::<Self>::sometimes(name, seen));
        always.into_iter().chain(sometimes.into_iter().filter(|_| self.sights)).collect()
    }
}
