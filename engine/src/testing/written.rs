//! What is written must be what is read: any structure, drawn from the fuzzer's bytes, written and read again.

use super::draw::Draw;
use crate::compress::Codec;
use crate::crypto::roots::Bundle;
use crate::crypto::slot::{self, KdfParams, Slot, Unlock};
use crate::format::{HEADER_LEN, TAG_LEN};
use crate::id::{ChunkId, ClientId, LinkGroup, ObjectId, RepoId, SessionId};
use crate::index::{Segment, SegmentPack};
use crate::listing::{
    Body, Content, Node, Part as Piece, StoredPath, Time, Xattrs, decode_node, decode_xattrs, encode_node,
    encode_xattrs,
};
use crate::map::{Blob, Class, Root};
use crate::pack::{Chunk, Directory, PackKind};
use crate::repo::control::{Condemned, Generation, Intent, Purpose, Session, Verdict};
use crate::repo::records::{RunRecord, RunVerdict};
use crate::repo::retention::{Retention, Signed};
use crate::snapshot::{self, Account, Dump, Form, Item, Listing, Outcome, Section, Snapshot, State, Totals};
use crate::storage::{Name, Part};
use crate::wire::{Put, Reader};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use zeroize::Zeroizing;

fn object(draw: &mut Draw<'_>) -> ObjectId {
    ObjectId::from_bytes(draw.array())
}

fn chunk(draw: &mut Draw<'_>) -> ChunkId {
    ChunkId::from_bytes(draw.array())
}

fn session(draw: &mut Draw<'_>) -> SessionId {
    SessionId::from_bytes(draw.array())
}

fn time(draw: &mut Draw<'_>) -> Time {
    Time { secs: draw.number() as i64, nanos: draw.below(1_000_000_000) as u32 }
}

fn blob(draw: &mut Draw<'_>) -> Blob {
    match draw.below(1 << 18) {
        0 => Blob::EMPTY,
        len => Blob { len, level: 0, id: Some(chunk(draw)) },
    }
}

fn root(class: Class, draw: &mut Draw<'_>) -> Root {
    match draw.number() {
        0 => Root::empty(class),
        entries => {
            Root { class, id: Some(chunk(draw)), level: draw.byte() % 8, entries, value_bytes: draw.number() }
        }
    }
}

/// Numbers, bytes and texts, one after another.
pub(super) fn written_wire(bytes: &[u8]) {
    let (mut draw, mut out, mut drawn) = (Draw(bytes), Vec::new(), Vec::new());
    while !draw.is_over() {
        let (kind, value) = (draw.byte() % 8, draw.number());
        let bytes = if kind == 7 { draw.bytes(40) } else { Vec::new() };
        match kind {
            0 => out.put_u8(value as u8),
            1 => out.put_u16(value as u16),
            2 => out.put_i16(value as i16),
            3 => out.put_u32(value as u32),
            4 => out.put_i64(value as i64),
            5 => out.put_varint(value),
            6 => out.put_zigzag(value as i64),
            _ => out.put_bytes(&bytes),
        }
        drawn.push((kind, value, bytes));
    }
    let mut reader = Reader::new("fuzz", &out);
    for (kind, value, bytes) in drawn {
        let same = match kind {
            0 => reader.u8().map(|read| read == value as u8),
            1 => reader.u16().map(|read| read == value as u16),
            2 => reader.i16().map(|read| read == value as i16),
            3 => reader.u32().map(|read| read == value as u32),
            4 => reader.i64().map(|read| read == value as i64),
            5 => reader.varint().map(|read| read == value),
            6 => reader.zigzag().map(|read| read == value as i64),
            _ => reader.bytes(40, "bytes").map(|read| read == bytes),
        };
        assert_eq!(same, Ok(true), "kind {kind}, {value}");
    }
    assert_eq!(reader.finish(), Ok(()));
}

/// Paths: joined, as keys, with slashes; order and containment as of lists of components.
pub(super) fn written_path(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    let mut paths = Vec::new();
    for _ in 0..3 {
        let components = draw.list(6, |draw| draw.bytes(300));
        let joined = components.iter().try_fold(StoredPath::root(), |path, name| path.join(name));
        let fits = components.iter().all(|name| crate::listing::is_component(name));
        assert_eq!(joined.is_some(), fits, "{components:?}");
        paths.extend(joined.map(|path| (path, components)));
    }
    for (path, components) in &paths {
        assert!(path.components().eq(components.iter().map(|name| &name[..])));
        assert_eq!(StoredPath::from_key(path.as_key()).as_ref(), Ok(path));
        assert_eq!(StoredPath::from_slashes(&path.to_slashes()).as_ref(), Some(path));
        for (other, theirs) in &paths {
            assert_eq!(path.cmp(other), components.cmp(theirs), "{path:?} and {other:?}");
            assert_eq!(path.is_within(other), components.starts_with(theirs), "{path:?} in {other:?}");
            let below =
                path.below(other).map(|below| below.components().map(<[u8]>::to_vec).collect::<Vec<_>>());
            let expected = components.strip_prefix(&theirs[..]).map(<[_]>::to_vec);
            assert_eq!(below, expected, "{path:?} below {other:?}");
        }
    }
}

/// Names of objects: those that can be stored, and only those, come back.
pub(super) fn written_name(bytes: &[u8]) {
    let draw = &mut Draw(bytes);
    let name = match draw.byte() % 17 {
        0 => Name::Config,
        1 => Name::Condemned(draw.number()),
        2 => Name::Epoch(draw.number()),
        3 => Name::Generation(draw.number()),
        4 => Name::KeyChange(draw.number()),
        5 => Name::Slot(object(draw)),
        6 => Name::Log(ClientId::from_bytes(draw.array()), draw.number()),
        7 => Name::Pack(object(draw)),
        8 => Name::Parity(object(draw)),
        9 => Name::Run(session(draw), draw.number()),
        10 => Name::Segment(object(draw)),
        11 => Name::Session(session(draw), Part::Begin),
        12 => Name::Session(session(draw), Part::End),
        13 => Name::Session(session(draw), Part::Alive(draw.number())),
        14 => Name::Session(session(draw), Part::Intent(draw.number())),
        15 => Name::Retention(draw.number()),
        _ => Name::Snapshot(object(draw)),
    };
    assert_eq!(Name::parse(&name.to_string()), Some(name).filter(Name::is_storable), "{name}");
}

/// Sets of extended attributes, and nodes of a listing.
pub(super) fn written_node(bytes: &[u8]) {
    let draw = &mut Draw(bytes);
    let attribute = |draw: &mut Draw<'_>| ([b"user.", &draw.bytes(60)[..]].concat(), draw.bytes(200));
    let set: BTreeMap<Vec<u8>, Vec<u8>> = draw.list(5, attribute).into_iter().collect();
    let set: Vec<_> = set.into_iter().filter(|(name, _)| !name.contains(&0)).collect();
    let encoded = encode_xattrs(&set);
    assert_eq!(decode_xattrs(&encoded).as_ref(), Ok(&set));
    let xattrs = match draw.byte() % 3 {
        0 => Xattrs::None,
        1 => Xattrs::Inline(encoded),
        _ => Xattrs::Chunk { len: draw.number(), id: chunk(draw) },
    };
    let body = match draw.byte() % 9 {
        0 => Body::Directory,
        1 => Body::Symlink(draw.bytes(5000)),
        2 => Body::Fifo,
        3 => Body::Socket,
        4 => Body::CharDevice { major: draw.number() as u32, minor: draw.number() as u32 },
        5 => Body::BlockDevice { major: draw.number() as u32, minor: draw.number() as u32 },
        _ => file(draw),
    };
    let node = Node {
        body,
        mode: draw.below(0o20000) as u32,
        uid: draw.number() as u32,
        gid: draw.number() as u32,
        names: draw.maybe(|draw| (draw.text(300), draw.text(300))),
        mtime: time(draw),
        ctime: time(draw),
        atime: draw.maybe(time),
        btime: draw.maybe(time),
        xattrs,
        link: draw.maybe(|draw| LinkGroup::from_bytes(draw.array())),
        suspect: draw.flag(),
    };
    // What may not be written is refused before, never written and then not read.
    if let Ok(encoded) = encode_node(&node) {
        assert_eq!(decode_node(&encoded), Ok(node));
    }
}

fn file(draw: &mut Draw<'_>) -> Body {
    let part = |draw: &mut Draw<'_>| Piece { len: 1 + draw.below(8 << 20), chunks: 1, id: chunk(draw) };
    let parts = draw.list(20, part);
    let content = Content { level: 0, parts };
    let (mut size, mut left, mut holes) = (0u64, content.len(), Vec::new());
    for _ in 0..draw.byte() % 5 {
        // Data lies between holes, or they would be one.
        let data = if left == 0 { 0 } else { 1 + draw.below(left) };
        if data == 0 && !holes.is_empty() {
            break;
        }
        let start = size + data;
        let end = start + 1 + draw.below(1 << 40);
        holes.push(start..end);
        (size, left) = (end, left - data);
    }
    Body::File { size: size + left, holes, content }
}

/// Sessions, intents, ends, condemned sets, generations and run records.
pub(super) fn written_control(bytes: &[u8]) {
    let draw = &mut Draw(bytes);
    let written = Session {
        client: ClientId::from_bytes(draw.array()),
        started: time(draw),
        host: draw.text(255),
        purpose: draw.choose(&[Purpose::Backup, Purpose::Prune, Purpose::Copy, Purpose::Repair]),
        generation: draw.number(),
    };
    assert_eq!(Session::decode(&written.encode()), Ok(written));
    let written = Intent {
        number: draw.number(),
        is_final: draw.flag(),
        snapshots: draw.list(64, object),
        packs: draw.list(9, object),
        own_packs: draw.list(9, object),
        own_segments: draw.list(9, object),
    };
    assert_eq!(Intent::decode(&written.encode()), Ok(written));
    let all =
        [Verdict::Committed(object(draw)), Verdict::Fenced(draw.number()), Verdict::Abandoned, Verdict::Done];
    all.into_iter().for_each(|written| assert_eq!(Verdict::decode(&written.encode()), Ok(written)));
    let written = Condemned {
        number: draw.number(),
        base: draw.number(),
        session: Some(session(draw)),
        packs: draw.list(9, object),
        segments: draw.list(9, object),
        snapshots: draw.list(9, object),
    };
    assert_eq!(Condemned::decode(&written.encode()), Ok(written));
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&draw.array::<32>());
    let written = Generation {
        number: draw.number(),
        condemned: draw.number(),
        previous: object(draw),
        session: session(draw),
        packs: draw.list(9, object),
        segments: draw.list(9, object),
        snapshots: draw.list(9, object),
        parity: draw.list(9, object),
        retired: draw.list(9, session),
        public_key: draw.array(),
        signature,
    };
    assert_eq!(Generation::decode(&written.encode()), Ok(written));
    let written = Retention {
        number: draw.number().max(1),
        time: time(draw),
        forgotten: draw.list(9, object).into_iter().collect(),
        pinned: std::collections::BTreeSet::new(),
        public_key: draw.array(),
        signature: Signed(signature),
    };
    assert_eq!(Retention::decode(&written.encode()), Ok(written));
    let written = RunRecord {
        number: draw.number().max(1),
        snapshot: object(draw),
        verdict: draw.choose(&[RunVerdict::Good, RunVerdict::Suspect, RunVerdict::Owed]),
        text: draw.text(999),
        hooks: draw.list(5, |draw| (draw.text(255), draw.number() as i64)),
        time: time(draw),
    };
    assert_eq!(RunRecord::decode(&written.encode()), Ok(written));
}

fn totals(draw: &mut Draw<'_>) -> Totals {
    Totals {
        entries: draw.number(),
        files: draw.number(),
        directories: draw.number(),
        bytes: draw.number(),
        files_new: draw.number(),
        files_changed: draw.number(),
        files_unmodified: draw.number(),
        bytes_read: draw.number(),
        chunks_new: draw.number(),
        bytes_new: draw.number(),
        bytes_stored: draw.number(),
        problems: draw.number(),
    }
}

fn account(module: String, draw: &mut Draw<'_>) -> Account {
    let outcome = |draw: &mut Draw<'_>| Outcome::from_code(1 + draw.byte() % 11).unwrap_or(Outcome::Stored);
    let sections = draw.byte();
    let listings = Section::ALL.into_iter().enumerate().filter(|(n, _)| sections >> n & 1 == 1);
    let listings = listings.map(|(_, section)| {
        let (root, problems) = (root(section.class(), draw), root(section.class(), draw));
        Listing { section, root, problems }
    });
    let listings = listings.collect();
    let mut dumps = draw.list(3, dump);
    dumps.sort_by(|a, b| a.name.cmp(&b.name));
    dumps.dedup_by(|a, b| a.name == b.name);
    Account {
        module,
        version: draw.text(99),
        state: draw.choose(&[State::Complete, State::Warned, State::Partial, State::Failed, State::Skipped]),
        reason: draw.text(99),
        sources: draw.list(4, |draw| draw.bytes(99)),
        manifest: blob(draw),
        listings,
        items: draw.list(3, |draw| Item {
            name: draw.text(99),
            outcome: outcome(draw),
            message: draw.text(99),
        }),
        dumps,
        dependencies: draw.list(3, |draw| draw.text(99)),
        totals: totals(draw),
    }
}

fn dump(draw: &mut Draw<'_>) -> Dump {
    let (section, form) = (draw.choose(&Section::ALL), draw.choose(&[Form::Records, Form::Listing]));
    let root = root(section.class(), draw);
    let bytes = if form == Form::Listing && root.entries > 0 { draw.number() } else { root.value_bytes };
    let name = format!("d{}", draw.text(98));
    Dump { name, section, kind: draw.text(99), form, root, bytes, schema: blob(draw) }
}

/// Snapshots with all they can hold.
pub(super) fn written_snapshot(bytes: &[u8]) {
    let draw = &mut Draw(bytes);
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts.dedup();
        texts
    };
    let modules = sorted(draw.list(2, |draw| draw.text(99)).into_iter().chain(["files".into()]).collect());
    let written = Snapshot {
        session: session(draw),
        time: time(draw),
        utc_offset_minutes: draw.number() as i16,
        host: draw.text(255),
        user: draw.text(255),
        program: draw.text(255),
        tags: sorted(draw.list(5, |draw| draw.text(99))),
        comment: draw.text(999),
        parents: draw.list(4, object),
        accounts: modules.into_iter().map(|module| account(module, draw)).collect(),
        totals: totals(draw),
        provenance: draw.provenance(),
    };
    assert_eq!(snapshot::decode(&snapshot::encode(&written)), Ok(written));
}

/// Segments, and the pack directories in them.
pub(super) fn written_segment(bytes: &[u8]) {
    let draw = &mut Draw(bytes);
    let pack = |draw: &mut Draw<'_>| {
        let mut directory = Directory::default();
        for _ in 0..1 + draw.byte() % 5 {
            let chunks = 1 + u32::from(draw.byte() % 20);
            let chunks: Vec<Chunk> =
                (0..chunks).map(|_| Chunk { id: chunk(draw), len: 1 + draw.below(100_000) as u32 }).collect();
            let plain: u32 = chunks.iter().map(|chunk| chunk.len).sum();
            match draw.flag() {
                true => directory.push(Codec::Raw, plain + TAG_LEN as u32, &chunks),
                false => directory.push(Codec::Zstd, (TAG_LEN as u64 + draw.below(1 << 20)) as u32, &chunks),
            }
        }
        let (id, kind, mut header) = (object(draw), draw.choose(&PackKind::ALL), [0; HEADER_LEN]);
        header[7] = kind.code();
        header[16..48].copy_from_slice(&draw.array::<32>());
        SegmentPack { id, kind, header, stored_len: draw.below(1 << 28), directory }
    };
    let written = Segment { session: session(draw), packs: draw.list(4, pack) };
    for pack in &written.packs {
        assert_eq!(Directory::decode(&pack.directory.encode()).as_ref(), Ok(&pack.directory));
    }
    assert_eq!(Segment::decode(&written.encode()), Ok(written));
}

/// Key slots: opened by what they were made with, with all that was in them; not by anything else.
pub(super) fn written_slot(bytes: &[u8]) {
    static BUNDLE: OnceLock<Option<Bundle>> = OnceLock::new();
    let Some(bundle) = BUNDLE.get_or_init(|| Bundle::generate().ok()) else { return };
    let draw = &mut Draw(bytes);
    let secret: [u8; 32] = draw.array();
    let unlock = Unlock::KeyFile(Zeroizing::new(secret));
    let (repo, created, label) = (RepoId::from_bytes(draw.array()), draw.number() as i64, draw.text(64));
    let Ok(stored) = slot::create(bundle, &unlock, &KdfParams::LEAST, repo, created, &label) else { return };
    let read = Slot::parse(stored).expect("what was written");
    let header = (read.header.repo, read.header.created_unix_secs, read.header.label.clone());
    assert_eq!(header, (repo, created, label));
    let opened = read.open(&unlock).expect("by its own key");
    assert_eq!(opened.encode()[..], bundle.encode()[..]);
    let mut other = secret;
    other[usize::from(draw.byte()) % 32] ^= 1 << (draw.byte() % 8);
    assert!(read.open(&Unlock::KeyFile(Zeroizing::new(other))).is_err(), "opened by another key");
}
