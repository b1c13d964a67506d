//! What fails for one entry is told once and ends that entry; what fails for all ends the restore.

use super::*;
use crate::error::Corrupt;
use std::io::ErrorKind;

/// A directory with files: two of two chunks in two packs, one of one, and a further name of it.
fn world() -> (World, Root, [ObjectId; 2], [Vec<u8>; 2]) {
    let mut world = World::new();
    let chunks = [noise(1, 3000), noise(2, 4000)];
    let packs = [world.pack(&[&chunks[0]]), world.pack(&[&chunks[1]])];
    world.list_directories(&["", "d"]);
    world.list_file("d/a", &[&chunks[0], &chunks[1]], vec![]);
    world.list_file("d/b", &[&chunks[1], &chunks[0]], vec![]);
    let group = Some(LinkGroup::from_bytes([1; 16]));
    world.list_file("d/c", &[&chunks[0]], vec![]).link = group;
    world.list_file("d/d", &[&chunks[0]], vec![]).link = group;
    world.list_file("d/e", &[], vec![]);
    let root = world.done();
    (world, root, packs, chunks)
}

#[test]
fn a_call_that_fails_is_the_problem_of_its_entry_unless_no_room_is_left() {
    let (world, root, ..) = world();
    let calls = [
        ("prepare", "d/a", true),
        ("create", "d/a", true),
        ("write", "d/b", true),
        ("finish", "d/b", true),
        ("finish", "d/e", true),
        ("create", "d/e", true),
        ("link", "d/d", true),
        ("leave", "d", true),
        // Where links cannot be made.
        ("prepare", "d/d", false),
        ("create", "d/d", false),
        ("write", "d/d", false),
        ("finish", "d/d", false),
    ];
    for (call, at, links) in calls {
        let shelf = Shelf { links, ..Shelf::failing(call, at, ErrorKind::PermissionDenied) };
        let told = Told::default();
        let report = world.restore_telling(&root, &shelf, &told).unwrap();
        assert_eq!((report.problems_total, report.damaged), (1, 0), "{call} {at}: {:?}", report.problems);
        assert_eq!(report.problems[0].path, path(at));
        assert_eq!(*told.problems.lock().unwrap(), [at]);
        let expected = ["d/a", "d/b", "d/c", "d/d", "d/e"].into_iter().filter(|file| *file != at);
        assert_eq!(
            shelf.files().into_keys().collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{call} {at}"
        );
        assert_eq!(shelf.calls_of("abandon"), if call == "write" { vec![at] } else { vec![] }, "{call}");
        shelf.most_open();

        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            let shelf = Shelf { links, ..Shelf::failing(call, at, kind) };
            let error = world.restore(&root, &shelf).unwrap_err();
            assert!(
                matches!(&error, RestoreError::TargetFull(source) if source.kind() == kind),
                "{call}: {error}"
            );
            assert_eq!(error.kind(), Kind::NoSpace);
            assert!(error.hint().unwrap().contains("make room"));
        }
    }
}

#[test]
fn damage_ends_the_files_that_it_hits_and_each_is_told_once() {
    let (world, root, packs, _) = world();
    world.damage(packs[1]);
    let shelf = Shelf::default();
    let report = world.restore(&root, &shelf).unwrap();
    let mut hit: Vec<_> = report.problems.iter().map(|problem| problem.path.to_slashes()).collect();
    hit.sort();
    assert_eq!(hit, [b"d/a", b"d/b"]);
    assert_eq!((report.problems_total, report.damaged), (2, 2));
    assert_eq!(shelf.files().into_keys().collect::<Vec<_>>(), ["d/c", "d/d", "d/e"]);
    shelf.most_open();

    // Where links cannot be made, their content is read again, and found damaged.
    world.damage(packs[0]);
    let report = world.restore(&root, &Shelf { links: false, ..Shelf::default() }).unwrap();
    assert_eq!((report.problems_total, report.damaged), (4, 4), "{:?}", report.problems);
}

#[test]
fn a_copy_in_another_pack_stands_in_for_a_damaged_one() {
    let mut world = World::new();
    let chunks = [noise(1, 3000), noise(2, 4000)];
    let both = world.pack(&[&chunks[0], &chunks[1]]);
    let one = world.pack(&[&chunks[0]]);
    let two = world.pack(&[&chunks[1]]);
    world.list_file("a", &[&chunks[0], &chunks[1]], vec![]);
    let root = world.done();
    let newest = world.repo.index().unwrap().lookup(&world.name(&chunks[0])).unwrap().unwrap().pack;
    let newest = world.repo.pack_info(newest).unwrap().id;
    world.damage(newest);
    assert!([both, one].contains(&newest));
    let shelf = Shelf::default();
    let report = world.restore(&root, &shelf).unwrap();
    assert_eq!((report.problems_total, report.bytes_written), (0, 7000), "{:?}", report.problems);
    assert!(shelf.files()["a"] == chunks.concat());
    // Until there is none left.
    [both, one, two].into_iter().filter(|pack| *pack != newest).for_each(|pack| world.damage(pack));
    assert_eq!(world.restore(&root, &Shelf::default()).unwrap().damaged, 1);
}

#[test]
fn what_is_listed_and_not_stored_so_is_damage() {
    let mut world = World::new();
    let [right, wrong] = [noise(1, 3000), noise(2, 3000)];
    world.pack(&[&right]);
    world.repo.store_unverified(&[(world.name(&noise(3, 3000)), &wrong)]).unwrap();
    world.list_file("a", &[&right], vec![]);
    world.list_file("missing", &[&right, &noise(9, 100)], vec![]);
    let mut builder = ContentBuilder::new(&world);
    builder.push(world.name(&right), 2999).unwrap();
    let content = builder.finish().unwrap();
    world.list("other length", node(Body::File { size: 2999, holes: vec![], content }));
    world.list_file("other name", &[&noise(3, 3000)], vec![]);
    let root = world.done();
    let shelf = Shelf::default();
    let report = world.restore(&root, &shelf).unwrap();
    assert_eq!(shelf.files(), [("a".to_owned(), right)].into());
    let mut told: Vec<_> = report.problems.iter().map(|problem| problem.path.to_slashes()).collect();
    told.sort();
    assert_eq!(told, [&b"missing"[..], b"other length", b"other name"]);
    assert_eq!((report.problems_total, report.damaged), (3, 3), "{:?}", report.problems);
    shelf.most_open();
}

#[test]
fn whoever_asks_to_stop_is_heeded_at_once() {
    let (world, root, ..) = world();
    let (shelf, told) = (Shelf::default(), Told::default());
    told.stop.store(true, Ordering::Relaxed);
    let cancelled = |error: RestoreError| assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    cancelled(world.restore_telling(&root, &shelf, &told).unwrap_err());
    assert_eq!(shelf.calls(), [""; 0]);
    let request = RestoreRequest { base: StoredPath::root(), select: &|_, _| true, threads: 1 };
    cancelled(plan(&world.repo, &root, &request, &told).unwrap_err());

    // In the middle: what is fetched after the first file that is made is not wanted any more.
    let told = Arc::new(Told::default());
    let stops = told.clone();
    let trouble = move |call: &str, _: &str| {
        stops.stop.fetch_or(call == "create", Ordering::Relaxed);
        None
    };
    let shelf = Shelf { trouble: Box::new(trouble), ..Shelf::default() };
    let request = RestoreRequest { threads: 1, ..request };
    cancelled(run(&world.repo, &root, &shelf, &request, &told).unwrap_err());
    assert!(!shelf.files().contains_key("d/a"), "it needs the second block");
}

/// What a restore reports decides its exit status: each problem counts, damage apart, and only the first are kept.
#[test]
fn problems_are_counted_and_the_first_of_them_kept() {
    let path = path("a/b");
    let tally = Tally::new(&Silent);
    let damage = || RepoError::from(Corrupt::new("pack 1", "rotten"));
    tally.unread(&path, &damage());
    tally.unread(&path, &RepoError::Cancelled);
    assert_eq!(tally.with(|report| (report.damaged, report.problems_total)), (1, 2));
    tally.without_attributes(&path, &damage());
    tally.without_attributes(&path, &damage());
    tally.without_attributes(&path, &RepoError::Cancelled);
    assert_eq!(tally.with(|report| (report.damaged, report.problems_total)), (3, 5));
    for number in 5..REPORTED + 3 {
        tally.problem(&path, number.to_string());
    }
    let report = tally.with(|report| report.clone());
    assert_eq!((report.problems.len(), report.problems_total), (REPORTED, REPORTED as u64 + 3));
    assert!(report.problems[0].message.contains("rotten"), "{}", report.problems[0].message);
    assert!(report.problems[2].message.contains("attributes"), "{}", report.problems[2].message);
    assert_eq!(report.problems.last().unwrap().message, (REPORTED - 1).to_string());
}
