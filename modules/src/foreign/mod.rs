//! Backups of other products, taken into ordinary snapshots, and what other products say of their applications.
//!
//! ```text
//! tar.rs         a tar stream, header by header        archive.rs   unpacked into one file without a name
//! tree.rs        entries of it as a tree to store      database.rs  its tables, until they are records
//! mysql_text/    what mysqldump writes                 php.rs       what PHP's serialize writes
//! freepbx/       archives of FreePBX: module.rs (15 and later), legacy.rs (before)
//! iotstack.rs    archives of IOTstack
//! freedombox/    archives of FreedomBox; python/, apps.rs: the manifests of its applications
//! plan.rs        what of an archive belongs to which module      store.rs   a plan into a snapshot
//! ```
//!
//! An archive is the work of strangers. No name in it becomes a path of this machine before a restore, and that keeps to
//! what the manifest here declares; no text in it is run; every length, depth and count has a bound. What cannot be taken
//! is in the account of its module, so an import says partial where it is.

mod archive;
mod database;
mod error;
pub mod freedombox;
mod freepbx;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod iotstack;
mod mysql_text;
mod php;
mod plan;
mod store;
mod tables;
mod tar;
#[cfg(test)]
mod tests;
mod tree;

pub use archive::Archive;
pub use error::ForeignError;
pub use freepbx::LEGACY as FREEPBX_LEGACY;
pub use plan::{Choice, Planned, PlannedModule};
pub use store::{StoreJob, store};

use crate::catalog::Catalog;
use std::path::Path;

/// A product whose archives are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// FreePBX, of any generation.
    Freepbx,
    /// IOTstack.
    Iotstack,
    /// FreedomBox: a tar that its interface exports.
    Freedombox,
}

impl Product {
    /// Returns its name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Freepbx => "FreePBX",
            Self::Iotstack => "IOTstack",
            Self::Freedombox => "FreedomBox",
        }
    }
}

/// Finds out what an archive has, and for whom. Nothing is stored.
pub fn plan<'a>(
    product: Product,
    archive: &'a Archive,
    choice: &Choice<'_>,
    catalog: &Catalog,
    scratch_dir: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Planned<'a>, ForeignError> {
    let planned = match product {
        Product::Freepbx => freepbx::plan(archive, catalog, scratch_dir, cancelled)?,
        Product::Iotstack => iotstack::plan(archive, choice)?,
        Product::Freedombox => freedombox::plan(archive, catalog, scratch_dir)?,
    };
    planned.only(choice.modules)
}
