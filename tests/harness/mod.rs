//! What breaks the engine before the world does: each part has a goal of its name in the `Makefile`, which runs
//! its full budget; `make test` runs a short one. What must be true afterwards is in [`crate::support::oracle`].

mod crash;
mod damage;
mod faults;
mod fleet;
mod hostile;
mod index;
mod lying;
pub mod planted;
mod source;
