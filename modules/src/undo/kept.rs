//! Restores that can be reverted later: what they replaced stays aside after their success, as the manifests of their modules
//! want it (`[spaces] persistent`).
//!
//! ```text
//! DIR/ID/RUN-MODULE.undo   a journal with the acts that take it back; ID is the name of the module's space
//! ```
//!
//! What is kept lies where the acts say: on the file systems of what was replaced. A journal is written before the run's own one
//! lets go of the acts: whoever dies in between is taken back whole, and leaves a journal here that has nothing to undo.

use super::act::Undo;
use super::carry::{Carried, carry_out};
use super::journal::{Header, Journal, JournalError, journals, look};
use crate::machine::Machine;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The name of the directory in the state directory.
pub const DIR: &str = "kept";

/// A restore of one module that can be reverted.
#[derive(Clone, Debug)]
pub struct KeptRestore {
    /// The name of the module's space.
    pub id: String,
    /// Which restore, of which module.
    pub header: Header,
    /// What would be undone, the first act first.
    pub acts: Vec<Undo>,
    /// When it was kept, by the clock of the file system.
    pub since: SystemTime,
    path: PathBuf,
    is_damaged: bool,
}

/// What was let go of: its id, and what could not be removed.
pub type LetGo = (String, Result<(), String>);

/// How long kept restores stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// As many of the newest.
    Count(usize),
    /// As long.
    For(Duration),
}

/// Keeps the acts that take a restore back.
///
/// # Errors
/// Nothing is kept then.
pub fn keep(dir: &Path, id: &str, header: Header, acts: &[Undo]) -> Result<(), JournalError> {
    let mut journal = Journal::create(&dir.join(id), header)?;
    acts.iter().try_for_each(|act| journal.push(act.clone()).map(drop))
}

/// Returns the restores that are kept, by id, the oldest first. One that has nothing left to undo is left out.
pub fn kept(dir: &Path) -> Result<Vec<KeptRestore>, JournalError> {
    let mut all = read(dir)?;
    all.retain(|one| !one.is_void());
    Ok(all)
}

fn read(dir: &Path) -> Result<Vec<KeptRestore>, JournalError> {
    let mut all = Vec::new();
    for home in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(id) = home.file_name().into_string() else { continue };
        for path in journals(&home.path())? {
            let since =
                std::fs::metadata(&path).and_then(|at| at.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let (header, acts, damage) = look::<Undo>(&path)?;
            let run = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let unknown = Header { run, operation: String::new(), begun: String::new() };
            let (header, is_damaged) = (header.unwrap_or(unknown), damage.is_some());
            all.push(KeptRestore { id: id.clone(), header, acts, since, path, is_damaged });
        }
    }
    all.sort_by(|a, b| (&a.id, a.since, &a.path).cmp(&(&b.id, b.since, &b.path)));
    Ok(all)
}

impl KeptRestore {
    /// Returns whether nothing is left to undo: it was taken back already, or never stood.
    fn is_void(&self) -> bool {
        self.acts.is_empty() || self.acts.iter().any(Undo::is_void)
    }

    /// Returns the directories in which its files are kept: no backup should take them for data.
    pub fn places(&self) -> Vec<PathBuf> {
        self.acts.iter().flat_map(Undo::places).collect()
    }

    /// Takes the restore back, the last act first, each whatever becomes of the others; what fails stays to be tried again.
    pub fn take_back(&self, machine: &Machine<'_>) -> Result<Vec<Carried>, JournalError> {
        let Some((mut journal, _)) = Journal::<Undo>::take_over(&self.path)? else { return Ok(Vec::new()) };
        let carried = carry_out(&mut journal, machine)?;
        journal.close()?;
        Ok(carried)
    }

    /// Lets go of it for good: it cannot be reverted any more.
    ///
    /// # Errors
    /// What could not be removed, for people.
    pub fn let_go(&self) -> Result<(), String> {
        // First the journal: what is not kept any more must not be put back.
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", self.path.display()));
            }
            _ => {}
        }
        // The journal is STATE/kept/ID/NAME.
        let state_dir = self.path.ancestors().nth(3).unwrap_or(Path::new("/"));
        let failed: Vec<String> = self.acts.iter().filter_map(|act| act.discard(state_dir).err()).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

/// Lets go of what is kept longer, or of more, than `keeping` says of each id. Returns what was let go, and what failed.
pub fn expire(
    dir: &Path,
    now: SystemTime,
    keeping: &dyn Fn(&str) -> Option<Keeping>,
) -> Result<Vec<LetGo>, JournalError> {
    let (void, all): (Vec<_>, Vec<_>) = read(dir)?.into_iter().partition(KeptRestore::is_void);
    let mut gone: Vec<LetGo> = Vec::new();
    for one in void.iter().filter(|one| !one.is_damaged) {
        gone.push((one.id.clone(), one.let_go()));
    }
    for (at, one) in all.iter().enumerate() {
        let newer = all[at + 1..].iter().filter(|other| other.id == one.id).count();
        let is_over = match keeping(&one.id) {
            None => false,
            Some(Keeping::Count(count)) => newer >= count,
            // A clock that runs backwards makes nothing old.
            Some(Keeping::For(time)) => now.duration_since(one.since).is_ok_and(|age| age > time),
        };
        if is_over {
            gone.push((one.id.clone(), one.let_go()));
        }
    }
    Ok(gone)
}

/// Returns the logs that kept restores need; nothing if that cannot be told for sure.
pub(super) fn logs(dir: &Path) -> Option<BTreeSet<PathBuf>> {
    let readable = match std::fs::read_dir(dir) {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(mut entries) => entries.all(|entry| entry.is_ok()),
    };
    let all = read(dir).ok().filter(|all| readable && !all.iter().any(|one| one.is_damaged))?;
    let acts = all.into_iter().flat_map(|one| one.acts);
    Some(acts.filter_map(|act| if let Undo::TakeBack { log, .. } = act { Some(log) } else { None }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{FilesSink, Safety, SinkOptions};
    use crate::id::ModuleId;

    fn kept_in(dir: &Path, id: &str, run: &str, age_seconds: u64) -> PathBuf {
        let log = dir.join(format!("{run}.log"));
        // A log as a restore begins it.
        let safety = Safety { run: run.into(), log: log.clone() };
        FilesSink::with_safety(dir, SinkOptions::default(), &safety).unwrap().sync().unwrap();
        let header = Header { run: run.into(), operation: "restore".into(), begun: "then".into() };
        let module = ModuleId::parse("app").unwrap();
        let acts = [
            Undo::TakeBack { module, log: log.clone() },
            Undo::RemoveDir { path: dir.join(format!("{run}.dir")) },
        ];
        keep(&dir.join("kept"), id, header, &acts).unwrap();
        let path = super::super::journal::path_of(&dir.join("kept").join(id), run);
        let then = SystemTime::now() - Duration::from_secs(age_seconds);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        log
    }

    #[test]
    fn as_many_stay_as_long_as_it_was_said() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        for (id, run, age) in
            [("wiki", "r1", 300), ("wiki", "r3", 100), ("shop", "r2", 200), ("wiki", "r4", 50)]
        {
            kept_in(dir, id, run, age);
        }
        let runs = || {
            let all = kept(&dir.join("kept")).unwrap();
            all.into_iter().map(|one| (one.id, one.header.run)).collect::<Vec<_>>()
        };
        let named = |all: &[(&str, &str)]| {
            all.iter().map(|(id, run)| (id.to_string(), run.to_string())).collect::<Vec<_>>()
        };
        let now = SystemTime::now();
        let expire =
            |keeping: &dyn Fn(&str) -> Option<Keeping>| expire(&dir.join("kept"), now, keeping).unwrap();
        assert!(expire(&|_| None).is_empty());
        assert_eq!(runs(), named(&[("shop", "r2"), ("wiki", "r1"), ("wiki", "r3"), ("wiki", "r4")]));
        assert_eq!(logs(&dir.join("kept")).unwrap().len(), 4);
        let gone = expire(&|id| (id == "wiki").then_some(Keeping::Count(2)));
        assert_eq!(gone, [("wiki".to_owned(), Ok(()))]);
        assert_eq!(runs(), named(&[("shop", "r2"), ("wiki", "r3"), ("wiki", "r4")]));
        assert!(!dir.join("r1.log").exists(), "what it kept is gone");
        expire(&|_| Some(Keeping::For(Duration::from_secs(75))));
        assert_eq!(runs(), named(&[("wiki", "r4")]));
        // A clock that went backwards makes nothing old.
        let before = now - Duration::from_secs(1_000_000);
        super::expire(&dir.join("kept"), before, &|_| Some(Keeping::For(Duration::ZERO))).unwrap();
        assert_eq!(runs(), named(&[("wiki", "r4")]));
    }

    /// Who dies between the two journals is taken back by the run's own; what is left here undoes nothing.
    #[test]
    fn one_that_was_taken_back_already_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        let log = kept_in(scratch.path(), "wiki", "r1", 0);
        std::fs::remove_file(log).unwrap();
        let dir = scratch.path().join("kept");
        assert!(kept(&dir).unwrap().is_empty());
        expire(&dir, SystemTime::now(), &|_| None).unwrap();
        assert!(journals(&dir.join("wiki")).unwrap().is_empty());
    }

    /// What cannot be read may need anything: then nothing that was kept aside may go.
    #[test]
    fn who_looks_takes_nothing_away_and_damage_keeps_everything() {
        let scratch = tempfile::tempdir().unwrap();
        let log = kept_in(scratch.path(), "wiki", "r1", 0);
        let dir = scratch.path().join("kept");
        let path = super::super::journal::path_of(&dir.join("wiki"), "r1");
        let held = Journal::<Undo>::take_over(&path).unwrap();
        assert_eq!(logs(&dir), Some(BTreeSet::from([log])), "also while somebody reverts it");
        drop(held);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("take-back", "take-bick")).unwrap();
        assert_eq!(logs(&dir), None);
        assert_eq!(logs(&scratch.path().join("none")), Some(BTreeSet::new()));
    }
}
