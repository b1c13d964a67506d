//! Runs that die: what a restart finds.
//!
//! - `calls`, `work`, `prune`, `copies`, `repair`: storage freezes after every call, in process.
//! - `tracer`, `kill`: the real program is killed at every system call that changes anything, by a tracer.
//! - `power`: the power goes, under real file systems.
//! - `program`: the program in a folder of its own, and the judgement of what it left there.

mod calls;
mod copies;
mod kill;
mod power;
pub mod program;
mod prune;
mod repair;
mod tracer;
mod work;
