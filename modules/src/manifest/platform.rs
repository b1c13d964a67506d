//! `platforms.d/*.toml`: how a product keeps the data of its modules, as tables of databases.
//!
//! A source of a driver such as `settings` says what is wanted; the product's description says where that lies. Together
//! they are a source of an SQL driver that takes some rows of a table ([`of_platform`](super::of_platform)).

use super::drivers::Driver;
use super::endpoint::{Endpoint, read_endpoint};
use super::form::{NAME, Parsed, Sub, Word};
use super::legacy::ID;
use super::paths::{ManifestPath, PathForm};
use super::problem::Problems;
use super::reader::{Reader, Table, describe};
use super::shape::Shape;
use super::{parse, read_schema};
use crate::id::ModuleId;

/// A database of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The engine.
    pub driver: Driver,
    /// The file, of driver `sqlite`.
    pub path: Option<ManifestPath>,
    /// Its name on a server.
    pub name: Option<String>,
    /// The server.
    pub endpoint: Option<Endpoint>,
}

/// Where data of a kind lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// In which database, if not in the product's own.
    pub database: Option<Database>,
    /// In which table: `${module}` is the module's id, `${Module}` the same with a capital.
    pub table: String,
    /// The column that names the module; none: rows belong to no module, and keys must be named.
    pub owner: Option<String>,
    /// The column of ids, for kinds that have any.
    pub id: Option<String>,
    /// The column of keys.
    pub key: String,
}

/// A product that modules live in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Its id, which manifests name by `platform`.
    pub id: ModuleId,
    /// Its name for people.
    pub name: String,
    /// Its database.
    pub database: Option<Database>,
    /// Settings.
    pub settings: Option<Kind>,
    /// Feature codes.
    pub feature_codes: Option<Kind>,
    /// The key-value store.
    pub kv: Option<Kind>,
    /// The key tree: keys are `/FAMILY/KEY`.
    pub tree: Option<Kind>,
    /// Whether modules have tables of their own in the database.
    pub has_tables: bool,
}

impl Platform {
    /// Reads a description. `file` is its name for messages.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Problems> {
        parse(file, bytes, read_platform, check)
    }

    /// Returns what may stand in a description.
    pub fn shape() -> Shape {
        describe(read_platform)
    }

    /// Returns where data of a driver's kind lie; for tables nothing but their database is known.
    pub fn kind(&self, driver: Driver) -> Option<&Kind> {
        match driver {
            Driver::Settings => self.settings.as_ref(),
            Driver::FeatureCodes => self.feature_codes.as_ref(),
            Driver::Kv => self.kv.as_ref(),
            Driver::Tree => self.tree.as_ref(),
            _ => None,
        }
    }
}

/// A name of a table, in which only the module's may stand.
const TABLE: Parsed<String> = Parsed {
    what: "the name of a table, in which ${module} or ${Module} stands for the module",
    pattern: "^[^\\r\\n]+$",
    read: |text| {
        let rest = text.replace("${module}", "").replace("${Module}", "");
        let bad =
            text.trim().is_empty() || rest.contains(['$', '{', '}']) || text.chars().any(char::is_control);
        match bad {
            true => Err("only ${module} and ${Module} can stand in the name of a table".into()),
            false => Ok(text.to_owned()),
        }
    },
    show: Clone::clone,
};

fn read_platform(t: &mut Table<'_, '_>) -> Platform {
    read_schema(t);
    let (id, name) = t.required("platform", Sub(read_head), "Which product it is.").unwrap_or_default();
    let kind = |t: &mut Table<'_, '_>, key, doc| t.optional(key, Sub(read_kind), doc);
    Platform {
        id,
        name,
        database: t.optional("database", Sub(read_database), "Where its data lie if nothing else is said."),
        settings: kind(t, "settings", "Settings, each with the module that owns it."),
        feature_codes: kind(t, "feature-codes", "Feature codes."),
        kv: kind(t, "kv", "The key-value store."),
        tree: kind(t, "tree", "The key tree; its keys are /FAMILY/KEY."),
        has_tables: t
            .optional(
                "tables",
                Sub(|_: &mut Table<'_, '_>| ()),
                "Modules have tables of their own in the database.",
            )
            .is_some(),
    }
}

fn read_head(t: &mut Table<'_, '_>) -> (ModuleId, String) {
    let id = t.required("id", ID, "Its id, which manifests name by `platform`.").unwrap_or_default();
    (id, t.or("name", NAME, String::from("?"), "Its name for people."))
}

fn read_database(t: &mut Table<'_, '_>) -> Database {
    let driver =
        t.required("driver", Word::<Driver>::new(), "The engine: mariadb, mysql, postgresql or sqlite.");
    let database = Database {
        driver: driver.unwrap_or(Driver::Sqlite),
        path: t.optional("path", PathForm, "The database file; for driver sqlite."),
        name: t.optional("database", NAME, "The name of the database on its server."),
        endpoint: t.optional("endpoint", Sub(read_endpoint), "The server, and how to get in."),
    };
    check_database(t, &database);
    database
}

fn check_database(t: &Table<'_, '_>, database: &Database) {
    if !t.has("driver") {
        return;
    }
    let driver = database.driver;
    if !matches!(driver, Driver::Mariadb | Driver::Mysql | Driver::Postgresql | Driver::Sqlite) {
        t.wrong("driver", format!("{driver} has no tables"), "it is mariadb, mysql, postgresql or sqlite");
        return;
    }
    let is_file = driver == Driver::Sqlite;
    for (key, is_right) in [("path", is_file), ("database", !is_file), ("endpoint", !is_file)] {
        if t.has(key) && !is_right {
            t.wrong(key, format!("`{key}` is not for driver {driver}"), "");
        }
    }
    let needed = if is_file { "path" } else { "database" };
    if !t.has(needed) {
        t.wrong("driver", format!("a database of driver {driver} lacks `{needed}`"), "");
    }
    if database.endpoint.as_ref().is_some_and(Endpoint::has_literal_secret) {
        let help = "write a reference: file:/PATH, systemd:NAME, exec:PROGRAM or store:NAME";
        t.wrong("endpoint", "a secret must not stand in a description of a platform", help);
    }
}

fn read_kind(t: &mut Table<'_, '_>) -> Kind {
    let kind = Kind {
        table: t
            .required("table", TABLE, "The table; ${module}, or ${Module} with a capital, may stand in it.")
            .unwrap_or_default(),
        owner: t.optional("owner", NAME, "The column that names the module; none: keys must be named."),
        id: t.optional("id", NAME, "The column of ids, if entries have any."),
        key: t.required("key", NAME, "The column of keys.").unwrap_or_default(),
        database: None,
    };
    let driver = t.optional(
        "driver",
        Word::<Driver>::new(),
        "The engine, if it is another database than the product's.",
    );
    let path = t.optional("path", PathForm, "The file of that database; for driver sqlite.");
    let name = t.optional("database", NAME, "The name of that database on its server.");
    let endpoint = t.optional("endpoint", Sub(read_endpoint), "Its server, and how to get in.");
    let database = driver.map(|driver| Database { driver, path, name, endpoint });
    match &database {
        Some(database) => check_database(t, database),
        None => {
            for key in ["path", "database", "endpoint"] {
                if t.has(key) {
                    t.wrong(
                        key,
                        format!("`{key}` is of a database of its own, and its `driver` is missing"),
                        "",
                    );
                }
            }
        }
    }
    Kind { database, ..kind }
}

fn check(platform: &Platform, reader: &Reader<'_>) {
    let kinds = [
        ("settings", &platform.settings),
        ("feature-codes", &platform.feature_codes),
        ("kv", &platform.kv),
        ("tree", &platform.tree),
    ];
    let homeless = |kind: &Kind| kind.database.is_none() && platform.database.is_none();
    for (key, _) in kinds.into_iter().filter(|(_, kind)| kind.as_ref().is_some_and(homeless)) {
        reader.wrong_at(key, "no database is named for it", "give it `driver`, or add [database]");
    }
    if platform.has_tables && platform.database.is_none() {
        reader.wrong_at("tables", "no database is named for them", "add [database]");
    }
}
