//! A run that ended early: what happened, what to do, and the chain of causes.

use crate::exit::{Exit, kind_word};
use dedup_engine::backup::BackupError;
use dedup_engine::browse::BrowseError;
use dedup_engine::check::CheckError;
use dedup_engine::copy::CopyError;
use dedup_engine::crypto::CryptoError;
use dedup_engine::error::Kind;
use dedup_engine::forget::ForgetError;
use dedup_engine::prune::PruneError;
use dedup_engine::repair::RepairError;
use dedup_engine::repo::RepoError;
use dedup_engine::restore::RestoreError;
use dedup_engine::storage::StorageError;
use dedup_modules::spaces::SpaceError;
use dedup_modules::trust::TrustError;
use dedup_modules::undo::JournalError;
use std::error::Error;
use std::io;

/// Why a command ended early, ready to be shown.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Word for programs.
    pub kind: &'static str,
    /// Status the process ends with.
    pub exit: Exit,
    /// What happened, and where.
    pub message: String,
    /// What the person can do.
    pub hint: Option<String>,
    /// The causes, outermost first; none repeats what is said before it.
    pub causes: Vec<String>,
    /// Whether the reader of standard output went away, which is no failure of a command that only shows something.
    pub is_broken_pipe: bool,
}

impl Failure {
    /// Makes a failure of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind: kind_word(kind),
            exit: kind.into(),
            message: message.into(),
            hint: None,
            causes: Vec::new(),
            is_broken_pipe: false,
        }
    }

    /// Makes a failure for a request that is refused: usage or configuration.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Makes a failure of a system call on something of ours, such as a configuration file.
    pub fn io(message: impl Into<String>, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => Kind::Permission,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            io::ErrorKind::NotFound => Kind::Missing,
            _ => Kind::Io,
        };
        let mut failure = Self::new(kind, format!("{}: {error}", message.into()));
        failure.add_causes(error.source());
        failure
    }

    /// Adds what the person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Takes over an error of the libraries together with its causes.
    pub fn of(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        failure.hint = general_hint(kind);
        failure.add_causes(error.source());
        failure
    }

    fn add_causes(&mut self, mut cause: Option<&(dyn Error + 'static)>) {
        while let Some(error) = cause {
            let text = error.to_string();
            // Some messages embed their cause; nothing is said twice.
            let said = self.causes.last().unwrap_or(&self.message);
            if !said.ends_with(&text) {
                self.causes.push(text);
            }
            cause = error.source();
        }
    }
}

/// What helps against failures of a kind, where nothing more special is known.
fn general_hint(kind: Kind) -> Option<String> {
    let hint = match kind {
        Kind::NoRepository => "check the place, or create one with `dedup init PATH`",
        Kind::WrongKey => "check the passphrase or key file; `dedup key list` shows which there are",
        Kind::Integrity => "run `dedup check --read-data` to see how far the damage goes",
        Kind::TooNew => "install a newer dedup",
        Kind::Busy => "wait until the other run has ended, then try again",
        Kind::NoSpace => "make room, then run it again: what is stored already is taken up",
        Kind::Permission => "run it as a user who may read and write there",
        Kind::Internal => "this is a fault of dedup; please report it with the output of `-v`",
        _ => return None,
    };
    Some(hint.into())
}

macro_rules! from_library {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let failure = Self::of(error.kind(), &error);
                let hint = error.hint().or(failure.hint);
                Self { hint, ..failure }
            }
        }
    )*};
}

from_library!(
    BackupError,
    BrowseError,
    CheckError,
    CopyError,
    ForgetError,
    PruneError,
    RepairError,
    RepoError,
    RestoreError
);

impl From<CryptoError> for Failure {
    fn from(error: CryptoError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        if let TrustError::Io { path, source } = &error {
            return Self::io(format!("cannot open {}", path.display()), source);
        }
        let failure = Self::refused(error.to_string());
        Self { hint: error.hint(), ..failure }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::of(Kind::Io, &error)
    }
}

/// What helps against failures of repositories does not help here; these errors say themselves what does.
impl From<SpaceError> for Failure {
    fn from(error: SpaceError) -> Self {
        Self { hint: None, ..Self::of(error.kind(), &error) }
    }
}

/// Writing results failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let is_broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { is_broken_pipe, ..Self::io("cannot write the result", &error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read pack ab12: no room")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no room")]
    struct Inner(#[source] Innermost);

    #[derive(Debug, thiserror::Error)]
    #[error("os error 28")]
    struct Innermost;

    #[test]
    fn causes_are_told_once_each() {
        let failure = Failure::of(Kind::NoSpace, &Outer(Inner(Innermost)));
        assert_eq!(failure.message, "cannot read pack ab12: no room");
        assert_eq!(failure.causes, ["os error 28"]);
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.hint.is_some());
    }

    #[test]
    fn a_broken_pipe_is_told_apart() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_broken_pipe);
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!full.is_broken_pipe);
        assert_eq!(full.kind, "no_space");
    }
}
