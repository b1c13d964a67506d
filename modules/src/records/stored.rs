//! A dump of records in a repository.

use super::codec::decode_source;
use super::{MAX_SCHEMA, RecordError, RecordReader, SourceSchema, TableName};
use dedup_engine::browse::{self, BrowseError};
use dedup_engine::error::Corrupt;
use dedup_engine::map::{LeafTarget, Root};
use dedup_engine::repo::Repository;
use dedup_engine::repo::read::ChunkReader;
use dedup_engine::snapshot::{Dump, Form};

/// What one source gave, open for reading.
pub struct StoredSource<'r> {
    chunks: ChunkReader<'r>,
    root: Root,
    target: LeafTarget,
    /// What is known of it beside its tables.
    pub schema: SourceSchema,
    /// Tables.
    pub tables: u64,
}

impl<'r> StoredSource<'r> {
    /// Opens a dump.
    ///
    /// # Errors
    /// It is none of records, damaged, or a secret that the key in use does not open.
    pub fn open(repo: &'r Repository, dump: &Dump) -> Result<Self, RecordError> {
        if dump.form != Form::Records {
            return Err(RecordError::Absent { what: format!("a dump of records of the name {}", dump.name) });
        }
        let class = dump.section.class();
        let chunks = browse::maps(repo, class)?;
        let blob = browse::blob(repo, class, &dump.schema, MAX_SCHEMA as u64)?;
        let (schema, tables) = decode_source(&blob)?;
        Ok(Self { chunks, root: dump.root, target: repo.leaf_target(), schema, tables })
    }

    /// Returns a reader of its tables.
    pub fn reader(&self) -> RecordReader<'_, ChunkReader<'r>> {
        RecordReader::new(&self.chunks, self.root, self.target)
    }

    /// Returns the chunks of its map and the root, to be compared with another's.
    pub fn map(&self) -> (&ChunkReader<'r>, Root, LeafTarget) {
        (&self.chunks, self.root, self.target)
    }

    /// Reads and checks every row; returns how many there are.
    pub fn verify(&self, cancelled: &dyn Fn() -> bool) -> Result<u64, RecordError> {
        let (mut names, mut rows) = (Vec::new(), 0u64);
        self.reader().tables(|table, _| {
            names.push(table.schema.name);
            Ok::<_, RecordError>(())
        })?;
        if names.len() as u64 != self.tables {
            return Err(Corrupt::new("records", "there are not as many tables as the schema says").into());
        }
        for name in &names {
            rows += self.verify_table(name, cancelled)?;
        }
        Ok(rows)
    }

    /// Reads and checks every row of a table; returns how many there are.
    pub fn verify_table(&self, name: &TableName, cancelled: &dyn Fn() -> bool) -> Result<u64, RecordError> {
        let absent = || RecordError::Absent { what: format!("table {name} in the snapshot") };
        self.reader().table(name)?.ok_or_else(absent)?.verify(cancelled)
    }
}

impl From<BrowseError> for RecordError {
    fn from(error: BrowseError) -> Self {
        match error {
            BrowseError::Repo(error) => Self::Repo(error),
            other => Self::engine("read records", other.kind(), other),
        }
    }
}
