//! Dry runs: nothing is stored, and what they say is what a backup does.

use crate::support::random::Random;
use crate::support::world::{Run, World, backup, dry_run};
use dedup_engine::storage::Name;

/// An index of 12 MiB keeps 39,000 claims beside it; chunks are of about 1 KiB.
const LEN: usize = 64 << 20;

#[test]
fn a_dry_run_counts_what_the_backup_then_stores_however_much_that_is() {
    let world = World::new();
    let live = world.scratch.dir("live");
    let bytes = Random::new(5).bytes(LEN);
    // What comes again is new only once, also when its claim went to disk long ago.
    std::fs::write(live.join("a"), &bytes).unwrap();
    std::fs::write(live.join("b"), &bytes[LEN / 2..]).unwrap();
    std::fs::write(live.join("c"), &bytes[..LEN / 2]).unwrap();
    let run = Run { tree: &live, moment: 0 };
    let repo = world.open().unwrap();
    let dry = dry_run(&repo, run).unwrap();
    assert!(dry.snapshot.is_none());
    let is_pack = |name: &Name| name.to_string().starts_with("packs/");
    assert!(!world.storage.objects().iter().any(|(name, _)| is_pack(name)), "nothing is stored");
    let lock = world.index().join("scratch-0.lock");
    assert!(lock.exists(), "so many chunks were meant to need a scratch database");

    let report = backup(&repo, run).unwrap();
    // The directories above are in the listing as well, and other tests change those.
    let near = |dry: u64, stored: u64, most: u64| assert!(dry.abs_diff(stored) <= most, "{dry}, {stored}");
    near(dry.totals.chunks_new, report.totals.chunks_new, 4);
    near(dry.totals.bytes_new, report.totals.bytes_new, 4096);
    let again = dry_run(&repo, Run { moment: 100, ..run }).unwrap();
    assert_eq!((again.totals.bytes_read, again.totals.files_unmodified), (0, 3));
}
