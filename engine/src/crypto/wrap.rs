//! The roots of a later epoch, sealed to the key of one slot (X25519, RFC 7748). Normative: `FORMAT.md` 16.

use super::roots::{Bundle, Root};
use super::seal::{equal, open_bundle, seal_bundle};
use super::{CryptoError, Secret, exchange, random};
use crate::error::Corrupt;
use crate::id::{ObjectId, RepoId};
use zeroize::Zeroizing;

/// Commitment of the key that seals a bundle, in bytes.
const COMMITMENT_LEN: usize = 32;
/// Longest sealed bundle: of one epoch there are at most seven roots.
pub(crate) const MAX_WRAPPED: usize = 1024;

/// Roots of one epoch, as they stand in its object for one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrapped {
    /// Name of the slot.
    pub slot: ObjectId,
    /// Public half of a pair that was drawn for this.
    pub ephemeral: [u8; 32],
    /// Commitment, sealed bundle and tag.
    pub sealed: Vec<u8>,
}

/// What a wrapping is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub repo: RepoId,
    pub epoch: u32,
    pub slot: ObjectId,
}

impl Place {
    /// Returns sealing key and commitment.
    fn keys(
        &self,
        shared: Option<Secret>,
        ephemeral: &[u8; 32],
        public: &[u8; 32],
        dedupe: &Secret,
    ) -> Result<Zeroizing<[u8; 64]>, CryptoError> {
        let shared = shared.ok_or_else(|| Corrupt::new("key epoch", "a point of low order: forged"))?;
        let mut hasher = blake3::Hasher::new_derive_key("dedup 2026-11-21 epoch wrap");
        hasher.update(&shared[..]).update(ephemeral).update(public).update(&dedupe[..]);
        let secret = Zeroizing::new(*hasher.finalize().as_bytes());
        let mut okm = Zeroizing::new([0; 64]);
        let mut hasher = blake3::Hasher::new_keyed(&secret);
        hasher.update(self.repo.as_bytes()).update(self.slot.as_bytes()).update(&self.epoch.to_le_bytes());
        hasher.finalize_xof().fill(&mut okm[..]);
        Ok(okm)
    }

    fn associated(&self) -> Vec<u8> {
        let name = format!("epochs/{:016}", self.epoch);
        [self.repo.as_bytes(), name.as_bytes(), self.slot.as_bytes()].concat()
    }
}

/// Seals the roots of an epoch to the slot with this public key. `dedupe` is of epoch 1: who breaks X25519 alone reads
/// nothing.
pub(crate) fn wrap(
    place: Place,
    public: &[u8; 32],
    dedupe: &Secret,
    bundle: &Bundle,
) -> Result<Wrapped, CryptoError> {
    let private: Secret = Zeroizing::new(random()?);
    let ephemeral = exchange::public_of(&private);
    let okm = place.keys(exchange::shared(&private, public), &ephemeral, public, dedupe)?;
    let (key, commitment) = okm.split_at(COMMITMENT_LEN);
    let sealed = [commitment, &seal_bundle(key, &place.associated(), bundle)?].concat();
    Ok(Wrapped { slot: place.slot, ephemeral, sealed })
}

/// Opens what was sealed to the slot with this private key.
pub(crate) fn unwrap(
    repo: RepoId,
    epoch: u32,
    wrapped: &Wrapped,
    private: &Secret,
    dedupe: &Secret,
) -> Result<Bundle, CryptoError> {
    let broken = || Corrupt::new("key epoch", "the roots for this key do not open: damaged or forged");
    let place = Place { repo, epoch, slot: wrapped.slot };
    let public = exchange::public_of(private);
    let okm =
        place.keys(exchange::shared(private, &wrapped.ephemeral), &wrapped.ephemeral, &public, dedupe)?;
    let (key, commitment) = okm.split_at(COMMITMENT_LEN);
    let (stored, sealed) = wrapped.sealed.split_at_checked(COMMITMENT_LEN).ok_or_else(broken)?;
    if !equal(commitment, stored) {
        return Err(broken().into());
    }
    let bundle = open_bundle(key, &place.associated(), sealed, broken)?;
    if bundle.is_of_epoch(epoch) && bundle.get(Root::Dedupe, epoch).is_some() {
        Ok(bundle)
    } else {
        Err(Corrupt::new("key epoch", "the roots for this key are of another epoch").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Zeroizing::new([byte; 32])
    }

    #[test]
    fn roots_open_for_their_slot_and_place_alone() {
        let (repo, slot) = (RepoId::from_bytes([7; 16]), ObjectId::from_bytes([8; 32]));
        let (private, dedupe) = (secret(3), secret(4));
        let roots = Bundle::of_epoch(2).unwrap();
        let place = Place { repo, epoch: 2, slot };
        let wrapped = wrap(place, &exchange::public_of(&private), &dedupe, &roots).unwrap();
        assert!(wrapped.sealed.len() <= MAX_WRAPPED);
        let opened = unwrap(repo, 2, &wrapped, &private, &dedupe).unwrap();
        assert_eq!(opened.checks(2), roots.checks(2));

        let other = RepoId::from_bytes([6; 16]);
        assert!(unwrap(other, 2, &wrapped, &private, &dedupe).is_err());
        assert!(unwrap(repo, 3, &wrapped, &private, &dedupe).is_err());
        assert!(unwrap(repo, 2, &wrapped, &secret(5), &dedupe).is_err());
        assert!(unwrap(repo, 2, &wrapped, &private, &secret(5)).is_err());
        let moved = Wrapped { slot: ObjectId::from_bytes([9; 32]), ..wrapped.clone() };
        assert!(unwrap(repo, 2, &moved, &private, &dedupe).is_err());
        for at in 0..wrapped.sealed.len() {
            let mut bad = wrapped.clone();
            bad.sealed[at] ^= 1;
            assert!(unwrap(repo, 2, &bad, &private, &dedupe).is_err(), "byte {at}");
            bad.sealed.truncate(at);
            assert!(unwrap(repo, 2, &bad, &private, &dedupe).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn roots_of_another_epoch_and_points_of_low_order_are_refused() {
        let (repo, slot) = (RepoId::from_bytes([7; 16]), ObjectId::from_bytes([8; 32]));
        let (private, dedupe) = (secret(3), secret(4));
        let (place, public) = (Place { repo, epoch: 3, slot }, exchange::public_of(&private));
        let wrapped = wrap(place, &public, &dedupe, &Bundle::of_epoch(2).unwrap()).unwrap();
        assert!(unwrap(repo, 3, &wrapped, &private, &dedupe).is_err());
        assert!(wrap(place, &[0; 32], &dedupe, &Bundle::of_epoch(3).unwrap()).is_err());
        assert!(unwrap(repo, 3, &Wrapped { ephemeral: [0; 32], ..wrapped }, &private, &dedupe).is_err());
    }

    #[test]
    fn a_slot_gets_what_its_contents_name() {
        let full = Bundle::generate().unwrap();
        let roots = Bundle::of_epoch(2).unwrap();
        let of = |bundle: &Bundle| roots.for_contents(2, bundle.contents()).unwrap();
        assert_eq!(of(&full).checks(2), roots.checks(2));
        assert_ne!(of(&full).signer(), of(&full).signer(), "each slot has a signer of its own");
        let without = of(&full.without(Root::Secrets));
        assert!(without.holds(Root::Read) && !without.holds(Root::Secrets));
        let writes = of(&full.write_only().unwrap());
        assert!(writes.holds(Root::Dedupe) && writes.holds(Root::X25519Public));
        assert!(writes.holds(Root::SecretsPublic));
        assert!(
            !writes.holds(Root::Read) && !writes.holds(Root::Secrets) && !writes.holds(Root::X25519Private)
        );
        let no_secrets = of(&full.without(Root::Secrets).write_only().unwrap());
        assert!(!no_secrets.holds(Root::SecretsPublic));
    }
}
