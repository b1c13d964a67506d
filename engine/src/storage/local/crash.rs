//! Power cuts: what may be on the disk after every single step, and whether the contract still holds.
//!
//! One run over a real directory gives a log of steps. For each prefix of it a model says what a file
//! system may have kept: of a file its bytes up to its last sync, then anything; of a folder its names as
//! of its last sync, then any of the later changes. Some of these states are laid out in a new directory
//! and opened.

use super::rigged::{Op, RiggedDisk, Step};
use super::tests::scratch;
use super::*;
use crate::id::{ObjectId, SessionId};
use std::collections::BTreeMap;
use std::path::Path;

/// What the run does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Put(Name),
    /// What has the name is there all the while.
    Replace(Name),
    Delete(Name),
    /// Another process does it, and its first sync of a folder fails.
    BrokenPut(Name),
    BrokenDelete(Name),
}

/// Marks in the log of steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    Begin(Action),
    Done(Action),
}

#[derive(Clone, Copy)]
enum Entry {
    Folder(u64),
    File(usize),
}

#[derive(Default)]
struct Folder {
    durable: BTreeMap<String, Entry>,
    /// Changes since the last sync, in order; `None` is a removal.
    later: Vec<(String, Option<Entry>)>,
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    synced_bytes: usize,
}

#[derive(Default)]
struct Model {
    folders: BTreeMap<u64, Folder>,
    files: Vec<File>,
    /// The latest file of each inode number; numbers are used again.
    inodes: BTreeMap<u64, usize>,
    created: bool,
    /// What callers were told: the object is there, or is not.
    told: BTreeMap<Name, bool>,
}

impl Model {
    fn change(&mut self, folder: u64, name: &str, entry: Option<Entry>) {
        self.folders.entry(folder).or_default().later.push((name.to_owned(), entry));
    }

    fn find(&self, folder: u64, name: &str) -> Entry {
        let folder = &self.folders[&folder];
        let later = folder.later.iter().rev().find(|(changed, _)| changed == name);
        later.map_or_else(|| folder.durable[name], |(_, entry)| entry.unwrap())
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Made { parent, name, folder } => self.change(*parent, name, Some(Entry::Folder(*folder))),
            Step::Created { folder, name, file } => {
                self.inodes.insert(*file, self.files.len());
                self.change(*folder, name, Some(Entry::File(self.files.len())));
                self.files.push(File::default());
            }
            Step::Wrote { file, bytes } => self.files[self.inodes[file]].bytes.extend(bytes),
            Step::SyncedFile { file } => {
                let file = &mut self.files[self.inodes[file]];
                file.synced_bytes = file.bytes.len();
            }
            Step::Renamed { from, temporary, to, name } => {
                let entry = self.find(*from, temporary);
                self.change(*from, temporary, None);
                self.change(*to, name, Some(entry));
            }
            Step::Linked { from, temporary, to, name } => {
                let entry = self.find(*from, temporary);
                self.change(*to, name, Some(entry));
            }
            Step::SyncedFolder { folder } => {
                let folder = self.folders.entry(*folder).or_default();
                folder.later.drain(..).for_each(|(name, entry)| set(&mut folder.durable, name, entry));
            }
            Step::Removed { folder, name } => self.change(*folder, name, None),
            Step::Note(Note::Begin(Action::Put(name) | Action::Delete(name))) => {
                self.told.remove(name);
            }
            Step::Note(Note::Begin(Action::BrokenPut(name) | Action::BrokenDelete(name))) => {
                self.told.remove(name);
            }
            Step::Note(Note::Done(Action::Create)) => self.created = true,
            Step::Note(Note::Done(Action::Put(name) | Action::Replace(name))) => {
                self.told.insert(*name, true);
            }
            Step::Note(Note::Done(Action::Delete(name))) => drop(self.told.insert(*name, false)),
            Step::Note(_) => {}
        }
    }

    /// Lays out a state that a power cut now may leave; `luck` says what of the unsynced is kept.
    fn lay_out(&self, root: u64, at: &Path, luck: &mut Luck) {
        let mut rest = vec![(root, at.to_owned())];
        while let Some((id, path)) = rest.pop() {
            let Some(folder) = self.folders.get(&id) else { continue };
            let mut names = folder.durable.clone();
            for (name, entry) in &folder.later {
                if luck.keeps_name() {
                    set(&mut names, name.clone(), *entry);
                }
            }
            for (name, entry) in names {
                let path = path.join(name);
                match entry {
                    Entry::Folder(id) => {
                        std::fs::create_dir(&path).unwrap();
                        rest.push((id, path));
                    }
                    Entry::File(file) => std::fs::write(path, luck.bytes_of(&self.files[file])).unwrap(),
                }
            }
        }
    }
}

fn set(names: &mut BTreeMap<String, Entry>, name: String, entry: Option<Entry>) {
    match entry {
        Some(entry) => drop(names.insert(name, entry)),
        None => drop(names.remove(&name)),
    }
}

/// What is kept of what was not synced.
struct Luck {
    /// 0: no names, 1: all, else each by chance.
    names: u32,
    /// 0: no bytes, 1: zeros in their stead, 2: half of them, 3: all.
    bytes: u32,
    chance: u64,
}

impl Luck {
    /// Every way with the names and the bytes, those by chance with three seeds.
    fn all() -> impl Iterator<Item = Self> {
        let ways = (0..5).flat_map(|names| (0..4).map(move |bytes| (names, bytes)));
        ways.map(|(names, bytes)| Self { names, bytes, chance: 0x9e37_79b9_7f4a_7c15 ^ u64::from(names) })
    }

    fn keeps_name(&mut self) -> bool {
        // xorshift64 (Marsaglia, 2003).
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.names == 1 || self.names > 1 && self.chance & 1 == 1
    }

    fn bytes_of(&self, file: &File) -> Vec<u8> {
        let (synced, later) = file.bytes.split_at(file.synced_bytes);
        let later = match self.bytes {
            0 => Vec::new(),
            1 => vec![0; later.len()],
            2 => later[..later.len() / 2].to_vec(),
            _ => later.to_vec(),
        };
        [synced, &later].concat()
    }
}

fn content(name: &Name) -> Vec<u8> {
    name.to_string().repeat(40).into_bytes()
}

fn actions() -> Vec<Action> {
    let pack = |first, n| {
        let mut bytes = [n; 32];
        bytes[0] = first;
        Name::pack(ObjectId::from_bytes(bytes))
    };
    let session = SessionId::from_bytes([1; 16]);
    vec![
        Action::Create,
        Action::Put(Name::slot(ObjectId::from_bytes([1; 32]))),
        Action::Put(Name::config()),
        Action::Put(pack(1, 1)),
        Action::Put(pack(1, 2)),
        Action::Put(pack(2, 1)),
        Action::Put(pack(1, 1)),
        Action::Delete(pack(1, 1)),
        Action::Put(pack(1, 1)),
        // Names and shards that somebody else left unsynced are relied on only when they are synced.
        Action::BrokenPut(Name::end(session)),
        Action::Put(Name::end(session)),
        Action::BrokenPut(pack(3, 1)),
        Action::Put(pack(3, 2)),
        Action::BrokenDelete(Name::end(session)),
        Action::Delete(Name::end(session)),
        Action::Replace(pack(1, 2)),
        Action::Replace(pack(4, 1)),
        Action::Delete(pack(2, 2)),
    ]
}

/// Does everything over `disk`.
fn run(path: &Path, disk: &RiggedDisk) {
    let over = || Box::new(disk.clone()) as Box<dyn Disk>;
    let mut storage = None;
    for action in actions() {
        disk.note(Note::Begin(action));
        let open = || storage.as_ref().unwrap() as &LocalStorage;
        match action {
            Action::Create => storage = Some(LocalStorage::create_on(path.to_owned(), over()).unwrap()),
            Action::Put(name) => drop(open().put(&name, &content(&name)).unwrap()),
            Action::Replace(name) => open().replace(&name, &content(&name)).unwrap(),
            Action::Delete(name) => open().delete(&name).unwrap(),
            Action::BrokenPut(name) => {
                disk.fail(Op::SyncFolder, 0, Errno::IO);
                let other = LocalStorage::open_on(path.to_owned(), over()).unwrap();
                other.put(&name, &content(&name)).unwrap_err();
            }
            Action::BrokenDelete(name) => {
                disk.fail(Op::SyncFolder, 0, Errno::IO);
                LocalStorage::open_on(path.to_owned(), over()).unwrap().delete(&name).unwrap_err();
            }
        }
        disk.note(Note::Done(action));
    }
}

/// Opens what a power cut left and compares it with what callers were told.
fn check(path: &Path, model: &Model) -> Result<(), String> {
    let storage = if model.created { LocalStorage::open(path) } else { LocalStorage::create(path) };
    let storage = storage.map_err(|error| error.to_string())?;
    let mut foreign = Vec::new();
    for family in Family::ALL {
        let mut each = |name: Name, len| {
            assert_eq!(storage.len(&name)?, Some(len));
            let whole = storage.get_all(&name, u64::MAX)? == content(&name);
            if whole { Ok(()) } else { Err(storage.error("read", name, Trouble::Missing)) }
        };
        let listed = storage.list(family, &mut each, &mut |path| foreign.push(path.to_owned()));
        listed.map_err(|error| format!("torn: {error}"))?;
    }
    if !foreign.is_empty() {
        return Err(format!("debris: {foreign:?}"));
    }
    let differs = model.told.iter().filter(|(name, there)| storage.len(name).unwrap().is_some() != **there);
    let differs: Vec<_> =
        differs.map(|(name, there)| format!("{name} was told to be there: {there}")).collect();
    if !differs.is_empty() {
        return Err(differs.join(", "));
    }
    for name in model.told.keys() {
        storage.put(name, &content(name)).map_err(|error| error.to_string())?;
        assert_eq!(storage.get_all(name, u64::MAX).unwrap(), content(name));
    }
    Ok(())
}

/// Does everything in a new directory; returns its inode number and the log.
fn log_of_run(links: bool) -> (u64, Vec<Step>) {
    let world = scratch();
    let disk = RiggedDisk::with(|script| {
        script.links = links;
        script.short_writes = Some(1000);
    });
    run(&world.path().join("parent/repository"), &disk);
    let log = disk.0.lock().unwrap().log.clone();
    (rustix::fs::stat(world.path()).unwrap().st_ino, log)
}

/// Cuts the power after every step, in every way of `ways`; returns what was found and of how many states.
fn cut_everywhere<'a>(
    root: u64,
    log: impl Iterator<Item = &'a Step>,
    ways: fn() -> Vec<Luck>,
) -> (Vec<String>, usize) {
    let (mut model, mut losses, mut states) = (Model::default(), Vec::new(), 0);
    for (number, step) in log.enumerate() {
        model.apply(step);
        for mut luck in ways() {
            let after = scratch();
            model.lay_out(root, after.path(), &mut luck);
            states += 1;
            if let Err(loss) = check(&after.path().join("parent/repository"), &model) {
                let Luck { names, bytes, .. } = luck;
                losses.push(format!("after step {number}, names {names}, bytes {bytes}: {loss}"));
            }
        }
    }
    (losses, states)
}

#[test]
fn a_power_cut_after_any_step_loses_nothing_and_tears_nothing() {
    for links in [false, true] {
        let (root, log) = log_of_run(links);
        let (losses, states) = cut_everywhere(root, log.iter(), || Luck::all().collect());
        assert!(states > 1000, "too little happens here to prove anything: {states} states");
        assert!(losses.is_empty(), "{}", losses.join("\n"));
    }
}

/// Also shows that the test above can fail.
#[test]
fn every_sync_is_needed() {
    let (root, log) = log_of_run(false);
    let mut unneeded = Vec::new();
    let mut action = None;
    for (left_out, step) in log.iter().enumerate() {
        match step {
            Step::Note(Note::Begin(begun)) => action = Some(*begun),
            Step::SyncedFile { .. } | Step::SyncedFolder { .. } => {
                let rest = log.iter().enumerate().filter(|(number, _)| *number != left_out);
                let ways = || Luck::all().filter(|luck| luck.names < 3 && luck.bytes == 0).collect();
                if cut_everywhere(root, rest.map(|(_, step)| step), ways).0.is_empty() {
                    unneeded.extend(action);
                }
            }
            _ => {}
        }
    }
    let actions = actions();
    // Creation syncs the parent before and after; the others found the object durable, or durably gone, or the bytes
    // that were replaced were as good.
    assert_eq!(unneeded, [actions[0], actions[0], actions[6], actions[15], actions[17]]);
}
