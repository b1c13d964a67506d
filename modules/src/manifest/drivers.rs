//! What a source can be: drivers, forms of dumps, and what an import does.

use super::words::words;

words! {
    /// How a source is asked. Those before [`Driver::Mariadb`] are kinds of data of the platform's store.
    pub enum Driver {
        /// Settings of the platform.
        Settings = "settings",
        /// Feature codes.
        FeatureCodes = "feature-codes",
        /// Key-value store: id → key → value.
        Kv = "kv",
        /// Key tree: family → child → value.
        Tree = "tree",
        /// Tables of the platform's database, row by row.
        Tables = "tables",
        /// MariaDB.
        Mariadb = "mariadb",
        /// MySQL.
        Mysql = "mysql",
        /// PostgreSQL.
        Postgresql = "postgresql",
        /// A database in a file, in use or not.
        Sqlite = "sqlite",
        /// Redis or Valkey.
        Redis = "redis",
        /// InfluxDB, by its own backup tool.
        Influxdb = "influxdb",
        /// What a program prints.
        Command = "command",
        /// What the module's exporter sends.
        External = "external",
    }
}

words! {
    /// In what form a dump is stored.
    pub enum Format {
        /// Typed rows, or keys and values.
        Records = "records",
        /// SQL text.
        Sql = "sql",
        /// The tool's own single file.
        Custom = "custom",
        /// A directory of files.
        Directory = "directory",
        /// An archive that the tool writes.
        Archive = "archive",
    }
}

words! {
    /// When a source is dumped.
    pub enum SourcePhase {
        /// With its services running and all others of the module stopped; files are read right after.
        Auto = "auto",
        /// Before any service is stopped.
        Live = "live",
        /// After all services are stopped.
        Stopped = "stopped",
    }
}

words! {
    /// How an import treats what is there.
    pub enum Import {
        /// Clear what is declared, then load.
        Replace = "replace",
        /// Add or replace by key.
        Merge = "merge",
        /// Only add.
        Append = "append",
    }
}

words! {
    /// What `replace` clears.
    pub enum Scope {
        /// Rows and keys of this module.
        Module = "module",
        /// The tables that are loaded.
        Table = "table",
        /// The whole database.
        Database = "database",
    }
}

words! {
    /// What happens to columns that the target lacks.
    pub enum MissingColumns {
        /// Dropped, with a warning each.
        DropAndWarn = "drop+warn",
        /// The import fails.
        Fail = "fail",
    }
}

words! {
    /// What happens to rows of the target that the dump does not have.
    pub enum ExtraRows {
        /// The import fails.
        Fail = "fail",
        /// A warning.
        Warn = "warn",
    }
}

words! {
    /// Whether something goes on after an error.
    pub enum OnError {
        /// No.
        Fail = "fail",
        /// Yes; the error is noted.
        Continue = "continue",
    }
}

impl Driver {
    /// Returns whether the data are the platform's: which store that is, the platform's description says.
    pub fn is_of_platform(self) -> bool {
        self < Self::Mariadb
    }

    /// Returns whether the source is a database server, which an endpoint leads to.
    pub fn is_server(self) -> bool {
        matches!(self, Self::Mariadb | Self::Mysql | Self::Postgresql | Self::Redis | Self::Influxdb)
    }

    /// Returns the forms in which its dumps can be stored, the default first.
    pub fn formats(self) -> &'static [Format] {
        match self {
            Self::Settings | Self::FeatureCodes | Self::Kv | Self::Tree | Self::Tables => &[Format::Records],
            Self::Mariadb | Self::Mysql => &[Format::Sql, Format::Records],
            Self::Postgresql => &[Format::Custom, Format::Sql, Format::Directory, Format::Records],
            Self::Sqlite => &[Format::Custom, Format::Sql, Format::Records],
            Self::Redis | Self::Command => &[Format::Custom],
            Self::Influxdb => &[Format::Archive, Format::Directory],
            Self::External => &[Format::Records, Format::Custom],
        }
    }
}
