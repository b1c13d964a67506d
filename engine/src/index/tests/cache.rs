//! The file cache keeps what is used and stays within its budget.

use super::*;

fn key(number: u64) -> PageKey {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn put(index: &Index, numbers: impl Iterator<Item = u64>, sealed: &[u8]) -> bool {
    let keys: Vec<_> = numbers.map(key).collect();
    index.put_pages(keys.iter().map(|key| (key, sealed))).unwrap()
}

#[test]
fn pages_come_back_as_they_were_put_even_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!(index.begin_run().unwrap(), 1);
    assert!(put(&index, 0..10, b"first"));
    assert_eq!(index.begin_run().unwrap(), 2);
    assert!(put(&index, 5..10, b""));
    let page = |run, sealed: &[u8]| Some(CachedPage { run, is_ageing: false, sealed: sealed.to_vec() });
    let expected = [page(1, b"first"), page(2, b""), None];
    assert_eq!(index.pages(&[key(0), key(7), key(10)]).unwrap(), expected);
    drop(index);
    let index = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!(index.pages(&[key(0), key(7), key(10)]).unwrap(), expected);
    assert_eq!(index.begin_run().unwrap(), 3);
}

#[test]
fn pages_in_use_outlive_the_budget_and_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let sealed = vec![7; 1000];
    // A run uses pages 0..100 (a tenth of the budget) and puts 50 that nobody asks for again.
    for run in 1..=60u64 {
        index.begin_run().unwrap();
        for number in 0..100 {
            let page = index.page(&key(number)).unwrap();
            assert!(run == 1 || page.is_some(), "page {number} was lost in run {run}");
            if page.is_none_or(|page| page.is_ageing) {
                assert!(put(&index, number..number + 1, &sealed));
            }
        }
        assert!(put(&index, run * 1000..run * 1000 + 50, &sealed));
    }
    assert!(index.page(&key(60_000)).unwrap().is_some());
    assert_eq!(index.page(&key(1000)).unwrap(), None, "of the first run");
    index.tidy().unwrap();
    assert_eq!((0..100).filter(|number| index.page(&key(*number)).unwrap().is_none()).count(), 0);
    let family = index.top.family(FILES).unwrap();
    let bytes = index.top.db.property_int_value_cf(family, rocksdb::properties::TOTAL_SST_FILES_SIZE);
    let bytes = bytes.unwrap().unwrap();
    assert!(bytes < settings().file_cache_bytes * 5 / 4, "{bytes}");
}

#[test]
fn one_run_cannot_exceed_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    index.begin_run().unwrap();
    let sealed = vec![1; 10_000];
    let stored = (0..200).filter(|number| put(&index, *number..*number + 1, &sealed)).count();
    assert!((40..=52).contains(&stored), "{stored}");
    assert!(index.page(&key(0)).unwrap().is_some());
    index.begin_run().unwrap();
    assert!(put(&index, 500..501, &sealed), "the next run has room");
    assert!(index.page(&key(0)).unwrap().is_some_and(|page| page.is_ageing));
}

/// Runs that put so many kibibytes each, of a budget of 1 MiB: what is kept, and what is ageing.
#[test]
fn what_is_kept_and_what_ages_follows_from_what_was_put_since() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), &settings()).unwrap();
    // A page of a run takes a little more than its bytes: 10 pages of 10 KiB are between 100 and 104 KiB.
    let sealed = vec![1; 10 << 10];
    for run in 1..=8u64 {
        assert_eq!(u64::from(index.begin_run().unwrap()), run);
        assert!(put(&index, run * 100..run * 100 + 10, &sealed));
        // Again in a new process: both say the same.
        for reopened in [false, true] {
            if reopened {
                drop(index);
                index = Index::open(dir.path(), &settings()).unwrap();
            }
            for past in 1..=run {
                let page = index.page(&key(past * 100)).unwrap();
                // When the run began, half of the budget had to be free: of those before it five stay.
                assert_eq!(page.is_some(), past + 5 >= run, "run {past} in run {run}, reopened: {reopened}");
                // What more than a quarter of the budget was put after is ageing: two runs are less. To a new
                // process the run before it is past too.
                let runs_since = run - past + u64::from(reopened);
                let expected = page.is_some() && runs_since > 2;
                assert_eq!(page.is_some_and(|page| page.is_ageing), expected, "run {past} in run {run}");
            }
        }
    }
}

#[test]
fn a_run_may_put_just_half_of_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let half = settings().file_cache_bytes / 2;
    let put_bytes = || index.top.run_sizes().unwrap().last().unwrap().1;
    for (more, fits) in [(0, true), (1, false)] {
        let run = u64::from(index.begin_run().unwrap());
        let large = vec![1; half as usize / 2];
        assert!(put(&index, run..run + 1, &large));
        // What one page takes beside its bytes is the same for all of this length.
        let around = put_bytes() - large.len() as u64;
        let rest = half - put_bytes() - around + more;
        assert_eq!(put(&index, run + 100..run + 101, &vec![2; rest as usize]), fits, "{more} bytes more");
        assert_eq!(put_bytes() == half, fits);
        assert_eq!(index.page(&key(run + 100)).unwrap().is_some(), fits);
    }
}
