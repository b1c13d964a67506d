//! Sets of extended attributes: `list (name bytes, value bytes)`, names rising strictly.
//!
//! At most 65,536 attributes, names up to 255 bytes, values up to 1 MiB, 8 MiB in all. What else a name may
//! be is up to the system that gave it and to the one that takes it.

use super::node::Xattrs;
use crate::error::Corrupt;
use crate::format::{MAX_INLINE_XATTRS, MAX_XATTRS};
use crate::map::{BuildError, LoadChunk, Refused, SaveChunk};
use crate::wire::{Put, Reader};

/// Most attributes of a set.
const MAX_COUNT: usize = 65_536;
/// Longest name in bytes.
const MAX_NAME: usize = 255;
/// Longest value in bytes.
const MAX_ATTRIBUTE: usize = 1 << 20;

/// Extended attributes as names and values.
pub type XattrSet = Vec<(Vec<u8>, Vec<u8>)>;

/// Encodes a set given in any order. Of a name that is given twice, the first value counts.
///
/// Sets beyond the limits of the format are encoded too; [`save_xattrs`] refuses them.
pub fn encode_xattrs(set: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut sorted: Vec<_> = set.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted.dedup_by(|later, earlier| later.0 == earlier.0);
    let mut out = Vec::new();
    out.put_varint(sorted.len() as u64);
    for (name, value) in sorted {
        out.put_bytes(name);
        out.put_bytes(value);
    }
    out
}

/// Decodes a set; only what [`encode_xattrs`] writes is accepted.
pub fn decode_xattrs(bytes: &[u8]) -> Result<XattrSet, Corrupt> {
    let mut set = Vec::new();
    visit(bytes, |name, value| set.push((name.to_vec(), value.to_vec())))?;
    Ok(set)
}

/// Checks a set as [`decode_xattrs`] does, without keeping it; returns how many attributes it has.
pub(super) fn check_xattrs(bytes: &[u8]) -> Result<usize, Corrupt> {
    let mut count = 0;
    visit(bytes, |_, _| count += 1)?;
    Ok(count)
}

fn visit<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), Corrupt> {
    let mut reader = Reader::new("extended attributes", bytes);
    if bytes.len() > MAX_XATTRS {
        return Err(reader.corrupt(format!("{} bytes, at most {MAX_XATTRS} are allowed", bytes.len())));
    }
    let mut before = None;
    for _ in 0..reader.count(MAX_COUNT, 2, "attributes")? {
        let name = reader.bytes(MAX_NAME, "name")?;
        let value = reader.bytes(MAX_ATTRIBUTE, "value")?;
        if before.is_some_and(|before| name <= before) {
            return Err(reader.corrupt("names do not rise"));
        }
        before = Some(name);
        each(name, value);
    }
    reader.finish()
}

/// Makes the field of a node for an encoded set: none if it is empty, in place up to 128 bytes, else a chunk.
pub fn save_xattrs<S: SaveChunk>(saver: &S, encoded: Vec<u8>) -> Result<Xattrs, BuildError<S::Error>> {
    if check_xattrs(&encoded).is_err() {
        return Err(Refused::TooLarge { what: "set of extended attributes" }.into());
    }
    if encoded == [0] {
        return Ok(Xattrs::None);
    }
    if encoded.len() <= MAX_INLINE_XATTRS {
        return Ok(Xattrs::Inline(encoded));
    }
    let id = saver.save(&encoded).map_err(BuildError::Save)?;
    Ok(Xattrs::Chunk { len: encoded.len() as u64, id })
}

/// Returns the set that a node names.
pub fn load_xattrs<L: LoadChunk>(loader: &L, xattrs: &Xattrs) -> Result<XattrSet, L::Error> {
    match xattrs {
        Xattrs::None => Ok(Vec::new()),
        Xattrs::Inline(encoded) => Ok(decode_xattrs(encoded)?),
        Xattrs::Chunk { len, id } => {
            let max = u32::try_from((*len).min(MAX_XATTRS as u64)).unwrap_or(u32::MAX);
            let encoded = loader.load(id, max)?;
            if encoded.len() as u64 != *len {
                let wrong = format!("{} bytes in chunk {}, {len} were expected", encoded.len(), id.short());
                return Err(Corrupt::new("extended attributes", wrong).into());
            }
            Ok(decode_xattrs(&encoded).map_err(|damage| damage.within(id.short()))?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::memory::MemoryChunks;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn sets_round_trip_in_any_order(
            set in vec((vec(any::<u8>(), 0..4), vec(any::<u8>(), 0..90)), 0..6),
        ) {
            let mut model = BTreeMap::new();
            for (name, value) in set.iter().rev() {
                model.insert(name.clone(), value.clone());
            }
            let model: Vec<_> = model.into_iter().collect();
            let encoded = encode_xattrs(&set);
            prop_assert_eq!(&decode_xattrs(&encoded).unwrap(), &model);
            let store = MemoryChunks::new();
            let field = save_xattrs(&store, encoded.clone()).unwrap();
            prop_assert_eq!(store.len(), usize::from(encoded.len() > MAX_INLINE_XATTRS));
            prop_assert_eq!(load_xattrs(&store, &field).unwrap(), model);
        }

        #[test]
        fn what_is_accepted_has_one_encoding(bytes in vec(0u8..4, 0..20)) {
            if let Ok(set) = decode_xattrs(&bytes) {
                prop_assert_eq!(check_xattrs(&bytes).unwrap(), set.len());
                prop_assert_eq!(encode_xattrs(&set), bytes);
            }
        }
    }

    #[test]
    fn wrong_lengths_and_sizes_are_refused() {
        let store = MemoryChunks::new();
        let Xattrs::Chunk { len, id } =
            save_xattrs(&store, encode_xattrs(&[(b"user.a".to_vec(), vec![1; 500])])).unwrap()
        else {
            panic!("500 bytes do not stand in the node")
        };
        assert!(load_xattrs(&store, &Xattrs::Chunk { len: len - 1, id }).is_err());
        assert!(load_xattrs(&store, &Xattrs::Chunk { len: len + 1, id }).is_err());
        for (name, value) in [(256, 1), (1, (1 << 20) + 1)] {
            let set = encode_xattrs(&[(vec![b'n'; name], vec![0; value])]);
            assert!(decode_xattrs(&set).is_err());
            assert!(save_xattrs(&store, set).is_err());
        }
        let large: Vec<_> = (0..9).map(|n| (vec![n], vec![0; 1 << 20])).collect();
        assert!(save_xattrs(&store, encode_xattrs(&large)).is_err());
        assert_eq!(save_xattrs(&store, encode_xattrs(&[])).unwrap(), Xattrs::None);
    }
}
