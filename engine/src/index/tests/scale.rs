//! Twenty million chunks: time, lookups a second, memory.

use super::*;
use std::time::Instant;

const SEGMENTS: u64 = 200;
const PACKS: u64 = 250;
const CHUNKS: u64 = 400;
const TOTAL: u64 = SEGMENTS * PACKS * CHUNKS;

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Prints how many calls of `work` a second were made; of batches, how many batches.
fn rate(name: &str, count: u64, mut work: impl FnMut(u64)) {
    let start = Instant::now();
    (0..count).for_each(&mut work);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("{name:>28}: {rate:>9.0} /s");
}

/// A step through all numbers below [`TOTAL`] without a pattern (it shares no factor with it).
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(7_778_777_777) % TOTAL
}

#[test]
#[ignore = "minutes and 2 GB of disk"]
fn twenty_million_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { memory_bytes: 64 << 20, ..settings() };
    let mut index = Index::open(dir.path(), &settings).unwrap();
    let start = Instant::now();
    for segment in 0..SEGMENTS {
        let packs: Vec<_> = (segment * PACKS..(segment + 1) * PACKS)
            .map(|number| pack(number, number * CHUNKS..(number + 1) * CHUNKS))
            .collect();
        index.apply_segment(object_id(1 << 40 | segment), &packs).unwrap();
    }
    println!("applied in {:.1} s, peak {} MiB", start.elapsed().as_secs_f64(), resident_mib());
    let start = Instant::now();
    index.top.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
    println!("background work done after {:.1} s more", start.elapsed().as_secs_f64());
    for look in ["after applying", "after tidying"] {
        println!("{look}: {:?}", index.statistics().unwrap());
        let many = |from: u64, of: &dyn Fn(u64) -> u64| -> Vec<_> {
            (from * 64..(from + 1) * 64).map(|number| chunk_id(of(number))).collect()
        };
        let ids: Vec<_> = (0..4_000).map(|batch| many(batch, &|number| scattered(number + 1))).collect();
        let batches = ids.len() as u64;
        rate("known, scattered, 64", batches, |at| {
            assert!(index.lookup_many(&ids[at as usize]).unwrap().iter().all(Option::is_some));
        });
        rate("known, scattered, single", batches * 64, |at| {
            assert!(index.lookup(&ids[at as usize / 64][at as usize % 64]).unwrap().is_some());
        });
        let ids: Vec<_> = (0..4_000).map(|batch| many(batch, &|number| number + 1_000_000)).collect();
        rate("known, as stored, 64", batches, |at| {
            assert!(index.lookup_many(&ids[at as usize]).unwrap().iter().all(Option::is_some));
        });
        rate("known, as stored, single", batches * 64, |at| {
            assert!(index.lookup(&ids[at as usize / 64][at as usize % 64]).unwrap().is_some());
        });
        let ids: Vec<_> = (0..4_000).map(|batch| many(batch, &|number| TOTAL + number)).collect();
        rate("new, 64", batches, |at| {
            assert!(index.lookup_many(&ids[at as usize]).unwrap().iter().all(Option::is_none));
        });
        rate("new, single", batches * 64, |at| {
            assert!(index.lookup(&ids[at as usize / 64][at as usize % 64]).unwrap().is_none());
        });
        println!("peak {} MiB", resident_mib());
        assert!(resident_mib() < 400);
        if look == "after applying" {
            let start = Instant::now();
            drop(index);
            index = Index::open(dir.path(), &settings).unwrap();
            println!("opened again in {:.3} s", start.elapsed().as_secs_f64());
            let start = Instant::now();
            let family = index.top.family(options::CHUNKS).unwrap();
            index.top.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
            println!("compacted in {:.1} s, peak {} MiB", start.elapsed().as_secs_f64(), resident_mib());
        }
    }
}
