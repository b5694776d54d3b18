//! The migrations of a store's tables, as constants for tools that run migrations.

use super::tables::{Tables, TablesError};

/// One migration of the tables of a store: for those who run migrations with a tool of their own.
///
/// [MIGRATIONS.md] says how. The names in [`sql`](Self::sql) and [`indexes`](Self::indexes) are
/// those without a schema and a prefix; [`script`](Self::script) writes both.
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_api_key::store::PostgresStore;
///
/// for migration in PostgresStore::MIGRATIONS {
///     let file = format!("migrations/{:04}_api_keys.sql", migration.version);
///     std::fs::write(file, migration.script(Some("auth"), None)?)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// [MIGRATIONS.md]: https://github.com/tower-api-key/tower-api-key/blob/main/MIGRATIONS.md
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Migration {
    /// The version of the tables after this migration: 1, 2, 3, …
    pub version: i64,
    /// The version of the oldest tables whose library works with the tables after this migration.
    pub works_with: i64,
    /// The indexes to create before [`sql`](Self::sql): in PostgreSQL concurrently with reads and
    /// writes, in SQLite each in a transaction of its own.
    pub indexes: &'static [MigrationIndex],
    /// The statements, without the indexes and the version row.
    pub sql: &'static str,
    /// A statement that changes the rows with ids after its first parameter, up to its second. The
    /// store runs it for 100 rows at a time, each time in a transaction of its own, before the
    /// version row is inserted.
    pub batch: Option<&'static str>,
    /// Creates the table with the version rows.
    pub(super) version_table: &'static str,
}

/// An index that a [`Migration`] creates.
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_api_key::store::PostgresStore;
///
/// for index in PostgresStore::MIGRATIONS[1].indexes {
///     println!("{};", index.concurrently(Some("auth"), None)?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MigrationIndex {
    /// The name of the index.
    pub name: &'static str,
    /// The columns and the condition: what follows `create index … on api_keys`.
    pub definition: &'static str,
}

// === impl Migration ===

impl Migration {
    /// Returns the whole migration as one text, to run in one transaction: the version table before
    /// the first migration, the indexes that do not exist yet, the statements, the batch for all
    /// rows, and the version row.
    ///
    /// `schema` and `prefix` are those of the store, such as
    /// [`PostgresStoreBuilder::schema`](super::PostgresStoreBuilder::schema). SQLite has no schema.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_api_key::store::PostgresStore;
    ///
    /// let script = PostgresStore::MIGRATIONS[0].script(Some("auth"), Some("acme_"))?;
    /// assert!(script.contains("create table \"auth\".acme_api_keys ("));
    /// assert!(script.contains("insert into \"auth\".acme_api_keys_schema (version, works_with) values (1, 1);"));
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "postgres")]
    /// # example().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`TablesError::Schema`] or [`TablesError::Prefix`] for an invalid name.
    pub fn script(&self, schema: Option<&str>, prefix: Option<&str>) -> Result<String, TablesError> {
        let tables = Tables::new(schema, prefix)?;
        let mut script = String::new();
        if self.version == 1 {
            script.extend([self.version_table, ";\n\n"]);
        }
        for index in self.indexes {
            script.extend([&index.create(""), ";\n"]);
        }
        script.push_str(self.sql.trim_end());
        if let Some(batch) = self.batch {
            let newest = "(select max(id) from api_keys)";
            let batch = ["$", "?"].iter().fold(batch.trim_end().to_owned(), |batch, sign| {
                batch.replace(&format!("{sign}1"), "''").replace(&format!("{sign}2"), newest)
            });
            script.extend([batch.trim_end_matches(';'), ";"]);
        }
        script.extend(["\n\n", &self.version_row(), ";\n"]);
        Ok(tables.sql(script).as_str().to_owned())
    }

    pub(super) const fn with_batch(self, batch: &'static str) -> Self {
        Self { batch: Some(batch), ..self }
    }

    pub(super) fn version_row(&self) -> String {
        let Self { version, works_with, .. } = self;
        format!("insert into api_keys_schema (version, works_with) values ({version}, {works_with})")
    }

    /// Returns the tables that the migration creates.
    pub(super) fn created(&self) -> impl Iterator<Item = &'static str> {
        let after = |text: &'static str| text.trim_start_matches("if not exists ");
        let name = |text: &'static str| text.split(|c: char| c != '_' && !c.is_alphanumeric()).next();
        self.sql.split("create table ").skip(1).map(after).filter_map(name)
    }
}

// === impl MigrationIndex ===

impl MigrationIndex {
    /// Returns the statement that creates the index concurrently with reads and writes. PostgreSQL
    /// runs it only outside of a transaction.
    ///
    /// If it was interrupted, drop the invalid index that it leaves behind and run it again. See
    /// [`MigrationIndex`] for an example.
    ///
    /// # Errors
    ///
    /// [`TablesError::Schema`] or [`TablesError::Prefix`] for an invalid name.
    pub fn concurrently(&self, schema: Option<&str>, prefix: Option<&str>) -> Result<String, TablesError> {
        Ok(Tables::new(schema, prefix)?.sql(self.create("concurrently ")).as_str().to_owned())
    }

    pub(super) fn create(&self, how: &str) -> String {
        format!("create index {how}if not exists {} on api_keys {}", self.name, self.definition)
    }
}
