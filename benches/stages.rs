//! The stages of a run one by one, on made data, one thread: how fast each is alone.
//!
//! `cargo bench` takes about two minutes; `cargo bench -- index` runs one group. MB are 10^6 bytes of plaintext.
//! Whole runs are measured by `rivals.py`. What the figures were: `README.md` beside this file.

mod data;

use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use data::{file, id, image, listing, random, text};
use dedup_engine::chunker::{ChunkSizes, Chunker};
use dedup_engine::compress::{Compressor, Level, Stream};
use dedup_engine::crypto::keyring::{ChunkKind, Keyring, Namer};
use dedup_engine::crypto::roots::Bundle;
use dedup_engine::id::{ObjectId, RepoId, SessionId};
use dedup_engine::index::{Index, SegmentPack, Settings};
use dedup_engine::listing::{decode_node, encode_node};
use dedup_engine::map::{Builder, Cursor, LeafTarget, Root, memory::MemoryChunks};
use dedup_engine::pack::builder::{BuiltPack, CodedBlock, PackBuilder};
use dedup_engine::pack::reader::{BlockReader, PackKey};
use dedup_engine::pack::{Chunk, Directory, PackKind};
use dedup_engine::testing::bench::{chunker, namer, seal_unverified};
use std::hint::black_box;
use std::time::Duration;

const MIB: usize = 1 << 20;
/// As `init` sets it.
const BLOCK: usize = MIB;
const PACK: u64 = 16 << 20;
const SESSION: SessionId = SessionId::from_bytes([3; 16]);

/// The keys of a repository, and what is made of them.
struct Keys {
    keyring: Keyring,
    namer: Namer,
    chunker: Chunker,
}

impl Keys {
    fn new() -> Self {
        let bundle = Bundle::generate().expect("random bytes");
        let keyring = Keyring::new(RepoId::from_bytes([1; 16]), bundle).expect("all roots");
        let namer = namer(&keyring).expect("the root");
        let chunker = chunker(&keyring, ChunkSizes::default()).expect("the root");
        Self { keyring, namer, chunker }
    }

    /// Cuts, names and codes: the blocks of a pack as the pipeline makes them.
    fn blocks(&self, bytes: &[u8], level: Level) -> Vec<CodedBlock> {
        let (mut compressor, stream) = (Compressor::new(level).expect("memory"), Stream::default());
        let mut blocks = Vec::new();
        let (mut start, mut end, mut chunks) = (0, 0, Vec::new());
        while end < bytes.len() {
            let len = self.chunker.cut(&bytes[end..]);
            let id = self.namer.name(ChunkKind::Data, &bytes[end..end + len]);
            chunks.push(Chunk { id, len: len as u32 });
            end += len;
            if end - start >= BLOCK || end == bytes.len() {
                let chunks = std::mem::take(&mut chunks);
                blocks.push(
                    CodedBlock::code(bytes[start..end].to_vec(), chunks, &mut compressor, &stream)
                        .expect("memory"),
                );
                start = end;
            }
        }
        blocks
    }

    fn filled(&self, bytes: &[u8], level: Level) -> PackBuilder {
        let mut builder = PackBuilder::new(PackKind::Data, PACK);
        self.blocks(bytes, level).into_iter().for_each(|block| builder.push(block));
        builder
    }

    fn pack(&self, bytes: &[u8]) -> BuiltPack {
        self.filled(bytes, Level::Zstd(3)).finish(&self.keyring, &self.namer, SESSION).expect("a good pack")
    }
}

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(15)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    group
}

fn bytes(len: usize) -> Throughput {
    Throughput::BytesDecimal(len as u64)
}

/// Shapes of data: text, the image of a disk, noise.
fn shapes(len: usize) -> [(&'static str, Vec<u8>); 3] {
    [("text", text(len)), ("image", image(len)), ("random", random(len))]
}

fn chunk(criterion: &mut Criterion, keys: &Keys) {
    let mut group = group(criterion, "chunk");
    for (shape, data) in shapes(16 * MIB) {
        group.throughput(bytes(data.len()));
        group.bench_function(shape, |bencher| {
            bencher.iter(|| {
                let mut at = 0;
                while at < data.len() {
                    at += keys.chunker.cut(&data[at..]);
                }
                at
            });
        });
    }
}

fn name(criterion: &mut Criterion, keys: &Keys) {
    let mut group = group(criterion, "name");
    for len in [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10] {
        let data = random(len);
        group.throughput(bytes(len));
        group.bench_function(format!("{} KiB", len >> 10), |bencher| {
            bencher.iter(|| keys.namer.name(ChunkKind::Data, black_box(&data)));
        });
    }
}

fn compress(criterion: &mut Criterion) {
    let mut group = group(criterion, "compress");
    for (shape, data) in shapes(16 * MIB) {
        for level in [1, 3] {
            // Of noise only the probe is left: it says no, and the level plays no part.
            let probe = shape == "random";
            if probe && level == 1 {
                continue;
            }
            let mut compressor = Compressor::new(Level::Zstd(level)).expect("memory");
            let coded = |compressor: &mut Compressor| -> usize {
                data.chunks(BLOCK)
                    .map(|block| compressor.code(block, &Stream::default()).expect("memory").1.len())
                    .sum()
            };
            let saved = 100 - 100 * coded(&mut compressor) / data.len();
            let what = if probe { "probe".to_owned() } else { format!("zstd {level}, saves {saved} %") };
            group.throughput(bytes(data.len()));
            group.bench_function(format!("{shape}: {what}"), |bencher| {
                bencher.iter(|| coded(&mut compressor))
            });
        }
    }
}

fn seal(criterion: &mut Criterion, keys: &Keys) {
    let mut group = group(criterion, "seal");
    for (shape, data) in [("text", text(16 * MIB)), ("random", random(16 * MIB))] {
        group.throughput(bytes(data.len()));
        let filled = || keys.filled(&data, Level::Zstd(1));
        group.bench_function(format!("{shape}: pack, verified"), |bencher| {
            let finish = |pack: PackBuilder| pack.finish(&keys.keyring, &keys.namer, SESSION).expect("sound");
            bencher.iter_batched(filled, finish, BatchSize::PerIteration);
        });
        group.bench_function(format!("{shape}: pack, not verified"), |bencher| {
            let seal = |pack: PackBuilder| seal_unverified(pack, &keys.keyring, SESSION).expect("sound");
            bencher.iter_batched(filled, seal, BatchSize::PerIteration);
        });
    }
}

fn open(criterion: &mut Criterion, keys: &Keys) {
    let mut group = group(criterion, "open");
    for (shape, data) in [("text", text(16 * MIB)), ("random", random(16 * MIB))] {
        let pack = keys.pack(&data);
        let key = PackKey::open(&keys.keyring, &pack.bytes, PackKind::Data).expect("a good header");
        let mut reader = BlockReader::new().expect("memory");
        group.throughput(bytes(data.len()));
        let mut read = |named: bool| {
            let mut sum = 0;
            for (number, block) in pack.directory.blocks().iter().enumerate() {
                let range = pack.directory.range_of(number).expect("it is there");
                let sealed = &pack.bytes[range.start as usize..range.end as usize];
                let plain =
                    reader.open(&key, number as u32, block.codec, block.plain_len, sealed).expect("sound");
                let mut at = 0;
                for chunk in pack.directory.chunks_of(number).iter().filter(|_| named) {
                    let end = at + chunk.len as usize;
                    assert_eq!(keys.namer.name(ChunkKind::Data, &plain[at..end]), chunk.id);
                    at = end;
                }
                sum += plain.len();
            }
            sum
        };
        group.bench_function(format!("{shape}: blocks"), |bencher| bencher.iter(|| read(false)));
        group.bench_function(format!("{shape}: blocks, re-hashed"), |bencher| bencher.iter(|| read(true)));
    }
}

/// The directory of a pack of 500 chunks in 16 blocks, and its number.
fn made_directory(pack: u64) -> Directory {
    let mut directory = Directory::default();
    for block in 0..16 {
        let count = if block < 4 { 32 } else { 31 };
        let first = pack * 1000 + block * 40;
        let chunks: Vec<_> = (first..first + count).map(|n| Chunk { id: id(n), len: 60_000 }).collect();
        directory.push(dedup_engine::compress::Codec::Zstd, 1 << 20, &chunks);
    }
    directory
}

fn directory(criterion: &mut Criterion) {
    let mut group = group(criterion, "directory");
    let directory = made_directory(0);
    let encoded = directory.encode();
    group.throughput(bytes(encoded.len()));
    group.bench_function("encode 500 chunks", |bencher| bencher.iter(|| black_box(&directory).encode()));
    group.bench_function("decode 500 chunks", |bencher| {
        bencher.iter(|| Directory::decode(black_box(&encoded)))
    });
}

fn index(criterion: &mut Criterion) {
    const PACKS: u64 = 2000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings =
        Settings { repository: RepoId::from_bytes([1; 16]), memory_bytes: 64 * MIB, file_cache_bytes: 0 };
    let index = Index::open(folder.path(), &settings).expect("a new index");
    let object = |n: u64| ObjectId::from_bytes(*id(n | 1 << 60).as_bytes());
    let pack = |number| {
        let (mut header, stored_len) = ([0; 80], 17 << 20);
        header[7] = PackKind::Data.code();
        SegmentPack {
            id: object(number),
            kind: PackKind::Data,
            header,
            stored_len,
            directory: made_directory(number),
        }
    };
    let segment = |first: u64| (first..PACKS.min(first + 64)).map(pack).collect::<Vec<_>>();
    let mut group = group(criterion, "index");
    let mut known = Vec::new();
    for first in (0..PACKS).step_by(64) {
        let packs = segment(first);
        index.apply_segment(object(first | 1 << 50), &packs).expect("a good segment");
        known.extend(packs.iter().flat_map(|pack| pack.directory.chunks()).map(|chunk| chunk.id));
    }
    println!("index: {:?}", index.statistics().expect("statistics"));
    let new: Vec<_> = (0..1 << 18).map(|n| id(n | 1 << 61)).collect();
    // 7919 is prime and no factor of a million: every chunk once, never two neighbours.
    let scattered: Vec<_> = (0..known.len()).map(|n| known[n * 7919 % known.len()]).collect();

    let sets =
        [("new", &new, false), ("known, as stored", &known, true), ("known, scattered", &scattered, true)];
    for (what, ids, found) in sets {
        for batch in [1, 64] {
            let mut batches = ids.chunks_exact(batch).cycle();
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(format!("{what}, by {batch}"), |bencher| {
                bencher.iter(|| {
                    let answer =
                        index.lookup_many(batches.next().expect("it is endless")).expect("an answer");
                    assert!(answer.iter().all(|place| place.is_some() == found));
                });
            });
        }
    }
}

fn lists(criterion: &mut Criterion) {
    let mut group = group(criterion, "listing");
    for (what, node) in [("3 chunks", file(9, 3)), ("500 chunks", file(9, 500))] {
        let encoded = encode_node(&node).expect("a good node");
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("encode node of {what}"), |bencher| {
            bencher.iter(|| encode_node(black_box(&node)))
        });
        group.bench_function(format!("decode node of {what}"), |bencher| {
            bencher.iter(|| decode_node(black_box(&encoded)));
        });
    }

    const ENTRIES: u64 = 500_000;
    let entries = listing(ENTRIES);
    let target = LeafTarget::new(4 << 10).expect("within its limits");
    let build = |store: &MemoryChunks| -> Root {
        let mut builder = Builder::new(store, &[1; 32], target);
        entries.iter().for_each(|(key, value)| builder.push(key, value).expect("sorted"));
        builder.finish().expect("room")
    };
    group.sample_size(10).throughput(Throughput::Elements(ENTRIES));
    group.bench_function("build, 500,000 entries", |bencher| {
        bencher.iter_batched(MemoryChunks::new, |store| build(&store), BatchSize::PerIteration);
    });
    let store = MemoryChunks::new();
    let root = build(&store);
    println!("listing: {} chunks, level {}", store.len(), root.level);
    group.bench_function("walk, 500,000 entries", |bencher| {
        bencher.iter(|| {
            let mut cursor = Cursor::new(&store, root, target);
            let mut count = 0;
            while cursor.next().expect("sound").is_some() {
                count += 1;
            }
            // Announced chunks are noted for tests; without this the notes would grow.
            store.take_announced();
            assert_eq!(count, ENTRIES);
        });
    });
    // 7919 is prime: it comes round to each of them.
    let mut at = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("look one up among 500,000", |bencher| {
        let mut cursor = Cursor::new(&store, root, target);
        bencher.iter(|| {
            at = (at + 7919) % entries.len();
            assert!(cursor.get(&entries[at].0).expect("sound").is_some());
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    let keys = Keys::new();
    chunk(&mut criterion, &keys);
    name(&mut criterion, &keys);
    compress(&mut criterion);
    seal(&mut criterion, &keys);
    open(&mut criterion, &keys);
    directory(&mut criterion);
    index(&mut criterion);
    lists(&mut criterion);
    criterion.final_summary();
}
