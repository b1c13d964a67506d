//! Names of stored objects, exactly as `engine/FORMAT.md` section 2 writes them.

use crate::id::{ClientId, ObjectId, SessionId};
use std::fmt;

/// What is listed together: the objects of one folder, or the one object that stands in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `config`.
    Config,
    /// `keys/…`.
    Keys,
    /// `packs/…/…`, of all kinds.
    Packs,
    /// `segments/…`.
    Segments,
    /// `snapshots/…`.
    Snapshots,
    /// `sessions/…`: sessions with their intents, ends and progress objects.
    Sessions,
    /// `condemned/…`.
    Condemned,
    /// `generations/…`.
    Generations,
    /// `key-changes/…`.
    KeyChanges,
    /// `log/…`.
    Log,
    /// `epochs/…`.
    Epochs,
    /// `parity/…`.
    Parity,
    /// `retention/…`.
    Retention,
    /// `runs/…`.
    Runs,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 14] = [
        Self::Config,
        Self::Keys,
        Self::Packs,
        Self::Segments,
        Self::Snapshots,
        Self::Sessions,
        Self::Condemned,
        Self::Generations,
        Self::KeyChanges,
        Self::Log,
        Self::Epochs,
        Self::Parity,
        Self::Retention,
        Self::Runs,
    ];

    /// Returns the first part of its objects' names; the configuration has no folder.
    pub const fn folder(self) -> Option<&'static str> {
        match self {
            Self::Config => None,
            Self::Keys => Some("keys"),
            Self::Packs => Some("packs"),
            Self::Segments => Some("segments"),
            Self::Snapshots => Some("snapshots"),
            Self::Sessions => Some("sessions"),
            Self::Condemned => Some("condemned"),
            Self::Generations => Some("generations"),
            Self::KeyChanges => Some("key-changes"),
            Self::Log => Some("log"),
            Self::Epochs => Some("epochs"),
            Self::Parity => Some("parity"),
            Self::Retention => Some("retention"),
            Self::Runs => Some("runs"),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder().unwrap_or("config"))
    }
}

/// Which of a session's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The session object itself.
    Begin,
    /// Progress object with its number.
    Alive(u64),
    /// The end, of which there is at most one.
    End,
    /// Intent with its number.
    Intent(u64),
}

/// Name of a stored object. Shown as its path in the repository; ordered as that text is.
///
/// Numbers run from 1 to [`Name::MAX_NUMBER`], which is what 16 digits hold. A name with any other
/// number can be formed, since numbers are also read from objects, but names nothing: it is never
/// there and [`put`](super::Storage::put) refuses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Condemned set with its number.
    Condemned(u64),
    /// The configuration.
    Config,
    /// Epoch with its number.
    Epoch(u64),
    /// Generation with its number.
    Generation(u64),
    /// Key change with its number.
    KeyChange(u64),
    /// Key slot.
    Slot(ObjectId),
    /// Log entry of a client with its number.
    Log(ClientId, u64),
    /// Pack of any kind.
    Pack(ObjectId),
    /// Parity shard.
    Parity(ObjectId),
    /// Retention object with its number.
    Retention(u64),
    /// Run record of a session with its number.
    Run(SessionId, u64),
    /// Segment of the index.
    Segment(ObjectId),
    /// One object of a session.
    Session(SessionId, Part),
    /// Snapshot.
    Snapshot(ObjectId),
}

impl Name {
    /// Largest number in a name: 16 decimal digits.
    pub const MAX_NUMBER: u64 = 9_999_999_999_999_999;

    /// Names the configuration.
    pub const fn config() -> Self {
        Self::Config
    }

    /// Names a key slot.
    pub const fn slot(id: ObjectId) -> Self {
        Self::Slot(id)
    }

    /// Names a pack of any kind.
    pub const fn pack(id: ObjectId) -> Self {
        Self::Pack(id)
    }

    /// Names a segment.
    pub const fn segment(id: ObjectId) -> Self {
        Self::Segment(id)
    }

    /// Names a snapshot.
    pub const fn snapshot(id: ObjectId) -> Self {
        Self::Snapshot(id)
    }

    /// Names the object that begins a session.
    pub const fn session(id: SessionId) -> Self {
        Self::Session(id, Part::Begin)
    }

    /// Names intent `number` of a session.
    pub const fn intent(id: SessionId, number: u64) -> Self {
        Self::Session(id, Part::Intent(number))
    }

    /// Names the end of a session.
    pub const fn end(id: SessionId) -> Self {
        Self::Session(id, Part::End)
    }

    /// Names progress object `number` of a session.
    pub const fn alive(id: SessionId, number: u64) -> Self {
        Self::Session(id, Part::Alive(number))
    }

    /// Names condemned set `number`.
    pub const fn condemned(number: u64) -> Self {
        Self::Condemned(number)
    }

    /// Names generation `number`.
    pub const fn generation(number: u64) -> Self {
        Self::Generation(number)
    }

    /// Names key change `number`.
    pub const fn key_change(number: u64) -> Self {
        Self::KeyChange(number)
    }

    /// Names log entry `number` of a client.
    pub const fn log(client: ClientId, number: u64) -> Self {
        Self::Log(client, number)
    }

    /// Names epoch `number`.
    pub const fn epoch(number: u64) -> Self {
        Self::Epoch(number)
    }

    /// Names a parity shard.
    pub const fn parity(id: ObjectId) -> Self {
        Self::Parity(id)
    }

    /// Names retention object `number`.
    pub const fn retention(number: u64) -> Self {
        Self::Retention(number)
    }

    /// Names run record `number` of a session.
    pub const fn run(id: SessionId, number: u64) -> Self {
        Self::Run(id, number)
    }

    /// Reads a name; whatever is not exactly as the format writes it is foreign: `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((folder, rest)) = text.split_once('/') else {
            return (text == "config").then_some(Self::Config);
        };
        Some(match folder {
            "keys" => Self::Slot(ObjectId::from_hex(rest)?),
            "packs" => {
                let (shard, id) = rest.split_once('/')?;
                // The id is lower-case hexadecimal, so its first digits are the canonical shard.
                let id = id.starts_with(shard).then(|| ObjectId::from_hex(id))??;
                (shard.len() == 2).then_some(Self::Pack(id))?
            }
            "segments" => Self::Segment(ObjectId::from_hex(rest)?),
            "snapshots" => Self::Snapshot(ObjectId::from_hex(rest)?),
            "parity" => Self::Parity(ObjectId::from_hex(rest)?),
            "condemned" => Self::Condemned(number(rest)?),
            "generations" => Self::Generation(number(rest)?),
            "key-changes" => Self::KeyChange(number(rest)?),
            "epochs" => Self::Epoch(number(rest)?),
            "retention" => Self::Retention(number(rest)?),
            "sessions" => match rest.split_once('.') {
                None => Self::session(SessionId::from_hex(rest)?),
                Some((id, part)) => Self::Session(SessionId::from_hex(id)?, parse_part(part)?),
            },
            "log" => {
                let (client, n) = rest.split_once('-')?;
                Self::Log(ClientId::from_hex(client)?, number(n)?)
            }
            "runs" => {
                let (id, n) = rest.split_once('-')?;
                Self::Run(SessionId::from_hex(id)?, number(n)?)
            }
            _ => return None,
        })
    }

    /// Returns the family it is listed with.
    pub const fn family(&self) -> Family {
        match self {
            Self::Config => Family::Config,
            Self::Slot(_) => Family::Keys,
            Self::Pack(_) => Family::Packs,
            Self::Segment(_) => Family::Segments,
            Self::Snapshot(_) => Family::Snapshots,
            Self::Session(..) => Family::Sessions,
            Self::Condemned(_) => Family::Condemned,
            Self::Generation(_) => Family::Generations,
            Self::KeyChange(_) => Family::KeyChanges,
            Self::Log(..) => Family::Log,
            Self::Epoch(_) => Family::Epochs,
            Self::Parity(_) => Family::Parity,
            Self::Retention(_) => Family::Retention,
            Self::Run(..) => Family::Runs,
        }
    }

    /// Returns the BLAKE3 hash of the stored bytes, for objects that are named by it.
    pub const fn object_id(&self) -> Option<ObjectId> {
        match self {
            Self::Slot(id) | Self::Pack(id) | Self::Segment(id) | Self::Snapshot(id) | Self::Parity(id) => {
                Some(*id)
            }
            _ => None,
        }
    }

    /// Returns the session in the name, if there is one.
    pub const fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::Session(id, _) | Self::Run(id, _) => Some(*id),
            _ => None,
        }
    }

    /// Returns the number in the name, if there is one.
    pub const fn number(&self) -> Option<u64> {
        match self {
            Self::Condemned(n)
            | Self::Generation(n)
            | Self::KeyChange(n)
            | Self::Epoch(n)
            | Self::Retention(n)
            | Self::Log(_, n)
            | Self::Run(_, n)
            | Self::Session(_, Part::Intent(n) | Part::Alive(n)) => Some(*n),
            _ => None,
        }
    }

    /// Returns whether an object may have this name: whether its number, if any, is one of the format's.
    pub const fn is_storable(&self) -> bool {
        match self.number() {
            Some(n) => 1 <= n && n <= Self::MAX_NUMBER,
            None => true,
        }
    }
}

/// Reads a number: exactly 16 decimal digits, not all zero.
fn number(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|&n| n > 0)
}

fn parse_part(text: &str) -> Option<Part> {
    match text.split_once('-') {
        None => (text == "end").then_some(Part::End),
        Some(("intent", n)) => number(n).map(Part::Intent),
        Some(("alive", n)) => number(n).map(Part::Alive),
        Some(_) => None,
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Slot(id) => write!(f, "keys/{id}"),
            Self::Pack(id) => write!(f, "packs/{:02x}/{id}", id.as_bytes()[0]),
            Self::Segment(id) => write!(f, "segments/{id}"),
            Self::Snapshot(id) => write!(f, "snapshots/{id}"),
            Self::Parity(id) => write!(f, "parity/{id}"),
            Self::Condemned(n) => write!(f, "condemned/{n:016}"),
            Self::Generation(n) => write!(f, "generations/{n:016}"),
            Self::KeyChange(n) => write!(f, "key-changes/{n:016}"),
            Self::Epoch(n) => write!(f, "epochs/{n:016}"),
            Self::Log(client, n) => write!(f, "log/{client}-{n:016}"),
            Self::Retention(n) => write!(f, "retention/{n:016}"),
            Self::Run(id, n) => write!(f, "runs/{id}-{n:016}"),
            Self::Session(id, Part::Begin) => write!(f, "sessions/{id}"),
            Self::Session(id, Part::Alive(n)) => write!(f, "sessions/{id}.alive-{n:016}"),
            Self::Session(id, Part::End) => write!(f, "sessions/{id}.end"),
            Self::Session(id, Part::Intent(n)) => write!(f, "sessions/{id}.intent-{n:016}"),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

#[cfg(test)]
mod tests;
