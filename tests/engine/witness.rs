//! The signed log: what is written when, who may do what, and what becomes of machines that were set back themselves.

use crate::support::hooked::Hooked;
use crate::support::pruned::{forget, prune};
use crate::support::witness::Client;
use crate::support::world::{NO_KDF, Run, World, backup, check, open, open_keys, snapshots};
use crate::support::{copy_dir, trees};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::listing::Time;
use dedup_engine::log::{Act, Entry};
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::fault::FaultStorage;
use dedup_engine::storage::local::LocalStorage;
use dedup_engine::storage::{Family, Name, Part, Storage};
use dedup_engine::{forget as forgetting, prune as pruning};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub const NOW: Time = Time { secs: 4_000_002_000, nanos: 0 };

/// A repository of machine `one`, to which `two` was added.
pub fn scene() -> (World, Client, Client) {
    let world = World::new();
    let one = Client::new("one", world.unlock.clone());
    let two = Client::new("two", Unlock::new_key_file().unwrap().0);
    one.look(world.storage.clone()).unwrap().add_slot(&two.unlock, &NO_KDF, "two", true, 5).unwrap();
    (world, one, two)
}

pub fn look(client: &Client, world: &World) -> Repository {
    client.look(world.storage.clone()).unwrap()
}

/// Returns the acts of a log, oldest first.
fn acts(repo: &Repository, of: &Repository) -> Vec<Act> {
    let client = of.own_client();
    (1..).map_while(|number| repo.read_log_entry(client, number).ok()).map(|entry| entry.act).collect()
}

fn last(repo: &Repository, of: &Repository) -> Entry {
    let heads = repo.log_state().unwrap().heads;
    let head = heads.iter().find(|head| head.client == of.own_client()).unwrap();
    repo.read_log_entry(head.client, head.seen.mark.number).unwrap()
}

#[test]
fn whatever_changes_what_is_alive_is_in_the_log() {
    let (world, one, two) = scene();
    let first = one.backup(&world, 0);
    let theirs = two.backup(&world, 1);
    let second = one.backup(&world, 2);
    let repo = one.open(world.storage.clone()).unwrap();
    assert_eq!(last(&repo, &repo).live, 3);
    let head = last(&repo, &repo).heads;
    assert_eq!(head.len(), 1, "the end of the other log");
    forgetting::pin(&repo, &[theirs].into(), true, NOW).unwrap();
    forget(&repo, &[first]);
    assert_eq!(last(&repo, &repo).live, 3, "what is forgotten is stored");
    prune(&repo).unwrap();
    assert_eq!(last(&repo, &repo).live, 2);
    let kinds: Vec<&str> = acts(&repo, &repo).iter().map(Act::word).collect();
    let expected = ["key_added", "admitted", "made", "made", "retained", "retained", "removed"];
    assert_eq!(kinds[..7], expected, "{kinds:?}");
    assert!(kinds[7..].iter().all(|kind| *kind == "removed"), "{kinds:?}");
    let two = look(&two, &world);
    assert_eq!(acts(&repo, &two), [Act::Made(vec![theirs])]);
    let seen = two.log_state().unwrap();
    assert_eq!((seen.alive, seen.heads.len(), seen.is_first_contact), (2, 2, false));
    assert_eq!(seen.fingerprint, repo.log_state().unwrap().fingerprint, "both see the same");
    let report = world.assert_sound(&repo);
    assert_eq!((report.findings, report.log_clients), (vec![], 2));
    assert_eq!(snapshots(&repo), [theirs, second]);
}

/// A run may die between its commit and its entry.
#[test]
fn the_next_writer_adopts_what_has_no_entry() {
    let (world, one, two) = scene();
    let tree = world.scratch.dir("tree");
    two.backup(&world, 0);
    let run = |world: &World, two: &Client, cut: Option<u64>| {
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        cut.into_iter().for_each(|cut| storage.freeze_after(cut));
        if let Ok(repo) = two.open(storage.clone()) {
            let _ = backup(&repo, Run { tree: &tree, moment: 9 });
        }
        storage.count()
    };
    let calls = run(&world.fork(), &two.twin(), None);
    let entries = |world: &World| {
        world.storage.objects().iter().filter(|(name, _)| name.family() == Family::Log).count()
    };
    let mut adopted = 0;
    // The last calls of a run, the commit and the entry among them.
    for cut in (1..14).map(|back| calls - back) {
        let world = world.fork();
        let (one, two) = (one.twin(), two.twin());
        let before = (entries(&world), snapshots(&look(&one, &world)).len());
        run(&world, &two, Some(cut));
        let repo = one.open(world.storage.clone()).unwrap();
        let committed = snapshots(&repo).len() > before.1;
        if committed && entries(&world) == before.0 {
            adopted += 1;
            let report = world.assert_sound(&repo);
            assert!(
                report.findings.iter().any(|found| found.message.contains("no entry")),
                "{:?}",
                report.findings
            );
        }
        one.backup(&world, 20);
        let state = look(&two, &world).log_state().unwrap();
        assert_eq!(state.alive, snapshots(&repo).len() as u64, "cut {cut}");
        let report = world.assert_sound(&one.open(world.storage.clone()).unwrap());
        assert!(
            report.findings.iter().all(|found| found.object != "log"),
            "cut {cut}: {:?}",
            report.findings
        );
    }
    assert!(adopted >= 3, "{adopted} runs died between commit and entry");
}

/// Machines that share a slot share a log, which does not fork.
#[test]
fn who_shares_a_slot_shares_a_log() {
    let world = World::new();
    let all: Vec<Client> = ["a", "b", "c"].map(|host| Client::new(host, world.unlock.clone())).into();
    std::thread::scope(|scope| {
        for client in &all {
            let world = &world;
            scope.spawn(move || {
                for moment in 0..4 {
                    client.backup(world, moment);
                }
            });
        }
    });
    for client in &all {
        let repo = client.open(world.storage.clone()).unwrap();
        let state = repo.log_state().unwrap();
        assert_eq!((state.heads.len(), state.alive), (1, 12));
        assert_eq!(world.assert_sound(&repo).findings, []);
    }
}

/// A virtual machine is set back to an older image: it remembers less than the storage shows.
#[test]
fn a_machine_that_was_set_back_itself_reads_on() {
    let (world, one, two) = scene();
    one.backup(&world, 0);
    let image = one.twin();
    one.backup(&world, 1);
    two.backup(&world, 2);
    forget(&one.open(world.storage.clone()).unwrap(), &snapshots(&look(&one, &world))[..1]);
    let repo = look(&image, &world);
    assert!(!repo.is_first_contact());
    image.backup(&world, 3);
    let repo = one.open(world.storage.clone()).unwrap();
    assert_eq!(world.assert_sound(&repo).findings, []);
}

/// Repositories of before have no log; what is in them is adopted by the first who writes.
#[test]
fn a_repository_without_a_log_gets_one() {
    let world = World::new();
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let key = fs::read_to_string(golden.join("golden.key")).unwrap();
    let unlock = Unlock::read_key_file(&key).unwrap();
    let place = world.scratch.path("golden");
    drop(LocalStorage::create(&place).unwrap());
    copy_dir(&golden.join("repo-1-draft2"), &place);
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&place).unwrap());
    let client = Client::new("new", unlock);
    let repo = client.open(storage.clone()).unwrap();
    assert!(repo.is_first_contact());
    let before = snapshots(&repo);
    assert_eq!((before.len(), repo.log_state().unwrap().alive), (2, 0));
    let tree = world.scratch.dir("tree");
    let new = backup(&repo, Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let Act::Made(mut made) = last(&repo, &repo).act else { panic!("{:?}", last(&repo, &repo)) };
    made.sort();
    let mut all = [&before[..], &[new]].concat();
    all.sort();
    assert_eq!(made, all);
    assert_eq!(client.open(storage).unwrap().log_state().unwrap().alive, 3);
}

/// What only the log still tells of is neither forgotten in silence nor removed: somebody has to say so.
#[test]
fn nothing_is_deleted_while_a_snapshot_is_hidden() {
    let (world, one, two) = scene();
    let gone = two.backup(&world, 0);
    let kept = one.backup(&world, 1);
    let extra = one.backup(&world, 2);
    let hidden = world.fork();
    let session = one.look(world.storage.clone()).unwrap().snapshots().unwrap();
    let session = session.iter().find(|(id, _)| *id == gone).unwrap().1.session;
    for (name, _) in world.storage.objects() {
        if name == Name::snapshot(gone) || name.session_id() == Some(session) {
            hidden.storage.delete(&name).unwrap();
        }
    }
    let repo = one.open(hidden.storage.clone()).unwrap();
    let (_, faults) = repo.catalog().unwrap();
    assert_eq!(faults.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [gone]);
    assert!(faults[0].1.to_string().contains("the log says"), "{}", faults[0].1);
    forget(&repo, &[extra]);
    let before = hidden.storage.objects().len();
    let error = prune(&repo).unwrap_err();
    assert!(matches!(error, pruning::PruneError::Unreadable { id, .. } if id == gone), "{error}");
    // The prune that refused wrote its session and ended it.
    assert!(hidden.storage.objects().len() <= before + 2);
    forget(&repo, &[gone]);
    prune(&repo).unwrap();
    assert_eq!(snapshots(&repo), [kept]);
    assert_eq!(world_alive(&one, &hidden), 1);
    assert_eq!(hidden.assert_sound(&one.open(hidden.storage.clone()).unwrap()).findings, []);
}

fn world_alive(client: &Client, world: &World) -> u64 {
    look(client, world).log_state().unwrap().alive
}

/// The person put back a copy: it is said what is lost, and then work goes on.
#[test]
fn a_copy_that_was_put_back_is_accepted_if_somebody_says_so() {
    let (world, one, two) = scene();
    one.backup(&world, 0);
    let copy = world.fork();
    two.backup(&world, 1);
    let lost = one.backup(&world, 2);
    look(&two, &world);
    for client in [&one, &two] {
        let repo = Repository::open(copy.storage.clone(), &client.unlock, 64 << 20).unwrap();
        let error = client.attach(&repo).unwrap_err();
        assert!(error.to_string().contains("this machine"), "{error}");
        assert!(error.hint().unwrap().contains("accept"));
        let given_up = repo.accept_log().unwrap();
        assert!(given_up.iter().any(|complaint| complaint.object.family() == Family::Log), "{given_up:?}");
        client.backup(&copy, 10);
    }
    let repo = one.open(copy.storage.clone()).unwrap();
    assert!(!snapshots(&repo).contains(&lost));
    assert_eq!(copy.assert_sound(&repo).findings, []);
}

/// Without rights of any kind being told apart nothing costs more than it must: an unchanged run reads the log once
/// and adds one object.
#[test]
fn a_run_costs_one_object_and_a_few_looks() {
    let world = World::new();
    let client = Client::new("one", world.unlock.clone());
    for moment in 0..3 {
        client.backup(&world, moment);
    }
    let storage = Arc::new(FaultStorage::new(world.storage.clone()));
    let repo = open_keys(storage.clone(), &world.unlock).unwrap();
    let before = storage.count();
    client.attach(&repo).unwrap();
    // Names of entries, the last entry, what is forgotten, the next generation.
    assert!(storage.count() - before <= 5, "{} calls", storage.count() - before);
    drop(repo);
    let entries = world.storage.objects().len();
    let repo = open(world.storage.clone(), &world.unlock, &world.index(), &Silent).unwrap();
    let tree = world.scratch.dir("one-2");
    backup(&repo, Run { tree: &tree, moment: 2 }).unwrap();
    let log = |(name, _): &(Name, _)| name.family() == Family::Log;
    let new = world.storage.objects();
    assert!(new.len() > entries && new.iter().filter(|one| log(one)).count() == 4);
}

/// Somebody puts the slot of a key back that was removed, and has the key.
#[test]
fn a_key_that_was_removed_opens_nothing_any_more() {
    let (world, one, two) = scene();
    let repo = look(&one, &world);
    let slot = repo.slots().unwrap().into_iter().find(|slot| !slot.current).unwrap().id;
    let bytes = world.storage.get_all(&Name::slot(slot), 1 << 20).unwrap();
    look(&two, &world);
    repo.remove_slot(&slot).unwrap();
    world.storage.overwrite(Name::slot(slot), &bytes);
    let error = two.look(world.storage.clone()).err().unwrap();
    assert!(error.to_string().contains("somebody has put it back"), "{error}");
    let report = check(&one.open(world.storage.clone()).unwrap()).unwrap();
    assert!(report.findings.iter().any(|found| found.object == Name::slot(slot).to_string()), "{report:?}");
    look(&one, &world).remove_slot(&slot).unwrap();
    assert_eq!(world.assert_sound(&one.open(world.storage.clone()).unwrap()).findings, []);
}

/// Once a machine said of a snapshot that it was made though it knew that it had been removed: another one with the same key had
/// adopted it, forgotten it and pruned between two tries of its entry. The count of that entry did not add up, which
/// `check` called damage for ever (a fleet with seed 10,000).
#[test]
fn an_entry_that_came_second_says_nothing_of_what_is_gone_meanwhile() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let first = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let (storage, unlock, index) = (world.storage.clone(), world.unlock.clone(), world.other_index("other"));
    let other = move || {
        let repo = open(storage.clone(), &unlock, &index, &Silent).unwrap();
        let newest = *snapshots(&repo).last().unwrap();
        forget(&repo, &[newest]);
        prune(&repo).unwrap();
        assert_eq!(snapshots(&repo).len(), 1);
    };
    // After the commit snapshots are listed once more: for those that have no entry, after the log was read.
    let is_committed = Arc::new(AtomicBool::new(false));
    let committed = is_committed.clone();
    let is_end = |name: &Name| matches!(name, Name::Session(_, Part::End));
    let ends = Hooked::once(world.storage.clone(), is_end, move || committed.store(true, Ordering::SeqCst));
    let done = Arc::new(AtomicBool::new(false));
    let acted = done.clone();
    let hooked = Hooked::listed(ends, move |family| {
        if family == Family::Snapshots
            && is_committed.load(Ordering::SeqCst)
            && !acted.swap(true, Ordering::SeqCst)
        {
            other();
        }
    });
    let repo = open(hooked, &world.unlock, &world.index(), &Silent).unwrap();
    trees::write(&tree.join("file"), b"new", 1);
    backup(&repo, Run { tree: &tree, moment: 9 }).unwrap();
    assert!(done.load(Ordering::SeqCst), "nobody came in between");
    drop(repo);
    let repo = world.open_afresh();
    assert_eq!((snapshots(&repo), repo.log_state().unwrap().alive), (vec![first], 1));
    assert_eq!(world.assert_sound(&repo).findings, []);
    let acts = acts(&repo, &repo);
    let made: Vec<_> = acts.iter().filter(|act| matches!(act, Act::Made(_))).collect();
    assert_eq!(made.len(), 2, "the second was adopted, and nothing said twice: {acts:?}");
}
