//! A small repository with an object of every kind, and the verdict on what became of it.
//!
//! *Detected*: `check` says that something is wrong, or the repository does not open and says why. *Located*: it
//! names the object, in a pack the first byte of the part that is damaged, and exactly the files of exactly the
//! snapshots that do not restore; they are compared with what a restore brings back. *Harmless*: everything
//! restores. In every case no restore writes a wrong byte, and it tells of every file that it leaves out.

use crate::support::trees;
use crate::support::world::{NO_KDF, Run, World, check, open, restore_to_memory, snapshots};
use dedup_engine::check::CheckReport;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::forget;
use dedup_engine::format::{HEADER_LEN, PACK_TRAILER_LEN};
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::listing::{StoredPath, Time};
use dedup_engine::progress::Silent;
use dedup_engine::repo::control::{Condemned, Generation};
use dedup_engine::repo::{Repository, hash_of};
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Family, Name, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

type Files = BTreeMap<StoredPath, Vec<u8>>;

/// A repository and what its snapshots restore to.
pub struct Subject {
    pub world: World,
    pub expected: Vec<(ObjectId, Files)>,
    /// Where the parts of each pack begin: header, blocks, directory, trailer.
    parts: BTreeMap<Name, Vec<u64>>,
}

/// What was found out about a damage.
pub struct Judged {
    pub verdict: Verdict,
    /// What `check` reported; empty if it or the repository named the object and gave up.
    pub report: CheckReport,
    /// What does not restore, in the words of `check`.
    pub lost: BTreeSet<String>,
}

/// What a damage came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The repository does not open, and says why.
    Refused,
    /// The object is named, and whatever does not restore.
    Located,
    /// Everything restores.
    Harmless,
}

impl Subject {
    /// Makes the repository: a few KB, with an object at least of every kind that there is.
    pub fn new() -> Self {
        let world = World::new();
        let tree = world.scratch.dir("tree");
        trees::build_tiny(&tree, 60);
        trees::set_xattr(&tree.join("sub/three"), "user.large", &[b'x'; 300]);
        world.backup(Run { tree: &tree, moment: 0 }).unwrap();
        trees::write(&tree.join("one"), b"other words", 99);
        world.backup(Run { tree: &tree, moment: 10 }).unwrap();
        let repo = world.open().unwrap();
        for number in 1..=2 {
            let unlock = Unlock::new_key_file().unwrap().0;
            let slot = repo.add_slot(&unlock, &NO_KDF, "", true, number).unwrap();
            repo.remove_slot(&slot).unwrap();
            publish(&repo, number as u64);
        }
        repo.add_slot(&Unlock::new_key_file().unwrap().0, &NO_KDF, "spare", true, 3).unwrap();
        let newest = snapshots(&repo).into_iter().last().into_iter().collect();
        forget::pin(&repo, &newest, true, Time { secs: 3, nanos: 0 }).unwrap();
        drop(repo);
        let subject = Self::of(world);
        assert_eq!(subject.expected.len(), 2);
        subject
    }

    /// Makes a subject of a sound repository.
    pub fn of(world: World) -> Self {
        let repo = world.open().unwrap();
        let ids = snapshots(&repo).into_iter();
        let expected = ids.map(|id| (id, restore_to_memory(&repo, id).unwrap().0)).collect();
        let mut parts = BTreeMap::new();
        let objects = world.storage.objects();
        for segment in objects.iter().filter(|(name, _)| name.family() == Family::Segments) {
            for pack in repo.read_segment(segment.0.object_id().unwrap()).unwrap().packs {
                let blocks = 0..pack.directory.blocks().len();
                let mut starts: Vec<u64> =
                    blocks.map(|block| pack.directory.range_of(block).unwrap().start).collect();
                assert_eq!(starts[0], HEADER_LEN as u64);
                starts.extend([pack.directory.blocks_end(), pack.stored_len - PACK_TRAILER_LEN as u64]);
                starts.insert(0, 0);
                parts.insert(Name::pack(pack.id), starts);
            }
        }
        drop(repo);
        world.assert_sound(&world.open_afresh());
        Self { world, expected, parts }
    }

    /// Returns how many bytes are stored.
    pub fn len(&self) -> u64 {
        self.world.storage.objects().iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// Returns where the part of a pack begins that a byte belongs to.
    pub fn part_of(&self, pack: &Name, byte: u64) -> u64 {
        *self.parts[pack].iter().rev().find(|start| **start <= byte).unwrap()
    }

    /// Restores every snapshot and refuses any wrong byte, and any gap that nobody tells of; returns what does
    /// not come back, in the words of `check`.
    pub fn lost(&self, repo: &Repository, context: &str) -> BTreeSet<String> {
        let mut lost = BTreeSet::new();
        for (id, expected) in &self.expected {
            let hit = |path: &[u8]| format!("snapshot {}: {}", id.short(), String::from_utf8_lossy(path));
            let Ok((files, report)) = restore_to_memory(repo, *id) else {
                lost.insert(hit(b"/"));
                continue;
            };
            let told: BTreeSet<_> = report.problems.iter().map(|problem| &problem.path).collect();
            for (path, bytes) in expected {
                match files.get(path) {
                    Some(found) => assert!(found == bytes, "{context}: {path:?} is restored wrong"),
                    None => {
                        assert!(told.contains(path), "{context}: {path:?} is missing, and nobody says so")
                    }
                }
            }
            assert!(files.keys().all(|path| expected.contains_key(path)), "{context}: files from nowhere");
            lost.extend(told.into_iter().map(|path| hit(&path.to_slashes())));
        }
        lost
    }

    /// Checks a damaged repository that opened, and holds the report to what a restore brings back.
    pub fn judge_opened(&self, repo: &Repository, culprits: &[Name], context: &str) -> Judged {
        let lost = self.lost(repo, context);
        let report = match check(repo) {
            Ok(report) => report,
            Err(error) => {
                let named = culprits.iter().any(|name| error.to_string().contains(&name.to_string()));
                assert!(named, "{context}: {error}");
                return Judged { verdict: Verdict::Located, report: CheckReport::default(), lost };
            }
        };
        // A copy of a snapshot under another name is told, but is none.
        let is_ours =
            |hit: &String| self.expected.iter().any(|(id, _)| hit.contains(&id.short().to_string()));
        let told: BTreeSet<String> = hits(&report).into_iter().filter(is_ours).collect();
        assert!(
            told == lost,
            "{context}: check says that these do not restore: {told:#?}\nin truth: {lost:#?}\n{:#?}",
            report.findings
        );
        if is_named(&report, culprits) {
            return Judged { verdict: Verdict::Located, report, lost };
        }
        assert!(lost.is_empty() && report.is_sound(), "{context}: nobody is named: {:#?}", report.findings);
        Judged { verdict: Verdict::Harmless, report, lost }
    }

    /// Opens a damaged copy with an index made from it, and looks at everything.
    pub fn judge(&self, storage: MemoryStorage, culprits: &[Name], context: &str) -> Judged {
        let index = self.world.other_index("judged");
        // What the index is made from; of anything else it knows nothing.
        let is_source =
            |name: &Name| matches!(name.family(), Family::Packs | Family::Segments | Family::Generations);
        if culprits.iter().any(is_source) {
            let _ = std::fs::remove_dir_all(&index);
        }
        let repo = match self.open(Arc::new(storage), &index) {
            Ok(repo) => repo,
            Err(error) => {
                let clear =
                    [Kind::Integrity, Kind::TooNew, Kind::WrongKey, Kind::NoRepository, Kind::Refused];
                assert!(clear.contains(&error.kind()), "{context}: {error:?}");
                // Without a slot or the configuration there is nothing that could tell more.
                let is_lock = |name: &Name| matches!(name.family(), Family::Config | Family::Keys);
                let named = culprits.iter().any(|name| error.to_string().contains(&name.to_string()));
                assert!(named || culprits.iter().any(is_lock), "{context}: {error}");
                let (report, lost) = Default::default();
                return Judged { verdict: Verdict::Refused, report, lost };
            }
        };
        self.judge_opened(&repo, culprits, context)
    }

    fn open(
        &self,
        storage: Arc<dyn Storage>,
        index: &Path,
    ) -> Result<Repository, dedup_engine::repo::RepoError> {
        open(storage, &self.world.unlock, index, &Silent)
    }
}

/// Returns what a report says does not restore; of a snapshot that is hit as a whole, only that.
fn hits(report: &CheckReport) -> BTreeSet<String> {
    let all: BTreeSet<String> = report.findings.iter().flat_map(|finding| finding.hits.clone()).collect();
    let whole: Vec<&str> = all.iter().filter_map(|hit| hit.strip_suffix(": /")).collect();
    let is_part = |hit: &&String| !hit.ends_with(": /") && whole.iter().any(|whole| hit.starts_with(whole));
    all.iter().filter(|hit| !is_part(hit)).cloned().collect()
}

/// Returns whether a finding is about one of these objects, or names it.
pub fn is_named(report: &CheckReport, culprits: &[Name]) -> bool {
    let names: Vec<String> = culprits.iter().map(ToString::to_string).collect();
    let is_named = |name: &String| {
        report.findings.iter().any(|finding| finding.object == *name || finding.message.contains(name))
    };
    names.iter().any(is_named)
}

/// Returns whether damage of the pack is told at this offset.
pub fn is_told_at(report: &CheckReport, pack: &Name, offset: u64) -> bool {
    let pack = pack.to_string();
    report.findings.iter().any(|finding| finding.object == pack && finding.offset == Some(offset))
}

fn publish(repo: &Repository, number: u64) {
    let set = Condemned {
        number,
        base: number - 1,
        session: Some(SessionId::from_bytes([9; 16])),
        packs: vec![ObjectId::from_bytes([9; 32])],
        ..Default::default()
    };
    repo.publish_condemned(&set).unwrap();
    let mut previous = ObjectId::from_bytes([0; 32]);
    let before = Name::generation(number.saturating_sub(1));
    if let Ok(stored) = repo.storage().get_all(&before, 1 << 20) {
        previous = hash_of(&stored);
    }
    let generation = Generation {
        number,
        condemned: number,
        previous,
        session: SessionId::from_bytes([9; 16]),
        packs: set.packs.clone(),
        segments: Vec::new(),
        snapshots: Vec::new(),
        parity: Vec::new(),
        retired: Vec::new(),
        public_key: [0; 32],
        signature: [0; 64],
    };
    repo.publish_generation(generation).unwrap();
}
