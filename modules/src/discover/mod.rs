//! What runs or is installed on a machine, and manifests that would back it up: proposals for people to look at.
//!
//! ```text
//! system.rs     the machine as it is looked at: a root directory, its processes, its units
//! known.rs      services that are known by name: services.toml
//! databases.rs  PostgreSQL, MariaDB, MySQL, Redis      sqlite.rs     database files that are open, or lie where such files lie
//! compose.rs    stacks of containers                   iotstack.rs   one of IOTstack
//! platforms.rs  FreePBX, FreedomBox
//! draft.rs      a manifest in the making
//! ```
//!
//! Nothing is run and nothing is connected to: what is known stands in files. Passwords are not read; where one will be
//! needed, the proposal says so in a comment. Every proposal is a manifest without errors ([`Manifest::parse`]); names and
//! paths that could not stand in one, or that would not be safe to show, are passed over.

mod compose;
mod databases;
mod draft;
pub mod iotstack;
mod known;
mod platforms;
mod sqlite;
mod system;
#[cfg(test)]
mod tests;

pub use draft::{Draft, Raw, path_text, slug};
pub use system::{Process, System};

use crate::id::ModuleId;
use crate::manifest::Manifest;
use std::collections::BTreeMap;

/// A manifest that is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The id of the module.
    pub id: ModuleId,
    /// What was found, for people.
    pub found: Vec<String>,
    /// The manifest, as a file would hold it.
    pub text: String,
}

fn drafts(system: &System) -> Vec<Draft> {
    let mut drafts = platforms::find(system);
    drafts.extend(compose::find(system));
    drafts.extend(databases::find(system));
    let is_platform = drafts.iter().any(|draft| draft.id == "freepbx");
    // What FreePBX declares of the switch would be declared twice.
    drafts.extend(known::find(system).into_iter().filter(|draft| !is_platform || draft.id != "asterisk"));
    // Last, since databases that lie in what a module declares are that module's.
    sqlite::find(system, &mut drafts);
    drafts
}

/// Looks at a machine; by id.
pub fn discover(system: &System) -> Vec<Proposal> {
    let drafts = drafts(system);
    let mut by_id: BTreeMap<ModuleId, Proposal> = BTreeMap::new();
    for draft in drafts {
        let Some(proposal) = proposal(draft) else { continue };
        // The first one knows more: what is found comes before what is known by name.
        by_id.entry(proposal.id.clone()).or_insert(proposal);
    }
    by_id.into_values().collect()
}

/// Returns a draft as a proposal if it is a manifest without errors that stores something.
pub fn proposal(draft: Draft) -> Option<Proposal> {
    let text = draft.text();
    let manifest = Manifest::parse("", text.as_bytes()).ok().filter(|manifest| !manifest.stores_nothing())?;
    Some(Proposal { id: manifest.module.id, found: draft.found, text })
}
