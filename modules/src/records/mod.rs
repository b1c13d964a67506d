//! Records: rows of tables as entries of a map.
//!
//! ```text
//! value.rs     Value: what stands in a column of a row
//! schema.rs    TableName, Column, TableSchema, SourceSchema: what is known beside the rows
//! select.rs    Selection: which tables, columns, rows
//! driver.rs    RecordSource, RecordTarget: what a driver of an SQL engine does
//! error.rs     RecordError
//! ```
//!
//! The bytes are `engine/FORMAT.md` 11. No room here knows an engine: drivers are in [`sources`](crate::sources).

mod driver;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod schema;
mod select;
mod value;

pub use driver::{Batch, EachRow, ImportOptions, RecordSource, RecordTarget, RowOrder, WriteMode, Written};
pub use error::RecordError;
pub use schema::{Column, Filled, Object, SourceSchema, TableEnd, TableName, TableSchema, TypeClass};
pub use select::Selection;
pub use value::{MAX_DEPTH, TimeKind, Value};
