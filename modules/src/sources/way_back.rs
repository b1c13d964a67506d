//! What a load replaces, and how it comes back.

use super::{KeptDump, MariadbTriggers, SourceError, SqliteWayBack, World};
use serde::{Deserialize, Serialize};

/// What brings back what was there before a load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WayBack {
    /// Of driver `sqlite`.
    Sqlite(SqliteWayBack),
    /// The driver has none: what is there must be dumped first, and that dump loaded again.
    DumpFirst,
    /// What was there was dumped first.
    Kept(Box<KeptDump>),
    /// Of drivers `mariadb` and `mysql`: what a load of rows takes away while it works.
    Triggers(Box<MariadbTriggers>),
}

/// What a restore of a source keeps of what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// The driver keeps it beside.
    Beside,
    /// It is dumped before the load.
    Dump,
    /// Nothing: there is no program that dumps it.
    Nothing,
}

impl WayBack {
    /// Brings back what was there. After success, or if nothing was changed, it does nothing.
    pub fn put_back(&self, world: World<'_>) -> Result<(), SourceError> {
        match self {
            Self::Sqlite(way) => way.put_back(world),
            Self::Kept(dump) => dump.put_back(world),
            Self::Triggers(triggers) => triggers.put_back(world),
            Self::DumpFirst => Ok(()),
        }
    }

    /// Removes what lies beside, of a load that was not put in place.
    pub fn remove_beside(&self) -> Result<(), SourceError> {
        match self {
            Self::Sqlite(way) => way.remove_beside(),
            Self::Kept(_) | Self::Triggers(_) | Self::DumpFirst => Ok(()),
        }
    }

    /// Removes what was kept for it.
    pub fn discard(&self) -> Result<(), SourceError> {
        match self {
            Self::Sqlite(way) => way.discard(),
            Self::Kept(dump) => dump.discard(),
            Self::Triggers(_) | Self::DumpFirst => Ok(()),
        }
    }
}
