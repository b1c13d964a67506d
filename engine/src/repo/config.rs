//! The configuration: what every client of a repository must agree on. Normative: `FORMAT.md` 5.

use crate::chunker::ChunkSizes;
use crate::crypto::CryptoError;
use crate::crypto::capsule;
use crate::crypto::header::{Header, ObjectKind};
use crate::crypto::keyring::Keyring;
use crate::crypto::roots::{Bundle, Root};
use crate::error::Corrupt;
use crate::format::{HEADER_LEN, MAX_LEAF_TARGET, MAX_SMALL_BODY};
use crate::id::RepoId;
use crate::planted::{Bug, planted};
use crate::wire::{Put, Reader};

const RID_LEN: usize = RepoId::LEN;

/// What is chosen when a repository is made; the defaults are measured (`DESIGN.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sizes of chunks.
    pub chunks: ChunkSizes,
    /// Plain length at which a block ends, in bytes.
    pub block_target: u32,
    /// Mean length of map nodes, in bytes.
    pub leaf_target: u32,
    /// Length of packs, in bytes; writers may choose others.
    pub pack_target: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            chunks: ChunkSizes::default(),
            block_target: 1 << 20,
            leaf_target: 4 << 10,
            pack_target: 16 << 20,
        }
    }
}

impl Settings {
    /// Returns whether every size is within the format's limits.
    pub fn is_sound(&self) -> bool {
        self.chunks.is_sound()
            && (64 << 10..=4 << 20).contains(&self.block_target)
            && (1 << 10..=MAX_LEAF_TARGET).contains(&self.leaf_target)
            && (1 << 20..=256 << 20).contains(&self.pack_target)
    }
}

/// The opened configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// When the repository was made, in Unix seconds.
    pub created_unix_secs: i64,
    /// Sizes.
    pub settings: Settings,
    /// X25519 public key of epoch 1.
    pub x25519_public: [u8; 32],
    /// Check values of the roots of epoch 1, by code.
    pub checks: Vec<(u8, [u8; 32])>,
    /// Ed25519 public key of the client that made the repository.
    pub first_signer: [u8; 32],
}

impl Config {
    /// Makes the configuration of a new repository.
    pub fn new(bundle: &Bundle, settings: &Settings, created_unix_secs: i64) -> Result<Self, CryptoError> {
        if !settings.is_sound() {
            return Err(CryptoError::Refused(format!("sizes outside the format's limits: {settings:?}")));
        }
        let public = bundle.get(Root::X25519Public, 1).ok_or(CryptoError::NotEntitled("the epoch"))?;
        let signer = bundle.signer().ok_or(CryptoError::NotEntitled("signing"))?;
        Ok(Self {
            created_unix_secs,
            settings: settings.clone(),
            x25519_public: **public,
            checks: bundle.checks(1),
            first_signer: signer,
        })
    }

    /// Seals the configuration: header ‖ repository id ‖ capsule.
    pub fn seal(&self, keyring: &Keyring) -> Result<Vec<u8>, CryptoError> {
        let capsule = capsule::fill(&self.encode())?;
        let key = keyring.sealer(ObjectKind::Config, None, &blake3::hash(&capsule))?;
        capsule::seal_object(&key, keyring.repo().as_bytes(), capsule, b"config")
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        plain.put_i64(self.created_unix_secs);
        self.settings.chunks.encode(&mut plain);
        plain.put_u32(self.settings.block_target);
        plain.put_u32(self.settings.leaf_target);
        plain.put_u32(self.settings.pack_target);
        plain.put(&self.x25519_public);
        plain.put_varint(self.checks.len() as u64);
        for (code, check) in &self.checks {
            plain.put_u8(*code);
            plain.put(check);
        }
        plain.put(&self.first_signer);
        plain.put_no_extensions();
        plain
    }

    /// Reads the repository id, which stands in clear because keys depend on it.
    pub fn repo_id(stored: &[u8]) -> Result<RepoId, CryptoError> {
        Header::parse(stored, &[ObjectKind::Config])?;
        let id = stored.get(HEADER_LEN..HEADER_LEN + RID_LEN).and_then(|id| id.try_into().ok());
        id.map(RepoId::from_bytes).ok_or_else(|| Corrupt::new("config", "truncated").into())
    }

    /// Opens a stored configuration and compares it with the opened slot's roots.
    pub fn open(mut stored: Vec<u8>, keyring: &Keyring) -> Result<Self, CryptoError> {
        let key = keyring.opener(Header::parse(&stored, &[ObjectKind::Config])?)?;
        let sealed = stored.get_mut(HEADER_LEN + RID_LEN..);
        let sealed = sealed.ok_or_else(|| Corrupt::new("config", "truncated"))?;
        let plain = capsule::open_object(&key, sealed, b"config", MAX_SMALL_BODY)?;
        let config = Self::decode(&plain)?;
        let bundle = keyring.bundle();
        let known = bundle.checks(1);
        let differs = |(code, check): &(u8, [u8; 32])| {
            config.checks.iter().any(|(other, theirs)| other == code && theirs != check)
        };
        if known.iter().any(differs) {
            return Err(Corrupt::new("config", "made for other keys than this slot's").into());
        }
        let public = bundle.get(Root::X25519Public, 1);
        if public.is_some_and(|public| **public != config.x25519_public)
            && !planted(Bug::TrustStoredPublicKey)
        {
            return Err(Corrupt::new("config", "its public key is not the slot's").into());
        }
        Ok(config)
    }

    pub(crate) fn decode(plain: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("config", plain);
        let created_unix_secs = reader.i64()?;
        let settings = Settings {
            chunks: ChunkSizes::decode(&mut reader)?,
            block_target: reader.u32()?,
            leaf_target: reader.u32()?,
            pack_target: reader.u32()?,
        };
        if !settings.is_sound() {
            return Err(reader.corrupt("sizes outside the format's limits"));
        }
        let x25519_public = reader.array()?;
        let count = reader.count(16, 33, "checks")?;
        let checks =
            (0..count).map(|_| Ok((reader.u8()?, reader.array()?))).collect::<Result<Vec<_>, Corrupt>>()?;
        let first_signer = reader.array()?;
        reader.extensions()?;
        reader.finish()?;
        Ok(Self { created_unix_secs, settings, x25519_public, checks, first_signer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(repo: u8) -> Keyring {
        Keyring::new(RepoId::from_bytes([repo; 16]), Bundle::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_configuration_opens_with_its_own_keys_and_tells_its_repository() {
        let keys = keyring(3);
        let config = Config::new(&keys.bundle(), &Settings::default(), 77).unwrap();
        let stored = config.seal(&keys).unwrap();
        assert_eq!(Config::repo_id(&stored).unwrap(), keys.repo());
        assert_eq!(Config::open(stored.clone(), &keys).unwrap(), config);
        assert!(Config::open(stored.clone(), &keyring(3)).is_err());
        for at in 0..stored.len() {
            let mut bad = stored.clone();
            bad[at] ^= 1;
            let opened = Config::repo_id(&bad).and_then(|repo| {
                let keys = Keyring::new(repo, (*keys.bundle()).clone())?;
                Config::open(bad.clone(), &keys)
            });
            assert!(opened.is_err(), "byte {at} can be changed unnoticed");
        }
    }

    /// Whoever holds DEDUPE can store another configuration; a client that can only write must not seal to his key.
    #[test]
    fn a_public_key_that_is_not_the_slots_is_refused() {
        let keys = keyring(3);
        let mut config = Config::new(&keys.bundle(), &Settings::default(), 77).unwrap();
        config.x25519_public = [9; 32];
        let stored = config.seal(&keys).unwrap();
        let writer = Keyring::new(keys.repo(), keys.bundle().write_only().unwrap()).unwrap();
        for keys in [keys, writer] {
            assert!(Config::open(stored.clone(), &keys).is_err());
        }
    }

    #[test]
    fn sizes_outside_the_limits_are_refused() {
        let keys = keyring(3);
        let small_leaves = Settings { leaf_target: 100, ..Settings::default() };
        let odd_chunks = ChunkSizes { min: 16_385, ..ChunkSizes::default() };
        for bad in [small_leaves, Settings { chunks: odd_chunks, ..Settings::default() }] {
            assert!(Config::new(&keys.bundle(), &bad, 77).is_err());
        }
    }
}
