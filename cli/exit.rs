//! Exit status: one enum, every code documented, and the rule that joins two of them.

use dedup_engine::error::Kind;
use std::process::ExitCode;

/// How a run of the program ended, as a script sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is done.
    Complete,
    /// Everything is done, but there were notices; only with `--strict`.
    Notices,
    /// Something that was asked for is not in the snapshot, or was not restored.
    Partial,
    /// A restore failed and what it had changed was put back.
    RolledBack,
    /// Something else uses the repository at this moment.
    Busy,
    /// It failed.
    Failed,
    /// Nothing was done: usage, configuration or manifest.
    Refused,
    /// There is no repository at the place.
    NoRepository,
    /// Wrong passphrase or key file, or none given.
    WrongKey,
    /// The person interrupted; what was finished is kept and the next run takes it up.
    Interrupted,
    /// Damaged or forged data was found.
    Integrity,
    /// The command that `dedup space run` ran failed with this status, and what it changed was put back.
    Command(u8),
}

impl Exit {
    /// All of our own, from the mildest to the most telling: [`Exit::merge`] keeps the later one.
    ///
    /// Damage outranks even an interruption: a script may simply repeat an interrupted run, but must
    /// never overlook damage.
    pub const ALL: [Self; 11] = [
        Self::Complete,
        Self::Notices,
        Self::Partial,
        Self::RolledBack,
        Self::Busy,
        Self::Failed,
        Self::Refused,
        Self::NoRepository,
        Self::WrongKey,
        Self::Interrupted,
        Self::Integrity,
    ];

    /// Returns the number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Failed => 1,
            Self::Refused => 2,
            Self::Partial => 3,
            Self::Notices => 4,
            Self::Busy => 5,
            Self::Integrity => 6,
            Self::RolledBack => 7,
            Self::NoRepository => 10,
            Self::WrongKey => 12,
            Self::Interrupted => 130,
            Self::Command(status) => status,
        }
    }

    /// Says what the code means, for `--help` and the manual.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Refused => "refused: usage, configuration, manifest",
            Self::Partial => "partial: something asked for is not in the snapshot, or was not restored",
            Self::Notices => "complete with notices, only with --strict",
            Self::Busy => "busy: something else uses the repository",
            Self::Integrity => "integrity: damaged or forged data was found",
            Self::RolledBack => "rolled back",
            Self::NoRepository => "no repository there",
            Self::WrongKey => "wrong passphrase, or none given",
            Self::Interrupted => "interrupted; what was finished is kept and the next run takes it up",
            Self::Command(_) => "of `space run`: the status of the command",
        }
    }

    /// Joins the outcomes of two parts of one run: the more telling one stays.
    pub fn merge(self, other: Self) -> Self {
        let rank = |exit| Self::ALL.iter().position(|one| *one == exit);
        if rank(self) >= rank(other) { self } else { other }
    }

    /// Returns the list of codes as it stands in `--help` and in the manual.
    pub fn table() -> String {
        let mut all = Self::ALL;
        all.sort_by_key(|exit| exit.code());
        all.iter().map(|exit| format!("  {:>3}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::NoRepository => Self::NoRepository,
            Kind::Exists | Kind::TooNew | Kind::Refused => Self::Refused,
            Kind::Integrity => Self::Integrity,
            Kind::WrongKey => Self::WrongKey,
            Kind::Busy => Self::Busy,
            Kind::Cancelled => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Names a kind of failure in JSON.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Missing => "missing",
        Kind::NoRepository => "no_repository",
        Kind::Exists => "exists",
        Kind::Integrity => "integrity",
        Kind::WrongKey => "wrong_key",
        Kind::TooNew => "too_new",
        Kind::Refused => "refused",
        Kind::Busy => "busy",
        Kind::NoSpace => "no_space",
        Kind::Permission => "permission",
        Kind::Io => "io",
        Kind::Cancelled => "cancelled",
        _ => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_manual_and_unique() {
        let mut codes = Exit::ALL.map(Exit::code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 10, 12, 130]);
        assert_eq!(Exit::table().lines().count(), Exit::ALL.len());
    }

    #[test]
    fn merging_keeps_the_more_telling_one_in_any_order() {
        for (n, mild) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(mild.merge(mild), mild);
            for telling in Exit::ALL.into_iter().skip(n) {
                assert_eq!(mild.merge(telling), telling);
                assert_eq!(telling.merge(mild), telling);
            }
        }
        assert_eq!(Exit::Interrupted.merge(Exit::Integrity), Exit::Integrity);
        assert_eq!(Exit::Partial.merge(Exit::Complete), Exit::Partial);
    }

    #[test]
    fn kinds_lead_to_the_documented_codes() {
        let code = |kind| Exit::from(kind).code();
        assert_eq!(code(Kind::NoRepository), 10);
        assert_eq!(code(Kind::WrongKey), 12);
        assert_eq!(code(Kind::Integrity), 6);
        assert_eq!(code(Kind::Cancelled), 130);
        assert_eq!(code(Kind::Busy), 5);
        assert_eq!([Kind::Refused, Kind::Exists, Kind::TooNew].map(code), [2, 2, 2]);
        assert_eq!([Kind::Io, Kind::NoSpace, Kind::Internal, Kind::Missing].map(code), [1, 1, 1, 1]);
    }
}
