//! What makes tables and everything around them: the text of `pg_dump --schema-only`, cut at its headings.
//!
//! `pg_dump` knows every kind of thing there is, in the order in which they can be made. Records want them in three
//! places: before the tables, with a table, after all tables. So tables that others inherit from come first, whatever
//! belongs to one table goes with it, and foreign keys, views and the like come last.

use super::quote::{self, literal};
use crate::records::{Object, TableName, TableSchema};
use std::collections::BTreeMap;

/// What ends the text.
const END: &str = "\n--\n-- PostgreSQL database dump complete\n";

/// The text of a database without anything.
pub(super) const EMPTY: &str = END;

/// One thing, as `pg_dump` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: String,
    schema: String,
    name: String,
    ddl: String,
}

/// What is known of tables, to find out what belongs to which.
#[derive(Default)]
pub(super) struct Belongings {
    /// Tables, and what they are to others.
    pub tables: BTreeMap<(String, String), Role>,
    /// Sequences and indexes, by schema and name: their table.
    pub of_table: BTreeMap<(String, String), (String, String)>,
}

/// What a table is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Single,
    /// Others inherit from it.
    Parent,
    /// A roof over its partitions, without rows.
    Roof,
}

/// What makes a source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Definitions {
    /// Before the tables.
    pub before: Vec<Object>,
    /// After all tables.
    pub after: Vec<Object>,
    /// With each table: the statements that make it, and what comes after its rows.
    tables: BTreeMap<(String, String), (String, Vec<Object>)>,
}

impl Definitions {
    /// Sorts the text of `pg_dump --schema-only`. `None` if it is not whole.
    pub(super) fn of(text: &str, known: &Belongings) -> Option<Self> {
        let (text, _) = text.split_once(END)?;
        let mut all = Self::default();
        for entry in entries(text) {
            let table = table_of(&entry, known);
            let object = |entry: Entry| Object {
                name: match &entry.schema[..] {
                    "-" => entry.name,
                    schema => format!("{schema}.{}", entry.name),
                },
                kind: entry.kind,
                ddl: entry.ddl,
            };
            match (place(&entry), table) {
                (Place::Table, Some(table)) if known.tables.get(&table) == Some(&Role::Single) => {
                    let made = &mut all.tables.entry(table).or_default().0;
                    made.push_str(&entry.ddl);
                    made.push('\n');
                }
                (Place::Table, Some(table)) => {
                    // Also with the table itself, where only that is made.
                    if known.tables.get(&table) == Some(&Role::Parent) {
                        let made = &mut all.tables.entry(table).or_default().0;
                        made.push_str(&entry.ddl);
                        made.push('\n');
                    }
                    all.before.push(object(entry));
                }
                (Place::Before, _) => all.before.push(object(entry)),
                (Place::AfterTable, Some(table)) if known.tables.get(&table) != Some(&Role::Roof) => {
                    all.tables.entry(table).or_default().1.push(object(entry))
                }
                (Place::Table | Place::AfterTable | Place::After, _) => all.after.push(object(entry)),
            }
        }
        Some(all)
    }

    /// Gives a table its own.
    pub(super) fn give(&self, table: &mut TableSchema) {
        let [schema, name] = table.name.parts() else { return };
        if let Some((create, after)) = self.tables.get(&(schema.clone(), name.clone())) {
            table.create.clone_from(create);
            table.after.clone_from(after);
        }
    }
}

/// Where a thing belongs.
enum Place {
    Before,
    Table,
    AfterTable,
    After,
}

fn place(entry: &Entry) -> Place {
    match &entry.kind[..] {
        "TABLE" | "DEFAULT" | "SEQUENCE OWNED BY" | "TABLE ATTACH" => Place::Table,
        // That of an identity column is made by altering the table.
        "SEQUENCE" if entry.ddl.starts_with("ALTER TABLE") => Place::Table,
        "COMMENT" | "ACL" if entry.name.starts_with("TABLE ") || entry.name.starts_with("COLUMN ") => {
            Place::Table
        }
        "CONSTRAINT" | "INDEX" | "TRIGGER" | "RULE" | "POLICY" | "ROW SECURITY" | "CHECK CONSTRAINT" => {
            Place::AfterTable
        }
        "FK CONSTRAINT" | "INDEX ATTACH" | "STATISTICS" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE"
        | "DEFAULT ACL" | "EVENT TRIGGER" | "PUBLICATION" | "PUBLICATION TABLE" | "SUBSCRIPTION"
        | "COMMENT" | "ACL" => Place::After,
        _ => Place::Before,
    }
}

/// Returns the table that a thing belongs to, if it is one of those that are dumped.
fn table_of(entry: &Entry, known: &Belongings) -> Option<(String, String)> {
    let named = |name: &str| {
        let key = (entry.schema.clone(), name.to_owned());
        known.tables.contains_key(&key).then_some(key)
    };
    // An index may be that of a view that holds rows.
    let other = || {
        let table = known.of_table.get(&(entry.schema.clone(), entry.name.clone()));
        table.filter(|table| known.tables.contains_key(table)).cloned()
    };
    match &entry.kind[..] {
        "TABLE" | "TABLE ATTACH" | "ROW SECURITY" => named(&entry.name),
        "SEQUENCE" | "SEQUENCE OWNED BY" | "INDEX" => other(),
        "COMMENT" | "ACL" => match entry.name.strip_prefix("TABLE ") {
            Some(table) => named(table),
            None => entry.name.strip_prefix("COLUMN ").and_then(|name| longest(name, '.', &named)),
        },
        _ => longest(&entry.name, ' ', &named),
    }
}

/// Returns the table whose name, with `end` after it, begins a text: the longest, as names may have both in them.
fn longest(
    text: &str,
    end: char,
    named: &dyn Fn(&str) -> Option<(String, String)>,
) -> Option<(String, String)> {
    text.rmatch_indices(end).find_map(|(at, _)| named(&text[..at]))
}

/// Cuts the text at its headings.
fn entries(text: &str) -> Vec<Entry> {
    const BEGIN: &str = "\n--\n-- Name: ";
    let mut entries: Vec<Entry> = Vec::new();
    // Where the text of the last one begins, and where the next heading is looked for.
    let (mut begun, mut from) = (0, 0);
    while let Some(found) = text[from..].find(BEGIN) {
        let at = from + found;
        let line_at = at + "\n--\n".len();
        let line_end = text[line_at..].find('\n').map_or(text.len(), |len| line_at + len);
        let heading = head(&text[line_at..line_end]).filter(|_| text[line_end..].starts_with("\n--\n"));
        // Others stand within a function's text, say.
        if let Some(entry) = heading {
            if let Some(last) = entries.last_mut() {
                // Its own heading may end where the next one begins.
                text.get(begun..at).unwrap_or_default().trim_matches('\n').clone_into(&mut last.ddl);
            }
            entries.push(entry);
            begun = line_end + "\n--\n".len();
        }
        // The line end after a heading may begin the next one.
        from = line_end;
    }
    if let Some(last) = entries.last_mut() {
        text.get(begun..).unwrap_or_default().trim_matches('\n').clone_into(&mut last.ddl);
    }
    entries.retain(|entry| !entry.ddl.is_empty());
    entries
}

/// Reads `-- Name: item; Type: TABLE; Schema: public; Owner: app`; the name may hold anything but line ends.
fn head(line: &str) -> Option<Entry> {
    let line = line.strip_prefix("-- Name: ")?;
    let (line, _owner) = line.rsplit_once("; Owner: ")?;
    let (line, schema) = line.rsplit_once("; Schema: ")?;
    let (name, kind) = line.rsplit_once("; Type: ")?;
    Some(Entry { kind: kind.into(), schema: schema.into(), name: name.into(), ddl: String::new() })
}

/// Returns the statement that sets a sequence, and what to call it.
pub(super) fn sequence(schema: &str, name: &str, value: &str, is_called: bool) -> Object {
    let path = format!("{}.{}", quote::name(schema), quote::name(name));
    Object {
        kind: SEQUENCE_SET.into(),
        name: format!("{schema}.{name}"),
        ddl: format!("SELECT pg_catalog.setval({}, {value}, {is_called});", literal(&path)),
    }
}

/// The kind of what sets a sequence.
pub(super) const SEQUENCE_SET: &str = "SEQUENCE SET";

/// Returns the key of a table.
pub(super) fn key_of(name: &TableName) -> Option<(String, String)> {
    match name.parts() {
        [schema, table] => Some((schema.clone(), table.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"--
-- PostgreSQL database dump
--

\restrict abc

SET statement_timeout = 0;

--
-- Name: mood; Type: TYPE; Schema: public; Owner: app
--

CREATE TYPE public.mood AS ENUM (
    'sad'
);


--
-- Name: item list; Type: TABLE; Schema: public; Owner: app
--

CREATE TABLE public."item list" (
    id integer NOT NULL
);


--
-- Name: COLUMN "item list".id; Type: COMMENT; Schema: public; Owner: app
--

COMMENT ON COLUMN public."item list".id IS 'x';


--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: app
--

CREATE FUNCTION public.f() RETURNS text AS $$
--
-- Name: not a heading
--
$$;


--
-- Name: item list item_pkey; Type: CONSTRAINT; Schema: public; Owner: app
--

ALTER TABLE ONLY public."item list"
    ADD CONSTRAINT item_pkey PRIMARY KEY (id);


--
-- Name: last; Type: VIEW; Schema: public; Owner: app
--

CREATE VIEW public.last AS SELECT 1;


--
-- PostgreSQL database dump complete
--

\unrestrict abc
"#;

    #[test]
    fn things_go_where_they_belong() {
        let mut known = Belongings::default();
        let key = ("public".to_owned(), "item list".to_owned());
        known.tables.insert(key, Role::Single);
        let all = Definitions::of(TEXT, &known).unwrap();
        let kinds = |objects: &[Object]| objects.iter().map(|one| one.kind.clone()).collect::<Vec<_>>();
        assert_eq!(kinds(&all.before), ["TYPE", "FUNCTION"]);
        assert!(all.before[1].ddl.contains("not a heading") && all.before[1].ddl.ends_with("$$;"));
        assert_eq!(kinds(&all.after), ["COMMENT", "VIEW"]);
        let name = TableName::new(vec!["public".into(), "item list".into()]).unwrap();
        let mut table = TableSchema::new(name, vec![], &[]);
        all.give(&mut table);
        assert!(table.create.starts_with("CREATE TABLE public.\"item list\""), "{}", table.create);
        assert_eq!(kinds(&table.after), ["CONSTRAINT"]);
        assert!(!format!("{all:?}").contains("restrict"));
        assert_eq!(Definitions::of(&TEXT[..TEXT.len() - 60], &known), None);
    }
}
