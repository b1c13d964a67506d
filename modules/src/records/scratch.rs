//! A file without a name whose content only this process can read: what the sort cannot keep in memory.
//!
//! Streams are appended one after another, each in blocks of 64 KiB under ChaCha20-Poly1305 with a key that was drawn
//! for this file and is never written. The nonce of a block is its place in the file, which only grows.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use dedup_engine::crypto::random;
use rustix::io::{pread, pwrite};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use zeroize::Zeroizing;

const BLOCK: usize = 64 << 10;
const TAG: usize = 16;

/// A stream in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Place of its first block.
    pub start: u64,
    /// Plain bytes.
    pub len: u64,
}

/// The file.
pub(super) struct Scratch {
    file: OwnedFd,
    cipher: ChaCha20Poly1305,
    end: u64,
}

impl Scratch {
    /// Makes one in a directory.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let key = Zeroizing::new(random::<32>().map_err(|error| io::Error::other(error.to_string()))?);
        let file = crate::files::unlinked_file(directory)?;
        Ok(Self { file, cipher: ChaCha20Poly1305::new(&(*key).into()), end: 0 })
    }

    /// Returns how many bytes the file has.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Appends a stream whole.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<Stream> {
        let mut writer = Writer::new(self);
        writer.write(self, bytes)?;
        writer.finish(self)
    }

    fn put(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce(self.end), b"", block.as_mut_slice().into())
            .map_err(|_| io::Error::other("a block of the sort cannot be sealed"))?;
        block.extend_from_slice(&tag);
        let mut rest = &block[..];
        while !rest.is_empty() {
            let written = pwrite(&self.file, rest, self.end)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
            self.end += written as u64;
        }
        block.clear();
        Ok(())
    }

    /// Reads the block at a place, which has so many plain bytes.
    fn get(&self, place: u64, len: usize, block: &mut Vec<u8>) -> io::Result<()> {
        block.resize(len + TAG, 0);
        let mut done = 0;
        while done < block.len() {
            match pread(&self.file, &mut block[done..], place + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        let mut tag = [0; TAG];
        tag.copy_from_slice(&block[len..]);
        block.truncate(len);
        self.cipher
            .decrypt_inout_detached(&nonce(place), b"", block.as_mut_slice().into(), &Tag::from(tag))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a block of the sort is damaged"))
    }
}

fn nonce(place: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&place.to_le_bytes());
    nonce.into()
}

/// Appends a stream in parts; nothing else may be appended until it is finished.
pub(super) struct Writer {
    stream: Stream,
    block: Vec<u8>,
}

impl Writer {
    pub(super) fn new(scratch: &Scratch) -> Self {
        let stream = Stream { start: scratch.end, len: 0 };
        Self { stream, block: Vec::with_capacity(BLOCK + TAG) }
    }

    pub(super) fn write(&mut self, scratch: &mut Scratch, mut bytes: &[u8]) -> io::Result<()> {
        self.stream.len += bytes.len() as u64;
        while !bytes.is_empty() {
            let now = bytes.len().min(BLOCK - self.block.len());
            self.block.extend_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            if self.block.len() == BLOCK {
                scratch.put(&mut self.block)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, scratch: &mut Scratch) -> io::Result<Stream> {
        if !self.block.is_empty() {
            scratch.put(&mut self.block)?;
        }
        Ok(self.stream)
    }
}

/// Reads a stream from its begin.
pub(super) struct Reader {
    stream: Stream,
    next: u64,
    block: Vec<u8>,
    at: usize,
}

impl Reader {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, next: 0, block: Vec::new(), at: 0 }
    }

    /// Returns how many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.stream.len - self.next + (self.block.len() - self.at) as u64
    }

    /// Appends the next `len` bytes to `out`.
    pub(super) fn read(&mut self, scratch: &Scratch, mut len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        while len > 0 {
            if self.at == self.block.len() {
                let now = (self.stream.len - self.next).min(BLOCK as u64) as usize;
                if now == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let place = self.stream.start + self.next / BLOCK as u64 * (BLOCK + TAG) as u64;
                scratch.get(place, now, &mut self.block)?;
                self.next += now as u64;
                self.at = 0;
            }
            let now = len.min(self.block.len() - self.at);
            out.extend_from_slice(&self.block[self.at..self.at + now]);
            self.at += now;
            len -= now;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_back_and_nothing_of_them_can_be_read_or_changed() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(dir.path()).unwrap();
        let plain = b"a row that nobody else may see. ".repeat(10_000);
        let streams = [0, 1, BLOCK, BLOCK + 1, plain.len()].map(|len| scratch.append(&plain[..len]).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
        for stream in streams {
            let (mut reader, mut out) = (Reader::new(stream), Vec::new());
            while reader.left() > 0 {
                let now = reader.left().min(1000) as usize;
                reader.read(&scratch, now, &mut out).unwrap();
            }
            assert_eq!(out, plain[..stream.len as usize]);
            assert!(reader.read(&scratch, 1, &mut out).is_err(), "behind its end");
        }
        let mut stored = vec![0; usize::try_from(scratch.len()).unwrap()];
        pread(&scratch.file, &mut stored, 0).unwrap();
        assert!(!stored.windows(16).any(|part| plain[..64].windows(16).any(|word| word == part)));
        pwrite(&scratch.file, &[stored[3] ^ 1], streams[2].start + 3).unwrap();
        let error = Reader::new(streams[2]).read(&scratch, 1, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
