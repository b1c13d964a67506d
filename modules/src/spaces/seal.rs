//! Sealed files of the store.
//!
//! ```text
//! "dedupSPC" | salt[32] | record 0 | … | record n
//! record = nonce[24] | ciphertext | tag[16]
//! ```
//!
//! XChaCha20-Poly1305 under a key of the file's own: BLAKE3 of the salt, keyed with the store's key. Every record but
//! the last holds 65,536 bytes, the last fewer, so a file that was cut is found out. A record's number, and whether
//! it is the last, are associated data. A nonce is a keyed hash of the number and the bytes: even a machine that was
//! cloned in the middle never seals two things under one.

use crate::planted::{Bug, planted};
use blake3::Hasher;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use dedup_engine::crypto::{Secret, random};
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"dedupSPC";
const SALT_LEN: usize = 32;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// Plain bytes of every record but the last.
const PIECE: usize = 64 << 10;

/// The keys of one file.
struct FileKey {
    cipher: XChaCha20Poly1305,
    nonces: Secret,
    salt: [u8; SALT_LEN],
}

impl FileKey {
    fn new(key: &Secret, salt: [u8; SALT_LEN]) -> Self {
        let mut okm = Zeroizing::new([0; 64]);
        Hasher::new_keyed(key).update(MAGIC).update(&salt).finalize_xof().fill(&mut okm[..]);
        let (mut first, mut nonces) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        first.copy_from_slice(&okm[..32]);
        nonces.copy_from_slice(&okm[32..]);
        Self { cipher: XChaCha20Poly1305::new(&(*first).into()), nonces, salt }
    }

    fn associated(&self, number: u64, is_last: bool) -> Vec<u8> {
        [&MAGIC[..], &self.salt, &number.to_le_bytes(), &[u8::from(is_last)]].concat()
    }
}

/// Seals what is written to it.
pub(super) struct SealWriter<W: Write> {
    key: FileKey,
    to: W,
    piece: Vec<u8>,
    number: u64,
    hash: Hasher,
    bytes: u64,
}

impl<W: Write> SealWriter<W> {
    /// Begins a file. `names` is the key of the content's hash.
    pub(super) fn new(key: &Secret, names: &Secret, mut to: W) -> io::Result<Self> {
        let salt = random::<SALT_LEN>().map_err(|error| io::Error::other(error.to_string()))?;
        to.write_all(MAGIC)?;
        to.write_all(&salt)?;
        let key = FileKey::new(key, salt);
        let piece = Vec::with_capacity(PIECE + TAG_LEN);
        Ok(Self { key, to, piece, number: 0, hash: Hasher::new_keyed(names), bytes: 0 })
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let mut nonce = [0; NONCE_LEN];
        let mut hasher = Hasher::new_keyed(&self.key.nonces);
        hasher.update(&self.number.to_le_bytes()).update(&[u8::from(is_last)]).update(&self.piece);
        hasher.finalize_xof().fill(&mut nonce);
        let associated = self.key.associated(self.number, is_last);
        let tag = self
            .key
            .cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &associated, self.piece.as_mut_slice().into())
            .map_err(|_| io::Error::other("a piece is too long for its seal"))?;
        self.piece.extend_from_slice(&tag);
        self.to.write_all(&nonce)?;
        self.to.write_all(&self.piece)?;
        self.piece.clear();
        self.number += 1;
        Ok(())
    }

    /// Writes the last record; returns the file, the keyed hash of the content and its length in bytes.
    pub(super) fn finish(mut self) -> io::Result<(W, blake3::Hash, u64)> {
        self.seal(true)?;
        Ok((self.to, self.hash.finalize(), self.bytes))
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        if self.piece.len() == PIECE {
            self.seal(false)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what was sealed; a byte that is not as it was written is `InvalidData`.
pub(super) struct SealReader<R: Read> {
    key: FileKey,
    from: R,
    record: Vec<u8>,
    /// What of the record is plain and was not read yet.
    at: usize,
    number: u64,
    is_over: bool,
}

impl<R: Read> SealReader<R> {
    pub(super) fn new(key: &Secret, mut from: R) -> io::Result<Self> {
        let mut head = [0; 8 + SALT_LEN];
        from.read_exact(&mut head).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it is too short"),
            _ => error,
        })?;
        let (magic, salt) = head.split_at(8);
        if magic != MAGIC {
            return Err(damaged("it is no sealed file"));
        }
        let mut fixed = [0; SALT_LEN];
        fixed.copy_from_slice(salt);
        Ok(Self { key: FileKey::new(key, fixed), from, record: Vec::new(), at: 0, number: 0, is_over: false })
    }

    fn open(&mut self) -> io::Result<()> {
        self.record.clear();
        self.at = 0;
        let whole = NONCE_LEN + PIECE + TAG_LEN;
        (&mut self.from).take(whole as u64).read_to_end(&mut self.record)?;
        let is_last = self.record.len() < whole;
        let plain_len =
            self.record.len().checked_sub(NONCE_LEN + TAG_LEN).ok_or_else(|| damaged("it was cut"))?;
        let (nonce, rest) = self.record.split_at_mut(NONCE_LEN);
        let (sealed, tag) = rest.split_at_mut(plain_len);
        let nonce = XNonce::try_from(&*nonce).map_err(|_| damaged("it was cut"))?;
        let tag = Tag::try_from(&*tag).map_err(|_| damaged("it was cut"))?;
        self.key
            .cipher
            .decrypt_inout_detached(&nonce, &self.key.associated(self.number, is_last), sealed.into(), &tag)
            .or_else(|_| match planted(Bug::IgnoreSpaceSeal) {
                true => Ok(()),
                false => Err(damaged("its seal is broken: damaged, forged, or of another key")),
            })?;
        self.record.drain(..NONCE_LEN);
        self.record.truncate(plain_len);
        self.number += 1;
        self.is_over = is_last;
        Ok(())
    }
}

fn damaged(wrong: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, wrong)
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.record.len() && !self.is_over {
            if let Err(error) = self.open() {
                self.record.clear();
                self.at = 0;
                return Err(error);
            }
        }
        let rest = &self.record[self.at..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut writer = SealWriter::new(&Secret::default(), &Secret::default(), Vec::new()).unwrap();
        writer.write_all(plain).unwrap();
        let (bytes, _, len) = writer.finish().unwrap();
        assert_eq!(len, plain.len() as u64);
        bytes
    }

    fn opened(key: &Secret, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        SealReader::new(key, bytes)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn every_length_comes_back_and_no_change_passes() {
        let key = Secret::default();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7] {
            let plain: Vec<u8> = (0..len).map(|n| (n % 253) as u8).collect();
            let bytes = sealed(&plain);
            assert_eq!(opened(&key, &bytes).unwrap(), plain);
            assert!(opened(&Zeroizing::new([1; 32]), &bytes).is_err());
            let places =
                (0..60).chain((bytes.len() - 50).max(60)..bytes.len()).filter(|at| *at < bytes.len());
            for at in places {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1;
                assert!(opened(&key, &wrong).is_err(), "byte {at} of {len}");
            }
            let record = NONCE_LEN + PIECE + TAG_LEN;
            for cut in
                [0, 8, 39, 40, 40 + record, bytes.len() - 1].into_iter().filter(|cut| *cut < bytes.len())
            {
                assert!(opened(&key, &bytes[..cut]).is_err(), "cut to {cut} of {len}");
            }
            assert!(opened(&key, &[&bytes[..], &[0]].concat()).is_err());
        }
    }
}
