//! Parity objects: a sealed head, and behind it a part of one shard. Normative: `FORMAT.md` 17.

use crate::crypto::capsule;
use crate::crypto::header::{Header, ObjectKind};
use crate::crypto::seal::Domain;
use crate::error::Corrupt;
use crate::format::{
    HEADER_LEN, MAX_GROUP_PACKS, MAX_PACK, MAX_SHARDS, MAX_SMALL_BODY, PARITY_STEP, PARITY_UNIT, TAG_LEN,
};
use crate::id::{ObjectId, SessionId};
use crate::repo::objects::Objects;
use crate::repo::{RepoError, Repository};
use crate::storage::Name;
use crate::tamper::Stage;
use crate::wire::{Put, Reader};
use std::ops::Range;

/// Where the sealed body begins: after the header and the length of what is sealed.
const SEALED_AT: usize = HEADER_LEN + 4;
/// Longest sealed body: a capsule with its padding, and the tag.
const MAX_SEALED: u32 = MAX_SMALL_BODY / 8 * 9 + 256;
/// Read at first: the head of a group of 128 packs has about 5,000 bytes.
const FIRST_READ: u64 = 6 << 10;

/// Packs that have their shards together, in the order of their names, with their stored lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// 1 to 128 packs, names rising.
    pub packs: Vec<(ObjectId, u64)>,
    /// How many shards there are to be, 1 to 32.
    pub shards: u8,
}

impl GroupKey {
    /// Returns the length of each shard in bytes: that of the longest pack, rounded up to 64.
    pub fn shard_len(&self) -> u64 {
        let longest = self.packs.iter().map(|(_, len)| *len).max().unwrap_or(0);
        longest.next_multiple_of(PARITY_UNIT)
    }
}

/// What a parity object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its group.
    pub group: GroupKey,
    /// Number of its shard, from 0.
    pub number: u8,
    /// Where in the shard its part begins, in bytes.
    pub start: u64,
    /// Length of the part in bytes.
    pub len: u64,
    /// BLAKE3 of the part.
    pub hash: [u8; 32],
}

impl Head {
    /// Returns which part of the shard it is.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.len
    }

    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.group.packs.len() as u64);
        for (id, len) in &self.group.packs {
            out.put(id.as_bytes());
            out.put_varint(*len);
        }
        out.put_u8(self.group.shards);
        out.put_u8(self.number);
        out.put_varint(self.start);
        out.put_varint(self.len);
        out.put(&self.hash);
        out.put_no_extensions();
        out
    }

    /// Decodes a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("parity object", bytes);
        let count = reader.count(MAX_GROUP_PACKS, ObjectId::LEN + 1, "packs")?;
        let mut packs: Vec<(ObjectId, u64)> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = ObjectId::from_bytes(reader.array()?);
            if packs.last().is_some_and(|(last, _)| *last >= id) {
                return Err(reader.corrupt("packs do not rise"));
            }
            let len = reader.at_most(MAX_PACK, "length of a pack")?;
            if len == 0 {
                return Err(reader.corrupt("a pack has no bytes"));
            }
            packs.push((id, len));
        }
        let (shards, number) = (reader.u8()?, reader.u8()?);
        if packs.is_empty() || !(1..=MAX_SHARDS).contains(&shards) || number >= shards {
            let wrong = format!("shard {number} of {shards} over {} packs", packs.len());
            return Err(reader.corrupt(wrong));
        }
        let group = GroupKey { packs, shards };
        let whole = group.shard_len();
        let (start, len) = (reader.at_most(whole, "start")?, reader.at_most(whole, "length")?);
        let end = start + len;
        let is_cut_right =
            start.is_multiple_of(PARITY_STEP) && (end.is_multiple_of(PARITY_STEP) || end == whole);
        if len == 0 || end > whole || !is_cut_right {
            return Err(reader.corrupt(format!("a part from {start} to {end} of {whole} bytes")));
        }
        let hash = reader.array()?;
        reader.extensions()?;
        reader.finish()?;
        Ok(Self { group, number, start, len, hash })
    }
}

/// A parity object that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub id: ObjectId,
    pub number: u8,
    pub start: u64,
    pub len: u64,
    pub hash: [u8; 32],
    /// Where in the object its part of the shard begins.
    pub part_at: u64,
}

impl Piece {
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.len
    }

    pub fn name(&self) -> Name {
        Name::parity(self.id)
    }

    /// Returns the length of the whole object.
    pub fn stored_len(&self) -> u64 {
        self.part_at + self.len
    }
}

/// Reads what a parity object of `stored_len` bytes says of itself; its part of the shard is not read.
pub(super) fn open(objects: &Objects, id: ObjectId, stored_len: u64) -> Result<(GroupKey, Piece), RepoError> {
    let name = Name::parity(id);
    let corrupt = |wrong: String| RepoError::from(Corrupt::new(name.to_string(), wrong));
    if stored_len < (SEALED_AT + TAG_LEN) as u64 {
        return Err(corrupt(format!("a parity object cannot have {stored_len} bytes")));
    }
    let mut stored = objects.storage.get(&name, 0..stored_len.min(FIRST_READ))?;
    let header = Header::parse(&stored, &[ObjectKind::Parity]).map_err(RepoError::of(&name))?;
    let sealed_len = Reader::new("parity object", stored.get(HEADER_LEN..).unwrap_or_default())
        .u32()
        .map_err(|corrupt| corrupt.within(name))?;
    let part_at = SEALED_AT as u64 + u64::from(sealed_len);
    if sealed_len > MAX_SEALED || part_at > stored_len {
        return Err(corrupt(format!("{sealed_len} sealed bytes of {stored_len}")));
    }
    if part_at > stored.len() as u64 {
        stored.extend(objects.storage.get(&name, stored.len() as u64..part_at)?);
    }
    let sealed = stored.get_mut(SEALED_AT..part_at as usize).unwrap_or_default();
    let key = objects.keyring.opener(header).map_err(RepoError::of(&name))?;
    let plain = capsule::open_object(&key, sealed, &sealed_len.to_le_bytes(), ObjectKind::Parity.max_body())
        .map_err(RepoError::of(&name))?;
    let head = Head::decode(&plain).map_err(|corrupt| corrupt.within(name))?;
    let Head { group, number, start, len, hash } = head;
    if part_at + len != stored_len {
        return Err(corrupt(format!("{stored_len} bytes are stored, {} were written", part_at + len)));
    }
    Ok((group, Piece { id, number, start, len, hash, part_at }))
}

/// Seals a head, puts the part of the shard behind it, and stores both, durably. Returns name and stored length.
pub(super) fn store(
    repo: &Repository,
    session: SessionId,
    head: &Head,
    part: &[u8],
) -> Result<(ObjectId, u64), RepoError> {
    let objects = &repo.objects;
    let kind = ObjectKind::Parity;
    let plain = head.encode();
    let plain = &*objects.tamper.passed(Stage::Body, &plain);
    capsule::check_len(plain, kind.max_body(), kind.word())?;
    let mut capsule = capsule::fill(plain)?;
    let key = objects.keyring.sealer(kind, Some(session), &blake3::hash(&capsule))?;
    capsule::pad(&mut capsule, (SEALED_AT + TAG_LEN) as u64);
    let sealed_len = u32::try_from(capsule.len() + TAG_LEN)
        .map_err(|_| RepoError::Internal("a capsule of more than 4 GiB".into()))?
        .to_le_bytes();
    let mut bytes = Vec::with_capacity(SEALED_AT + capsule.len() + TAG_LEN + part.len());
    bytes.put(key.header().bytes());
    bytes.put(&sealed_len);
    bytes.put(&capsule);
    key.seal_from(SEALED_AT, Domain::Body, 0, &sealed_len, &mut bytes)?;
    let mut sealed = bytes.get(SEALED_AT..).unwrap_or_default().to_vec();
    bytes.put(part);
    objects.tamper.pass(Stage::Object, &mut bytes);
    let id = ObjectId::from_bytes(*blake3::hash(&bytes).as_bytes());
    // What is stored must be what was meant, whatever memory did meanwhile.
    let opened = objects
        .keyring
        .opener(Header::parse(&bytes, &[kind])?)
        .and_then(|key| capsule::open_object(&key, &mut sealed, &sealed_len, kind.max_body()));
    let is_meant = opened.is_ok_and(|plain| Head::decode(&plain).is_ok_and(|again| again == *head))
        && bytes
            .get(SEALED_AT + sealed.len()..)
            .is_some_and(|part| *blake3::hash(part).as_bytes() == head.hash);
    if !is_meant {
        return Err(Corrupt::new(kind.word(), "it changed while it was sealed: faulty memory").into());
    }
    objects.put_unchanged(&Name::parity(id), &bytes, id)?;
    Ok((id, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(change: impl FnOnce(&mut Head)) -> Head {
        let packs = (1..=3).map(|n| (ObjectId::from_bytes([n; 32]), 100_000 * u64::from(n))).collect();
        let group = GroupKey { packs, shards: 2 };
        let mut head = Head { group, number: 1, start: 65_536, len: 131_072, hash: [9; 32] };
        change(&mut head);
        head
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let last = |head: &mut Head| (head.start, head.len) = (4 * 65_536, 300_032 - 4 * 65_536);
        for head in [head(|_| {}), head(last)] {
            assert_eq!(Head::decode(&head.encode()), Ok(head));
        }
    }

    #[test]
    fn what_nobody_writes_is_refused() {
        type Change = fn(&mut Head);
        let wrong: [(&str, Change); 12] = [
            ("packs do not rise", |head| head.group.packs.swap(0, 1)),
            ("packs do not rise", |head| head.group.packs[1].0 = head.group.packs[0].0),
            ("no bytes", |head| head.group.packs[0].1 = 0),
            ("length of a pack", |head| head.group.packs[0].1 = MAX_PACK + 1),
            ("over 0 packs", |head| head.group.packs.clear()),
            ("shard 0 of 0", |head| (head.group.shards, head.number) = (0, 0)),
            ("of 33", |head| head.group.shards = 33),
            ("shard 2 of 2", |head| head.number = 2),
            ("a part from", |head| head.len = 0),
            ("a part from", |head| head.start = 64),
            ("a part from", |head| head.len = 128),
            ("a part from", |head| head.start = 4 * 65_536),
        ];
        for (message, change) in wrong {
            let error = Head::decode(&head(change).encode()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let mut many = head(|_| {});
        many.group.packs = (0..=128).map(|n| (ObjectId::from_bytes([n; 32]), 1)).collect();
        assert!(Head::decode(&many.encode()).is_err(), "129 packs");
    }
}
