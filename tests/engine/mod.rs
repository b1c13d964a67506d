//! The engine as a whole: backup, restore and check over storage in memory, real trees and real indexes.

mod concurrency;
mod crash;
mod damage;
mod dry_run;
mod failing;
mod index;
mod keys;
mod links;
mod model;
mod reading;
mod secrecy;
mod sessions;
mod vanishing;
