//! Runs of several parts: trees and streams of several modules in one session and one snapshot.

use crate::support::hooked::Hooked;
use crate::support::parts::{Trees, restored, run, snapshot, stream};
use crate::support::world::{check, open, run_request, snapshots};
use dedup_engine::backup::{BackupError, Parts, RunRequest, StreamError, StreamRequest, run_parts};
use dedup_engine::error::Kind;
use dedup_engine::listing::StoredPath;
use dedup_engine::map::Root;
use dedup_engine::progress::Silent;
use dedup_engine::snapshot::{Account, Section, State};
use dedup_engine::storage::{Family, Name};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn account(module: &str) -> Account {
    Account::new(module)
}

/// A stream that breaks off after so many bytes.
struct BreaksOff<'a>(&'a [u8]);

impl Read for BreaksOff<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the server went away")),
            len => Ok(len),
        }
    }
}

#[test]
fn parts_of_several_modules_are_one_snapshot() {
    let trees = Trees::new(1);
    let repo = trees.world.open().unwrap();
    let first = run(&repo, 0, |parts| trees.body(parts)).unwrap();
    let snapshot = snapshot(&repo, first.snapshot);
    assert_eq!(snapshot.accounts, first.accounts);
    assert_eq!((snapshot.session, snapshot.totals), (first.session.unwrap(), first.totals));
    let modules: Vec<_> = snapshot.accounts.iter().map(|account| &account.module[..]).collect();
    assert_eq!((modules, first.state), (vec!["mail", "web"], State::Complete));

    // What they have in common is stored once, and every byte that was stored is somebody's.
    let unique = 300_000 + 2_000_000;
    assert!((unique..unique + 100_000).contains(&first.totals.bytes_new), "{:?}", first.totals);
    let packs: u64 = trees.world.storage.objects().iter().map(|(name, bytes)| pack_bytes(name, bytes)).sum();
    assert_eq!(first.totals.bytes_stored, packs);
    let [mail, web] = &first.accounts[..] else { panic!("{modules:?}", modules = first.accounts) };
    assert!(mail.totals.bytes_stored > 2_000_000 && web.totals.bytes_stored > 300_000);
    assert_eq!(mail.totals.files, 2 + 2 + 1);

    // Everything is back.
    let own = |root: &Root, tree: &str| {
        let path = StoredPath::from_slashes(trees.tree(tree).join("own").to_str().unwrap().as_bytes());
        restored(&repo, root).remove(&path.unwrap())
    };
    let listing = |account: &Account, section| account.listing(section).unwrap().root;
    assert_eq!(own(&listing(mail, Section::Config), "mail").unwrap(), b"mail");
    assert_eq!(own(&listing(mail, Section::Data), "web").unwrap(), b"web");
    assert_eq!(own(&listing(web, Section::Data), "web").unwrap(), b"web");
    let dump = mail.dump("db").unwrap();
    let name = StoredPath::from_slashes(b"db").unwrap();
    assert_eq!(restored(&repo, &dump.root), BTreeMap::from([(name, trees.noise.clone())]));
    assert_eq!((dump.bytes, dump.root.entries), (2_000_000, 1));
    assert!(check(&repo).unwrap().findings.is_empty());

    // The next one compares each part with the same part, and says so in its intent.
    let second = run(&repo, 10, |parts| trees.body(parts)).unwrap();
    assert_eq!(second.parents, [first.snapshot.unwrap()]);
    assert_eq!(second.totals.files_unmodified, 6, "{:?}", second.totals);
    assert!(second.totals.bytes_new < 20_000, "{:?}", second.totals);
    let intent = repo.read_intent(second.session.unwrap(), 1).unwrap();
    assert_eq!(intent.snapshots, [first.snapshot.unwrap()]);
    assert!(check(&trees.world.open_afresh()).unwrap().findings.is_empty());
}

fn pack_bytes(name: &Name, bytes: &[u8]) -> u64 {
    if name.family() == Family::Packs { bytes.len() as u64 } else { 0 }
}

/// What a stream gave before it broke off was taken. If another part has the same, it must be stored all the
/// same, and nothing may count as missing.
#[test]
fn a_stream_that_breaks_off_voids_only_its_dump() {
    let trees = Trees::new(2);
    let repo = trees.world.open().unwrap();
    let half = &trees.noise[..1_234_567];
    let report = run(&repo, 0, |parts| {
        let broken = stream(parts, "mail", Section::Data, &mut BreaksOff(half)).unwrap_err();
        assert!(matches!(&broken, StreamError::Read(error) if error.to_string().contains("went away")));
        let mut mail = account("mail");
        stream(parts, "mail", Section::Data, &mut &half[..]).unwrap().enter(&mut mail);
        Ok(vec![mail])
    });
    let dump = report.unwrap().accounts[0].dumps[0].clone();
    for repo in [repo, trees.world.open_afresh()] {
        assert_eq!(restored(&repo, &dump.root).into_values().next().unwrap(), half);
        assert!(check(&repo).unwrap().findings.is_empty());
    }
}

#[test]
fn streams_of_any_length_come_back() {
    let trees = Trees::new(3);
    let repo = trees.world.open().unwrap();
    for len in [0, 1, 255, 4096, 1_999_999] {
        let report = run(&repo, len as i64, |parts| {
            let mut mail = account("mail");
            stream(parts, "mail", Section::Config, &mut &trees.noise[..len]).unwrap().enter(&mut mail);
            Ok(vec![mail])
        });
        let dump = report.unwrap().accounts[0].dumps[0].clone();
        assert_eq!(restored(&repo, &dump.root).into_values().next().unwrap(), trees.noise[..len]);
    }
    assert!(check(&repo).unwrap().findings.is_empty());
}

/// Leaves of the listing that were closed before the failure were taken and never became durable: the run ended with an
/// internal fault instead of going on without this dump.
#[test]
fn several_streams_are_one_dump_or_none() {
    let trees = Trees::new(5);
    let repo = trees.world.open().unwrap();
    for (at, count) in [1, 2, 700].into_iter().enumerate() {
        let request =
            StreamRequest { module: "mail", section: Section::Data, name: "db", kind: "", mtime: None };
        let report = run(&repo, at as i64, |parts| {
            let mut mail = account("mail");
            let give = |parts: &mut Parts<'_>, breaks_off: bool| {
                parts.streams(&request, &mut |streams| {
                    for n in 0..count {
                        streams.put(&format!("{n:05}"), &mut &trees.noise[n..][..100])?;
                    }
                    match breaks_off {
                        true => Err(StreamError::Read(io::Error::other("gone"))),
                        false => Ok(()),
                    }
                })
            };
            assert!(matches!(give(parts, true), Err(StreamError::Read(_))));
            give(parts, false).unwrap().enter(&mut mail);
            Ok(vec![mail])
        });
        let dump = report.unwrap().accounts[0].dumps[0].clone();
        assert_eq!(dump.bytes, 100 * count as u64);
        let files = restored(&repo, &dump.root);
        assert!(files.into_values().enumerate().all(|(n, bytes)| bytes == trees.noise[n..][..100]));
    }
    assert!(check(&repo).unwrap().findings.is_empty());
}

#[test]
fn names_of_dumps_are_names_of_files() {
    let trees = Trees::new(4);
    let repo = trees.world.open().unwrap();
    run(&repo, 0, |parts| {
        for name in ["", "..", "a/b", "a\0b", &"x".repeat(256)] {
            let request =
                StreamRequest { module: "mail", section: Section::Data, name, kind: "", mtime: None };
            let refused = parts.stream(&request, &mut &b"bytes"[..]).unwrap_err();
            assert_eq!(refused.kind(), Kind::Refused, "{name:?}");
        }
        Ok(vec![account("mail")])
    })
    .unwrap();
}

#[test]
fn a_dry_run_of_parts_stores_nothing() {
    let trees = Trees::new(7);
    let repo = trees.world.open().unwrap();
    let before = trees.world.storage.objects();
    let elapsed = || Duration::ZERO;
    let request = RunRequest { dry_run: true, ..run_request(0, &elapsed) };
    let dry = run_parts::<BackupError>(&repo, &request, &Silent, |parts| trees.body(parts)).unwrap();
    assert_eq!((dry.snapshot, dry.session), (None, None));
    assert!(before == trees.world.storage.objects());
    let wet = run(&repo, 0, |parts| trees.body(parts)).unwrap();
    // Other tests change the times of the directories above: with equal ones the first leaves of two listings are one.
    let stored = dry.totals.bytes_stored;
    let figures = [dry, wet].map(|report| (report.totals.bytes_new, report.totals.chunks_new));
    let [(dry_bytes, dry_chunks), (wet_bytes, wet_chunks)] = figures;
    let leaves = 6;
    assert!(dry_chunks.abs_diff(wet_chunks) <= leaves, "{figures:?}");
    assert!(dry_bytes.abs_diff(wet_bytes) <= leaves * 16_384, "{figures:?}");
    assert!(stored > 2_000_000);
}

/// Services wait for the reading, not for the storage: a part is done while its first pack is not stored yet.
#[test]
fn a_part_returns_before_it_is_durable() {
    let trees = Trees::new(8);
    let (held, free) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let slow = {
        let (held, free) = (held.clone(), free.clone());
        move |name: &Name| {
            if name.family() == Family::Packs {
                held.fetch_add(1, Relaxed);
                let start = Instant::now();
                while !free.load(Relaxed) && start.elapsed() < Duration::from_secs(60) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    };
    let storage = Hooked::new(trees.world.storage.clone(), Box::new(slow));
    let repo = open(storage, &trees.world.unlock, &trees.world.index(), &Silent).unwrap();
    let start = Instant::now();
    let report = run(&repo, 0, |parts| {
        let accounts = trees.body(parts)?;
        while held.load(Relaxed) == 0 && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!free.load(Relaxed) && held.load(Relaxed) > 0, "the storage did not wait");
        free.store(true, Relaxed);
        Ok(accounts)
    });
    assert!(start.elapsed() < Duration::from_secs(50), "the part waited for the storage");
    assert!(snapshots(&trees.world.open().unwrap()).contains(&report.unwrap().snapshot.unwrap()));
}
