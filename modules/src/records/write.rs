//! Tables into a map, in one pass and bounded memory.

use super::codec::{encode_end, encode_source, encode_table};
use super::key::{EntryKind, put_table};
use super::row::long_bytes;
use super::shape::Shape;
use super::sort::{Sorted, Sorter};
use super::{RecordError, RowOrder, SortRoom, SourceSchema, StoredTable, TableEnd, TableName, Value};
use dedup_engine::backup::Entries;

/// Takes the entries of a map, keys rising strictly.
pub trait PutEntry: Send {
    /// Takes one.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RecordError>;
}

impl PutEntry for Entries<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        Ok(self.push(key, value)?)
    }
}

/// Writes the tables of a source, in the order of their names.
pub struct RecordWriter<'w> {
    out: &'w mut dyn PutEntry,
    room: &'w SortRoom,
    last: Option<TableName>,
    tables: u64,
}

impl<'w> RecordWriter<'w> {
    /// Begins a source.
    pub fn new(out: &'w mut dyn PutEntry, room: &'w SortRoom) -> Self {
        Self { out, room, last: None, tables: 0 }
    }

    /// Begins a table, whose rows come in that order if it has a key.
    pub fn begin(&mut self, table: &StoredTable, order: RowOrder) -> Result<TableWriter<'_>, RecordError> {
        let name = &table.schema.name;
        if self.last.as_ref().is_some_and(|last| last >= name) {
            return Err(RecordError::Unsupported { what: format!("table {name}, out of its order,") });
        }
        let schema = encode_table(table)?;
        let mut prefix = Vec::new();
        put_table(name, &mut prefix);
        prefix.push(EntryKind::Header as u8);
        self.out.put(&prefix, &schema)?;
        prefix.pop();
        self.last = Some(name.clone());
        self.tables += 1;
        let shape = Shape::of(&table.schema)?;
        let sorter = (order == RowOrder::Any || !shape.has_key()).then(|| Sorter::new(self.room));
        let rows = Rows {
            out: self.out,
            table: name.to_string(),
            key: shape.prefix.clone(),
            before: shape.prefix.len(),
            last: None,
            rows: 0,
            digest: RowDigest::default(),
        };
        let encoder =
            Encoder { shape, table: rows.table.clone(), taken: 0, key: Vec::new(), row: Vec::new() };
        Ok(TableWriter { encoder, prefix, putting: Putting { sorter, rows } })
    }

    /// Ends the source; returns its schema blob.
    pub fn finish(self, source: &SourceSchema) -> Result<Vec<u8>, RecordError> {
        encode_source(source, self.tables)
    }
}

/// Writes the rows of one table.
pub struct TableWriter<'t> {
    encoder: Encoder,
    prefix: Vec<u8>,
    putting: Putting<'t>,
}

/// What is done with each row by itself.
pub(super) struct Encoder {
    pub(super) shape: Shape,
    table: String,
    taken: u64,
    /// The row that was encoded last.
    pub(super) key: Vec<u8>,
    pub(super) row: Vec<u8>,
}

/// What is done with rows one after the other.
pub(super) struct Putting<'t> {
    sorter: Option<Sorter>,
    rows: Rows<'t>,
}

impl Encoder {
    /// Encodes a row: the values of its columns that are in rows.
    pub(super) fn encode(&mut self, values: &[Value]) -> Result<(), RecordError> {
        self.taken += 1;
        let encoded = match values.len() == self.shape.width() {
            true => self.shape.encode(values, &mut self.key, &mut self.row),
            false => {
                let what = format!("{} values instead of {}", values.len(), self.shape.width());
                Err(RecordError::Unsupported { what })
            }
        };
        encoded.map_err(|error| match error {
            RecordError::Unsupported { what } => {
                let why = format!("{what} cannot be stored as records; format = \"custom\" or \"sql\" can");
                RecordError::Row { table: self.table.clone(), row: self.taken, why }
            }
            error => error,
        })
    }
}

impl Putting<'_> {
    /// Takes an encoded row with its long values, each with its number in the row.
    pub(super) fn put<'b>(
        &mut self,
        key: &[u8],
        row: &[u8],
        mut longs: impl Iterator<Item = (u16, &'b [u8])>,
    ) -> Result<(), RecordError> {
        match &mut self.sorter {
            None => {
                self.rows.put(key, row)?;
                longs.try_for_each(|(at, bytes)| self.rows.put_long(at, bytes))
            }
            Some(sorter) => sorter
                .push(key, row, longs.map(|(_, bytes)| bytes))
                .map_err(|source| RecordError::Scratch { table: self.rows.table.clone(), source }),
        }
    }
}

impl<'t> TableWriter<'t> {
    /// Returns the two halves of the work.
    pub(super) fn halves(&mut self) -> (&mut Encoder, &mut Putting<'t>) {
        (&mut self.encoder, &mut self.putting)
    }

    /// Takes a row: the values of its columns that are in rows.
    pub fn row(&mut self, values: &[Value]) -> Result<(), RecordError> {
        self.encoder.encode(values)?;
        let others = self.encoder.shape.others(values).enumerate();
        let longs = others.filter_map(|(at, value)| long_bytes(value).map(|(_, bytes)| (at as u16, bytes)));
        self.putting.put(&self.encoder.key, &self.encoder.row, longs)
    }

    /// Ends the table.
    pub fn finish(mut self, counter: Option<u64>) -> Result<TableEnd, RecordError> {
        if let Some(sorter) = self.putting.sorter.take() {
            let failed = |source| RecordError::Scratch { table: self.putting.rows.table.clone(), source };
            let mut sorted = sorter.finish().map_err(failed)?;
            self.put_sorted(&mut sorted)?;
        }
        let end = TableEnd { rows: self.putting.rows.rows, counter };
        let digest = std::mem::take(&mut self.putting.rows.digest).finish();
        self.prefix.push(EntryKind::End as u8);
        self.putting.rows.out.put(&self.prefix, &encode_end(&end, &digest))?;
        Ok(end)
    }

    fn put_sorted(&mut self, sorted: &mut Sorted) -> Result<(), RecordError> {
        let table = self.putting.rows.table.clone();
        let failed = |source| RecordError::Scratch { table: table.clone(), source };
        let (mut same, mut counter) = (Vec::new(), 0u32);
        while let Some(entry) = sorted.next().map_err(failed)? {
            match self.encoder.shape.has_key() {
                true => self.putting.rows.put(&entry.key, &entry.row)?,
                false => {
                    let is_same = same[..] == entry.key[..] && self.putting.rows.rows > 0;
                    counter = if is_same { counter.checked_add(1) } else { Some(0) }.ok_or_else(|| {
                        RecordError::Unsupported {
                            what: format!("table {table}, more than 2^32 equal rows,"),
                        }
                    })?;
                    same.clear();
                    same.extend_from_slice(&entry.key);
                    self.putting.rows.put(&[&entry.key[..], &counter.to_be_bytes()].concat(), &entry.row)?;
                }
            }
            if Sorted::longs(&entry) > 0 {
                let (_, longs) = self.encoder.shape.decode(&entry.key, &entry.row)?;
                for (at, long) in longs.iter().enumerate() {
                    self.putting.rows.put_long(long.at, &sorted.long(&entry, at).map_err(failed)?)?;
                }
            }
        }
        Ok(())
    }
}

/// What is common to rows that come in order and those that were sorted.
struct Rows<'t> {
    out: &'t mut dyn PutEntry,
    table: String,
    /// What keys of rows begin with, then the key of the row.
    key: Vec<u8>,
    before: usize,
    last: Option<Vec<u8>>,
    rows: u64,
    digest: RowDigest,
}

impl Rows<'_> {
    fn put(&mut self, key: &[u8], row: &[u8]) -> Result<(), RecordError> {
        self.rows += 1;
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(RecordError::Order { table: self.table.clone(), row: self.rows });
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        self.key.truncate(self.before);
        self.key.extend_from_slice(key);
        self.digest.row(key, row);
        self.out.put(&self.key, row)
    }

    /// Takes a long value of the last row.
    fn put_long(&mut self, at: u16, bytes: &[u8]) -> Result<(), RecordError> {
        let len = self.key.len();
        self.key.push(0xff);
        self.key.extend_from_slice(&at.to_be_bytes());
        self.digest.bytes(bytes);
        let put = self.out.put(&self.key, bytes);
        self.key.truncate(len);
        put
    }
}

/// The digest of the rows of a table. They are gathered: the hash is several times as fast on much at once.
#[derive(Default)]
pub(super) struct RowDigest {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

/// Bytes that are hashed at once.
const GATHERED: usize = 64 << 10;

impl RowDigest {
    /// Takes a row.
    pub(super) fn row(&mut self, key: &[u8], row: &[u8]) {
        for bytes in [key, row] {
            dedup_engine::wire::Put::put_varint(&mut self.gathered, bytes.len() as u64);
            self.bytes(bytes);
        }
    }

    /// Takes bytes as they are: a long value of the last row.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if self.gathered.len() + bytes.len() > GATHERED {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
        match bytes.len() > GATHERED {
            true => {
                self.hasher.update(bytes);
            }
            false => self.gathered.extend_from_slice(bytes),
        }
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.gathered);
        *self.hasher.finalize().as_bytes()
    }
}
