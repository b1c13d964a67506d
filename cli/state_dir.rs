//! Where this program keeps what it must not forget: `DEDUP_STATE_DIR`; else `/var/lib/dedup` as root, and
//! `dedup` in the user's own state directory for everybody else.

use crate::failure::Failure;
use crate::find_repo::base_dir;
use std::path::PathBuf;

/// Returns the state directory; it may not be there yet.
pub fn state_dir() -> Result<PathBuf, Failure> {
    let given = std::env::var_os("DEDUP_STATE_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    match given {
        Some(dir) if !dir.is_absolute() => {
            Err(Failure::refused(format!("DEDUP_STATE_DIR is {}, which is no absolute path", dir.display())))
        }
        Some(dir) => Ok(dir),
        None if nix::unistd::geteuid().is_root() => Ok("/var/lib/dedup".into()),
        None => base_dir("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("dedup")).ok_or_else(|| {
            Failure::refused("there is no home directory to keep spaces in")
                .hint("name a directory by DEDUP_STATE_DIR")
        }),
    }
}
