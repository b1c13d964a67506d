//! A tree with everything that a file system can hold, as far as this one can.

use crate::support::random::Random;
use crate::support::trees::{set_mtime, write};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

/// What was set, and what the file system refused.
#[derive(Default)]
pub struct Built {
    pub set: u64,
    pub refused: Vec<String>,
}

impl Built {
    /// Counts what was tried.
    fn tried<E: std::fmt::Display>(&mut self, what: &str, result: Result<(), E>) {
        match result {
            Ok(()) => self.set += 1,
            Err(error) => self.refused.push(format!("{what}: {error}")),
        }
    }
}

const CAPABILITY: &str = "security.capability";

/// Builds the tree in an empty directory.
pub fn build(root: &Path, seed: u64) -> Built {
    let (mut built, random) = (Built::default(), &mut Random::new(seed));
    let built = &mut built;
    for part in ["kinds", "modes", "owners", "times", "names", "links", "attributes", "rights", "holes"] {
        fs::create_dir(root.join(part)).unwrap();
    }
    kinds(&root.join("kinds"), built);
    modes(&root.join("modes"), built);
    owners(&root.join("owners"), built);
    times(&root.join("times"), built);
    names(&root.join("names"), random, built);
    links(&root.join("links"), built);
    attributes(&root.join("attributes"), random, built);
    rights(&root.join("rights"), built);
    holes(&root.join("holes"), random, built);
    std::mem::take(built)
}

fn node(at: &Path, kind: FileType, device: u64) -> rustix::io::Result<()> {
    mknodat(CWD, at, kind, Mode::from_raw_mode(0o640), device)
}

fn kinds(at: &Path, built: &mut Built) {
    fs::create_dir_all(at.join("directory/empty")).unwrap();
    fs::write(at.join("file"), b"content").unwrap();
    fs::write(at.join("empty"), b"").unwrap();
    symlink("file", at.join("link")).unwrap();
    built.set += 4;
    built.tried("pipe", node(&at.join("pipe"), FileType::Fifo, 0));
    built.tried("socket", node(&at.join("socket"), FileType::Socket, 0));
    for (name, kind, major, minor) in [
        ("null", FileType::CharacterDevice, 1, 3),
        ("whiteout", FileType::CharacterDevice, 0, 0),
        ("largest", FileType::CharacterDevice, 4095, (1 << 20) - 1),
        ("disk", FileType::BlockDevice, 259, 70_000),
    ] {
        built.tried(name, node(&at.join(name), kind, makedev(major, minor)));
    }
}

fn modes(at: &Path, built: &mut Built) {
    for bit in 0..12 {
        for mode in [1 << bit, 0o7777 ^ (1 << bit)] {
            let (file, dir) = (at.join(format!("f{mode:04o}")), at.join(format!("d{mode:04o}")));
            fs::write(&file, b"x").unwrap();
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("below"), b"x").unwrap();
            for path in [file, dir] {
                built.tried("mode", fs::set_permissions(path, fs::Permissions::from_mode(mode)));
            }
        }
    }
}

fn owners(at: &Path, built: &mut Built) {
    for (number, id) in [0, 1, 1234, 65_534, 65_536, 1 << 31, u32::MAX - 1].into_iter().enumerate() {
        for kind in ["file", "dir", "link", "pipe"] {
            let path = at.join(format!("{kind}{number}"));
            match kind {
                "file" => fs::write(&path, b"x").unwrap(),
                "dir" => fs::create_dir(&path).unwrap(),
                "link" => symlink("x", &path).unwrap(),
                _ => node(&path, FileType::Fifo, 0).unwrap(),
            }
            built.tried("owner", lchown(&path, Some(id), Some(id ^ 1)));
        }
        let path = at.join(format!("setuid{number}"));
        fs::write(&path, b"x").unwrap();
        lchown(&path, Some(id), Some(id ^ 1)).unwrap();
        built.tried("setuid", fs::set_permissions(&path, fs::Permissions::from_mode(0o6751)));
    }
}

fn times(at: &Path, built: &mut Built) {
    let secs = [
        0,
        1,
        -1,
        -86_400,
        -(1 << 31),
        (1 << 31) - 1,
        1 << 31,
        1 << 32,
        15_032_385_535,
        16_299_260_424,
        1 << 40,
    ];
    for (number, secs) in secs.into_iter().enumerate() {
        for (kind, nanos) in [("file", 1), ("dir", 999_999_999), ("link", 123_456_789), ("pipe", 0)] {
            let path = at.join(format!("{kind}{number:02}"));
            match kind {
                "file" => fs::write(&path, b"x").unwrap(),
                "dir" => fs::create_dir(&path).unwrap(),
                "link" => symlink("x", &path).unwrap(),
                _ => node(&path, FileType::Fifo, 0).unwrap(),
            }
            set_mtime(&path, secs, nanos);
            built.set += 1;
        }
    }
}

fn names(at: &Path, random: &mut Random, built: &mut Built) {
    let longest = vec![b'n'; 255];
    let odd: [&[u8]; 16] = [
        &longest,
        b"\xff\xfe not UTF-8",
        b"new\nline",
        b"\x1b[31mred",
        b"-rf",
        b" leading and trailing ",
        b"...",
        b"~",
        b"*?[a]",
        b"\\back\\slash",
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        b"case",
        b"CASE",
        b"con.txt:stream",
        b".dedup-0123456789abcdef.tm",
    ];
    for name in odd {
        built.tried("name", fs::write(at.join(OsStr::from_bytes(name)), random.bytes(10)));
    }
    let all: Vec<u8> = (1..=255u8).filter(|byte| *byte != b'/').collect();
    built.tried("name of every byte", fs::create_dir(at.join(OsStr::from_bytes(&all[..254]))));
}

fn links(at: &Path, built: &mut Built) {
    fs::create_dir(at.join("below")).unwrap();
    write(&at.join("one"), b"linked", 77);
    built.tried("second name", fs::hard_link(at.join("one"), at.join("two")));
    built.tried("third name", fs::hard_link(at.join("one"), at.join("below/three")));
    symlink("to/nowhere", at.join("soft")).unwrap();
    built.tried("second name of a link", fs::hard_link(at.join("soft"), at.join("soft too")));
    node(&at.join("pipe"), FileType::Fifo, 0).unwrap();
    built.tried("second name of a pipe", fs::hard_link(at.join("pipe"), at.join("below/pipe too")));
    node(&at.join("null"), FileType::CharacterDevice, makedev(1, 3)).unwrap();
    built.tried("second name of a device", fs::hard_link(at.join("null"), at.join("null too")));
    for target in [&b"."[..], b"/", b"../../..", b"to/\xff\nnowhere", b" ", b"one"] {
        let name = format!("to {}", target.escape_ascii().to_string().replace('/', "|"));
        built.tried("link", symlink(OsStr::from_bytes(target), at.join(name)));
    }
    // The longest that this file system takes.
    let longest = (1..=4095).rev().find(|len| symlink("x".repeat(*len), at.join("longest")).is_ok());
    built.tried("longest link", longest.map(drop).ok_or("none"));
}

fn set(at: &Path, name: &str, value: &[u8], built: &mut Built) {
    built.tried(name, lsetxattr(at, name, value, XattrFlags::empty()));
}

fn attributes(at: &Path, random: &mut Random, built: &mut Built) {
    fs::write(at.join("file"), b"x").unwrap();
    fs::create_dir(at.join("dir")).unwrap();
    symlink("x", at.join("link")).unwrap();
    node(&at.join("pipe"), FileType::Fifo, 0).unwrap();
    for name in ["file", "dir"] {
        for (attribute, value) in [
            ("user.small", &b"v"[..]),
            ("user.empty", b""),
            ("user.odd \x7f=\u{e9}", b"\0\xff\n"),
            ("trusted.t", b"t"),
        ] {
            set(&at.join(name), attribute, value, built);
        }
        set(&at.join(name), "security.test", b"s", built);
    }
    for name in ["link", "pipe"] {
        set(&at.join(name), "trusted.t", b"t", built);
        set(&at.join(name), "security.test", b"s", built);
    }
    fs::write(at.join("longest name"), b"x").unwrap();
    set(&at.join("longest name"), &format!("user.{}", "n".repeat(250)), b"v", built);
    fs::write(at.join("many"), b"x").unwrap();
    for number in 0..30 {
        set(&at.join("many"), &format!("user.{number}"), &[number; 20], built);
    }
    fs::write(at.join("large"), b"x").unwrap();
    // The largest of these that this file system takes.
    let fits = [65_536, 16_000, 3800, 1000].into_iter().find(|len| {
        lsetxattr(at.join("large"), "user.large", &random.bytes(*len), XattrFlags::empty()).is_ok()
    });
    built.tried("large value", fits.map(drop).ok_or("none"));
}

fn rights(at: &Path, built: &mut Built) {
    let setfacl = |arguments: &[&str], name: &str| -> Result<(), String> {
        let output = Command::new("setfacl").args(arguments).arg(at.join(name)).output();
        let output = output.map_err(|error| error.to_string())?;
        let refused = || String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or_else(refused)
    };
    for name in ["listed", "capable", "masked", "rooted"] {
        fs::write(at.join(name), b"x").unwrap();
    }
    for name in ["inheriting", "both"] {
        fs::create_dir(at.join(name)).unwrap();
    }
    built.tried("access list", setfacl(&["-m", "u:1234:rw,g:77:r,u:4294967294:x"], "listed"));
    built.tried("mask", setfacl(&["-m", "u:1234:rwx,m::r"], "masked"));
    built.tried("default list", setfacl(&["-d", "-m", "u:1234:rwx,g:5:-"], "inheriting"));
    built.tried("both lists", setfacl(&["-m", "u:9:r,d:u:9:rw"], "both"));
    fs::write(at.join("inheriting/got it"), b"x").unwrap();
    fs::create_dir(at.join("inheriting/got it too")).unwrap();
    fs::write(at.join("inheriting/lost it"), b"x").unwrap();
    built.tried("no list below a default one", setfacl(&["-b"], "inheriting/lost it"));
    // Versions 2 and 3 of `linux/capability.h`: cap_net_raw; the latter for the root of a user namespace.
    let v2 = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let v3 = [&[1, 0, 0, 3][..], &v2[4..], &100_000u32.to_le_bytes()].concat();
    lchown(at.join("capable"), Some(12), Some(34)).unwrap();
    set(&at.join("capable"), CAPABILITY, &v2, built);
    set(&at.join("rooted"), CAPABILITY, &v3, built);
}

fn holes(at: &Path, random: &mut Random, built: &mut Built) {
    let file = |name: &str, len: u64, data: &[(u64, usize)], random: &mut Random| {
        let file = File::create(at.join(name)).unwrap();
        for (offset, len) in data {
            file.write_all_at(&random.bytes(*len), *offset).unwrap();
        }
        file.set_len(len)
    };
    let mib = 1 << 20;
    built.tried("a hole between", file("between", 2 * mib, &[(0, 4096), (2 * mib - 4096, 4096)], random));
    built.tried("a hole in front", file("front", mib, &[(mib - 8192, 8192)], random));
    built.tried("a hole behind", file("behind", mib, &[(0, 5000)], random));
    built.tried("nothing but a hole", file("only", 1 << 40, &[], random));
    built.tried("holes and a length of no whole block", file("odd", mib + 7, &[(mib, 7)], random));
    let every: Vec<_> = (0..64).map(|number| (number * 65_536, 4096)).collect();
    built.tried("many holes", file("many", 64 * 65_536, &every, random));
    let zeros = fs::write(at.join("zeros without holes"), vec![0; 300_000]);
    built.tried("zeros without holes", zeros);
}
