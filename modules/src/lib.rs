//! What `dedup` can back up: files, and what modules say of themselves.
//!
//! Floors; each uses those above it in this list, never one below, and in a row those to its left:
//!
//! | floor | rooms |
//! |---|---|
//! | words | [`id`] [`units`] [`version`] [`mod@folder`] |
//! | programs of others | [`child`] |
//! | what lies in files | [`files`] |
//! | what modules and jobs say | [`manifest`] |
//! | what a run is about | [`selection`] |
//! | what a run does besides | [`log`] [`spaces`] |
//! | what must be asked for its data | [`sources`] |
//!
//! The guide to manifests is `MANIFEST.md` beside this crate.

pub mod child;
pub mod files;
pub mod folder;
pub mod id;
pub mod log;
pub mod manifest;
pub mod selection;
pub mod sources;
pub mod spaces;
#[cfg(feature = "testing")]
pub mod testing;
pub mod units;
pub mod version;
