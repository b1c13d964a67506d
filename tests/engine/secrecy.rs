//! What somebody learns who has the storage and no key.

use crate::support::trees;
use crate::support::world::{Run, World};
use dedup_engine::crypto::capsule::padme;
use dedup_engine::storage::Family;
use std::collections::HashSet;
use std::fs;

/// A file whose length and content would be recognised anywhere.
const SECRET_NAME: &str = "Kündigung Frau Ødegård 2026.odt";
const SECRET_LEN: usize = 1_234_567;

fn world_with_secrets() -> World {
    let world = World::new();
    let tree = world.scratch.dir("a secret directory");
    // Compressible and not, so that neither codec shows it.
    let text = b"my password is correct horse battery staple. ".repeat(SECRET_LEN / 45 + 1);
    fs::write(tree.join(SECRET_NAME), &text[..SECRET_LEN]).unwrap();
    fs::write(tree.join("short"), b"swordfish-swordfish").unwrap();
    std::os::unix::fs::symlink("/etc/a secret target", tree.join("link")).unwrap();
    trees::build_all_kinds(&world.scratch.dir("a secret directory/more"), 3);
    world.backup(Run { tree: &tree, moment: 0 }).unwrap();
    world
}

#[test]
fn nothing_readable_is_stored() {
    let world = world_with_secrets();
    let mut stored = Vec::new();
    for (name, bytes) in world.storage.objects() {
        stored.extend_from_slice(name.to_string().as_bytes());
        stored.extend_from_slice(&bytes);
    }
    let secrets: [&[u8]; 11] = [
        SECRET_NAME.as_bytes(),
        "Ødegård".as_bytes(),
        b"password",
        b"battery staple",
        b"swordfish",
        b"secret",
        b"/etc/",
        b"user.of-a-directory",
        b"tester",
        b"files\0",
        // The length of a file.
        &(SECRET_LEN as u32).to_le_bytes(),
    ];
    for secret in secrets {
        let found = stored.windows(secret.len()).any(|window| window == secret);
        assert!(!found, "{:?} can be read in the storage", String::from_utf8_lossy(secret));
    }
}

#[test]
fn lengths_tell_only_what_padding_leaves() {
    let world = world_with_secrets();
    for (name, bytes) in world.storage.objects() {
        let len = bytes.len() as u64;
        match name.family() {
            // Lengths of slots depend on nothing but which keys they hold, and on their label.
            Family::Keys => {}
            _ => assert_eq!(padme(len), len, "{name} has {len} bytes"),
        }
    }
}

/// Whoever knows a file and sees two repositories cannot tell that both hold it.
#[test]
fn equal_content_in_two_repositories_has_nothing_in_common() {
    let worlds = [world_with_secrets(), world_with_secrets()];
    let [one, two] = worlds.map(|world| {
        let objects = world.storage.objects();
        let without_magic = objects.iter().flat_map(|(_, bytes)| bytes.chunks_exact(16).skip(1));
        without_magic.map(<[u8]>::to_vec).collect::<HashSet<_>>()
    });
    // The ends of packs are the same bytes everywhere.
    let common: Vec<_> = one.intersection(&two).filter(|bytes| !bytes.ends_with(b"end\n")).collect();
    assert!(common.is_empty(), "{common:?}");
}

/// The same content twice in one repository is sealed once; two packs never share a key.
#[test]
fn no_two_objects_share_a_salt() {
    let world = world_with_secrets();
    let mut salts = HashSet::new();
    for (name, bytes) in world.storage.objects() {
        let salt = if name.family() == Family::Keys { &bytes[48..80] } else { &bytes[16..48] };
        assert!(salts.insert(salt.to_vec()), "{name} has the salt of another object");
    }
    assert!(salts.len() > 6);
}
