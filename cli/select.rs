//! Which snapshot is meant: `SNAPSHOT[:PATH]`, narrowed by `--host`, `--tag`, `--module` and `--within`.

use crate::failure::Failure;
use crate::human::{local_time, stored_time};
use crate::{escape, sizes};
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::{StoredPath, Time};
use dedup_engine::planted::{Bug, planted};
use dedup_engine::snapshot::{Account, Snapshot};
use jiff::{Span, Zoned};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A snapshot and perhaps a path in it, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which snapshot.
    pub wanted: Wanted,
    /// The part of it that is meant; `None` if no path was typed.
    pub path: Option<StoredPath>,
}

/// Which snapshot is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one whose id begins so: lower-case hexadecimal.
    Prefix(String),
    /// The newest good one of this host that nothing said later calls suspect.
    Latest,
    /// The newest one of this host in whatever state.
    LatestAny,
}

impl Selection {
    /// Reads `SNAPSHOT[:PATH]`.
    pub fn parse(text: &OsStr) -> Result<Self, Failure> {
        let bytes = text.as_bytes();
        let (word, path) = match bytes.iter().position(|byte| *byte == b':') {
            Some(colon) => (&bytes[..colon], Some(&bytes[colon + 1..])),
            None => (bytes, None),
        };
        let wanted = match word {
            b"latest" => Wanted::Latest,
            b"latest-any" => Wanted::LatestAny,
            _ => Wanted::Prefix(prefix(word).ok_or_else(|| {
                let message = format!("{:?} is neither a snapshot's id nor `latest`", escape::name(word));
                Failure::refused(message)
                    .hint("`dedup snapshots` lists the ids; their first digits are enough")
            })?),
        };
        let path = path.map(|path| {
            StoredPath::from_slashes(path).ok_or_else(|| {
                Failure::refused(format!("{:?} is no path of a snapshot", escape::name(path)))
                    .hint("write it without `..`, as `dedup ls` shows it")
            })
        });
        Ok(Self { wanted, path: path.transpose()? })
    }
}

/// Reads the first digits of an id; upper case is taken too.
pub fn prefix(word: &[u8]) -> Option<String> {
    let word = std::str::from_utf8(word).ok()?;
    let fits =
        (1..=2 * ObjectId::LEN).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| word.to_ascii_lowercase())
}

/// What narrows a choice of snapshots.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Filter {
    /// Only snapshots of this host (repeatable)
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// Only snapshots with this tag (repeatable: with all of them)
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Only snapshots of this module
    #[arg(long, short, value_name = "NAME")]
    pub module: Option<String>,
    /// Only snapshots that are not older than this, such as 12h, 7d or 6mo
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    pub within: Option<Span>,
    /// Only snapshots of these modules as well: where several can be named.
    #[arg(skip)]
    pub also: Vec<String>,
}

impl Filter {
    /// Returns those of `all` that pass, in their order.
    pub fn apply(
        &self,
        all: Vec<(ObjectId, Snapshot)>,
        now: &Zoned,
    ) -> Result<Vec<(ObjectId, Snapshot)>, Failure> {
        let oldest = self.oldest(now)?;
        Ok(all.into_iter().filter(|(_, snapshot)| self.passes(snapshot, oldest)).collect())
    }

    fn oldest(&self, now: &Zoned) -> Result<Option<Time>, Failure> {
        let oldest =
            self.within.map(|span| now.checked_sub(span).map(|moment| stored_time(moment.timestamp())));
        oldest.transpose().map_err(|_| Failure::refused("--within reaches back before the year -9999"))
    }

    /// Says what is asked for: `host a or b, module c`.
    fn words(&self) -> String {
        let hosts = (!self.host.is_empty()).then(|| format!("host {}", self.host.join(" or ")));
        let tags = self.tag.iter().map(|tag| format!("tag {tag}"));
        let modules = self.module.iter().chain(&self.also).map(|module| format!("module {module}"));
        let within = self.within.map(|span| format!("the last {span:#}"));
        hosts.into_iter().chain(tags).chain(modules).chain(within).collect::<Vec<_>>().join(", ")
    }

    fn passes(&self, snapshot: &Snapshot, oldest: Option<Time>) -> bool {
        (self.host.is_empty() || self.host.contains(&snapshot.host))
            && self.tag.iter().all(|tag| snapshot.tags.contains(tag))
            && self.module.iter().chain(&self.also).all(|module| snapshot.account(module).is_some())
            && oldest.is_none_or(|oldest| snapshot.time >= oldest)
    }
}

/// A snapshot that was chosen.
#[derive(Debug)]
pub struct Chosen {
    /// Its id.
    pub id: ObjectId,
    /// What it says.
    pub snapshot: Snapshot,
    /// Newer ones that `latest` passed over, newest first, and why; worth a notice.
    pub passed_over: Vec<(ObjectId, String)>,
}

/// Chooses among `snapshots`, oldest first as the repository gives them. `suspects`: those that `latest` must
/// not be, and why.
pub fn choose(
    snapshots: Vec<(ObjectId, Snapshot)>,
    suspects: &BTreeMap<ObjectId, String>,
    wanted: &Wanted,
    filter: &Filter,
    this_host: &str,
    now: &Zoned,
) -> Result<Chosen, Failure> {
    let none_at_all = snapshots.is_empty();
    let mut filter = filter.clone();
    let everyone = hosts(&snapshots);
    if !matches!(wanted, Wanted::Prefix(_)) && filter.host.is_empty() {
        filter.host.push(this_host.to_owned());
    }
    if none_at_all {
        return Err(missing("there are no snapshots yet").hint("make one with `dedup backup PATH`"));
    }
    let begins = |id: &ObjectId| matches!(wanted, Wanted::Prefix(prefix) if id.to_hex().starts_with(prefix));
    let is_there = snapshots.iter().any(|(id, _)| begins(id));
    let mut fitting = filter.apply(snapshots, now)?;
    if let Wanted::Prefix(prefix) = wanted {
        fitting.retain(|(id, _)| begins(id));
        return match fitting.len() {
            0 if is_there => {
                Err(missing(&format!("no snapshot that begins with {prefix} is of {}", filter.words()))
                    .hint("`dedup snapshots` tells what it has"))
            }
            0 => {
                Err(missing(&format!("no snapshot begins with {prefix}"))
                    .hint("`dedup snapshots` lists them"))
            }
            1 => only(fitting),
            many => Err(Failure::refused(format!("{prefix} could be any of {many} snapshots"))
                .hint(format!("write more digits: {}", candidates(&fitting)))),
        };
    }
    let mut passed_over = Vec::new();
    while let Some((id, snapshot)) = fitting.pop() {
        let doubt = match suspects.get(&id) {
            _ if *wanted != Wanted::Latest => None,
            Some(why) => Some(format!("suspect ({})", escape::text(why))),
            None if !snapshot.is_good() && !planted(Bug::TakePartial) => Some("not complete".to_owned()),
            None => None,
        };
        match doubt {
            Some(doubt) => passed_over.push((id, doubt)),
            None => return Ok(Chosen { id, snapshot, passed_over }),
        }
    }
    match passed_over.first() {
        Some((newest, doubt)) => {
            let message = format!(
                "no snapshot of {} is complete: the newest, {}, is {doubt}",
                filter.host.join(", "),
                newest.short()
            );
            Err(missing(&message).hint("`latest-any` takes the newest one as it is"))
        }
        None => {
            let hint = match everyone == filter.host.join(", ") {
                true => "`dedup snapshots` lists what there is".to_owned(),
                false => format!("there are snapshots of {everyone}; choose with --host, or by id"),
            };
            Err(missing(&format!("there is no snapshot of {}", filter.words())).hint(hint))
        }
    }
}

fn only(mut fitting: Vec<(ObjectId, Snapshot)>) -> Result<Chosen, Failure> {
    match fitting.pop() {
        Some((id, snapshot)) => Ok(Chosen { id, snapshot, passed_over: Vec::new() }),
        None => Err(missing("no snapshot fits")),
    }
}

fn missing(message: &str) -> Failure {
    Failure::new(Kind::Missing, message)
}

fn hosts(snapshots: &[(ObjectId, Snapshot)]) -> String {
    let mut hosts: Vec<&str> = snapshots.iter().map(|(_, snapshot)| &snapshot.host[..]).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.truncate(20);
    hosts.join(", ")
}

fn candidates(fitting: &[(ObjectId, Snapshot)]) -> String {
    let shown = fitting.iter().rev().take(10).map(|(id, snapshot)| {
        format!("{} ({}, {})", &id.to_hex()[..16], snapshot.host, local_time(snapshot.time))
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// Returns the account that is meant: the one that is named, the only one, or that of plain files.
pub fn account<'a>(snapshot: &'a Snapshot, module: Option<&str>) -> Result<&'a Account, Failure> {
    let found = match (module, &snapshot.accounts[..]) {
        (Some(module), _) => snapshot.account(module),
        (None, [only]) => Some(only),
        (None, _) => snapshot.account("files"),
    };
    found.ok_or_else(|| {
        let modules: Vec<&str> = snapshot.accounts.iter().map(|account| &account.module[..]).collect();
        let message = match module {
            Some(module) => format!("the snapshot has no module {}", escape::text(module)),
            None => "the snapshot has several modules, and none is named".to_owned(),
        };
        missing(&message).hint(format!(
            "it has {}; choose with -m; `dedup ls --parts` tells what each has",
            escape::text(&modules.join(", "))
        ))
    })
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
