//! Lockdown: users are kept out of a module while it is backed up or restored.
//!
//! A flag is a file `lockdown/NAME` in the state directory that holds the message; front ends look whether it is there.
//! Locking what is locked changes nothing. A lock that was there before a run is not the run's to lift: ask
//! [`LockSpec::is_locked`] first.

use crate::child::{ChildError, Ended, Program, output};
use crate::machine::{ACTING_VARIABLE, Machine};
use crate::manifest::lifecycle::{Lockdown, LockdownWay};
use crate::manifest::paths::{UnknownVariable, Variables};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program of a lockdown may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How a module is locked, with everything resolved; it can stand in an undo journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSpec {
    way: Way,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// Programs: on, off, and whether it is; the last may be empty.
    Programs { on: Vec<String>, off: Vec<String>, status: Vec<String> },
    /// A file that is there while it is locked.
    File(PathBuf),
    /// A file of this name among the flags of this program's state, for front ends to look at.
    Flag(String),
}

/// What of a flag's name would lead out of the directory of flags, or hide in it.
fn is_no_flag(name: &str) -> bool {
    name.contains('/') || name.starts_with('.')
}

/// Why a module cannot be locked or unlocked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockdownError {
    /// A path has no meaning here.
    #[error("the lockdown: {0}")]
    Variable(#[from] UnknownVariable),
    /// A flag's name is none of a file.
    #[error("the lockdown: {0:?} is no name of a flag; it has no slash, and does not begin with a dot")]
    Flag(String),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ChildError),
    /// A file cannot be made, removed or looked at.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockSpec {
    /// Resolves what a manifest says.
    pub fn of(lockdown: &Lockdown, variables: &Variables) -> Result<Self, LockdownError> {
        let way = match &lockdown.way {
            LockdownWay::Commands { on, off, status } => {
                Way::Programs { on: on.clone(), off: off.clone(), status: status.clone() }
            }
            LockdownWay::File(path) => Way::File(path.resolve(variables)?),
            LockdownWay::Flag(name) if is_no_flag(name) => return Err(LockdownError::Flag(name.clone())),
            LockdownWay::Flag(name) => Way::Flag(name.clone()),
        };
        Ok(Self { way, message: lockdown.message.clone() })
    }

    /// Returns whether users are kept out already. Without a program that tells, nobody knows: `false`.
    pub fn is_locked(&self, machine: &Machine<'_>) -> Result<bool, LockdownError> {
        match (&self.way, self.file(machine)) {
            (Way::Programs { status, .. }, _) if status.is_empty() => Ok(false),
            (Way::Programs { status, .. }, _) => {
                let program = Program::new(status);
                let asked = output(&program, machine.around, Some(LIMIT), &|| false, 0)?.finished;
                match asked.ended {
                    Ended::Exit(0) => Ok(true),
                    Ended::Exit(_) => Ok(false),
                    _ => Err(asked.into_error(&program).into()),
                }
            }
            (_, Some(path)) => path.try_exists().map_err(|source| LockdownError::File { path, source }),
            (_, None) => Ok(false),
        }
    }

    /// Keeps users out.
    pub fn lock(&self, machine: &Machine<'_>) -> Result<(), LockdownError> {
        if let Way::Programs { on, .. } = &self.way {
            call(on, machine)?;
        }
        let Some(path) = self.file(machine) else { return Ok(()) };
        self.make(&path).map_err(|source| LockdownError::File { path, source })
    }

    /// Makes the file, unless there is one. Its message is for users: everybody may read it, whatever the umask.
    fn make(&self, path: &Path) -> io::Result<()> {
        if let (Way::Flag(_), Some(flags)) = (&self.way, path.parent()) {
            fs::create_dir_all(flags)?;
            fs::set_permissions(flags, Permissions::from_mode(0o755))?;
        }
        match File::create_new(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(mut file) => {
                file.set_permissions(Permissions::from_mode(0o644))?;
                writeln!(file, "{}", self.message)?;
                file.sync_all()
            }
        }
    }

    /// Lets users in again. Once more does no harm.
    pub fn unlock(&self, machine: &Machine<'_>) -> Result<(), LockdownError> {
        if let Way::Programs { off, .. } = &self.way {
            call(off, machine)?;
        }
        let Some(path) = self.file(machine) else { return Ok(()) };
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(LockdownError::File { path, source }),
            _ => Ok(()),
        }
    }

    fn file(&self, machine: &Machine<'_>) -> Option<PathBuf> {
        match &self.way {
            Way::Programs { .. } => None,
            Way::File(path) => Some(path.clone()),
            Way::Flag(name) => Some(machine.state_dir.join("lockdown").join(name)),
        }
    }
}

fn call(argv: &[String], machine: &Machine<'_>) -> Result<(), ChildError> {
    let mut program = Program::new(argv);
    program.env.push((ACTING_VARIABLE.into(), machine.run.into()));
    // Not to be cut short by a cancellation: what is begun here must come to an end to be undone.
    output(&program, machine.around, Some(LIMIT), &|| false, 0)?.finished.success(&program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use crate::tests::TestMachine;

    fn spec(lockdown: &str) -> Result<LockSpec, LockdownError> {
        let text = format!(
            "schema = 1\n[module]\nid = \"m\"\n[data]\ndirectories = [\"/srv/m\"]\n[lockdown]\n{lockdown}\n"
        );
        let manifest =
            Manifest::parse("test", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
        let spec = LockSpec::of(manifest.lockdown.as_ref().unwrap(), &manifest.paths)?;
        assert_eq!(serde_json::from_str::<LockSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
        Ok(spec)
    }

    #[test]
    fn every_way_locks_once_and_unlocks() {
        let test = TestMachine::new();
        let count = test.path("count").display().to_string();
        let gate = test.path("gate").display().to_string();
        let on = test.script("on", &format!("touch {gate}; echo on >> {count}"));
        let off = test.script("off", &format!("rm -f {gate}"));
        let file = test.path("closed").display().to_string();
        for way in [
            format!("on = [\"{on}\"]\noff = [\"{off}\"]\nstatus = [\"test\", \"-e\", \"{gate}\"]"),
            format!("file = \"{file}\"\nmessage = \"Back at noon\""),
            "flag = \"shop\"\nmessage = \"Back at noon\"".to_owned(),
        ] {
            let spec = spec(&way).unwrap();
            test.with(|machine| {
                assert!(!spec.is_locked(machine).unwrap(), "{way}");
                for _ in 0..2 {
                    spec.lock(machine).unwrap();
                    assert!(spec.is_locked(machine).unwrap(), "{way}");
                }
                if let Some(path) = spec.file(machine) {
                    assert_eq!(fs::read_to_string(&path).unwrap(), "Back at noon\n");
                    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
                }
                for _ in 0..2 {
                    spec.unlock(machine).unwrap();
                    assert!(!spec.is_locked(machine).unwrap(), "{way}");
                }
            });
        }
        assert!(!test.path("lockdown/shop").exists() && test.path("lockdown").is_dir());
    }

    #[test]
    fn what_somebody_else_wrote_is_left_as_it_is() {
        let test = TestMachine::new();
        let file = test.path("closed");
        fs::write(&file, "by hand").unwrap();
        let spec = spec(&format!("file = \"{}\"", file.display())).unwrap();
        test.with(|machine| {
            assert!(spec.is_locked(machine).unwrap());
            spec.lock(machine).unwrap();
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "by hand");
    }

    #[test]
    fn flags_stay_in_their_directory_and_failures_are_told() {
        for name in ["../x", "a/b", ".x", ".."] {
            assert!(matches!(spec(&format!("flag = \"{name}\"")), Err(LockdownError::Flag(_))), "{name}");
        }
        let test = TestMachine::new();
        let failing = spec("on = [\"false\"]\noff = [\"false\"]").unwrap();
        let nowhere = spec("file = \"/no/such/place/closed\"").unwrap();
        test.with(|machine| {
            assert!(!failing.is_locked(machine).unwrap(), "nobody knows");
            assert!(failing.lock(machine).is_err() && failing.unlock(machine).is_err());
            assert!(nowhere.lock(machine).unwrap_err().to_string().contains("/no/such/place/closed"));
            nowhere.unlock(machine).unwrap();
        });
    }
}
