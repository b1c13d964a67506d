//! What bombs are made of, and a measure of what a run of the program took.

use super::hall::{Hall, Outcome, finish_with};
use crate::support::mount::Mount;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Part;
use dedup_engine::repo::{Repository, hash_of};
use dedup_engine::storage::{Family, Name};
use dedup_engine::wire::Put;
use std::fs;
use std::process::{Command, Stdio};

/// Returns one Zstandard frame of zeros, in run-length blocks of 128 KiB (RFC 8878, 3.1.1): 4 bytes for each. With
/// the length that it is to claim in its header, or with none and the largest window there is.
pub fn zeros(len: u64, claimed: Option<u64>) -> Vec<u8> {
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD];
    match claimed {
        Some(claimed) => {
            frame.push(0xE0);
            frame.extend_from_slice(&claimed.to_le_bytes());
        }
        None => frame.extend_from_slice(&[0x00, 0xA8]),
    }
    let mut left = len;
    while left > 0 {
        let part = left.min(128 << 10);
        left -= part;
        let header = (part as u32) << 3 | 1 << 1 | u32::from(left == 0);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// Writes the entries of a content list of a level (`FORMAT.md` 10).
pub fn put_list(list: &mut Vec<u8>, level: u8, parts: &[Part]) {
    list.put_varint(parts.len() as u64);
    for part in parts {
        list.put_varint(part.len);
        if level > 0 {
            list.put_varint(part.chunks);
        }
        list.put(part.id.as_bytes());
    }
}

/// Puts copies of the repository's own slot beside it, each changed.
pub fn plant_slots(hall: &Hall, repo: &Repository, count: usize, change: impl Fn(&mut Vec<u8>, usize)) {
    let mut names = Vec::new();
    let mut each = |name: Name, _: u64| {
        names.push(name);
        Ok(())
    };
    repo.storage().list(Family::Keys, &mut each, &mut |_| {}).unwrap();
    let own = repo.storage().get_all(&names[0], 1 << 14).unwrap();
    for number in 0..count {
        let mut bytes = own.clone();
        // A slot of a passphrase.
        bytes[9] = 1;
        bytes[12..16].copy_from_slice(&(1u32 << 16).to_le_bytes());
        bytes[16..20].copy_from_slice(&3u32.to_le_bytes());
        bytes[20..24].copy_from_slice(&4u32.to_le_bytes());
        change(&mut bytes, number);
        fs::write(hall.stored("keys").join(hash_of(&bytes).to_hex()), bytes).unwrap();
    }
}

/// Puts an object of noise into a folder, under the name of its bytes.
pub fn plant_noise(hall: &Hall, folder: &str, number: u64) {
    let bytes = [&b"not an object "[..], &number.to_le_bytes()].concat().repeat(20);
    fs::write(hall.stored(folder).join(hash_of(&bytes).to_hex()), bytes).unwrap();
}

/// Puts a file into a folder that has a length and no bytes.
pub fn plant_large(hall: &Hall, folder: &str, len: u64) {
    let name = ObjectId::from_bytes([3; 32]).to_hex();
    fs::File::create(hall.stored(folder).join(name)).unwrap().set_len(len).unwrap();
}

/// A target with little room, which goes when this does: bombs fill what they can.
pub struct SmallTarget(Mount);

impl SmallTarget {
    pub fn new(hall: &Hall) -> Self {
        Self(Mount::tmpfs(&hall.dir("small"), "size=48m,nr_inodes=400k").expect("bombs are for root only"))
    }

    pub fn path(&self) -> String {
        self.0.path().to_str().unwrap().to_owned()
    }
}

/// Room for addresses: whoever allocates by a claim of 4 GiB dies of it, even if nothing is ever written there.
const ADDRESSES: &str = "--as=3221225472";

/// Runs a command to its end; returns its highest resident memory in bytes, as the system counts it.
pub fn measured(command: &Command) -> (Outcome, u64) {
    let mut limited = Command::new("prlimit");
    limited.arg(ADDRESSES).arg(command.get_program()).args(command.get_args()).env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = limited.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let outcome = finish_with(child, || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
    });
    (outcome, peak)
}
