//! What this machine remembers of each repository's log, so that it notices when the storage is set back.

use crate::context::{Context, this_host};
use crate::failure::Failure;
use crate::state_dir::state_dir;
use dedup_engine::log::MemoryFile;
use dedup_engine::repo::{RepoError, Repository};

/// Below the state directory, which is kept: caches may be deleted at any time.
const FOLDER: &str = "witness";

/// Reads the log of a repository on, before anything else is done with it.
pub fn attach(ctx: &Context, repo: &Repository) -> Result<(), RepoError> {
    let file = match state_dir() {
        Ok(dir) => Some(MemoryFile::new(dir.join(FOLDER).join(repo.id().to_hex()))),
        Err(failure) => {
            ctx.output
                .warning(&format!("nothing is remembered of the repository's log: {}", failure.message));
            None
        }
    };
    repo.attach_log(file, &this_host(), ctx.now(), ctx.events())
}

/// The same where what is wrong is to be told, not to end the command: what the log says then.
pub fn attach_leniently(ctx: &Context, repo: &Repository) -> Result<Option<String>, Failure> {
    match attach(ctx, repo) {
        Ok(()) => Ok(None),
        Err(error @ RepoError::Log(_)) => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
