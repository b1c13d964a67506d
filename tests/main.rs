//! The one test binary of the workspace: it links the engine once, and no file of it can be forgotten.
//!
//! - [`layers`]: who may use whom, how long a file may be, what the libraries may not do.
//! - [`cli`]: the real program, run as a person or a script runs it.
//! - [`engine`]: the engine as a whole: raced, watched, and beside a naive model.
//! - [`harness`]: runs that die, objects that rot, calls that fail, indexes that lie.
//! - [`format`]: stored repositories, sound and broken, and what fuzzing found.
//! - [`modules`]: manifests of real applications, and the order of modules beside a naive model.
//! - [`foreign`]: archives and manifests of other products, hostile ones too.
//! - [`runs`]: backups and restores of modules, each step made to fail, killed at any point.
//! - [`seeds`]: the table of what the seeds do, held to the sources.
//! - [`model`]: the protocol of sessions and prunes, explored exhaustively.

mod cli;
mod engine;
mod foreign;
mod format;
mod harness;
mod layers;
mod model;
mod modules;
mod runs;
mod seeds;
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Returns every Rust file below `dir`, of the workspace's root.
fn rust_files(dir: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path);
            }
        }
    }
    found
}

/// A file that no `mod` names is never compiled: its tests would pass for ever.
#[test]
fn every_file_belongs_to_the_test_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut reached = BTreeSet::new();
    let mut waiting = vec![(root.join("main.rs"), root.clone())];
    while let Some((file, folder)) = waiting.pop() {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let words = line
                .trim_start_matches("pub ")
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub(super) ");
            let Some(name) = words.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) else {
                continue;
            };
            let (flat, nested) = (folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs"));
            let found = if flat.exists() { flat } else { nested };
            waiting.push((found, folder.join(name)));
        }
        reached.insert(file);
    }
    let forgotten: Vec<_> = rust_files("tests").difference(&reached).cloned().collect();
    assert!(forgotten.is_empty(), "no `mod` leads to {forgotten:?}");
}
