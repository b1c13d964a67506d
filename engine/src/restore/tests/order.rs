//! Directories are left after all that is in them, the innermost first.

use super::*;

#[test]
fn directories_are_left_innermost_first_and_after_their_contents() {
    let mut world = World::new();
    world.pack(&[b"text"]);
    world.list_directories(&["", "a", "a/b", "a/b/c", "a/d", "a\x01", "ab", "ab/a", "b"]);
    let files = ["a/b/c/x", "a/b/y", "a/z", "ab/a/x", "z"];
    for at in files {
        world.list_file(at, &[b"text"], vec![]);
    }
    let root = world.done();
    let (shelf, told) = (Shelf::default(), Told::default());
    world.restore_telling(&root, &shelf, &told).unwrap();
    let left = shelf.calls_of("leave");
    assert_eq!(left, ["a/b/c", "a/b", "a/d", "a", "a\x01", "ab/a", "ab", "b", ""]);
    assert_eq!(told.done.lock().unwrap().0, 14);
    let calls = shelf.calls();
    let at = |call: String| calls.iter().position(|other| *other == call).unwrap();
    for file in files {
        let parent = file.rsplit_once('/').map_or("", |(parent, _)| parent);
        assert!(at(format!("finish {file}")) < at(format!("leave {parent}")), "{calls:?}");
    }
}

#[test]
fn attributes_of_every_kind_of_entry_are_handed_out_and_what_is_lost_of_them_is_told() {
    let mut world = World::new();
    world.pack(&[b"text"]);
    world.list_directories(&["", "a"]);
    let xattrs = world.xattrs(&[("user.a", 200), ("user.b", 3)]);
    world.list_file("a/x", &[b"text"], vec![]).xattrs = xattrs.clone();
    world.list("a/y", node(Body::Fifo)).xattrs = xattrs.clone();
    world.list("b", node(Body::Directory)).xattrs = xattrs;
    let lost = Xattrs::Chunk { len: 300, id: world.name(b"never stored") };
    world.list("c", node(Body::Directory)).xattrs = lost.clone();
    world.list_file("d", &[b"text"], vec![]).xattrs = lost;
    let root = world.done();
    let shelf = Shelf::default();
    let report = world.restore(&root, &shelf).unwrap();
    let expected = |at: &str| (at.to_owned(), vec![200, 3]);
    assert_eq!(shelf.attributes(), [expected("a/x"), expected("a/y"), expected("b")].into());
    assert_eq!((report.problems_total, report.damaged), (2, 2));
    let told: Vec<_> = report.problems.iter().map(|problem| problem.path.to_slashes()).collect();
    assert_eq!(told, [b"c", b"d"]);
    assert!(report.problems.iter().all(|problem| problem.message.contains("attributes")));
    assert_eq!((shelf.files().len(), shelf.calls_of("leave").len()), (2, 4), "restored all the same");
}
