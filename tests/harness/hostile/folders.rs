//! Folders of a repository with what nobody stored: key slots, which are read before anything is trusted, noise, and
//! files that are far too long.

use super::bombs::{Bomb, bomb};
use super::shells;

pub fn bombs() -> Vec<Bomb> {
    let patch = |name, memory_kib: u32, passes: u32, lanes: u32| {
        bomb(name, "", move |hall, repo| {
            shells::plant_slots(hall, repo, 1, |bytes, _| {
                bytes[12..16].copy_from_slice(&memory_kib.to_le_bytes());
                bytes[16..20].copy_from_slice(&passes.to_le_bytes());
                bytes[20..24].copy_from_slice(&lanes.to_le_bytes());
            });
            None
        })
    };
    vec![
        patch("a slot that asks for 4 TiB of memory", u32::MAX, 1, 4),
        patch("a slot that asks for 4 GiB of memory", 4 << 20, 2, 4),
        patch("a slot that asks for 2^32 passes", 1 << 16, u32::MAX, 4),
        patch("a slot that asks for 2^32 lanes", 1 << 16, 3, u32::MAX),
        patch("a slot that asks for no memory", 0, 3, 4),
        bomb("250 slots", "", |hall, repo| {
            shells::plant_slots(hall, repo, 250, |bytes, number| {
                bytes[48..50].copy_from_slice(&[number as u8, 1])
            });
            None
        }),
        bomb("4,000 slots", "", |hall, repo| {
            shells::plant_slots(hall, repo, 4000, |bytes, number| {
                bytes[48..50].copy_from_slice(&(number as u16).to_le_bytes());
            });
            None
        }),
        bomb("a slot of a gigabyte", "", |hall, _| {
            shells::plant_large(hall, "keys", 1 << 30);
            None
        }),
        bomb("20,000 snapshots of noise", "snapshots/", |hall, _| {
            (0..20_000).for_each(|number| shells::plant_noise(hall, "snapshots", number));
            None
        }),
        bomb("5,000 segments of noise", "segments/", |hall, _| {
            (0..5000).for_each(|number| shells::plant_noise(hall, "segments", number));
            None
        }),
        bomb("a snapshot of a gigabyte", "snapshots/", |hall, _| {
            shells::plant_large(hall, "snapshots", 1 << 30);
            None
        }),
        bomb("a segment of a gigabyte", "segments/", |hall, _| {
            shells::plant_large(hall, "segments", 1 << 30);
            None
        }),
    ]
}
