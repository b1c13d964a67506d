//! The engine of `dedup`: objects, keys, chunks, maps, snapshots. It knows no terminal, no environment, no
//! clock, no file tree and no database server: it takes a [`Source`](backup::source::Source) and gives to a
//! [`Sink`](restore::sink::Sink).
//!
//! Floors; each uses those above it in this list, never one below, and in a row those to its left:
//!
//! | floor | rooms |
//! |---|---|
//! | words | [`error`] [`id`] [`planted`] [`mod@format`] [`wire`] [`progress`] [`tamper`] |
//! | bytes in, bytes out | [`compress`] [`chunker`] [`crypto`] |
//! | storage | [`storage`] |
//! | structures | [`pack`] [`map`] [`listing`] [`log`] [`snapshot`] |
//! | index | [`index`] |
//! | repository | [`repo`] |
//! | operations | [`backup`] [`mod@copy`] [`restore`] [`browse`] [`parity`] [`check`] [`stats`] [`forget`] [`prune`] [`repair`] |
//!
//! The stored format is `FORMAT.md`, the reasons are in `DESIGN.md`, both beside this crate.

pub mod backup;
pub mod browse;
pub mod check;
pub mod chunker;
pub mod compress;
pub mod copy;
pub mod crypto;
pub mod error;
pub mod forget;
pub mod format;
pub mod id;
pub mod index;
pub mod listing;
pub mod log;
pub mod map;
pub mod pack;
pub mod parity;
pub mod planted;
pub mod progress;
pub mod prune;
pub mod repair;
pub mod repo;
pub mod restore;
pub mod snapshot;
pub mod stats;
pub mod storage;
pub mod tamper;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wire;
