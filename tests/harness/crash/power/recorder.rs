//! A block device that records every write and every flush: a FUSE file system with one file, and a loop device
//! over that file. A flush of the file system above reaches the loop driver, which syncs the file.

use super::image::{BLOCK, Image, Kind, Mount};
use crate::support::Scratch;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite, Request,
    WriteFlags,
};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// The name of the only file.
const DISK: &str = "disk";
/// Its inode.
const INODE: INodeNo = INodeNo(2);
/// Nothing changes that the kernel does not do itself.
const VALID: Duration = Duration::from_secs(3600);

/// What happened to the device, in order.
pub enum Event {
    /// Bytes were written at an offset.
    Write(u64, Vec<u8>),
    /// All that was written before is durable.
    Flush,
    /// A run ended with success: what it did is promised from here on.
    Done,
}

/// A device that was recorded.
#[derive(Default)]
pub struct Recording {
    /// What it held at first.
    pub before: Image,
    pub events: Vec<Event>,
    whole_blocks: &'static [u64],
    now: Image,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Recording>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device that is being recorded, mounted.
pub struct Recorder {
    shared: Shared,
    // In the order in which they must go.
    mount: Option<Mount>,
    session: Option<BackgroundSession>,
    // Removes the directory, last.
    place: Scratch,
}

impl Recorder {
    /// Makes a file system on a new device and mounts it.
    pub fn start(kind: Kind) -> Result<Self, String> {
        let place = Scratch::in_memory();
        let before = Image::made(kind);
        let shared = Shared(Arc::new(Mutex::new(Recording {
            now: before.clone(),
            before,
            events: Vec::new(),
            whole_blocks: kind.whole_blocks(),
        })));
        let device = place.dir("device");
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("crash-test".into())];
        let session = fuser::spawn_mount(Disk(shared.clone()), &device, &config);
        let session = session.map_err(|error| format!("no FUSE: {error}"))?;
        let mut recorder = Self { shared, mount: None, session: Some(session), place };
        let at = recorder.place_dir("mount");
        recorder.mount = Some(Mount::image(kind, &device.join(DISK), &at)?);
        Ok(recorder)
    }

    fn place_dir(&self, name: &str) -> std::path::PathBuf {
        self.place.dir(name)
    }

    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.as_ref().unwrap().path()
    }

    /// Notes that a run ended with success.
    pub fn done(&self) {
        self.shared.lock().events.push(Event::Done);
    }

    /// Ends the recording, and then unmounts: what that writes is not part of it.
    pub fn finish(mut self) -> Recording {
        let recording = std::mem::take(&mut *self.shared.lock());
        // What is written from now on lands in an empty image and is forgotten; reads must still be right.
        *self.shared.lock() = Recording { now: recording.now.clone(), ..Recording::default() };
        self.stop();
        recording
    }

    fn stop(&mut self) {
        self.mount.take();
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Disk(Shared);

impl Disk {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let bytes = self.0.lock().now.bytes();
        let is_disk = inode == INODE;
        FileAttr {
            ino: inode,
            size: if is_disk { bytes } else { 0 },
            blocks: bytes / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_disk { FileType::RegularFile } else { FileType::Directory },
            perm: if is_disk { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == DISK {
            true => reply.entry(&VALID, &self.attributes(INODE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&VALID, &self.attributes(inode));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(&self.0.lock().now.read_at(offset, size as usize));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut recording = self.0.lock();
        recording.now.write(offset, data);
        recording.events.push(Event::Write(offset, data.to_vec()));
        drop(recording);
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.0.lock().events.push(Event::Flush);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

impl Recording {
    /// Returns the image after a power cut before event `cut`: all that was written before the last flush, and of
    /// the rest what `loss` says.
    pub fn image_at(&self, cut: usize, loss: &mut Loss<'_>) -> Image {
        let events = &self.events[..cut];
        let durable = events.iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        let mut image = self.before.clone();
        for (number, event) in events.iter().enumerate() {
            let Event::Write(at, bytes) = event else { continue };
            match loss {
                _ if number < durable => image.write(*at, bytes),
                Loss::All => {}
                Loss::None => image.write(*at, bytes),
                Loss::Some(keep) => {
                    if keep() {
                        image.write(*at, bytes);
                    }
                }
                Loss::Torn(keep) => image.write_torn(*at, bytes, self.whole_blocks, &mut *keep),
            }
        }
        image
    }
}

/// What of the writes since the last flush is lost.
pub enum Loss<'a> {
    All,
    None,
    /// Those writes that are not to be kept.
    Some(&'a mut dyn FnMut() -> bool),
    /// Those sectors that are not to be kept.
    Torn(&'a mut dyn FnMut() -> bool),
}
