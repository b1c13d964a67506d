//! Names of temporary files: `.dedup-<16 hex digits>.tmp`, which nobody can guess beforehand.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &[u8] = b".dedup-";
const SUFFIX: &[u8] = b".tmp";
const DIGITS: usize = 16;

/// Makes names; one secret for all of them, so that a name costs no system call.
#[derive(Debug, Default)]
pub(super) struct TemporaryNames {
    secret: RandomState,
    next: AtomicU64,
}

impl TemporaryNames {
    /// Returns a name that was not given before.
    pub(super) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!(".dedup-{:016x}.tmp", self.secret.hash_one(number))
    }
}

/// Returns whether a name has the shape of a temporary one.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(|hex| hex.len() == DIGITS && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Returns 16 random hex digits.
pub(super) fn random_hex() -> String {
    format!("{:016x}", RandomState::new().hash_one(0u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_made_names_are_temporary() {
        let names = TemporaryNames::default();
        let (a, b) = (names.next(), names.next());
        assert_ne!(a, b);
        assert!(is_temporary(a.as_bytes()) && is_temporary(b.as_bytes()));
        for other in ["", ".dedup-.tmp", ".dedup-0123456789abcdeX.tmp", ".dedup-0123456789abcdef.tm", "x"] {
            assert!(!is_temporary(other.as_bytes()), "{other}");
        }
    }
}
