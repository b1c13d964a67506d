//! Restores out of a repository in memory into a sink in memory that notes what is asked of it and fails on demand.

mod comparing;
mod contents;
mod failing;
mod order;
pub(super) mod shelf;
mod windows;

use super::sink::Sink;
use super::*;
use crate::crypto::keyring::ChunkKind;
use crate::crypto::slot::{KdfParams, Unlock};
use crate::id::{ChunkId, LinkGroup, ObjectId};
use crate::listing::{Content, ContentBuilder, Time, Xattrs, encode_node, encode_xattrs, save_xattrs};
use crate::map::{Builder, SaveChunk};
use crate::pack::PackKind;
use crate::progress::Silent;
use crate::repo::Settings;
use crate::storage::Name;
use crate::storage::fault::FaultStorage;
use crate::storage::memory::MemoryStorage;
use shelf::Shelf;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A repository that is being filled, one pack of one block after another, and the listing of one snapshot.
struct World {
    repo: Repository,
    storage: Arc<MemoryStorage>,
    /// The same, counting calls.
    counted: Arc<FaultStorage>,
    /// What the listing is made of, until it is stored.
    nodes: RefCell<Vec<(ChunkId, Vec<u8>)>>,
    entries: BTreeMap<Vec<u8>, Node>,
    dir: tempfile::TempDir,
}

impl SaveChunk for World {
    type Error = Infallible;

    fn save(&self, plain: &[u8]) -> Result<ChunkId, Infallible> {
        let id = self.repo.namer.name(ChunkKind::Listing, plain);
        self.nodes.borrow_mut().push((id, plain.to_vec()));
        Ok(id)
    }
}

/// A node with nothing but a body.
pub(super) fn node(body: Body) -> Node {
    let time = Time { secs: 1_700_000_000, nanos: 0 };
    Node {
        body,
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

fn path(slashes: &str) -> StoredPath {
    StoredPath::from_slashes(slashes.as_bytes()).unwrap()
}

/// Bytes that do not repeat, none of them zero.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.iter().map(|byte| byte | 1).collect()
}

impl World {
    fn new() -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let unlock = Unlock::new_key_file().unwrap().0;
        let kdf = KdfParams { memory_kib: 8, passes: 1, lanes: 1 };
        drop(Repository::create(storage.clone(), &unlock, &kdf, "", &Settings::default(), 1).unwrap());
        let counted = Arc::new(FaultStorage::new(storage.clone()));
        let repo = Repository::open(counted.clone(), &unlock, 0).unwrap();
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { repo, storage, counted, nodes: RefCell::default(), entries: BTreeMap::new(), dir }
    }

    /// Stores a pack with these chunks.
    fn pack(&self, chunks: &[&[u8]]) -> ObjectId {
        let named: Vec<_> = chunks.iter().map(|chunk| (self.name(chunk), *chunk)).collect();
        self.repo.store_unverified(&named).unwrap()
    }

    fn name(&self, chunk: &[u8]) -> ChunkId {
        self.repo.namer.name(ChunkKind::Data, chunk)
    }

    fn content<'c>(&self, chunks: impl IntoIterator<Item = &'c [u8]>) -> Content {
        let mut builder = ContentBuilder::new(self);
        for chunk in chunks {
            builder.push(self.name(chunk), chunk.len() as u32).unwrap();
        }
        builder.finish().unwrap()
    }

    /// Lists an entry.
    fn list(&mut self, at: &str, node: Node) -> &mut Node {
        let key = path(at).as_key().to_vec();
        self.entries.entry(key).insert_entry(node).into_mut()
    }

    fn list_directories(&mut self, paths: &[&str]) {
        for at in paths {
            self.list(at, node(Body::Directory));
        }
    }

    /// Lists a file of chunks that are stored, with these holes besides.
    fn list_file(&mut self, at: &str, chunks: &[&[u8]], holes: Vec<Range<u64>>) -> &mut Node {
        let content = self.content(chunks.iter().copied());
        let size = content.len() + holes.iter().map(|hole| hole.end - hole.start).sum::<u64>();
        self.list(at, node(Body::File { size, holes, content }))
    }

    /// Returns extended attributes as a node has them.
    fn xattrs(&self, set: &[(&str, usize)]) -> Xattrs {
        let set: Vec<_> = set.iter().map(|(name, len)| (name.as_bytes().to_vec(), noise(8, *len))).collect();
        save_xattrs(self, encode_xattrs(&set)).unwrap()
    }

    /// Stores the listing, and looks at what is stored.
    fn done(&mut self) -> Root {
        let mut builder = Builder::new(self, &[1; 32], self.repo.leaf_target());
        for (key, node) in &self.entries {
            builder.push(key, &encode_node(node).unwrap()).unwrap();
        }
        let root = builder.finish().unwrap();
        for (id, plain) in self.nodes.take() {
            self.repo.store_pack(PackKind::Listing, &[(id, &plain)]).unwrap();
        }
        self.repo.attach_index(self.dir.path(), &Silent).unwrap();
        root
    }

    fn restore(&self, root: &Root, sink: &Shelf) -> Result<RestoreReport, RestoreError> {
        self.restore_telling(root, sink, &Silent)
    }

    fn restore_telling(
        &self,
        root: &Root,
        sink: &Shelf,
        events: &dyn Events,
    ) -> Result<RestoreReport, RestoreError> {
        let request = RestoreRequest { base: StoredPath::root(), select: &|_, _| true, threads: 2 };
        run(&self.repo, root, sink, &request, events)
    }

    /// Returns how often something was read from a pack since the calls were reset.
    fn reads_of(&self, pack: ObjectId) -> usize {
        let name = Name::pack(pack).to_string();
        self.counted.calls().iter().filter(|call| call.name == name).count()
    }

    /// Flips a bit in the first sealed block of a pack.
    fn damage(&self, pack: ObjectId) {
        let name = Name::pack(pack);
        let mut bytes =
            self.storage.objects().into_iter().find(|(other, _)| *other == name).unwrap().1.to_vec();
        bytes[crate::format::HEADER_LEN + 3] ^= 1;
        self.storage.overwrite(name, &bytes);
    }
}

/// Adds up what is told of the progress; asks to stop if told so.
#[derive(Default)]
struct Told {
    done: Mutex<(u64, u64)>,
    problems: Mutex<Vec<String>>,
    phases: Mutex<Vec<Phase>>,
    stop: AtomicBool,
}

impl Events for Told {
    fn event(&self, event: Event) {
        match event {
            Event::Done { entries, bytes, .. } => {
                let mut done = self.done.lock().unwrap();
                *done = (done.0 + entries, done.1 + bytes);
            }
            Event::Problem { path, .. } => {
                self.problems.lock().unwrap().push(String::from_utf8(path).unwrap());
            }
            Event::Phase(phase) => self.phases.lock().unwrap().push(phase),
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
