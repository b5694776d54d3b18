//! `[database]`: where the keys are.

use serde::Deserialize;

/// The database, and the names of its tables.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatabaseConfig {
    /// `sqlite:PATH` or `postgres://…`. `--database` and `DATABASE_URL` come first.
    pub(crate) url: Option<String>,
    /// The schema of the tables in PostgreSQL.
    pub(crate) schema: Option<String>,
    /// The prefix of the names of the tables.
    pub(crate) table_prefix: Option<String>,
}
