//! Storage that fails on purpose, by a script: the same script and calls, the same faults.
//!
//! Calls are numbered from 0 in the order in which they arrive. A fault is set for the n-th call of all,
//! or for the n-th of its kind. Beyond that, storage can freeze as in a crash, hand out damaged bytes,
//! and lie in its listings; the last two, [`Fault::Tear`], [`Fault::Half`] and [`Fault::Reply`] break the
//! contract, which is their purpose.

use super::{Family, Name, Put, Storage, StorageError, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The calls of [`Storage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// [`Storage::put`].
    Put,
    /// [`Storage::get`].
    Get,
    /// [`Storage::get_all`].
    GetAll,
    /// [`Storage::len`].
    Len,
    /// [`Storage::list`].
    List,
    /// [`Storage::delete`].
    Delete,
}

impl Call {
    fn verb(self) -> &'static str {
        match self {
            Self::Put => "store",
            Self::Get | Self::GetAll => "read",
            Self::Len => "look at",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// One call that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which call.
    pub call: Call,
    /// Name of the object, or of the family for a listing.
    pub name: String,
    /// Bytes given to a put, or asked for with a range; else 0.
    pub bytes: u64,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has no effect and fails.
    FailBefore(io::ErrorKind),
    /// It has its effect, and then fails.
    FailAfter(io::ErrorKind),
    /// A listing fails after this many entries; other calls fail without effect.
    FailWithin(usize, io::ErrorKind),
    /// A put keeps only this many bytes and says that all is well; other calls are undisturbed.
    Tear(usize),
    /// A put keeps only this many bytes and fails; other calls fail without effect.
    Half(usize, io::ErrorKind),
    /// A read hands out other bytes than it should and says that all is well; other calls are undisturbed.
    Reply(Reply),
    /// It waits, and then does what it should.
    Stall(Duration),
}

/// What a read hands out instead of the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// So many bytes less, down to none.
    Short(usize),
    /// So many bytes more.
    Long(usize),
    /// As many bytes, but from so many bytes further on; what is beyond the end is taken from the start.
    Shifted(usize),
}

impl Reply {
    fn of(self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Short(by) => bytes.truncate(bytes.len().saturating_sub(by)),
            Self::Long(by) => bytes.resize(bytes.len().saturating_add(by), 0),
            Self::Shifted(by) => {
                let len = bytes.len().max(1);
                bytes.rotate_left(by % len);
            }
        }
        bytes
    }
}

/// What a listing says that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The object is not listed.
    Omit(Name),
    /// The object is listed twice.
    Twice(Name),
    /// The family is listed as it is when the lie is set.
    Stale,
    /// The family is listed in another order, here backwards.
    Unsorted,
    /// Every object of the family is listed again after the last one.
    Doubled,
}

/// A storage over another one, with a plan of what goes wrong.
pub struct FaultStorage {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    counts: BTreeMap<Call, u64>,
    of_all: BTreeMap<u64, Fault>,
    of_kind: BTreeMap<(Call, u64), Fault>,
    freeze_after: Option<u64>,
    /// Bits to flip in objects, by name and offset in bytes.
    damage: BTreeMap<(Name, u64), u8>,
    omitted: Vec<Name>,
    twice: Vec<Name>,
    stale: BTreeMap<Family, Vec<(Name, u64)>>,
    unsorted: BTreeSet<Family>,
    doubled: BTreeSet<Family>,
    torn: Vec<Name>,
}

impl FaultStorage {
    /// Wraps a storage; without a plan nothing goes wrong.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Sets the fault of call `n` of all, from 0.
    pub fn on_call(&self, n: u64, fault: Fault) {
        self.state().of_all.insert(n, fault);
    }

    /// Sets the fault of the n-th call of one kind, from 0.
    pub fn on_nth(&self, call: Call, n: u64, fault: Fault) {
        self.state().of_kind.insert((call, n), fault);
    }

    /// Lets the first `calls` calls work; all others fail without effect, as for a process that died.
    pub fn freeze_after(&self, calls: u64) {
        self.state().freeze_after = Some(calls);
    }

    /// Ends the freeze.
    pub fn thaw(&self) {
        self.state().freeze_after = None;
    }

    /// From now on, flips the bits of `mask` in the byte at `offset` whenever it is read.
    pub fn corrupt(&self, name: Name, offset: u64, mask: u8) {
        self.state().damage.insert((name, offset), mask);
    }

    /// From now on, lies when the family is listed.
    pub fn lie(&self, family: Family, lie: Lie) -> Result<(), StorageError> {
        match lie {
            Lie::Omit(name) => self.state().omitted.push(name),
            Lie::Twice(name) => self.state().twice.push(name),
            Lie::Unsorted => drop(self.state().unsorted.insert(family)),
            Lie::Doubled => drop(self.state().doubled.insert(family)),
            Lie::Stale => {
                let listed = self.gather(family, &mut |_| {})?;
                self.state().stale.insert(family, listed);
            }
        }
        Ok(())
    }

    /// Returns what the storage below lists.
    fn gather(
        &self,
        family: Family,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<Vec<(Name, u64)>, StorageError> {
        let mut listed = Vec::new();
        let mut each = |name, len| {
            listed.push((name, len));
            Ok(())
        };
        self.inner.list(family, &mut each, foreign)?;
        Ok(listed)
    }

    /// Returns the objects of which a part was stored by [`Fault::Tear`] or [`Fault::Half`].
    pub fn torn(&self) -> Vec<Name> {
        self.state().torn.clone()
    }

    /// Forgets the plan and the calls, and counts from 0 again.
    pub fn reset(&self) {
        *self.state() = State::default();
    }

    /// Returns the calls that arrived, in order.
    pub fn calls(&self) -> Vec<Record> {
        self.state().records.clone()
    }

    /// Returns how many calls arrived.
    pub fn count(&self) -> u64 {
        self.state().records.len() as u64
    }

    /// Returns how many calls of one kind arrived.
    pub fn count_of(&self, call: Call) -> u64 {
        self.state().counts.get(&call).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, call: Call, name: &dyn Display, error: io::Error) -> StorageError {
        StorageError::new(call.verb(), name, self.inner.place(), Trouble::Io(error))
    }

    /// Counts a call and looks up its fault; a call to frozen storage ends here.
    fn begin(&self, call: Call, name: &dyn Display, bytes: u64) -> Result<Option<Fault>, StorageError> {
        let mut state = self.state();
        let of_all = state.records.len() as u64;
        let count = state.counts.entry(call).or_default();
        let of_kind = *count;
        *count += 1;
        state.records.push(Record { call, name: name.to_string(), bytes });
        if state.freeze_after.is_some_and(|calls| of_all >= calls) {
            return Err(self.error(call, name, io::Error::other("the storage is frozen")));
        }
        Ok(state.of_all.get(&of_all).or_else(|| state.of_kind.get(&(call, of_kind))).copied())
    }

    /// Makes a call that reads bytes from `start` on.
    fn read(
        &self,
        call: Call,
        name: &Name,
        (start, len): (u64, u64),
        act: impl FnOnce() -> Result<Vec<u8>, StorageError>,
    ) -> Result<Vec<u8>, StorageError> {
        let fault = self.begin(call, name, len)?;
        let bytes = self.with(fault, call, name, act)?;
        let bytes = self.damage(name, start, bytes);
        Ok(if let Some(Fault::Reply(reply)) = fault { reply.of(bytes) } else { bytes })
    }

    /// Makes a call that has no fault of its own kind.
    fn run<T>(
        &self,
        call: Call,
        name: &Name,
        bytes: u64,
        act: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let fault = self.begin(call, name, bytes)?;
        self.with(fault, call, name, act)
    }

    fn with<T>(
        &self,
        fault: Option<Fault>,
        call: Call,
        name: &dyn Display,
        act: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match fault {
            Some(Fault::FailBefore(kind) | Fault::FailWithin(_, kind) | Fault::Half(_, kind)) => {
                Err(self.error(call, name, kind.into()))
            }
            Some(Fault::FailAfter(kind)) => {
                act()?;
                Err(self.error(call, name, kind.into()))
            }
            Some(Fault::Stall(time)) => {
                std::thread::sleep(time);
                act()
            }
            Some(Fault::Tear(_) | Fault::Reply(_)) | None => act(),
        }
    }

    /// Flips what is to be flipped in bytes read from `start` on.
    fn damage(&self, name: &Name, start: u64, mut bytes: Vec<u8>) -> Vec<u8> {
        for ((_, offset), mask) in self.state().damage.range((*name, start)..=(*name, u64::MAX)) {
            let at = usize::try_from(offset - start).ok();
            if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
                *byte ^= mask;
            }
        }
        bytes
    }
}

impl Storage for FaultStorage {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        let fault = self.begin(Call::Put, name, bytes.len() as u64)?;
        let kept = match fault {
            Some(Fault::Tear(keep) | Fault::Half(keep, _)) if keep < bytes.len() => &bytes[..keep],
            _ => bytes,
        };
        if kept.len() < bytes.len() {
            self.state().torn.push(*name);
        }
        if let Some(Fault::Half(..)) = fault {
            self.inner.put(name, kept)?;
        }
        self.with(fault, Call::Put, name, || self.inner.put(name, kept))
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let start = range.start;
        let len = range.end.saturating_sub(start);
        self.read(Call::Get, name, (start, len), || self.inner.get(name, range))
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.read(Call::GetAll, name, (0, 0), || self.inner.get_all(name, max))
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.run(Call::Len, name, 0, || self.inner.len(name))
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        let fault = self.begin(Call::List, &family, 0)?;
        let state = self.state();
        let (omitted, twice) = (state.omitted.clone(), state.twice.clone());
        let stale = state.stale.get(&family).cloned();
        let (unsorted, doubled) = (state.unsorted.contains(&family), state.doubled.contains(&family));
        drop(state);

        let mut left = match fault {
            Some(Fault::FailWithin(entries, kind)) => Some((entries, kind)),
            _ => None,
        };
        let mut tell = |name: Name, len: u64| {
            if omitted.contains(&name) {
                return Ok(());
            }
            for _ in 0..if twice.contains(&name) { 2 } else { 1 } {
                match &mut left {
                    Some((0, kind)) => return Err(self.error(Call::List, &family, (*kind).into())),
                    Some((entries, _)) => *entries -= 1,
                    None => {}
                }
                each(name, len)?;
            }
            Ok(())
        };
        let list = || {
            if stale.is_none() && !unsorted && !doubled {
                return self.inner.list(family, &mut tell, foreign);
            }
            let mut listed = stale.map_or_else(|| self.gather(family, foreign), Ok)?;
            if unsorted {
                listed.reverse();
            }
            let again = listed.iter().filter(|_| doubled);
            listed.iter().chain(again).try_for_each(|&(name, len)| tell(name, len))
        };
        match fault {
            // Fails at the latest at the end, however few entries there are.
            Some(Fault::FailWithin(_, kind)) => {
                list()?;
                Err(self.error(Call::List, &family, kind.into()))
            }
            _ => self.with(fault, Call::List, &family, list),
        }
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.run(Call::Delete, name, 0, || self.inner.delete(name))
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

#[cfg(test)]
mod tests;
