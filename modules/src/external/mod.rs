//! Programs of modules' own: exporters and importers that speak the line protocol (`PROTOCOL.md`).
//!
//! ```text
//! program.rs    what a manifest says, made a program and its opening
//! memory.rs     a limit of memory
//! talker.rs     one operation: session, process, time
//! desk.rs       spaces and messages, which all operations have
//! export.rs     describe, export
//! collected.rs  what an exporter sent beside streams
//! import.rs     import, check, reset, legacy, revert, run
//! data.rs       what an importer is told
//! revert.rs     its way back
//! serve.rs      streams to it
//! keyed.rs      rows under keys, between lines and maps
//! scratch.rs    a directory for the time of one operation
//! error.rs      ExternalError
//! ```
//!
//! An operation has succeeded only if the module said so, every stream came whole, and its program exited with 0. Whatever
//! a program does, it ends: by its own, by its limits, or by signals.

mod collected;
mod data;
mod desk;
mod error;
mod export;
mod import;
mod keyed;
mod memory;
mod program;
mod revert;
mod scratch;
mod serve;
mod talker;

pub use collected::{Collected, EXPORTER, EXPORTER_SECRETS, KIND};
pub use data::{ImportData, StoredStream};
pub use error::ExternalError;
pub use export::{ExportHost, Exported, StoreError, describe, export};
pub use import::{ImportHost, Imported, Reading, import};
#[cfg(any(test, feature = "testing"))]
pub use keyed::again as keyed_again;
pub use keyed::{Lines as KeyedLines, store as store_keyed};
pub use program::{Job, Log, Spec};
pub use revert::{Nothing, close_spaces, revert};
pub use scratch::{give_scratch, make_scratch, scratch_path};
pub use talker::Around;
