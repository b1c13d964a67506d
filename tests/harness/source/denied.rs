//! What an ordinary user may not read of a tree is told, entry by entry, and ends with status 3.

use crate::harness::hostile::hall::{Hall, NOBODY, XATTR, finish};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// Makes a file or directory of `nobody`.
fn make(path: &Path, is_dir: bool) {
    if is_dir {
        fs::create_dir_all(path).unwrap();
    } else {
        fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
    }
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Once, a directory of which neither names nor attributes could be read ended the whole backup: two problems
/// of one entry had one place in the map of problems.
#[test]
fn what_may_not_be_read_is_told_and_the_rest_is_stored() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root, to be an ordinary user");
        return;
    }
    let hall = Hall::new();
    hall.give_away();
    let root = hall.dir("tree");
    make(&root, true);
    for name in ["open", "closed", "listed only", "marked"] {
        make(&root.join(name), true);
        make(&root.join(name).join("file"), false);
    }
    make(&root.join("secret"), false);
    make(&root.join("open/secret too"), false);
    rustix::fs::lsetxattr(root.join("marked"), "user.mark", b"x", XATTR).unwrap();
    for (path, mode) in
        [("secret", 0), ("open/secret too", 0o200), ("closed", 0), ("listed only", 0o444), ("marked", 0)]
    {
        set_mode(&root.join(path), mode);
    }
    let outcome =
        finish(hall.program(NOBODY, &["backup", "--json", root.to_str().unwrap()]).spawn().unwrap());
    assert_eq!(outcome.code, 3, "{}", outcome.err);
    let told = |path: &str| {
        let path = root.join(path);
        outcome.told.contains(path.to_str().unwrap().trim_start_matches('/'))
    };
    for path in ["secret", "open/secret too", "closed", "listed only/file", "marked"] {
        assert!(told(path), "{path} is not told: {:?}", outcome.told);
    }
    assert!(outcome.messages.iter().any(|message| message.contains("attributes") && message.contains("; ")));
    assert!(!told("open/file") && !told("open"), "a false alarm: {:?}", outcome.told);

    // And it is there: everything that could be read, and the rights of what could not.
    let target = hall.dir("target");
    let restore = ["restore", "latest-any", "--target", target.to_str().unwrap()];
    assert_eq!(finish(hall.program(0, &restore).spawn().unwrap()).code, 0);
    let below = target.join(root.strip_prefix("/").unwrap());
    assert_eq!(
        fs::read(below.join("open/file")).unwrap(),
        root.join("open/file").as_os_str().as_encoded_bytes()
    );
    assert_eq!(fs::metadata(below.join("closed")).unwrap().permissions().mode() & 0o777, 0);
    assert!(!below.join("secret").exists());
}
