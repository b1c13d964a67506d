//! What a machine remembers of the logs of one repository. It is no object of the repository; the form is that of this
//! program alone.
//!
//! ```text
//! magic "dedup heads 1\n" ‖ repository (16) ‖ body ‖ BLAKE3 of all before it (32)
//! ```

use super::{Mark, Word};
use crate::error::Corrupt;
use crate::id::{ClientId, ObjectId, RepoId};
use crate::listing::Time;
use crate::wire::{Put, Reader};
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8; 14] = b"dedup heads 1\n";
/// Most items of any list, before its bytes are counted.
const MAX_ITEMS: usize = 1 << 26;

/// The end of a log as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The last entry.
    pub mark: Mark,
    /// When that was written, by its writer's clock.
    pub time: Time,
    /// On which machine.
    pub host: String,
    /// Ed25519 public key of the client.
    pub public_key: [u8; 32],
    /// How many snapshots it counted.
    pub live: u64,
}

/// What is known of all logs, after everything that it says was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Ends of all logs.
    pub heads: BTreeMap<ClientId, Seen>,
    /// Newest generation.
    pub generation: Mark,
    /// Highest number of a retention object that anybody relied on, with its hash.
    pub retention: Mark,
    /// Snapshots that an entry made and no generation removed, with the [rank](super::Entry::rank) of that entry.
    pub alive: BTreeMap<ObjectId, u64>,
    /// Key slots that went for good.
    pub slots_gone: BTreeSet<ObjectId>,
    /// What was said of rights.
    pub words: Vec<Word>,
    /// Key epochs that count, in their order.
    pub epochs: Vec<Mark>,
    /// Ends of logs when the person accepted a storage that had lost something: what entries up to there name that is
    /// not there is known to be lost.
    pub accepted: BTreeMap<ClientId, u64>,
    /// It was written by a program that knew no ranks: all of them are 0.
    pub is_unranked: bool,
}

impl Default for Memory {
    fn default() -> Self {
        let (generation, retention) = (Mark::NONE, Mark::NONE);
        let (heads, alive, slots_gone, words, epochs, accepted) = Default::default();
        let is_unranked = false;
        Self { heads, generation, retention, alive, slots_gone, words, epochs, accepted, is_unranked }
    }
}

impl Memory {
    /// Returns whether `other` knows something that this one does not.
    pub fn lacks(&self, other: &Self) -> bool {
        let of = |client| self.heads.get(client).map_or(0, |seen: &Seen| seen.mark.number);
        other.heads.iter().any(|(client, seen)| seen.mark.number > of(client))
            || other.generation.number > self.generation.number
            || other.retention.number > self.retention.number
            || other.epochs.len() > self.epochs.len()
    }

    /// Encodes it for a file.
    pub fn encode(&self, repo: RepoId) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put(repo.as_bytes());
        out.put_varint(self.heads.len() as u64);
        for (client, seen) in &self.heads {
            out.put(client.as_bytes());
            put_mark(&mut out, &seen.mark);
            out.put_i64(seen.time.secs);
            out.put_u32(seen.time.nanos);
            out.put_bytes(seen.host.as_bytes());
            out.put(&seen.public_key);
            out.put_varint(seen.live);
        }
        put_mark(&mut out, &self.generation);
        put_mark(&mut out, &self.retention);
        out.put_varint(self.alive.len() as u64);
        self.alive.keys().for_each(|id| out.put(id.as_bytes()));
        out.put_varint(self.slots_gone.len() as u64);
        self.slots_gone.iter().for_each(|id| out.put(id.as_bytes()));
        out.put_varint(self.words.len() as u64);
        for word in &self.words {
            out.put(word.by.as_bytes());
            out.put(word.of.as_bytes());
            for number in [word.number, word.rights, word.generation, word.retention] {
                out.put_varint(number);
            }
        }
        out.put_varint(self.accepted.len() as u64);
        for (client, number) in &self.accepted {
            out.put(client.as_bytes());
            out.put_varint(*number);
        }
        out.put_varint(self.epochs.len() as u64);
        self.epochs.iter().for_each(|epoch| put_mark(&mut out, epoch));
        if !self.is_unranked {
            self.alive.values().for_each(|rank| out.put_varint(*rank));
        }
        let hash = blake3::hash(&out);
        out.put(hash.as_bytes());
        out
    }

    /// Decodes the bytes of a file.
    pub fn decode(bytes: &[u8], repo: RepoId) -> Result<Self, Corrupt> {
        let wrong = |wrong| Corrupt::new("what is remembered of the logs", wrong);
        let (body, hash) = bytes.split_last_chunk::<32>().ok_or_else(|| wrong("it is too short"))?;
        if blake3::hash(body).as_bytes() != hash {
            return Err(wrong("its checksum is wrong"));
        }
        let mut reader = Reader::new("what is remembered of the logs", body);
        if reader.array()? != *MAGIC {
            return Err(reader.corrupt("it is of another form"));
        }
        if reader.array()? != *repo.as_bytes() {
            return Err(reader.corrupt("it is of another repository"));
        }
        let mut memory = Self::default();
        for _ in 0..reader.count(MAX_ITEMS, 94, "logs")? {
            let client = client(&mut reader)?;
            let seen = Seen {
                mark: mark(&mut reader)?,
                time: Time { secs: reader.i64()?, nanos: reader.u32()? },
                host: reader.text(255, "host")?,
                public_key: reader.array()?,
                live: reader.varint()?,
            };
            memory.heads.insert(client, seen);
        }
        (memory.generation, memory.retention) = (mark(&mut reader)?, mark(&mut reader)?);
        for _ in 0..reader.count(MAX_ITEMS, ObjectId::LEN, "names")? {
            memory.alive.insert(ObjectId::from_bytes(reader.array()?), 0);
        }
        for _ in 0..reader.count(MAX_ITEMS, ObjectId::LEN, "names")? {
            memory.slots_gone.insert(ObjectId::from_bytes(reader.array()?));
        }
        for _ in 0..reader.count(MAX_ITEMS, 36, "words")? {
            let (by, of) = (client(&mut reader)?, client(&mut reader)?);
            let number = reader.varint()?;
            let (rights, generation, retention) = (reader.varint()?, reader.varint()?, reader.varint()?);
            memory.words.push(Word { by, number, of, rights, generation, retention });
        }
        for _ in 0..reader.count(MAX_ITEMS, 17, "logs")? {
            memory.accepted.insert(client(&mut reader)?, reader.varint()?);
        }
        // Programs that knew no key epochs remembered none.
        let epochs = if reader.left() > 0 { reader.count(MAX_ITEMS, 33, "key epochs")? } else { 0 };
        for _ in 0..epochs {
            memory.epochs.push(mark(&mut reader)?);
        }
        // Nor did those that remembered no ranks, of which there is one for each snapshot.
        memory.is_unranked = reader.left() == 0 && !memory.alive.is_empty();
        if !memory.is_unranked {
            for rank in memory.alive.values_mut() {
                *rank = reader.varint()?;
            }
        }
        reader.finish()?;
        Ok(memory)
    }
}

fn client(reader: &mut Reader<'_>) -> Result<ClientId, Corrupt> {
    Ok(ClientId::from_bytes(reader.array()?))
}

fn put_mark(out: &mut Vec<u8>, mark: &Mark) {
    out.put_varint(mark.number);
    out.put(mark.id.as_bytes());
}

fn mark(reader: &mut Reader<'_>) -> Result<Mark, Corrupt> {
    Ok(Mark { number: reader.varint()?, id: ObjectId::from_bytes(reader.array()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_or_is_no_memory() {
        let (client, id) = (ClientId::from_bytes([3; 16]), ObjectId::from_bytes([4; 32]));
        let repo = RepoId::from_bytes([1; 16]);
        let mark = Mark { number: 300, id };
        let seen = Seen {
            mark,
            time: Time { secs: 9, nanos: 1 },
            host: "web1".into(),
            public_key: [5; 32],
            live: 2,
        };
        let word = Word { by: client, number: 7, of: client, rights: 1, generation: 2, retention: 3 };
        let memory = Memory {
            heads: BTreeMap::from([(client, seen)]),
            generation: mark,
            retention: Mark::NONE,
            alive: BTreeMap::from([(id, 400)]),
            slots_gone: BTreeSet::from([id]),
            words: vec![word],
            epochs: vec![mark],
            accepted: BTreeMap::from([(client, 4)]),
            is_unranked: false,
        };
        let old = Memory { alive: BTreeMap::from([(id, 0)]), is_unranked: true, ..memory.clone() };
        assert_eq!(Memory::decode(&old.encode(repo), repo), Ok(old), "of a program that knew no ranks");
        let bytes = memory.encode(repo);
        assert_eq!(Memory::decode(&bytes, repo), Ok(memory));
        assert!(Memory::decode(&bytes, RepoId::from_bytes([2; 16])).is_err(), "of another repository");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Memory::decode(&bad, repo).is_err(), "byte {at} can be changed unnoticed");
            assert!(Memory::decode(&bytes[..at], repo).is_err(), "{at} bytes pass for all");
        }
    }
}
