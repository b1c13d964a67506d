//! The engine as a whole: backup, restore and check over storage in memory, real trees and real indexes.

mod concurrency;
mod dry_run;
mod keys;
mod links;
mod model;
mod reading;
mod secrecy;
mod sessions;
mod vanishing;
