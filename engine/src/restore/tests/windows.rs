//! Windows: what is fetched, held and opened at once is bounded, however much is restored.

use super::*;
use std::sync::atomic::AtomicU64;

/// Counts how often it is asked whether to stop: for each entry, and for each block before it is fetched.
#[derive(Default)]
struct Asked(AtomicU64);

impl Events for Asked {
    fn event(&self, _: Event) {}

    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        false
    }
}

/// Restores everything out of few blocks; returns what came of it, and how many blocks were fetched.
fn restored(world: &World, root: &Root, shelf: &Shelf, threads: usize) -> (RestoreReport, u64) {
    let asked = Asked::default();
    let request = RestoreRequest { base: StoredPath::root(), select: &|_, _| true, threads };
    let report = run(&world.repo, root, shelf, &request, &asked).unwrap();
    assert_eq!((report.problems_total, report.damaged), (0, 0), "{:?}", report.problems);
    let fetched = asked.0.into_inner() - report.entries;
    (report, fetched)
}

#[test]
fn a_file_of_very_many_chunks_goes_through_window_after_window() {
    let pieces = plan::WINDOW_PIECES;
    let mut world = World::new();
    let [chunk, other] = [b"ab", b"xy"];
    world.pack(&[chunk, other]);
    let mut content = ContentBuilder::new(&world);
    for number in 0..2 * pieces + 3 {
        content.push(world.name(if number % 7 == 0 { other } else { chunk }), 2).unwrap();
    }
    let content = content.finish().unwrap();
    let size = content.len();
    world.list("large", node(Body::File { size, holes: vec![], content }));
    world.list_file("small", &[chunk, other], vec![]);
    let root = world.done();
    let whole: Vec<u8> =
        (0..2 * pieces + 3).flat_map(|number| if number % 7 == 0 { *other } else { *chunk }).collect();

    let shelf = Shelf::default();
    let (report, fetched) = restored(&world, &root, &shelf, 2);
    let files = shelf.files();
    assert!(files.len() == 2 && files["large"] == whole && files["small"] == b"abxy");
    assert_eq!((report.bytes_written, report.unchanged), (size + 4, 0));
    assert_eq!(fetched, 3, "the block once for each window");
    assert_eq!(shelf.calls_of("create"), ["large", "small"]);

    // One that is right is compared once, and nothing is fetched for it.
    let shelf = Shelf::with("large", &whole);
    let (report, fetched) = restored(&world, &root, &shelf, 2);
    assert_eq!((report.unchanged, report.bytes_written, fetched), (1, 4, 1));
    assert_eq!(shelf.calls_of("create"), ["small"]);

    // One that fails goes on failing, and is told of once.
    let shelf = Shelf::failing("create", "large", std::io::ErrorKind::PermissionDenied);
    let report = world.restore(&root, &shelf).unwrap();
    assert_eq!((report.problems_total, shelf.files().len()), (1, 1));
    assert_eq!(shelf.calls_of("create"), ["large", "small"]);
}

#[test]
fn many_entries_and_many_bytes_of_attributes_are_several_windows() {
    // 1,024 entries are a window: directories that are left, further names and files.
    let mut world = World::new();
    world.pack(&[b"text"]);
    let group = Some(LinkGroup::from_bytes([1; 16]));
    for number in 0..1024 {
        let at = format!("{number:04}");
        world.list_directories(&[&at]);
        world.list_file(&format!("{at}/a"), &[b"text"], vec![]);
        world.list_file(&format!("{at}/b"), &[b"text"], vec![]).link = group;
    }
    let root = world.done();
    let shelf = Shelf::default();
    let (report, fetched) = restored(&world, &root, &shelf, 2);
    assert_eq!((report.files, fetched), (2048, 3), "a third of each window needs the block");
    assert_eq!((shelf.files().len(), shelf.calls_of("leave").len()), (2048, 1024));

    // 4 MiB of attributes are a window, of files and of directories.
    for is_directory in [false, true] {
        let mut world = World::new();
        world.pack(&[b"text"]);
        let xattrs = world.xattrs(&[("user.a", 1 << 20)]);
        for number in 0..12 {
            let at = format!("{number:02}");
            if is_directory {
                world.list(&at, node(Body::Directory)).xattrs = xattrs.clone();
                world.list_file(&format!("{at}/a"), &[b"text"], vec![]);
            } else {
                world.list_file(&at, &[b"text"], vec![]).xattrs = xattrs.clone();
            }
        }
        let root = world.done();
        let (report, fetched) = restored(&world, &root, &Shelf::default(), 2);
        assert_eq!((report.files, fetched), (12, 3), "directories: {is_directory}");
    }
}

#[test]
fn no_more_files_are_open_at_once_than_a_window_may_have() {
    let mut world = World::new();
    world.pack(&[b"first"]);
    world.pack(&[b"second"]);
    for number in 0..600 {
        // Files of one chunk are done at once.
        world.list_file(&format!("{number:03}"), &[b"first", b"second"], vec![]);
        world.list_file(&format!("{number:03} short"), &[b"second"], vec![]);
    }
    let root = world.done();
    let shelf = Shelf::default();
    let (report, fetched) = restored(&world, &root, &shelf, 1);
    assert_eq!((report.files, shelf.files().len(), fetched), (1200, 1200, 6));
    let most = shelf.most_open();
    assert!((256..=257).contains(&most), "{most} files were open");
}

#[test]
fn once_the_target_is_full_nothing_more_is_begun() {
    let mut world = World::new();
    world.pack(&[b"text"]);
    for number in 0..7000 {
        world.list_file(&format!("{number:04}"), &[b"text"], vec![]);
    }
    let root = world.done();
    let shelf = Shelf::failing("create", "0000", std::io::ErrorKind::StorageFull);
    let error = world.restore(&root, &shelf).unwrap_err();
    assert!(matches!(error, RestoreError::TargetFull(_)), "{error}");
    // One window is executed, one waits, one is handed over, one is being filled.
    let begun = shelf.calls_of("prepare").len();
    assert!((1024..=4 * 1024).contains(&begun), "{begun} entries were begun");
}
