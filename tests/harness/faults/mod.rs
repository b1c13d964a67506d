//! Calls that fail.

mod calls;
