//! How much room a restore needs, on each file system: asked before anything is touched.

use super::Subject;
use crate::files::FilesSink;
use crate::member::Member;
use crate::sources::{Keeps, SourceSpec};
use dedup_engine::browse;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::Dump;
use rustix::fs::statvfs;
use std::ffi::OsStr;
use std::fmt;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The room that a restore needs on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomNeeded {
    /// The number of its device.
    device: u64,
    /// A directory on it.
    pub place: PathBuf,
    /// Bytes that are written there, while what they replace is kept.
    pub needed_bytes: u64,
    /// Bytes that are free for who asks.
    pub free_bytes: u64,
}

impl RoomNeeded {
    /// Returns whether it is there.
    pub fn is_there(&self) -> bool {
        self.needed_bytes <= self.free_bytes
    }
}

impl fmt::Display for RoomNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, needed, free) = (self.place.display(), self.needed_bytes, self.free_bytes);
        write!(f, "{needed} bytes are needed at {place}, and {free} are free")
    }
}

/// Adds up what a restore of these modules needs. Changes nothing.
///
/// Files that look right already need none. What a source will take is not known before it is loaded: its dump stands for it,
/// twice where what is there now is kept beside. A listing that cannot be read needs nothing here: verifying it will tell why.
pub fn room(
    repo: &Repository,
    subjects: &[Subject<'_>],
    members: &[Member<'_>],
    safety: bool,
    state_dir: &Path,
) -> Vec<RoomNeeded> {
    let mut all = Vec::new();
    for (subject, member) in subjects.iter().zip(members) {
        let keeps = safety && member.manifest.spaces.safety;
        files(repo, subject, member, keeps, &mut all);
        for dump in &subject.account.dumps {
            let source = member.manifest.sources.iter().find(|source| source.name == dump.name);
            let spec = source.and_then(|source| SourceSpec::of(source, member.variables).ok());
            if let Some(spec) = spec {
                load(dump, &spec, keeps, state_dir, &mut all);
            }
        }
    }
    all.retain(|room| room.needed_bytes > 0);
    all
}

fn files(
    repo: &Repository,
    subject: &Subject<'_>,
    member: &Member<'_>,
    keeps: bool,
    all: &mut Vec<RoomNeeded>,
) {
    let Ok(sink) = FilesSink::looking(Path::new("/"), subject.sink_options(member)) else { return };
    let mut needed = sink.room(keeps);
    for listing in &subject.account.listings {
        let base = dedup_engine::listing::StoredPath::root();
        let _ = browse::walk(repo, &listing.root, &base, &mut |path, node| {
            if subject.is_meant(&path) {
                // A place that cannot be asked is one that nothing can be restored to, which the restore tells.
                let _ = needed.add(&path, &node);
            }
            ControlFlow::Continue(())
        });
    }
    for room in needed.rooms() {
        let place = Path::new("/").join(OsStr::from_bytes(&room.place.to_slashes()));
        let (needed_bytes, free_bytes) = (room.needed_bytes, room.free_bytes);
        add(all, RoomNeeded { device: room.device, place, needed_bytes, free_bytes });
    }
}

fn load(dump: &Dump, spec: &SourceSpec, keeps: bool, state_dir: &Path, all: &mut Vec<RoomNeeded>) {
    let path = spec.path();
    if let Some(path) = path {
        let old = path.symlink_metadata().map_or(0, |there| there.len());
        add_at(path, dump.bytes.saturating_add(old), all);
    }
    if keeps && spec.keeps() == Keeps::Dump {
        add_at(&state_dir.join("spaces"), dump.bytes, all);
    }
}

/// Adds what is needed at a path, which need not be there.
fn add_at(path: &Path, needed_bytes: u64, all: &mut Vec<RoomNeeded>) {
    let mut above = path.ancestors().filter_map(|at| Some((at, at.metadata().ok()?)));
    let Some((at, there)) = above.find(|(_, there)| there.is_dir()) else { return };
    let Ok(free) = statvfs(at) else { return };
    let free_bytes = free.f_bavail.saturating_mul(free.f_frsize);
    add(all, RoomNeeded { device: there.dev(), place: at.to_owned(), needed_bytes, free_bytes });
}

fn add(all: &mut Vec<RoomNeeded>, more: RoomNeeded) {
    match all.iter_mut().find(|room| room.device == more.device) {
        Some(room) => room.needed_bytes = room.needed_bytes.saturating_add(more.needed_bytes),
        None => all.push(more),
    }
}
