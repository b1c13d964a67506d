//! `[[source]]`: what must be asked for its data.

use super::drivers::{Driver, ExtraRows, Format, Import, MissingColumns, OnError, Scope, SourcePhase};
use super::endpoint::{Endpoint, read_endpoint};
use super::form::{ARGV, Count, Flag, NAME, NamesTo, Parsed, Sub, TEXT, Word, list};
use super::paths::{ManifestPath, PathForm};
use super::reader::Table;
use super::sections::SectionKind;
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What of a source is dumped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Select {
    /// Tables by name.
    pub tables: Vec<String>,
    /// Tables by the literal beginning of their name, but for those that another module declares.
    pub prefix: String,
    /// The tables that the platform knows as the module's.
    pub own_tables: bool,
    /// Tables to leave out.
    pub ignore: Vec<String>,
    /// Table → condition in SQL.
    pub rows_where: Vec<(String, String)>,
    /// Ids of a key-value store, or families of a key tree; `*` for all.
    pub ids: Vec<String>,
    /// Keys.
    pub keys: Vec<String>,
    /// Databases; `all` for all.
    pub databases: Vec<String>,
    /// Databases to leave out of `all`.
    pub skip: Vec<String>,
    /// Schemas.
    pub schemas: Vec<String>,
    /// Table → the only columns to dump.
    pub columns: Vec<(String, Vec<String>)>,
    /// Table → columns to leave out.
    pub omit_columns: Vec<(String, Vec<String>)>,
}

/// A thing to dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Unique in the module: `[a-z0-9_-]+`.
    pub name: String,
    /// Where it belongs.
    pub section: SectionKind,
    /// How it is asked.
    pub driver: Driver,
    /// When it is dumped.
    pub phase: SourcePhase,
    /// Services that must run while it is dumped.
    pub needs: Vec<String>,
    /// What of it.
    pub select: Select,
    /// Where it is.
    pub endpoint: Option<Endpoint>,
    /// Where it is restored to, if elsewhere; its keys win over those of `endpoint`.
    pub restore_endpoint: Option<Endpoint>,
    /// The file of a database of driver `sqlite`.
    pub path: Option<ManifestPath>,
    /// The program whose output is stored by driver `command`.
    pub dump: Vec<String>,
    /// The program that is given it back.
    pub load: Vec<String>,
    /// In what form it is stored.
    pub format: Format,
    /// One transaction for everything of it.
    pub consistent: bool,
    /// How an import treats what is there.
    pub import: Import,
    /// What `replace` clears.
    pub scope: Scope,
    /// What happens to columns that the target lacks.
    pub missing_columns: MissingColumns,
    /// What happens to rows that are only in the target.
    pub extra_rows: ExtraRows,
    /// The whole import or nothing, where the driver can.
    pub transaction: bool,
    /// What happens when a row is refused.
    pub row_errors: OnError,
    /// Constraints are checked at the end of the import.
    pub defer_constraints: bool,
    /// Statistics for the planner are made after the import.
    pub refresh_statistics: bool,
    /// How long a dump or an import may take.
    pub timeout: Option<Duration>,
    /// Rows per statement of an import.
    pub batch_rows: u32,
}

/// A name of `[a-z0-9_-]+`.
const SHORT_NAME: Parsed<String> = Parsed {
    what: "a short name of a-z, 0-9, `_` and `-`",
    pattern: "^[a-z0-9_-]{1,64}$",
    read: |text| {
        let ok = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let right = !text.is_empty() && text.len() <= 64 && text.bytes().all(ok);
        if right {
            Ok(text.to_owned())
        } else {
            Err("this is no short name: a-z, 0-9, `_` and `-`, at most 64".into())
        }
    },
    show: Clone::clone,
};

/// A time limit; `0` is none.
pub const LIMIT: Parsed<Option<Duration>> = Parsed {
    what: "a time with its unit, such as 30s or 5m, or 0 for no limit",
    pattern: "^\\s*(0|[0-9]+\\s*[smhdw])\\s*$",
    read: units::limit,
    show: |limit| limit.map_or_else(|| "0".into(), units::show_duration),
};

/// Reads `[[source]]`.
pub fn read_source(t: &mut Table<'_, '_>) -> Source {
    let name = t.required("name", SHORT_NAME, "Its name, unique in the module.").unwrap_or_default();
    let driver = t.required("driver", Word::<Driver>::new(), "How it is asked.").unwrap_or(Driver::External);
    let literal = t.or(
        "literal_secrets",
        Flag,
        false,
        "Allow secrets to stand in this manifest as they are. Better: store:NAME.",
    );
    let endpoint = t.optional("endpoint", Sub(read_endpoint), "Where it is, and how to get in.");
    let restore_endpoint = t.optional(
        "restore_endpoint",
        Sub(read_endpoint),
        "Where it is restored to, if elsewhere; these keys win over `endpoint`.",
    );
    for (key, endpoint) in [("endpoint", &endpoint), ("restore_endpoint", &restore_endpoint)] {
        if !literal && endpoint.as_ref().is_some_and(Endpoint::has_literal_secret) {
            let help = "write a reference: file:/PATH, env:NAME, systemd:NAME, container:NAME, exec:PROGRAM or store:NAME; or set literal_secrets = true";
            t.wrong(&format!("{key}.password"), "a secret must not stand in a manifest", help);
        }
    }
    let source = Source {
        section: t.or("section", Word::new(), SectionKind::Data, "The section it belongs to."),
        phase: t.or(
            "phase",
            Word::new(),
            SourcePhase::Auto,
            "When it is dumped: auto (its `needs` running, all others stopped), live, stopped.",
        ),
        needs: t.or(
            "needs",
            list(NAME),
            vec![],
            "Services of this manifest that must run while it is dumped.",
        ),
        select: t.optional("select", Sub(read_select), "What of it is dumped.").unwrap_or_else(Select::all),
        path: t.optional("path", PathForm, "The database file; for driver sqlite."),
        dump: t.or(
            "dump",
            ARGV,
            vec![],
            "The program whose output is stored; for driver command. Void unless it exits with 0.",
        ),
        load: t.or("load", ARGV, vec![], "The program that is given the output back; for driver command."),
        format: t.or(
            "format",
            Word::new(),
            driver.formats().first().copied().unwrap_or(Format::Records),
            "In what form it is stored; the default depends on the driver.",
        ),
        consistent: t.or(
            "consistent",
            Flag,
            true,
            "One transaction, or one read view, for everything of it.",
        ),
        import: t.or(
            "import",
            Word::new(),
            Import::Replace,
            "replace clears what is declared and loads; merge adds or replaces by key; append only adds.",
        ),
        scope: t.or(
            "scope",
            Word::new(),
            Scope::Module,
            "What replace clears: rows and keys of the module, the tables, or the database.",
        ),
        missing_columns: t.or(
            "missing_columns",
            Word::new(),
            MissingColumns::DropAndWarn,
            "What happens to columns that the target lacks.",
        ),
        extra_rows: t.or(
            "extra_rows_policy",
            Word::new(),
            ExtraRows::Warn,
            "What happens to rows that only the target has.",
        ),
        transaction: t.or("transaction", Flag, true, "The whole import or nothing, where the driver can."),
        row_errors: t.or(
            "row_errors",
            Word::new(),
            OnError::Fail,
            "What happens when a row is refused; continue makes the module partial.",
        ),
        defer_constraints: t.or(
            "defer_constraints",
            Flag,
            false,
            "Check constraints at the end of the import.",
        ),
        refresh_statistics: t.or(
            "refresh_statistics",
            Flag,
            false,
            "Make the planner's statistics after the import.",
        ),
        timeout: t.or("timeout", LIMIT, None, "How long a dump or an import may take."),
        batch_rows: u32::try_from(t.or("batch", Count(1, 100_000), 1000, "Rows per statement of an import."))
            .unwrap_or(1000),
        name,
        driver,
        endpoint,
        restore_endpoint,
    };
    check(t, &source);
    source
}

/// Checks what depends on the driver.
fn check(t: &Table<'_, '_>, source: &Source) {
    // Without a driver all of this would be guesswork.
    if !t.has("driver") {
        return;
    }
    let driver = source.driver;
    for (key, is_there, of) in [
        ("path", source.path.is_some(), Driver::Sqlite),
        ("dump", !source.dump.is_empty(), Driver::Command),
        ("load", !source.load.is_empty(), Driver::Command),
    ] {
        if is_there && driver != of {
            t.wrong(key, format!("`{key}` is for driver {of}, not for {driver}"), "");
        }
    }
    if driver == Driver::Sqlite && !t.has("path") {
        t.wrong("driver", "a source of driver sqlite lacks `path`", "name the database file: path = \"/…\"");
    }
    if driver == Driver::Command && !t.has("dump") {
        t.wrong(
            "driver",
            "a source of driver command lacks `dump`",
            "name the program: dump = [\"program\", \"argument\"]",
        );
    }
    if !driver.formats().contains(&source.format) {
        let known: Vec<String> = driver.formats().iter().map(ToString::to_string).collect();
        t.wrong(
            "format",
            format!("driver {driver} does not know format {}", source.format),
            format!("it knows {}", known.join(", ")),
        );
    }
    if source.phase == SourcePhase::Stopped && !source.needs.is_empty() {
        t.wrong("needs", "nothing runs in phase stopped", "leave `needs` or `phase` out");
    }
}

impl Select {
    /// Selects what belongs to the module.
    fn all() -> Self {
        Self { own_tables: true, ..Self::default() }
    }
}

fn read_select(t: &mut Table<'_, '_>) -> Select {
    let names = || list(NAME);
    t.not_both("columns", "omit_columns");
    Select {
        tables: t.or("tables", names(), vec![], "Tables by name."),
        prefix: t.or(
            "prefix",
            TEXT,
            String::new(),
            "Tables whose name begins so, literally, but for those another module declares.",
        ),
        own_tables: t.or("own_tables", Flag, true, "The tables that the platform knows as the module's."),
        ignore: t.or("ignore", names(), vec![], "Tables to leave out."),
        rows_where: t
            .optional("where", NamesTo(TEXT), "Table → condition in SQL: only these rows.")
            .unwrap_or_default(),
        ids: t.or(
            "ids",
            names(),
            vec![],
            "Ids of a key-value store, or families of a key tree; \"*\" for all.",
        ),
        keys: t.or("keys", names(), vec![], "Keys."),
        databases: t.or("databases", names(), vec![], "Databases; \"all\" for all."),
        skip: t.or("skip", names(), vec![], "Databases to leave out of \"all\"."),
        schemas: t.or("schemas", names(), vec![], "Schemas."),
        columns: t
            .optional("columns", NamesTo(names()), "Table → the only columns to dump.")
            .unwrap_or_default(),
        omit_columns: t
            .optional("omit_columns", NamesTo(names()), "Table → columns to leave out.")
            .unwrap_or_default(),
    }
}
