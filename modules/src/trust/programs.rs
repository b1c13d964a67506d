//! Programs that a manifest or a job names: what may be started.

use super::{Trust, TrustError};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Programs that read what they do from the file that is their first argument.
const INTERPRETERS: [&str; 14] = [
    "sh", "bash", "dash", "ash", "zsh", "ksh", "busybox", "python", "perl", "ruby", "php", "node", "lua",
    "tclsh",
];
/// Options of interpreters after which there is a text instead of a file.
const TEXTS: [&str; 4] = ["-c", "-e", "-r", "-m"];
/// Programs that start the program that is their first argument.
const STARTERS: [&str; 7] = ["env", "nice", "ionice", "nohup", "setsid", "timeout", "stdbuf"];

impl Trust {
    /// Finds a program and returns its path without links; without a slash it is looked for in `search`, the
    /// directories of `PATH`, of which those that are not absolute are passed over.
    ///
    /// A directory of `search` that could be written by others is an error only if the program is found there: what
    /// lies before it in the list must not decide silently.
    pub fn program(self, name: &OsStr, search: &[PathBuf]) -> Result<PathBuf, TrustError> {
        let path = Path::new(name);
        if name.as_bytes().contains(&b'/') {
            return self.executable(path);
        }
        if name.is_empty() {
            return Err(TrustError::NoProgram { name: path.to_owned() });
        }
        for dir in search.iter().filter(|dir| dir.is_absolute()) {
            match self.executable(&dir.join(path)) {
                Err(error) if error.is_missing() || matches!(error, TrustError::Kind { .. }) => {}
                found => return found,
            }
        }
        Err(TrustError::NoProgram { name: path.to_owned() })
    }

    /// Checks what a manifest or job wants to run: the program; and of one that reads or starts what its first
    /// argument names, such as `sh /etc/app/hook` or `nice /etc/app/hook`, that file too.
    ///
    /// What runs as another user is checked by the rules of that user, by `Trust::of` of its number: what belongs to
    /// that user could do no more than the user.
    ///
    /// Returns the path of the program. Further files that it may read are the business of whoever wrote it.
    pub fn command(self, argv: &[OsString], search: &[PathBuf]) -> Result<PathBuf, TrustError> {
        let (name, rest) = match argv.split_first() {
            Some((name, rest)) => (name.as_os_str(), rest),
            None => (OsStr::new(""), &[][..]),
        };
        let path = self.program(name, search)?;
        // By the name that was written: `sh` may be a link to anything.
        let called = Path::new(name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let called = called.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        if INTERPRETERS.contains(&called) || STARTERS.contains(&called) {
            let given = rest.iter().take_while(|argument| !TEXTS.iter().any(|text| *argument == text));
            if let Some(script) = given.map(Path::new).find(|argument| argument.is_absolute()) {
                self.script(script)?;
            }
        }
        Ok(path)
    }

    /// Checks a script; an argument that names no file is none.
    fn script(self, script: &Path) -> Result<(), TrustError> {
        match self.file(script) {
            Err(TrustError::Kind { .. }) => Ok(()),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    fn executable(self, path: &Path) -> Result<PathBuf, TrustError> {
        // Not opened for reading: who may run a program need not be allowed to read it.
        let found = self.file(path)?;
        if found.stat.st_mode & 0o111 == 0 {
            return Err(TrustError::Kind { path: path.to_owned(), wanted: "program: nobody may run it" });
        }
        Ok(found.path)
    }
}
