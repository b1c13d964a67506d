//! Salt kind 2: sealing to a public key (X25519, RFC 7748), for clients that cannot read. Normative: `FORMAT.md` 3.
//!
//! The salt is the public half of a pair that is drawn for one object; whoever holds the private key that the object is
//! sealed to computes the same secret from it. The writer forgets its half, and with it how to read what it wrote.

use super::header::ObjectKind;
use super::{CryptoError, Secret, derive};
use crate::error::Corrupt;
use crate::planted::{Bug, planted};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// The private half of an object's own pair. Wiped when dropped.
#[derive(Clone)]
pub(crate) struct Ephemeral(Secret);

impl Ephemeral {
    /// Takes 32 bytes as the scalar.
    pub(super) fn new(scalar: [u8; 32]) -> Self {
        Self(Zeroizing::new(scalar))
    }

    /// Returns the public half, which is the object's salt.
    pub(super) fn salt(&self) -> [u8; 32] {
        public_of(&self.0)
    }

    /// Returns the kind key of an object that is sealed to `public`.
    pub(super) fn kind_key(
        &self,
        public: &[u8; 32],
        dedupe: &Secret,
        kind: ObjectKind,
    ) -> Result<Secret, CryptoError> {
        let wrong =
            "the public key in this key's slot gives no secret: the slot was made by a faulty program";
        let shared = shared(&self.0, public).ok_or_else(|| Corrupt::new("key slot", wrong))?;
        Ok(combine(&shared, &self.salt(), public, dedupe, kind))
    }
}

impl std::fmt::Debug for Ephemeral {
    /// Shows nothing of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ephemeral")
    }
}

/// Returns the kind key of a stored object with this salt, which is sealed to the public half of `private`.
pub(super) fn kind_key(
    private: &Secret,
    salt: &[u8; 32],
    dedupe: &Secret,
    kind: ObjectKind,
) -> Result<Secret, CryptoError> {
    let wrong = "its salt is a point of low order: forged";
    let shared = shared(private, salt).ok_or_else(|| Corrupt::new(kind.word(), wrong).at(16))?;
    Ok(combine(&shared, salt, &public_of(private), dedupe, kind))
}

/// Returns the public half of a private key.
pub(super) fn public_of(private: &Secret) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(**private)).to_bytes()
}

/// Returns the private key that secrets packs are sealed to.
pub(super) fn of_secrets(secrets_root: &Secret) -> Secret {
    derive("dedup 2026-11-21 x25519 secrets", &secrets_root[..])
}

/// Returns the common secret; `None` if it is all zero, so that anybody could compute it.
pub(super) fn shared(private: &Secret, public: &[u8; 32]) -> Option<Secret> {
    let shared = StaticSecret::from(**private).diffie_hellman(&PublicKey::from(*public));
    let is_secret = shared.was_contributory() || planted(Bug::AcceptZeroSecret);
    is_secret.then(|| Zeroizing::new(shared.to_bytes()))
}

fn combine(shared: &Secret, salt: &[u8; 32], public: &[u8; 32], dedupe: &Secret, kind: ObjectKind) -> Secret {
    let hedge = derive("dedup 2026-11-21 x25519 hedge", &dedupe[..]);
    let mut hasher = blake3::Hasher::new_derive_key("dedup 2026-11-21 x25519");
    hasher.update(&shared[..]).update(salt).update(public).update(&hedge[..]).update(&[kind.code()]);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Zeroizing::new([byte; 32])
    }

    #[test]
    fn both_sides_come_to_one_key_and_nobody_else_does() {
        let (private, dedupe) = (secret(3), secret(4));
        let ephemeral = Ephemeral::new([9; 32]);
        let (salt, public, kind) = (ephemeral.salt(), public_of(&private), ObjectKind::DataPack);
        let key = ephemeral.kind_key(&public, &dedupe, kind).unwrap();
        assert_eq!(kind_key(&private, &salt, &dedupe, kind).unwrap(), key);
        let others = [
            kind_key(&secret(5), &salt, &dedupe, kind),
            kind_key(&private, &salt, &secret(5), kind),
            kind_key(&private, &salt, &dedupe, ObjectKind::ListingPack),
            kind_key(&private, &Ephemeral::new([8; 32]).salt(), &dedupe, kind),
            // The same point in another form: its highest bit is ignored by the exchange, not by the key.
            kind_key(&private, &std::array::from_fn(|at| salt[at] | u8::from(at == 31) << 7), &dedupe, kind),
        ];
        assert!(others.into_iter().all(|other| other.unwrap() != key));
    }

    /// RFC 7748, 5.2: the first vector.
    #[test]
    fn the_exchange_is_that_of_the_standard() {
        let hex = |text: &str| Zeroizing::new(crate::id::from_hex::<32>(text).unwrap());
        let scalar = hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let point = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let out = hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        assert_eq!(shared(&scalar, &point).unwrap(), out);
    }

    /// Points of low order give a secret that everybody knows: neither a writer nor a reader may use it.
    #[test]
    fn a_secret_of_zeros_is_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for low in [[0; 32], one] {
            let kind = ObjectKind::Snapshot;
            assert!(Ephemeral::new([7; 32]).kind_key(&low, &secret(1), kind).is_err());
            assert!(kind_key(&secret(2), &low, &secret(1), kind).is_err());
        }
    }
}
