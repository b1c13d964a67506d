//! Dumps as `pg_dump` writes them, read as it writes.

use super::super::printed::Printed;
use super::super::{Head, Said, SourceError, World};
use super::export::{ask, has_database};
use super::programs::Server;
use super::quote::{self, literal};
use super::spec::{Databases, Form, PostgresSpec};
use crate::child::Limits;
use crate::endpoint::Running;
use std::time::Duration;

/// Returns the streams that a source consists of, rising; none if it is one.
pub(in super::super) fn list(
    spec: &PostgresSpec,
    world: World<'_>,
) -> Result<Option<Vec<String>>, SourceError> {
    let skip = match &spec.databases {
        Databases::One(_) | Databases::Roles => return Ok(None),
        Databases::Named(names) => return Ok(Some(spec.streams(names))),
        Databases::All(skip) => skip,
    };
    let server = Server::find(&spec.reach, world)?;
    let sql = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate";
    let mut names = server.ask(server.maintenance(), sql)?;
    names.retain(|name| !skip.contains(name));
    Ok(Some(spec.streams(&names)))
}

/// Asks what is known of the database, and starts.
pub(in super::super) fn start_dump<'a>(
    spec: &PostgresSpec,
    total: Option<Duration>,
    world: World<'a>,
    said: &'a mut Said<'a>,
) -> Result<Printed<Running<'a>>, SourceError> {
    let server = Server::find(&spec.reach, world)?;
    let (client, head) = match &spec.databases {
        Databases::One(name) => {
            if !has_database(&server, spec, name)? {
                return Err(SourceError::NoSuchDatabase { name: name.clone(), place: server.shown() });
            }
            (server.client("pg_dump", name, words(spec))?, head_of(&server, spec, name)?)
        }
        Databases::Roles => {
            let mut words = vec!["--globals-only"];
            if !spec.with_passwords {
                words.push("--no-role-passwords");
            }
            let head = Head {
                kind: "postgresql".into(),
                version: version(&server, spec, server.maintenance())?,
                facts: vec![("passwords".into(), spec.with_passwords.to_string())],
                ..Head::default()
            };
            (server.client("pg_dumpall", server.maintenance(), words)?, head)
        }
        Databases::Named(_) | Databases::All(_) => return Err(SourceError::Unfinished),
    };
    let limits = Limits { total, idle: Some(spec.idle_limit) };
    let running = client.stream(world.around, limits, world.cancelled, said)?;
    Ok(Printed::new(running, head))
}

/// Returns what `pg_dump` is told of what is wanted.
fn words(spec: &PostgresSpec) -> Vec<String> {
    let mut words: Vec<String> = match spec.form {
        // Text says itself how what is there is removed; an archive is asked when it is loaded.
        Form::Text => ["--format=plain", "--clean", "--if-exists"].map(String::from).to_vec(),
        Form::Archive | Form::Records => ["--format=custom", "--compress=0"].map(String::from).to_vec(),
    };
    words.push("--encoding=UTF8".into());
    words.extend(chosen(spec));
    words
}

/// Returns what `pg_dump` is told of the tables that are wanted; nothing if all are.
fn chosen(spec: &PostgresSpec) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(spec.tables.iter().map(|table| format!("--table={}", pattern(table))));
    if !spec.prefix.is_empty() {
        words.push(format!("--table={}*", pattern(&spec.prefix)));
    }
    words.extend(spec.schemas.iter().map(|schema| format!("--schema={}", quote::name(schema))));
    words.extend(spec.ignore.iter().map(|table| format!("--exclude-table={}", pattern(table))));
    words
}

/// Writes a name of a table, its schema before it or not, as a pattern that means nothing else.
fn pattern(table: &str) -> String {
    match table.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quote::name(schema), quote::name(table)),
        None => quote::name(table),
    }
}

fn version(server: &Server<'_>, spec: &PostgresSpec, database: &str) -> Result<String, SourceError> {
    let rows = ask(server, spec, database, "SHOW server_version")?;
    let version = rows.first().map_or("", |row| row.split(' ').next().unwrap_or_default());
    Ok(format!("PostgreSQL {version}"))
}

/// Returns what is known of a database before it is dumped.
fn head_of(server: &Server<'_>, spec: &PostgresSpec, name: &str) -> Result<Head, SourceError> {
    let sql = format!(
        "SELECT pg_catalog.unnest(ARRAY[pg_catalog.pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text, \
         datlocprovider::text, pg_catalog.pg_get_userbyid(datdba)::text, pg_catalog.pg_database_size(oid)::text]) \
         FROM pg_catalog.pg_database WHERE datname = {}",
        literal(name)
    );
    // The column of the provider came with version 15, the words for it were ICU's before.
    let rows = ask(server, spec, name, &sql)
        .or_else(|_| ask(server, spec, name, &sql.replace("datlocprovider::text", "'c'")))?;
    let mut rows = rows.into_iter();
    let mut facts = Vec::new();
    for fact in ["encoding", "collate", "ctype", "provider", "owner"] {
        facts.push((fact.to_owned(), rows.next().unwrap_or_default()));
    }
    Ok(Head {
        kind: "postgresql".into(),
        version: version(server, spec, name)?,
        // What it takes on disk, indexes too: for show.
        estimated_bytes: rows.next().and_then(|size| size.parse().ok()),
        facts,
        ..Head::default()
    })
}
