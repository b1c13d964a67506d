use super::*;
use crate::map::ContentReader;
use crate::map::memory::MemoryChunks;
use proptest::prelude::*;

/// Chunks whose ids begin with a zero byte about once in `zeros`, 0 meaning never.
fn chunks(count: u32, zeros: u32) -> Vec<(ChunkId, u32)> {
    let one = |n: u32| {
        let mut id = *blake3::hash(&n.to_le_bytes()).as_bytes();
        id[0] = u8::from(zeros == 0 || u32::from(id[1]) % zeros != 0);
        (ChunkId::from_bytes(id), n % 9_000 + 1)
    };
    (0..count).map(one).collect()
}

fn build(store: &MemoryChunks, chunks: &[(ChunkId, u32)]) -> Content {
    let mut builder = ContentBuilder::new(store);
    chunks.iter().for_each(|(id, len)| builder.push(*id, *len).unwrap());
    builder.finish().unwrap()
}

/// The rule as the format has it, level by level.
fn model(store: &MemoryChunks, chunks: &[(ChunkId, u32)]) -> Content {
    let mut parts: Vec<_> =
        chunks.iter().map(|(id, len)| Part { len: u64::from(*len), chunks: 1, id: *id }).collect();
    let mut level = 0;
    while parts.len() > 1024 {
        let (mut above, mut list) = (Vec::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            list.push(*part);
            let zero = part.id.as_bytes()[0] == 0;
            if list.len() == 1024 || list.len() >= 64 && zero || index + 1 == parts.len() {
                let mut bytes = Vec::new();
                put_content(&mut bytes, level, &list);
                let (len, chunks) = sums(level, &list).unwrap();
                above.push(Part { len, chunks, id: store.save(&bytes).unwrap() });
                list.clear();
            }
        }
        (parts, level) = (above, level + 1);
    }
    Content { level, parts }
}

fn read(store: &MemoryChunks, content: &Content, from: u64) -> Vec<(u64, Part)> {
    let mut reader = ContentReader::new(store, content);
    reader.seek(from).unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

#[test]
fn trees_are_those_of_the_format_and_read_back() {
    // (chunks, one id in so many begins with zero, level)
    for (count, zeros, level) in
        [(0, 5, 0), (1, 5, 0), (1024, 5, 0), (1025, 0, 1), (1025, 1, 1), (9_000, 5, 1), (100_000, 1, 2)]
    {
        let (store, chunks) = (MemoryChunks::new(), chunks(count, zeros));
        let content = build(&store, &chunks);
        assert_eq!(content.level, level, "{count}");
        assert_eq!(content, model(&store, &chunks), "{count}");
        assert_eq!(content.chunks(), u64::from(count));
        let mut expected = Vec::new();
        let mut offset = 0;
        for (id, len) in &chunks {
            expected.push((offset, Part { len: u64::from(*len), chunks: 1, id: *id }));
            offset += u64::from(*len);
        }
        assert_eq!(content.len(), offset);
        assert_eq!(read(&store, &content, 0), expected);
        for at in [0, 1, offset / 3, offset / 2, offset.saturating_sub(1), offset, offset + 1, u64::MAX] {
            let rest: Vec<_> =
                expected.iter().copied().filter(|(start, part)| start + part.len > at).collect();
            assert!(read(&store, &content, at) == rest, "{count} from {at}");
        }
    }
}

#[test]
fn an_edit_in_a_long_stream_changes_few_lists() {
    let store = MemoryChunks::new();
    let mut chunks = chunks(50_000, 200);
    build(&store, &chunks);
    let before = store.len();
    let new = ChunkId::from_bytes([7; 32]);
    chunks.insert(20_000, (new, 5));
    build(&store, &chunks);
    assert!(store.len() - before <= 3, "{}", store.len() - before);
}

#[test]
fn seeking_reads_one_list_per_level() {
    let (store, chunks) = (MemoryChunks::new(), chunks(100_000, 1));
    let content = build(&store, &chunks);
    store.take_loads();
    let mut reader = ContentReader::new(&store, &content);
    reader.seek(content.len() / 2).unwrap();
    assert!(reader.next().unwrap().is_some());
    assert_eq!(store.take_loads(), 2);
}

#[test]
fn lists_that_contradict_their_parents_are_refused() {
    let (store, chunks) = (MemoryChunks::new(), chunks(3_000, 0));
    let content = build(&store, &chunks);
    let first = |content: &Content| ContentReader::new(&store, content).next().map(|_| ());
    assert_eq!(first(&content), Ok(()));
    let lies: [fn(&mut Content); 4] = [
        |content| content.parts[0].len += 1,
        |content| content.parts[0].chunks -= 1,
        |content| content.level += 1,
        |content| content.parts[0] = content.parts[2],
    ];
    for (number, lie) in lies.iter().enumerate().take(3) {
        let mut content = content.clone();
        lie(&mut content);
        assert!(first(&content).is_err(), "{number}");
    }
    // Which list stands where is what the id in the parent says: another one is another content.
    let mut moved = content.clone();
    lies[3](&mut moved);
    assert_ne!(read(&store, &moved, 0), read(&store, &content, 0));
}

#[test]
fn a_missing_list_is_never_passed_over() {
    let (store, chunks) = (MemoryChunks::new(), chunks(3_000, 0));
    let content = build(&store, &chunks);
    store.remove(&content.parts[1].id);
    let mut reader = ContentReader::new(&store, &content);
    (0..1024).for_each(|_| assert!(reader.next().unwrap().is_some()));
    assert!(reader.next().is_err());
    assert!(reader.next().is_err());
    reader.seek(content.parts[0].len + content.parts[1].len).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().1.id, chunks[2048].0);
}

#[test]
fn chunks_outside_their_limits_are_refused_and_change_nothing() {
    let store = MemoryChunks::new();
    let mut builder = ContentBuilder::new(&store);
    let id = ChunkId::from_bytes([1; 32]);
    for len in [0, MAX_CHUNK + 1] {
        assert!(matches!(builder.push(id, len), Err(BuildError::Refused(Refused::ChunkLength { .. }))));
    }
    builder.push(id, MAX_CHUNK).unwrap();
    assert_eq!(builder.len(), u64::from(MAX_CHUNK));
    assert_eq!(builder.finish().unwrap().parts.len(), 1);
}

#[test]
fn a_failed_save_is_not_forgotten() {
    let store = MemoryChunks::new();
    let mut builder = ContentBuilder::new(&store);
    store.fail_after(0);
    let pushed: Vec<_> = chunks(1_100, 1).iter().map(|(id, len)| builder.push(*id, *len)).collect();
    assert!(matches!(pushed[1024], Err(BuildError::Save(_))));
    assert!(matches!(pushed[1025], Err(BuildError::Refused(Refused::AfterFailure))));
    assert!(builder.finish().is_err());
}

proptest! {
    #[test]
    fn what_is_accepted_has_one_encoding(
        level in 0u8..4, lens in proptest::collection::vec((1u64..9 << 20, 1u64..3), 0..4),
        at in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let id = ChunkId::from_bytes([1; 32]);
        let parts: Vec<_> = lens.iter().map(|(len, chunks)| Part { len: *len, chunks: *chunks, id }).collect();
        let mut bytes = Vec::new();
        put_content(&mut bytes, level, &parts);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut reader = Reader::new("content", &bytes);
        if let Ok(content) = read_content(&mut reader) {
            let mut again = Vec::new();
            put_content(&mut again, content.level, &content.parts);
            prop_assert_eq!(&again[..], &bytes[..reader.position()]);
        }
    }
}
