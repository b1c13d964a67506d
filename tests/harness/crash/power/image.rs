//! Images of file systems as blocks in memory, and mounts that go away by themselves.

use crate::cli::support::is_root;
use crate::support::Scratch;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of a block; a power of two, as is the sector.
pub const BLOCK: usize = 4096;
const SECTOR: usize = 512;

/// A file system to crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Ext4,
    Xfs,
    Btrfs,
}

impl Kind {
    /// Returns what `mount` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Returns where blocks are that must not be torn, or it does not mount: checksummed superblocks that are
    /// written in place. A disk that tears them loses the file system, whatever program wrote to it.
    pub fn whole_blocks(self) -> &'static [u64] {
        match self {
            Self::Ext4 => &[0],
            Self::Xfs => &[],
            Self::Btrfs => &[64 << 10, 64 << 20],
        }
    }

    /// Returns bytes of the smallest image that it likes; all but a few MiB are a hole.
    fn image_bytes(self) -> u64 {
        match self {
            Self::Ext4 => 96 << 20,
            Self::Xfs => 304 << 20,
            Self::Btrfs => 256 << 20,
        }
    }
}

/// Returns why images of a kind cannot be crashed here.
pub fn missing(kind: Kind, tools: &[&str]) -> Option<String> {
    if !is_root() {
        return Some("only root can mount images".into());
    }
    let mkfs = format!("mkfs.{}", kind.name());
    let has = |tool: &&str| {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(tool).exists())
    };
    for tool in tools.iter().chain([&mkfs.as_str(), &"mount"]) {
        if !has(tool) {
            return Some(format!("there is no {tool}"));
        }
    }
    let place = Scratch::in_memory();
    let image = Image::made(kind);
    Mount::image(kind, &image.to_file(&place.path("image")), &place.dir("mount")).err()
}

/// One at a time: there are few loop devices, and others may use them.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command of the system.
pub fn system(command: &mut Command) -> Result<(), String> {
    let path = "/usr/sbin:/sbin:/usr/bin:/bin";
    let output = command.env("PATH", path).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said())) }
}

/// A mounted directory; unmounted when dropped, with its loop device.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts an image, which may be a file of any file system.
    pub fn image(kind: Kind, file: &Path, at: &Path) -> Result<Self, String> {
        let mut command = Command::new("mount");
        command.args(["-t", kind.name(), "-o", "loop,noatime"]).arg(file).arg(at);
        // All loop devices may be taken for a moment.
        for pause in [10, 100, 1000] {
            if system(&mut command).is_ok() {
                return Ok(Self { at: at.to_owned() });
            }
            std::thread::sleep(Duration::from_millis(pause));
        }
        system(&mut command)?;
        Ok(Self { at: at.to_owned() })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        for pause in [5, 20, 100, 500, 2000] {
            if system(Command::new("umount").arg(&self.at)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(pause));
        }
        // Whatever still uses it: it is out of the way, and goes when that ends.
        let _ = system(Command::new("umount").arg("-l").arg(&self.at));
    }
}

/// The content of a device: blocks that are not all zeros, by number.
#[derive(Clone, Default)]
pub struct Image {
    blocks: BTreeMap<u64, Box<[u8]>>,
    bytes: u64,
}

impl Image {
    /// Makes an empty file system.
    pub fn made(kind: Kind) -> Self {
        let place = Scratch::in_memory();
        let path = place.path("image");
        fs::File::create(&path).unwrap().set_len(kind.image_bytes()).unwrap();
        let mut command = Command::new(format!("mkfs.{}", kind.name()));
        match kind {
            // What a disk gets; a small image would get blocks of 1 KiB.
            Kind::Ext4 => command.args(["-b", "4096", "-I", "256"]),
            Kind::Xfs => &mut command,
            // One copy of metadata: the other would hide what a torn write does.
            Kind::Btrfs => command.args(["-m", "single"]),
        };
        if let Err(error) = system(command.arg("-q").arg(&path)) {
            panic!("{error}");
        }
        Self::read(&path)
    }

    /// Reads an image from a file.
    pub fn read(path: &Path) -> Self {
        let file = fs::File::open(path).unwrap();
        let mut image = Self { blocks: BTreeMap::new(), bytes: file.metadata().unwrap().len() };
        let mut room = vec![0; 1 << 20];
        let mut at = 0;
        while at < image.bytes {
            let len = (image.bytes - at).min(room.len() as u64) as usize;
            file.read_exact_at(&mut room[..len], at).unwrap();
            image.write(at, &room[..len]);
            at += len as u64;
        }
        image
    }

    /// Returns its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes bytes at an offset.
    pub fn write(&mut self, at: u64, mut bytes: &[u8]) {
        let mut at = at;
        while !bytes.is_empty() {
            let within = (at % BLOCK as u64) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            let number = at / BLOCK as u64;
            if self.blocks.contains_key(&number) || now.iter().any(|byte| *byte != 0) {
                let block = self.blocks.entry(number).or_insert_with(|| vec![0; BLOCK].into());
                block[within..within + now.len()].copy_from_slice(now);
            }
            at += now.len() as u64;
            bytes = rest;
        }
    }

    /// Writes some of the sectors of what was to be written; blocks that begin at `whole` are kept or lost whole.
    pub fn write_torn(&mut self, at: u64, bytes: &[u8], whole: &[u64], mut keep: impl FnMut() -> bool) {
        let mut kept_whole = BTreeMap::new();
        for (number, sector) in bytes.chunks(SECTOR).enumerate() {
            let place = at + (number * SECTOR) as u64;
            let block = place - place % BLOCK as u64;
            let is_kept = match whole.contains(&block) {
                true => *kept_whole.entry(block).or_insert_with(&mut keep),
                false => keep(),
            };
            if is_kept {
                self.write(place, sector);
            }
        }
    }

    /// Reads bytes at an offset, as many as there are.
    pub fn read_at(&self, at: u64, len: usize) -> Vec<u8> {
        let end = at.saturating_add(len as u64).min(self.bytes);
        let mut bytes = Vec::with_capacity(len);
        let mut at = at;
        while at < end {
            let within = (at % BLOCK as u64) as usize;
            let now = (BLOCK - within).min((end - at) as usize);
            match self.blocks.get(&(at / BLOCK as u64)) {
                Some(block) => bytes.extend_from_slice(&block[within..within + now]),
                None => bytes.resize(bytes.len() + now, 0),
            }
            at += now as u64;
        }
        bytes
    }

    /// Writes it to a new file, and returns its path.
    pub fn to_file(&self, path: &Path) -> PathBuf {
        let file = fs::File::create(path).unwrap();
        file.set_len(self.bytes).unwrap();
        let (mut run, mut start) = (Vec::new(), 0);
        for (number, block) in &self.blocks {
            if start + run.len() as u64 != number * BLOCK as u64 {
                file.write_all_at(&run, start).unwrap();
                run.clear();
                start = number * BLOCK as u64;
            }
            run.extend_from_slice(block);
        }
        file.write_all_at(&run, start).unwrap();
        path.to_owned()
    }
}
