//! The real program in a home directory of its own. What a command computes is tested below it, in the
//! engine and the modules; here is what only the whole can get wrong: words, exit status, JSON, signals.

mod check_source;
mod commands;
mod copy;
mod declared;
mod exit_codes;
mod failures;
mod forget;
mod json;
mod keys;
mod log;
mod module;
mod parity;
mod prune;
mod repair;
mod rewrite;
mod sections;
mod signals;
mod space;
pub mod support;
mod trust;
mod witness;
