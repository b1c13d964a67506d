//! What programs do not get of this process's world: where passwords may be.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// Variables of the environment that are not handed on, and the store of secrets. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Withheld {
    env: Vec<(OsString, OsString)>,
    store: Option<PathBuf>,
}

impl Withheld {
    /// Withholds these variables; `store` is the directory whose files are passwords.
    pub fn new(env: Vec<(OsString, OsString)>, store: Option<PathBuf>) -> Self {
        Self { env, store }
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }

    /// Returns the directory whose files are passwords.
    pub fn store(&self) -> Option<&Path> {
        self.store.as_deref()
    }
}

impl fmt::Debug for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Withheld")
    }
}
