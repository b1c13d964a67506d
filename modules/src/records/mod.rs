//! Records: rows of tables as entries of a map.
//!
//! ```text
//! value.rs     Value: what stands in a column of a row
//! schema.rs    TableName, Column, TableSchema, SourceSchema: what is known beside the rows
//! select.rs    Selection: which tables, columns, rows
//! driver.rs    RecordSource, RecordTarget: what a driver of an SQL engine does
//! error.rs     RecordError
//! key.rs       keys: the order of bytes is that of the values
//! row.rs       rows into bytes; row_values.rs: and out of them; shape.rs: a row of one table, key and all
//! content.rs   keys of rows that have none
//! codec.rs     StoredTable; schemas and ends as bytes
//! sort.rs      rows in the order of their keys, in scratch.rs: a file only this process can read
//! write.rs     RecordWriter: tables into a map; read.rs: RecordReader: tables out of it
//! checks.rs    what must be true of the rows of a table; verify.rs: all of them, before any is used
//! fill.rs      both ends of a table's way into the map; ahead.rs: rows read before they are written; lane.rs: between threads
//! lines.rs     rows as a target takes them, without values being made of them
//! stored.rs    StoredSource: a dump of records in a repository
//! diff.rs      what differs between two dumps; spec.rs: what a person names of one
//! text/        as JSON, CSV and SQL, for people and programs
//! export.rs    a source into a map; import.rs: a map into a database, by batches.rs; told.rs: which tells how far it is
//! ```
//!
//! The bytes are `engine/FORMAT.md` 11. No room here knows an engine: drivers are in [`sources`](crate::sources).

mod ahead;
mod batches;
mod checks;
mod codec;
mod content;
mod diff;
mod driver;
mod error;
mod export;
mod fill;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod import;
mod key;
mod lane;
mod lines;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod read;
mod row;
mod row_values;
mod schema;
mod scratch;
mod select;
mod shape;
mod sort;
mod spec;
mod stored;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;
mod told;
mod value;
mod verify;
mod write;

pub use codec::{StoredTable, decode_source};
pub use diff::{RecordChange, Shown, ShownRow, diff};
pub use driver::{
    Batch, EachRow, ImportOptions, LineForm, RecordSource, RecordTarget, RowOrder, Updated, WriteMode,
    Written,
};
pub use error::RecordError;
pub use export::{Exported, export};
pub use import::{ImportRequest, Imported, Only, import};
pub use lines::Plain;
pub use read::{MAX_LONG, RecordReader, StoredRow, TableReader};
pub use schema::{Column, Filled, Object, SourceSchema, TableEnd, TableName, TableSchema, TypeClass};
pub use select::Selection;
pub use sort::SortRoom;
pub use spec::{RecordSpec, meanings};
pub use stored::StoredSource;
pub use told::{Tell, Told};
pub use value::{MAX_DEPTH, TimeKind, Value};
pub use write::{PutEntry, RecordWriter, TableWriter};

/// Name of the fact ([`SourceSchema::facts`]) that a table's rows hold only some of its columns, such as a key and a value
/// out of an archive that has no more: an import puts them into the rows that are there, and clears nothing.
pub const PART_OF_ROWS: &str = "part-of-rows";
/// Name of the fact that rows came out of an archive of another product: its format, as `[[legacy]]` calls it.
pub const FROM_ARCHIVE: &str = "from-archive";

/// Longest schema of a table or of a source.
const MAX_SCHEMA: usize = 16 << 20;
