//! Copies of what a job stores into its further storages (step 14), those of earlier runs that are still owed among them.

use super::finish::Finish;
use super::job::JobRun;
use crate::context::this_host;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo;
use crate::passphrase::Way;
use crate::target;
use dedup_engine::compress::Level;
use dedup_engine::copy::{CopyRequest, Copying};
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::repo::Budget;
use dedup_engine::repo::records::{RunRecord, RunVerdict};
use dedup_engine::snapshot::Snapshot;
use dedup_modules::job::after::After;
use dedup_modules::job::{names, storages};
use dedup_modules::manifest::job::JobStorage;
use dedup_modules::manifest::programs::Severity;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Makes the copies of a job.
pub struct Copies<'c, 'f> {
    pub finish: &'c Finish<'f>,
    pub job: &'c JobRun,
}

/// An earlier snapshot that is owed to some storage, and what its record says.
struct Owed {
    id: ObjectId,
    snapshot: Snapshot,
    record: RunRecord,
}

impl Copies<'_, '_> {
    /// Copies the snapshot of this run and those of earlier ones that are owed. What fails is owed to the next run; without a
    /// copy in a storage that is required the run is partial.
    ///
    /// A snapshot that turned out suspect is copied nowhere.
    pub fn make(&self, made: &ObjectId, after: &mut After) -> Result<Exit, Failure> {
        let Finish { ctx, .. } = self.finish;
        let further = self.job.further(ctx)?;
        if further.is_empty() {
            return Ok(Exit::Complete);
        }
        let earlier = self.earlier(made)?;
        let (mut exit, mut missing) = (Exit::Complete, BTreeSet::new());
        for storage in further {
            let wanted: Vec<ObjectId> = earlier.iter().map(|owed| owed.id).chain([*made]).collect();
            let done = match &after.suspect {
                Some(_) => Err((BTreeSet::from([*made]), "what this run stored is suspect".to_owned())),
                None => self.copy(storage, &wanted),
            };
            let Err((lacks, why)) = done else {
                let text = format!("copied to {}", storage.address);
                self.finish.machine.log.log(Severity::Info, None, &text);
                after.notes.push(text);
                continue;
            };
            if lacks.contains(made) {
                let owed = format!("a copy is owed to {}", storage.address);
                let required = if storage.require { ", which the job requires" } else { "" };
                self.finish.warn(&format!("{owed}{required}: {why}"));
                after.owed.extend((!planted(Bug::OweNothing)).then_some(owed));
                if storage.require {
                    exit = Exit::Partial;
                }
            } else {
                self.finish.warn(&format!("copies of earlier runs stay owed to {}: {why}", storage.address));
            }
            missing.extend(lacks);
        }
        if after.suspect.is_none() {
            earlier.iter().filter(|owed| !missing.contains(&owed.id)).for_each(|owed| self.settle(owed));
        }
        Ok(exit)
    }

    /// Returns the snapshots of this job on this machine that are owed to some storage, oldest first.
    fn earlier(&self, made: &ObjectId) -> Result<Vec<Owed>, Failure> {
        let (tag, host, repo) = (names::job_tag(&self.job.job), self.finish.host, self.finish.repo);
        let mut all = repo.catalog()?.0;
        all.retain(|(id, one)| id != made && one.host == host && one.tags.contains(&tag));
        let mut records = repo.newest_records(&all)?;
        let owed = all.into_iter().filter_map(|(id, snapshot)| {
            let record = records.remove(&id)?.ok()?;
            (record.verdict == RunVerdict::Owed).then_some(Owed { id, snapshot, record })
        });
        Ok(owed.collect())
    }

    /// Copies snapshots to a storage; returns which are not there then, and why.
    fn copy(&self, storage: &JobStorage, wanted: &[ObjectId]) -> Result<(), (BTreeSet<ObjectId>, String)> {
        let ctx = self.finish.ctx;
        let all_lack = |failure: Failure| (wanted.iter().copied().collect(), failure.message);
        let to = self.open(storage).map_err(all_lack)?;
        let mut copying = Copying::begin(self.finish.repo, &to).map_err(|error| all_lack(error.into()))?;
        let request = CopyRequest {
            now: ctx.now(),
            host: &this_host(),
            level: Level::Auto,
            threads: ctx.threads(),
            elapsed: &|| ctx.elapsed(),
        };
        let (mut lacks, mut first) = (BTreeSet::new(), None);
        for id in wanted {
            if let Err(error) = copying.copy(id, &request, ctx.events()) {
                lacks.insert(*id);
                first.get_or_insert(error.to_string());
            }
        }
        first.map_or(Ok(()), |why| Err((lacks, why)))
    }

    /// Opens a storage with what the job names, else with what opens the repository of the run.
    fn open(&self, storage: &JobStorage) -> Result<dedup_engine::repo::Repository, Failure> {
        let ctx = self.finish.ctx;
        let directory = storages::directory(&storage.address)
            .ok_or_else(|| Failure::refused("this version keeps repositories in directories only"))?;
        let place = find_repo::place(directory.as_os_str(), format!("the job {}", self.job.job.id))?;
        let whole = |path: &String| match Path::new(path).is_absolute() {
            true => Ok(PathBuf::from(path)),
            false => Err(Failure::refused(format!("{path} is to be named by its whole path"))),
        };
        let key_file = storage.key_file.as_ref().map(whole).transpose()?.map(Way::KeyFile);
        let passphrase_file = storage.passphrase_file.as_ref().map(whole).transpose()?.map(Way::File);
        let way = match key_file.or(passphrase_file) {
            Some(way) => way,
            None => match Way::choose(&ctx.global, &ctx.config)? {
                // Hours later nobody is there to be asked.
                Way::Ask => {
                    let wrong =
                        "nothing is given that opens it: the job can name a key_file or a passphrase_file";
                    return Err(Failure::new(Kind::WrongKey, wrong));
                }
                way => way,
            },
        };
        // The repository of the run keeps its caches meanwhile: about three eighths.
        target::open(ctx, &place, &way, (ctx.max_memory() / 8 * 5).max(Budget::LEAST_BYTES))
    }

    /// Says of a snapshot that it is owed to nobody any more.
    fn settle(&self, owed: &Owed) {
        let text = format!("copied to every storage of the job since ({})", owed.record.text);
        let text = text[..text.floor_char_boundary(4096)].to_owned();
        let (verdict, time) = (RunVerdict::Good, self.finish.ctx.now());
        let record = RunRecord { verdict, text, time, ..owed.record.clone() };
        if let Err(error) = self.finish.repo.add_run_record(owed.snapshot.session, &record) {
            self.finish
                .warn(&format!("that snapshot {} was copied could not be noted: {error}", owed.id.short()));
        }
    }
}
