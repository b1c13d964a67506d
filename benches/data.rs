//! Made data for the benches: the same on every machine and at every run.

use dedup_engine::id::ChunkId;
use dedup_engine::listing::{Body, Content, Node, Part, StoredPath, Time, Xattrs, encode_node};

/// SplitMix64 (Steele, Lea, Flood, 2014): enough for data that only has to look random.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    pub fn fill(&mut self, out: &mut Vec<u8>, len: usize) {
        let end = out.len() + len;
        while out.len() < end {
            out.extend_from_slice(&self.word().to_le_bytes());
        }
        out.truncate(end);
    }
}

/// Bytes that do not compress.
pub fn random(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    Random(1).fill(&mut bytes, len);
    bytes
}

/// Lines of words and phrases, few of them frequent: zstd 3 saves about three quarters, as of source code.
pub fn text(len: usize) -> Vec<u8> {
    let mut random = Random(2);
    // The product of two uniform numbers prefers the first ones.
    let some = |random: &mut Random, of: usize| random.below(of) * random.below(of) / of;
    let word =
        |random: &mut Random| (0..2 + random.below(9)).map(|_| b'a' + random.below(26) as u8).collect();
    let words: Vec<Vec<u8>> = (0..6000).map(|_| word(&mut random)).collect();
    let phrase = |random: &mut Random| -> Vec<u8> {
        let picked: Vec<_> =
            (0..2 + random.below(6)).map(|_| &words[some(random, words.len())][..]).collect();
        picked.join(&b' ')
    };
    let phrases: Vec<Vec<u8>> = (0..8000).map(|_| phrase(&mut random)).collect();
    let mut bytes = Vec::with_capacity(len + 100);
    while bytes.len() < len {
        let from = if random.below(10) < 4 { &phrases } else { &words };
        bytes.extend_from_slice(&from[some(&mut random, from.len())]);
        bytes.push(if random.below(9) == 0 { b'\n' } else { b' ' });
    }
    bytes.truncate(len);
    bytes
}

/// An image of a disk: extents of 64 KiB, of which three in ten are empty, three hold text, two tables of
/// numbers, two what does not compress.
pub fn image(len: usize) -> Vec<u8> {
    const EXTENT: usize = 64 << 10;
    let (mut random, text) = (Random(3), text(4 << 20));
    let mut bytes = Vec::with_capacity(len + EXTENT);
    let mut row = 0u64;
    while bytes.len() < len {
        let end = bytes.len() + EXTENT;
        match random.below(10) {
            0..3 => bytes.resize(end, 0),
            3..6 => {
                let start = random.below(text.len() - EXTENT);
                bytes.extend_from_slice(&text[start..start + EXTENT]);
            }
            6..8 => {
                while bytes.len() < end {
                    row += 1 + random.word() % 4;
                    bytes.extend_from_slice(&row.to_le_bytes());
                    bytes.extend_from_slice(&(random.word() as u32 % 5000).to_le_bytes());
                    bytes.extend_from_slice(&[0; 4]);
                }
            }
            _ => random.fill(&mut bytes, EXTENT),
        }
    }
    bytes.truncate(len);
    bytes
}

/// The id of made chunk `number`.
pub fn id(number: u64) -> ChunkId {
    let mut random = Random(number.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let mut bytes = [0; ChunkId::LEN];
    bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = random.word().to_le_bytes());
    ChunkId::from_bytes(bytes)
}

/// A file of `chunks` chunks as a backup lists it.
pub fn file(number: u64, chunks: u64) -> Node {
    let part = |n: u64| Part { len: 60_000 + n % 20_000, chunks: 1, id: id(number + (n << 32)) };
    let parts: Vec<Part> = (0..chunks).map(part).collect();
    let time = Time { secs: 1_700_000_000 + (number % 9_000_000) as i64, nanos: 123_456_789 };
    Node {
        body: Body::File {
            size: parts.iter().map(|part| part.len).sum(),
            holes: Vec::new(),
            content: Content { level: 0, parts },
        },
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        names: Some(("ann".to_owned(), "users".to_owned())),
        mtime: time,
        ctime: Time { secs: time.secs + 3, ..time },
        atime: None,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        suspect: false,
    }
}

/// Keys and encoded nodes of `count` files, sixty to a directory, in the order of a listing.
pub fn listing(count: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entry = |n: u64| {
        let path = format!("home/ann/project-{:03}/module-{:03}/file-{n:07}.rs", n / 6000, n / 60 % 100);
        let key = StoredPath::from_slashes(path.as_bytes()).expect("a good path").as_key().to_vec();
        (key, encode_node(&file(n, 1 + n % 3)).expect("a good node"))
    };
    (0..count).map(entry).collect()
}
