//! What `dedup` can back up: files, and what modules say of themselves.
//!
//! Floors; each uses those above it in this list, never one below, and in a row those to its left:
//!
//! | floor | rooms |
//! |---|---|
//! | words | [`id`] [`units`] [`version`] |
//! | what lies in files | [`files`] |
//! | what modules and jobs say | [`manifest`] |
//! | what a run is about | [`selection`] |
//! | what a run tells | [`runlog`] |
//! | what is declared on this machine, and who may declare it | [`trust`] [`catalog`] [`discover`] |
//!
//! The guide to manifests is `MANIFEST.md` beside this crate.

pub mod catalog;
pub mod discover;
pub mod files;
pub mod id;
pub mod manifest;
pub mod runlog;
pub mod selection;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trust;
pub mod units;
pub mod version;
