//! Many small objects at once: each costs a round to the storage, and nothing else.

use std::thread;

/// Below so many it is not worth a thread.
const FEW: usize = 512;
/// Rounds under way at a time. More than there are cores: what takes long is the storage.
const AT_ONCE: usize = 8;

/// Returns what `read` says of each item, in their order; of many, some are read at the same time. What comes of
/// them is in memory together.
pub(crate) fn read_each<I: Sync, O: Send>(items: &[I], read: impl Fn(&I) -> O + Sync) -> Vec<O> {
    if items.len() < FEW {
        return items.iter().map(read).collect();
    }
    let (read, share) = (&read, items.len().div_ceil(AT_ONCE));
    // Threads of its own, not a pool's: a storage that lets its callers wait for one another (as one with few
    // connections does) would hold up whoever shares the pool.
    thread::scope(|scope| {
        let begin = |part: &'_ [I]| part.iter().map(read).collect::<Vec<O>>();
        let parts: Vec<_> = items
            .chunks(share)
            .map(|part| (part, thread::Builder::new().spawn_scoped(scope, move || begin(part)).ok()))
            .collect();
        let joined =
            parts.into_iter().flat_map(|(part, thread)| match thread.map(thread::ScopedJoinHandle::join) {
                Some(Ok(read)) => read,
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                // No thread is to be had.
                None => begin(part),
            });
        joined.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    #[test]
    fn answers_come_in_order_and_each_item_is_read_once() {
        for len in [0, 1, FEW - 1, FEW, FEW + 1, 10_001] {
            let items: Vec<usize> = (0..len).collect();
            let (seen, threads) = (Mutex::new(Vec::new()), Mutex::new(BTreeSet::new()));
            let answers = read_each(&items, |item| {
                seen.lock().unwrap().push(*item);
                threads.lock().unwrap().insert(format!("{:?}", thread::current().id()));
                item * 2
            });
            assert_eq!(answers, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, items);
            let threads = threads.into_inner().unwrap().len();
            assert_eq!(threads, if len < FEW { len.min(1) } else { AT_ONCE }, "{len} items");
        }
    }
}
