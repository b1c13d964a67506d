//! What `dedup` can back up: files, and what modules say of themselves.
//!
//! Floors; each uses those above it in this list, never one below, and in a row those to its left:
//!
//! | floor | rooms |
//! |---|---|
//! | words | [`planted`] [`id`] [`units`] [`version`] [`mod@folder`] |
//! | programs of others | [`child`] |
//! | what lies in files | [`files`] [`archive`] |
//! | what modules and jobs say | [`manifest`] |
//! | what a run is about | [`selection`] |
//! | what is declared on this machine, and who may declare it | [`trust`] [`catalog`] [`discover`] |
//! | programs and services | [`log`] [`runlog`] [`machine`] [`services`] [`hooks`] [`lockdown`] [`setup`] [`spaces`] [`endpoint`] |
//! | rows of tables | [`records`] |
//! | what must be asked for its data, and the moment it is of | [`sources`] [`fsnap`] [`protocol`] [`external`] [`conformance`] |
//! | what a run must undo | [`undo`] |
//! | runs | [`member`] [`conduct`] [`backup`] [`restore`] |
//! | backups of other products | [`foreign`] |
//! | what runs of a job do beside their modules | [`job`] |
//!
//! The guide to manifests is `MANIFEST.md` beside this crate; `SEEDS.md` says what of the systems that were its seeds lives where.

pub mod archive;
pub mod backup;
pub mod catalog;
pub mod child;
pub mod conduct;
pub mod conformance;
pub mod discover;
pub mod endpoint;
pub mod external;
pub mod files;
pub mod folder;
pub mod foreign;
pub mod fsnap;
pub mod hooks;
pub mod id;
pub mod job;
pub mod lockdown;
pub mod log;
pub mod machine;
pub mod manifest;
pub mod member;
pub mod planted;
pub mod protocol;
pub mod records;
pub mod restore;
pub mod runlog;
pub mod selection;
pub mod services;
pub mod setup;
pub mod sources;
pub mod spaces;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod undo;
pub mod units;
pub mod version;
