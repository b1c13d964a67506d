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
//! | of one moment | [`fsnap`] |
//!
//! The guide to manifests is `MANIFEST.md` beside this crate.

pub mod files;
pub mod fsnap;
pub mod id;
pub mod manifest;
pub mod selection;
#[cfg(feature = "testing")]
pub mod testing;
pub mod units;
pub mod version;
