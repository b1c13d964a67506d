//! The fuzz corpus, replayed on the stable toolchain: seeds, and whatever once broke a parser.

use dedup_engine::testing::Target;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every parser, of the engine and of the modules.
fn targets() -> impl Iterator<Item = Target> {
    dedup_engine::testing::TARGETS.into_iter().chain(dedup_modules::testing::TARGETS)
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn files(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// What a fuzzer does first: cut off, change a bit, say a large number, repeat.
fn mutants(seed: &[u8], n: usize) -> [Vec<u8>; 5] {
    let at = n * 7919 % seed.len().max(1);
    let changed = |change: &dyn Fn(&mut u8)| {
        let mut bytes = seed.to_vec();
        bytes.get_mut(at).into_iter().for_each(change);
        bytes
    };
    let repeated = [seed, &seed[at.min(seed.len())..]].concat();
    [
        seed[..at].to_vec(),
        changed(&|byte| *byte ^= 1 << (n % 8)),
        changed(&|byte| *byte = 0xff),
        changed(&|byte| *byte = 0),
        repeated,
    ]
}

#[test]
fn every_parser_stands_what_fuzzing_found_and_what_lies_near() {
    for (target, parser) in targets() {
        let seeds = files(&corpus(target));
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            parser(&seed);
            for n in 0..(20_000 / seed.len().max(1)).clamp(4, 200) {
                mutants(&seed, n).iter().for_each(|bytes| parser(bytes));
            }
        }
    }
}

/// The seeds must get past the first check, or the fuzzer begins in the dark.
#[test]
fn seeds_are_what_the_parsers_accept() {
    use dedup_engine::listing::{decode_node, decode_xattrs};
    use dedup_engine::map::MapNode;
    let any = |target: &str, accepts: &dyn Fn(&[u8]) -> bool| {
        assert!(files(&corpus(target)).iter().any(|seed| accepts(seed)), "{target}");
    };
    any("map_node", &|bytes| MapNode::decode(bytes.to_vec()).is_ok());
    any("listing_node", &|bytes| decode_node(bytes).is_ok());
    any("xattrs", &|bytes| decode_xattrs(bytes).is_ok());
    any("snapshot", &|bytes| dedup_engine::snapshot::decode(bytes).is_ok());
    any("segment", &|bytes| dedup_engine::index::Segment::decode(bytes).is_ok());
    any("slot", &|bytes| dedup_engine::crypto::slot::Slot::parse(bytes.to_vec()).is_ok());
    any("manifest", &|bytes| dedup_modules::manifest::Manifest::parse("seed", bytes).is_ok());
    any("protocol", &|bytes| {
        dedup_modules::testing::protocol_accepts(bytes).is_some_and(|(heard, ended)| heard > 10 && !ended)
    });
    any("archive", &|bytes| {
        let archive = std::sync::Arc::new(bytes.to_vec());
        let source = dedup_modules::archive::TarSource::new(&archive, bytes.len() as u64, b"files", true);
        source.is_ok_and(|source| source.entries() > 3)
    });
    any("archive", &|bytes| dedup_modules::archive::About::parse(bytes).is_ok());
    any("job", &|bytes| dedup_modules::manifest::job::Job::parse("seed", bytes).is_ok());
    any("platform", &|bytes| dedup_modules::manifest::platform::Platform::parse("seed", bytes).is_ok());
    // Two rows, out of a conversation from the greeting on.
    any("mariadb", &|bytes| {
        bytes.first().is_some_and(|first| first & 1 == 1)
            && dedup_modules::sources::mariadb::testing::converse(bytes) == Some(2)
    });
    any("record_key", &dedup_modules::records::fuzz::key);
    any("record_row", &dedup_modules::records::fuzz::row);
    any("record_schema", &dedup_modules::records::fuzz::schema);
    any("record_spec", &dedup_modules::records::fuzz::spec);
    any("log_entry", &|bytes| dedup_engine::log::Entry::decode(bytes).is_ok());
    any("generation", &|bytes| dedup_engine::repo::control::Generation::decode(bytes).is_ok());
}

/// A target without a corpus begins in the dark, a corpus without a target is never replayed.
#[test]
fn targets_and_corpora_are_the_same() {
    let names: BTreeSet<String> = targets().map(|(name, _)| name.to_owned()).collect();
    let folders =
        fs::read_dir(corpus("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(folders.collect::<BTreeSet<_>>(), names);
}
