//! What packs say of themselves: for those that no segment names.

use super::RepoError;
use super::objects::Objects;
use crate::crypto::header::Header;
use crate::error::{Corrupt, Kind};
use crate::format::{HEADER_LEN, MAX_CHUNKS_PER_SEGMENT, MAX_PACK, MAX_PACK_DIRECTORY, PACK_TRAILER_LEN};
use crate::id::ObjectId;
use crate::index::{Index, SegmentPack};
use crate::pack::reader::{BlockReader, PackKey};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::storage::{Family, Name};

/// Packs that are taken up together.
const PACKS_AT_ONCE: usize = 64;

/// Lists the packs that the index does not know, with their lengths.
pub(super) fn unknown_packs(objects: &Objects, index: &Index) -> Result<Vec<(ObjectId, u64)>, RepoError> {
    let mut unknown = Vec::new();
    let mut failed = None;
    let mut look = |name: Name, len: u64| {
        if let Some(id) = name.object_id() {
            match index.pack_number(&id).and_then(|known| Ok(known.is_some() || index.is_removed(&id)?)) {
                Ok(true) => {}
                Ok(false) => unknown.push((id, len)),
                Err(error) => failed = Some(error),
            }
        }
        Ok(())
    };
    objects.storage.list(Family::Packs, &mut look, &mut |_| {})?;
    // Some storages list an object twice when it comes while they list.
    unknown.sort_unstable();
    unknown.dedup();
    failed.map_or(Ok(unknown), |error| Err(error.into()))
}

/// Reads the directories of packs and hands them out in groups.
pub(super) fn each_directory(
    objects: &Objects,
    packs: Vec<(ObjectId, u64)>,
    events: &dyn Events,
    each: &mut dyn FnMut(Vec<SegmentPack>) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let (mut group, mut chunks) = (Vec::new(), 0);
    for (id, len) in packs {
        if events.cancelled() {
            return Err(RepoError::Cancelled);
        }
        let pack = match read_directory(objects, id, len) {
            Ok(pack) => pack,
            Err(error) if matches!(error.kind(), Kind::Integrity | Kind::Refused | Kind::TooNew) => {
                events.event(Event::Notice(format!("{error}; it is left out of the index")));
                continue;
            }
            Err(error) => return Err(error),
        };
        chunks += pack.directory.chunks().len();
        if group.len() >= PACKS_AT_ONCE || chunks > MAX_CHUNKS_PER_SEGMENT {
            each(std::mem::take(&mut group))?;
            chunks = pack.directory.chunks().len();
        }
        group.push(pack);
    }
    if group.is_empty() { Ok(()) } else { each(group) }
}

/// Reads what a pack says of itself.
pub(super) fn read_directory(objects: &Objects, id: ObjectId, len: u64) -> Result<SegmentPack, RepoError> {
    let name = Name::pack(id);
    let damaged = |wrong: &str| RepoError::from(Corrupt::new(name.to_string(), wrong));
    if len > MAX_PACK || len < (HEADER_LEN + PACK_TRAILER_LEN) as u64 {
        return Err(damaged("a pack cannot have this length"));
    }
    let start = objects.storage.get(&name, 0..HEADER_LEN as u64)?;
    let header: [u8; HEADER_LEN] = start.try_into().map_err(|_| damaged("truncated"))?;
    let (key, kind) = PackKey::open_any(&objects.keyring, &header).map_err(RepoError::of(&name))?;
    let trailer_at = len - PACK_TRAILER_LEN as u64;
    let trailer = objects.storage.get(&name, trailer_at..len)?;
    let directory_len = key.directory_len(&trailer, len).map_err(RepoError::of(&name))?;
    if directory_len > u64::from(MAX_PACK_DIRECTORY) * 2 {
        return Err(damaged("its directory is longer than any may be"));
    }
    let mut sealed = objects.storage.get(&name, trailer_at - directory_len..trailer_at)?;
    let directory = key.directory(&mut sealed, len).map_err(RepoError::of(&name))?;
    let pack = SegmentPack { id, kind, header, stored_len: len, directory };
    if Header::parse(&header, &[kind.object()]).is_ok_and(|header| header.epoch() < objects.keyring.epoch()) {
        verify(objects, &pack)?;
    }
    Ok(pack)
}

/// Compares every chunk of a pack with its name. Who was left out when the newest epoch began can still write packs of
/// earlier ones, with whatever he likes under names that he knows.
fn verify(objects: &Objects, pack: &SegmentPack) -> Result<(), RepoError> {
    if planted(Bug::BelieveOldPacks) {
        return Ok(());
    }
    let (name, namer) = (Name::pack(pack.id), objects.keyring.namer()?);
    let key = PackKey::open(&objects.keyring, &pack.header, pack.kind).map_err(RepoError::of(&name))?;
    let mut reader = BlockReader::new()?;
    for (number, block) in pack.directory.blocks().iter().enumerate() {
        let Some(range) = pack.directory.range_of(number) else { continue };
        let (start, sealed) = (range.start, objects.storage.get(&name, range)?);
        let plain = reader.open(&key, number as u32, block.codec, block.plain_len, &sealed);
        let (plain, mut at) = (plain.map_err(RepoError::of(&name))?, 0);
        for chunk in pack.directory.chunks_of(number) {
            let end = at + chunk.len as usize;
            if plain.get(at..end).is_none_or(|bytes| namer.name(pack.kind.chunks(), bytes) != chunk.id) {
                let wrong = format!("chunk {} is not what its name says", chunk.id);
                return Err(Corrupt::new(name.to_string(), wrong).at(start).into());
            }
            at = end;
        }
    }
    Ok(())
}
