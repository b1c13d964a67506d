//! Every stored constant: magics, versions, kinds, limits. Normative text: `engine/FORMAT.md`.

/// First four bytes of every object.
pub const MAGIC: [u8; 4] = [0x64, 0x64, 0x70, 0x1A];
/// Last eight bytes of every pack.
pub const PACK_END: [u8; 8] = [0x64, 0x64, 0x70, 0x1A, 0x65, 0x6E, 0x64, 0x0A];
/// Format version that this build reads and writes.
pub const VERSION: u16 = 1;
/// Number of the draft of that version; 0 when it is final.
pub const DRAFT: u8 = 2;
/// Cipher code of ChaCha20-Poly1305 (RFC 8439).
pub const CIPHER_CHACHA20_POLY1305: u8 = 1;

/// Length of the header of every sealed object.
pub const HEADER_LEN: usize = 80;
/// Length of the authentication tag of ChaCha20-Poly1305.
pub const TAG_LEN: usize = 16;
/// Length of a pack's trailer.
pub const PACK_TRAILER_LEN: usize = 28;

/// Largest plaintext of one chunk: 8 MiB. A reader refuses more before it allocates.
pub const MAX_CHUNK: u32 = 8 << 20;
/// Largest plaintext of one block: block target (≤ 4 MiB) and one chunk.
pub const MAX_BLOCK: u32 = 12 << 20;
/// Largest stored pack: 1 GiB.
pub const MAX_PACK: u64 = 1 << 30;
/// Largest plain directory of a pack.
pub const MAX_PACK_DIRECTORY: u32 = 8 << 20;
/// Most blocks in a pack.
pub const MAX_BLOCKS_PER_PACK: usize = 4096;
/// Most chunks in a pack.
pub const MAX_CHUNKS_PER_PACK: usize = 65_536;
/// Largest plain segment.
pub const MAX_SEGMENT: u32 = 64 << 20;
/// Most packs named by one segment.
pub const MAX_PACKS_PER_SEGMENT: usize = 256;
/// Most chunks named by one segment.
pub const MAX_CHUNKS_PER_SEGMENT: usize = 262_144;
/// Largest plain body of a snapshot, condemned set, generation, intent, epoch, log entry or run record.
pub const MAX_BODY: u32 = 16 << 20;
/// Most forgotten, and most pinned snapshots.
pub const MAX_RETAINED: usize = 131_072;
/// Largest plain body of a session, end, progress object or configuration.
pub const MAX_SMALL_BODY: u32 = 64 << 10;
/// Largest stored key slot.
pub const MAX_SLOT: u64 = 16 << 10;
/// Most key slots of a repository.
pub const MAX_SLOTS: usize = 64;
/// Largest leaf target of a configuration.
pub const MAX_LEAF_TARGET: u32 = 16 << 10;
/// Longest key in a map.
pub const MAX_KEY: usize = 65_536;
/// Largest value that stands in its leaf; a longer one goes out of line.
pub const MAX_INLINE_VALUE: usize = 1024;
/// Length of the pieces of a value that is out of line.
pub const VALUE_PIECE: usize = 256 << 10;
/// Largest value of a map.
pub const MAX_VALUE: u64 = 16 << 30;
/// Highest level of a map node.
pub const MAX_MAP_LEVEL: u8 = 40;
/// Most components of a stored path.
pub const MAX_DEPTH: usize = 32_768;
/// Longest component of a stored path.
pub const MAX_COMPONENT: usize = 255;
/// Longest target of a symbolic link.
pub const MAX_SYMLINK: usize = 65_536;
/// Largest encoded set of extended attributes of one entry.
pub const MAX_XATTRS: usize = 8 << 20;
/// Largest such set that stands in the node itself.
pub const MAX_INLINE_XATTRS: usize = 128;
/// Most holes kept for one sparse file.
pub const MAX_HOLES: usize = 4096;
/// Most entries in one content list.
pub const MAX_CONTENT_LIST: usize = 1024;
/// Fewest entries in a content list that ends before the last.
pub const MIN_CONTENT_LIST: usize = 64;
/// Highest level of a content tree.
pub const MAX_CONTENT_LEVEL: u8 = 4;
/// Most names of one kind in a control object: packs, segments, sessions.
pub const MAX_NAMES: usize = 262_144;
/// Most packs of one parity group.
pub const MAX_GROUP_PACKS: usize = 128;
/// Most shards of one parity group.
pub const MAX_SHARDS: u8 = 32;
/// Parity objects begin and end at multiples of this many bytes of their shard, but for its end.
pub const PARITY_STEP: u64 = 64 << 10;
/// Shards are multiples of this many bytes: what the code takes at once.
pub const PARITY_UNIT: u64 = 64;
/// Most items of a list, and most bytes of a text, that has no limit of its own.
pub const MAX_LIST: usize = 4096;

/// Most extensions of a body.
pub const MAX_EXTENSIONS: usize = 64;
/// Longest value of an extension in bytes.
pub const MAX_EXTENSION: usize = 64 << 10;

/// Returns the largest map node of a repository with this leaf target.
pub const fn max_node(leaf_target: u32) -> u32 {
    48 * leaf_target + (128 << 10)
}

// Arithmetic that the text relies on.
const _: () = assert!(MAX_BLOCK >= (4 << 20) + MAX_CHUNK);
const _: () = assert!(max_node(MAX_LEAF_TARGET) < MAX_CHUNK);
const _: () = assert!(PARITY_STEP.is_multiple_of(PARITY_UNIT) && MAX_PACK.is_multiple_of(PARITY_STEP));

#[cfg(test)]
mod tests {
    use super::*;

    /// In plain numbers, as `FORMAT.md` has them: a limit that moves makes what others stored unreadable.
    #[test]
    fn limits_are_those_of_the_format() {
        let (kib, mib, gib) = (1024, 1_048_576, 1_073_741_824);
        let limits = [
            (u64::from(MAX_CHUNK), 8 * mib),
            (MAX_BLOCK.into(), 12 * mib),
            (MAX_PACK, gib),
            (MAX_PACK_DIRECTORY.into(), 8 * mib),
            (MAX_SEGMENT.into(), 64 * mib),
            (MAX_BODY.into(), 16 * mib),
            (MAX_SMALL_BODY.into(), 64 * kib),
            (MAX_SLOT, 16 * kib),
            (MAX_LEAF_TARGET.into(), 16 * kib),
            (VALUE_PIECE as u64, 256 * kib),
            (MAX_VALUE, 16 * gib),
            (MAX_XATTRS as u64, 8 * mib),
            (PARITY_STEP, 64 * kib),
            (MAX_EXTENSION as u64, 64 * kib),
            (max_node(1024).into(), 176 * kib),
            (max_node(MAX_LEAF_TARGET).into(), 896 * kib),
        ];
        for (number, (limit, meant)) in limits.into_iter().enumerate() {
            assert_eq!(limit, meant, "limit {number} of this list");
        }
    }
}
