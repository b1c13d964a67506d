//! Passwords, read where the manifest says they are.

use super::container::Container;
use super::{Asking, EndpointError};
use crate::child::{Program, output};
use crate::manifest::secret::Secret;
use crate::trust::Trust;
use rustix::fs::{Mode, OFlags, open};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest password in bytes.
pub const MAX_SECRET_BYTES: usize = 64 << 10;

/// How long a program that prints a password may take: a person may have to touch something.
const LIMIT: Duration = Duration::from_secs(120);

/// A password. It is wiped when it is dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Reads a password. One end of line at its end does not belong to it.
    pub fn read(
        secret: &Secret,
        container: Option<&Container>,
        asking: Asking<'_>,
    ) -> Result<Self, EndpointError> {
        let reference = format!("{secret:?}");
        let failed =
            |why: String| EndpointError::Secret { reference: reference.clone(), why, is_missing: false };
        let io_failed = |source: io::Error| EndpointError::Secret {
            reference: reference.clone(),
            is_missing: source.kind() == io::ErrorKind::NotFound,
            why: source.to_string(),
        };
        let around = asking.around;
        let bytes = match secret {
            Secret::Literal(text) => Zeroizing::new(text.as_bytes().to_vec()),
            Secret::File(path) => read_file(Path::new(path)).map_err(io_failed)?,
            Secret::Environment(name) => {
                let value = around.withheld.get(name).or_else(|| around.get(name));
                let value = value.ok_or_else(|| EndpointError::Secret {
                    reference: reference.clone(),
                    why: "the environment of dedup has no such variable".into(),
                    is_missing: true,
                })?;
                Zeroizing::new(value.as_bytes().to_vec())
            }
            Secret::Systemd(name) => {
                let dir = around.withheld.get("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
                let why = "dedup was not started by a unit that has credentials (LoadCredential=)";
                let dir = dir.ok_or_else(|| failed(why.into()))?;
                read_file(&Path::new(dir).join(name)).map_err(io_failed)?
            }
            Secret::Container(name) => {
                let why = "the endpoint names no `container` or `compose_service` to look in";
                let container = container.ok_or_else(|| failed(why.into()))?;
                let path = format!("/run/secrets/{name}");
                let program = container.exec(["cat", "--", &path], false);
                printed(&program, asking).map_err(|error| failed(error.to_string()))??
            }
            Secret::Exec(argv) => {
                printed(&Program::new(argv), asking).map_err(|error| failed(error.to_string()))??
            }
            Secret::Store(name) => {
                let why = "there is no store of secrets here";
                let store = around.withheld.store().ok_or_else(|| failed(why.into()))?;
                read_stored(&store.join(name), &reference)?
            }
        };
        Self::of(bytes).map_err(failed)
    }

    /// Checks a password; says why it is none.
    fn of(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, String> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.len() > MAX_SECRET_BYTES {
            return Err(format!("it is longer than {MAX_SECRET_BYTES} bytes"));
        }
        if bytes.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r')) {
            return Err("it has several lines, or bytes that no password has".into());
        }
        Ok(Self(bytes))
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a regular file; a pipe is not waited for.
fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file: File = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into();
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 4));
    file.take(MAX_SECRET_BYTES as u64 + 3).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file of the store, which nobody else may have put there, or may read.
fn read_stored(path: &Path, reference: &str) -> Result<Zeroizing<Vec<u8>>, EndpointError> {
    let failed =
        |why: String, is_missing| EndpointError::Secret { reference: reference.into(), why, is_missing };
    let shown = path.display();
    let opened = Trust::of(nix::unistd::geteuid().as_raw()).open(path);
    let opened = opened.map_err(|error| match error.is_missing() {
        true => failed(format!("put it into {shown}, a file that only you may read"), true),
        false => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            failed(format!("{error}{hint}"), false)
        }
    })?;
    let meta = opened.file.metadata().map_err(|error| failed(error.to_string(), false))?;
    if std::os::unix::fs::MetadataExt::mode(&meta) & 0o077 != 0 {
        return Err(failed(format!("others may read it; `chmod 600 {shown}`"), false));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 4));
    let read = opened.file.take(MAX_SECRET_BYTES as u64 + 3).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string(), false))?;
    Ok(bytes)
}

/// Runs a program that prints a password. What it says on standard error is told, its output never.
fn printed(
    program: &Program,
    asking: Asking<'_>,
) -> Result<Result<Zeroizing<Vec<u8>>, EndpointError>, crate::child::ChildError> {
    let captured = output(program, asking.around, Some(LIMIT), asking.cancelled, MAX_SECRET_BYTES + 3)?;
    let bytes = Zeroizing::new(captured.stdout);
    match captured.finished.ended {
        // Only the caller knows that this is no fault of the password.
        crate::child::Ended::Cancelled => Ok(Err(captured.finished.into_error(program).into())),
        _ => captured.finished.success(program).map(|()| Ok(bytes)),
    }
}
