//! What somebody else put into the target before, where something of the archive belongs.

use super::cases::Case;
use super::forged::{Entry, What, dir, entry, file, link};
use super::hall::{Ground, NOBODY};
use crate::support::mount::Mount;
use rustix::fs::{CWD, FileType, IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, mknodat, open};
use std::any::Any;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

type Planter = fn(&Ground, &Path) -> Option<Box<dyn Any>>;

/// Ways to stand in the way at `target/d/p`; whether only root can set them up; whether a canary is linked.
const PLANTED: [(&str, Planter, bool, bool); 17] = [
    ("a link to a directory outside", |ground, at| link_to(&ground.canary.join("mine"), at), false, false),
    ("a link to a file outside", |ground, at| link_to(&ground.canary.join("mine/file"), at), false, false),
    ("a relative link outside", |_, at| link_to(Path::new("../../canary/mine/sub"), at), false, false),
    ("a link to nothing", |ground, at| link_to(&ground.canary.join("mine/new"), at), false, false),
    ("a link to itself", |_, at| link_to(Path::new("p"), at), false, false),
    ("a link within the target", |_, at| link_to(Path::new("."), at), false, false),
    ("a name of a file outside", |ground, at| hard_link(&ground.canary.join("mine/file"), at), false, true),
    ("a pipe", |_, at| node(at, FileType::Fifo, 0), false, false),
    ("a socket", |_, at| node(at, FileType::Socket, 0), false, false),
    ("a device", |_, at| node(at, FileType::CharacterDevice, rustix::fs::makedev(1, 3)), true, false),
    ("a longer file", |_, at| put(at, b"much longer than before", 0o600), false, false),
    ("a file that nobody may read", |_, at| put(at, b"content", 0o000), false, false),
    ("the same file, setuid", |_, at| put(at, b"content", 0o6755), false, false),
    ("an empty directory", |_, at| directory(at, false), false, false),
    ("a directory with a link in it", |_, at| directory(at, true), false, false),
    ("an immutable file", |_, at| immutable(at), true, false),
    ("a mounted file system", |_, at| mounted(at), true, false),
];

/// What belongs there: one entry of every kind, and what is below it.
fn wanted(user: bool) -> Vec<(&'static str, Vec<Entry>)> {
    let owner = if user { NOBODY } else { 0 };
    let mut kinds = vec![
        ("a socket", vec![entry("d/p", What::Socket)]),
        ("a file", vec![file("d/p", b"content")]),
        ("an empty file", vec![file("d/p", b"")]),
        ("a directory", vec![dir("d/p"), dir("d/p/sub"), file("d/p/file", b"x"), file("d/p/sub/file", b"y")]),
        ("a link", vec![link("d/p", "/nowhere").owner(owner, owner)]),
        ("a pipe", vec![entry("d/p", What::Fifo)]),
        ("a hard link", vec![file("d/a", b"content").group(1), file("d/p", b"content").group(1)]),
        ("a first name", vec![file("d/p", b"content").group(1), file("d/q", b"content").group(1)]),
    ];
    for (_, entries) in &mut kinds {
        entries.insert(0, dir("d"));
        entries.iter_mut().for_each(|entry| entry.owner = (owner, owner));
    }
    kinds
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for user in [false, true] {
        for (kind, entries) in wanted(user) {
            for (what, plant, only_root, is_linked) in PLANTED {
                if user && only_root {
                    continue;
                }
                let mut case = Case::new(format!("{what} where {kind} belongs"), entries.clone());
                case = case.planted(move |ground| {
                    let place = ground.target.join("d/p");
                    fs::create_dir(ground.target.join("d")).unwrap();
                    let guard = plant(ground, &place);
                    if ground.user {
                        chown(ground.target.join("d"), Some(NOBODY), Some(NOBODY)).unwrap();
                        std::os::unix::fs::lchown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
                    }
                    guard
                });
                case = if is_linked { case.linked() } else { case };
                cases.push(if user { case.by_a_user() } else { case });
            }
        }
    }
    cases.extend(targets());
    cases
}

/// The target itself is not what it seems.
fn targets() -> Vec<Case> {
    let tree = || vec![dir("d"), file("d/file", b"content")];
    let case = |name: &str, plant: fn(&Ground)| {
        Case::new(name, tree()).planted(move |ground| {
            fs::remove_dir(&ground.target).unwrap();
            plant(ground);
        })
    };
    let refused = |case: Case| case.unjudged();
    vec![
        case("no target", |_| {}).ends(0),
        refused(case("a target that is a file", |ground| fs::write(&ground.target, b"x").unwrap()).ends(1)),
        refused(
            case("a target that is a pipe", |ground| drop(node(&ground.target, FileType::Fifo, 0))).ends(1),
        ),
        refused(
            case("a target that is a dangling link", |ground| symlink("gone/x", &ground.target).unwrap())
                .ends(1),
        ),
        case("leftovers of an interrupted restore", |ground| {
            fs::create_dir_all(ground.target.join("d")).unwrap();
            symlink("../canary/mine/file", ground.target.join(".dedup-0123456789abcdef.tmp")).unwrap();
            symlink("../../canary/mine", ground.target.join("d/.dedup-0123456789abcdef.tmp")).unwrap();
        })
        .ends(0),
    ]
}

fn link_to(to: &Path, at: &Path) -> Option<Box<dyn Any>> {
    symlink(to, at).unwrap();
    None
}

fn hard_link(of: &Path, at: &Path) -> Option<Box<dyn Any>> {
    fs::hard_link(of, at).unwrap();
    None
}

fn node(at: &Path, kind: FileType, device: u64) -> Option<Box<dyn Any>> {
    mknodat(CWD, at, kind, Mode::from_raw_mode(0o666), device).unwrap();
    None
}

fn put(at: &Path, bytes: &[u8], mode: u32) -> Option<Box<dyn Any>> {
    fs::write(at, bytes).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    None
}

fn directory(at: &Path, with_link: bool) -> Option<Box<dyn Any>> {
    fs::create_dir(at).unwrap();
    if with_link {
        symlink("../../../canary/mine/sub", at.join("sub")).unwrap();
        symlink("../../../canary/mine/file", at.join("file")).unwrap();
    }
    None
}

/// A file that not even root may replace, until this goes.
struct Immutable(PathBuf);

fn immutable(at: &Path) -> Option<Box<dyn Any>> {
    fs::write(at, b"nobody changes this").unwrap();
    set_flag(at, true);
    Some(Box::new(Immutable(at.to_owned())))
}

fn set_flag(at: &Path, is: bool) {
    let file = open(at, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut flags = ioctl_getflags(&file).unwrap();
    flags.set(IFlags::IMMUTABLE, is);
    ioctl_setflags(&file, flags).unwrap();
}

impl Drop for Immutable {
    fn drop(&mut self) {
        set_flag(&self.0, false);
    }
}

fn mounted(at: &Path) -> Option<Box<dyn Any>> {
    Some(Box::new(Mount::tmpfs(at, "size=1m").expect("planted as root only")))
}
