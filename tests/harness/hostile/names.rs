//! Names and listings that no honest client writes.

use super::cases::Case;
use super::forged::{Entry, What, dir, file, link, listing, raw, raw_leaf};
use dedup_engine::crypto::keyring::ChunkKind;
use dedup_engine::map::{Class, Root};
use dedup_engine::testing::forge::Forge;
use dedup_engine::wire::Put;

/// Names that would leave the target, or mean another place than they seem to.
const BAD: [(&str, &[u8]); 13] = [
    ("dot dot", b".."),
    ("dot dot above a name", b"..\0x"),
    ("dot dot within", b"d\0..\0x"),
    ("dot dot at the end", b"d\0.."),
    ("dot", b"."),
    ("dot within", b"d\0."),
    ("an empty name", b"d\0\0x"),
    ("an empty name at the end", b"d\0"),
    ("an empty name in front", b"\0x"),
    ("a slash", b"d\0a/b"),
    ("an absolute path", b"/etc/x"),
    ("slashes that lead outside", b"../canary/mine/file"),
    ("a slash at the end", b"d\0a/"),
];

/// One entry of every kind that names something outside.
fn kinds(key: &[u8]) -> [(&'static str, Vec<Entry>); 6] {
    let first = file("z1", b"linked").group(1);
    [
        ("file", vec![raw(key, What::File(b"bad".to_vec()))]),
        ("directory", vec![raw(key, What::Directory)]),
        ("link", vec![raw(key, What::Link(b"../canary/mine".to_vec()))]),
        ("pipe", vec![raw(key, What::Fifo)]),
        ("device", vec![raw(key, What::Char(1, 3))]),
        ("hard link", vec![raw(key, What::File(b"linked".to_vec())).group(1), first]),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, key) in BAD {
        for (kind, mut entries) in kinds(key) {
            entries.push(dir("d"));
            let name = format!("{what} as the name of a {kind}");
            cases.push(Case::damage(name, move |forge| listing(forge, &entries)).says(&["bad component"]));
        }
    }
    let long = [&b"d\0"[..], &[b'n'; 256]].concat();
    let deep = [b"n".to_vec(), b"\0n".repeat(32_767)].concat();
    for (what, key, words) in [
        ("a name of 256 bytes", long, "bad component"),
        ("32,768 names at once", deep, "no parent directory"),
    ] {
        let entries = vec![dir("d"), raw(&key, What::File(b"x".to_vec()))];
        cases.push(Case::damage(what, move |forge| listing(forge, &entries)).says(&[words]));
    }
    cases.extend(orphans());
    cases.extend(maps());
    cases
}

/// Entries below what is no directory of the archive: a link above all.
fn orphans() -> Vec<Case> {
    let mut cases = Vec::new();
    let above = [
        link("up", "../canary/mine"),
        link("up", "/"),
        link("up", "../canary/mine/sub"),
        link("up", "."),
        file("up", b"x"),
        raw(b"up", What::Fifo),
        raw(b"up", What::Char(1, 3)),
    ];
    for above in above {
        for below in [file("up/file", b"bad"), dir("up/sub"), link("up/x", "/etc"), raw(b"up\0p", What::Fifo)]
        {
            let name = format!("{:?} above {:?}", above.what, below.what);
            let entries = vec![above.clone(), below];
            let case = Case::damage(name, move |forge| listing(forge, &entries));
            cases.push(case.says(&["no parent directory"]));
        }
    }
    let nothing_above = vec![file("gone/file", b"x")];
    let two_below = vec![dir("d"), dir("d/e/f"), file("d/e/f/g", b"x")];
    for entries in [nothing_above, two_below] {
        let name = format!("no directory above {:?}", entries.last().unwrap().key.escape_ascii().to_string());
        let case = Case::damage(name, move |forge| listing(forge, &entries));
        cases.push(case.says(&["no parent directory"]));
    }
    cases
}

/// Returns the root of one leaf, whatever stands in it.
fn root_of(forge: &Forge<'_>, node: &[u8], entries: u64, value_bytes: u64) -> Root {
    let id = forge.chunk(ChunkKind::Listing, node);
    Root { class: Class::Open, id: Some(id), level: 0, entries, value_bytes }
}

/// Returns the root of a leaf of entries in the order given.
fn leaf(forge: &Forge<'_>, entries: &[Entry]) -> Root {
    let encoded: Vec<_> = entries.iter().map(|entry| (entry.key.clone(), entry.encode(forge))).collect();
    let pairs: Vec<_> = encoded.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let bytes = encoded.iter().map(|(_, value)| value.len() as u64).sum();
    root_of(forge, &raw_leaf(pairs.len() as u64, &pairs), pairs.len() as u64, bytes)
}

/// Maps whose order, counts or shape are lies.
fn maps() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, entries) in [
        ("a name twice", vec![file("a", b"one"), file("a", b"two")]),
        (
            "a link and a directory of one name",
            vec![link("a", "../canary/mine"), dir("a"), file("a/x", b"x")],
        ),
        (
            "a directory and a link of one name",
            vec![dir("a"), link("a", "../canary/mine"), file("a/x", b"x")],
        ),
        ("names that fall", vec![file("b", b"b"), file("a", b"a")]),
        ("contents before their directory", vec![file("a/x", b"x"), dir("a")]),
        ("a link after what is below it", vec![dir("a"), file("a/x", b"x"), link("a", "../canary")]),
    ] {
        cases.push(Case::damage(what, move |forge| leaf(forge, &entries)));
    }
    for (what, count, said) in [
        ("a leaf that counts too many", 3, 3),
        ("a leaf that counts 2^62", 1 << 62, 1),
        ("an empty leaf", 0, 1),
    ] {
        cases.push(Case::damage(what, move |forge| {
            let value = file("a", b"x").encode(forge);
            root_of(forge, &raw_leaf(count, &[(b"a", &value)]), said, value.len() as u64)
        }));
    }
    for (what, entries) in [("a root that counts too many", 7), ("a root that counts 2^63", 1 << 63)] {
        cases.push(Case::damage(what, move |forge| {
            let value = file("a", b"x").encode(forge);
            root_of(forge, &raw_leaf(1, &[(b"a", &value)]), entries, value.len() as u64)
        }));
    }
    for (what, node) in [
        ("a node of noise", vec![0x5a; 300]),
        ("a node of nothing but a level", vec![200]),
        ("a node of no bytes but one", vec![0]),
    ] {
        cases.push(Case::damage(what, move |forge| root_of(forge, &node, 1, 1)));
    }
    // A value that is no node; one of a kind that no version knows.
    for (what, value) in
        [("a value of noise", vec![0xff; 40]), ("an unknown kind", vec![99, 0, 0, 0, 0, 0, 0, 0])]
    {
        cases.push(Case::damage(what, move |forge| forge.map([(&b"a"[..], &value[..])]).unwrap()));
    }
    for (what, mode) in [("a mode of 2^40", 1u64 << 40), ("a mode with a kind in it", 0o100_755)] {
        cases.push(Case::damage(what, move |forge| {
            let mut value = vec![4, 0];
            for number in [mode, 0, 0, 0, 0, 0, 0] {
                value.put_varint(number);
            }
            forge.map([(&b"a"[..], &value[..])]).unwrap()
        }));
    }
    cases
}
