//! The process of a program: its group, user, directory, environment.

use super::{ChildError, Program, Surroundings, find, shown_path};
use nix::unistd::{Uid, User};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts a program as the leader of a process group, with pipes at both its outputs.
pub(super) fn spawn(program: &Program, around: &Surroundings, stdin: Stdio) -> Result<Child, ChildError> {
    let name = program.argv.first().ok_or(ChildError::Empty)?;
    let cwd = program.cwd.as_deref().unwrap_or(Path::new("/"));
    // Looked at before, since a failed start does not tell whether the program or the directory is missing.
    let directory = std::fs::metadata(cwd)
        .and_then(|meta| if meta.is_dir() { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) });
    directory.map_err(|source| ChildError::Directory {
        program: program.name(),
        path: shown_path(cwd),
        source,
    })?;
    let path = program.path(around);
    let file = find::find(name, program.cwd.as_deref(), path)?;
    let other = program.user.as_deref().map(|user| other_user(program, user)).transpose()?.flatten();
    let arguments = program.argv.get(1..).unwrap_or_default();
    let mut command = match &other {
        None => {
            let mut command = Command::new(&file);
            command.arg0(name).args(arguments);
            command
        }
        Some(user) => {
            let mut command = Command::new(find::find(OsStr::new("setpriv"), None, around.get("PATH"))?);
            command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
            command.args(["--init-groups", "--"]).arg(&file).args(arguments);
            command
        }
    };
    command.env_clear().envs(around.env.iter().map(|(key, value)| (key, value)));
    if let Some(user) = &other {
        command.env("HOME", &user.dir).env("USER", &user.name).env("LOGNAME", &user.name);
    }
    command.envs(program.env.iter().map(|(key, value)| (key, value)));
    command.current_dir(cwd).process_group(0).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|source| not_started(program, &file, source))
}

/// Returns the user as whom a program is to run, unless that is who we are.
fn other_user(program: &Program, name: &str) -> Result<Option<User>, ChildError> {
    let by_name = User::from_name(name).ok().flatten();
    let found = by_name.or_else(|| User::from_uid(Uid::from_raw(name.parse().ok()?)).ok().flatten());
    let user = found.ok_or_else(|| ChildError::NoUser {
        program: program.name(),
        user: super::shown(OsStr::new(name)),
    })?;
    match Uid::effective() {
        own if own == user.uid => Ok(None),
        own if own.is_root() => Ok(Some(user)),
        _ => Err(ChildError::NotRoot { program: program.name(), user: user.name }),
    }
}

/// Tells why a program that is there did not start.
fn not_started(program: &Program, file: &Path, source: io::Error) -> ChildError {
    let path = shown_path(file);
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => ChildError::NoInterpreter { path },
        Some(Errno::NOEXEC) => ChildError::NoFormat { path },
        Some(Errno::ACCESS | Errno::PERM) => ChildError::NotExecutable { path },
        _ => ChildError::Start { program: program.name(), source },
    }
}
