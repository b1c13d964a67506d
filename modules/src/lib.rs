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
//! | programs and services | [`log`] [`child`] [`machine`] [`services`] [`hooks`] [`lockdown`] [`setup`] |
//!
//! The guide to manifests is `MANIFEST.md` beside this crate.

pub mod child;
pub mod files;
pub mod hooks;
pub mod id;
pub mod lockdown;
pub mod log;
pub mod machine;
pub mod manifest;
pub mod selection;
pub mod services;
pub mod setup;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod units;
pub mod version;
