//! What a PostgreSQL server can answer instead of data.

use crate::units::show_duration;
use dedup_engine::error::Kind;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server did not give, or take, data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// Nobody answers.
    #[error("cannot reach PostgreSQL at {place}: {source}; see that it runs, and that `endpoint` names it")]
    Connect {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// A password is wanted, and there is none.
    #[error("PostgreSQL at {place} wants a password for {user:?}, and `endpoint` names none")]
    NoPassword {
        /// Where.
        place: String,
        /// Who.
        user: String,
    },
    /// A way in that is not spoken here.
    #[error(
        "PostgreSQL at {place} wants {method}, which is not spoken here; give the user a password (scram-sha-256)"
    )]
    NoWayIn {
        /// Where.
        place: String,
        /// What it wants.
        method: &'static str,
    },
    /// Encryption is demanded, and the server has none.
    #[error("PostgreSQL at {place} speaks no TLS, which `endpoint.tls` demands; turn `ssl` on there")]
    NoTls {
        /// Where.
        place: String,
    },
    /// Who answers cannot prove to be the server, or does not want us.
    #[error("no encrypted connection to PostgreSQL at {place}: {why}")]
    Tls {
        /// Where.
        place: String,
        /// Why.
        why: String,
    },
    /// A file of certificates or keys.
    #[error("cannot use {}: {why}; `endpoint` names it", path.display())]
    TlsFile {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The server says no.
    #[error("cannot {doing}: {message} (SQLSTATE {state})")]
    Refused {
        /// What was tried: `read public.orders`.
        doing: String,
        /// Five characters that say why, in any language.
        state: String,
        /// The server's words, without what is in a row.
        message: String,
        /// Number of the row that was refused, from 1 on, where rows were sent.
        row: Option<u64>,
    },
    /// The server broke off.
    #[error("the connection to PostgreSQL broke off, so what came before is void: {0}")]
    Gone(#[source] io::Error),
    /// It says nothing any more.
    #[error("PostgreSQL said nothing for {}", show_duration(*.0))]
    Stalled(Duration),
    /// What it says makes no sense.
    #[error("what answers is no PostgreSQL server, or its answer is damaged: {0}")]
    Protocol(String),
    /// The run is cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl PostgresError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Gone(_) | Self::Stalled(_) | Self::Protocol(_) => Kind::Io,
            Self::NoPassword { .. }
            | Self::NoWayIn { .. }
            | Self::NoTls { .. }
            | Self::Tls { .. }
            | Self::TlsFile { .. } => Kind::Permission,
            Self::Cancelled => Kind::Cancelled,
            // Appendix A of PostgreSQL's manual.
            Self::Refused { state, .. } => match (state.get(..2).unwrap_or_default(), &state[..]) {
                ("28", _) | (_, "42501") => Kind::Permission,
                (_, "3D000" | "42P01" | "3F000") => Kind::Missing,
                (_, "53100") => Kind::NoSpace,
                (_, "55P03" | "55006" | "40P01" | "40001" | "53300") => Kind::Busy,
                ("XX", _) => Kind::Integrity,
                ("53" | "57" | "58" | "08", _) => Kind::Io,
                _ => Kind::Refused,
            },
        }
    }
}

/// What a server says of an error, field by field.
#[derive(Default)]
pub(super) struct Refusal {
    state: String,
    message: String,
    detail: String,
    constraint: String,
    column: String,
    row: Option<u64>,
}

/// Characters of a server's words that are shown.
const SHOWN: usize = 1000;

impl Refusal {
    /// Takes a field; the letters are those of the protocol.
    pub(super) fn take(&mut self, letter: u8, text: &str) {
        let clean = || text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
        match letter {
            b'C' => self.state = text.chars().take(5).collect(),
            b'M' => self.message = clean(),
            b'D' => self.detail = clean(),
            b'n' => self.constraint = clean(),
            b'c' => self.column = clean(),
            // `COPY item, line 5, column name: "…"`: what stands after the number is of the row.
            b'W' => {
                let number =
                    text.split(", line ").nth(1).map(|rest| rest.split([',', ':']).next().unwrap_or(rest));
                self.row = number.and_then(|number| number.trim().parse().ok());
            }
            _ => {}
        }
    }

    /// Makes the error. The words for what is wrong with a row have the row's values in them, so they are not shown.
    pub(super) fn into_error(self, doing: String) -> PostgresError {
        let Self { state, message, detail, constraint, column, row } = self;
        let message = match is_of_row(&state) {
            true => {
                let mut text = told(&state).to_owned();
                for (what, name) in [("constraint", constraint), ("column", column)] {
                    if !name.is_empty() {
                        text.push_str(&format!(", {what} {name}"));
                    }
                }
                text
            }
            false if detail.is_empty() => message,
            false => format!("{message}; {detail}"),
        };
        PostgresError::Refused { doing, state, message, row }
    }
}

/// Returns whether an error is about what is in a row: data, constraints, checks of views and of triggers.
pub(super) fn is_of_row(state: &str) -> bool {
    matches!(state.get(..2), Some("22" | "23" | "44" | "P0"))
}

fn told(state: &str) -> &'static str {
    match state {
        "23505" => "there is one with this key already",
        "23503" => "what it refers to is not there",
        "23502" => "it has no value where there must be one",
        "23514" => "a check says no",
        "23P01" => "it overlaps another",
        "22001" => "a text is too long",
        "22003" => "a number is out of range",
        "22P02" => "a value is none of its column's type",
        "22007" | "22008" => "a date or time is none of its column's type",
        "22021" | "22P05" => "a text has characters that the character set there does not know",
        "P0001" => "a trigger says no",
        _ => "the row cannot be stored",
    }
}
