//! The engine of `dedup`.

pub mod backup;
pub mod browse;
pub mod check;
pub mod chunker;
pub mod compress;
pub mod crypto;
pub mod error;
pub mod format;
pub mod id;
pub mod index;
pub mod listing;
pub mod map;
pub mod pack;
pub mod progress;
pub mod repo;
pub mod restore;
pub mod snapshot;
pub mod stats;
pub mod storage;
pub mod wire;
