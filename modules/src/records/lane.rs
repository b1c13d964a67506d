//! A queue from one thread to another, bounded by bytes: whoever fills it goes on only when what waits, and what is being
//! worked at, is little.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes on their way above which nothing more is made.
const BUDGET: usize = 1 << 20;

/// The queue.
pub(super) struct Lane<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: VecDeque<(T, usize)>,
    /// Those that are done, to be filled again.
    spare: Vec<T>,
    /// Bytes of what waits or is being worked at.
    bytes: usize,
    is_closed: bool,
}

/// Closes a lane when it goes, however that comes about.
pub(super) struct Closing<'l, T>(&'l Lane<T>);

impl<T> Lane<T> {
    pub(super) fn new() -> Self {
        let state = State { waiting: VecDeque::new(), spare: Vec::new(), bytes: 0, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, is_so: impl Fn(&State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        let waited = self.changed.wait_while(self.state(), |state| is_so(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in, and waits until there is room for more. Returns `false` if nobody takes it.
    pub(super) fn send(&self, item: T, bytes: usize) -> bool {
        let mut state = self.state();
        state.waiting.push_back((item, bytes));
        state.bytes += bytes;
        drop(state);
        self.changed.notify_all();
        !self.wait_while(|state| state.bytes >= BUDGET && !state.is_closed).is_closed
    }

    /// Waits until everything is done that was put in. Returns `false` if nobody takes it.
    pub(super) fn until_done(&self) -> bool {
        !self.wait_while(|state| state.bytes > 0 && !state.is_closed).is_closed
    }

    /// Takes the next one, to be given back by [`done`](Self::done); none when the lane is closed, and empty.
    pub(super) fn take(&self) -> Option<(T, usize)> {
        self.wait_while(|state| state.waiting.is_empty() && !state.is_closed).waiting.pop_front()
    }

    /// Says that one is done, and may be filled again if it is worth that.
    pub(super) fn done(&self, item: Option<T>, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.spare.extend(item);
        drop(state);
        self.changed.notify_all();
    }

    /// Returns one that may be filled again.
    pub(super) fn spare(&self) -> Option<T> {
        self.state().spare.pop()
    }

    /// Makes something that closes it: the one end takes nothing more, or the other gives nothing more.
    pub(super) fn closing(&self) -> Closing<'_, T> {
        Closing(self)
    }
}

impl<T> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn all_comes_in_its_order_and_never_much_at_once() {
        let (lane, most) = (Lane::new(), Mutex::new(0));
        let taken = thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut taken = Vec::new();
                while let Some((item, bytes)) = lane.take() {
                    let mut most = most.lock().unwrap();
                    *most = (*most).max(lane.state().bytes);
                    taken.push(item);
                    lane.done(Some(item), bytes);
                }
                taken
            });
            let closing = lane.closing();
            for item in 0..1000 {
                assert!(lane.send(item, BUDGET / 3));
            }
            assert!(lane.until_done() && lane.spare().is_some());
            drop(closing);
            taker.join().unwrap()
        });
        assert_eq!(taken, (0..1000).collect::<Vec<_>>());
        let most = *most.lock().unwrap();
        assert!((BUDGET / 3..=BUDGET / 3 * 4).contains(&most), "{most}");
    }

    #[test]
    fn whoever_fills_it_hears_that_nobody_takes_it() {
        let lane = Lane::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let closing = lane.closing();
                lane.take();
                drop(closing);
            });
            while lane.send((), BUDGET) {}
            assert!(!lane.until_done());
        });
    }
}
