//! Jobs of this machine: found in `jobs.d`, or named by their file, and trusted as manifests are.

use crate::context::Context;
use crate::declared::{self, reason};
use crate::failure::Failure;
use dedup_engine::error::Kind;
use dedup_modules::catalog::{CommandError, Declared, Jobs, commands_of_job, load};
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::job::Job;
use dedup_modules::manifest::paths::Variables;
use dedup_modules::manifest::{MAX_FILE_BYTES, nearest};
use dedup_modules::trust::TrustError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where further job files are.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct JobDirs {
    /// Read job files in this directory too; may be given again, and the later one decides
    ///
    /// Job files are read in /etc/dedup/jobs.d and in dedup/jobs.d of the user's configuration directory first.
    #[arg(long = "jobs-dir", value_name = "DIR")]
    pub job_dirs: Vec<PathBuf>,
}

/// Reads all job files, and warns of what is not used.
pub fn shelf(ctx: &Context, given: &JobDirs) -> Result<Jobs, Failure> {
    let jobs = load(declared::trust(), &declared::dirs(<Job as Declared>::NAMES.1, &given.job_dirs)?);
    declared::faults(ctx, &jobs);
    Ok(jobs)
}

/// Finds the job that is named by its id, or by the path of its file.
///
/// # Errors
/// Refused: there is none, it is broken, or somebody else could have written it, or a program that it names.
pub fn find(ctx: &Context, given: &JobDirs, wanted: &OsStr) -> Result<Job, Failure> {
    let job = if wanted.as_encoded_bytes().contains(&b'/') {
        read(Path::new(wanted))?
    } else {
        by_id(ctx, given, wanted)?
    };
    assert_trusted(&job)?;
    Ok(job)
}

fn by_id(ctx: &Context, given: &JobDirs, wanted: &OsStr) -> Result<Job, Failure> {
    let text = wanted.to_string_lossy();
    let id = ModuleId::parse(&text).map_err(|_| {
        Failure::refused(format!("{text:?} is no id of a job")).hint("a file is named by a path: ./NAME.toml")
    })?;
    let mut jobs = shelf(ctx, given)?;
    let Some(entry) = jobs.entries.remove(&id) else {
        let near = nearest(id.as_str(), jobs.entries.keys().map(ModuleId::as_str));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(Failure::refused(format!("there is no job {id}{near}"))
            .hint("`dedup job list` lists them; a file is named by a path: ./NAME.toml"));
    };
    entry.what.map_err(|wrong| {
        let failure = Failure::refused(format!("job {id} cannot be used: {}", reason(&wrong)));
        let hint = wrong.hint();
        Failure { hint: hint.or(failure.hint.clone()), ..failure }
    })
}

fn read(path: &Path) -> Result<Job, Failure> {
    let whole = std::path::absolute(path)
        .map_err(|error| Failure::io(format!("{} is no usable path", path.display()), &error))?;
    let bytes = declared::trust().read(&whole, MAX_FILE_BYTES).map_err(|error| Failure {
        // Whatever keeps it from being read, nothing was done.
        exit: crate::exit::Exit::Refused,
        ..Failure::from(error)
    })?;
    Job::parse(&path.display().to_string(), &bytes).map_err(|problems| {
        let wrong = dedup_modules::catalog::Wrong::Problems(problems);
        Failure::refused(format!("this job cannot be used: {}", reason(&wrong)))
            .hint("`dedup module check FILE` tells everything that is wrong with it")
    })
}

/// Refuses a job if somebody else could have written a program that it would run. One that is not there is told by the
/// step that would run it.
fn assert_trusted(job: &Job) -> Result<(), Failure> {
    for (named, result) in declared::check_all(commands_of_job(job), &Variables::default()) {
        if let Err(error @ CommandError::Trust(TrustError::Untrusted { .. })) = &result {
            let failure = Failure::of(Kind::Refused, error);
            let message = format!("job {}: {} is not run: {error}", job.id, named.at);
            return Err(Failure { message, hint: error.hint().or(failure.hint.clone()), ..failure });
        }
    }
    Ok(())
}
