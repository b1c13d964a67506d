//! Declared items: what is stored for which section, and what is said of each.

use super::*;
use crate::files::{Declared, ItemReport, Layout, Reach, Rules};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Section::{self, Config, Data, Secrets};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

fn rules(patterns: &str) -> Rules {
    Rules { excludes: excludes(patterns), one_file_system: true, ..Rules::default() }
}

fn item(scratch: &Scratch, section: Section, below: &str, reach: Reach) -> Declared {
    let path = scratch.path(below);
    Declared { section, path, reach, optional: false, rules: Arc::new(rules("")) }
}

/// What a walk of one section found below the scratch directory, and what it says of its items.
fn seen(scratch: &Scratch, layout: &Layout, section: Section) -> (Vec<String>, Vec<ItemReport>) {
    let source = FilesSource::of_section(layout, section, options());
    let shown = walk(&source).into_iter().filter_map(|(path, seen)| {
        let below = path.strip_prefix(&scratch.1).ok().filter(|below| *below != Path::new(""))?;
        Some(match seen {
            Seen::Entry(_) => below.to_str().unwrap().to_owned(),
            Seen::Problem(outcome, _) => format!("{} {outcome:?}", below.display()),
        })
    });
    (shown.collect(), source.reports())
}

fn outcomes(reports: &[ItemReport]) -> Vec<(usize, Outcome)> {
    reports.iter().map(|report| (report.declared, report.outcome)).collect()
}

fn stored(scratch: &Scratch, below: &str) -> StoredPath {
    use std::os::unix::ffi::OsStrExt;
    StoredPath::from_slashes(scratch.path(below).as_os_str().as_bytes()).unwrap()
}

#[test]
fn each_item_has_its_own_reach() {
    let scratch = Scratch::new();
    for file in ["tree/a/b", "only/in", "one", "empty-file", "x/1.db", "x/2.db", "x/2.log", "x/d.db/in"] {
        scratch.file(file, if file == "empty-file" { b"" } else { b"x" });
    }
    fs::create_dir(scratch.path("empty")).unwrap();
    let declared = [
        ("tree", Reach::Tree),
        ("only", Reach::Entry),
        ("one", Reach::File),
        ("empty-file", Reach::File),
        ("empty", Reach::Tree),
        ("missing", Reach::Tree),
        ("x/*.db", Reach::Pattern),
        ("y/*.db", Reach::Pattern),
        ("only", Reach::File),
    ];
    let declared = declared.map(|(below, reach)| item(&scratch, Data, below, reach));
    let layout = Layout::new(Path::new("/"), declared.into()).unwrap();
    assert_eq!(layout.places(6), ["x/1.db", "x/2.db", "x/d.db"].map(|at| stored(&scratch, at)));
    let (found, reports) = seen(&scratch, &layout, Data);
    let expected = [
        "empty",
        "empty-file",
        "missing Absent",
        "one",
        "only",
        "tree",
        "tree/a",
        "tree/a/b",
        "x",
        "x/1.db",
        "x/2.db",
        "x/d.db",
        "x/d.db/in",
    ];
    assert_eq!(found, expected);
    let expected = [
        Outcome::Stored,
        Outcome::Stored,
        Outcome::Stored,
        Outcome::Empty,
        Outcome::Empty,
        Outcome::Absent,
        Outcome::Stored,
        Outcome::Absent,
        Outcome::Stored,
    ];
    assert_eq!(reports.iter().map(|report| report.outcome).collect::<Vec<_>>(), expected, "{reports:?}");
    assert_eq!((reports[0].entries, reports[6].entries), (3, 4));
    assert_eq!(seen(&scratch, &layout, Config), (vec![], vec![]));
}

#[test]
fn patterns_are_anchored_at_the_item_and_each_item_has_its_own() {
    let scratch = Scratch::new();
    for file in ["a/cache/x", "a/deep/cache/x", "a/k.log", "a/keep.log", "b/cache/x", "b/k.log", "b/big"] {
        scratch.file(file, b"some text");
    }
    let _socket = UnixListener::bind(scratch.path("b/socket")).unwrap();
    let mut declared = ["a", "b", "b/cache"].map(|below| item(&scratch, Data, below, Reach::Tree));
    declared[0].rules = Arc::new(rules("/cache/\n*.log\n!keep.log"));
    declared[1].rules = Arc::new(Rules { skip_special: true, larger_than_bytes: Some(8), ..rules("x") });
    declared[2].rules = Arc::new(rules("*"));
    let layout = Layout::new(Path::new("/"), declared.into()).unwrap();
    let (found, reports) = seen(&scratch, &layout, Data);
    assert_eq!(found, ["a", "a/deep", "a/deep/cache", "a/deep/cache/x", "a/keep.log", "b", "b/cache"]);
    assert_eq!(
        outcomes(&reports),
        [(0, Outcome::Stored), (1, Outcome::Stored), (2, Outcome::Excluded)],
        "what holds another item is not empty"
    );
    assert_eq!(reports.iter().map(|report| report.excluded).collect::<Vec<_>>(), [2, 3, 1]);
}

#[test]
fn the_deeper_declaration_has_the_file_across_sections() {
    let scratch = Scratch::new();
    for file in
        ["srv/a", "srv/keys/k", "srv/keys/public/p", "srv/x/1.pem", "srv/x/2", "srv/only/in", "etc/c.pem"]
    {
        scratch.file(file, b"x");
    }
    let declared = vec![
        item(&scratch, Data, "srv", Reach::Tree),
        item(&scratch, Secrets, "srv/keys", Reach::Tree),
        item(&scratch, Data, "srv/keys/public", Reach::Tree),
        item(&scratch, Secrets, "srv/*/*.pem", Reach::Pattern),
        item(&scratch, Config, "srv/only", Reach::Entry),
        item(&scratch, Config, "etc/*", Reach::Pattern),
        item(&scratch, Secrets, "etc/*.pem", Reach::Pattern),
        item(&scratch, Secrets, "srv/a/file-below-a-file", Reach::File),
    ];
    let layout = Layout::new(Path::new("/"), declared).unwrap();
    let (data, reports) = seen(&scratch, &layout, Data);
    let expected = [
        "srv",
        "srv/a",
        "srv/keys",
        "srv/keys/public",
        "srv/keys/public/p",
        "srv/only",
        "srv/only/in",
        "srv/x",
        "srv/x/2",
    ];
    assert_eq!(data, expected, "srv/x/1.pem lies in a tree of data, but a pattern says it is secret");
    assert_eq!(outcomes(&reports), [(0, Outcome::Stored), (2, Outcome::Stored)]);
    let (secrets, reports) = seen(&scratch, &layout, Secrets);
    let expected = [
        "etc",
        "etc/c.pem",
        "srv",
        "srv/a",
        "srv/a/file-below-a-file Unreadable",
        "srv/keys",
        "srv/keys/k",
        "srv/x",
        "srv/x/1.pem",
    ];
    assert_eq!(secrets, expected);
    assert_eq!(reports[3].outcome, Outcome::Unreadable);
    let (config, reports) = seen(&scratch, &layout, Config);
    assert_eq!(config, ["srv", "srv/only"]);
    assert_eq!(outcomes(&reports), [(4, Outcome::Stored), (5, Outcome::Excluded)]);
    assert!(reports[1].message.contains("belong to another section"), "{reports:?}");

    for (below, section) in
        [("srv/keys/k", Secrets), ("srv/keys/public/p", Data), ("srv/only/in", Data), ("srv/only", Config)]
    {
        assert_eq!(layout.section_of(&stored(&scratch, below)), Some(section), "{below}");
    }
    // Told, and not counted as left out.
    let told = Arc::new(Mutex::new(Vec::new()));
    let record = told.clone();
    let options = FilesOptions {
        on_elsewhere: Some(Arc::new(move |path, section| {
            record.lock().unwrap().push((path.clone(), section))
        })),
        ..options()
    };
    let source = FilesSource::of_section(&layout, Data, options);
    walk(&source);
    assert_eq!(source.excluded(), 0);
    let expected = [("srv/keys", Secrets), ("srv/x/1.pem", Secrets)];
    assert_eq!(*told.lock().unwrap(), expected.map(|(below, section)| (stored(&scratch, below), section)));
}

#[test]
fn links_on_the_way_are_stored_with_what_they_lead_to() {
    let scratch = Scratch::new();
    scratch.file("real/lib/app/f", b"x");
    scratch.file("other/g", b"x");
    symlink("real/lib", scratch.path("lib")).unwrap();
    symlink(scratch.path("other"), scratch.path("real/lib/tree")).unwrap();
    symlink("nowhere", scratch.path("dangling")).unwrap();
    let declared = ["lib/app", "lib/tree", "dangling"].map(|below| item(&scratch, Data, below, Reach::Tree));
    let layout = Layout::new(Path::new("/"), declared.into()).unwrap();
    let (found, reports) = seen(&scratch, &layout, Data);
    let expected = [
        "dangling",
        "lib",
        "other",
        "other/g",
        "real",
        "real/lib",
        "real/lib/app",
        "real/lib/app/f",
        "real/lib/tree",
    ];
    assert_eq!(found, expected);
    assert_eq!(outcomes(&reports), [(0, Outcome::Stored), (1, Outcome::Stored), (2, Outcome::Failed)]);
    assert_eq!(layout.places(1), [stored(&scratch, "other")]);
}

#[test]
fn links_are_followed_where_that_was_asked_for_and_never_in_a_circle() {
    let scratch = Scratch::new();
    for file in ["out/f", "out/deep/g", "tree/own"] {
        scratch.file(file, b"content");
    }
    symlink("../out", scratch.path("tree/link")).unwrap();
    symlink("nowhere", scratch.path("tree/dangling")).unwrap();
    symlink("..", scratch.path("tree/up")).unwrap();
    symlink("../tree", scratch.path("out/back")).unwrap();
    symlink(scratch.path("out/f"), scratch.path("tree/file")).unwrap();
    symlink("tree", scratch.path("root")).unwrap();
    let mut declared = item(&scratch, Data, "root", Reach::Tree);
    declared.rules = Arc::new(Rules { follow_links: true, ..rules("") });
    let layout = Layout::new(Path::new("/"), vec![declared]).unwrap();
    let source = FilesSource::of_section(&layout, Data, options());
    let mut found = Vec::new();
    let mut visit = |at: Found<FileHandle>| {
        let Found::Entry { path, stat, handle } = at else { panic!("{at:?}") };
        if let Some(below) = path.below(&stored(&scratch, "")) {
            let mut text = String::from_utf8(below.to_slashes()).unwrap();
            text += match stat.kind {
                dedup_engine::backup::source::EntryKind::File => {
                    let mut bytes = [0; 20];
                    let read = source.open(&handle).unwrap().read_at(&mut bytes, 0).unwrap();
                    assert_eq!(&bytes[..read], b"content");
                    source.details(&handle, &stat).unwrap();
                    " file"
                }
                dedup_engine::backup::source::EntryKind::Symlink => " link",
                _ => "",
            };
            found.push(text);
        }
        Ok(())
    };
    source.walk(&mut visit).unwrap();
    let expected = [
        "",
        "root",
        "root/dangling link",
        "root/file file",
        "root/link",
        "root/link/back link",
        "root/link/deep",
        "root/link/deep/g file",
        "root/link/f file",
        "root/own file",
        "root/up link",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_optional_items_lack_is_not_told() {
    let scratch = Scratch::new();
    let mut gone = item(&scratch, Data, "gone", Reach::Tree);
    gone.optional = true;
    let closed = scratch.path("closed");
    fs::create_dir(&closed).unwrap();
    scratch.file("secret", b"x");
    for path in [&closed, &scratch.path("secret")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    }
    fs::set_permissions(&scratch.1, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let declared =
        vec![gone, item(&scratch, Data, "closed", Reach::Tree), item(&scratch, Data, "secret", Reach::File)];
    let layout = Layout::new(Path::new("/"), declared).unwrap();
    let (found, reports) = super::without_privilege(move || {
        let source = FilesSource::of_section(&layout, Data, options());
        let mut visit = |at: Found<FileHandle>| {
            if let Found::Entry { stat, handle, .. } = at
                && stat.kind == dedup_engine::backup::source::EntryKind::File
            {
                assert!(source.open(&handle).is_err());
            }
            Ok(())
        };
        source.walk(&mut visit).unwrap();
        let reports = source.reports();
        (seen(&scratch, &layout, Data).0, reports)
    });
    assert_eq!(found, ["closed", "closed Unreadable", "secret"]);
    let expected = [(0, Outcome::Absent), (1, Outcome::Unreadable), (2, Outcome::Unreadable)];
    assert_eq!(outcomes(&reports), expected);
}

#[test]
fn a_base_directory_stands_for_the_root() {
    let scratch = Scratch::new();
    for file in ["base/srv/app/f", "base/srv/app/repo/pack", "base/etc/x.conf", "outside/secret"] {
        scratch.file(file, b"x");
    }
    symlink("/srv/app/f", scratch.path("base/srv/app/absolute")).unwrap();
    symlink("../../../../../../../../outside", scratch.path("base/srv/app/up")).unwrap();
    symlink("/srv", scratch.path("base/mnt")).unwrap();
    let at = |path: &str, reach, follow_links| Declared {
        section: Data,
        path: path.into(),
        reach,
        optional: false,
        rules: Arc::new(Rules { follow_links, ..rules("") }),
    };
    let declared = vec![
        at("/srv/app", Reach::Tree, true),
        at("/etc/*.conf", Reach::Pattern, false),
        at("/mnt/app/f", Reach::File, false),
    ];
    let layout = Layout::new(&scratch.path("base"), declared).unwrap();
    let source = FilesSource::of_section(&layout, Data, options());
    let found: Vec<_> = walk(&source).into_iter().map(|(path, _)| path.display().to_string()).collect();
    let expected = [
        "/",
        "/etc",
        "/etc/x.conf",
        "/mnt",
        "/srv",
        "/srv/app",
        "/srv/app/absolute",
        "/srv/app/f",
        "/srv/app/repo",
        "/srv/app/repo/pack",
        "/srv/app/up",
    ];
    assert_eq!(found, expected);
    let plain = FilesOptions { base: scratch.path("base"), ..options() };
    let source = FilesSource::new(&["/etc".into()], plain).unwrap();
    assert_eq!(
        walk(&source).iter().map(|(path, _)| path.to_str().unwrap()).collect::<Vec<_>>(),
        ["/", "/etc", "/etc/x.conf"]
    );
}

#[test]
fn patterns_match_names_and_cross_slashes_only_by_two_stars() {
    let scratch = Scratch::new();
    for file in ["a/x.db", "a/b/x.db", "a/b/c/x.db", "a/b/y.txt", "z.db", "a/.hidden.db", "a/[odd].db"] {
        scratch.file(file, b"");
    }
    symlink("a", scratch.path("link")).unwrap();
    for (pattern, expected) in [
        ("*.db", vec!["z.db"]),
        ("a/*.db", vec!["a/.hidden.db", "a/[odd].db", "a/x.db"]),
        ("a/**/x.db", vec!["a/b/c/x.db", "a/b/x.db", "a/x.db"]),
        ("*/x.db", vec!["a/x.db"]),
        ("a/b/{x.db,y.*}", vec!["a/b/x.db", "a/b/y.txt"]),
        ("a/\\[odd\\].db", vec!["a/[odd].db"]),
        ("a/?/?", vec!["a/b/c"]),
        ("a/b/x.db", vec!["a/b/x.db"]),
        ("none/*", vec![]),
    ] {
        let layout =
            Layout::new(Path::new("/"), vec![item(&scratch, Data, pattern, Reach::Pattern)]).unwrap();
        assert_eq!(
            layout.places(0),
            expected.iter().map(|at| stored(&scratch, at)).collect::<Vec<_>>(),
            "{pattern}"
        );
    }
}
