//! Reading packs whole: name, header, directory, every block, every chunk. One block in memory per thread.

use super::structure::stop_if_asked;
use super::{CheckError, CheckOptions, CheckReport, Finding, Severity, StoredPacks, chosen as choice};
use crate::crypto::CryptoError;
use crate::format::{HEADER_LEN, MAX_PACK, MAX_PACK_DIRECTORY, PACK_TRAILER_LEN};
use crate::id::ObjectId;
use crate::pack::reader::{BlockReader, PackKey};
use crate::progress::{Event, Events};
use crate::repo::write::lock;
use crate::repo::{RepoError, Repository};
use crate::storage::Name;
use rayon::prelude::*;
use std::sync::Mutex;

const WRONG_NAME: &str = "its bytes do not hash to its name";
/// Bytes read at once of a pack that this key does not open.
const UNREADABLE_STEP: u64 = 1 << 20;

/// What is wrong in a pack: where, and what.
pub(crate) struct Fault {
    pub offset: Option<u64>,
    pub message: String,
}

/// What came of reading a pack; one that does not open with this key only had its name compared.
pub(crate) struct Looked {
    pub opened: bool,
    pub faults: Vec<Fault>,
}

/// Reads the chosen packs.
pub(super) fn read(
    repo: &Repository,
    chosen: &StoredPacks,
    options: &CheckOptions,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    let shared = Mutex::new(report);
    each(repo, chosen, options, events, &|id, len, Looked { opened, faults }| {
        let mut report = lock(&shared);
        report.packs_read += 1;
        report.packs_unopened += u64::from(!opened);
        report.bytes_read += len;
        for fault in faults {
            report.find(Finding {
                severity: Severity::Damage,
                object: Name::pack(id).to_string(),
                offset: fault.offset,
                message: fault.message,
                hits: Vec::new(),
            });
        }
    })
}

/// Reads packs, several at once, and hands out what came of each. Those that are sound are noted as read.
pub(crate) fn each(
    repo: &Repository,
    chosen: &StoredPacks,
    options: &CheckOptions,
    events: &dyn Events,
    told: &(dyn Fn(ObjectId, u64, Looked) + Sync),
) -> Result<(), CheckError> {
    let bytes = chosen.iter().map(|(_, len)| len).sum();
    events.event(Event::Expect { entries: chosen.len() as u64, bytes, complete: true });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(repo.budget.openers(options.threads)).build();
    let pool = pool.map_err(|error| RepoError::Internal(format!("threads: {error}")))?;
    pool.install(|| {
        chosen.par_iter().try_for_each(|(id, len)| -> Result<(), CheckError> {
            stop_if_asked(events)?;
            let looked = match one(repo, *id, *len, events) {
                Err(CheckError::Repo(error)) if error.is_damage() => fault(None, error.to_string()),
                looked => looked?,
            };
            // A prune deletes what a generation of its has removed before.
            if !looked.faults.is_empty() && is_removed_by_now(repo, id)? {
                return Ok(());
            }
            if let (Some(today), true, []) = (options.today, looked.opened, &looked.faults[..]) {
                choice::note(repo, id, today)?;
            }
            if looked.opened || !looked.faults.is_empty() {
                choice::note_rot(repo, id, !looked.faults.is_empty())?;
            }
            told(*id, *len, looked);
            Ok(())
        })
    })
}

fn fault(offset: Option<u64>, message: String) -> Looked {
    Looked { opened: true, faults: vec![Fault { offset, message }] }
}

fn is_removed_by_now(repo: &Repository, id: &ObjectId) -> Result<bool, RepoError> {
    repo.apply_generations()?;
    Ok(repo.index()?.is_removed(id)?)
}

/// Reads one pack and returns what is wrong with it. A pack that cannot be read for other reasons than
/// damage ends the check.
fn one(repo: &Repository, id: ObjectId, len: u64, events: &dyn Events) -> Result<Looked, CheckError> {
    let name = Name::pack(id);
    let get = |range| repo.storage().get(&name, range).map_err(RepoError::from);
    let least = (HEADER_LEN + PACK_TRAILER_LEN) as u64;
    if !(least..=MAX_PACK).contains(&len) {
        return Ok(fault(None, format!("a pack cannot have {len} bytes")));
    }
    let mut hasher = blake3::Hasher::new();
    let header = get(0..HEADER_LEN as u64)?;
    hasher.update(&header);
    let number = repo.index()?.pack_number(&id).map_err(RepoError::from)?;
    let known = match number {
        Some(number) => repo.index()?.pack(number).map_err(RepoError::from)?,
        None => None,
    };
    if known.is_some_and(|known| known.header[..] != header[..]) {
        return Ok(fault(Some(0), "its header is not the one that its segment names".into()));
    }
    let trailer_at = len - PACK_TRAILER_LEN as u64;
    let trailer = get(trailer_at..len)?;
    let opened = PackKey::open_any(&repo.objects.keyring, &header).map_err(|error| (0, error)).and_then(
        |(key, kind)| match key.directory_len(&trailer, len) {
            Ok(directory_len) => Ok((key, kind, directory_len)),
            Err(error) => Err((trailer_at, error)),
        },
    );
    let (key, kind, directory_len) = match opened {
        Ok(opened) => opened,
        // Without its keys (secrets, say) its name still tells; and a damaged header may ask for others.
        Err((_, CryptoError::NotEntitled(_))) => {
            let mut at = HEADER_LEN as u64;
            while at < len {
                stop_if_asked(events)?;
                let end = len.min(at + UNREADABLE_STEP);
                hasher.update(&get(at..end)?);
                at = end;
            }
            let sound = hasher.finalize().as_bytes() == id.as_bytes();
            let unsound = || Fault { offset: None, message: WRONG_NAME.into() };
            let faults = if sound { Vec::new() } else { vec![unsound()] };
            return Ok(Looked { opened: false, faults });
        }
        Err((offset, error)) => return Ok(fault(Some(offset), error.to_string())),
    };
    if directory_len > u64::from(MAX_PACK_DIRECTORY) * 2 {
        return Ok(fault(Some(trailer_at), "its directory is longer than any may be".into()));
    }
    let directory_at = trailer_at - directory_len;
    let sealed = get(directory_at..trailer_at)?;
    let directory = match key.directory(&mut sealed.clone(), len) {
        Ok(directory) => directory,
        Err(error) => return Ok(fault(Some(directory_at), error.to_string())),
    };
    let mut faults = Vec::new();
    let mut reader = BlockReader::new().map_err(RepoError::from)?;
    for (number, block) in directory.blocks().iter().enumerate() {
        stop_if_asked(events)?;
        let range = directory.range_of(number).unwrap_or_default();
        let offset = Some(range.start);
        let bytes = get(range)?;
        hasher.update(&bytes);
        let len = bytes.len() as u64;
        match reader.open_owned(&key, number as u32, block.codec, block.plain_len, bytes) {
            Err(error) => faults.push(Fault { offset, message: format!("block {number}: {error}") }),
            Ok(plain) => {
                let mut at = 0;
                for chunk in directory.chunks_of(number) {
                    let end = at + chunk.len as usize;
                    if repo.namer.name(kind.chunks(), &plain[at..end]) != chunk.id {
                        let message = format!("block {number}: chunk {} is not what its name says", chunk.id);
                        faults.push(Fault { offset, message });
                    }
                    at = end;
                }
            }
        }
        events.event(Event::Done { entries: 0, bytes: len, path: None });
    }
    hasher.update(&sealed).update(&trailer);
    if hasher.finalize().as_bytes() != id.as_bytes() && faults.is_empty() {
        faults.push(Fault { offset: None, message: WRONG_NAME.into() });
    }
    events.event(Event::Done { entries: 1, bytes: 0, path: None });
    Ok(Looked { opened: true, faults })
}
