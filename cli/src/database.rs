//! The database of the keys: `sqlite:PATH` or `postgres://…`.

use std::{fmt, path::PathBuf};

use tower_api_key::{
    KeyManager,
    manage::KeyManagerBuilder,
    store::{PostgresStore, PostgresStoreBuilder, SqliteStore, SqliteStoreBuilder},
};

use crate::{
    config::DatabaseConfig,
    exit::{Failure, chain},
};

/// Where the keys are. `Debug` has no password.
pub(crate) enum Address {
    Sqlite(PathBuf),
    Postgres(String),
}

/// An open database.
pub(crate) enum Database {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// Whether the tables may be created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// They must be there, and up to date.
    Use,
    /// Missing ones are created, older ones migrated.
    Migrate,
}

// === impl Address ===

impl Address {
    /// Reads the address: from the argument or the environment, otherwise from the configuration.
    pub(crate) fn read(argument: Option<String>, config: &DatabaseConfig) -> Result<Self, Failure> {
        let Some(url) = argument.filter(|url| !url.is_empty()).or_else(|| config.url.clone()) else {
            let why = "no database: set --database or DATABASE_URL to sqlite:PATH or postgres://USER@HOST/NAME";
            return Err(Failure::Usage(why.to_owned()));
        };
        let usage = |why: &str| Err(Failure::Usage(why.to_owned()));
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" | ":memory:" => usage("sqlite: needs the path of a file, such as sqlite:keys.db"),
                path if path.contains("://") => usage("a sqlite: address is a path, such as sqlite:keys.db"),
                path if path.contains('?') => usage("a sqlite: address is a path, without parameters after a `?`"),
                path => Ok(Self::Sqlite(path.into())),
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url));
        }
        // Not repeated: what follows may be a password.
        usage("a database is sqlite:PATH or postgres://USER@HOST/NAME")
    }

    /// Returns the password of the address.
    pub(crate) fn password(&self) -> Option<&str> {
        let Self::Postgres(url) = self else { return None };
        let (_, rest) = url.split_once("://")?;
        let before_parameters = rest.split(['?', '#']).next()?;
        let in_login = || before_parameters.rsplit_once('@')?.0.split_once(':').map(|(_, password)| password);
        let parameter = || rest.split(['?', '&']).find_map(|parameter| parameter.strip_prefix("password="));
        in_login().or_else(parameter).filter(|password| !password.is_empty())
    }

    /// Opens the database.
    pub(crate) async fn open(&self, config: &DatabaseConfig, tables: Tables) -> Result<Database, Failure> {
        let opened = match self {
            Self::Sqlite(path) => {
                if tables == Tables::Use && !path.exists() {
                    return Err(Failure::Database(format!(
                        "there is no file {}: create it with `tower-api-key migrate`",
                        path.display()
                    )));
                }
                if config.schema.is_some() {
                    return Err(Failure::Usage("[database]: SQLite has no `schema`".to_owned()));
                }
                let builder = SqliteStore::builder(path);
                let builder = config.table_prefix.iter().fold(builder, SqliteStoreBuilder::table_prefix);
                let opened = if tables == Tables::Migrate { builder.open().await } else { builder.connect().await };
                opened.map(Database::Sqlite)
            }
            Self::Postgres(url) => {
                let builder = PostgresStore::builder(url).connections(4);
                let builder = config.schema.iter().fold(builder, PostgresStoreBuilder::schema);
                let builder = config.table_prefix.iter().fold(builder, PostgresStoreBuilder::table_prefix);
                let opened = if tables == Tables::Migrate { builder.open().await } else { builder.connect().await };
                opened.map(Database::Postgres)
            }
        };
        opened.map_err(|error| {
            let why = chain(&error);
            let hint = if why.contains("run the migrations") { ", with `tower-api-key migrate`" } else { "" };
            Failure::Database(format!("cannot use the database {self}: {why}{hint}"))
        })
    }
}

/// The address without its password and without its parameters.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                // The login ends at the last `@` before the path; a password may contain one.
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                let rest = rest.split(['?', '#']).next().unwrap_or_default();
                let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
                let (host, is_login) = authority.rsplit_once('@').map_or((authority, false), |(_, host)| (host, true));
                let port = host.rsplit_once(':').map_or("", |(_, port)| port);
                // Without a login, what looks like a port may be a password without its host.
                if name.contains('@') || (!is_login && !port.bytes().all(|byte| byte.is_ascii_digit())) {
                    return f.write_str("postgres://…");
                }
                write!(f, "postgres://{host}/{name}")
            }
        }
    }
}

// === impl Database ===

impl Database {
    /// Begins a manager of the keys.
    pub(crate) fn manager(&self) -> KeyManagerBuilder {
        match self {
            Self::Sqlite(store) => KeyManager::builder(store.clone()),
            Self::Postgres(store) => KeyManager::builder(store.clone()),
        }
    }

    /// Returns the newest version of the tables that this program knows.
    pub(crate) fn version(&self) -> i64 {
        let migrations = match self {
            Self::Sqlite(_) => SqliteStore::MIGRATIONS,
            Self::Postgres(_) => PostgresStore::MIGRATIONS,
        };
        migrations.last().map_or(0, |migration| migration.version)
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, Failure> {
        Address::read(Some(url.to_owned()), &DatabaseConfig::default())
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown, password) in [
            ("postgres://u:p%40x@db/keys?sslmode=require", "postgres://db/keys", Some("p%40x")),
            ("postgres://u:a@b@db:5/keys", "postgres://db:5/keys", Some("a@b")),
            ("postgresql://u@db/keys", "postgres://db/keys", None),
            ("postgres://u:p@a:5432,b:5433/keys?port=1", "postgres://a:5432,b:5433/keys", Some("p")),
            ("postgres:///keys?host=a,b&password=p", "postgres:///keys", Some("p")),
            ("postgres://db/keys?sslmode=require&password=x", "postgres://db/keys", Some("x")),
            ("postgres://u@127.0.0.1:1/db?password=top@secret", "postgres://127.0.0.1:1/db", Some("top@secret")),
            ("postgres://u:topsecret", "postgres://…", None),
            ("postgres://u:topsecret/db", "postgres://…", None),
            ("postgres://u:to/p@secret@db/keys", "postgres://…", Some("to/p@secret")),
            ("sqlite://keys.db", "sqlite:keys.db", None),
            ("sqlite:/var/keys.db", "sqlite:/var/keys.db", None),
        ] {
            let address = read(url).unwrap();
            assert_eq!((address.to_string().as_str(), address.password()), (shown, password), "{url}");
        }
    }

    #[test]
    fn another_address_is_refused_and_not_repeated() {
        for url in [
            "mysql://u:secret@db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=secret",
            "sqlite:postgres://u:secret@h/db",
            "secret",
        ] {
            let Err(Failure::Usage(why)) = read(url) else { panic!("{url}") };
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
