//! A local index that was lost, truncated, bit-flipped, rolled back, mixed or exchanged heals itself: the
//! next start of a run ends with exactly what the repository holds, and nothing that it does not.

use super::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The repository as the storage shows it: eight segments, of which two generations removed two, with
/// four packs.
struct Repository {
    segments: Vec<(ObjectId, Vec<SegmentPack>)>,
    generations: Vec<(Vec<ObjectId>, Vec<ObjectId>)>,
}

const CHUNKS_PER_PACK: u64 = 40;

impl Repository {
    fn new() -> Self {
        let packs = |segment: u64| (0..2).map(move |n| segment * 2 + n);
        let chunks = |number: u64| number * 30..number * 30 + CHUNKS_PER_PACK;
        let segments = (0..8)
            .map(|s| (object_id(1000 + s), packs(s).map(|number| pack(number, chunks(number))).collect()))
            .collect();
        let removed = |s: u64| (packs(s).map(object_id).collect(), vec![object_id(1000 + s)]);
        Self { segments, generations: vec![removed(1), removed(4)] }
    }

    fn mark(number: u64) -> GenerationMark {
        GenerationMark { number, id: object_id(5000 + number) }
    }

    fn is_removed(&self, segment: ObjectId, upto: usize) -> bool {
        self.generations[..upto].iter().any(|(_, segments)| segments.contains(&segment))
    }

    /// The start of a run, when the storage shows this many segments and generations.
    fn start(&self, index: &Index, segments: usize, generations: usize) -> Result<Reconciled, IndexError> {
        let applied = index.generation()?.map_or(0, |mark| mark.number);
        for number in applied + 1..=generations as u64 {
            let (packs, removed) = &self.generations[number as usize - 1];
            let previous = match number {
                1 => ObjectId::from_bytes([0; 32]),
                _ => Self::mark(number - 1).id,
            };
            let generation = Generation { mark: Self::mark(number), previous, packs, segments: removed };
            index.apply_generation(&generation)?;
        }
        let listed: BTreeSet<_> = self.segments[..segments]
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| !self.is_removed(*id, generations))
            .collect();
        let newest = (generations > 0).then(|| Self::mark(generations as u64));
        let found = index.reconcile(listed, newest)?;
        for (id, packs) in self.segments.iter().filter(|(id, _)| found.to_apply.contains(id)) {
            index.apply_segment(*id, packs)?;
        }
        Ok(found)
    }

    /// Compares every answer with what the storage holds.
    fn compare(&self, index: &Index, segments: usize, generations: usize) -> Result<(), IndexError> {
        let alive: Vec<&SegmentPack> = self.segments[..segments]
            .iter()
            .filter(|(id, _)| !self.is_removed(*id, generations))
            .flat_map(|(_, packs)| packs)
            .collect();
        assert_eq!(index.statistics()?.packs, alive.len() as u64);
        for chunk in 0..16 * 30 + CHUNKS_PER_PACK {
            let id = chunk_id(chunk);
            let holders: Vec<_> = alive
                .iter()
                .filter(|pack| pack.directory.chunks().iter().any(|held| held.id == id))
                .collect();
            let copies = index.copies(&id)?;
            assert_eq!(copies.len(), holders.len(), "copies of chunk {chunk}");
            for location in copies.into_iter().chain(index.lookup(&id)?) {
                let info = index.pack(location.pack)?.expect("alive");
                let holder = holders.iter().find(|pack| pack.id == info.id).expect("a dangling reference");
                assert_lies_there(index, holder, chunk, location);
            }
        }
        Ok(())
    }
}

/// Random numbers that follow from a seed.
struct Dice(blake3::OutputReader);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn below(&mut self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % end as u64) as usize
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            match fs::copy(entry.path(), to) {
                // The open database has removed it since: nobody needed it any more.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

/// Folders as they are found: old and new, after a clean end and a crash, in the log and in tables.
fn images(repository: &Repository, root: &Path) -> Vec<PathBuf> {
    let dir = root.join("live");
    let mut images = Vec::new();
    let mut keep = |name: &str| {
        copy_folder(&dir, &root.join(name));
        images.push(root.join(name));
    };
    let index = Index::open(&dir, &settings()).unwrap();
    repository.start(&index, 3, 0).unwrap();
    keep("old, crashed");
    repository.start(&index, 5, 1).unwrap();
    drop(index);
    keep("older, closed");
    let index = Index::open(&dir, &settings()).unwrap();
    repository.start(&index, 6, 1).unwrap();
    index.top.flush().unwrap();
    repository.start(&index, 7, 2).unwrap();
    keep("newer, crashed");
    repository.start(&index, 8, 2).unwrap();
    index.top.flush().unwrap();
    index.tidy().unwrap();
    drop(index);
    keep("newest, closed");
    images
}

fn files_of(db: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(db).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.filter(|entry| entry.file_type().unwrap().is_file()).map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Damages the database in `dir` in some way, and says how.
fn damage(dir: &Path, others: &[PathBuf], dice: &mut Dice) -> String {
    let db = dir.join("db");
    let files = files_of(&db);
    let file = &files[dice.below(files.len())];
    let mut bytes = fs::read(file).unwrap();
    let at = dice.below(bytes.len().max(1));
    let name = file.file_name().unwrap().to_string_lossy();
    match dice.below(7) {
        0 if !bytes.is_empty() => {
            bytes[at] ^= 1 << dice.below(8);
            fs::write(file, bytes).unwrap();
            format!("a bit of byte {at} of {name} flipped")
        }
        1 => {
            bytes.truncate(at);
            fs::write(file, bytes).unwrap();
            format!("{name} cut at {at}")
        }
        2 => {
            fs::remove_file(file).unwrap();
            format!("{name} removed")
        }
        3 => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
            fs::write(file, bytes).unwrap();
            format!("{name} zeroed from {at}")
        }
        4 => {
            let other = others[dice.below(others.len())].join("db");
            for file in files_of(&other).iter().filter(|_| dice.below(3) == 0) {
                fs::copy(file, db.join(file.file_name().unwrap())).unwrap();
            }
            format!("mixed with {}", other.display())
        }
        5 => {
            fs::remove_dir_all(&db).unwrap();
            if dice.below(2) == 0 {
                fs::write(&db, b"no folder").unwrap();
            }
            "removed".to_owned()
        }
        _ => {
            let other = &files[dice.below(files.len())];
            fs::copy(other, file).unwrap();
            format!("{name} exchanged for {}", other.file_name().unwrap().to_string_lossy())
        }
    }
}

fn heal(repository: &Repository, images: &[PathBuf], dir: &Path, seed: u64) -> bool {
    let mut dice = Dice::new(seed);
    let image = &images[dice.below(images.len())];
    copy_folder(image, dir);
    let mut what = format!("seed {seed}: {}", image.file_name().unwrap().to_string_lossy());
    for _ in 0..1 + dice.below(2) {
        if dir.join("db").is_dir() {
            what = format!("{what}, {}", damage(dir, images, &mut dice));
        }
    }
    let mut errors = Vec::new();
    while errors.len() < 3 {
        let index = Index::open(dir, &settings()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (segments, generations) = (repository.segments.len(), repository.generations.len());
        let done = repository
            .start(&index, segments, generations)
            .and_then(|_| repository.compare(&index, segments, generations));
        match done {
            Ok(()) => return index.rebuilt() || !errors.is_empty(),
            Err(error) if error.wants_rebuild() => errors.push(error.to_string()),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    panic!("{what}: does not heal: {errors:?}");
}

fn heal_all(seeds: std::ops::Range<u64>) {
    let root = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    let images = images(&repository, root.path());
    let count = seeds.end - seeds.start;
    let mut noticed = 0;
    for seed in seeds {
        let dir = root.path().join(seed.to_string());
        noticed += u64::from(heal(&repository, &images, &dir, seed));
        fs::remove_dir_all(dir).unwrap();
    }
    println!("{noticed} of {count} cases were replaced, the others healed in place or did not matter");
    assert!(noticed > count / 4, "{noticed} of {count}: hardly anything was damaged");
}

#[test]
fn damaged_folders_heal() {
    heal_all(0..100);
}

#[test]
#[ignore = "minutes"]
fn ten_thousand_damaged_folders_heal() {
    heal_all(0..10_000);
}

#[test]
fn every_image_heals_undamaged_without_being_replaced() {
    let root = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    for image in images(&repository, root.path()) {
        let index = Index::open(&image, &settings()).unwrap();
        assert_eq!(index.origin(), &Origin::Kept, "{}", image.display());
        repository.start(&index, 8, 2).unwrap();
        repository.compare(&index, 8, 2).unwrap();
    }
}

#[test]
fn a_repository_that_was_rolled_back_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    let index = Index::open(dir.path(), &settings()).unwrap();
    repository.start(&index, 6, 1).unwrap();
    // To before two segments: their packs vouch for nothing any more.
    let found = repository.start(&index, 4, 1).unwrap();
    assert_eq!((found.dropped.len(), found.dropped_packs), (2, 4));
    repository.compare(&index, 4, 1).unwrap();
    // And back again.
    assert_eq!(repository.start(&index, 6, 1).unwrap().to_apply.len(), 2);
    repository.compare(&index, 6, 1).unwrap();
    // To before a generation: the index starts anew.
    let error = repository.start(&index, 4, 0).unwrap_err();
    assert!(matches!(error, IndexError::OtherHistory { index: 1, .. }) && error.wants_rebuild(), "{error}");
    let index = index.rebuild(|fresh| repository.start(fresh, 4, 0).map(drop)).unwrap();
    repository.compare(&index, 4, 0).unwrap();
    drop(index);
    repository.compare(&Index::open(dir.path(), &settings()).unwrap(), 4, 0).unwrap();
}

#[test]
fn the_index_of_another_repository_is_never_used() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    repository.start(&Index::open(dir.path(), &settings()).unwrap(), 8, 2).unwrap();
    let other = Settings { repository: RepoId::from_bytes([8; 16]), ..settings() };
    let index = Index::open(dir.path(), &other).unwrap();
    assert!(matches!(index.origin(), Origin::Replaced { why } if why.contains("another repository")));
    assert_eq!(index.lookup(&chunk_id(0)).unwrap(), None);
    assert!(!dir.path().join("db.aside").exists());
}

#[test]
fn a_rebuild_that_fails_leaves_the_old_index() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    let index = Index::open(dir.path(), &settings()).unwrap();
    repository.start(&index, 8, 2).unwrap();
    let failed = index.rebuild(|fresh| {
        repository.start(fresh, 2, 0)?;
        Err(IndexError::Unsorted { at: "here".to_owned() })
    });
    assert!(failed.is_err());
    let index = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!(index.origin(), &Origin::Kept);
    repository.compare(&index, 8, 2).unwrap();
}
