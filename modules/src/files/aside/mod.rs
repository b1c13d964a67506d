//! The way back of a restore in place.
//!
//! ```text
//! keep.rs    before something is replaced, moved or changed: it is noted, and kept aside
//! log.rs     the log of all that
//! back.rs    take_back: everything is undone, in reverse
//! settle.rs  settle: what was kept is removed
//! ```
//!
//! What is kept stays on its own file system, in a directory as high up there as can be:
//!
//! ```text
//! .dedup-aside-RUN/tree/full/path/of/it    what is no directory; all directories in here are only the way
//! .dedup-aside-RUN/N-DEPTH/full/path/of/it one thing as a whole; its path has DEPTH components
//! ```
//!
//! So the place itself says where everything was, even if the end of the log is lost with the power.

mod back;
mod keep;
mod log;
mod settle;

pub(super) use keep::{Aside, PREFIX, joined, split};
pub(super) use log::Act;

pub use back::{AsideError, TakenBack, take_back};
pub use keep::Safety;
pub use settle::{aside_places, settle};
