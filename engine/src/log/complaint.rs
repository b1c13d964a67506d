//! What is wrong with a log: a storage that was set back, hides something or shows two histories.

use crate::listing::Time;
use crate::storage::Name;
use std::fmt;

/// Complaints that one error tells.
const TOLD: usize = 5;

/// What is wrong with an object of a log, or with one that a log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// It was there, and is not any more.
    Missing,
    /// There is another one in its place.
    Other,
    /// It cannot be read.
    Unreadable,
    /// It is not by who it says, or does not follow the one before it.
    Forged,
}

/// One thing that is wrong, and who knew better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The object.
    pub object: Name,
    /// What is wrong with it.
    pub wrong: Wrong,
    /// Who says so: this machine's memory, or an entry.
    pub known_by: String,
    /// When that was written, by its writer's clock, and on which machine.
    pub since: Option<(Time, String)>,
    /// More words: what cannot be read, and why.
    pub why: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.wrong {
            Wrong::Missing => "is not there",
            Wrong::Other => "is another one",
            Wrong::Unreadable => "cannot be read",
            Wrong::Forged => "is not what it must be",
        };
        write!(f, "{} {what}", self.object)?;
        if !self.why.is_empty() {
            write!(f, " ({})", self.why)?;
        }
        if !self.known_by.is_empty() {
            write!(f, "; {} knows it", self.known_by)?;
        }
        Ok(())
    }
}

/// The logs of a repository contradict each other or what is remembered of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the storage does not show what it once held: it was set back to an older state, hides something or shows \
     different machines different things: {}",
    told(.complaints)
)]
pub struct LogError {
    /// What is wrong; at least one.
    pub complaints: Vec<Complaint>,
}

fn told(complaints: &[Complaint]) -> String {
    let mut all: Vec<String> = complaints.iter().take(TOLD).map(ToString::to_string).collect();
    if complaints.len() > TOLD {
        all.push(format!("and {} more", complaints.len() - TOLD));
    }
    all.join("; ")
}
