//! The engine as a whole: backup, restore and check over storage in memory, real trees and real indexes.

mod concurrency;
pub mod copying;
mod dry_run;
mod forgetting;
mod keys;
mod links;
mod meanwhile;
mod model;
mod parity;
mod parts;
mod parts_failing;
mod prune_copies;
mod prune_parts;
mod pruning;
mod reading;
mod readings;
mod records;
mod repairing;
mod repairing_snapshots;
mod rewriting;
mod rubbish;
mod secrecy;
mod secrets;
mod sessions;
mod unchanged;
mod vanishing;
mod write_only;
