//! Objects that rot, or that somebody changed.

mod objects;
