//! What `dedup` can back up.

pub mod files;
