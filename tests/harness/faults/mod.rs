//! Calls that fail, storages that lie, memory that flips. `make faults` runs the full budget.

mod calls;
mod flaky;
mod full_disk;
mod memory;
mod memory_prune;
mod program;
mod traced;
