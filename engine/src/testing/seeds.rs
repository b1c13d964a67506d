//! Seeds for the fuzz targets: what a real repository holds, opened.

use crate::compress::Level;
use crate::crypto::capsule;
use crate::crypto::header::ObjectKind;
use crate::crypto::paper::Paper;
use crate::crypto::wrap::Wrapped;
use crate::format::{HEADER_LEN, MAX_PACK, PARITY_STEP};
use crate::id::{ObjectId, SessionId};
use crate::index::{Segment, SegmentPack};
use crate::listing::{Body, StoredPath, Time, Xattrs, decode_node, encode_xattrs};
use crate::log::epoch::Epoch;
use crate::log::{Act, Entry, Head, Mark};
use crate::map::content::put_content;
use crate::map::{MapNode, Value};
use crate::pack::reader::{BlockReader, PackKey};
use crate::pack::{Directory, PackKind};
use crate::parity::{GroupKey, Head as ParityHead};
use crate::repo::control::{Condemned, Generation};
use crate::repo::key_changes::KeyChange;
use crate::repo::records::{RunRecord, RunVerdict};
use crate::repo::retention::{Retention, Signed};
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name, Part};

/// The seeds found so far: name of the target, bytes.
type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Returns what `repo` holds as input for each of the [`TARGETS`](super::TARGETS).
pub fn seeds(repo: &Repository) -> Result<Seeds, RepoError> {
    let mut seeds = vec![("config", repo.config().encode()), ("bundle", bundle(repo))];
    for family in Family::ALL {
        let mut names = Vec::new();
        let mut each = |name: Name, _: u64| {
            names.push(name);
            Ok(())
        };
        repo.storage().list(family, &mut each, &mut |_| {})?;
        for name in names {
            seeds.push(("name", name.to_string().into_bytes()));
            object(repo, &name, &mut seeds)?;
        }
    }
    made(&mut seeds);
    drawn(&mut seeds);
    Ok(seeds)
}

/// Adds bytes for the targets that draw from them: any will do, and these have some order in them.
fn drawn(seeds: &mut Seeds) {
    let from = ["snapshot", "segment", "listing_node", "name", "slot", "content"];
    let mut some = Vec::new();
    for kind in from {
        some.extend(seeds.iter().find(|(target, _)| *target == kind).map(|(_, bytes)| bytes.clone()));
    }
    some.push((0..=255).collect());
    let targets =
        super::TARGETS.iter().filter(|(name, _)| name.starts_with("does_") || name.starts_with("written_"));
    for (target, _) in targets {
        seeds.extend(some.iter().map(|bytes| (*target, bytes[..bytes.len().min(1024)].to_vec())));
    }
}

fn bundle(repo: &Repository) -> Vec<u8> {
    repo.objects.keyring.bundle().encode().to_vec()
}

fn object(repo: &Repository, name: &Name, seeds: &mut Seeds) -> Result<(), RepoError> {
    let stored = repo.storage().get_all(name, MAX_PACK)?;
    if !matches!(name, Name::Slot(_)) {
        seeds.push(("header", stored[..HEADER_LEN.min(stored.len())].to_vec()));
    }
    let (target, kind) = match name {
        Name::Slot(_) => {
            seeds.push(("slot", stored));
            return Ok(());
        }
        Name::Pack(id) => return pack(repo, *id, &stored, seeds),
        Name::Segment(_) => ("segment", ObjectKind::Segment),
        Name::Snapshot(_) => ("snapshot", ObjectKind::Snapshot),
        Name::Session(_, Part::Begin) => ("session", ObjectKind::Session),
        Name::Session(_, Part::Intent(_)) => ("intent", ObjectKind::Intent),
        Name::Session(_, Part::End) => ("end", ObjectKind::End),
        _ => return Ok(()),
    };
    let plain = repo.objects.get(kind, name)?;
    seeds.push(("capsule", capsule::fill(&plain)?));
    seeds.push((target, plain));
    Ok(())
}

fn pack(repo: &Repository, id: ObjectId, stored: &[u8], seeds: &mut Seeds) -> Result<(), RepoError> {
    let (key, kind) = PackKey::open_any(&repo.objects.keyring, stored)?;
    let directory = key.directory_of(stored)?;
    seeds.push(("pack_directory", directory.encode()));
    let mut reader = BlockReader::new()?;
    for (number, block) in directory.blocks().iter().enumerate().filter(|_| kind == PackKind::Listing) {
        let range = directory.range_of(number).unwrap_or_default();
        let sealed = &stored[range.start as usize..range.end as usize];
        let plain = reader.open(&key, number as u32, block.codec, block.plain_len, sealed)?;
        let mut at = 0;
        for chunk in directory.chunks_of(number) {
            let end = at + chunk.len as usize;
            listing_chunk(&plain[at..end], seeds);
            at = end;
        }
    }
    let mut header = [0; HEADER_LEN];
    header.copy_from_slice(&stored[..HEADER_LEN]);
    let pack = SegmentPack { id, kind, header, stored_len: stored.len() as u64, directory };
    seeds.push((
        "segment",
        Segment { session: SessionId::from_bytes([1; 16]), packs: vec![pack.clone(), pack] }.encode(),
    ));
    Ok(())
}

/// A listing pack holds map nodes, content lists and attribute sets; which, its user knows. A seed may
/// well be in the wrong corpus.
fn listing_chunk(chunk: &[u8], seeds: &mut Seeds) {
    let Ok(node) = MapNode::decode(chunk.to_vec()) else {
        return seeds.extend([("content", chunk.to_vec()), ("xattrs", chunk.to_vec())]);
    };
    for index in 0..node.count() {
        let (Some(key), Some(Value::Inline(value))) = (node.key(index), node.value(index)) else { continue };
        let Ok(entry) = decode_node(value) else { continue };
        seeds.push(("listing_node", value.to_vec()));
        if StoredPath::from_key(&key).is_ok() {
            seeds.push(("stored_path", key));
        }
        if let Xattrs::Inline(set) = &entry.xattrs {
            seeds.push(("xattrs", set.clone()));
        }
        if let Body::File { content, .. } = &entry.body {
            let mut list = Vec::new();
            put_content(&mut list, content.level, &content.parts);
            seeds.push(("content", list));
        }
    }
    seeds.push(("map_node", chunk.to_vec()));
}

/// Adds what a repository has only once it was pruned, and what is part of other structures.
fn made(seeds: &mut Seeds) {
    let (id, session) = (ObjectId::from_bytes([7; 32]), SessionId::from_bytes([8; 16]));
    let condemned = Condemned {
        number: 2,
        base: 1,
        session: Some(session),
        packs: vec![id, id],
        segments: vec![id],
        snapshots: Vec::new(),
    };
    seeds.push(("condemned", condemned.encode()));
    let paper = Paper { key: Some(zeroize::Zeroizing::new([7; 32])), slot: Some((0..60).collect()) };
    seeds.push(("paper", paper.text().as_bytes().to_vec()));
    let stays = vec![ObjectId::from_bytes([9; 32])];
    seeds.push(("key_change", KeyChange { number: 300, removed: id, stays, client: [8; 16] }.encode()));
    for slots in 1..3 {
        let wrapped =
            |n| Wrapped { slot: ObjectId::from_bytes([n; 32]), ephemeral: [2; 32], sealed: vec![n; 608] };
        let epoch = Epoch {
            number: 2,
            previous: id,
            created_unix_secs: 1_795_000_000,
            x25519_public: [1; 32],
            checks: [1, 2, 3, 5, 6, 8].map(|code| (code, [code; 32])).to_vec(),
            wrapped: (0..slots).map(wrapped).collect(),
            first_signer: [3; 32],
            signers: vec![([3; 32], 15), ([4; 32], 1)],
            generation: 7,
            retention: 300,
            ends: vec![(crate::id::ClientId::from_bytes([2; 16]), 9)],
            segments: vec![id],
            public_key: [3; 32],
            signature: [4; 64],
        };
        seeds.push(("epoch", epoch.encode()));
    }
    let nodes: Vec<_> = seeds.iter().filter(|(target, _)| *target == "listing_node").cloned().collect();
    for (at, (_, node)) in nodes.into_iter().take(6).enumerate() {
        // Began, inode, how many ids stand elsewhere, and where.
        let ids: &[u8] =
            if at % 2 == 0 { &[0] } else { &[0x80, 0x18, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3] };
        seeds.push(("page", [&[5; 8][..], &[1, 0, 0, 0], &[9; 8], ids, &node].concat()));
    }
    let generation = Generation {
        number: 2,
        condemned: 2,
        previous: id,
        session,
        packs: vec![id],
        segments: vec![id],
        snapshots: vec![id, id],
        parity: Vec::new(),
        retired: vec![session],
        public_key: [3; 32],
        signature: [4; 64],
    };
    seeds.push(("generation", generation.encode()));
    let retention = Retention {
        number: 3,
        time: Time { secs: 1_795_000_000, nanos: 5 },
        forgotten: [6, 7].map(|n| ObjectId::from_bytes([n; 32])).into(),
        pinned: [ObjectId::from_bytes([9; 32])].into(),
        public_key: [3; 32],
        signature: Signed([4; 64]),
    };
    seeds.push(("retention", retention.encode()));
    let of = |n| ObjectId::from_bytes([n; 32]);
    let admitted = Act::Admitted { public_key: [8; 32], rights: 15 };
    let mark = Mark { number: 9, id: of(1) };
    let gone = Act::Slot { id: of(7), is_removed: true };
    for act in [Act::Made(vec![of(5), of(6)]), gone, admitted, Act::Removed, Act::Epoch(mark)] {
        let entry = Entry {
            number: 300,
            previous: of(1),
            time: Time { secs: 1_795_000_000, nanos: 5 },
            host: "web1".into(),
            act,
            live: 3,
            generation: mark,
            retention: Mark::NONE,
            heads: vec![Head { client: crate::id::ClientId::from_bytes([2; 16]), mark }],
            public_key: [3; 32],
            signature: [4; 64],
        };
        seeds.push(("log_entry", entry.encode()));
    }
    for count in [1, 3, 128] {
        let pack = |n: u8| (ObjectId::from_bytes([n; 32]), 70_000 * (u64::from(n) + 1));
        let group = GroupKey { packs: (0..count).map(pack).collect(), shards: 2 };
        let len = group.shard_len().min(PARITY_STEP);
        seeds.push(("parity", ParityHead { group, number: 1, start: 0, len, hash: [5; 32] }.encode()));
    }
    for hooks in [0, 2] {
        let record = RunRecord {
            number: 1 + hooks,
            snapshot: id,
            verdict: RunVerdict::Suspect,
            text: "the database was not stopped".into(),
            hooks: (0..hooks).map(|n| (format!("post-backup {n}"), 1 - 2 * n as i64)).collect(),
            time: Time { secs: 1_795_000_000, nanos: 5 },
        };
        seeds.push(("run_record", record.encode()));
    }
    let attribute = |name: &str, len: usize| (name.as_bytes().to_vec(), vec![b'x'; len]);
    let sets = [vec![attribute("user.a", 3)], vec![attribute("user.a", 300), attribute("user.b", 0)]];
    seeds.extend(sets.iter().map(|set| ("xattrs", encode_xattrs(set))));
    let chunk = crate::id::ChunkId::from_bytes([9; 32]);
    for (len, level) in [(5, 0), (600 << 10, 1), (1 << 30, 2)] {
        let mut blob = Vec::new();
        crate::map::Blob { len, level, id: Some(chunk) }.encode(&mut blob);
        seeds.push(("blob", blob));
    }
    for entries in [0, 300] {
        let mut root = Vec::new();
        let full =
            crate::map::Root { id: Some(chunk), entries, value_bytes: 70_000, ..crate::map::Root::EMPTY };
        if entries == 0 { crate::map::Root::EMPTY } else { full }.encode(&mut root);
        seeds.push(("map_root", root));
    }
    seeds.push(("wire", vec![2, 2, 1, 9, 4, 0]));
    seeds.push(("wire", vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x80, 1, 0x7f]));
    let text = b"the same line again and again\n".repeat(40);
    if let Ok(Ok((_, frame))) = crate::compress::Compressor::new(Level::Zstd(3)).map(|mut zstd| {
        zstd.code(&text, &crate::compress::Stream::default()).map(|(codec, coded)| (codec, coded.to_vec()))
    }) {
        seeds.push(("capsule", frame));
    }
    seeds.push(("pack_directory", Directory::default().encode()));
}
