//! Rights and metadata that an archive claims: setuid, owners, capabilities, attributes, devices, lengths.

use super::cases::Case;
use super::forged::{Entry, What, dir, entry, file, link};
use super::hall::{Ground, NOBODY};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `security.capability` of version 2: cap_net_raw permitted and effective (`linux/capability.h`).
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CAPABILITY: &[u8] = b"security.capability";
/// An access control list of version 2: rwx for the owner, r-x for group and others (`linux/posix_acl_xattr.h`).
const ACL: [u8; 28] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255,
    255,
];

pub fn cases() -> Vec<Case> {
    let mut cases = owners();
    cases.extend(attributes());
    cases.extend(devices());
    cases.extend(lengths());
    cases.extend(through_links());
    cases.extend(names_of_one_inode());
    cases
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Nothing gives the rights of somebody it does not belong to.
fn assert_harmless(ground: &Ground) {
    let path = ground.target.join("program");
    assert_eq!(mode_of(&path) & 0o6000, 0, "setuid or setgid of a wrong owner");
    let capability = rustix::fs::lgetxattr(&path, CAPABILITY, &mut [0; 64][..]);
    assert!(capability.is_err(), "capabilities of a wrong owner");
}

fn owners() -> Vec<Case> {
    let mut cases = Vec::new();
    let program = |mode: u32, uid: u32, gid: u32| file("program", b"#!/bin/sh\n").mode(mode).owner(uid, gid);
    for mode in [0o4755, 0o2755, 0o6755, 0o6777, 0o7777] {
        let name = |whose: &str| format!("mode {mode:o} of {whose}");
        cases.push(Case::new(name("root"), vec![program(mode, 0, 0)]).ends(0));
        cases.push(Case::new(name("a user"), vec![program(mode, 1234, 4321)]).ends(0));
        cases.push(Case::new(name("nobody"), vec![program(mode, NOBODY, NOBODY)]).by_a_user().ends(0));
        let roots = Case::new(name("root"), vec![program(mode, 0, 0)]).by_a_user().ends(3).says(&["owner"]);
        cases.push(roots.look(|ground, _| assert_harmless(ground)));
        let impossible =
            Case::new(name("a user that cannot be"), vec![program(mode, u32::MAX, u32::MAX)]).ends(3);
        cases.push(impossible.says(&["owner"]).look(|ground, _| assert_harmless(ground)));
        let kept = Case::new(name("another, owners kept"), vec![program(mode, 1234, 1234)]);
        cases.push(kept.with(&["--no-owner"]).ends(3).look(|ground, _| assert_harmless(ground)));
    }
    for mode in [0o1777, 0o2775, 0o4755, 0o0000, 0o7000] {
        let tree =
            vec![dir("d").mode(mode), file("d/file", b"x"), dir("d/e").mode(mode), file("d/e/f", b"y")];
        let mine: Vec<Entry> = tree.iter().map(|entry| entry.clone().owner(NOBODY, NOBODY)).collect();
        cases.push(Case::new(format!("directories of mode {mode:o}"), tree).ends(0));
        if mode & 0o700 != 0 {
            cases.push(Case::new(format!("directories of mode {mode:o}"), mine).by_a_user().ends(0));
        }
    }
    let capable = program(0o755, 0, 0).xattr(CAPABILITY, &NET_RAW);
    cases.push(Case::new("capabilities", vec![capable.clone()]).ends(0));
    let as_user =
        Case::new("capabilities", vec![capable.clone()]).by_a_user().ends(3).says(&["capabilities"]);
    cases.push(as_user.look(|ground, _| assert_harmless(ground)));
    let other = Case::new("capabilities of another, owners kept", vec![capable.clone().owner(9, 9)]);
    cases.push(other.with(&["--no-owner"]).ends(3).look(|ground, _| assert_harmless(ground)));
    let unwanted = Case::new("capabilities that are not wanted", vec![capable]).with(&["--xattrs", "user"]);
    cases.push(unwanted.ends(0).look(|ground, _| assert_harmless(ground)));
    // The data of a capable file comes before its capabilities, or writing would clear them.
    let large = file("program", &[7; 100_000]).mode(0o6755).xattr(CAPABILITY, &NET_RAW).owner(1234, 99);
    cases.push(Case::new("capabilities and setuid of a large file", vec![large]).ends(0));
    cases
}

fn attributes() -> Vec<Case> {
    let mut cases = Vec::new();
    let with = |name: &[u8], value: &[u8]| vec![file("f", b"x").xattr(name, value), file("other", b"y")];
    let odd: [(&str, &[u8], &[u8]); 14] = [
        ("an odd name", b"user.\xff\n=\x1b[31m", b"x"),
        ("a name with NUL", b"user.a\0b", b"x"),
        ("no name", b"", b"x"),
        ("a name without a class", b"plain", b"x"),
        ("an unknown class", b"martian.x", b"x"),
        ("a class and no name", b"user.", b"x"),
        ("a value of 64 KiB", b"user.large", &[1; 65_536]),
        ("a value of more than 64 KiB", b"user.larger", &[1; 65_537]),
        ("access rights of noise", b"system.posix_acl_access", b"\x02\0\0\0noise"),
        ("access rights of version 99", b"system.posix_acl_access", &[99, 0, 0, 0]),
        ("default rights of a file", b"system.posix_acl_default", &ACL),
        ("capabilities of noise", CAPABILITY, b"noise"),
        ("a label", b"security.selinux", b"system_u:object_r:shadow_t:s0\0"),
        ("a trusted one", b"trusted.overlay.redirect", b"/canary/mine"),
    ];
    for (what, name, value) in odd {
        cases.push(Case::new(format!("attribute: {what}"), with(name, value)));
        let mine = with(name, value).into_iter().map(|entry| entry.owner(NOBODY, NOBODY)).collect();
        cases.push(Case::new(format!("attribute: {what}"), mine).by_a_user());
        cases.push(
            Case::new(format!("attribute unwanted: {what}"), with(name, value))
                .with(&["--xattrs", "none"])
                .ends(0),
        );
    }
    let mut many = file("f", b"x");
    for number in 0..400 {
        many = many.xattr(format!("user.{number:03}").as_bytes(), &[number as u8; 30]);
    }
    cases.push(Case::new("more attributes than fit", vec![many]));
    let link = link("l", "x").xattr(b"user.on-a-link", b"x").xattr(b"trusted.on-a-link", b"y");
    cases.push(Case::new("attributes of a link", vec![link]).ends(3).says(&["user.on-a-link"]));
    cases
}

fn devices() -> Vec<Case> {
    let mut cases = Vec::new();
    // Once, a number that the system cannot hold became the number of another device.
    let numbers =
        [(1, 3), (7, 0), (0, 0), (4095, (1 << 20) - 1), (4097, 3), (1, 1 << 20), (u32::MAX, u32::MAX)];
    for (major, minor) in numbers {
        for what in [What::Char(major, minor), What::Block(major, minor)] {
            let tree = vec![entry("device", what.clone()).mode(0o666), file("other", b"x")];
            cases.push(Case::new(format!("{what:?}"), tree.clone()));
            if (major, minor) == (1, 3) {
                let refused =
                    Case::new(format!("{what:?}, not wanted"), tree.clone()).with(&["--no-devices"]);
                cases.push(refused.ends(3).says(&["device"]));
                cases.push(Case::new(format!("{what:?}"), tree).by_a_user().ends(3).says(&["device"]));
            }
        }
    }
    cases
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, size) in [("2^40", 1u64 << 40), ("2^62", 1 << 62), ("2^63 - 1", i64::MAX as u64)] {
        let tree = || vec![entry("hole", What::Hole(size)), file("other", b"x")];
        cases.push(Case::new(format!("a hole of {what} bytes"), tree()));
        let mine = tree().into_iter().map(|entry| entry.owner(NOBODY, NOBODY)).collect();
        cases.push(Case::new(format!("a hole of {what} bytes"), mine).by_a_user());
    }
    // Once, a restore over a file of that length read all its zeros, to compare them: for hours.
    for size in [1u64 << 43, (1 << 43) + 1] {
        let case =
            Case::new(format!("a hole of {size} bytes that is there"), vec![entry("hole", What::Hole(size))]);
        let case = case.planted(move |ground| {
            fs::File::create(ground.target.join("hole")).unwrap().set_len(size).unwrap();
        });
        cases.push(case.ends(0));
    }
    cases
}

/// Metadata of a link is the link's, whatever it points to.
fn through_links() -> Vec<Case> {
    let mut cases = Vec::new();
    for to in ["../canary/mine", "../canary/mine/file", "../canary/mine/setuid", "../canary/theirs/sub", "."]
    {
        let hostile = link("l", to).mode(0o7777).owner(1234, 1234);
        cases.push(
            Case::new(format!("mode, owner and times of a link to {to}"), vec![hostile.clone()]).ends(0),
        );
        let mine = Case::new(format!("mode and times of a link to {to}"), vec![hostile.clone()]);
        cases.push(mine.by_a_user().ends(0));
        // The same link is there already and is brought into line.
        let to = to.to_owned();
        let there = Case::new(format!("the same of a link to {to} that is there"), vec![hostile]);
        cases.push(there.planted(move |ground| {
            std::os::unix::fs::symlink(&to, ground.target.join("l")).unwrap();
        }));
    }
    cases
}

/// Groups of names that no inode ever had.
fn names_of_one_inode() -> Vec<Case> {
    let both = |first: Entry, second: Entry| vec![first.group(1), second.group(1)];
    let is_no_link_outside = |ground: &Ground| {
        for name in ["a", "b"] {
            let metadata = fs::symlink_metadata(ground.target.join(name)).unwrap();
            assert!(metadata.nlink() <= 2, "{name} is a name of something else");
        }
    };
    let different = vec![
        ("a file and a link", both(file("a", b"x"), link("b", "../canary/mine/file"))),
        ("a link and a file", both(link("a", "../canary/mine/file"), file("b", b"x"))),
        ("a file and a pipe", both(file("a", b"x"), entry("b", What::Fifo))),
        ("a device and a file", both(entry("a", What::Char(1, 3)), file("b", b"x"))),
        ("files of different lengths", both(file("a", b"x"), file("b", b"longer"))),
        ("files of different contents", both(file("a", b"one"), file("b", b"two"))),
    ];
    let mut cases: Vec<Case> = different
        .into_iter()
        .map(|(what, entries)| {
            let name = format!("names of one inode: {what}");
            // What cannot be one inode is restored as two. Once, a second name of the same length silently got
            // the content of the first.
            let apart = entries.iter().map(|entry| Entry { group: None, ..entry.clone() }).collect();
            let case = Case::new(name, apart).built(move |forge| super::forged::listing(forge, &entries));
            case.look(move |ground, _| is_no_link_outside(ground))
        })
        .collect();
    // One inode has one mode: that of its first name.
    let modes = both(file("a", b"x").mode(0o600), file("b", b"x").mode(0o6777));
    let first = modes.iter().map(|entry| entry.clone().mode(0o600)).collect();
    let case = Case::new("names of one inode: files of different modes", first);
    cases.push(case.built(move |forge| super::forged::listing(forge, &modes)).ends(0));
    for (what, to) in [("a link", true), ("a file", false)] {
        let entries = both(file("a", b"canary file"), file("b", b"canary file"));
        let case = Case::new(format!("names of one inode, the first is {what} to outside by then"), entries);
        let case = case.planted(move |ground| {
            let (outside, there) = (ground.canary.join("mine/file"), ground.target.join("a"));
            match to {
                true => std::os::unix::fs::symlink(outside, there).unwrap(),
                false => fs::hard_link(outside, there).unwrap(),
            }
        });
        cases.push(case.linked().ends(0).look(move |ground, _| is_no_link_outside(ground)));
    }
    cases
}
