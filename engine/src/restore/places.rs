//! Where stored bytes go in a file with holes, which are not stored.

use std::ops::Range;

/// Splits a range of the stream of stored bytes at the file's holes: (offset in the file, range in the piece).
pub(super) fn places(holes: &[Range<u64>], stream_offset: u64, len: u64) -> Vec<(u64, Range<usize>)> {
    let mut places = Vec::with_capacity(1);
    // `skipped` is what the holes before `stream` take in the file.
    let (mut stream, end, mut skipped) = (stream_offset, stream_offset + len, 0);
    for hole in holes {
        let data_before_hole = hole.start - skipped;
        if stream < data_before_hole {
            let stop = end.min(data_before_hole);
            places
                .push((stream + skipped, (stream - stream_offset) as usize..(stop - stream_offset) as usize));
            stream = stop;
        }
        if stream >= end {
            return places;
        }
        skipped += hole.end - hole.start;
    }
    if stream < end {
        places.push((stream + skipped, (stream - stream_offset) as usize..len as usize));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Beside a naive model: expand the file with its holes and look where each stored byte is.
        #[test]
        fn places_leave_out_exactly_the_holes(
            gaps in proptest::collection::vec((1u64..5, 1u64..5), 0..6),
            tail in 0u64..5,
            at in 0u64..20,
            len in 1u64..20,
        ) {
            let (mut holes, mut data, mut pos) = (Vec::new(), Vec::new(), 0);
            for (gap, hole) in gaps {
                data.extend(pos..pos + gap);
                holes.push(pos + gap..pos + gap + hole);
                pos += gap + hole;
            }
            data.extend(pos..pos + tail);
            let at = at.min(data.len() as u64);
            let len = len.min(data.len() as u64 - at);
            let mut found = Vec::new();
            for (offset, range) in places(&holes, at, len) {
                prop_assert!(!range.is_empty());
                found.extend((0..range.len() as u64).map(|n| offset + n));
            }
            prop_assert_eq!(found, data[at as usize..(at + len) as usize].to_vec());
        }
    }
}
