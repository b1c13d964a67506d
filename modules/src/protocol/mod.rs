//! The line protocol by which modules' own programs speak, version 1: bytes in, messages out, and back. No I/O.
//!
//! `PROTOCOL.md` beside this crate is normative; its numbers of sections stand in the heads of the files.
//!
//! ```text
//! frame.rs      2   bytes into lines and raw frames
//! canon.rs      5   values in their canonical text
//! names.rs      5   names, keys, paths
//! rows.rs       4   rows as canonical lines
//! message.rs    6   what messages of a module say
//! read.rs       2,6 how they are read and checked
//! opening.rs    3   hello
//! streams.rs    4   streams that come: credit, length, digest
//! outbound.rs   4   streams that go
//! session.rs        the engine's side as a state machine
//! state.rs          what each line makes of it
//! notices.rs    8,9 what is said, and what went wrong
//! violation.rs  9   what a module must not do
//! ```
//!
//! What is held is bounded by constants, whatever comes: a line, and the credit of the streams that may be open.

mod canon;
mod frame;
mod message;
mod names;
mod notices;
mod opening;
mod outbound;
mod read;
mod rows;
mod session;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod violation;

pub use canon::{MAX_NUMBER, Value, write_text};
pub use frame::{Decoder, Frame};
pub use message::{Depend, Item, Message, Opened, Said, Shape, SpaceAct, SpaceCall, What};
pub use names::{Key, Name, WirePath, path_json};
pub use opening::{Hello, Needs, Offer, Op, Opening};
pub use rows::map_text;
pub use session::{Event, Failure, Session};
pub use streams::Taken;
pub use violation::Violation;

use std::time::Duration;

/// The version that is spoken here.
pub const VERSION: u64 = 1;
/// Longest line in bytes, its end included.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Most bytes of a `chunk`, decoded.
pub const MAX_CHUNK_BYTES: usize = 512 << 10;
/// Most bytes of a `raw`.
pub const MAX_RAW_BYTES: usize = 1 << 20;
/// Bytes that may be sent of a stream before any credit was granted.
pub const CREDIT_BYTES: u64 = 4 << 20;
/// Streams of a side from the oldest open one on.
pub const MAX_WINDOW: usize = 8;
/// Streams of a module in one operation.
pub const MAX_STREAMS: usize = 1000;
/// Requests of a side that are open.
pub const MAX_REQUESTS: usize = 64;
/// How deep values may stand in each other.
pub const MAX_DEPTH: usize = 64;
/// Longest value and row in canonical text: what surrounds it in a line has room.
pub const MAX_VALUE_BYTES: usize = MAX_LINE_BYTES - (16 << 10);
/// Columns of records.
pub const MAX_COLUMNS: usize = 4096;
/// Messages that carry no data.
pub const MAX_NOTICES: u64 = 1_000_000;
/// Messages of them that are kept.
pub const MAX_KEPT: u64 = 10_000;
/// Longest text of a message that is kept, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// How long a module may take to say hello.
pub const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// How long it has to end after `cancel` or `done`, where nothing else is said.
pub const GRACE: Duration = Duration::from_secs(10);
