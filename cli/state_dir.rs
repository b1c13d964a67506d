//! Where this program keeps what it must remember between runs: logs, spaces, what a run has stopped.

use crate::failure::Failure;
use crate::find_repo;
use std::path::PathBuf;

/// Where root keeps it.
pub const SYSTEM: &str = "/var/lib/dedup";

/// Returns the directory: `DEDUP_STATE_DIR`; else root's is `/var/lib/dedup`, and a user's `dedup` in the state directory
/// of the XDG Base Directory Specification (0.8). It need not be there.
pub fn state_dir() -> Result<PathBuf, Failure> {
    if let Some(dir) = std::env::var_os("DEDUP_STATE_DIR").filter(|dir| !dir.is_empty()) {
        let dir = PathBuf::from(dir);
        if dir.is_relative() {
            return Err(Failure::refused(format!("DEDUP_STATE_DIR={} is no absolute path", dir.display())));
        }
        return Ok(dir);
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(SYSTEM.into());
    }
    find_repo::base_dir("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("dedup")).ok_or_else(|| {
        Failure::refused("there is no home directory to keep logs and spaces in")
            .hint("name a directory with DEDUP_STATE_DIR")
    })
}
