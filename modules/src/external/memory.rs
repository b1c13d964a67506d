//! A limit of memory for a process and all it starts: a control group of its own, where one can be made.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are; with version 2 all of them, with version 1 those of memory below a name.
const ROOTS: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// A control group with a limit; it is removed when this is dropped, which is after its processes have ended.
#[derive(Debug)]
pub struct Fence(PathBuf);

impl Fence {
    /// Makes one; none where this process may not.
    pub fn new(name: &str, bytes: u64) -> Option<Self> {
        ROOTS.iter().find_map(|(root, file)| Self::below(Path::new(root), file, name, bytes))
    }

    fn below(root: &Path, file: &str, name: &str, bytes: u64) -> Option<Self> {
        let dir = root.join(format!("dedup-{name}"));
        fs::create_dir(&dir).ok()?;
        let fence = Self(dir);
        // Where the controller is not there, the file is not there either, and nothing may make one.
        let limited = fence.0.join(file).exists() && fs::write(fence.0.join(file), bytes.to_string()).is_ok();
        limited.then_some(fence)
    }

    /// Puts a process into it, which has started nothing yet.
    pub fn enclose(&self, pid: u32) {
        // One that has ended meanwhile cannot be put anywhere.
        let _ = fs::write(self.0.join("cgroup.procs"), pid.to_string());
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
