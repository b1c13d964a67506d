//! Calls that fail, storages that lie, memory that flips. `make faults` runs the full budget.

mod calls;
mod flaky;
mod full_disk;
mod memory;
mod program;
mod traced;
