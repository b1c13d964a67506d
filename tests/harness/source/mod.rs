//! Sources: what changes while it is read, what may not be read, and everything that a file system can hold.

mod changing;
mod denied;
mod editor;
mod everything;
mod fidelity;
mod images;
mod moments;
