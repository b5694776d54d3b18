//! The schema and the prefix of a store's tables.
//!
//! The statements of a store are literal texts with the names `api_keys`, `api_keys_schema` and so
//! on. Each statement passes through [`Tables::sql`], which writes the names of this store. The
//! names of all tables, indexes, triggers and functions begin with `api_key`; nothing else does, in
//! particular no column and no alias.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use sqlx::{
    AssertSqlSafe, Database, Execute, IntoArguments, QueryBuilder, SqlSafeStr, SqlStr, database::HasStatementCache,
    query::Query,
};
use thiserror::Error;

/// The tables of a store cannot be used as they are named. A store returns it as the source of a
/// [`sqlx::Error::Configuration`].
///
/// ```
/// use tower_api_key::store::TablesError;
///
/// let error = TablesError::Prefix("Acme-".into());
/// assert!(error.to_string().starts_with("the table prefix \"Acme-\" is invalid"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TablesError {
    /// The name of the schema is not one that a store accepts.
    #[error("the schema {0:?} is invalid: use 1 to 31 characters of a-z, 0-9 and _, of which the first is not a digit")]
    Schema(String),
    /// The prefix of the tables is not one that a store accepts.
    #[error(
        "the table prefix {0:?} is invalid: use 1 to 20 characters of a-z, 0-9 and _, of which the first is not a \
        digit; it must not begin with `sqlite_` or `pg_`"
    )]
    Prefix(String),
    /// There is no schema of this name.
    #[error(
        "the schema {0:?} does not exist: create it, or let `open` do so with `PostgresStoreBuilder::create_schema`"
    )]
    NoSchema(String),
    /// A table of this name, or another object with this name, belongs to another program. Nothing
    /// was changed.
    #[error(
        "{0} exists and seems to belong to another program, since it has no version row. Set a `table_prefix` or, in \
        PostgreSQL, a `schema`; or rename it. If it belongs to tower-api-key, restore the version table: see MIGRATIONS.md"
    )]
    Foreign(String),
}

/// The names of a store's tables. Clones share the rewritten statements.
#[derive(Clone, Default)]
pub(super) struct Tables {
    named: Option<Arc<Named>>,
    /// Whether no statement has a name in its session.
    pub(super) has_unnamed_statements: bool,
}

struct Named {
    /// The name of the schema, in quotes.
    schema: Option<String>,
    prefix: String,
    /// The rewritten literal statements, each rewritten once.
    texts: RwLock<HashMap<&'static str, Arc<str>>>,
}

/// The longest name of a schema.
const SCHEMA: usize = 31;

/// The longest prefix. PostgreSQL cuts a name after 63 bytes, so no name of ours may be longer than
/// 43.
const PREFIX: usize = 20;

/// The beginning of each name.
const OURS: &str = "api_key";

/// The words before the name of a table, a function or a sequence.
const BEFORE_A_NAME: [&str; 15] = [
    "from",
    "join",
    "update",
    "into",
    "table",
    "on",
    "using",
    "function",
    "truncate",
    "references",
    "sequence",
    "to_regclass",
    "regclass",
    "nextval",
    "pg_get_serial_sequence",
];

/// The words that may stand between such a word and the name.
const BETWEEN: [&str; 5] = ["if", "not", "exists", "concurrently", "only"];

// === impl TablesError ===

impl From<TablesError> for sqlx::Error {
    fn from(error: TablesError) -> Self {
        Self::Configuration(error.into())
    }
}

// === impl Tables ===

impl Tables {
    pub(super) fn new(schema: Option<&str>, prefix: Option<&str>) -> Result<Self, TablesError> {
        if let Some(schema) = schema.filter(|schema| !is_name(schema, SCHEMA)) {
            return Err(TablesError::Schema(schema.to_owned()));
        }
        let is_bad = |prefix: &&str| {
            !is_name(prefix, PREFIX) || ["sqlite_", "pg_"].into_iter().any(|reserved| prefix.starts_with(reserved))
        };
        if let Some(prefix) = prefix.filter(is_bad) {
            return Err(TablesError::Prefix(prefix.to_owned()));
        }
        if schema.is_none() && prefix.is_none() {
            return Ok(Self::default());
        }
        let schema = schema.map(|schema| format!("\"{schema}\""));
        let prefix = prefix.unwrap_or_default().to_owned();
        Ok(Self { named: Some(Arc::new(Named { schema, prefix, texts: RwLock::default() })), ..Self::default() })
    }

    /// Returns the name of the schema, if it is set.
    #[cfg(feature = "postgres-no-tls")]
    pub(super) fn schema(&self) -> Option<&str> {
        self.named.as_ref()?.schema.as_deref().map(|quoted| quoted.trim_matches('"'))
    }

    /// Returns the name of a table with the prefix, without the schema.
    pub(super) fn name(&self, table: &str) -> String {
        format!("{}{table}", self.named.as_ref().map_or("", |named| &named.prefix))
    }

    /// Returns a statement with the names of this store's tables. A literal text is rewritten once.
    pub(super) fn sql(&self, text: impl Into<Cow<'static, str>>) -> SqlStr {
        let text = text.into();
        let Some(named) = &self.named else { return AssertSqlSafe(text).into_sql_str() };
        match text {
            Cow::Borrowed(text) => AssertSqlSafe(named.cached(text)).into_sql_str(),
            Cow::Owned(text) => AssertSqlSafe(named.rewrite(&text)).into_sql_str(),
        }
    }

    /// Returns the query that was built, with the names of this store's tables.
    pub(super) fn build<'q, D: Database + HasStatementCache>(
        &self,
        query: &'q mut QueryBuilder<D>,
    ) -> Result<Query<'q, D, D::Arguments>, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
    {
        let Some(named) = &self.named else { return Ok(query.build().persistent(!self.has_unnamed_statements)) };
        let text = AssertSqlSafe(named.rewrite(query.sql().as_str()));
        let arguments = query.build().take_arguments().map_err(sqlx::Error::Encode)?;
        Ok(sqlx::query_with(text, arguments.unwrap_or_default()).persistent(!self.has_unnamed_statements))
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sql("from api_keys").as_str().trim_start_matches("from "))
    }
}

// === impl Named ===

impl Named {
    fn cached(&self, text: &'static str) -> Arc<str> {
        if let Some(made) = self.texts.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Arc::clone(made);
        }
        let made: Arc<str> = self.rewrite(text).into();
        self.texts.write().unwrap_or_else(PoisonError::into_inner).insert(text, Arc::clone(&made));
        made
    }

    /// Writes the prefix before each name of ours and, where SQL accepts it, the schema before
    /// that. The new name of an index or a trigger takes no schema: it is that of its table.
    fn rewrite(&self, text: &str) -> String {
        let mut made = String::with_capacity(text.len() + 64);
        // The last two words, without those between a keyword and a name.
        let (mut earlier, mut last) = ("", "");
        let mut rest = text;
        while let Some(begin) = rest.find(is_of_a_word) {
            let (gap, from_word) = rest.split_at(begin);
            let (word, after) = from_word.split_at(from_word.find(|c| !is_of_a_word(c)).unwrap_or(from_word.len()));
            made.push_str(gap);
            if word.starts_with(OURS) {
                let takes_schema = BEFORE_A_NAME.contains(&last)
                    || (last == "index" && ["drop", "alter"].contains(&earlier))
                    || after.starts_with(['.', '(']);
                if let Some(schema) = self.schema.as_ref().filter(|_| takes_schema && !gap.ends_with('.')) {
                    made.push_str(schema);
                    made.push('.');
                }
                made.push_str(&self.prefix);
            }
            made.push_str(word);
            if !BETWEEN.contains(&word) {
                (earlier, last) = (last, word);
            }
            rest = after;
        }
        made.push_str(rest);
        made
    }
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name(name: &str, most: usize) -> bool {
    let is_of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=most).contains(&name.len())
        && name.bytes().all(is_of_a_name)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn writes(schema: Option<&str>, prefix: Option<&str>, text: &'static str, expected: &str) {
        let tables = Tables::new(schema, prefix).unwrap();
        assert_eq!(tables.sql(text).as_str(), expected);
        assert_eq!(tables.sql(text.to_owned()).as_str(), expected);
    }

    #[test]
    fn names_get_the_prefix_and_tables_the_schema() {
        for (text, prefixed, in_schema) in [
            ("select id from api_keys", "select id from a_api_keys", "select id from \"s\".a_api_keys"),
            (
                "update api_keys set x = api_keys.y",
                "update a_api_keys set x = a_api_keys.y",
                "update \"s\".a_api_keys set x = \"s\".a_api_keys.y",
            ),
            ("to_regclass('api_keys')", "to_regclass('a_api_keys')", "to_regclass('\"s\".a_api_keys')"),
            ("in ('api_keys_tell')", "in ('a_api_keys_tell')", "in ('a_api_keys_tell')"),
            ("from %I.api_keys_schema", "from %I.a_api_keys_schema", "from %I.a_api_keys_schema"),
            (
                "create table if not exists api_key_events ()",
                "create table if not exists a_api_key_events ()",
                "create table if not exists \"s\".a_api_key_events ()",
            ),
            (
                "create index concurrently if not exists api_keys_x on api_keys (y)",
                "create index concurrently if not exists a_api_keys_x on a_api_keys (y)",
                "create index concurrently if not exists a_api_keys_x on \"s\".a_api_keys (y)",
            ),
            (
                "drop index concurrently api_keys_x",
                "drop index concurrently a_api_keys_x",
                "drop index concurrently \"s\".a_api_keys_x",
            ),
            (
                "create trigger api_keys_t after insert on api_keys execute function api_keys_t()",
                "create trigger a_api_keys_t after insert on a_api_keys execute function a_api_keys_t()",
                "create trigger a_api_keys_t after insert on \"s\".a_api_keys execute function \"s\".a_api_keys_t()",
            ),
            (
                "enable always trigger api_keys_t",
                "enable always trigger a_api_keys_t",
                "enable always trigger a_api_keys_t",
            ),
            ("pg_notify('tower_api_key', '*')", "pg_notify('tower_api_key', '*')", "pg_notify('tower_api_key', '*')"),
        ] {
            writes(None, None, text, text);
            writes(None, Some("a_"), text, prefixed);
            writes(Some("s"), Some("a_"), text, in_schema);
        }
        writes(Some("user"), None, "select id from api_keys", "select id from \"user\".api_keys");
    }

    #[test]
    fn a_name_that_needs_care_is_refused() {
        for bad in ["", "Auth", "1st", "a-b", "a b", "a\"b", "a;b", "ä", &"a".repeat(32)] {
            assert_eq!(Tables::new(Some(bad), None).unwrap_err(), TablesError::Schema(bad.into()));
            assert_eq!(Tables::new(None, Some(bad)).unwrap_err(), TablesError::Prefix(bad.into()));
        }
        Tables::new(None, Some("sqlite_")).unwrap_err();
        Tables::new(None, Some("pg_")).unwrap_err();
        Tables::new(Some(&"a".repeat(31)), Some(&"_".repeat(20))).unwrap();
    }
}
