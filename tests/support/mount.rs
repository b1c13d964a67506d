//! A file system that is mounted for a test, and goes away with it.

use crate::cli::support::{is_root, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when this goes.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts at a directory, which is made if it is not there. Only root may, and not in every container: where it
    /// may not be, the test is skipped in a way that nobody overlooks.
    pub fn new(at: &Path, arguments: &[&str]) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = is_root() && mount(arguments, at);
        if !mounted {
            skip(&format!("cannot mount {arguments:?}: needs root with CAP_SYS_ADMIN"));
        }
        mounted.then(|| Self(at.to_owned()))
    }

    /// Mounts a file system in memory with these options.
    pub fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        Self::new(at, &["-t", "tmpfs", "-o", options, "tmpfs"])
    }

    /// Changes its options.
    pub fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0), "remount {options}");
    }

    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let mount = Command::new("mount").args(arguments).arg(at).stderr(Stdio::null()).status();
    mount.is_ok_and(|status| status.success())
}
