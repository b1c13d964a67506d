//! Parity that somebody with the keys wrote who means ill, or whose memory is faulty.

use super::*;
use crate::parity::code::Encoder;
use crate::parity::columns::head;
use crate::parity::groups::Groups;
use crate::parity::object;
use crate::storage::StorageError;
use crate::storage::fault::FaultStorage;

/// Stores a group over these packs, each shard in one object, after `lie` has had its way with the shard.
pub(super) fn group_of(lab: &Lab, ids: &[ObjectId], shards: u8, lie: impl Fn(&mut Vec<u8>)) {
    let (repo, stored) = (lab.open(), lab.objects());
    let mut packs: Vec<_> = ids.iter().map(|id| (*id, stored[&Name::pack(*id)].len() as u64)).collect();
    packs.sort_unstable();
    let key = GroupKey { packs, shards };
    let len = key.shard_len();
    let stripe = |(id, _): &(ObjectId, u64)| {
        let mut bytes = stored[&Name::pack(*id)].to_vec();
        bytes.resize(len as usize, 0);
        bytes
    };
    let stripes: Vec<Vec<u8>> = key.packs.iter().map(stripe).collect();
    let mut encoder = Encoder::new(stripes.len(), usize::from(shards), 1).unwrap();
    let session = crate::id::SessionId::from_bytes([4; 16]);
    for (number, mut part) in encoder.encode(&stripes).unwrap().into_iter().enumerate() {
        lie(&mut part);
        object::store(&repo, session, &head(&key, number, &(0..len), &part), &part).unwrap();
    }
}

fn ids(lab: &Lab) -> Vec<ObjectId> {
    lab.packs().iter().filter_map(Name::object_id).collect()
}

/// A shard that is wrong rebuilds a pack that is wrong: nobody stores it. With all data read, the lie is found.
#[test]
fn what_a_lying_shard_rebuilds_is_not_stored() {
    let lab = Lab::new(&[50_000, 70_000, 3_000]);
    group_of(&lab, &ids(&lab), 1, |part| part[40_000] ^= 1);
    let repo = lab.open();
    let groups = Groups::look(&repo, &Silent).unwrap();
    let (wrong, _) = verify(&repo, &groups, 2, &Silent).unwrap();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].1.contains("not what the packs"), "{wrong:?}");
    let long = lab.packs().into_iter().max_by_key(|name| lab.objects()[name].len()).unwrap();
    for damage in [Damage::Lost, Damage::Flipped(3)] {
        let lab = lab.fork();
        damage.of(&lab.storage, long, &[]);
        let damaged = lab.of(Family::Packs);
        let report = lab.repair(false);
        let Outcome::Refused(why) = &report.packs[0].outcome else { panic!("{report:?}") };
        assert!(why.contains("does not hash to its name"), "{why}");
        assert!(lab.of(Family::Packs) == damaged);
    }
}

#[test]
fn sound_parity_is_called_sound() {
    let lab = Lab::new(&[50_000, 70_000, 3_000, 900_000]);
    lab.add(&wanted(2, 2));
    // The same groups once more, cut otherwise.
    for group in lab.status().groups {
        assert_eq!((group.packs, group.spare), (2, 2));
    }
    group_of(&lab, &ids(&lab), 2, |_| {});
    let repo = lab.open();
    let groups = Groups::look(&repo, &Silent).unwrap();
    let (wrong, bytes) = verify(&repo, &groups, 2, &Silent).unwrap();
    assert_eq!(wrong, []);
    assert!(bytes > 2_000_000);
}

/// A pack that was damaged before it came into a group is not taken in, and told; the others are protected.
#[test]
fn a_damaged_pack_comes_into_no_group() {
    for damage in [Damage::Flipped(0), Damage::Flipped(999), Damage::Zeroed, Damage::Cut] {
        for shards in [1, 32] {
            let lab = Lab::new(&[900_000, 70_000, 3_000, 800_000]);
            let bad = lab.packs()[1];
            damage.of(&lab.storage, bad, &[]);
            let report = lab.add(&wanted(shards, 128));
            let named: Vec<_> = report.damaged.iter().map(|(id, _)| Name::pack(*id)).collect();
            assert_eq!((named, report.packs_grouped), (vec![bad], 3), "{damage:?}");
            let status = lab.status();
            assert_eq!((status.packs, status.packs_protected), (4, 3), "{damage:?}");
            // Nothing is left of the first attempt: 32 shards are stored in parts before all packs are known.
            assert_eq!(status.groups.len(), 1, "{status:?}");
            assert_eq!(lab.of(Family::Sessions).len(), 0);
        }
    }
}

/// A disk that gives other bytes the second time: the pack is not rebuilt from them.
#[test]
fn bytes_that_change_between_two_readings_are_noticed() {
    let lab = Lab::new(&[90_000, 70_000, 3_000]);
    lab.add(&wanted(1, 128));
    let lost = lab.packs()[0];
    lab.storage.delete(&lost).unwrap();
    let damaged = lab.of(Family::Packs);
    let flips = Arc::new(FaultStorage::new(lab.storage.clone()));
    let repo =
        lab.open_by(Arc::new(Flipping { inner: flips, calls: Default::default(), of: lab.packs()[0] }));
    let report = repair(&repo, &MEND(false), &Silent).unwrap();
    assert!(!report.is_whole(), "{report:?}");
    assert!(lab.of(Family::Packs) == damaged);
}

/// Gives the bytes of one object as they are the first time, and wrong from then on.
struct Flipping {
    inner: Arc<FaultStorage>,
    calls: std::sync::atomic::AtomicU64,
    of: Name,
}

impl Storage for Flipping {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<crate::storage::Put, StorageError> {
        self.inner.put(name, bytes)
    }

    fn get(&self, name: &Name, range: std::ops::Range<u64>) -> Result<Vec<u8>, StorageError> {
        let mut bytes = self.inner.get(name, range)?;
        if *name == self.of && self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
        Ok(bytes)
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.get_all(name, max)
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.inner.len(name)
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        self.inner.list(family, each, foreign)
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.inner.delete(name)
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}
