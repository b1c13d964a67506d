//! What an archive that `dedup export` wrote says of itself: `dedup-export.json`.

use dedup_engine::id::{from_hex, to_hex};
use serde_json::{Value, json};

/// Version of the description, and of the places in the archive.
pub const VERSION: u64 = 1;
/// Most items, dumps, sources and dependencies of a module (`engine/FORMAT.md` 12).
const MAX_LIST: usize = 4096;

/// The module and the snapshot that an archive is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Repository and snapshot it was exported from, in hexadecimal.
    pub repository: String,
    /// See `repository`.
    pub snapshot: String,
    /// When the backup began: seconds and nanoseconds since 1970, and the offset of the machine in minutes.
    pub time: (i64, u32, i16),
    /// Machine, user, program.
    pub host: String,
    /// See `host`.
    pub user: String,
    /// See `host`.
    pub program: String,
    /// Labels.
    pub tags: Vec<String>,
    /// Free text.
    pub comment: String,
    /// Module.
    pub module: String,
    /// Its version.
    pub module_version: String,
    /// How its backup ended: `complete`, `warned`, `partial`, `failed`, `skipped`.
    pub state: String,
    /// Why it is not complete.
    pub reason: String,
    /// Absolute paths as they were asked for.
    pub sources: Vec<Vec<u8>>,
    /// Modules that are restored before it.
    pub dependencies: Vec<String>,
    /// What was declared, and what became of it.
    pub items: Vec<AboutItem>,
    /// Its files.
    pub listings: Vec<AboutListing>,
    /// What its sources gave.
    pub dumps: Vec<AboutDump>,
    /// Whether secrets are missing here that the snapshot has.
    pub lacks_secrets: bool,
    /// Whether there is a `manifest.toml`.
    pub has_manifest: bool,
}

/// A declared item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AboutItem {
    /// Its name.
    pub name: String,
    /// Number of what became of it (`engine/FORMAT.md` 12).
    pub outcome: u8,
    /// Why.
    pub message: String,
}

/// The files of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AboutListing {
    /// `config`, `data` or `secrets`; the files are below `files/SECTION`.
    pub section: String,
    /// Whether the topmost directory is an entry too.
    pub has_root: bool,
}

/// What a source gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AboutDump {
    /// Its name.
    pub name: String,
    /// `config`, `data` or `secrets`.
    pub section: String,
    /// Kind of the source.
    pub kind: String,
    /// Directory in the archive.
    pub place: String,
    /// Whether it is rows (`entries`, and for people `rows.sql` or `rows.jsonl`) or files (below `content`).
    pub is_records: bool,
    /// Whether the topmost directory is an entry too.
    pub has_root: bool,
    /// Whether there is a `schema` beside it.
    pub has_schema: bool,
}

impl About {
    /// Writes the description.
    pub fn to_text(&self) -> String {
        let item =
            |item: &AboutItem| json!({ "name": item.name, "outcome": item.outcome, "message": item.message });
        let listing =
            |listing: &AboutListing| json!({ "section": listing.section, "has_root": listing.has_root });
        let dump = |dump: &AboutDump| {
            json!({
                "name": dump.name,
                "section": dump.section,
                "kind": dump.kind,
                "place": dump.place,
                "is_records": dump.is_records,
                "has_root": dump.has_root,
                "has_schema": dump.has_schema,
            })
        };
        // Text for people, and the exact bytes.
        let source =
            |path: &Vec<u8>| json!({ "path": String::from_utf8_lossy(path), "path_hex": to_hex(path) });
        let value = json!({
            "type": "dedup_export",
            "version": VERSION,
            "repository_id": self.repository,
            "snapshot_id": self.snapshot,
            "time_seconds": self.time.0,
            "time_nanoseconds": self.time.1,
            "utc_offset_minutes": self.time.2,
            "host": self.host,
            "user": self.user,
            "program": self.program,
            "tags": self.tags,
            "comment": self.comment,
            "module": self.module,
            "module_version": self.module_version,
            "state": self.state,
            "reason": self.reason,
            "sources": self.sources.iter().map(source).collect::<Vec<_>>(),
            "dependencies": self.dependencies,
            "items": self.items.iter().map(item).collect::<Vec<_>>(),
            "listings": self.listings.iter().map(listing).collect::<Vec<_>>(),
            "dumps": self.dumps.iter().map(dump).collect::<Vec<_>>(),
            "lacks_secrets": self.lacks_secrets,
            "has_manifest": self.has_manifest,
        });
        format!("{value:#}\n")
    }

    /// Reads a description.
    ///
    /// # Errors
    /// It is none, one of another version, or says something that no export writes.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
        if value["type"] != "dedup_export" {
            return Err("it does not describe an export of dedup".into());
        }
        match value["version"].as_u64() {
            Some(VERSION) => {}
            Some(version) => return Err(format!("its version is {version}; this program reads {VERSION}")),
            None => return Err("it has no version".into()),
        }
        let of = Of(&value);
        let about = Self {
            repository: of.text("repository_id")?,
            snapshot: of.text("snapshot_id")?,
            time: (
                of.number("time_seconds")?,
                of.small("time_nanoseconds")?,
                of.small("utc_offset_minutes")?,
            ),
            host: of.text("host")?,
            user: of.text("user")?,
            program: of.text("program")?,
            tags: of.texts("tags")?,
            comment: of.text("comment")?,
            module: of.text("module")?,
            module_version: of.text("module_version")?,
            state: of.text("state")?,
            reason: of.text("reason")?,
            sources: of.list("sources", |path| bytes_of_hex(&path.text("path_hex")?))?,
            dependencies: of.texts("dependencies")?,
            items: of.list("items", |item| {
                Ok(AboutItem {
                    name: item.text("name")?,
                    outcome: item.small("outcome")?,
                    message: item.text("message")?,
                })
            })?,
            listings: of.list("listings", |listing| {
                Ok(AboutListing { section: listing.text("section")?, has_root: listing.flag("has_root")? })
            })?,
            dumps: of.list("dumps", |dump| {
                Ok(AboutDump {
                    name: dump.text("name")?,
                    section: dump.text("section")?,
                    kind: dump.text("kind")?,
                    place: dump.text("place")?,
                    is_records: dump.flag("is_records")?,
                    has_root: dump.flag("has_root")?,
                    has_schema: dump.flag("has_schema")?,
                })
            })?,
            lacks_secrets: of.flag("lacks_secrets")?,
            has_manifest: of.flag("has_manifest")?,
        };
        if about.time.1 >= 1_000_000_000 {
            return Err("time_nanoseconds is a second or more".into());
        }
        Ok(about)
    }
}

/// An object that is read.
struct Of<'v>(&'v Value);

impl Of<'_> {
    fn wrong(name: &str) -> String {
        format!("{name:?} is missing, or not what it must be")
    }

    fn text(&self, name: &str) -> Result<String, String> {
        self.0[name].as_str().map(str::to_owned).ok_or_else(|| Self::wrong(name))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        self.0[name].as_bool().ok_or_else(|| Self::wrong(name))
    }

    fn number(&self, name: &str) -> Result<i64, String> {
        self.0[name].as_i64().ok_or_else(|| Self::wrong(name))
    }

    fn small<N: TryFrom<i64>>(&self, name: &str) -> Result<N, String> {
        self.number(name)?.try_into().map_err(|_| Self::wrong(name))
    }

    fn list<T>(&self, name: &str, each: impl Fn(&Of<'_>) -> Result<T, String>) -> Result<Vec<T>, String> {
        let list = self.0[name].as_array().filter(|list| list.len() <= MAX_LIST);
        list.ok_or_else(|| Self::wrong(name))?.iter().map(|one| each(&Of(one))).collect()
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let list = self.0[name].as_array().filter(|list| list.len() <= MAX_LIST);
        let texts = list.ok_or_else(|| Self::wrong(name))?.iter();
        texts.map(|text| text.as_str().map(str::to_owned).ok_or_else(|| Self::wrong(name))).collect()
    }
}

fn bytes_of_hex(text: &str) -> Result<Vec<u8>, String> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        from_hex::<1>(pair).map(|[byte]| byte).ok_or_else(|| "\"path_hex\" is no hexadecimal".to_owned())
    });
    pairs.collect()
}
