//! Bombs: objects that are small and ask for much. Whatever they ask for, memory stays under one bound, the
//! program ends, and it says which object it refuses.

use super::folders;
use super::forged::{What, dir, entry, file, listing, raw};
use super::hall::{Hall, Outcome};
use super::shells::{self, zeros};
use crate::support::budget::Budget;
use dedup_engine::compress::Codec;
use dedup_engine::crypto::header::ObjectKind;
use dedup_engine::crypto::keyring::ChunkKind;
use dedup_engine::id::{ChunkId, ObjectId};
use dedup_engine::listing::{Body, Content, Node, Part, Time, Xattrs, encode_node, encode_xattrs};
use dedup_engine::map::{Class, Root};
use dedup_engine::pack::{Chunk, PackKind};
use dedup_engine::repo::Repository;
use dedup_engine::snapshot;
use dedup_engine::storage::Name;
use dedup_engine::testing::forge::{Forge, ForgedBlock, capsule_of};
use dedup_engine::wire::Put;

/// What no run of the program may exceed: what it may use by default, and a little for itself.
const BOUND_BYTES: u64 = 320 << 20;

/// What the plainest mistakes would fail at.
const ALWAYS: [&str; 7] = [
    "400 files with the same 8 MiB of attributes",
    "a file of 2^54 bytes made of one chunk and four lists",
    "a frame of 4 GiB that says 8 MiB",
    "a snapshot that says 4 GiB",
    "a snapshot that says 1 MiB and is 4 GiB",
    "a set of attributes that counts 2^62",
    "a slot that asks for 4 GiB of memory",
];

/// Makes a repository hostile; returns the snapshot to restore, if there is one.
type Build = Box<dyn Fn(&Hall, &Repository) -> Option<ObjectId>>;

pub struct Bomb {
    name: &'static str,
    build: Build,
    /// What `check` must name; empty where the archive is sound, only large.
    named: &'static str,
}

/// Makes a bomb; `named` is what `check` must name.
pub fn bomb(
    name: &'static str,
    named: &'static str,
    build: impl Fn(&Hall, &Repository) -> Option<ObjectId> + 'static,
) -> Bomb {
    Bomb { name, build: Box::new(build), named }
}

/// A snapshot of one file in one chunk, in a block of the liar's.
fn one_block(codec: Codec, coded: Vec<u8>, len: u32) -> Build {
    Box::new(move |_, repo| {
        let forge = Forge::begin(repo).unwrap();
        let id = ChunkId::from_bytes([7; 32]);
        let (coded, chunks) = (coded.clone(), vec![Chunk { id, len }]);
        forge.pack(PackKind::Data, vec![ForgedBlock { codec, coded, chunks }]).unwrap();
        let content = Content { level: 0, parts: vec![Part { len: len.into(), chunks: 1, id }] };
        let node = encode_node(&file_node(len.into(), content)).unwrap();
        let root = forge.map([(&b"f"[..], &node[..])]).unwrap();
        Some(forge.commit(&[b"/"], root).unwrap())
    })
}

fn file_node(size: u64, content: Content) -> Node {
    let time = Time { secs: 1_600_000_000, nanos: 7 };
    Node {
        body: Body::File { size, holes: Vec::new(), content },
        mode: 0o644,
        uid: 0,
        gid: 0,
        names: None,
        mtime: time,
        ctime: time,
        atime: None,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        suspect: false,
    }
}

fn decompression() -> Vec<Bomb> {
    const MIB: u64 = 1 << 20;
    let of = |name, coded, len| Bomb { name, build: one_block(Codec::Zstd, coded, len), named: "packs/" };
    let twice = [zeros(MIB, Some(MIB)), zeros(MIB, Some(MIB))].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &zeros(MIB, Some(MIB))].concat();
    vec![
        of("a frame of 4 GiB that says 8 MiB", zeros(4096 * MIB, Some(8 * MIB)), 8 << 20),
        of("a frame of 4 GiB that says so", zeros(4096 * MIB, Some(4096 * MIB)), 8 << 20),
        of("a frame of 4 GiB that says nothing", zeros(4096 * MIB, None), 8 << 20),
        of("a frame that says 2^63", zeros(MIB, Some(1 << 63)), 1 << 20),
        of("two frames", twice, 2 << 20),
        of("a frame and bytes behind it", [&zeros(MIB, Some(MIB))[..], b"more"].concat(), 1 << 20),
        of("a frame that is to be skipped", skippable, 1 << 20),
        of("a frame that is too short", zeros(1000, Some(1000)), 1 << 20),
        of("noise", vec![0x5a; 1000], 1 << 20),
        of("nothing", Vec::new(), 1 << 20),
    ]
}

/// Capsules of every kind of object, in three sizes of lie.
fn capsules() -> Vec<Bomb> {
    let mut bombs = Vec::new();
    for (name, len, coded) in [
        ("that says 4 GiB", u32::MAX, zeros(1 << 32, Some(1 << 32))),
        ("that says 1 MiB and is 4 GiB", 1 << 20, zeros(1 << 32, Some(1 << 20))),
        ("of 16 MiB of zeros", 16 << 20, zeros(16 << 20, Some(16 << 20))),
        ("of 64 MiB of zeros", 64 << 20, zeros(64 << 20, Some(64 << 20))),
    ] {
        let capsule = capsule_of(Codec::Zstd, len, &coded);
        let of = |what: &str| -> &'static str { format!("a {what} {name}").leak() };
        let bytes = capsule.clone();
        bombs.push(bomb(of("snapshot"), "snapshots/", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let id = forge.hashed_object(ObjectKind::Snapshot, Name::snapshot, bytes.clone()).unwrap();
            forge.end(id).unwrap();
            None
        }));
        let bytes = capsule.clone();
        bombs.push(bomb(of("segment"), "segments/", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            forge.hashed_object(ObjectKind::Segment, Name::segment, bytes.clone()).unwrap();
            None
        }));
        let bytes = capsule.clone();
        bombs.push(bomb(of("session's end"), "sessions/", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let end = Name::end(forge.session());
            forge.named_object(ObjectKind::End, &end, bytes.clone()).unwrap();
            None
        }));
        let bytes = capsule.clone();
        bombs.push(bomb(of("generation"), "generations/", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            forge.named_object(ObjectKind::Generation, &Name::generation(1), bytes.clone()).unwrap();
            None
        }));
        bombs.push(bomb(of("pack directory"), "packs/", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let chunks = vec![Chunk { id: ChunkId::from_bytes([1; 32]), len: 5 }];
            let block = ForgedBlock { codec: Codec::Raw, coded: b"plain".to_vec(), chunks };
            forge.pack_with_directory(PackKind::Data, &[block], capsule.clone()).unwrap();
            None
        }));
    }
    bombs
}

/// Bodies whose counts and lengths are far beyond what follows.
fn counts() -> Vec<Bomb> {
    let mut bombs = Vec::new();
    for (name, count) in [("2^20", 1u64 << 20), ("2^32", 1 << 32), ("2^62", 1 << 62), ("2^64 - 1", u64::MAX)]
    {
        let name = |what: &str| -> &'static str { format!("{what} {name}").leak() };
        bombs.push(bomb(name("a snapshot that counts sources:"), "snapshots/", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let body = snapshot::encode(&forge.snapshot(&[b"/only"], Root::EMPTY));
            // The count of sources stands just before the first one.
            let at = body.windows(6).position(|bytes| bytes == b"\x05/only").unwrap();
            let mut forged = body[..at - 1].to_vec();
            forged.put_varint(count);
            forged.extend_from_slice(&body[at..]);
            Some(forge.commit_body(&forged).unwrap())
        }));
        bombs.push(bomb(name("a set of attributes that counts"), "attributes", move |_, repo| {
            let mut set = Vec::new();
            set.put_varint(count);
            set.resize(400, 1);
            Some(with_xattrs(repo, &set, 1))
        }));
        bombs.push(bomb(name("a map that counts entries:"), "snapshot", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let mut node = vec![0];
            node.put_varint(count);
            let id = Some(forge.chunk(ChunkKind::Listing, &node));
            let root = Root { class: Class::Open, id, level: 0, entries: count.max(1), value_bytes: count };
            Some(forge.commit(&[b"/"], root).unwrap())
        }));
        bombs.push(bomb(name("a content list that counts"), "content list", move |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let mut list = vec![0];
            list.put_varint(count);
            list.resize(2000, 0x81);
            let part = Part { len: 1 << 30, chunks: 1024, id: forge.chunk(ChunkKind::Listing, &list) };
            let content = Content { level: 1, parts: vec![part, part] };
            Some(one_file(forge, 2 << 30, content))
        }));
    }
    bombs
}

fn one_file(forge: Forge<'_>, size: u64, content: Content) -> ObjectId {
    let node = encode_node(&file_node(size, content)).unwrap();
    let root = forge.map([(&b"f"[..], &node[..])]).unwrap();
    forge.commit(&[b"/"], root).unwrap()
}

/// A snapshot of `entries` files that all have the same set of attributes, which need not be one.
fn with_xattrs(repo: &Repository, set: &[u8], entries: usize) -> ObjectId {
    let forge = Forge::begin(repo).unwrap();
    let id = forge.chunk(ChunkKind::Listing, set);
    let empty = Content { level: 0, parts: Vec::new() };
    let node = Node { xattrs: Xattrs::Chunk { len: set.len() as u64, id }, ..file_node(0, empty) };
    let node = encode_node(&node).unwrap();
    let keys: Vec<_> = (0..entries).map(|number| format!("f{number:06}")).collect();
    let root = forge.map(keys.iter().map(|key| (key.as_bytes(), &node[..]))).unwrap();
    forge.commit(&[b"/"], root).unwrap()
}

/// Few bytes that mean many: the same thing referred to again and again, or deep, or long.
fn multiplied() -> Vec<Bomb> {
    vec![
        bomb("400 files with the same 8 MiB of attributes", "", |_, repo| {
            let set: Vec<_> = (0..8u8).map(|n| (vec![b'a' + n], vec![n; (1 << 20) - 100])).collect();
            Some(with_xattrs(repo, &encode_xattrs(&set), 400))
        }),
        bomb("a file of 2^54 bytes made of one chunk and four lists", "", |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let len = 4u64 << 20;
            let chunk = forge.chunk(ChunkKind::Data, &vec![b'x'; len as usize]);
            let mut part = Part { len, chunks: 1, id: chunk };
            for level in 0..4u8 {
                let mut list = vec![level];
                shells::put_list(&mut list, level, &[part; 256]);
                let id = forge.chunk(ChunkKind::Listing, &list);
                part = Part { len: part.len * 256, chunks: part.chunks * 256, id };
            }
            let size = part.len * 2;
            Some(one_file(forge, size, Content { level: 4, parts: vec![part; 2] }))
        }),
        bomb("a list that names itself", "snapshot", |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let id = ChunkId::from_bytes([9; 32]);
            let own = Part { len: 1 << 32, chunks: 4096, id };
            let mut list = vec![1];
            shells::put_list(&mut list, 1, &[own; 2]);
            forge.chunk_as(ChunkKind::Listing, id, &list);
            Some(one_file(forge, 1 << 33, Content { level: 2, parts: vec![own; 2] }))
        }),
        bomb("a map whose root is its own child", "snapshot", |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let id = ChunkId::from_bytes([9; 32]);
            let mut node = vec![1, 2];
            for key in [b"a", b"b"] {
                node.put_varint(0);
                node.put_bytes(key);
                node.put(id.as_bytes());
                node.put_varint(1 << 20);
                node.put_varint(1 << 20);
            }
            forge.chunk_as(ChunkKind::Listing, id, &node);
            let root =
                Root { class: Class::Open, id: Some(id), level: 1, entries: 1 << 21, value_bytes: 1 << 21 };
            Some(forge.commit(&[b"/"], root).unwrap())
        }),
        bomb("a path of 3,000 directories with names of 20 bytes", "", |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let mut key = Vec::new();
            let mut entries = Vec::new();
            for _ in 0..3000 {
                key.extend_from_slice(if key.is_empty() { b"" } else { b"\0" });
                key.extend_from_slice(b"nnnnnnnnnnnnnnnnnnnn");
                entries.push(raw(&key, What::Directory));
            }
            let root = listing(&forge, &entries);
            Some(forge.commit(&[b"/"], root).unwrap())
        }),
        bomb("200,000 entries that are not worth a byte", "", |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let entries: Vec<_> = (0..200_000).map(|number| dir(&format!("{number:06}"))).collect();
            let root = listing(&forge, &entries);
            Some(forge.commit(&[b"/"], root).unwrap())
        }),
        bomb("a link of 64 KiB, 3,000 times", "", |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let target = What::Link(vec![b'x'; 65_536]);
            let entries: Vec<_> =
                (0..3000).map(|number| entry(&format!("{number:06}"), target.clone())).collect();
            let root = listing(&forge, &entries);
            Some(forge.commit(&[b"/"], root).unwrap())
        }),
        bomb("a segment that says packs have other places and lengths", "segments/", |_, repo| {
            let forge = Forge::begin(repo).unwrap();
            let root = listing(&forge, &[file("f", &[b'x'; 10_000])]);
            let snapshot = forge.snapshot(&[b"/"], root);
            forge
                .segment(|packs| {
                    for pack in packs {
                        pack.stored_len = u64::MAX;
                    }
                })
                .unwrap();
            Some(forge.commit_body(&snapshot::encode(&snapshot)).unwrap())
        }),
    ]
}

/// Runs every command on a hostile repository; returns the highest peak.
fn run(bomb: &Bomb) -> u64 {
    let hall = Hall::new();
    let repo = hall.repository();
    let id = (bomb.build)(&hall, &repo);
    let target = shells::SmallTarget::new(&hall);
    let mut commands = vec![vec!["snapshots".to_owned()], vec!["check".into(), "--read-data".into()]];
    if let Some(id) = id {
        commands.push(vec!["ls".into(), id.to_hex(), "--recursive".into()]);
        commands.push(vec!["restore".into(), id.to_hex(), "--target".into(), target.path()]);
    }
    let (mut most, mut said) = (0, String::new());
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (Outcome { code, err, out, .. }, peak) = shells::measured(&hall.program(0, &words));
        let what = format!("{}, `{}`", bomb.name, words[0]);
        assert!(peak < BOUND_BYTES, "{what}: {} MiB of memory", peak >> 20);
        assert!([0, 1, 2, 3, 6].contains(&code), "{what}: exit status {code}: {err}");
        assert!(code == 0 || !err.is_empty() || !out.is_empty(), "{what}: exit status {code} and no word");
        most = most.max(peak);
        said = format!("{said}\n{err}\n{out}");
        if words[0] == "check" && !bomb.named.is_empty() {
            assert_eq!(code, 6, "{what}: it is damage: {err}{out}");
        }
    }
    assert!(said.contains(bomb.named), "{}: {:?} is not named:\n{said:.3000}", bomb.name, bomb.named);
    most
}

#[test]
fn bombs_do_not_go_off() {
    if !super::can_run() {
        return;
    }
    let budget = Budget::of("R18 bombs", 11, u64::MAX);
    let all: Vec<Bomb> = [multiplied(), decompression(), capsules(), counts(), folders::bombs()]
        .into_iter()
        .flatten()
        .collect();
    let names: Vec<&str> = all.iter().map(|bomb| bomb.name).collect();
    let chosen = super::choose(&names, &ALWAYS, budget.cases());
    let count = chosen.len();
    let (mut most, mut failed) = (0, Vec::new());
    for number in chosen {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&all[number]))) {
            Ok(peak) => most = most.max(peak),
            Err(_) => {
                eprintln!("this was: {}", all[number].name);
                failed.push(all[number].name);
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} bombs went off: {failed:#?}", failed.len());
    budget.tell(&format!(
        "{count} of {count} under {} MiB, the highest peak {} MiB; each refused with the object's name, or sound",
        BOUND_BYTES >> 20,
        most >> 20
    ));
}
