//! Records out of a database: one view over all its tables, each read in the order of its key.

use super::super::{SourceError, World};
use super::catalog::{self, engine, text};
use super::connect::Patience;
use super::copy::read_row;
use super::ddl::{self, Belongings, Definitions, Role, key_of};
use super::large;
use super::login::Login;
use super::programs::Server;
use super::quote::{literal, name, names, path};
use super::spec::{Databases, Form, PostgresSpec};
use super::wire::Session;
use crate::child::Limits;
use crate::records::{
    Column, EachRow, Filled, Object, RecordError, RecordSource, RowOrder, SourceSchema, TableName,
    TableSchema, TypeClass,
};
use std::time::Duration;

/// Longest text that makes a database, in bytes.
const MAX_DEFINITIONS: usize = 64 << 20;

/// Sequences and indexes with their tables.
const BELONGINGS: &str = "SELECT n.nspname, c.relname, tn.nspname, t.relname FROM pg_catalog.pg_depend d \
    JOIN pg_catalog.pg_class c ON c.oid = d.objid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
    WHERE c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass UNION ALL \
    SELECT n.nspname, c.relname, n.nspname, t.relname FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

/// Views that hold rows of their own.
const VIEWS: &str = "SELECT schemaname, matviewname FROM pg_catalog.pg_matviews WHERE ispopulated";
/// Sequences, but for those of extensions.
const SEQUENCES: &str = "SELECT schemaname, sequencename FROM pg_catalog.pg_sequences ORDER BY 1, 2";

/// Connects to the one database that is wanted.
pub(super) fn connect<'a>(
    spec: &PostgresSpec,
    world: World<'a>,
) -> Result<(Server<'a>, Session<'a>), SourceError> {
    let Databases::One(database) = &spec.databases else {
        return Err(SourceError::Impossible {
            what: "several databases at once; give each a source of its own".into(),
            format: "records".into(),
        });
    };
    let server = Server::find(&spec.reach, world)?;
    let session = session(&server, database, spec.idle_limit)?;
    Ok((server, session))
}

/// Opens a session with a database of a server.
pub(super) fn session<'a>(
    server: &Server<'a>,
    database: &str,
    idle: Duration,
) -> Result<Session<'a>, SourceError> {
    let (address, user, password) = server.address()?;
    let login = Login { user: &user, database, password: password.map(|password| password.as_bytes()) };
    let patience = Patience { idle, cancelled: server.world().cancelled };
    Session::open(&address, login, &server.tls(), patience).map_err(|error| match error {
        super::PostgresError::Refused { state, .. } if state == "3D000" => {
            SourceError::NoSuchDatabase { name: database.to_owned(), place: server.shown() }
        }
        error => error.into(),
    })
}

/// Asks a database; each row has one column. Where rows go over a connection of our own, so do questions: a program takes
/// longer to start than they all take.
pub(super) fn ask(
    server: &Server<'_>,
    spec: &PostgresSpec,
    database: &str,
    sql: &str,
) -> Result<Vec<String>, SourceError> {
    if spec.form != Form::Records {
        return server.ask(database, sql);
    }
    let rows = session(server, database, spec.idle_limit)?.ask("ask the catalogue", sql)?;
    Ok(rows.into_iter().map(|row| row.into_iter().next().flatten().unwrap_or_default()).collect())
}

/// Returns whether a database is there.
pub(super) fn has_database(
    server: &Server<'_>,
    spec: &PostgresSpec,
    name: &str,
) -> Result<bool, SourceError> {
    let sql = format!("SELECT 1 FROM pg_catalog.pg_database WHERE datname = {}", literal(name));
    Ok(!ask(server, spec, server.maintenance(), &sql)?.is_empty())
}

/// Returns whether a text has its own order only: not one that passes over blanks, as `character` does, nor one that has no
/// collation. What a domain is made of its name does not say.
fn is_plain(type_text: &str) -> bool {
    matches!(type_text, "text" | "name" | "character varying") || type_text.starts_with("character varying(")
}

/// Begins a view of tables that nobody can alter, empty or remove before it ends: whoever had a view of an older moment
/// would find no rows in what was emptied or written anew.
fn begin(session: &mut Session<'_>, spec: &PostgresSpec) -> Result<(), SourceError> {
    let mut tries = 0;
    loop {
        let there = catalog::tables(session, &spec.schemas)?;
        session.run("begin the view", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        // Locks come before the moment, which is that of the first question.
        match lock(session, spec, &there) {
            Ok(()) => {
                let mut new = catalog::tables(session, &spec.schemas)?;
                new.retain(|table| !there.iter().any(|old| old.name == table.name));
                return Ok(lock(session, spec, &new)?);
            }
            // One was removed in between.
            Err(super::PostgresError::Refused { state, .. }) if state == "42P01" && tries < 3 => {
                tries += 1;
                session.run("begin the view", "ROLLBACK")?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Keeps tables as they are until the view ends.
fn lock(
    session: &mut Session<'_>,
    spec: &PostgresSpec,
    tables: &[catalog::Known],
) -> Result<(), super::PostgresError> {
    let wanted = |table: &&catalog::Known| {
        key_of(&table.name).is_some_and(|(schema, name)| spec.takes(&schema, &name))
    };
    let wanted: Vec<String> =
        tables.iter().filter(wanted).map(|table| format!("ONLY {}", path(&table.name))).collect();
    for some in wanted.chunks(500) {
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", some.join(", "));
        session.run("lock the tables", &sql)?;
    }
    Ok(())
}

/// A view of a database.
pub struct PostgresRecords<'a> {
    spec: PostgresSpec,
    server: Server<'a>,
    session: Session<'a>,
    definitions: Definitions,
    /// Whether text of the database compares by its bytes.
    is_bytewise: bool,
    /// Whether text sorted by its bytes there is so here.
    has_order: bool,
    facts: Vec<(String, String)>,
}

impl<'a> PostgresRecords<'a> {
    /// Connects, and begins the view.
    pub fn open(spec: &PostgresSpec, world: World<'a>) -> Result<Self, SourceError> {
        let (server, mut session) = connect(spec, world)?;
        begin(&mut session, spec)?;
        let about = session.ask(
            "look at the database",
            "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype, pg_catalog.pg_get_userbyid(datdba) \
             FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
        )?;
        let row = about.into_iter().next().unwrap_or_default();
        let facts: Vec<(String, String)> = ["encoding", "collate", "ctype", "owner"]
            .iter()
            .enumerate()
            .map(|(at, fact)| ((*fact).to_owned(), text(&row, at).to_owned()))
            .collect();
        Ok(Self {
            spec: spec.clone(),
            server,
            session,
            definitions: Definitions::default(),
            is_bytewise: matches!(text(&row, 1), "C" | "POSIX"),
            // Others have orders of their own, which are lost when text is written as UTF-8.
            has_order: matches!(text(&row, 0), "UTF8" | "SQL_ASCII" | "LATIN1"),
            facts,
        })
    }

    /// Asks `pg_dump` for what makes everything, in this very view.
    fn define(&mut self) -> Result<(), RecordError> {
        let mut known = Belongings::default();
        for table in catalog::tables(&mut self.session, &[])? {
            let role = match (table.is_partitioned, table.is_parent) {
                (true, _) => Role::Roof,
                (false, true) => Role::Parent,
                (false, false) => Role::Single,
            };
            known.tables.extend(key_of(&table.name).map(|key| (key, role)));
        }
        for row in self.session.ask("look at the database", BELONGINGS).map_err(engine)? {
            let pair = |at| (text(&row, at).to_owned(), text(&row, at + 1).to_owned());
            known.of_table.insert(pair(0), pair(2));
        }
        let view =
            self.session.ask("share the view", "SELECT pg_catalog.pg_export_snapshot()").map_err(engine)?;
        let view = view.first().map(|row| text(row, 0).to_owned()).unwrap_or_default();
        let text = self.schema_only(&view, &known)?;
        self.definitions = Definitions::of(&text, &known).ok_or_else(|| RecordError::Unsupported {
            what: "a database whose definition pg_dump does not tell to its end".into(),
        })?;
        Ok(())
    }

    fn schema_only(&self, view: &str, known: &Belongings) -> Result<String, RecordError> {
        let failed = |error: SourceError| {
            RecordError::engine("ask pg_dump what makes the tables", error.kind(), error)
        };
        let Databases::One(database) = &self.spec.databases else { return Ok(String::new()) };
        let mut words = Vec::new();
        if !self.spec.is_whole() {
            // By their names: what is not there is told as absent, and is no error.
            let taken = known.tables.keys().filter(|(schema, table)| self.spec.takes(schema, table));
            words.extend(taken.map(|(schema, table)| format!("--table={}.{}", name(schema), name(table))));
            if words.is_empty() {
                return Ok(ddl::EMPTY.to_owned());
            }
        }
        words.push("--schema-only".into());
        words.push("--encoding=UTF8".into());
        words.push(format!("--snapshot={view}"));
        let client = self.server.client("pg_dump", database, words).map_err(failed)?;
        let (program, world) = (client.program().clone(), self.server.world());
        let limits = Limits { total: None, idle: Some(self.spec.idle_limit) };
        let captured = client.output(world.around, limits, world.cancelled, MAX_DEFINITIONS);
        let captured = captured.map_err(|error| failed(error.into()))?;
        captured.finished.success(&program).map_err(|error| failed(error.into()))?;
        Ok(String::from_utf8_lossy(&captured.stdout).into_owned())
    }

    /// Returns what sets the sequences, and fills the views that hold rows.
    fn last(&mut self) -> Result<Vec<Object>, RecordError> {
        let mut objects = Vec::new();
        for row in self.session.ask("list the sequences", SEQUENCES).map_err(engine)? {
            let (schema, sequence) = (text(&row, 0), text(&row, 1));
            let sql = format!("SELECT last_value, is_called FROM {}.{}", name(schema), name(sequence));
            let value =
                self.session.ask(&format!("read sequence {schema}.{sequence}"), &sql).map_err(engine)?;
            let value = value.first().cloned().unwrap_or_default();
            objects.push(ddl::sequence(schema, sequence, text(&value, 0), text(&value, 1) == "t"));
        }
        for row in self.session.ask("list the views", VIEWS).map_err(engine)? {
            let (schema, view) = (text(&row, 0), text(&row, 1));
            let (kind, named) = ("MATERIALIZED VIEW DATA".to_owned(), format!("{schema}.{view}"));
            let ddl = format!("REFRESH MATERIALIZED VIEW {}.{};", name(schema), name(view));
            objects.push(Object { kind, name: named, ddl });
        }
        Ok(objects)
    }

    /// Returns how a column of a key is compared so that rows come as their encoded keys stand.
    fn ordered(&self, column: &Column) -> String {
        let quoted = name(&column.name);
        // By the text that is stored, with the blanks that a cast would drop.
        let by_text = || format!("pg_catalog.format('%s', {quoted}) COLLATE pg_catalog.\"C\"");
        match column.class {
            TypeClass::Bool
            | TypeClass::Integer
            | TypeClass::Decimal
            | TypeClass::Float
            | TypeClass::Bytes => quoted,
            TypeClass::Text if !is_plain(&column.type_text) => by_text(),
            TypeClass::Text if self.is_bytewise && column.collation.is_none() => quoted,
            TypeClass::Text => format!("{quoted} COLLATE pg_catalog.\"C\""),
            _ => by_text(),
        }
    }
}

impl RecordSource for PostgresRecords<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        self.define()?;
        let mut after = self.definitions.after.clone();
        if self.spec.is_whole() {
            after.extend(self.last()?);
        }
        Ok(SourceSchema {
            engine: "postgresql".into(),
            version: self.session.version().to_owned(),
            facts: self.facts.clone(),
            before: self.definitions.before.clone(),
            after,
            absent: Vec::new(),
        })
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        let known = catalog::tables(&mut self.session, &self.spec.schemas)?;
        // A roof has no rows, and is made with what comes before the tables.
        let mut names: Vec<TableName> =
            known.into_iter().filter(|table| !table.is_partitioned).map(|table| table.name).collect();
        if self.spec.is_whole() && large::are_there(&mut self.session)? {
            names.push(large::name()?);
        }
        Ok(names)
    }

    fn table(&mut self, name: &TableName) -> Result<TableSchema, RecordError> {
        if large::is_it(name) {
            return large::table();
        }
        let found = catalog::table(&mut self.session, name)?;
        let mut table = found.ok_or_else(|| RecordError::Absent { what: format!("table {name}") })?;
        self.definitions.give(&mut table);
        Ok(table)
    }

    fn estimated_rows(&mut self, name: &TableName) -> Option<u64> {
        let sql = format!(
            "SELECT reltuples::pg_catalog.int8 FROM pg_catalog.pg_class WHERE oid = {}::pg_catalog.regclass",
            super::quote::literal(&path(name))
        );
        let rows = self.session.ask("estimate rows", &sql).ok()?;
        rows.first().and_then(|row| text(row, 0).parse().ok())
    }

    fn order(&self, _: &TableSchema) -> RowOrder {
        if self.has_order { RowOrder::Key } else { RowOrder::Any }
    }

    fn rows(
        &mut self,
        table: &TableSchema,
        condition: Option<&str>,
        each: &mut EachRow<'_>,
    ) -> Result<(), RecordError> {
        let columns: Vec<&Column> = table.row_columns().collect();
        let listed = names(columns.iter().map(|column| &column.name[..]));
        let mut sql = format!("COPY (SELECT {listed} FROM ONLY {}", path(&table.name));
        if let Some(condition) = condition {
            sql.push_str(&format!(" WHERE ({condition}\n)"));
        }
        let places = table.key_places()?;
        if large::is_it(&table.name) {
            sql = format!("COPY ({}", large::ROWS);
        } else if !places.is_empty() && self.has_order {
            let key: Vec<String> =
                places.iter().filter_map(|at| columns.get(*at)).map(|column| self.ordered(column)).collect();
            sql.push_str(&format!(" ORDER BY {}", key.join(", ")));
        }
        sql.push_str(") TO STDOUT");
        self.session.copy_out(&format!("read table {}", table.name), &sql).map_err(engine)?;
        let mut row = Vec::with_capacity(columns.len());
        while let Some(line) = self.session.copied().map_err(engine)? {
            read_row(&line, &columns, &mut row).map_err(engine)?;
            each(&row)?;
        }
        Ok(())
    }

    fn counter(&mut self, table: &TableSchema) -> Result<Option<u64>, RecordError> {
        let mut counted = table.columns.iter().filter(|column| column.filled == Filled::Counted);
        let (Some(column), None) = (counted.next(), counted.next()) else { return Ok(None) };
        let sequence = format!(
            "SELECT pg_catalog.pg_get_serial_sequence({}, {})",
            super::quote::literal(&path(&table.name)),
            super::quote::literal(&column.name)
        );
        let doing = format!("read the counter of table {}", table.name);
        let rows = self.session.ask(&doing, &sequence).map_err(engine)?;
        let Some(sequence) = rows.first().map(|row| text(row, 0)).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let sql =
            format!("SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM {sequence}");
        let rows = self.session.ask(&doing, &sql).map_err(engine)?;
        Ok(rows.first().and_then(|row| text(row, 0).parse().ok()))
    }

    fn finish(mut self: Box<Self>) -> Result<(), RecordError> {
        self.session.run("end the view", "COMMIT").map(drop).map_err(engine)
    }
}
