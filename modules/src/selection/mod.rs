//! Which modules a run is about, why, and in which order: pure functions.
//!
//! ```text
//! candidates + request ─choose─► chosen, left out, remarks ─order─► what is needed first, then essential, then by id
//! ```
//!
//! - `requires` selects and orders, `after` only orders; both name modules by id or alias, without case.
//! - The order is topological. Among modules that could come next, essential ones come first, then the lower id: so the
//!   same input gives the same order, whatever order it was read in.
//! - A circle is refused with all its members: no order would be right, and guessing one is how restores break.
//! - Nothing is left out in silence: what was not chosen though it could have been is in [`Selection::left_out`] with
//!   its reason, and what is required and not there in [`Selection::remarks`].

mod choose;
pub mod order;
#[cfg(test)]
mod tests;

pub use choose::{Candidate, Ready, Request, SelectError, select};

use crate::id::ModuleId;
use crate::version::{Requirement, Version};
use std::fmt;

/// The modules of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the order in which they are backed up or restored; services stop in the reverse of it.
    pub chosen: Vec<Chosen>,
    /// What was asked for, or belongs to "all", and does not take part; by id.
    pub left_out: Vec<LeftOut>,
    /// What should be known of the chosen ones; by id.
    pub remarks: Vec<Remark>,
}

/// A module that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The module.
    pub id: ModuleId,
    /// Why.
    pub reason: Reason,
}

/// Why a module takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was named.
    Named,
    /// All were asked for.
    All,
    /// All were asked for, and it cannot be left out.
    Essential,
    /// A chosen module requires it: the one with the lowest id.
    RequiredBy(ModuleId),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => f.write_str("named"),
            Self::All => f.write_str("all were asked for"),
            Self::Essential => f.write_str("essential: cannot be left out"),
            Self::RequiredBy(id) => write!(f, "required by {id}"),
        }
    }
}

/// A module that does not take part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The module.
    pub id: ModuleId,
    /// Why not.
    pub why: WhyNot,
    /// Whether it was named or is required: then it is worth a warning.
    pub wanted: bool,
}

/// Why a module does not take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNot {
    /// Its manifest says `enabled = false`.
    Disabled,
    /// It was never set up, so it has no data.
    NeedsSetup,
    /// It was unselected.
    Unselected,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled in its manifest",
            Self::NeedsSetup => "not set up yet",
            Self::Unselected => "unselected",
        })
    }
}

/// Something to know of a chosen module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The module.
    pub id: ModuleId,
    /// What it requires.
    pub requirement: Requirement,
    /// What is wrong with that.
    pub unmet: Unmet,
}

/// Why a requirement is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// There is no such module.
    Missing,
    /// It is there and does not take part, for this reason.
    LeftOut(WhyNot),
    /// It is there, but dependencies were not asked for.
    NotAsked,
    /// Its version is another.
    Version(Version),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, requirement, unmet } = self;
        match unmet {
            Unmet::Missing => write!(f, "{id} requires {requirement}, which is not there"),
            Unmet::LeftOut(why) => write!(f, "{id} requires {requirement}, which is left out: {why}"),
            Unmet::NotAsked => write!(f, "{id} requires {requirement}, which is not selected"),
            Unmet::Version(version) => write!(f, "{id} requires {requirement}, but its version is {version}"),
        }
    }
}
