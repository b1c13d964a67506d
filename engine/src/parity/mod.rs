//! Parity: packs that are lost or damaged are rebuilt, bit for bit, from the others of their group. Normative:
//! `FORMAT.md` 17.
//!
//! - `object`: parity objects. `code`: the code itself. `cover`: which parts of shards there are.
//! - `groups`: which groups there are, and what each of them stands. `plan`: which there ought to be.
//! - `columns`: packs of a group read side by side. `add`: new groups. `mend`: what is lost is rebuilt.
//! - `drop`: groups that go, by a generation. `verify`: whether shards are what their packs say.
//!
//! Nothing refers to a parity object, and a pack that was rebuilt is believed because it hashes to its name: so a
//! parity object that is wrong, whoever wrote it, can protect less than it claims and can do no harm.
//!
//! Memory, whatever the group: a quarter of the budget for stripes of all its packs, an eighth for parts of shards,
//! or for packs that are rebuilt, of which at least one is kept whole; 40 bytes for each pack.

mod add;
mod code;
mod columns;
mod cover;
mod drop;
pub(crate) mod groups;
mod mend;
mod mended;
mod object;
pub(crate) mod plan;
mod rebuild;
mod status;
mod verify;

#[cfg(test)]
mod tests;

pub use add::{AddOptions, AddReport, add};
pub use drop::{RemoveReport, remove};
pub use mend::{rebuild, repair};
pub use mended::{BadPack, MendOptions, MendReport, Outcome};
pub use object::{GroupKey, Head};
pub use plan::Wanted;
pub use status::{GroupStatus, Status, status};
pub(crate) use verify::verify;

use crate::listing::Time;
use crate::repo::control::{Purpose, Verdict};
use crate::repo::sessions::OpenSession;
use crate::repo::{RepoError, Repository};
use crate::storage::Name;

/// Who is at work, and when it began.
#[derive(Clone, Debug)]
pub struct Doer {
    /// Machine on which it runs.
    pub host: String,
    /// When it began.
    pub time: Time,
}

/// Opens a session: while it has no end, groups that lack shards are left alone.
fn begin(repo: &Repository, doer: &Doer) -> Result<OpenSession, RepoError> {
    let seen = repo.newest_generation()?;
    OpenSession::begin(&repo.objects, Purpose::Repair, &doer.host, doer.time, seen)
}

/// Ends a session, and removes it where all went well. Tells what came of the work, or that a prune took this run
/// for dead: then what it made may lack parts.
fn end<T>(repo: &Repository, session: OpenSession, result: Result<T, RepoError>) -> Result<T, RepoError> {
    let ended = session.end(Verdict::Done);
    let value = result?;
    ended?;
    // Best effort: a later prune removes it.
    let storage = repo.storage();
    let _ = storage.delete(&Name::session(session.id)).and_then(|()| storage.delete(&Name::end(session.id)));
    Ok(value)
}
