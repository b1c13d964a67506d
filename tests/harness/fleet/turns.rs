//! Turns: of all that runs at once only one makes a call of its storage at a time, and a stream of random numbers says
//! who. A second is what a clock here says it is, so machines sleep for days without anybody waiting.
//!
//! A choice is made when everybody who is under way waits for a turn: what happens between two calls of one machine is
//! its own affair. Within one machine threads may come in either order.

use crate::support::random::Random;
use dedup_engine::storage::{Family, Name, Put, Storage, StorageError, Trouble};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How turns are given out.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Each time anybody.
    Uniform,
    /// The most important one that waits, except that so many times the most important one becomes the least: few changes,
    /// at places that uniform choices hardly ever hit (Burckhardt et al., ASPLOS 2010).
    Priorities(u64),
}

/// Who waits for what.
struct State {
    random: Random,
    order: Order,
    /// Machines under way, by number: calls that wait, and until when it sleeps.
    machines: BTreeMap<usize, Machine>,
    /// Whose turn it is, if it has not been taken yet.
    turn: Option<usize>,
    /// Seconds since the beginning.
    now: i64,
    calls: u64,
    /// Calls at which the most important machine becomes the least, if that is the order.
    changes: Vec<u64>,
}

#[derive(Default)]
struct Machine {
    waiting: usize,
    awake_at: i64,
    importance: u64,
    /// Heard by its calls that wait: nobody else wakes when it is this machine's turn.
    called: Arc<Condvar>,
}

/// Gives out turns.
pub struct Turns(Mutex<State>);

impl Turns {
    /// Starts with nobody under way.
    pub fn new(seed: u64, order: Order) -> Arc<Self> {
        let mut random = Random::new(seed);
        let changes = match order {
            Order::Uniform => Vec::new(),
            // Somewhere in the first calls: runs here make a few hundred.
            Order::Priorities(changes) => (0..changes).map(|_| random.below(400)).collect(),
        };
        let state = State { random, order, machines: BTreeMap::new(), turn: None, now: 0, calls: 0, changes };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Puts machines under way, all before the first of them starts.
    pub fn enter(&self, machines: impl IntoIterator<Item = usize>) {
        let mut state = self.lock();
        for machine in machines {
            let importance = state.random.next() / 2 + u64::MAX / 2;
            state.machines.insert(machine, Machine { importance, ..Machine::default() });
        }
    }

    /// Ends a machine's way: nobody waits for it any more.
    pub fn leave(&self, machine: usize) {
        let mut state = self.lock();
        state.machines.remove(&machine);
        state.call();
    }

    /// Returns the seconds since the beginning.
    pub fn now(&self) -> i64 {
        self.lock().now
    }

    /// Returns how many turns there were.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Waits for a turn of this machine, after it has slept for so many seconds.
    pub fn wait(&self, machine: usize, asleep: i64) {
        let mut state = self.lock();
        let now = state.now;
        let own = state.machines.get_mut(&machine).expect("it is under way");
        own.waiting += 1;
        own.awake_at = own.awake_at.max(now + asleep);
        let called = own.called.clone();
        state.call();
        while state.turn != Some(machine) {
            state = called.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn = None;
        state.calls += 1;
        state.now += 1 + state.random.next().trailing_zeros() as i64;
        state.machines.get_mut(&machine).expect("it waits").waiting -= 1;
        // Of its calls another one may wait, and everybody else still does.
        state.call();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says whose turn it is, if everybody waits, and calls it.
    fn call(&mut self) {
        self.choose();
        if let Some(machine) = self.turn.and_then(|turn| self.machines.get(&turn)) {
            machine.called.notify_one();
        }
    }

    /// Says whose turn it is, if everybody waits.
    fn choose(&mut self) {
        if self.turn.is_some()
            || self.machines.is_empty()
            || self.machines.values().any(|one| one.waiting == 0)
        {
            return;
        }
        let first = self.machines.values().map(|one| one.awake_at).min().unwrap_or(0);
        // If all are asleep, the night is short.
        self.now = self.now.max(first);
        if self.changes.contains(&self.calls) {
            let most = self.machines.values_mut().max_by_key(|one| one.importance);
            most.into_iter().for_each(|one| one.importance = u64::MAX / 2 - self.calls);
        }
        let awake: Vec<_> = self.machines.iter().filter(|(_, one)| one.awake_at <= self.now).collect();
        self.turn = match self.order {
            Order::Uniform => awake.get(self.random.below(awake.len() as u64) as usize).map(|(who, _)| **who),
            Order::Priorities(_) => awake.iter().max_by_key(|(_, one)| one.importance).map(|(who, _)| **who),
        };
    }
}

/// A machine that leaves when this goes, by whatever way.
pub struct Guest<'a> {
    pub turns: &'a Turns,
    pub machine: usize,
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.turns.leave(self.machine);
    }
}

/// What happens to a machine on its way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// It dies at this call: that call and all later ones fail.
    pub dies_at: Option<u64>,
    /// Whether the call at which it dies still has its effect.
    pub last_counts: bool,
    /// It sleeps before this call, for so many seconds.
    pub sleeps: Option<(u64, i64)>,
}

/// The storage as one machine sees it.
pub struct Paced {
    inner: Arc<dyn Storage>,
    turns: Arc<Turns>,
    machine: usize,
    /// What is to happen, and how many calls were made since that was said.
    fate: Mutex<(Fate, u64)>,
}

impl Paced {
    /// Lets a machine work on a storage when it is its turn.
    pub fn new(inner: Arc<dyn Storage>, turns: Arc<Turns>, machine: usize, fate: Fate) -> Arc<Self> {
        Arc::new(Self { inner, turns, machine, fate: Mutex::new((fate, 0)) })
    }

    /// Says what happens from here on.
    pub fn meet(&self, fate: Fate) {
        *self.fate() = (fate, 0);
    }

    /// Returns whether the machine has died.
    pub fn is_dead(&self) -> bool {
        let (fate, made) = *self.fate();
        fate.dies_at.is_some_and(|at| made > at)
    }

    /// Returns whether the machine is going to die, if it makes calls enough.
    pub fn dies(&self) -> bool {
        self.fate().0.dies_at.is_some()
    }

    fn fate(&self) -> MutexGuard<'_, (Fate, u64)> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<R>(
        &self,
        call: &'static str,
        what: impl FnOnce() -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        let (fate, number) = {
            let mut state = self.fate();
            state.1 += 1;
            (state.0, state.1 - 1)
        };
        let asleep = fate.sleeps.filter(|(at, _)| *at == number).map_or(0, |(_, seconds)| seconds);
        self.turns.wait(self.machine, asleep);
        let dies_at = fate.dies_at.unwrap_or(u64::MAX);
        if number < dies_at {
            return what();
        }
        if number == dies_at && fate.last_counts {
            what()?;
        }
        let dead = Trouble::Io(io::Error::other("the machine has died"));
        Err(StorageError::new(call, "anything", self.place(), dead))
    }
}

impl Storage for Paced {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.call("store", || self.inner.put(name, bytes))
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        self.call("read", || self.inner.get(name, range))
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.call("read", || self.inner.get_all(name, max))
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.call("look at", || self.inner.len(name))
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        self.call("list", || self.inner.list(family, each, foreign))
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.call("delete", || self.inner.delete(name))
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}
