//! What the model's storage and its actors consist of, and what must always hold.
//!
//! A state is small and plain: sets are bit masks, so that hashing one is cheap and millions of them fit in
//! memory. Storage is the set of objects that exist; every actor's memory is what it has read so far. Fields
//! marked *ghost* are known to no actor: they exist so that a property can be stated.

/// A set of packs, one bit for each. Numbers are given in the order of writing and never used again.
pub(super) type Packs = u8;

/// A set of sessions, one bit for each.
pub(super) type SessionSet = u8;

/// Backups at most; each has two sessions, so a second one can follow a fence or a crash.
pub(super) const BACKUPS: usize = 2;
/// Prunes at most; each has two attempts.
pub(super) const PRUNES: usize = 2;
/// Attempts of one actor at most.
pub(super) const ATTEMPTS: usize = 2;
/// The session of the snapshot that exists from the start comes after those of the backups.
pub(super) const FIRST: usize = BACKUPS * ATTEMPTS;
/// Sessions in all.
pub(super) const SESSIONS: usize = FIRST + 1;

/// `sessions/<sid>.end`, the object whose creation decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum End {
    /// The object is not there.
    #[default]
    None,
    /// The snapshot of this session is committed.
    Committed,
    /// A prune was first.
    Fenced,
}

/// The objects of one session, its snapshot included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Session {
    /// `sessions/<sid>` is there.
    pub listed: bool,
    /// The packs named by the newest final intent; empty while there is none.
    pub intent: Packs,
    /// The end.
    pub end: End,
    /// The snapshot object is there.
    pub snapshot: bool,
    /// The retention object names the snapshot as forgotten.
    pub marked: bool,
    /// A generation has removed the snapshot and retired the session.
    pub retired: bool,
    /// Ghost: the owner was told that its commit succeeded.
    pub promised: bool,
    /// Ghost: somebody forgot the snapshot on purpose, and nobody was told that it is taken back.
    pub forgotten: bool,
    /// Ghost: a fence of this session won before its owner committed.
    pub fenced: bool,
}

impl Session {
    /// Whether readers see a snapshot: the rule of the format.
    pub(super) fn exists(&self) -> bool {
        self.snapshot && self.end == End::Committed && !self.marked && !self.retired
    }

    /// Creates the end. What the intent named counts no more, since whoever reads intents reads ends after
    /// them; forgetting it here saves states. So does leaving the list when fenced: nobody has a use for
    /// such a session but to see its end.
    pub(super) fn close(&mut self, end: End) {
        self.end = end;
        self.intent = 0;
        self.listed &= end == End::Committed;
    }
}

/// Where a backup stands; each phase names its next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum BackupPhase {
    /// Not part of this shape.
    #[default]
    Off,
    /// Opens a session.
    Open,
    /// Looks into its index: relies on a pack or writes one.
    Choose,
    /// Has found its pack condemned or removed: chooses again.
    Again,
    /// Its pack is durable; writes the segment.
    Segment,
    /// Publishes the final intent.
    Intent,
    /// The first look after the intent (condemned sets, if nothing is wrong).
    LookFirst,
    /// The second look after the intent (generations, if nothing is wrong).
    LookSecond,
    /// Writes the snapshot.
    Snapshot,
    /// Creates the end.
    End,
    /// Committed.
    Done,
    /// Out of attempts.
    Stopped,
}

/// A backup's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Backup {
    /// Where it stands.
    pub phase: BackupPhase,
    /// Which of its sessions this is.
    pub attempt: u8,
    /// The pack its snapshot depends on.
    pub pack: Packs,
    /// Whether this session wrote that pack.
    pub own: bool,
    /// The looks after the intent have met `pack`.
    pub hit: bool,
    /// Planted bugs only: has stored anew once.
    pub renewed: bool,
    /// Planted bugs only: packs it believes in although an applied generation removed them.
    pub trusted: Packs,
}

/// Where a prune stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum PrunePhase {
    /// Not part of this shape.
    #[default]
    Off,
    /// Publishes its condemned set and looks around: step n of its plan.
    Plan(u8),
    /// Has seen everything: fences, repacks, publishes a generation.
    Decide,
    /// Planted bug only: has deleted and publishes afterwards.
    Late,
    /// Deletes what generations have removed.
    Delete,
    /// Deletes dead condemned sets and sessions.
    Clean,
    /// Another prune took its generation; starts over.
    Lost,
    /// Finished, or out of attempts.
    Done,
}

/// A prune's memory. What is no longer needed is forgotten at once: fewer states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prune {
    /// Where it stands.
    pub phase: PrunePhase,
    /// Which attempt this is.
    pub attempt: u8,
    /// A generation newer than the one it planned on is there: the only number it may create is taken.
    pub overtaken: bool,
    /// The packs it condemned.
    pub set: Packs,
    /// The packs named by the intents it has seen; from `Decide` on, those that it has to keep.
    pub named: [Packs; SESSIONS],
    /// Sessions it has seen; from `Decide` on, those without an end.
    pub open: SessionSet,
    /// Sessions whose end it has seen to say committed.
    pub committed: SessionSet,
    /// Sessions whose end it has seen to say fenced.
    pub fenced: SessionSet,
    /// Sessions whose snapshot object it has seen.
    pub snapshots: SessionSet,
    /// Sessions whose snapshots it condemned; from `Decide` on, those that are still forgotten.
    pub goes: SessionSet,
    /// From `Decide` on: some snapshot needs the chunk.
    pub live: bool,
    /// From `Decide` on: sessions to be deleted in the end.
    pub clean: SessionSet,
    /// Ghost: a fence came too late.
    pub late: bool,
    /// Ghost: an intent saved a condemned pack.
    pub rescued: bool,
}

/// `condemned/<n>`: not there while `packs` is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Condemned {
    /// A generation newer than the one it was planned on is there: its prune can not publish any more.
    pub dead: bool,
    /// What may go.
    pub packs: Packs,
    /// Sessions whose snapshots may go.
    pub snapshots: SessionSet,
}

/// Somebody who takes a forgotten snapshot back; the number is that of its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Undo {
    /// Not under way.
    #[default]
    Off,
    /// Has written that it is not forgotten; reads condemned sets.
    Sets(u8),
    /// Has read the sets, and whether a live one names it; reads generations.
    Generations { session: u8, named: bool },
    /// Takes the number of the generation that would remove it.
    Overtake(u8),
}

/// A reader of one snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reader {
    /// Not part of this shape, or finished.
    #[default]
    Off,
    /// Chooses a snapshot.
    Idle,
    /// Has read ends and snapshots; reads generations.
    Picked(u8),
    /// Has read generations; reads segments.
    Viewed { session: u8, overtaken: bool, removed: Packs },
    /// Has read segments; reads the pack.
    Located { session: u8, overtaken: bool, pack: Packs },
    /// Its view was overtaken by a newer generation; reads generations again.
    Again(u8),
    /// Has found no way to read a snapshot that exists.
    Failed,
}

/// The world: storage, actors, and how much of each limited thing has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// Packs in storage.
    pub packs: Packs,
    /// Packs named by a segment in storage.
    pub segments: Packs,
    /// Packs ever named by a segment: what a client's index may believe in.
    pub known: Packs,
    /// Packs removed by the generations so far.
    pub removed: Packs,
    /// Packs ever written.
    pub written: u8,
    /// Condemned sets: one place for each attempt of each prune.
    pub condemned: [Condemned; PRUNES * ATTEMPTS],
    /// Sessions: two of each backup, then that of the first snapshot.
    pub sessions: [Session; SESSIONS],
    /// Backups.
    pub backups: [Backup; BACKUPS],
    /// Prunes.
    pub prunes: [Prune; PRUNES],
    /// The reader.
    pub reader: Reader,
    /// Who takes a snapshot back.
    pub undo: Undo,
    /// Fences so far.
    pub fences: u8,
    /// Forgotten snapshots so far.
    pub forgets: u8,
    /// Snapshots taken back so far, or tried to.
    pub undos: u8,
    /// Ghost: an undo ended a live condemned set.
    pub overtaken: bool,
    /// Ghost: an undo came too late.
    pub too_late: bool,
    /// Crashes so far.
    pub crashes: u8,
}

impl World {
    /// Writes a new pack and returns it.
    pub(super) fn write_pack(&mut self) -> Packs {
        let pack = 1 << self.written;
        self.written += 1;
        self.packs |= pack;
        pack
    }

    /// Writes the segment that names `pack`.
    pub(super) fn write_segment(&mut self, pack: Packs) {
        self.segments |= pack;
        self.known |= pack;
    }

    /// Packs out of which the chunk can be read by somebody who begins now: in storage, found through a
    /// segment, and not tombstoned.
    pub(super) fn readable(&self) -> Packs {
        self.packs & self.segments & !self.removed
    }

    /// The safety property: a snapshot that was promised, or that anybody can see, and that nobody forgot, is
    /// there and can be read.
    pub(super) fn is_whole(&self) -> bool {
        self.sessions
            .iter()
            .filter(|s| !s.forgotten && (s.promised || s.exists()))
            .all(|s| s.exists() && self.readable() != 0)
    }

    /// A new generation is there. Numbers are compared only to learn whether there is a newer one, so that is
    /// all the model keeps of them.
    pub(super) fn overtake(&mut self) {
        for set in self.condemned.iter_mut().filter(|set| set.packs != 0) {
            set.dead = true;
        }
        for prune in &mut self.prunes {
            prune.overtaken |= prune.set != 0;
        }
        if let Reader::Viewed { overtaken, .. } | Reader::Located { overtaken, .. } = &mut self.reader {
            *overtaken = true;
        }
    }

    /// Makes a prune forget what it can no longer use: what intents name beyond its own condemned set, and
    /// who named it once nobody can be fenced any more.
    pub(super) fn forget_details(&mut self, no_more_fences: bool) {
        for prune in self.prunes.iter_mut().filter(|prune| prune.set != 0) {
            for named in &mut prune.named {
                *named &= prune.set;
            }
            if no_more_fences && prune.phase == PrunePhase::Decide {
                let all = prune.named.iter().fold(0, |all, named| all | named);
                prune.named = [0; SESSIONS];
                prune.named[FIRST] = all;
                prune.open = 0;
            }
        }
    }

    /// Brings interchangeable actors into one order. Two backups differ only in what they do, and so do two
    /// prunes; worlds that differ in their order alone are explored once (a quarter of the states).
    pub(super) fn sort_actors(&mut self) {
        let [a, b] = self.backups;
        let (x, y) = self.sessions[..FIRST].split_at(ATTEMPTS);
        if (b, y) < (a, x) {
            self.backups.swap(0, 1);
            for i in 0..ATTEMPTS {
                self.sessions.swap(i, ATTEMPTS + i);
            }
            let swapped = |set: SessionSet| (set & 0b1_0000) | (set & 0b0011) << 2 | (set & 0b1100) >> 2;
            for set in &mut self.condemned {
                set.snapshots = swapped(set.snapshots);
            }
            for prune in &mut self.prunes {
                for i in 0..ATTEMPTS {
                    prune.named.swap(i, ATTEMPTS + i);
                }
                for set in [
                    &mut prune.open,
                    &mut prune.committed,
                    &mut prune.fenced,
                    &mut prune.snapshots,
                    &mut prune.goes,
                    &mut prune.clean,
                ] {
                    *set = swapped(*set);
                }
            }
            let rename = |session| match session {
                0 | 1 => session + 2,
                2 | 3 => session - 2,
                _ => session,
            };
            self.reader.rename(rename);
            self.undo.rename(rename);
        }
        let [a, b] = self.prunes;
        let (x, y) = self.condemned.split_at(ATTEMPTS);
        if (b, y) < (a, x) {
            self.prunes.swap(0, 1);
            for i in 0..ATTEMPTS {
                self.condemned.swap(i, ATTEMPTS + i);
            }
        }
    }
}

impl Undo {
    /// Renames the session.
    fn rename(&mut self, name: impl Fn(u8) -> u8) {
        match self {
            Self::Off => {}
            Self::Sets(session) | Self::Overtake(session) | Self::Generations { session, .. } => {
                *session = name(*session);
            }
        }
    }
}

impl Reader {
    /// Renames the session that is being read.
    fn rename(&mut self, name: impl Fn(u8) -> u8) {
        match self {
            Self::Off | Self::Idle | Self::Failed => {}
            Self::Picked(session)
            | Self::Again(session)
            | Self::Viewed { session, .. }
            | Self::Located { session, .. } => *session = name(*session),
        }
    }
}

/// The members of a set, as sets of one.
pub(super) fn members(set: Packs) -> impl Iterator<Item = Packs> {
    (0..8).map(|n| 1 << n).filter(move |one| set & one != 0)
}
