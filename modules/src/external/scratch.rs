//! A directory of a module's own for the time of one operation.

use crate::machine::Machine;
use nix::unistd::{Uid, User};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

/// Where modules of other users have theirs: the state directory is closed to them.
const PUBLIC: &str = "/var/tmp";

/// Returns where it is; of one name for one module and operation of a run.
pub fn scratch_path(machine: &Machine<'_>, module: &str, user: Option<&str>, op: &str) -> PathBuf {
    let name = format!("dedup-{}-{module}-{op}", machine.run);
    match user {
        Some(_) => Path::new(PUBLIC).join(name),
        None => machine.state_dir.join("scratch").join(name),
    }
}

/// Makes it: new, for nobody but the module's user.
///
/// # Errors
/// Why it cannot, for people.
pub fn make_scratch(path: &Path, user: Option<&str>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(parent) = path.parent().filter(|parent| *parent != Path::new(PUBLIC)) {
        fs::create_dir_all(parent).map_err(told)?;
    }
    DirBuilder::new().mode(0o700).create(path).map_err(told)?;
    give_scratch(path, user)
}

/// Gives one that was made for nobody to the module's user. From then on nothing in it is believed: what is opened or changed
/// there by its name may be something else.
///
/// # Errors
/// Why it cannot, for people.
pub fn give_scratch(path: &Path, user: Option<&str>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let Some(name) = user else { return Ok(()) };
    let by_name = User::from_name(name).ok().flatten();
    let found = by_name.or_else(|| User::from_uid(Uid::from_raw(name.parse().ok()?)).ok().flatten());
    let user = found.ok_or_else(|| format!("there is no user {name:?}"))?;
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(told)
}
