//! The roots: independent random secrets, each opening one class of objects. Normative: `FORMAT.md` 4.1.

use super::{CryptoError, Secret, exchange, random};
use crate::error::Corrupt;
use crate::wire::{Put, Reader};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Which root a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// Ids, gear table, map boundaries, configuration, segments, sessions, generations.
    Dedupe,
    /// Data packs, listing packs, snapshots.
    Read,
    /// Secrets packs.
    Secrets,
    /// The Ed25519 seed (RFC 8032) of one client; belongs to a slot.
    Sign,
    /// The X25519 private key (RFC 7748): opens what write-only clients sealed.
    X25519Private,
    /// The X25519 public key.
    X25519Public,
    /// The X25519 private key of one slot, to which the roots of later epochs are wrapped.
    SlotX25519,
    /// The X25519 public key that secrets are sealed to: in write-only slots alone.
    SecretsPublic,
}

impl Root {
    const ALL: [(u8, Self); 8] = [
        (1, Self::Dedupe),
        (2, Self::Read),
        (3, Self::Secrets),
        (4, Self::Sign),
        (5, Self::X25519Private),
        (6, Self::X25519Public),
        (7, Self::SlotX25519),
        (8, Self::SecretsPublic),
    ];

    fn code(self) -> u8 {
        Self::ALL.iter().find(|(_, root)| *root == self).map_or(0, |(code, _)| *code)
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, root)| *root)
    }
}

/// A set of roots by kind and epoch: what a slot wraps. Wiped when dropped.
#[derive(Clone, Default)]
pub struct Bundle {
    roots: BTreeMap<(Root, u32), Secret>,
}

/// Plain bundles are padded to a multiple of this, so that a slot does not tell what it holds.
const PADDING: usize = 512;
/// Most roots in a bundle: those of some 80 epochs, which is what a slot has room for.
const MAX_ROOTS: usize = 400;

impl Bundle {
    /// Draws every root of epoch 1 and a signing seed.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut bundle = Self::of_epoch(1)?;
        bundle.renew_slot_secrets()?;
        Ok(bundle)
    }

    /// Draws every root of an epoch, and nothing else.
    pub(crate) fn of_epoch(epoch: u32) -> Result<Self, CryptoError> {
        let mut bundle = Self::default();
        for root in [Root::Dedupe, Root::Read, Root::Secrets] {
            bundle.insert(root, epoch, Zeroizing::new(random()?));
        }
        let private = Zeroizing::new(random()?);
        let public = Zeroizing::new(exchange::public_of(&private));
        bundle.insert(Root::X25519Private, epoch, private);
        bundle.insert(Root::X25519Public, epoch, public);
        Ok(bundle)
    }

    /// Returns the part of an epoch's roots that a slot with these contents (see [`Bundle::contents`]) is to have, and
    /// a signing seed of its own.
    pub(crate) fn for_contents(&self, epoch: u32, contents: u16) -> Result<Self, CryptoError> {
        let all = if Self::can_read(contents) { self.clone() } else { self.write_only()? };
        let roots = all.roots.into_iter().filter(|((root, _), _)| contents & 1 << (root.code() - 1) != 0);
        let mut bundle = Self { roots: roots.collect() };
        bundle.insert(Root::Sign, epoch, Zeroizing::new(random()?));
        Ok(bundle)
    }

    /// Returns all roots of both.
    pub(crate) fn joined_with(&self, other: &Self) -> Self {
        let mut roots = self.roots.clone();
        roots.extend(other.roots.iter().map(|(key, secret)| (*key, secret.clone())));
        Self { roots }
    }

    /// Returns the highest epoch of which it holds DEDUPE; 0 if of none.
    pub(crate) fn newest_epoch(&self) -> u32 {
        let epochs = self.roots.keys().filter(|(root, _)| *root == Root::Dedupe).map(|(_, epoch)| *epoch);
        epochs.max().unwrap_or(0)
    }

    /// Returns whether every root is of this epoch.
    pub(crate) fn is_of_epoch(&self, epoch: u32) -> bool {
        self.roots.keys().all(|(_, of)| *of == epoch)
    }

    /// Returns whether the public key of an epoch is that of the private one, as far as both are here.
    pub(crate) fn is_consistent(&self, epoch: u32) -> bool {
        let public = self.get(Root::X25519Public, epoch);
        let private = self.get(Root::X25519Private, epoch);
        private.zip(public).is_none_or(|(private, public)| exchange::public_of(private) == **public)
    }

    /// Replaces what belongs to a slot alone: the signing seed, so that a new slot signs as a client
    /// of its own, and the slot's key for later epochs.
    pub fn renew_slot_secrets(&mut self) -> Result<(), CryptoError> {
        self.roots.retain(|(root, _), _| *root != Root::Sign);
        self.insert(Root::Sign, 0, Zeroizing::new(random()?));
        self.renew_slot_key()
    }

    /// Replaces the slot's key for later epochs: what is sealed to it does not open with an older copy of the slot.
    pub(crate) fn renew_slot_key(&mut self) -> Result<(), CryptoError> {
        self.insert(Root::SlotX25519, 0, Zeroizing::new(random()?));
        Ok(())
    }

    /// Returns which kinds of root it holds: bit n − 1 for type n.
    pub fn contents(&self) -> u16 {
        self.roots.keys().fold(0, |bits, (root, _)| bits | 1 << (root.code() - 1))
    }

    /// Returns whether contents like these (see [`Bundle::contents`]) can take over everything.
    pub fn is_full(contents: u16) -> bool {
        [Root::Dedupe, Root::Read, Root::Secrets, Root::X25519Private]
            .iter()
            .all(|root| contents & 1 << (root.code() - 1) != 0)
    }

    /// Returns whether contents like these include secrets.
    pub fn holds_secrets(contents: u16) -> bool {
        contents & 1 << (Root::Secrets.code() - 1) != 0
    }

    /// Returns whether contents like these open data and snapshots.
    pub fn can_read(contents: u16) -> bool {
        contents & 1 << (Root::Read.code() - 1) != 0
    }

    /// Returns the public half of the slot's own X25519 key.
    pub(super) fn slot_public(&self) -> Option<[u8; 32]> {
        self.get(Root::SlotX25519, 0).map(exchange::public_of)
    }

    /// Returns each root of an epoch with a check value that tells nothing of it. What belongs to a slot is none of them.
    pub fn checks(&self, epoch: u32) -> Vec<(u8, [u8; 32])> {
        let of_epoch = self.roots.iter().filter(|((root, of), _)| *of == epoch && *root != Root::Sign);
        of_epoch
            .map(|((root, _), secret)| {
                (root.code(), *super::derive("dedup 2026-11-21 epoch check", &secret[..]))
            })
            .collect()
    }

    /// Returns the Ed25519 public key of this slot's client.
    pub fn signer(&self) -> Option<[u8; 32]> {
        let seed = self.sign_seed()?;
        Some(ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes())
    }

    /// Returns the Ed25519 seed of this slot's client: that of the newest epoch that brought one.
    pub(crate) fn sign_seed(&self) -> Option<&Secret> {
        let seeds = self.roots.range((Root::Sign, 0)..=(Root::Sign, u32::MAX));
        seeds.last().map(|(_, seed)| seed)
    }

    /// Returns a copy without one kind of root.
    #[must_use]
    pub fn without(&self, root: Root) -> Self {
        let roots = self.roots.iter().filter(|((kind, _), _)| *kind != root);
        Self { roots: roots.map(|(key, secret)| (*key, secret.clone())).collect() }
    }

    /// Returns what a client needs that stores and cannot read: DEDUPE and public keys. That of secrets is among them if
    /// this bundle has it or the root that it follows from.
    pub fn write_only(&self) -> Result<Self, CryptoError> {
        let mut bundle = Self::default();
        for ((root, epoch), secret) in &self.roots {
            match root {
                Root::Dedupe | Root::X25519Public | Root::SecretsPublic | Root::Sign | Root::SlotX25519 => {
                    bundle.insert(*root, *epoch, secret.clone());
                }
                Root::Secrets => {
                    let public = exchange::public_of(&exchange::of_secrets(secret));
                    bundle.insert(Root::SecretsPublic, *epoch, Zeroizing::new(public));
                }
                Root::Read | Root::X25519Private => {}
            }
        }
        if bundle.holds(Root::X25519Public) {
            Ok(bundle)
        } else {
            Err(CryptoError::NotEntitled("a public key"))
        }
    }

    /// Returns a root of an epoch.
    pub fn get(&self, root: Root, epoch: u32) -> Option<&Secret> {
        self.roots.get(&(root, epoch))
    }

    /// Returns whether a root of any epoch is there.
    pub fn holds(&self, root: Root) -> bool {
        self.roots.keys().any(|(kind, _)| *kind == root)
    }

    /// Returns a copy with another public key, for [`Keyring::sealing_to`](super::keyring::Keyring::sealing_to).
    pub(super) fn sealing_to(&self, public: [u8; 32]) -> Self {
        let mut bundle = self.clone();
        bundle.insert(Root::X25519Public, 1, Zeroizing::new(public));
        bundle
    }

    fn insert(&mut self, root: Root, epoch: u32, secret: Secret) {
        self.roots.insert((root, epoch), secret);
    }

    /// Encodes the bundle, padded.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let len = (10 + self.roots.len() * 37).next_multiple_of(PADDING);
        // Sized at once: a vector that grows leaves copies of secrets behind.
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.put_varint(self.roots.len() as u64);
        for ((root, epoch), secret) in &self.roots {
            out.put_u8(root.code());
            out.put_u32(*epoch);
            out.put(&secret[..]);
        }
        out.resize(len, 0);
        out
    }

    /// Decodes a padded bundle.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("key bundle", bytes);
        let count = reader.count(MAX_ROOTS, 37, "roots")?;
        let mut bundle = Self::default();
        for _ in 0..count {
            let code = reader.u8()?;
            let root = Root::from_code(code).ok_or_else(|| reader.corrupt(format!("unknown root {code}")))?;
            let epoch = reader.u32()?;
            let secret = Zeroizing::new(reader.array()?);
            if bundle.roots.last_key_value().is_some_and(|(last, _)| *last >= (root, epoch)) {
                return Err(reader.corrupt("roots do not rise"));
            }
            bundle.insert(root, epoch, secret);
        }
        reader.zeros(reader.left())?;
        reader.finish()?;
        Ok(bundle)
    }
}

impl std::fmt::Debug for Bundle {
    /// Shows which roots there are, never their bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.roots.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_round_trips_and_never_shows_its_bytes() {
        let bundle = Bundle::generate().unwrap();
        let back = Bundle::decode(&bundle.encode()).unwrap();
        assert_eq!(back.roots, bundle.roots);
        assert_eq!(bundle.encode().len() % PADDING, 0);
        let shown = format!("{bundle:?}");
        assert!(shown.contains("Dedupe") && shown.len() < 200, "{shown}");
        assert!(!bundle.without(Root::Secrets).holds(Root::Secrets));
    }

    #[test]
    fn a_bundle_that_only_writes_holds_nothing_that_reads() {
        let full = Bundle::generate().unwrap();
        let writes = full.write_only().unwrap();
        assert!(Bundle::can_read(full.contents()) && !Bundle::can_read(writes.contents()));
        assert!(!Bundle::is_full(writes.contents()) && !Bundle::holds_secrets(writes.contents()));
        let kept = [Root::Dedupe, Root::X25519Public, Root::SecretsPublic, Root::Sign, Root::SlotX25519];
        assert!(kept.iter().all(|root| writes.holds(*root)), "{writes:?}");
        assert_eq!(writes.roots.len(), kept.len());
        let secret = |root, epoch| full.get(root, epoch).unwrap().to_vec();
        for (root, epoch) in [(Root::Read, 1), (Root::Secrets, 1), (Root::X25519Private, 1)] {
            let secret = secret(root, epoch);
            assert!(!writes.encode().windows(32).any(|bytes| bytes == secret), "{root:?} leaks");
        }
        // What it was made from may be one of its kind, or lack secrets.
        assert_eq!(writes.write_only().unwrap().roots, writes.roots);
        assert!(!full.without(Root::Secrets).write_only().unwrap().holds(Root::SecretsPublic));
    }

    #[test]
    fn padding_and_order_are_checked() {
        let mut bytes = Bundle::generate().unwrap().encode();
        let last = bytes.len() - 1;
        bytes[last] = 1;
        assert!(Bundle::decode(&bytes).is_err());
        bytes[last] = 0;
        bytes[1] = 9;
        assert!(Bundle::decode(&bytes).is_err());
    }
}
