//! Maps that outgrow memory, beside a naive one.

use super::super::spill::SpillMap;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, Vec<u8>),
    Remove(u8),
    Get(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => any::<u8>().prop_map(Step::Remove),
        1 => any::<u8>().prop_map(Step::Get),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_map_that_spills_says_what_a_map_in_memory_says(steps in steps(), room in 0usize..2000) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), &settings()).unwrap();
        let mut map = SpillMap::new(&index, room);
        let mut model = BTreeMap::new();
        // Few keys, so that they come again.
        let key = |key: &u8| [key % 24; 9];
        for step in &steps {
            match step {
                Step::Insert(at, value) => {
                    map.insert(&key(at), value).unwrap();
                    model.insert(key(at), value.clone());
                }
                Step::Remove(at) => {
                    map.remove(&key(at)).unwrap();
                    model.remove(&key(at));
                }
                Step::Get(_) => {}
            }
            let (Step::Insert(at, _) | Step::Remove(at) | Step::Get(at)) = step;
            prop_assert_eq!(map.get(&key(at)).unwrap(), model.get(&key(at)).cloned());
            prop_assert!(map.near_bytes() <= room);
        }
        for at in 0..24 {
            prop_assert_eq!(map.get(&key(&at)).unwrap(), model.get(&key(&at)).cloned());
        }
        if room < 96 {
            prop_assert_eq!(map.has_spilled(), steps.iter().any(|step| matches!(step, Step::Insert(..))));
        }
    }
}

#[test]
fn what_was_spilled_goes_with_the_map_and_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let folders = || {
        let entries = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
        let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        let mut names: Vec<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let (mut one, mut two) = (SpillMap::new(&index, 0), SpillMap::new(&index, 0));
    assert_eq!(folders(), ["db"], "nothing is made before it is needed");
    one.insert(b"a", b"1").unwrap();
    two.insert(b"a", b"2").unwrap();
    assert_eq!(folders(), ["db", "scratch-0", "scratch-1"]);
    // A process beside this one has a scratch database of its own, and must not take these for left over.
    let beside = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!(beside.role(), Role::Secondary);
    assert_eq!((one.get(b"a").unwrap(), two.get(b"a").unwrap()), (Some(b"1".to_vec()), Some(b"2".to_vec())));
    drop((one, two, beside));
    assert_eq!(folders(), ["db"]);
}

#[test]
fn many_entries_take_no_more_than_their_room() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let mut map = index.spill_map();
    let key = |n: u32| [&n.to_be_bytes()[..], &[0; 12]].concat();
    for n in 0..50_000u32 {
        map.insert(&key(n), &n.to_le_bytes()).unwrap();
    }
    assert!(map.has_spilled() && map.near_bytes() <= 1 << 20);
    for n in (0..50_000u32).step_by(3) {
        map.remove(&key(n)).unwrap();
    }
    for n in 0..50_000u32 {
        let expected = (n % 3 != 0).then(|| n.to_le_bytes().to_vec());
        assert_eq!(map.get(&key(n)).unwrap(), expected, "{n}");
    }
}
