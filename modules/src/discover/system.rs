//! The machine as it is looked at.

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Most bytes of a file that is looked into.
const MAX_BYTES: u64 = 256 << 10;
/// Most names of a directory, most processes, most open files of one.
const MAX_NAMES: usize = 4096;
/// Where units of systemd lie.
const UNIT_DIRS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// A process that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its name, as the kernel has it (15 bytes).
    pub name: String,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Regular files that it has open, as far as they may be seen.
    pub open: Vec<PathBuf>,
}

/// A machine.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// What is `/` there.
    pub root: PathBuf,
    /// What runs.
    pub processes: Vec<Process>,
    /// Units that are installed: `nginx.service`.
    pub units: BTreeSet<String>,
}

impl System {
    /// Looks at the machine whose root directory is `root`: its processes in `proc` and its units.
    ///
    /// What may not be read is passed over: discovering is guessing.
    pub fn read(root: &Path) -> Self {
        let mut system = Self { root: root.to_owned(), ..Self::default() };
        for dir in UNIT_DIRS {
            let units = system.names(dir).into_iter().filter(|name| name.contains('.'));
            system.units.extend(units.collect::<Vec<_>>());
        }
        let pids = system.names("/proc").into_iter().filter(|name| name.bytes().all(|c| c.is_ascii_digit()));
        system.processes = pids.filter_map(|pid| system.process(&pid)).collect();
        system
    }

    fn process(&self, pid: &str) -> Option<Process> {
        let at = |name: &str| format!("/proc/{pid}/{name}");
        let name = self.text(at("comm"))?.trim_end().to_owned();
        let argv = self.text(at("cmdline")).unwrap_or_default();
        let argv = argv.split('\0').filter(|argument| !argument.is_empty()).map(str::to_owned).collect();
        let fds = self.names(at("fd"));
        let open = fds.iter().filter_map(|fd| fs::read_link(self.path(at(&format!("fd/{fd}")))).ok());
        let open: BTreeSet<PathBuf> = open.filter(|path| path.is_absolute()).collect();
        Some(Process { name, argv, open: open.into_iter().collect() })
    }

    /// Returns where a path of the machine is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns whether something is there.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// Returns whether it is a directory.
    pub fn is_dir(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).is_dir()
    }

    /// Returns the names in a directory, sorted; none if it cannot be read. Names that are no text are passed over.
    pub fn names(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(MAX_NAMES).collect();
        names.sort_unstable();
        names
    }

    /// Returns the first bytes of a regular file.
    pub fn bytes(&self, path: impl AsRef<Path>, most: u64) -> Option<Vec<u8>> {
        // Looked at before it is opened, and what was looked at is opened: to open a device may do something, and
        // other users choose what lies at a path.
        let look = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat(CWD, self.path(path), look, Mode::empty()).ok()?;
        if FileType::from_raw_mode(fstat(&found).ok()?.st_mode) != FileType::RegularFile {
            return None;
        }
        let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Returns a file as text, as far as it is looked into.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(String::from_utf8_lossy(&self.bytes(path, MAX_BYTES)?).into_owned())
    }

    /// Returns the processes of these names.
    pub fn running<'s>(&'s self, names: &'s [&str]) -> impl Iterator<Item = &'s Process> {
        self.processes.iter().filter(|process| names.contains(&process.name.as_str()))
    }

    /// Returns the first of these units that is installed.
    pub fn unit<S: AsRef<str>>(&self, names: &[S]) -> Option<String> {
        names.iter().find_map(|name| {
            let full = format!("{}.service", name.as_ref());
            self.units.contains(&full).then_some(full)
        })
    }
}

/// Returns the value of a line `key = value` or `key value`, without quotes; comments begin with `#` or `;`.
pub fn setting<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().rev().find_map(|line| {
        let rest = line.trim().strip_prefix(key)?;
        let value = rest.trim_start_matches([' ', '\t', '=']);
        if value.len() == rest.len() {
            return None;
        }
        let value = value.split(" #").next().unwrap_or(value).split('\t').next().unwrap_or(value).trim();
        Some(value.trim_matches(['\'', '"']))
    })
}

/// Returns the last part of a path as text.
pub fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}
