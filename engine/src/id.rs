//! Names of things: one type per kind of id, so that a chunk is never taken for a pack.
//!
//! No id has a `Default`, and none turns into another. All show as lower-case hexadecimal.

use std::fmt;

/// Writes `bytes` as lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads exactly `N` bytes of lower-case hexadecimal; anything else is `None`.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the bytes as they are.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Returns the bytes, to be changed by [`crate::tamper`].
            #[allow(dead_code, reason = "not every kind of id is tampered with")]
            pub(crate) const fn as_mut_bytes(&mut self) -> &mut [u8; $len] {
                &mut self.0
            }

            /// Returns the whole id in hexadecimal.
            pub fn to_hex(&self) -> String {
                to_hex(&self.0)
            }

            /// Reads a whole id in lower-case hexadecimal; anything else is `None`.
            pub fn from_hex(text: &str) -> Option<Self> {
                from_hex(text).map(Self)
            }

            /// Returns the first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                to_hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}

id! {
    /// Name of a chunk: BLAKE3 of its plaintext, keyed with the repository's key for its kind.
    ///
    /// The key keeps outsiders from testing whether a known file is stored; two repositories never
    /// share names. Equal names mean equal content; that is the whole of deduplication.
    ChunkId, 32
}
id! {
    /// Name of a stored object that is named by its content: plain BLAKE3 of its *stored* bytes.
    ///
    /// Packs, segments, snapshots and slots have such names, so that a host without keys can verify them.
    ObjectId, 32
}
id! {
    /// Name of one session: random.
    SessionId, 16
}
id! {
    /// Identity of a repository: random, in its configuration, part of every key.
    RepoId, 16
}
id! {
    /// Identity of a writing client: the first 16 bytes of BLAKE3 of its Ed25519 public key.
    ClientId, 16
}
id! {
    /// Hard-link group of files of one snapshot: from a keyed hash of the group's first path.
    LinkGroup, 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_round_trips_and_refuses_the_rest() {
        let id = SessionId::from_bytes(*b"\x00\x01\x7f\x80\xff567890123456"[..16].first_chunk().unwrap());
        assert_eq!(SessionId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(id.short(), "00017f80");
        for bad in
            ["", "00", &"0".repeat(31), &"0".repeat(33), &"G".repeat(32), &"A".repeat(32), &"é".repeat(16)]
        {
            assert_eq!(SessionId::from_hex(bad), None, "{bad:?}");
        }
    }
}
