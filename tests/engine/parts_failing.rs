//! Runs of several parts that fail, or that others get in the way of: what cannot be read twice is published whole
//! or not at all.

use crate::support::TestEvents;
use crate::support::hooked::Hooked;
use crate::support::parts::{Trees, restored, run, snapshot, store, stream};
use crate::support::random::Random;
use crate::support::world::{World, check, open, open_keys, run_request, snapshots};
use dedup_engine::backup::{BackupError, Parts, StreamError, run_parts};
use dedup_engine::error::Kind;
use dedup_engine::id::SessionId;
use dedup_engine::progress::Silent;
use dedup_engine::repo::control::{Condemned, Verdict};
use dedup_engine::snapshot::{Account, Section};
use dedup_engine::storage::{Family, Name, Part, Storage};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn account(module: &str) -> Account {
    Account::new(module)
}

fn names(world: &World) -> Vec<Name> {
    world.storage.objects().into_iter().map(|(name, _)| name).collect()
}

/// The body's own error comes back as it is; nothing is published, and no prune waits for the session.
#[test]
fn a_body_that_fails_publishes_nothing() {
    #[derive(Debug)]
    enum Mine {
        Engine,
        Hook,
    }
    impl From<BackupError> for Mine {
        fn from(_: BackupError) -> Self {
            Self::Engine
        }
    }
    let trees = Trees::new(5);
    let repo = trees.world.open().unwrap();
    let elapsed = || Duration::ZERO;
    let failed = run_parts(&repo, &run_request(0, &elapsed), &Silent, |parts| {
        trees.body(parts)?;
        Err::<Vec<Account>, _>(Mine::Hook)
    });
    assert!(matches!(failed, Err(Mine::Hook)));
    assert!(snapshots(&repo).is_empty());
    let ended = names(&trees.world).into_iter().filter(is_end).count();
    assert_eq!(ended, 1);
    // What was stored is found again, but for times of directories above, which other tests change.
    let report = run(&repo, 10, |parts| trees.body(parts)).unwrap();
    assert!(report.totals.bytes_new < 10_000, "{:?}", report.totals);
    assert!(check(&repo).unwrap().findings.is_empty());
}

fn is_end(name: &Name) -> bool {
    matches!(name, Name::Session(_, Part::End))
}

#[test]
fn what_no_snapshot_has_a_place_for_is_refused() {
    let trees = Trees::new(6);
    let repo = trees.world.open().unwrap();
    let mut twice = account("mail");
    type Body<'a> = Box<dyn FnOnce(&mut Parts<'_>) -> Result<Vec<Account>, BackupError> + 'a>;
    let bodies: [(&str, Body<'_>); 4] = [
        ("without a module", Box::new(|_| Ok(Vec::new()))),
        ("two accounts", Box::new(|_| Ok(vec![account("mail"), account("mail")]))),
        (
            "two dumps",
            Box::new(|parts| {
                let dump = stream(parts, "mail", Section::Data, &mut &b"x"[..]).unwrap();
                dump.enter(&mut twice);
                dump.enter(&mut twice);
                Ok(vec![twice])
            }),
        ),
        (
            "two listings",
            Box::new(|parts| {
                let mut mail = account("mail");
                store(parts, "mail", Section::Data, &trees.tree("web"))?.enter(&mut mail);
                store(parts, "mail", Section::Data, &trees.tree("mail"))?.enter(&mut mail);
                Ok(vec![mail])
            }),
        ),
    ];
    for (what, body) in bodies {
        let refused = run(&repo, 0, body).unwrap_err();
        assert_eq!(refused.kind(), Kind::Refused);
        assert!(refused.to_string().contains(what), "{refused}");
    }
    assert!(snapshots(&repo).is_empty());
}

/// A failing storage ends the run with its own error, and the body is told at its next part.
#[test]
fn what_cannot_be_stored_ends_the_run() {
    use dedup_engine::storage::fault::{Call, Fault, FaultStorage};
    let trees = Trees::new(9);
    let storage = Arc::new(FaultStorage::new(trees.world.storage.clone()));
    let repo = open(storage.clone(), &trees.world.unlock, &trees.world.index(), &Silent).unwrap();
    // The first object of the run is its session, the second is a pack.
    storage.on_nth(Call::Put, 1, Fault::FailBefore(io::ErrorKind::StorageFull));
    let told = Mutex::new(None);
    let failed = run(&repo, 0, |parts| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            let noise = Random::new(start.elapsed().as_nanos() as u64).bytes(1 << 20);
            match stream(parts, "mail", Section::Data, &mut &noise[..]) {
                Ok(_) => {}
                Err(StreamError::Repo(error)) => {
                    *told.lock().unwrap() = Some((error.kind(), error.to_string()));
                    return Err(error.into());
                }
                Err(error) => panic!("{error}"),
            }
        }
        Ok(vec![account("mail")])
    });
    let failed = failed.unwrap_err();
    assert_eq!(failed.kind(), Kind::NoSpace, "{failed}");
    let (kind, text) = told.lock().unwrap().take().expect("the body was never told");
    assert_eq!(kind, Kind::NoSpace);
    assert!(text.starts_with("storing has stopped: "), "{text}");
    assert!(snapshots(&trees.world.open().unwrap()).is_empty());
}

/// Packs are lost before the run: what they held is stored anew at once, since nothing is read a second time.
#[test]
fn what_was_lost_is_stored_anew_in_the_same_go() {
    let trees = Trees::new(10);
    let repo = trees.world.open().unwrap();
    let body = |parts: &mut Parts<'_>| {
        let mut mail = account("mail");
        stream(parts, "mail", Section::Data, &mut &trees.noise[..]).unwrap().enter(&mut mail);
        Ok(vec![mail])
    };
    run(&repo, 0, body).unwrap();
    for (name, _) in trees.world.storage.objects() {
        if name.family() == Family::Packs {
            trees.world.storage.delete(&name).unwrap();
        }
    }
    let (events, elapsed) = (TestEvents::default(), || Duration::ZERO);
    let report = run_parts::<BackupError>(&repo, &run_request(10, &elapsed), &events, body).unwrap();
    assert!(report.totals.bytes_new > 1_900_000, "{:?}", report.totals);
    assert!(events.notices().iter().any(|notice| notice.contains("packs were lost")));
    let dump = &report.accounts[0].dumps[0];
    assert_eq!(restored(&trees.world.open_afresh(), &dump.root).into_values().next().unwrap(), trees.noise);
}

/// A prune condemns what the run relied on, after the parts were read: they cannot be read again.
#[test]
fn a_run_of_parts_that_is_overtaken_publishes_nothing() {
    let trees = Trees::new(11);
    let repo = trees.world.open().unwrap();
    run(&repo, 0, |parts| trees.body(parts)).unwrap();
    let prune = open_keys(trees.world.storage.clone(), &trees.world.unlock).unwrap();
    let packs = names(&trees.world).into_iter().filter(|name| name.family() == Family::Packs);
    let packs = packs.filter_map(|name| name.object_id()).collect();
    let session = Some(SessionId::from_bytes([0xEE; 16]));
    let set = Condemned { number: 1, session, packs, ..Default::default() };
    let overtaken = run(&repo, 10, |parts| {
        let accounts = trees.body(parts)?;
        prune.publish_condemned(&set).unwrap();
        Ok(accounts)
    });
    let overtaken = overtaken.unwrap_err();
    assert!(matches!(overtaken, BackupError::Overtaken), "{overtaken}");
    assert_eq!((overtaken.kind(), snapshots(&repo).len()), (Kind::Busy, 1));
    // The next one knows the set from the beginning.
    let report = run(&repo, 20, |parts| trees.body(parts)).unwrap();
    set.packs.iter().for_each(|id| trees.world.storage.delete(&Name::pack(*id)).unwrap());
    let repo = trees.world.open_afresh();
    let snapshot = snapshot(&repo, report.snapshot);
    let dump = &snapshot.account("mail").unwrap().dumps[0];
    assert_eq!(restored(&repo, &dump.root).into_values().next().unwrap(), trees.noise);
}

/// A prune fenced the run, and its packs stay: the run goes on with a new session over the same packs.
#[test]
fn a_fenced_run_of_parts_commits_with_a_new_session() {
    let trees = Trees::new(12);
    let prune = open_keys(trees.world.storage.clone(), &trees.world.unlock).unwrap();
    let (storage, fenced) = (trees.world.storage.clone(), AtomicBool::new(false));
    let fence = move |name: &Name| {
        if !matches!(name, Name::Snapshot(_)) || fenced.swap(true, Relaxed) {
            return;
        }
        for (name, _) in storage.objects() {
            if let Name::Session(id, Part::Begin) = name {
                prune.end_session(id, Verdict::Fenced(1)).unwrap();
            }
        }
    };
    let storage = Hooked::new(trees.world.storage.clone(), Box::new(fence));
    let repo = open(storage, &trees.world.unlock, &trees.world.index(), &Silent).unwrap();
    let mut read = 0;
    let report = run(&repo, 0, |parts| {
        read += 1;
        trees.body(parts)
    });
    let report = report.unwrap();
    let repo = trees.world.open_afresh();
    let snapshot = snapshot(&repo, report.snapshot);
    assert_eq!((read, Some(snapshot.session)), (1, report.session));
    assert!(check(&repo).unwrap().is_sound());
}
