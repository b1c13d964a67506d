//! The 80 bytes before every sealed object. Normative: `FORMAT.md` 3.
//!
//! ```text
//! 0 magic 4 | 4 version u16 | 6 draft u8 | 7 kind u8 | 8 cipher u8 | 9 salt kind u8 | 10 reserved 2
//! 12 key epoch u32 | 16 salt 32 | 48 commitment 32
//! ```

use super::CryptoError;
use crate::error::Corrupt;
use crate::format::{CIPHER_CHACHA20_POLY1305, DRAFT, HEADER_LEN, MAGIC, VERSION};

/// What a stored object is; the code stands in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The configuration.
    Config,
    /// A pack of file contents and dumps.
    DataPack,
    /// A pack of map nodes and lists.
    ListingPack,
    /// A pack of secrets.
    SecretsPack,
    /// A segment of the index.
    Segment,
    /// A snapshot.
    Snapshot,
    /// A session.
    Session,
    /// An intent of a session.
    Intent,
    /// The end of a session.
    End,
    /// A sign of life of a session.
    Progress,
    /// A condemned set.
    Condemned,
    /// A generation.
    Generation,
    /// An entry of a client's log.
    Log,
    /// A key epoch.
    Epoch,
    /// A shard of parity.
    Parity,
    /// A record about a run, written after its snapshot.
    Run,
    /// The removal of a slot.
    KeyChange,
    /// What is forgotten and what is pinned.
    Retention,
}

impl ObjectKind {
    const ALL: [(u8, Self); 18] = [
        (1, Self::Config),
        (3, Self::DataPack),
        (4, Self::ListingPack),
        (5, Self::SecretsPack),
        (6, Self::Segment),
        (7, Self::Snapshot),
        (8, Self::Session),
        (9, Self::Intent),
        (10, Self::End),
        (11, Self::Progress),
        (12, Self::Condemned),
        (13, Self::Generation),
        (14, Self::Log),
        (15, Self::Epoch),
        (16, Self::Parity),
        (17, Self::Run),
        (18, Self::KeyChange),
        (19, Self::Retention),
    ];

    /// Returns the stored code.
    pub fn code(self) -> u8 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(code, _)| *code)
    }

    /// Reads a stored code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
    }

    /// Returns the word that stands in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Config => "configuration",
            Self::DataPack => "data pack",
            Self::ListingPack => "listing pack",
            Self::SecretsPack => "secrets pack",
            Self::Segment => "segment",
            Self::Snapshot => "snapshot",
            Self::Session => "session",
            Self::Intent => "intent",
            Self::End => "session end",
            Self::Progress => "progress object",
            Self::Condemned => "condemned set",
            Self::Generation => "generation",
            Self::Log => "log entry",
            Self::Epoch => "key epoch",
            Self::Parity => "parity shard",
            Self::Run => "run record",
            Self::KeyChange => "key change",
            Self::Retention => "retention object",
        }
    }
}

/// Where an object's key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaltKind {
    /// From the roots; the salt is random.
    Roots,
    /// From an X25519 exchange; the salt is the ephemeral public key.
    X25519,
}

/// The header of a sealed object, checked for magic, version, kind and cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; HEADER_LEN],
    kind: ObjectKind,
}

impl Header {
    /// Builds the part before the commitment; [`Header::commit`] completes it.
    pub(super) fn new(kind: ObjectKind, salt_kind: SaltKind, epoch: u32, salt: &[u8; 32]) -> Self {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6] = DRAFT;
        bytes[7] = kind.code();
        bytes[8] = CIPHER_CHACHA20_POLY1305;
        bytes[9] = match salt_kind {
            SaltKind::Roots => 1,
            SaltKind::X25519 => 2,
        };
        bytes[12..16].copy_from_slice(&epoch.to_le_bytes());
        bytes[16..48].copy_from_slice(salt);
        Self { bytes, kind }
    }

    pub(super) fn commit(&mut self, commitment: &[u8; 32]) {
        self.bytes[48..80].copy_from_slice(commitment);
    }

    /// Reads the header of an object that must be of one of `kinds`.
    pub fn parse(bytes: &[u8], kinds: &[ObjectKind]) -> Result<Self, CryptoError> {
        let corrupt = |at, wrong: String| CryptoError::from(Corrupt::new("object header", wrong).at(at));
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(corrupt(0, format!("{} bytes where 80 are needed", bytes.len())));
        };
        if bytes[0..4] != MAGIC {
            return Err(corrupt(0, "not an object of a repository".to_owned()));
        }
        check_version([bytes[4], bytes[5], bytes[6]])?;
        let kind = ObjectKind::from_code(bytes[7])
            .filter(|kind| kinds.contains(kind))
            .ok_or_else(|| corrupt(7, format!("kind {} does not belong here", bytes[7])))?;
        if bytes[8] != CIPHER_CHACHA20_POLY1305 {
            return Err(CryptoError::TooNew("object".into(), format!("cipher {} is unknown", bytes[8])));
        }
        if !matches!(bytes[9], 1 | 2) {
            return Err(CryptoError::TooNew("object".into(), format!("salt kind {} is unknown", bytes[9])));
        }
        if bytes[10..12] != [0, 0] {
            return Err(corrupt(10, "reserved bytes are not zero".to_owned()));
        }
        Ok(Self { bytes: *bytes, kind })
    }

    /// Returns the stored bytes.
    pub fn bytes(&self) -> &[u8; HEADER_LEN] {
        &self.bytes
    }

    /// Returns what the object is.
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// Returns the key epoch.
    pub fn epoch(&self) -> u32 {
        u32::from_le_bytes([self.bytes[12], self.bytes[13], self.bytes[14], self.bytes[15]])
    }

    pub(super) fn salt_kind(&self) -> SaltKind {
        if self.bytes[9] == 2 { SaltKind::X25519 } else { SaltKind::Roots }
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.bytes[..16]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.bytes[16..48]
    }

    pub(super) fn commitment(&self) -> &[u8] {
        &self.bytes[48..80]
    }
}

/// Checks version and draft of an object or slot.
pub(super) fn check_version(bytes: [u8; 3]) -> Result<(), CryptoError> {
    let (version, draft) = (u16::from_le_bytes([bytes[0], bytes[1]]), bytes[2]);
    if (version, draft) == (VERSION, DRAFT) {
        return Ok(());
    }
    let shown = match draft {
        0 => format!("format version {version}"),
        draft => format!("draft {draft} of format version {version}"),
    };
    let known = format!("it has {shown}; this build knows draft {DRAFT} of version {VERSION} only");
    Err(CryptoError::TooNew("the repository".into(), known))
}
