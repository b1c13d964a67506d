//! RocksDB is asked for what it is meant to be asked for, as the file says that it writes itself.

use super::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Section → name → value, of the newest file of settings in a database's folder.
fn settings_in(folder: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let newest =
        files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("OPTIONS-")).max();
    let text = std::fs::read_to_string(newest.unwrap()).unwrap();
    let (mut sections, mut section) = (BTreeMap::<_, BTreeMap<_, _>>::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').replace('"', "");
        } else if let Some((name, value)) = line.split_once('=') {
            sections.entry(section.clone()).or_default().insert(name.to_owned(), value.to_owned());
        }
    }
    sections
}

#[test]
fn the_database_is_made_as_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    drop(Index::open(dir.path(), &Settings { memory_bytes: 64 << 20, ..settings() }).unwrap());
    let made = settings_in(&dir.path().join("db"));
    let family = |name: &str| format!("CFOptions {name}");
    let table = |name: &str| format!("TableOptions/BlockBasedTable {name}");
    let of_each_table = [
        ("index_type", "kTwoLevelIndexSearch"),
        ("partition_filters", "true"),
        ("metadata_block_size", "4096"),
        ("whole_key_filtering", "true"),
        ("filter_policy", "ribbonfilter"),
        ("optimize_filters_for_memory", "true"),
        ("cache_index_and_filter_blocks", "true"),
        ("cache_index_and_filter_blocks_with_high_priority", "true"),
        ("pin_top_level_index_and_filter", "true"),
        ("pin_l0_filter_and_index_blocks_in_cache", "true"),
    ];
    let mut expected: Vec<(String, &str, &str)> = [
        // What refers to each other becomes durable together, and a log that is lost is noticed.
        ("atomic_flush", "true"),
        ("track_and_verify_wals_in_manifest", "true"),
        ("max_open_files", "256"),
        ("max_total_wal_size", "33554432"),
        ("max_background_jobs", "2"),
        ("compaction_readahead_size", "262144"),
        ("bytes_per_sync", "1048576"),
        ("max_manifest_file_size", "16777216"),
        ("keep_log_file_num", "1"),
        ("stats_dump_period_sec", "0"),
        ("stats_persist_period_sec", "0"),
    ]
    .map(|(name, value)| ("DBOptions".to_owned(), name, value))
    .into();
    for name in ["default", "chunks", "tables", "packs", "names", "applied", "files"] {
        let small = [
            ("compression", "kNoCompression"),
            ("write_buffer_size", "4194304"),
            ("arena_block_size", "65536"),
            ("target_file_size_base", "67108864"),
        ];
        expected.extend(small.map(|(setting, value)| (family(name), setting, value)));
        expected.extend(of_each_table.map(|(setting, value)| (table(name), setting, value)));
        let block = if name == "tables" { "16384" } else { "4096" };
        expected.push((table(name), "block_size", block));
        let searched = if name == "chunks" { "kDataBlockBinaryAndHash" } else { "kDataBlockBinarySearch" };
        expected.push((table(name), "data_block_index_type", searched));
        let dropped = match name {
            "chunks" => "dedup.dead",
            "files" => "dedup.runs",
            _ => "nullptr",
        };
        expected.push((family(name), "compaction_filter", dropped));
    }
    let chunks = [
        ("merge_operator", "dedup.copies"),
        ("max_bytes_for_level_base", "268435456"),
        ("level0_file_num_compaction_trigger", "4"),
        ("level0_slowdown_writes_trigger", "40"),
        ("level0_stop_writes_trigger", "60"),
    ];
    expected.extend(chunks.map(|(setting, value)| (family("chunks"), setting, value)));
    let wrong: Vec<_> = expected
        .into_iter()
        .filter_map(|(section, name, value)| {
            let is = made.get(&section).and_then(|section| section.get(name)).cloned();
            (is.as_deref() != Some(value)).then(|| format!("{section}: {name} = {is:?}, meant: {value}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
