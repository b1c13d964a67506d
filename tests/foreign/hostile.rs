//! Archives that somebody wrote to harm.

use super::{declare, import, module};
use crate::runs::app::Machine;
use std::fs;
use std::path::PathBuf;
use tar::{Builder, EntryType, Header};

/// An archive written entry by entry: names are whatever they are.
struct Forged(Builder<Vec<u8>>);

impl Forged {
    fn new() -> Self {
        Self(Builder::new(Vec::new())).entry("docker-compose.yml", EntryType::Regular, b"services:\n", "")
    }

    fn entry(mut self, name: &str, kind: EntryType, content: &[u8], target: &str) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str) -> Self {
        self.entry(name, EntryType::Regular, b"harm", "")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Symlink, b"", target)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Takes the bytes as an archive of a stack in `stack`, and restores it; returns what the import said.
fn taken(machine: &Machine, bytes: &[u8], status: i32) -> serde_json::Value {
    let archive = machine.place.path("forged.tar");
    fs::write(&archive, bytes).unwrap();
    let stack = machine.place.path("stack");
    let text = format!("schema = 1\n[module]\nid = \"iotstack\"\n[data]\ndirectories = [{stack:?}]\n");
    declare(machine, "iotstack", &text);
    let run = import(machine, "iotstack", &archive, &["--stack-dir", stack.to_str().unwrap()]).ends(status);
    let imported = run.json();
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    machine.dedup(&["restore", &snapshot, "-m", "iotstack", "--yes"]);
    imported
}

#[test]
fn names_that_lead_elsewhere_are_told_and_never_followed() {
    let machine = Machine::new();
    let outside = machine.place.path("outside");
    fs::create_dir_all(&outside).unwrap();
    let bytes = Forged::new()
        .file("services/../../outside/dots")
        .file("../outside/above")
        .link("volumes/link", outside.to_str().unwrap())
        .file("volumes/link/through")
        .link("volumes/up", "../../outside")
        .file("volumes/up/through")
        .file("volumes/good")
        .into_bytes();
    let imported = taken(&machine, &bytes, 3);
    let own = module(&imported, "iotstack");
    assert_eq!(own["state"], "partial");
    let told = own["items"].to_string();
    assert!(told.contains("leads out of the archive"), "{told}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing is outside");
    let restored = machine.place.path("stack/volumes");
    assert_eq!(fs::read(restored.join("good")).unwrap(), b"harm", "what is right is there");
    assert!(
        restored.join("link").is_symlink() && restored.join("up").is_symlink(),
        "as links, and nothing below"
    );
}

/// A name that begins with a slash is below the stack like any other.
#[test]
fn absolute_names_are_relative() {
    let machine = Machine::new();
    let mark = machine.place.path("outside-mark");
    let bytes = Forged::new().file(&format!("{}", mark.display())).into_bytes();
    taken(&machine, &bytes, 0);
    assert!(!mark.exists());
}

#[test]
fn hard_links_lead_to_files_of_the_archive_only() {
    let machine = Machine::new();
    let secret = machine.place.path("secret");
    fs::write(&secret, "of this machine").unwrap();
    let bytes = Forged::new()
        .entry("volumes/steals", EntryType::Link, b"", secret.to_str().unwrap())
        .entry("volumes/circle", EntryType::Link, b"", "volumes/circle")
        .file("volumes/a")
        .entry("volumes/b", EntryType::Link, b"", "volumes/a")
        .into_bytes();
    let imported = taken(&machine, &bytes, 3);
    assert_eq!(module(&imported, "iotstack")["reason"], "2 entries of data cannot be stored");
    let volumes = machine.place.path("stack/volumes");
    assert!(!volumes.join("steals").exists() && !volumes.join("circle").exists());
    use std::os::unix::fs::MetadataExt;
    let inode = |name: &str| fs::metadata(volumes.join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
}

/// Each is refused by name, at once, and nothing is published.
#[test]
fn what_is_no_archive_is_refused() {
    let machine = Machine::new();
    let whole = Forged::new().file("volumes/a").into_bytes();
    let mut damaged = whole.clone();
    damaged[1024 + 3] ^= 1;
    let mut endless = Header::new_gnu();
    endless.set_entry_type(EntryType::GNULongName);
    endless.set_size(1 << 40);
    endless.set_cksum();
    let negative = {
        let mut block = whole[..512].to_vec();
        block[124..136].copy_from_slice(&[0xff; 12]);
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    };
    for (bytes, told) in [
        (b"not a tar at all".to_vec(), "after 0 entries"),
        (damaged, "damaged"),
        (whole[..1200].to_vec(), "after 1 entries"),
        (whole[..whole.len() - 1024].to_vec(), "after 2 entries"),
        (endless.as_bytes().to_vec(), "extended header"),
        (negative, "negative"),
        (vec![], "after 0 entries"),
        ([&[0x1f, 0x8b][..], b"no gzip"].concat(), "after 0 entries"),
        (vec![0; 1024], "no backup of IOTstack"),
    ] {
        let archive: PathBuf = machine.place.path("forged.tar");
        fs::write(&archive, &bytes).unwrap();
        let refused = import(&machine, "iotstack", &archive, &[]).ends(2);
        assert!(refused.err.contains(told), "{told}: {}", refused.err);
    }
    let snapshots = machine.dedup(&["snapshots", "--json"]).ok().json();
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 0);
}
