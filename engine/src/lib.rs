//! The engine of `dedup`.

pub mod error;
pub mod format;
pub mod id;
pub mod progress;
pub mod wire;
