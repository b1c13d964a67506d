//! Bodies of the small objects that order concurrent runs. Normative: `FORMAT.md` 13 and 14.

use crate::error::Corrupt;
use crate::format::MAX_NAMES;
use crate::id::{ClientId, ObjectId, SessionId};
use crate::listing::Time;
use crate::wire::{Put, Reader};

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A backup.
    Backup,
    /// A prune.
    Prune,
    /// A copy from another repository.
    Copy,
    /// A repair.
    Repair,
}

/// The object that opens a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who writes.
    pub client: ClientId,
    /// When it began, by its own clock.
    pub started: Time,
    /// On which machine.
    pub host: String,
    /// What for.
    pub purpose: Purpose,
    /// Highest generation it had seen.
    pub generation: u64,
}

/// What a session will depend on; a session's intent is the union of its intents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// Number in the session, from 1.
    pub number: u64,
    /// Whether nothing is missing.
    pub is_final: bool,
    /// Snapshots whose subtrees may be referred to.
    pub snapshots: Vec<ObjectId>,
    /// Packs of others that hold chunks the new snapshot refers to.
    pub packs: Vec<ObjectId>,
    /// The session's own packs.
    pub own_packs: Vec<ObjectId>,
    /// The session's own segments.
    pub own_segments: Vec<ObjectId>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its snapshot exists.
    Committed(ObjectId),
    /// A prune fenced it; the number is of the condemned set.
    Fenced(u64),
    /// It gave up.
    Abandoned,
    /// It ended without a snapshot, as prunes do.
    Done,
}

fn put_ids(out: &mut Vec<u8>, ids: &[ObjectId]) {
    out.put_varint(ids.len() as u64);
    ids.iter().for_each(|id| out.put(id.as_bytes()));
}

fn ids(reader: &mut Reader<'_>, max: usize, name: &str) -> Result<Vec<ObjectId>, Corrupt> {
    let count = reader.count(max, ObjectId::LEN, name)?;
    (0..count).map(|_| reader.array().map(ObjectId::from_bytes)).collect()
}

fn end(mut reader: Reader<'_>) -> Result<(), Corrupt> {
    reader.extensions()?;
    reader.finish()
}

impl Session {
    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(self.client.as_bytes());
        out.put_i64(self.started.secs);
        out.put_u32(self.started.nanos);
        out.put_bytes(self.host.as_bytes());
        out.put_u8(match self.purpose {
            Purpose::Backup => 1,
            Purpose::Prune => 2,
            Purpose::Copy => 3,
            Purpose::Repair => 4,
        });
        out.put_varint(self.generation);
        out.put_no_extensions();
        out
    }

    /// Decodes the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("session", bytes);
        let session = Self {
            client: ClientId::from_bytes(reader.array()?),
            started: Time { secs: reader.i64()?, nanos: reader.u32()? },
            host: reader.text(255, "host")?,
            purpose: match reader.u8()? {
                1 => Purpose::Backup,
                2 => Purpose::Prune,
                3 => Purpose::Copy,
                4 => Purpose::Repair,
                other => return Err(reader.corrupt(format!("purpose {other} is unknown"))),
            },
            generation: reader.varint()?,
        };
        end(reader)?;
        Ok(session)
    }
}

impl Intent {
    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.number);
        out.put_u8(self.is_final.into());
        put_ids(&mut out, &self.snapshots);
        put_ids(&mut out, &self.packs);
        put_ids(&mut out, &self.own_packs);
        put_ids(&mut out, &self.own_segments);
        out.put_no_extensions();
        out
    }

    /// Decodes the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("intent", bytes);
        let intent = Self {
            number: reader.varint()?,
            is_final: match reader.u8()? {
                0 => false,
                1 => true,
                other => return Err(reader.corrupt(format!("{other} is neither final nor not"))),
            },
            snapshots: ids(&mut reader, 64, "snapshots")?,
            packs: ids(&mut reader, MAX_NAMES, "packs")?,
            own_packs: ids(&mut reader, MAX_NAMES, "own packs")?,
            own_segments: ids(&mut reader, MAX_NAMES, "own segments")?,
        };
        end(reader)?;
        Ok(intent)
    }
}

impl Verdict {
    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Committed(snapshot) => {
                out.put_u8(1);
                out.put(snapshot.as_bytes());
            }
            Self::Fenced(condemned) => {
                out.put_u8(2);
                out.put_varint(*condemned);
            }
            Self::Abandoned => out.put_u8(3),
            Self::Done => out.put_u8(4),
        }
        out.put_no_extensions();
        out
    }

    /// Decodes the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("session end", bytes);
        let verdict = match reader.u8()? {
            1 => Self::Committed(ObjectId::from_bytes(reader.array()?)),
            2 => Self::Fenced(reader.varint()?),
            3 => Self::Abandoned,
            4 => Self::Done,
            other => return Err(reader.corrupt(format!("verdict {other} is unknown"))),
        };
        end(reader)?;
        Ok(verdict)
    }
}

/// The parts of a condemned set that a backup must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condemned {
    /// Its number.
    pub number: u64,
    /// Highest generation when its liveness was computed: it ends with generation base + 1.
    pub base: u64,
    /// Session of the prune.
    pub session: Option<SessionId>,
    /// Packs that are to go.
    pub packs: Vec<ObjectId>,
    /// Segments that are to go.
    pub segments: Vec<ObjectId>,
    /// Snapshots that are to go.
    pub snapshots: Vec<ObjectId>,
}

impl Condemned {
    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.number);
        out.put_varint(self.base);
        out.put(self.session.as_ref().map_or(&[0; 16][..], |session| session.as_bytes()));
        put_ids(&mut out, &self.packs);
        put_ids(&mut out, &self.segments);
        put_ids(&mut out, &self.snapshots);
        out.put_no_extensions();
        out
    }

    /// Decodes the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("condemned set", bytes);
        let set = Self {
            number: reader.varint()?,
            base: reader.varint()?,
            session: Some(SessionId::from_bytes(reader.array()?)),
            packs: ids(&mut reader, MAX_NAMES, "packs")?,
            segments: ids(&mut reader, MAX_NAMES, "segments")?,
            snapshots: ids(&mut reader, MAX_NAMES, "snapshots")?,
        };
        end(reader)?;
        Ok(set)
    }
}

/// A generation: what a prune removed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// The condemned set it carries out.
    pub condemned: u64,
    /// BLAKE3 of the stored bytes of the generation before; zeros for the first.
    pub previous: ObjectId,
    /// Session of the prune.
    pub session: SessionId,
    /// Packs removed.
    pub packs: Vec<ObjectId>,
    /// Segments removed.
    pub segments: Vec<ObjectId>,
    /// Snapshots removed.
    pub snapshots: Vec<ObjectId>,
    /// Parity objects removed.
    pub parity: Vec<ObjectId>,
    /// Sessions whose committed end no longer counts.
    pub retired: Vec<SessionId>,
    /// Ed25519 public key of the signer.
    pub public_key: [u8; 32],
    /// Signature over what stands before it.
    pub signature: [u8; 64],
}

impl Generation {
    /// Makes one that removes nothing and carries out no condemned set; not signed yet.
    pub fn empty(number: u64, previous: ObjectId, session: SessionId) -> Self {
        Self {
            number,
            condemned: 0,
            previous,
            session,
            packs: Vec::new(),
            segments: Vec::new(),
            snapshots: Vec::new(),
            parity: Vec::new(),
            retired: Vec::new(),
            public_key: [0; 32],
            signature: [0; 64],
        }
    }

    /// Returns whether it names anything that goes.
    pub(crate) fn names_anything(&self) -> bool {
        let lists = [&self.packs, &self.segments, &self.snapshots, &self.parity];
        lists.iter().any(|list| !list.is_empty()) || !self.retired.is_empty()
    }

    /// Returns one that has its place in the row and removes nothing.
    pub(crate) fn without_effect(self) -> Self {
        let (public_key, signature) = (self.public_key, self.signature);
        Self {
            condemned: self.condemned,
            public_key,
            signature,
            ..Self::empty(self.number, self.previous, self.session)
        }
    }

    /// Encodes the part that is signed.
    pub fn encode_signed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.number);
        out.put_varint(self.condemned);
        out.put(self.previous.as_bytes());
        out.put(self.session.as_bytes());
        put_ids(&mut out, &self.packs);
        put_ids(&mut out, &self.segments);
        put_ids(&mut out, &self.snapshots);
        put_ids(&mut out, &self.parity);
        out.put_varint(self.retired.len() as u64);
        self.retired.iter().for_each(|session| out.put(session.as_bytes()));
        out.put_no_extensions();
        out.put(&self.public_key);
        out
    }

    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_signed();
        out.put(&self.signature);
        out
    }

    /// Decodes the body; the signature is the caller's to verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("generation", bytes);
        let generation = Self {
            number: reader.varint()?,
            condemned: reader.varint()?,
            previous: ObjectId::from_bytes(reader.array()?),
            session: SessionId::from_bytes(reader.array()?),
            packs: ids(&mut reader, MAX_NAMES, "packs")?,
            segments: ids(&mut reader, MAX_NAMES, "segments")?,
            snapshots: ids(&mut reader, MAX_NAMES, "snapshots")?,
            parity: ids(&mut reader, MAX_NAMES, "parity objects")?,
            retired: {
                let count = reader.count(MAX_NAMES, SessionId::LEN, "sessions")?;
                (0..count).map(|_| reader.array().map(SessionId::from_bytes)).collect::<Result<_, _>>()?
            },
            public_key: {
                reader.extensions()?;
                reader.array()?
            },
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(generation)
    }
}
