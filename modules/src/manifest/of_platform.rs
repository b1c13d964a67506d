//! Sources of a product's own kinds, made into sources of the database in which the product keeps them.

use super::drivers::{Driver, Format, Import, Scope};
use super::platform::{Database, Kind, Platform};
use super::sources::{Select, Source};
use super::{Manifest, sections::SectionKind};

/// Why a source of a platform's kind means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfPlatformError {
    /// The product has no such kind.
    #[error("source {source_name}: {platform} has no {driver}, as its description in platforms.d says")]
    NoKind {
        /// The source.
        source_name: String,
        /// The product.
        platform: String,
        /// The kind.
        driver: Driver,
    },
    /// Everybody's rows.
    #[error(
        "source {source_name}: {driver} of {platform} belong to no module; name those of this one by `select.keys` or `select.ids`"
    )]
    NotOwned {
        /// The source.
        source_name: String,
        /// The product.
        platform: String,
        /// The kind.
        driver: Driver,
    },
    /// Tables without names.
    #[error(
        "source {source_name}: which tables are the module's is not known; name them by `select.tables` or `select.prefix`"
    )]
    NoTables {
        /// The source.
        source_name: String,
    },
}

impl Manifest {
    /// Makes every source of a kind of the product's into one of its database, and `[settings]` into a source.
    ///
    /// # Errors
    /// The first source that means nothing.
    pub fn on_platform(&mut self, platform: &Platform) -> Result<(), OfPlatformError> {
        if !self.settings.is_empty() && self.settings_store.is_none() {
            let is_taken = self.sources.iter().any(|source| source.name == "settings");
            let name = if is_taken { "settings-of-platform" } else { "settings" };
            let mut source = plain(name, Driver::Settings);
            source.select.keys = std::mem::take(&mut self.settings);
            self.sources.push(source);
        }
        let id = self.module.id.as_str().to_owned();
        for source in self.sources.iter_mut().filter(|source| source.driver.is_of_platform()) {
            *source = resolve(source, &id, platform)?;
        }
        Ok(())
    }
}

/// Returns a source that wants everything of a kind.
fn plain(name: &str, driver: Driver) -> Source {
    Source {
        name: name.into(),
        section: SectionKind::Config,
        driver,
        phase: super::drivers::SourcePhase::Auto,
        needs: vec![],
        select: Select { own_tables: true, ..Select::default() },
        endpoint: None,
        restore_endpoint: None,
        path: None,
        dump: vec![],
        load: vec![],
        format: Format::Records,
        consistent: true,
        import: Import::Replace,
        scope: Scope::Module,
        missing_columns: super::drivers::MissingColumns::DropAndWarn,
        extra_rows: super::drivers::ExtraRows::Warn,
        transaction: true,
        row_errors: super::drivers::OnError::Fail,
        defer_constraints: false,
        refresh_statistics: false,
        timeout: None,
        batch_rows: 1000,
    }
}

fn resolve(source: &Source, module: &str, platform: &Platform) -> Result<Source, OfPlatformError> {
    let no_kind = || OfPlatformError::NoKind {
        source_name: source.name.clone(),
        platform: platform.name.clone(),
        driver: source.driver,
    };
    if source.driver == Driver::Tables {
        let database = platform.database.as_ref().filter(|_| platform.has_tables).ok_or_else(no_kind)?;
        let select = &source.select;
        if select.tables.is_empty() && select.prefix.is_empty() {
            return Err(OfPlatformError::NoTables { source_name: source.name.clone() });
        }
        let select = Select { own_tables: false, ..select.clone() };
        return Ok(at(source, database, select));
    }
    let kind = platform.kind(source.driver).ok_or_else(no_kind)?;
    let database = kind.database.as_ref().or(platform.database.as_ref()).ok_or_else(no_kind)?;
    let table = kind.table.replace("${module}", module).replace("${Module}", &capital(module));
    let Some(condition) = condition(source, kind, module, database.driver) else {
        return Err(OfPlatformError::NotOwned {
            source_name: source.name.clone(),
            platform: platform.name.clone(),
            driver: source.driver,
        });
    };
    let rows_where = if condition.is_empty() { vec![] } else { vec![(table.clone(), condition)] };
    Ok(at(source, database, Select { tables: vec![table], rows_where, ..Select::default() }))
}

/// Returns a source of a database.
fn at(source: &Source, database: &Database, mut select: Select) -> Source {
    select.databases = database.name.clone().into_iter().collect();
    Source {
        driver: database.driver,
        // An endpoint of the manifest is the module's own way in.
        endpoint: source.endpoint.clone().or_else(|| database.endpoint.clone()),
        path: database.path.clone(),
        format: Format::Records,
        select,
        ..source.clone()
    }
}

/// Returns what the rows of a module meet: empty if all rows of the table are the module's; none if that is not known.
fn condition(source: &Source, kind: &Kind, module: &str, engine: Driver) -> Option<String> {
    let (name, text) = (|text: &str| quote_name(text, engine), |text: &str| quote_text(text, engine));
    let (select, key) = (&source.select, name(&kind.key));
    let all_ids = select.ids.iter().any(|id| id == "*");
    let mut all = Vec::new();
    if let Some(owner) = &kind.owner {
        all.push(format!("{} = {}", name(owner), text(module)));
    }
    if source.driver == Driver::Tree {
        let families: Vec<String> = select
            .ids
            .iter()
            .filter(|_| !all_ids)
            .map(|family| {
                // Not LIKE: `_` and `%` mean themselves.
                let begin = format!("/{}/", family.trim_matches('/'));
                format!("substr({key}, 1, {}) = {}", begin.chars().count(), text(&begin))
            })
            .collect();
        if !families.is_empty() {
            all.push(format!("({})", families.join(" OR ")));
        }
    } else if let (Some(id), false, false) = (&kind.id, all_ids, select.ids.is_empty()) {
        all.push(one_of(&name(id), &select.ids, text));
    }
    if !select.keys.is_empty() {
        all.push(one_of(&key, &select.keys, text));
    }
    let is_own_table = kind.table.contains("${");
    match all.is_empty() && !is_own_table && !all_ids {
        true => None,
        false => Some(all.join(" AND ")),
    }
}

fn one_of(column: &str, values: &[String], text: impl Fn(&str) -> String) -> String {
    format!("{column} IN ({})", values.iter().map(|value| text(value)).collect::<Vec<_>>().join(", "))
}

fn quote_name(name: &str, engine: Driver) -> String {
    match engine {
        Driver::Mariadb | Driver::Mysql => format!("`{}`", name.replace('`', "``")),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn quote_text(text: &str, engine: Driver) -> String {
    let text = text.replace('\'', "''");
    match engine {
        // A backslash means itself everywhere else.
        Driver::Mariadb | Driver::Mysql => format!("'{}'", text.replace('\\', "\\\\")),
        _ => format!("'{text}'"),
    }
}

/// Returns an id as products write names of classes: `core` as `Core`.
fn capital(id: &str) -> String {
    let mut letters = id.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(module: &str, platform: &str) -> Result<Vec<Source>, OfPlatformError> {
        let platform =
            Platform::parse("p.toml", platform.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}"));
        let mut manifest =
            Manifest::parse("m.toml", module.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}"));
        manifest.on_platform(&platform).map(|()| manifest.sources)
    }

    const FREEPBX: &str = include_str!("../../platforms.d/freepbx.toml");
    const FREEDOMBOX: &str = include_str!("../../platforms.d/freedombox.toml");

    #[test]
    fn kinds_become_rows_of_tables() {
        let source =
            |name: &str, more: &str| format!("[[source]]\nname = {name:?}\ndriver = {name:?}\n{more}\n");
        let module = [
            "schema = 1\n[module]\nid = \"ringqueue\"\nplatform = \"freepbx\"\n".to_owned(),
            source("settings", ""),
            source("feature-codes", ""),
            source("kv", "select = { ids = [\"noid\", \"it's\\\\\"] }"),
            source("tree", "select = { ids = [\"QUEUE_1%\", \"/CW/\"] }"),
            source(
                "tables",
                "select = { tables = [\"queues_config\"] }\nendpoint = { host = \"pbx\", user = \"pbx\" }",
            ),
        ];
        let found = sources(&module.concat(), FREEPBX).unwrap();
        let condition = |at: usize| {
            let Select { tables, rows_where, .. } = &found[at].select;
            assert_eq!((tables.len(), rows_where[0].0 == tables[0]), (1, true));
            (&tables[0][..], &rows_where[0].1[..])
        };
        assert_eq!(condition(0), ("freepbx_settings", "`module` = 'ringqueue'"));
        assert_eq!(condition(1), ("featurecodes", "`modulename` = 'ringqueue'"));
        assert_eq!(condition(2), ("kvstore_FreePBX_modules_Ringqueue", "`id` IN ('noid', 'it''s\\\\')"));
        let families = "(substr(\"key\", 1, 10) = '/QUEUE_1%/' OR substr(\"key\", 1, 4) = '/CW/')";
        assert_eq!(condition(3), ("astdb", families));
        assert_eq!((found[3].driver, found[3].path.is_some()), (Driver::Sqlite, true));
        assert_eq!(found[4].select.tables, ["queues_config"]);
        assert_eq!(
            (found[0].driver, &found[0].select.databases[..]),
            (Driver::Mariadb, &["asterisk".to_owned()][..])
        );
        let hosts = |at: usize| found[at].endpoint.as_ref().and_then(|endpoint| endpoint.host.as_deref());
        assert_eq!((hosts(0), hosts(4)), (None, Some("pbx")));
    }

    #[test]
    fn nobody_takes_what_belongs_to_all() {
        let module =
            |more: &str| format!("schema = 1\n[module]\nid = \"app\"\nplatform = \"freedombox\"\n{more}");
        let found = sources(&module("[settings]\nkeys = [\"a\", \"b\"]\n"), FREEDOMBOX).unwrap();
        assert_eq!(
            found[0].select.rows_where,
            [("plinth_kvstore".to_owned(), "\"key\" IN ('a', 'b')".to_owned())]
        );
        let kv = "[[source]]\nname = \"kv\"\ndriver = \"kv\"\n";
        assert!(matches!(sources(&module(kv), FREEDOMBOX), Err(OfPlatformError::NotOwned { .. })));
        let codes = "[[source]]\nname = \"codes\"\ndriver = \"feature-codes\"\n";
        assert!(matches!(sources(&module(codes), FREEDOMBOX), Err(OfPlatformError::NoKind { .. })));
        let tables = "[[source]]\nname = \"tables\"\ndriver = \"tables\"\n";
        assert!(matches!(sources(&module(tables), FREEDOMBOX), Err(OfPlatformError::NoTables { .. })));
        let all = "[[source]]\nname = \"kv\"\ndriver = \"kv\"\nselect = { ids = [\"*\"] }\n";
        let found = sources(&module(all), FREEDOMBOX).unwrap();
        assert!(found[0].select.rows_where.is_empty());
    }

    #[test]
    fn a_description_says_where_its_data_lie() {
        let wrong = |text: &str, what: &str| {
            let text = format!("schema = 1\n[platform]\nid = \"p\"\n{text}");
            let told = Platform::parse("p.toml", text.as_bytes()).unwrap_err().to_string();
            assert!(told.contains(what), "{told}");
        };
        wrong("[settings]\ntable = \"t\"\nkey = \"k\"\n", "no database is named");
        wrong("[tables]\n", "no database is named");
        wrong("[database]\ndriver = \"redis\"\n", "has no tables");
        wrong("[database]\ndriver = \"sqlite\"\n", "lacks `path`");
        wrong("[database]\ndriver = \"mysql\"\ndatabase = \"d\"\npath = \"/x\"\n", "`path` is not for");
        wrong(
            "[database]\ndriver = \"sqlite\"\npath = \"/x\"\n[kv]\ntable = \"t_${modul}\"\nkey = \"k\"\n",
            "${module}",
        );
        wrong(
            "[database]\ndriver = \"mysql\"\ndatabase = \"d\"\nendpoint = { password = \"x\" }\n",
            "a secret",
        );
        wrong("[kv]\ntable = \"t\"\nkey = \"k\"\npath = \"/x\"\n", "its `driver` is missing");
    }
}
