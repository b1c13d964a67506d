//! Runs that die: what a restart finds.

mod calls;
