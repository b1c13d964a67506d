//! What is restored is what is listed, and counted so.

use super::*;

/// One hole.
fn hole(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

#[test]
fn everything_is_restored_and_counted() {
    let mut world = World::new();
    let chunks: Vec<_> = (0..4).map(|seed| noise(seed, 3000 + seed as usize)).collect();
    let packs = [world.pack(&[&chunks[0], &chunks[3]]), world.pack(&[&chunks[1], &chunks[2]])];
    world.list_directories(&["", "a"]);
    world.list_file("a/empty", &[], vec![]);
    world.list_file("a/hole", &[], hole(0..70_000));
    world.list_file("a/many", &[&chunks[0], &chunks[1], &chunks[2]], vec![100..5000, 7000..7001]);
    world.list_file("a/one", &[&chunks[3]], vec![]);
    world.list("b", node(Body::Symlink(b"a".to_vec())));
    world.list("c", node(Body::Fifo));
    world.list("d", node(Body::Socket));
    let root = world.done();
    world.counted.reset();

    let (shelf, told) =
        (Shelf { before: [("c".into(), vec![])].into(), ..Shelf::default() }, Told::default());
    let report = world.restore_telling(&root, &shelf, &told).unwrap();
    let stored = [&chunks[0][..], &chunks[1], &chunks[2]].concat();
    let many = [&stored[..100], &[0; 4900], &stored[100..2100], &[0], &stored[2100..]].concat();
    let bytes = (70_000 + many.len() + 3003) as u64;
    let expected: shelf::Files = [
        ("a/empty".into(), vec![]),
        ("a/hole".into(), vec![0; 70_000]),
        ("a/many".into(), many),
        ("a/one".into(), chunks[3].clone()),
    ]
    .into();
    assert!(shelf.files() == expected, "{:?}", shelf.calls());
    assert_eq!((report.entries, report.files, report.bytes), (9, 4, bytes));
    assert_eq!(packs.map(|pack| world.reads_of(pack)), [1, 1], "each block once");
    assert_eq!(
        (report.bytes_written, report.unchanged),
        (stored.len() as u64 + 3003, 1),
        "the pipe was there"
    );
    assert_eq!((report.problems_total, report.damaged), (0, 0), "{:?}", report.problems);
    assert_eq!(*told.done.lock().unwrap(), (9, bytes), "each entry once");
    assert_eq!(*told.phases.lock().unwrap(), [Phase::Restore, Phase::Finish]);
    assert_eq!(shelf.calls_of("leave"), ["a", ""]);
    shelf.most_open();

    let request = RestoreRequest { base: StoredPath::root(), select: &|_, _| true, threads: 1 };
    let planned = plan(&world.repo, &root, &request, &Silent).unwrap();
    assert_eq!(planned, RestorePlan { entries: 9, files: 4, directories: 2, bytes });
}

#[test]
fn only_what_is_selected_below_the_base_is_restored() {
    let mut world = World::new();
    world.pack(&[b"text"]);
    world.list_directories(&["", "a", "a/b", "c"]);
    for at in ["a/b/x", "a/b/y", "a/z", "c/x"] {
        world.list_file(at, &[b"text"], vec![]);
    }
    let root = world.done();
    let restored = |base: &str, select: &(dyn Fn(&StoredPath, &Node) -> bool + Sync)| {
        let shelf = Shelf::default();
        let request = RestoreRequest { base: path(base), select, threads: 1 };
        let report = run(&world.repo, &root, &shelf, &request, &Silent)?;
        let planned = plan(&world.repo, &root, &request, &Silent).unwrap();
        assert_eq!(
            (planned.entries, planned.files, planned.bytes),
            (report.entries, report.files, report.bytes)
        );
        Ok::<_, RestoreError>(shelf.calls_of("prepare"))
    };
    assert_eq!(restored("a", &|_, _| true).unwrap(), ["a", "a/b", "a/b/x", "a/b/y", "a/z"]);
    assert_eq!(restored("a/z", &|_, _| true).unwrap(), ["a/z"]);
    assert_eq!(restored("", &|path, _| path.name() == b"x").unwrap(), ["a/b/x", "c/x"]);
    assert_eq!(restored("a", &|_, _| false).unwrap(), [""; 0]);
    let error = restored("a/nothing", &|_, _| true).unwrap_err();
    assert!(matches!(&error, RestoreError::NoSuchPath(at) if *at == path("a/nothing")), "{error}");
    assert_eq!(error.kind(), Kind::Missing);
    assert!(error.hint().unwrap().contains("dedup ls"));
}

/// Lists these bodies as names of one inode, each twice, and returns what links were asked for.
fn links_of(world: &mut World, bodies: &[Body]) -> Vec<String> {
    for (number, body) in bodies.iter().enumerate() {
        for name in ["a", "b"] {
            world.list(&format!("{name}{number:02}"), node(body.clone())).link =
                Some(LinkGroup::from_bytes([1; 16]));
        }
    }
    let root = world.done();
    let shelf = Shelf::default();
    assert_eq!(world.restore(&root, &shelf).unwrap().problems_total, 0);
    shelf.calls_of("link")
}

#[test]
fn names_of_one_inode_are_links_if_all_that_they_have_in_common_is_the_same() {
    let mut world = World::new();
    let [one, two] = [noise(1, 50), noise(2, 50)];
    world.pack(&[&one, &two]);
    let file = |world: &World, chunks: &[&[u8]], size, holes| Body::File {
        size,
        holes,
        content: world.content(chunks.iter().copied()),
    };
    let bodies = [
        file(&world, &[&one], 50, vec![]),
        file(&world, &[&two], 50, vec![]),
        file(&world, &[&one, &two], 100, vec![]),
        file(&world, &[&one], 60, hole(0..10)),
        file(&world, &[&one], 60, hole(1..11)),
        file(&world, &[&one], 60, vec![1..3, 5..13]),
        Body::Symlink(b"there".to_vec()),
        Body::Symlink(b"here".to_vec()),
        Body::CharDevice { major: 1, minor: 2 },
        Body::CharDevice { major: 2, minor: 1 },
        Body::BlockDevice { major: 1, minor: 2 },
        Body::Fifo,
        Body::Socket,
    ];
    let asked = links_of(&mut world, &bodies);
    let expected: Vec<_> = (0..bodies.len()).map(|number| format!("b{number:02}")).collect();
    assert_eq!(asked, expected);
}

#[test]
fn where_links_cannot_be_made_the_content_is_written_again() {
    let mut world = World::new();
    let chunks = [noise(1, 3000), noise(2, 4000)];
    world.pack(&[&chunks[0]]);
    world.pack(&[&chunks[1]]);
    for at in ["a", "b", "c"] {
        let file = world.list_file(at, &[&chunks[0], &chunks[1]], vec![3500..9000, 12_500..13_000]);
        file.link = Some(LinkGroup::from_bytes([1; 16]));
    }
    let root = world.done();
    let stored = chunks.concat();
    let whole = [&stored[..3500], &[0; 5500], &stored[3500..], &[0; 500]].concat();
    for links in [true, false] {
        let (shelf, told) = (Shelf { links, ..Shelf::default() }, Told::default());
        let report = world.restore_telling(&root, &shelf, &told).unwrap();
        assert_eq!((report.entries, report.problems_total), (3, 0), "{:?}", report.problems);
        let files = shelf.files();
        assert!(files.len() == 3 && files.values().all(|file| *file == whole), "{links}");
        assert_eq!(shelf.calls_of("link"), ["b", "c"]);
        assert_eq!(shelf.calls_of("create").len(), if links { 1 } else { 3 });
        assert_eq!(shelf.calls_of("prepare").len(), if links { 1 } else { 3 });
        let written = if links { 1 } else { 3 } * whole.len() as u64;
        assert_eq!(*told.done.lock().unwrap(), (3, written));
        shelf.most_open();
    }
}
