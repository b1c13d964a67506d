//! Where this program keeps what it must not lose: journals of runs, logs, spaces, flags of lockdowns.

use crate::failure::Failure;
use crate::find_repo::{base_dir, create_private_dir};
use std::path::PathBuf;

/// Returns the directory: `DEDUP_STATE_DIR`, else `/var/lib/dedup` for root and `dedup` in the user's state directory
/// for everybody else. It is there afterwards, for this user alone.
pub fn state_dir() -> Result<PathBuf, Failure> {
    let given = std::env::var_os("DEDUP_STATE_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let usual = || match nix::unistd::geteuid().is_root() {
        true => Some(PathBuf::from("/var/lib/dedup")),
        false => base_dir("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("dedup")),
    };
    let dir = given.or_else(usual).ok_or_else(|| {
        Failure::refused("there is no home directory to keep the state of runs in")
            .hint("name a directory with DEDUP_STATE_DIR")
    })?;
    let whole = std::path::absolute(&dir)
        .map_err(|error| Failure::io(format!("{} is no usable path", dir.display()), &error))?;
    create_private_dir(&whole)?;
    Ok(whole)
}
