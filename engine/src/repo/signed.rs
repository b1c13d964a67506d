//! Signatures by the client's own key (Ed25519, RFC 8032) over bodies of small objects.

use super::RepoError;
use crate::crypto::keyring::Keyring;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Returns the key with which this slot signs.
pub(crate) fn signer(keyring: &Keyring) -> Result<SigningKey, RepoError> {
    let bundle = keyring.bundle();
    let seed = bundle.sign_seed();
    let seed =
        seed.ok_or_else(|| RepoError::Refused("this key cannot sign, so it cannot remove anything".into()))?;
    Ok(SigningKey::from_bytes(seed))
}

/// Signs `body`, which ends with the public key, as what `domain` says.
pub(crate) fn sign(key: &SigningKey, keyring: &Keyring, domain: &[u8], body: &[u8]) -> [u8; 64] {
    key.sign(&message(keyring, domain, body)).to_bytes()
}

/// Returns whether `signature` is of this body.
pub(crate) fn is_genuine(
    keyring: &Keyring,
    domain: &[u8],
    body: &[u8],
    public_key: &[u8; 32],
    signature: &[u8; 64],
) -> bool {
    let signature = Signature::from_bytes(signature);
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(&message(keyring, domain, body), &signature).is_ok())
}

fn message(keyring: &Keyring, domain: &[u8], body: &[u8]) -> Vec<u8> {
    [domain, &keyring.repo().as_bytes()[..], body].concat()
}
