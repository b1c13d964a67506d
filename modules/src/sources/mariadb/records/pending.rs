//! A statement that was sent, while the next one is made: the server works meanwhile.

use super::super::client::ClientError;
use super::connect::{failed, words};
use super::target::MariadbTarget;
use super::write::is_of_row;
use crate::records::{RecordError, TableName};

/// A statement that was sent and has not been answered.
pub(super) struct Pending {
    pub(super) table: TableName,
    pub(super) sql: String,
    /// Where its rows begin, and each of them ends.
    pub(super) begin: usize,
    pub(super) ends: Vec<usize>,
    /// Number of its first row in the table.
    pub(super) first: u64,
    /// A statement that fails leaves nothing.
    pub(super) is_whole: bool,
}

impl Pending {
    fn row(&self, at: usize) -> &str {
        let begin = at.checked_sub(1).map_or(self.begin, |before| self.ends[before] + 1);
        self.sql.get(begin..self.ends[at]).unwrap_or_default()
    }
}

impl MariadbTarget<'_> {
    /// Sends a statement, when the last one is done.
    pub(super) fn send(&mut self, pending: Pending) -> Result<(), RecordError> {
        self.settle()?;
        let doing = format!("write into table {}", pending.table);
        self.wire().begin(&pending.sql).map_err(|error| failed(&doing, error))?;
        self.pending = Some(pending);
        Ok(())
    }

    /// Waits for the statement that was sent. If it is refused for a row, the error says which.
    pub(super) fn settle(&mut self) -> Result<(), RecordError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let doing = format!("write into table {}", pending.table);
        let said = match self.wire().end() {
            Ok(_) => return Ok(()),
            Err(ClientError::Said(said)) if is_of_row(said.code) => said,
            Err(error) => return Err(failed(&doing, error)),
        };
        let (table, rows) = (pending.table.to_string(), pending.ends.len());
        if !pending.is_whole && rows > 1 {
            let why = format!("{}, or one of the {} rows after it", words(&said), rows - 1);
            return Err(RecordError::Refused { table, row: pending.first, why });
        }
        for at in 0..rows {
            let one = format!("{}{}", &pending.sql[..pending.begin], pending.row(at));
            match self.wire().try_run(&one) {
                Ok(_) => {}
                Err(ClientError::Said(said)) if is_of_row(said.code) => {
                    return Err(RecordError::Refused {
                        table,
                        row: pending.first + at as u64,
                        why: words(&said),
                    });
                }
                Err(error) => return Err(failed(&doing, error)),
            }
        }
        Ok(())
    }
}
