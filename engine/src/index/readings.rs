//! When packs were last read whole and found sound, by days, so that a check can begin with those that waited longest; and
//! which were found damaged, so that nothing is deduplicated against them.
//!
//! ```text
//! meta  "read" ‖ pack number u32 BE → day u32, since 1970-01-01
//! meta  "rots" ‖ pack number u32 BE → nothing
//! ```
//!
//! Only this machine's readings, and lost with the index: what is not known counts as never read, so an error here costs reading a pack
//! again, or storing something twice. Never a reason to believe that a chunk is stored.

use super::error::IndexError;
use super::numbers::PackNo;
use super::options::META;
use super::store::Store;
use super::{Index, Role};
use rocksdb::{WriteBatch, WriteOptions};

fn key(number: PackNo) -> [u8; 8] {
    keyed(*b"read", number)
}

fn rot_key(number: PackNo) -> [u8; 8] {
    keyed(*b"rots", number)
}

fn keyed([w, x, y, z]: [u8; 4], number: PackNo) -> [u8; 8] {
    let [a, b, c, d] = number.0.to_be_bytes();
    [w, x, y, z, a, b, c, d]
}

impl Store {
    /// Adds to a batch that nothing is known of a pack any more.
    pub(super) fn forget_reading(&self, batch: &mut WriteBatch, number: PackNo) -> Result<(), IndexError> {
        batch.delete_cf(self.family(META)?, key(number));
        batch.delete_cf(self.family(META)?, rot_key(number));
        Ok(())
    }
}

impl Index {
    /// Returns the day on which the pack was last noted as read, counted from 1970-01-01; nothing if that is not known.
    pub fn day_read(&self, number: PackNo) -> Result<Option<u32>, IndexError> {
        let Some(store) = self.store_of(number) else { return Ok(None) };
        store.record(META, &key(number), |reader| reader.u32())
    }

    /// Notes that the pack was read whole on this day and is sound. Beside the owner of the index nothing is noted.
    pub fn note_read(&self, number: PackNo, day: u32) -> Result<(), IndexError> {
        let Some(store) = self.store_of(number).filter(|_| self.role() == Role::Owner) else { return Ok(()) };
        let meta = store.family(META)?;
        // Not synced: a note that is lost costs reading the pack once more.
        let written = store.db.put_cf_opt(meta, key(number), day.to_le_bytes(), &WriteOptions::default());
        written.map_err(|error| store.failed(&error))
    }

    /// Returns whether the pack was found damaged when this machine read it last.
    pub fn is_rotten(&self, number: PackNo) -> Result<bool, IndexError> {
        let Some(store) = self.store_of(number) else { return Ok(false) };
        Ok(store.get(META, &rot_key(number))?.is_some())
    }

    /// Notes whether the pack was found damaged. Beside the owner of the index nothing is noted.
    pub fn note_rot(&self, number: PackNo, is_rotten: bool) -> Result<(), IndexError> {
        if self.is_rotten(number)? == is_rotten {
            return Ok(());
        }
        let Some(store) = self.store_of(number).filter(|_| self.role() == Role::Owner) else { return Ok(()) };
        let (meta, key, how) = (store.family(META)?, rot_key(number), WriteOptions::default());
        let written = match is_rotten {
            true => store.db.put_cf_opt(meta, key, [], &how),
            false => store.db.delete_cf_opt(meta, key, &how),
        };
        written.map_err(|error| store.failed(&error))
    }
}
