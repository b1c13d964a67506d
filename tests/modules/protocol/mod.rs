//! Programs of modules' own: right ones, and ones that do what they must not.

mod declared;
mod faults;
mod php;
mod php_names;
mod space_names;
mod suite;
mod whole;

use crate::runs::app::Machine;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a program of the tests into a machine; returns its path.
fn program(machine: &Machine, name: &str, text: &str) -> PathBuf {
    let path = machine.place.path(name);
    fs::write(&path, text).unwrap();
    path
}

/// Returns where the SDK for Python is.
fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/sdk/python")
}
