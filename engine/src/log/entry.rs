//! One entry of the log of a client. Normative: `FORMAT.md` 15.

use super::epoch::MAX_EPOCH;
use super::{ALL, Mark};
use crate::error::Corrupt;
use crate::format::MAX_LIST;
use crate::id::{ClientId, ObjectId};
use crate::listing::Time;
use crate::wire::{Put, Reader};

/// Most logs that one entry names.
pub const MAX_HEADS: usize = MAX_LIST;
/// Most snapshots that one entry makes.
pub const MAX_MADE: usize = MAX_LIST;
/// Longest name of a machine.
const MAX_HOST: usize = 255;

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// These snapshots were committed: the client's own, and those that it found without an entry.
    Made(Vec<ObjectId>),
    /// What is forgotten and pinned was written.
    Retained,
    /// Nothing was done; the client is there.
    Heartbeat,
    /// What is stored was verified.
    Verified,
    /// A key slot came or went for good.
    Slot {
        /// Its name.
        id: ObjectId,
        /// Whether it went.
        is_removed: bool,
    },
    /// A signer has these rights from now on, and no others: [`APPEND`](super::APPEND) and so on.
    Admitted {
        /// Ed25519 public key of the signer.
        public_key: [u8; 32],
        /// The rights.
        rights: u64,
    },
    /// A generation was published.
    Removed,
    /// A key epoch was opened: its number, and BLAKE3 of its stored bytes.
    Epoch(Mark),
}

impl Act {
    /// Returns what it is called.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Made(_) => "made",
            Self::Retained => "retained",
            Self::Heartbeat => "heartbeat",
            Self::Verified => "verified",
            Self::Slot { is_removed: false, .. } => "key_added",
            Self::Slot { is_removed: true, .. } => "key_removed",
            Self::Admitted { .. } => "admitted",
            Self::Removed => "removed",
            Self::Epoch(_) => "key_epoch",
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Made(snapshots) => {
                out.put_u8(1);
                out.put_varint(snapshots.len() as u64);
                snapshots.iter().for_each(|id| out.put(id.as_bytes()));
            }
            Self::Retained => out.put_u8(2),
            Self::Heartbeat => out.put_u8(3),
            Self::Verified => out.put_u8(4),
            Self::Slot { id, is_removed } => {
                out.put_u8(5);
                out.put(id.as_bytes());
                out.put_u8(if *is_removed { 2 } else { 1 });
            }
            Self::Admitted { public_key, rights } => {
                out.put_u8(6);
                out.put(public_key);
                out.put_varint(*rights);
            }
            Self::Removed => out.put_u8(7),
            Self::Epoch(epoch) => {
                out.put_u8(8);
                put_mark(out, epoch);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(match reader.u8()? {
            1 => {
                let count = reader.count(MAX_MADE, ObjectId::LEN, "snapshots")?;
                if count == 0 {
                    return Err(reader.corrupt("an entry that makes no snapshot"));
                }
                let ids = (0..count).map(|_| reader.array().map(ObjectId::from_bytes));
                Self::Made(ids.collect::<Result<_, _>>()?)
            }
            2 => Self::Retained,
            3 => Self::Heartbeat,
            4 => Self::Verified,
            5 => Self::Slot {
                id: ObjectId::from_bytes(reader.array()?),
                is_removed: match reader.u8()? {
                    1 => false,
                    2 => true,
                    other => return Err(reader.corrupt(format!("change {other} of a slot is unknown"))),
                },
            },
            6 => Self::Admitted {
                public_key: reader.array()?,
                rights: match reader.varint()? {
                    rights if rights & !ALL == 0 => rights,
                    rights => return Err(reader.corrupt(format!("rights {rights} are unknown"))),
                },
            },
            7 => Self::Removed,
            8 => match mark(reader)? {
                epoch if (2..=MAX_EPOCH).contains(&epoch.number) => Self::Epoch(epoch),
                epoch => return Err(reader.corrupt(format!("{} is no number of an epoch", epoch.number))),
            },
            other => return Err(reader.corrupt(format!("kind {other} is unknown"))),
        })
    }
}

/// The end of the log of another client, as the writer of an entry saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose log.
    pub client: ClientId,
    /// Its last entry.
    pub mark: Mark,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the log of its client, from 1.
    pub number: u64,
    /// BLAKE3 of the stored bytes of the entry before; zeros for the first.
    pub previous: ObjectId,
    /// When it was written, by the writer's clock: for people, nothing follows from it.
    pub time: Time,
    /// On which machine.
    pub host: String,
    /// What it is about.
    pub act: Act,
    /// How many snapshots are alive, forgotten ones among them, by this entry, all that it follows and all that the
    /// generations up to `generation` removed.
    pub live: u64,
    /// Newest generation.
    pub generation: Mark,
    /// The object that says what is forgotten.
    pub retention: Mark,
    /// The ends of all other logs, by client.
    pub heads: Vec<Head>,
    /// Ed25519 public key of the client.
    pub public_key: [u8; 32],
    /// Its signature over what stands before it.
    pub signature: [u8; 64],
}

fn put_mark(out: &mut Vec<u8>, mark: &Mark) {
    out.put_varint(mark.number);
    out.put(mark.id.as_bytes());
}

fn mark(reader: &mut Reader<'_>) -> Result<Mark, Corrupt> {
    let mark = Mark { number: reader.varint()?, id: ObjectId::from_bytes(reader.array()?) };
    if mark.number == 0 && mark != Mark::NONE {
        return Err(reader.corrupt("a hash of nothing"));
    }
    Ok(mark)
}

impl Entry {
    /// Returns how many entries it follows, itself among them: of two of which one follows the other, that one has more.
    pub fn rank(&self) -> u64 {
        self.heads.iter().fold(self.number, |sum, head| sum.saturating_add(head.mark.number))
    }

    /// Encodes the part that is signed.
    pub fn encode_signed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.number);
        out.put(self.previous.as_bytes());
        out.put_i64(self.time.secs);
        out.put_u32(self.time.nanos);
        out.put_bytes(self.host.as_bytes());
        self.act.put(&mut out);
        out.put_varint(self.live);
        put_mark(&mut out, &self.generation);
        put_mark(&mut out, &self.retention);
        out.put_varint(self.heads.len() as u64);
        for head in &self.heads {
            out.put(head.client.as_bytes());
            put_mark(&mut out, &head.mark);
        }
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

    /// Decodes a body; the signature is the caller's to verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("log entry", bytes);
        let reader = &mut reader;
        let number = reader.varint()?;
        if number == 0 {
            return Err(reader.corrupt("number 0; entries are numbered from 1"));
        }
        let previous = ObjectId::from_bytes(reader.array()?);
        if (number == 1) != (previous == Mark::NONE.id) {
            return Err(reader.corrupt("only the first entry follows nothing"));
        }
        let time = Time { secs: reader.i64()?, nanos: reader.u32()? };
        if time.nanos >= 1_000_000_000 {
            return Err(reader.corrupt("nanoseconds of a second or more"));
        }
        let host = reader.text(MAX_HOST, "host")?;
        let act = Act::read(reader)?;
        let live = reader.varint()?;
        let (generation, retention) = (mark(reader)?, mark(reader)?);
        let mut heads: Vec<Head> = Vec::new();
        for _ in 0..reader.count(MAX_HEADS, 49, "heads")? {
            let head = Head { client: ClientId::from_bytes(reader.array()?), mark: mark(reader)? };
            if head.mark.number == 0 {
                return Err(reader.corrupt("the end of an empty log"));
            }
            if heads.last().is_some_and(|last| last.client >= head.client) {
                return Err(reader.corrupt("heads do not rise"));
            }
            heads.push(head);
        }
        reader.extensions()?;
        let (public_key, signature) = (reader.array()?, reader.array()?);
        reader.clone().finish()?;
        Ok(Self {
            number,
            previous,
            time,
            host,
            act,
            live,
            generation,
            retention,
            heads,
            public_key,
            signature,
        })
    }

    /// Returns whether it names the end of a log.
    pub fn names(&self, head: &Head) -> bool {
        let at = self.heads.binary_search_by_key(&head.client, |known| known.client);
        at.is_ok_and(|at| self.heads[at] == *head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(act: Act) -> Entry {
        let id = |byte| ObjectId::from_bytes([byte; 32]);
        let head = |byte, number| Head {
            client: ClientId::from_bytes([byte; 16]),
            mark: Mark { number, id: id(byte) },
        };
        Entry {
            number: 7,
            previous: id(1),
            time: Time { secs: -5, nanos: 999_999_999 },
            host: "web1".into(),
            act,
            live: 300,
            generation: Mark { number: 4, id: id(2) },
            retention: Mark::NONE,
            heads: vec![head(3, 1), head(4, u64::MAX)],
            public_key: [5; 32],
            signature: [6; 64],
        }
    }

    fn acts() -> Vec<Act> {
        let id = ObjectId::from_bytes([9; 32]);
        vec![
            Act::Made(vec![id, id]),
            Act::Retained,
            Act::Heartbeat,
            Act::Verified,
            Act::Slot { id, is_removed: false },
            Act::Slot { id, is_removed: true },
            Act::Admitted { public_key: [8; 32], rights: 5 },
            Act::Removed,
            Act::Epoch(Mark { number: MAX_EPOCH, id }),
        ]
    }

    #[test]
    fn entries_round_trip_and_end_anywhere_else_in_an_error() {
        for act in acts() {
            let entry = entry(act);
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
            assert!(bytes.starts_with(&entry.encode_signed()));
            for len in 0..bytes.len() {
                assert!(Entry::decode(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
            }
            assert!(Entry::decode(&[&bytes[..], &[0]].concat()).is_err(), "a byte too many");
        }
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let refused = |entry: Entry, why: &str| {
            let error = Entry::decode(&entry.encode()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        let good = || entry(Act::Heartbeat);
        refused(Entry { number: 0, ..good() }, "number 0");
        refused(Entry { number: 1, ..good() }, "follows nothing");
        refused(Entry { previous: Mark::NONE.id, ..good() }, "follows nothing");
        refused(Entry { time: Time { secs: 0, nanos: 1_000_000_000 }, ..good() }, "nanoseconds");
        refused(Entry { host: "h".repeat(256), ..good() }, "host");
        refused(entry(Act::Made(Vec::new())), "makes no snapshot");
        refused(entry(Act::Admitted { public_key: [0; 32], rights: 16 }), "rights 16");
        for number in [0, 1, MAX_EPOCH + 1] {
            let epoch = Mark { number, id: ObjectId::from_bytes([u8::from(number > 0); 32]) };
            refused(entry(Act::Epoch(epoch)), "no number of an epoch");
        }
        refused(
            Entry { generation: Mark { number: 0, id: ObjectId::from_bytes([1; 32]) }, ..good() },
            "nothing",
        );
        let mut falling = good();
        falling.heads.swap(0, 1);
        refused(falling, "do not rise");
        let mut empty = good();
        empty.heads[0].mark = Mark::NONE;
        refused(empty, "empty log");
    }
}
