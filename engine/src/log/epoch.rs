//! A key epoch: roots sealed to slots, and who goes on having rights. Normative: `FORMAT.md` 16.

use super::{ALL, Opening};
use crate::crypto::keyring::client_of;
use crate::crypto::wrap::{MAX_WRAPPED, Wrapped};
use crate::error::Corrupt;
use crate::format::{MAX_LIST, MAX_NAMES, MAX_SLOTS};
use crate::id::{ClientId, ObjectId};
use crate::wire::{Put, Reader};

/// Highest number of an epoch: a slot has room for the roots of some 80.
pub(crate) const MAX_EPOCH: u64 = 64;
/// Most logs whose ends an epoch names.
const MAX_ENDS: usize = 65_536;

/// The body of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Its number, from 2.
    pub number: u32,
    /// BLAKE3 of the stored bytes of the epoch before that counts; of the configuration's for the first.
    pub previous: ObjectId,
    /// When it was made, in Unix seconds.
    pub created_unix_secs: i64,
    /// Its X25519 public key.
    pub x25519_public: [u8; 32],
    /// Check values of its roots, by code.
    pub checks: Vec<(u8, [u8; 32])>,
    /// Its roots for each slot that was taken along, by slot.
    pub wrapped: Vec<Wrapped>,
    /// Ed25519 public key of its first signer, who opens the next one.
    pub first_signer: [u8; 32],
    /// Ed25519 public keys of all who have rights from now on, rising, with their rights.
    pub signers: Vec<([u8; 32], u64)>,
    /// Number of the newest generation: what it says of rights concerns those after it.
    pub generation: u64,
    /// Number of the newest retention object, likewise.
    pub retention: u64,
    /// The last entry of each log that is of the time before, rising by client.
    pub ends: Vec<(ClientId, u64)>,
    /// Segments that counted when it was made, rising.
    pub segments: Vec<ObjectId>,
    /// Ed25519 public key of whoever opened it: the first signer of the epoch before.
    pub public_key: [u8; 32],
    /// Its signature over what stands before it.
    pub signature: [u8; 64],
}

impl Epoch {
    /// Encodes the part that is signed.
    pub fn encode_signed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.number.into());
        out.put(self.previous.as_bytes());
        out.put_i64(self.created_unix_secs);
        out.put(&self.x25519_public);
        out.put_varint(self.checks.len() as u64);
        for (code, check) in &self.checks {
            out.put_u8(*code);
            out.put(check);
        }
        out.put_varint(self.wrapped.len() as u64);
        for wrapped in &self.wrapped {
            out.put(wrapped.slot.as_bytes());
            out.put(&wrapped.ephemeral);
            out.put_bytes(&wrapped.sealed);
        }
        out.put(&self.first_signer);
        out.put_varint(self.signers.len() as u64);
        for (signer, rights) in &self.signers {
            out.put(signer);
            out.put_varint(*rights);
        }
        out.put_varint(self.generation);
        out.put_varint(self.retention);
        out.put_varint(self.ends.len() as u64);
        for (client, number) in &self.ends {
            out.put(client.as_bytes());
            out.put_varint(*number);
        }
        out.put_varint(self.segments.len() as u64);
        self.segments.iter().for_each(|id| out.put(id.as_bytes()));
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

    /// Returns what it changes in who may do what.
    pub fn opening(&self) -> Opening {
        Opening {
            first: client_of(&self.first_signer),
            generation: self.generation,
            retention: self.retention,
            ends: self.ends.iter().copied().collect(),
            signers: self.signers.iter().map(|(key, rights)| (client_of(key), *rights)).collect(),
        }
    }

    /// Decodes a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("key epoch", bytes);
        let reader = &mut reader;
        let number = reader.varint()?;
        if !(2..=MAX_EPOCH).contains(&number) {
            return Err(reader.corrupt(format!("{number} is no number of an epoch")));
        }
        let previous = ObjectId::from_bytes(reader.array()?);
        let (created_unix_secs, x25519_public) = (reader.i64()?, reader.array()?);
        let mut checks: Vec<(u8, [u8; 32])> = Vec::new();
        for _ in 0..reader.count(16, 33, "checks")? {
            let check = (reader.u8()?, reader.array()?);
            rises(reader, checks.last().map(|last| last.0), &check.0, "checks")?;
            checks.push(check);
        }
        let mut wrapped: Vec<Wrapped> = Vec::new();
        for _ in 0..reader.count(MAX_SLOTS, 65, "slots")? {
            let (slot, ephemeral) = (ObjectId::from_bytes(reader.array()?), reader.array()?);
            rises(reader, wrapped.last().map(|last| last.slot), &slot, "slots")?;
            let sealed = reader.bytes(MAX_WRAPPED, "sealed roots")?.to_vec();
            wrapped.push(Wrapped { slot, ephemeral, sealed });
        }
        let first_signer = reader.array()?;
        let mut signers: Vec<([u8; 32], u64)> = Vec::new();
        for _ in 0..reader.count(MAX_LIST, 33, "signers")? {
            let (signer, rights) = (reader.array()?, reader.varint()?);
            rises(reader, signers.last().map(|last| last.0), &signer, "signers")?;
            if rights & !ALL != 0 {
                return Err(reader.corrupt(format!("rights {rights} are unknown")));
            }
            signers.push((signer, rights));
        }
        let (generation, retention) = (reader.varint()?, reader.varint()?);
        let mut ends: Vec<(ClientId, u64)> = Vec::new();
        for _ in 0..reader.count(MAX_ENDS, 17, "ends of logs")? {
            let end = (ClientId::from_bytes(reader.array()?), reader.varint()?);
            rises(reader, ends.last().map(|last| last.0), &end.0, "ends of logs")?;
            ends.push(end);
        }
        let mut segments: Vec<ObjectId> = Vec::new();
        for _ in 0..reader.count(MAX_NAMES, ObjectId::LEN, "segments")? {
            let id = ObjectId::from_bytes(reader.array()?);
            rises(reader, segments.last().copied(), &id, "segments")?;
            segments.push(id);
        }
        if wrapped.is_empty() || !signers.contains(&(first_signer, ALL)) {
            return Err(reader.corrupt("an epoch for nobody"));
        }
        reader.extensions()?;
        let (public_key, signature) = (reader.array()?, reader.array()?);
        reader.clone().finish()?;
        let number = number as u32;
        Ok(Self {
            number,
            previous,
            created_unix_secs,
            x25519_public,
            checks,
            wrapped,
            first_signer,
            signers,
            generation,
            retention,
            ends,
            segments,
            public_key,
            signature,
        })
    }
}

fn rises<T: Ord>(reader: &Reader<'_>, last: Option<T>, next: &T, what: &str) -> Result<(), Corrupt> {
    if last.is_some_and(|last| last >= *next) {
        return Err(reader.corrupt(format!("{what} do not rise")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Epoch {
        let id = |byte| ObjectId::from_bytes([byte; 32]);
        let wrapped = |byte| Wrapped { slot: id(byte), ephemeral: [2; 32], sealed: vec![3; 600] };
        Epoch {
            number: 2,
            previous: id(12),
            created_unix_secs: -7,
            x25519_public: [1; 32],
            checks: vec![(1, [1; 32]), (6, [2; 32])],
            wrapped: vec![wrapped(4), wrapped(5)],
            first_signer: [6; 32],
            signers: vec![([6; 32], ALL), ([7; 32], 1)],
            generation: 300,
            retention: 0,
            ends: vec![(ClientId::from_bytes([1; 16]), 7), (ClientId::from_bytes([2; 16]), u64::MAX)],
            segments: vec![id(8), id(9)],
            public_key: [10; 32],
            signature: [11; 64],
        }
    }

    #[test]
    fn an_epoch_round_trips_and_ends_anywhere_else_in_an_error() {
        let bytes = epoch().encode();
        assert_eq!(Epoch::decode(&bytes), Ok(epoch()));
        for len in 0..bytes.len() {
            assert!(Epoch::decode(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
        }
        assert!(Epoch::decode(&[&bytes[..], &[0]].concat()).is_err(), "a byte too many");
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let refused = |change: fn(&mut Epoch), why: &str| {
            let mut bad = epoch();
            change(&mut bad);
            let error = Epoch::decode(&bad.encode()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(|epoch| epoch.number = 1, "no number");
        refused(|epoch| epoch.number = 65, "no number");
        refused(|epoch| epoch.checks.swap(0, 1), "checks do not rise");
        refused(|epoch| epoch.wrapped.swap(0, 1), "slots do not rise");
        refused(|epoch| epoch.wrapped[1].slot = epoch.wrapped[0].slot, "slots do not rise");
        refused(|epoch| epoch.signers.swap(0, 1), "signers do not rise");
        refused(|epoch| epoch.signers[1].1 = 16, "rights 16");
        refused(|epoch| epoch.ends.swap(0, 1), "ends of logs do not rise");
        refused(|epoch| epoch.segments.swap(0, 1), "segments do not rise");
        refused(|epoch| epoch.first_signer = [7; 32], "for nobody");
        refused(|epoch| epoch.wrapped.clear(), "for nobody");
        refused(|epoch| epoch.signers.clear(), "for nobody");
        refused(|epoch| epoch.wrapped[0].sealed = vec![0; MAX_WRAPPED + 1], "sealed roots");
    }
}
