//! Sources that must be asked for their data: dumped as a stream, given back as a stream.
//!
//! ```text
//! mod.rs       SourceSpec, Dump, Load: what a run sees
//! error.rs     SourceError
//! way_back.rs  WayBack: what brings back what was there before a load
//! kept.rs      a dump of what a source had before a load
//! printed.rs   what a program prints, as a dump
//! command.rs   driver `command`: what a program prints
//! tls.rs       encryption of connections to servers
//! mariadb/     drivers `mariadb` and `mysql`
//! redis/       driver `redis`
//! sqlite/      driver `sqlite`: a database in a file, in use or not
//! postgresql/  driver `postgresql`: databases of a server
//! ```
//!
//! A run calls [`open_dump`], reads to the end and calls [`Dump::finish`]: only then is the stream whole, else it is
//! void. It is nowhere kept between source and reader, so what a driver holds of it is bounded by a constant.
//! A source may consist of several streams, which [`list_streams`] names: each is opened by [`SourceSpec::stream`].
//!
//! A restore calls [`open_load`], [`Load::check`] before anything is changed, [`Load::prepare`] with bytes that were
//! verified, writes down the [`WayBack`] and calls [`Load::put`] with the same reader: one of the two takes the stream. A driver
//! that answers [`WayBack::DumpFirst`] needs do nothing more: the run dumps what is there with [`open_dump`] of the same
//! [`SourceSpec`], which is the one that the load reaches, and gives it to a second load of that if the first must not stand.
//! Rows of tables ([`records`](crate::records)) come from [`open_records`], and go back by the same steps of a load.
//! What was there is kept until [`WayBack::discard`]; [`WayBack::put_back`] brings it back, from another process
//! too, and may be repeated.

#[cfg(test)]
mod certificates_tests;
mod command;
mod error;
mod kept;
pub mod mariadb;
pub mod postgresql;
mod printed;
mod redis;
mod sqlite;
#[cfg(test)]
mod tests;
mod tls;
mod way_back;

pub use error::SourceError;
pub use kept::KeptDump;
pub use mariadb::{MariadbSpec, MariadbTriggers};
pub use postgresql::{PostgresError, PostgresSpec};
pub use redis::RedisSpec;
pub use sqlite::SqliteWayBack;
pub use way_back::{Keeps, WayBack};

use crate::child::{Limits, Surroundings};
use crate::endpoint::Reach;
use crate::manifest::drivers::Driver;
use crate::manifest::paths::Variables;
use crate::manifest::sources::Source;
use crate::records::{RecordError, RecordSource, RecordTarget};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// How long a locked database is waited for, where nothing else is said.
pub const BUSY_LIMIT: Duration = Duration::from_secs(30);
/// How long a program may do nothing, where nothing else is said.
pub const IDLE_LIMIT: Duration = Duration::from_secs(600);

/// A source of this machine: a manifest's, with its paths resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// Its name, unique in the module.
    pub name: String,
    /// How long a dump or an import may take in all.
    pub limit: Option<Duration>,
    /// How it is asked.
    pub how: How,
}

/// How a source is asked, with what only that driver needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// Driver `sqlite`.
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// How long a locked database is waited for.
        busy_limit: Duration,
    },
    /// Drivers `mariadb` and `mysql`.
    Mariadb(Box<MariadbSpec>),
    /// Driver `redis`.
    Redis(Box<RedisSpec>),
    /// Driver `command`.
    Command {
        /// The program that prints the stream.
        dump: Vec<String>,
        /// The program that reads it; empty if there is none.
        load: Vec<String>,
        /// How long either may do nothing.
        idle_limit: Duration,
    },
    /// Driver `postgresql`.
    Postgresql(Box<PostgresSpec>),
}

impl SourceSpec {
    /// Resolves a source of a manifest, to dump it.
    pub fn of(source: &Source, variables: &Variables) -> Result<Self, SourceError> {
        Self::with(source, false, variables)
    }

    /// Resolves a source of a manifest, to load it: what its `restore_endpoint` says wins.
    pub fn to_load(source: &Source, variables: &Variables) -> Result<Self, SourceError> {
        Self::with(source, true, variables)
    }

    fn with(source: &Source, loads: bool, variables: &Variables) -> Result<Self, SourceError> {
        let over = source.restore_endpoint.as_ref().filter(|_| loads);
        let how = match (source.driver, &source.path) {
            (Driver::Sqlite, Some(path)) => {
                How::Sqlite { path: path.resolve(variables)?, busy_limit: BUSY_LIMIT }
            }
            (Driver::Command, _) => {
                How::Command { dump: source.dump.clone(), load: source.load.clone(), idle_limit: IDLE_LIMIT }
            }
            (Driver::Postgresql, _) => {
                let reach = Reach::of(source.endpoint.as_ref(), over, variables)?;
                How::Postgresql(Box::new(PostgresSpec::of(source, reach)?))
            }
            (Driver::Mariadb | Driver::Mysql, _) => {
                let reach = Reach::of(source.endpoint.as_ref(), over, variables)?;
                How::Mariadb(Box::new(MariadbSpec::of(source, reach, loads)))
            }
            (Driver::Redis, _) => {
                let reach = Reach::of(source.endpoint.as_ref(), over, variables)?;
                How::Redis(Box::new(RedisSpec::of(source, reach)))
            }
            (driver, _) => return Err(SourceError::Unsupported { driver: driver.to_string() }),
        };
        Ok(Self { name: source.name.clone(), limit: source.timeout, how })
    }

    /// Returns the file that it is, if it is one.
    pub fn path(&self) -> Option<&std::path::Path> {
        match &self.how {
            How::Sqlite { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Returns what a load keeps of what is there.
    pub fn keeps(&self) -> Keeps {
        match &self.how {
            How::Sqlite { .. } => Keeps::Beside,
            How::Command { dump, .. } if dump.is_empty() => Keeps::Nothing,
            // A driver that loads can dump.
            _ => Keeps::Dump,
        }
    }

    /// Returns one stream of a source that has several, as a source named `source/stream`; none if it has no such
    /// stream.
    pub fn stream(&self, name: &str) -> Option<Self> {
        let How::Postgresql(spec) = &self.how else { return None };
        let how = How::Postgresql(Box::new(spec.part(name)?));
        Some(Self { name: format!("{}/{name}", self.name), limit: self.limit, how })
    }

    /// Returns streams in the order in which they must be loaded, each with what belongs to it.
    pub fn in_order_of_load<T>(&self, mut streams: Vec<(String, T)>) -> Vec<(String, T)> {
        streams.sort_by_key(|(name, _)| !postgresql::is_loaded_first(name));
        streams
    }
}

/// What a source works with, of its caller.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// What programs get of this process's world.
    pub around: &'a Surroundings,
    /// Says whether the run is to stop. Asked often, so it must be quick.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Gets the lines that a program writes to standard error, as they come.
pub type Said<'a> = dyn FnMut(&str) + 'a;

/// What is known of a dump when it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The driver: `sqlite`, `command`.
    pub kind: String,
    /// What wrote the stream: `SQLite 3.53.0`; empty where nobody says.
    pub version: String,
    /// Length of the stream in bytes, where it is known beforehand; exact for `sqlite`.
    pub estimated_bytes: Option<u64>,
    /// The source is there and has nothing in it: the stream has no byte, and the outcome is *empty*.
    pub is_empty: bool,
    /// What else is known: `journal_mode`, `page_size`, `user_version`…
    pub facts: Vec<(String, String)>,
    /// Owner, group and mode of the file, to give to one that is restored where none is.
    pub owner: Option<FileOwner>,
    /// Where the source has several streams: what is known of each, by name. Of the whole, only the kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<(String, Head)>,
}

impl Head {
    /// Returns what is known of one of several streams; of the source if it is one.
    pub fn of_stream(&self, name: &str) -> &Self {
        self.streams.iter().find(|(stream, _)| stream == name).map_or(self, |(_, head)| head)
    }
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOwner {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl FileOwner {
    /// Reads `uid:gid:mode`, the mode in octal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { uid, gid, mode: u32::from_str_radix(parts.next()?, 8).ok()? })
    }
}

/// A dump that is being read.
///
/// The end of the stream is told only when the source is content with it: a program that failed, a database that
/// could not be read to its last page, are errors of the last `read`. A dump that is dropped ends its source.
pub trait Dump: Read {
    /// Returns what was known when it began.
    fn head(&self) -> &Head;

    /// Says what is wrong with the data where they are, though all of them were read; to be asked after the last byte. Such
    /// a dump is worth keeping, and not to be believed.
    ///
    /// # Errors
    /// Cancelled. What cannot be looked at is taken for sound.
    fn flaw(&mut self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// Ends the dump; what was read is void unless this succeeds. Before the end of the stream it is an error.
    /// Returns the number of bytes. An error of `read` is told here again, with its type.
    fn finish(self: Box<Self>) -> Result<u64, SourceError>;
}

/// Returns the names of the streams of which a source consists, rising, which may take a question to a server; none if it
/// is one stream that needs no name.
pub fn list_streams(spec: &SourceSpec, world: World<'_>) -> Result<Option<Vec<String>>, SourceError> {
    match &spec.how {
        How::Postgresql(postgres) => postgresql::list(postgres, world),
        How::Sqlite { .. } | How::Mariadb(_) | How::Redis(_) | How::Command { .. } => Ok(None),
    }
}

/// Opens a source: connects, and begins its consistent view, which is that of this moment.
///
/// The time limit of a database is the caller's business, by `world.cancelled`; that of a program is kept here.
pub fn open_dump<'a>(
    spec: &SourceSpec,
    world: World<'a>,
    said: &'a mut Said<'a>,
) -> Result<Box<dyn Dump + 'a>, SourceError> {
    Ok(match &spec.how {
        How::Sqlite { path, busy_limit } => Box::new(sqlite::SqliteDump::open(path, *busy_limit, world)?),
        How::Mariadb(mariadb) => Box::new(mariadb::MariadbDump::start(mariadb, spec.limit, world, said)?),
        How::Redis(redis) => Box::new(redis::RedisDump::open(redis, world)?),
        How::Command { dump, idle_limit, .. } => {
            let limits = Limits { total: spec.limit, idle: Some(*idle_limit) };
            Box::new(command::start_dump(dump, limits, world, said)?)
        }
        How::Postgresql(postgres) => Box::new(postgresql::start_dump(postgres, spec.limit, world, said)?),
    })
}

/// Opens a source whose rows are read one by one: connects, and begins its consistent view over all tables, which is
/// that of this moment.
///
/// # Errors
/// The driver knows no records.
pub fn open_records<'a>(
    spec: &SourceSpec,
    world: World<'a>,
    said: &'a mut Said<'a>,
) -> Result<Box<dyn RecordSource + 'a>, SourceError> {
    match &spec.how {
        How::Sqlite { path, busy_limit } => {
            Ok(Box::new(sqlite::SqliteRecords::open(path, *busy_limit, world)?))
        }
        How::Postgresql(postgres) => Ok(Box::new(postgresql::PostgresRecords::open(postgres, world)?)),
        How::Mariadb(mariadb) => Ok(Box::new(mariadb::MariadbSource::open(mariadb, world, said)?)),
        How::Redis(_) | How::Command { .. } => Err(SourceError::NoRecords),
    }
}

/// Puts rows into a target that a driver opened.
pub type ImportInto<'i> = dyn FnMut(Box<dyn RecordTarget + '_>) -> Result<(), RecordError> + 'i;

/// What a caller chooses about a load.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Owner and mode of a file that is not there yet.
    pub owner: Option<FileOwner>,
    /// Whether other programs have the target open, if the caller knows (they may run on another machine, or be
    /// stopped for sure). None: it is looked for, and where this cannot be seen, taken for granted.
    pub in_use: Option<bool>,
}

/// A load, step by step: [`check`](Self::check), [`prepare`](Self::prepare), [`put`](Self::put), for records
/// [`prepare_records`](Self::prepare_records) and [`put_records`](Self::put_records). One that is dropped before `put`
/// changed nothing and leaves nothing behind.
pub trait Load {
    /// Hears what was known of the source when it was dumped; for drivers that need it where nothing is there.
    fn hear(&mut self, _: &Head) {}

    /// Says whether it could be done, as far as can be told without changing anything.
    fn check(&mut self) -> Result<(), SourceError>;

    /// Returns which files `prepare` will write beside, if it does: to be written down before it, and removed
    /// ([`WayBack::remove_beside`]) if this process dies before the way back is written down.
    fn beside(&self) -> Option<WayBack> {
        None
    }

    /// Takes the stream to its end, if the driver can keep it beside, and looks whether it is what it should be; else
    /// leaves it untouched. Nothing that was there is changed. Returns what brings back what is there now: to be
    /// written down before [`put`](Self::put), which is to follow at once.
    fn prepare(&mut self, bytes: &mut dyn Read) -> Result<WayBack, SourceError>;

    /// As [`prepare`](Self::prepare), for rows: calls `import` with a target beside, if the driver can keep one; else
    /// changes nothing.
    fn prepare_records(&mut self, _import: &mut ImportInto<'_>) -> Result<WayBack, SourceError> {
        Err(SourceError::NoRecords)
    }

    /// Returns what brings back what [`put_records`](Self::put_records) takes away for as long as it works: to be
    /// written down before it, and struck out after its success.
    fn takes_away(&mut self) -> Result<Option<WayBack>, SourceError> {
        Ok(None)
    }

    /// Puts the rows in place: calls `import` if `prepare_records` did not.
    fn put_records(self: Box<Self>, _import: &mut ImportInto<'_>) -> Result<(), SourceError> {
        Err(SourceError::NoRecords)
    }

    /// Puts the stream in place: all of it or nothing, where the driver can. Takes it from `bytes` if `prepare` did
    /// not.
    fn put(self: Box<Self>, bytes: &mut dyn Read) -> Result<(), SourceError>;
}

/// Begins a load.
pub fn open_load<'a>(
    spec: &SourceSpec,
    options: LoadOptions,
    world: World<'a>,
    said: &'a mut Said<'a>,
) -> Result<Box<dyn Load + 'a>, SourceError> {
    Ok(match &spec.how {
        How::Sqlite { path, busy_limit } => {
            Box::new(sqlite::SqliteLoad::new(path.clone(), *busy_limit, options, world)?)
        }
        How::Mariadb(mariadb) => Box::new(mariadb::MariadbLoad::new(mariadb, spec.limit, world, said)),
        How::Redis(redis) => Box::new(redis::RedisLoad::new(redis, world)),
        How::Command { load, idle_limit, .. } => {
            let limits = Limits { total: spec.limit, idle: Some(*idle_limit) };
            Box::new(command::CommandLoad::new(load, limits, world, said)?)
        }
        How::Postgresql(postgres) => {
            Box::new(postgresql::PostgresLoad::new(postgres, spec.limit, world, said)?)
        }
    })
}
