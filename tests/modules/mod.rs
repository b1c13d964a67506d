//! What modules say of themselves, and what follows from it.

mod examples;
mod freedombox;
mod order;
mod protocol;
mod services;
mod way_back;

use dedup_modules::manifest::Manifest;
use std::fs;
use std::path::{Path, PathBuf};

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Reads a manifest of the tests, which must be right.
fn manifest(name: &str) -> Manifest {
    let bytes = fs::read(data(&format!("manifests/{name}.toml"))).unwrap();
    Manifest::parse(name, &bytes).unwrap_or_else(|problems| panic!("{problems}"))
}
