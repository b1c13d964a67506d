//! What a run must undo on every way out, kept on disk so that others can do it when the run dies.
//!
//! ```text
//! journal.rs   the list, durable line by line
//! act.rs       what can stand in it, and how it is undone
//! marked.rs    programs that a dead run has left running
//! carry.rs     the list of a living run, and of dead ones
//! kept.rs      what can be reverted after a success
//! ```
//!
//! Every undoing may be done twice: the line that says it is done can be lost.

mod act;
mod carry;
pub mod journal;
pub mod kept;
mod marked;

pub use act::Undo;
pub use carry::{Carried, Left, UndoError, Undoing, carry_out_left, settle_leftovers};
pub use journal::{Header, JournalError, Ticket};
pub use kept::{Keeping, KeptRestore};
