//! RocksDB's settings, all derived from one number of bytes.
//!
//! Of the memory given, an eighth may hold write buffers, a sixteenth the neighbours of recent hits and
//! an eighth packs of very many chunks; what is left is the block cache, to which filters, index blocks
//! and the write buffers are charged. Filters and index blocks are partitioned: when they outgrow the cache, a lookup reads one
//! 4 KiB partition, not a filter of megabytes.

use super::cache::Window;
use super::chunks::{merge_entries, only_dead};
use super::numbers::Numbers;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DataBlockIndexType, MergeOperands,
    Options, WriteBufferManager, compaction_filter::Decision,
};
use std::sync::Arc;

/// Chunk id → where its copies lie.
pub(super) const CHUNKS: &str = "chunks";
/// Pack number → its directory as in the pack.
pub(super) const TABLES: &str = "tables";
/// Pack number → name, kind and length of an alive pack.
pub(super) const PACKS: &str = "packs";
/// Pack id → its number, or that it was removed for good.
pub(super) const NAMES: &str = "names";
/// Segment id → the pack numbers it names, or that it was removed for good.
pub(super) const APPLIED: &str = "applied";
/// File cache: keyed hash → run and sealed bytes.
pub(super) const FILES: &str = "files";
/// Identity, counters, newest generation.
pub(super) const META: &str = "default";

/// Every family.
pub(super) const FAMILIES: [&str; 7] = [META, CHUNKS, TABLES, PACKS, NAMES, APPLIED, FILES];

/// Least memory that the index works with.
const MIN_MEMORY_BYTES: usize = 8 << 20;
/// Bytes that one remembered neighbour takes: id, place, number, and a hash table two thirds full.
const NEIGHBOUR_BYTES: usize = 96;
/// Bytes that one claim takes, or a needed chunk: an id, and a pack's number, in a hash table seven eighths full.
const CLAIM_BYTES: usize = 40;
/// Bits per key of the filters: one lookup in a hundred of an absent chunk reads a block.
const FILTER_BITS: f64 = 10.0;
/// Tables of this size are rewritten at once when chunks are compacted.
const TABLE_FILE_BYTES: u64 = 64 << 20;

/// The memory of one [`Index`](super::Index), shared by its databases.
pub(super) struct Memory {
    pub(super) cache: Cache,
    pub(super) buffers: WriteBufferManager,
    total_bytes: usize,
}

impl Memory {
    pub(super) fn new(memory_bytes: usize) -> Self {
        let total_bytes = memory_bytes.max(MIN_MEMORY_BYTES);
        let cache = Cache::new_lru_cache(total_bytes - total_bytes / 4);
        // Not allowed to stall: the buffers flush when they are full, whoever writes goes on.
        let buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(total_bytes / 8, false, cache.clone());
        Self { cache, buffers, total_bytes }
    }

    /// Returns how many neighbours one generation of their cache holds.
    pub(super) fn neighbours(&self) -> usize {
        self.total_bytes / 16 / NEIGHBOUR_BYTES / 2
    }

    /// Returns how many bytes packs of very many chunks may take.
    pub(super) fn wide_packs_bytes(&self) -> usize {
        self.total_bytes / 8
    }

    /// Returns how many bytes of pack descriptions one generation of their cache holds.
    pub(super) fn pack_infos(&self) -> usize {
        self.total_bytes / 32 / 2
    }

    /// Returns how many bytes a run's map keeps in memory before it spills, beside the index.
    pub(super) fn spill_bytes(&self) -> usize {
        self.total_bytes / 16
    }

    /// Returns how many claims a run keeps in memory, beside the index: an eighth of its bytes.
    pub(super) fn claims(&self) -> usize {
        self.total_bytes / 8 / CLAIM_BYTES
    }

    /// Returns how many needed chunks a prune keeps in memory, beside the index: a quarter of its bytes.
    pub(super) fn needed(&self) -> usize {
        self.total_bytes / 4 / CLAIM_BYTES
    }

    pub(super) fn used_bytes(&self) -> u64 {
        (self.cache.get_usage() + self.total_bytes / 16 + self.total_bytes / 32 + self.wide_packs_bytes())
            as u64
    }

    /// Settings of the database as a whole.
    pub(super) fn database(&self, open_files: i32) -> Options {
        let mut options = self.family();
        options.set_max_open_files(open_files);
        options.set_write_buffer_manager(&self.buffers);
        // Applied marks, pack records, names and counters refer to each other: they become durable
        // together even if the log is lost.
        options.set_atomic_flush(true);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_max_total_wal_size(32 << 20);
        options.set_max_background_jobs(2);
        options.set_compaction_readahead_size(256 << 10);
        options.set_bytes_per_sync(1 << 20);
        options.set_max_manifest_file_size(16 << 20);
        // By default each opening reserves 4 MiB for it, and gives them back when it ends.
        options.set_manifest_preallocation_size(64 << 10);
        // By default 15 are started for each family, however few files it has: a hundred for each command.
        options.set_max_file_opening_threads(2);
        // Nobody reads RocksDB's own log.
        options.set_log_level(rocksdb::LogLevel::Error);
        options.set_keep_log_file_num(1);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    /// Settings of a scratch database: nothing in it outlives the process.
    pub(super) fn scratch(&self) -> Options {
        let mut options = self.database(64);
        options.create_if_missing(true);
        options.set_error_if_exists(true);
        options
    }

    /// Settings of a family of few, small records.
    fn family(&self) -> Options {
        let mut options = Options::default();
        options.set_block_based_table_factory(&self.table(4 << 10));
        options.set_compression_type(rocksdb::DBCompressionType::None);
        options.set_write_buffer_size((self.total_bytes / 16).min(8 << 20));
        options.set_arena_block_size(64 << 10);
        options.set_target_file_size_base(TABLE_FILE_BYTES);
        options
    }

    fn table(&self, block_bytes: usize) -> BlockBasedOptions {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(block_bytes);
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(4 << 10);
        table.set_ribbon_filter(FILTER_BITS);
        table.set_whole_key_filtering(true);
        table.set_optimize_filters_for_memory(true);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_top_level_index_and_filter(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table
    }

    pub(super) fn chunks(&self, numbers: &Arc<Numbers>) -> Options {
        let mut table = self.table(4 << 10);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
        let mut options = self.family();
        options.set_block_based_table_factory(&table);
        options.set_max_bytes_for_level_base(256 << 20);
        options.set_level_zero_file_num_compaction_trigger(4);
        options.set_level_zero_slowdown_writes_trigger(40);
        options.set_level_zero_stop_writes_trigger(60);
        let alive = numbers.clone();
        options.set_merge_operator_associative(
            "dedup.copies",
            move |_key: &[u8], existing: Option<&[u8]>, operands: &MergeOperands| {
                merge_entries(&alive.look(), existing.into_iter().chain(operands))
            },
        );
        let dead = numbers.clone();
        options.set_compaction_filter("dedup.dead", move |_level: u32, key: &[u8], value: &[u8]| {
            if only_dead(&dead.look(), key, value) { Decision::Remove } else { Decision::Keep }
        });
        options
    }

    pub(super) fn tables(&self) -> Options {
        let mut options = self.family();
        options.set_block_based_table_factory(&self.table(16 << 10));
        options
    }

    pub(super) fn descriptors(
        &self,
        numbers: &Arc<Numbers>,
        window: &Arc<Window>,
    ) -> Vec<ColumnFamilyDescriptor> {
        let settings = |family: &str| match family {
            CHUNKS => self.chunks(numbers),
            TABLES => self.tables(),
            FILES => {
                let mut options = self.family();
                let window = window.clone();
                options.set_compaction_filter("dedup.runs", move |_level: u32, key: &[u8], value: &[u8]| {
                    if window.is_past(key, value) { Decision::Remove } else { Decision::Keep }
                });
                options
            }
            _ => self.family(),
        };
        FAMILIES.iter().map(|family| ColumnFamilyDescriptor::new(*family, settings(family))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of the head of this file, and the rest of a run's memory is reckoned with them.
    #[test]
    fn memory_is_shared_out_as_is_said() {
        let memory = Memory::new(96 << 20);
        assert_eq!(memory.neighbours(), 32_768);
        assert_eq!(memory.wide_packs_bytes(), 12 << 20);
        assert_eq!(memory.pack_infos(), 3 << 19);
        assert_eq!(memory.spill_bytes(), 6 << 20);
        assert_eq!(memory.claims(), 314_572);
        let beside = memory.used_bytes() - memory.cache.get_usage() as u64;
        assert_eq!(beside, (6 << 20) + (3 << 20) + (12 << 20));
        // With less it does not work.
        assert_eq!(Memory::new(1).spill_bytes(), 512 << 10);
    }
}
