//! Key slots: a bundle of roots sealed under a passphrase or a key file. Normative: `FORMAT.md` 4.2.

use super::header::check_version;
use super::paper::Paper;
use super::roots::Bundle;
use super::seal::{equal, open_bundle, seal_bundle};
use super::{CryptoError, Secret, random};
use crate::error::Corrupt;
use crate::format::{CIPHER_CHACHA20_POLY1305, DRAFT, MAGIC, MAX_SLOT, TAG_LEN, VERSION};
use crate::id::{RepoId, from_hex, to_hex};
use crate::wire::{Put, Reader};
use argon2::{Algorithm, Argon2, Params, Version};
use std::time::Duration;
use zeroize::Zeroizing;

const SLOT_KIND_CODE: u8 = 2;
const FIXED_LEN: usize = 145;
/// Longest label in bytes.
pub const MAX_LABEL: usize = 64;
const MAX_PASSPHRASE: usize = 4096;
const KEY_FILE_PREFIX: &str = "dedup-key-1:";

/// What opens a slot. Wiped when dropped.
#[derive(Clone)]
pub enum Unlock {
    /// A passphrase: its bytes as typed, without a line end.
    Passphrase(Zeroizing<String>),
    /// The secret of a key file; no stretching, so opening takes no time.
    KeyFile(Secret),
}

impl Unlock {
    /// Reads the text of a key file: `dedup-key-1:` and 64 hexadecimal digits, or the lines of one on paper.
    pub fn read_key_file(text: &str) -> Result<Self, CryptoError> {
        if !text.starts_with(KEY_FILE_PREFIX)
            && let Some(unlock) = Paper::read(text)?.unlock()
        {
            return Ok(unlock);
        }
        let digits = text.trim_end().strip_prefix(KEY_FILE_PREFIX);
        let secret = digits.and_then(from_hex::<32>);
        secret.map(|secret| Self::KeyFile(Zeroizing::new(secret))).ok_or_else(|| {
            CryptoError::Refused(format!("not a key file: {KEY_FILE_PREFIX} and 64 digits are expected"))
        })
    }

    /// Draws a new key file; returns its text as well.
    pub fn new_key_file() -> Result<(Self, Zeroizing<String>), CryptoError> {
        let secret: Secret = Zeroizing::new(random()?);
        let text = Zeroizing::new(format!("{KEY_FILE_PREFIX}{}\n", to_hex(&secret[..])));
        Ok((Self::KeyFile(secret), text))
    }

    /// Derives wrapping key and commitment: 64 bytes.
    fn stretch(&self, salt: &[u8; 32], kdf: &KdfParams) -> Result<Zeroizing<[u8; 64]>, CryptoError> {
        let mut okm = Zeroizing::new([0; 64]);
        match self {
            Self::Passphrase(passphrase) => {
                if !(1..=MAX_PASSPHRASE).contains(&passphrase.len()) {
                    return Err(CryptoError::Refused("a passphrase has 1 to 4,096 bytes".into()));
                }
                let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(64))
                    .map_err(|error| CryptoError::Refused(format!("key derivation: {error}")))?;
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(passphrase.as_bytes(), salt, &mut okm[..])
                    .map_err(|error| CryptoError::Internal(format!("key derivation: {error}")))?;
            }
            Self::KeyFile(secret) => {
                let mut hasher = blake3::Hasher::new_derive_key("dedup 2026-11-21 key file");
                hasher.update(&secret[..]).update(salt).finalize_xof().fill(&mut okm[..]);
            }
        }
        Ok(okm)
    }
}

/// Cost of Argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes, computed in parallel.
    pub lanes: u32,
}

impl KdfParams {
    /// The least that is ever written: the second recommended choice of RFC 9106.
    pub const LEAST: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };

    /// Chooses the number of passes so that opening takes about 0.3 s on this machine; never below
    /// [`KdfParams::LEAST`]. `elapsed` is a monotonic clock.
    pub fn calibrate(elapsed: &dyn Fn() -> Duration) -> Result<Self, CryptoError> {
        let trial = Unlock::Passphrase(Zeroizing::new("calibration".to_owned()));
        let before = elapsed();
        trial.stretch(&[0; 32], &Self::LEAST)?;
        let pass = elapsed().saturating_sub(before).as_secs_f64() / f64::from(Self::LEAST.passes);
        let passes = if pass > 0.0 { (0.3 / pass).clamp(3.0, 32.0) as u32 } else { 32 };
        Ok(Self { passes, ..Self::LEAST })
    }

    /// Memory × passes in KiB: what opening costs.
    fn work(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Refuses what only an attacker would write, before any work is done.
    fn check(&self) -> Result<(), CryptoError> {
        let fits = self.memory_kib <= 4 << 20
            && u64::from(self.memory_kib) >= 8 * u64::from(self.lanes)
            && (1..=64).contains(&self.passes)
            && (1..=64).contains(&self.lanes)
            && self.work() <= 8 << 20;
        if fits {
            Ok(())
        } else {
            Err(CryptoError::Refused(format!("a slot asks for too much work: {self:?}")))
        }
    }
}

/// The part of a slot that is in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHeader {
    /// Cost of the passphrase; `None` for a key file.
    pub kdf: Option<KdfParams>,
    /// Bit n − 1 set: the bundle holds a root of type n.
    pub contents: u16,
    /// Repository it belongs to.
    pub repo: RepoId,
    /// When it was made, in Unix seconds.
    pub created_unix_secs: i64,
    /// What it is for, in the user's words.
    pub label: String,
}

/// A stored slot, parsed as far as that needs no key.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The part in clear.
    pub header: SlotHeader,
    bytes: Vec<u8>,
    salt: [u8; 32],
    commitment: [u8; 32],
    slot_public: [u8; 32],
    sealed_at: usize,
}

/// Seals `bundle` into a new slot.
pub fn create(
    bundle: &Bundle,
    unlock: &Unlock,
    kdf: &KdfParams,
    repo: RepoId,
    created_unix_secs: i64,
    label: &str,
) -> Result<Vec<u8>, CryptoError> {
    if label.len() > MAX_LABEL {
        return Err(CryptoError::Refused("a label has at most 64 bytes".into()));
    }
    let by_passphrase = matches!(unlock, Unlock::Passphrase(_));
    let kdf = if by_passphrase { *kdf } else { KdfParams { memory_kib: 0, passes: 0, lanes: 0 } };
    if by_passphrase {
        kdf.check()?;
    }
    let salt: [u8; 32] = random()?;
    let okm = unlock.stretch(&salt, &kdf)?;
    let (key, commitment) = okm.split_at(32);
    let slot_public =
        bundle.slot_public().ok_or_else(|| CryptoError::Internal("a bundle without a slot key".into()))?;

    let mut out = Vec::with_capacity(1024);
    out.put(&MAGIC);
    out.put_u16(VERSION);
    out.put_u8(DRAFT);
    out.put_u8(SLOT_KIND_CODE);
    out.put_u8(CIPHER_CHACHA20_POLY1305);
    out.put_u8(if by_passphrase { 1 } else { 2 });
    out.put_u16(bundle.contents());
    out.put_u32(kdf.memory_kib);
    out.put_u32(kdf.passes);
    out.put_u32(kdf.lanes);
    out.put(repo.as_bytes());
    out.put_i64(created_unix_secs);
    out.put(&salt);
    out.put(commitment);
    out.put(&slot_public);
    out.put_u8(label.len() as u8);
    out.put(label.as_bytes());

    let sealed = seal_bundle(key, &out, bundle)?;
    out.put(&sealed);
    Ok(out)
}

impl Slot {
    /// Parses a stored slot; refuses excessive work before any is done.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, CryptoError> {
        if bytes.len() as u64 > MAX_SLOT {
            return Err(Corrupt::new("key slot", "longer than 16 KiB").into());
        }
        let mut reader = Reader::new("key slot", &bytes);
        if reader.array()? != MAGIC {
            return Err(reader.corrupt("not a key slot").into());
        }
        check_version(reader.array()?)?;
        if reader.u8()? != SLOT_KIND_CODE {
            return Err(reader.corrupt("not a key slot").into());
        }
        let (cipher, slot_kind) = (reader.u8()?, reader.u8()?);
        if cipher != CIPHER_CHACHA20_POLY1305 || !matches!(slot_kind, 1 | 2) {
            let what = format!("cipher {cipher} or slot kind {slot_kind} is unknown");
            return Err(CryptoError::TooNew("key slot".into(), what));
        }
        let contents = reader.u16()?;
        let kdf = KdfParams { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? };
        let kdf = if slot_kind == 1 {
            kdf.check()?;
            Some(kdf)
        } else if kdf.work() == 0 && kdf.lanes == 0 {
            None
        } else {
            return Err(reader.corrupt("a key file slot with a cost").into());
        };
        let repo = RepoId::from_bytes(reader.array()?);
        let created_unix_secs = reader.i64()?;
        let (salt, commitment, slot_public) = (reader.array()?, reader.array()?, reader.array()?);
        let label_len = usize::from(reader.u8()?);
        if label_len > MAX_LABEL {
            return Err(reader.corrupt("a label of more than 64 bytes").into());
        }
        let label = std::str::from_utf8(reader.take(label_len)?)
            .map_err(|_| Corrupt::new("key slot", "its label is not UTF-8"))?
            .to_owned();
        let sealed_at = reader.position();
        if reader.left() < TAG_LEN {
            return Err(reader.corrupt("too short for a seal").into());
        }
        debug_assert_eq!(sealed_at, FIXED_LEN + label_len);
        let header = SlotHeader { kdf, contents, repo, created_unix_secs, label };
        Ok(Self { header, bytes, salt, commitment, slot_public, sealed_at })
    }

    /// Returns the public key that the roots of later epochs are wrapped to.
    pub(crate) fn public(&self) -> &[u8; 32] {
        &self.slot_public
    }

    /// Returns whether it is of the kind that `unlock` could open.
    pub fn fits(&self, unlock: &Unlock) -> bool {
        self.header.kdf.is_some() == matches!(unlock, Unlock::Passphrase(_))
    }

    /// Returns what one try costs, in KiB × passes.
    pub fn work(&self) -> u64 {
        self.header.kdf.map_or(0, |kdf| kdf.work())
    }

    /// Returns the memory that one try takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.header.kdf.map_or(0, |kdf| u64::from(kdf.memory_kib) << 10)
    }

    /// Opens the slot; [`CryptoError::WrongKey`] if this is not what it was sealed under.
    pub fn open(&self, unlock: &Unlock) -> Result<Bundle, CryptoError> {
        if !self.fits(unlock) {
            return Err(CryptoError::WrongKey);
        }
        let none = KdfParams { memory_kib: 0, passes: 0, lanes: 0 };
        let okm = unlock.stretch(&self.salt, &self.header.kdf.unwrap_or(none))?;
        let (key, commitment) = okm.split_at(32);
        if !equal(commitment, &self.commitment) {
            return Err(CryptoError::WrongKey);
        }
        let (clear, sealed) = self.bytes.split_at(self.sealed_at);
        let broken = || Corrupt::new("key slot", "the seal is broken: damaged or forged");
        let bundle = open_bundle(key, clear, sealed, broken)?;
        if bundle.contents() != self.header.contents || bundle.slot_public() != Some(self.slot_public) {
            return Err(Corrupt::new("key slot", "its header does not fit its contents").into());
        }
        Ok(bundle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: KdfParams = KdfParams { memory_kib: 64, passes: 1, lanes: 4 };

    fn repo() -> RepoId {
        RepoId::from_bytes([7; 16])
    }

    fn passphrase(text: &str) -> Unlock {
        Unlock::Passphrase(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn a_slot_opens_with_its_own_key_only() {
        let bundle = Bundle::generate().unwrap();
        let (file, text) = Unlock::new_key_file().unwrap();
        for unlock in [passphrase("correct horse"), file] {
            let bytes = create(&bundle, &unlock, &CHEAP, repo(), 5, "ann's laptop").unwrap();
            let slot = Slot::parse(bytes).unwrap();
            assert_eq!((slot.header.label.as_str(), slot.header.created_unix_secs), ("ann's laptop", 5));
            assert_eq!(slot.open(&unlock).unwrap().checks(1), bundle.checks(1));
            for wrong in [passphrase("wrong"), Unlock::new_key_file().unwrap().0] {
                assert!(matches!(slot.open(&wrong), Err(CryptoError::WrongKey)));
            }
        }
        assert!(Unlock::read_key_file(&text).is_ok());
        assert!(Unlock::read_key_file(&text[..70]).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bundle = Bundle::generate().unwrap();
        let (unlock, _) = Unlock::new_key_file().unwrap();
        let bytes = create(&bundle, &unlock, &CHEAP, repo(), 5, "x").unwrap();
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let opened = Slot::parse(bad).and_then(|slot| slot.open(&unlock));
            assert!(opened.is_err(), "bit {at} can be flipped unnoticed");
        }
    }

    /// Found by fuzzing: a slot with 2^32 - 1 lanes overflowed the very check of its limits, so that one
    /// planted file stopped every command of everybody who used the repository.
    #[test]
    fn a_number_of_lanes_cannot_overflow_the_check() {
        let bundle = Bundle::generate().unwrap();
        let mut bad = create(&bundle, &passphrase("p"), &CHEAP, repo(), 5, "").unwrap();
        bad[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Slot::parse(bad), Err(CryptoError::Refused(_))));
    }

    #[test]
    fn a_slot_that_asks_for_too_much_is_refused_before_any_work() {
        let bundle = Bundle::generate().unwrap();
        let bytes = create(&bundle, &passphrase("p"), &CHEAP, repo(), 5, "").unwrap();
        for (at, value) in [(12, u32::MAX), (16, 65), (20, 65), (12, 1 << 22)] {
            let mut bad = bytes.clone();
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            bad[16..20].copy_from_slice(&if at == 16 { value } else { 3 }.to_le_bytes());
            assert!(matches!(Slot::parse(bad), Err(CryptoError::Refused(_))), "{at} {value}");
        }
    }
}
