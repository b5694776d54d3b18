//! Migrates the tables, on one node at a time, and checks tables that another node has migrated.

use std::time::Duration;

use sqlx::{PgConnection, Row};

use crate::store::tables::Tables;

/// One migration. The version of a schema is the number of its migrations.
struct PgMigration {
    sql: &'static str,
    /// The schema version of the oldest library that works with the tables after this migration.
    works_with: i64,
    /// Created before the migration, concurrently with reads and writes.
    indexes: &'static [IndexDefinition],
}

struct IndexDefinition {
    name: &'static str,
    definition: &'static str,
}

const MIGRATIONS: [PgMigration; 2] = [
    PgMigration { sql: include_str!("1.sql"), works_with: 1, indexes: &[] },
    PgMigration { sql: include_str!("2.sql"), works_with: 1, indexes: &LISTS_AND_LIMITS },
];

/// An index for each combination of list conditions.
///
/// The leading number is unique to the index and separates revoked keys from others.
/// `text_pattern_ops` orders by bytes, as the collation does, but the planner treats it as a
/// different order. So the planner never uses one index in place of another.
const LISTS_AND_LIMITS: [IndexDefinition; 5] = [
    IndexDefinition {
        name: "api_keys_list",
        definition: "((case status when 'revoked' then 1 else 2 end), organization, id text_pattern_ops)",
    },
    IndexDefinition {
        name: "api_keys_list_of_owner",
        definition: "((case status when 'revoked' then 3 else 4 end), organization, owner_type, user_id, id text_pattern_ops)",
    },
    IndexDefinition {
        name: "api_keys_list_of_environment",
        definition: "((case status when 'revoked' then 5 else 6 end), organization, environment, id text_pattern_ops)
            where environment is not null",
    },
    IndexDefinition {
        name: "api_keys_list_of_owner_and_environment",
        definition: "((case status when 'revoked' then 7 else 8 end), organization, owner_type, user_id, environment,
            id text_pattern_ops) where environment is not null",
    },
    IndexDefinition {
        name: "api_keys_that_count_until",
        definition: "(organization, owner_type, user_id, expires_at) include (id)
            where status <> 'revoked'",
    },
];

#[allow(clippy::cast_possible_wrap, reason = "there are few")]
const VERSION: i64 = MIGRATIONS.len() as i64;

/// The id of the advisory lock, equal on all nodes, so that only one node migrates at a time.
const LOCK: i64 = 0x61_70_69_5f_6b_65_79_73;

/// The pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(50);

/// Migrates the tables. Each migration and its version are committed together. Afterwards the
/// connection has no timeouts.
pub(super) async fn run(connection: &mut PgConnection, tables: &Tables) -> Result<(), sqlx::Error> {
    // No timeout: a migration of a large table, or the wait for another node's, may be slow.
    sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = 0").execute(&mut *connection).await?;
    lock(connection).await?;
    if stored(connection, tables).await?.is_none() {
        let table = "create table if not exists api_keys_schema
            (version bigint primary key, works_with bigint not null)";
        sqlx::raw_sql(tables.sql(table)).execute(&mut *connection).await?;
    }
    let (version, works_with) = stored(connection, tables).await?.unwrap_or_default();
    check_not_too_new(version, works_with)?;
    for (number, migration) in (1..).zip(&MIGRATIONS).filter(|(number, _)| *number > version) {
        for index in migration.indexes {
            // New tables have no readers, so their indexes need not be created concurrently.
            if version > 0 {
                index.drop_invalid(connection, tables).await?;
            }
            index.create(connection, tables, if version > 0 { "concurrently" } else { "" }).await?;
        }
        sqlx::raw_sql("begin isolation level read committed").execute(&mut *connection).await?;
        sqlx::raw_sql(tables.sql(migration.sql)).execute(&mut *connection).await?;
        let done = sqlx::query(tables.sql("insert into api_keys_schema (version, works_with) values ($1, $2)"));
        done.bind::<i64>(number).bind(migration.works_with).execute(&mut *connection).await?;
        sqlx::raw_sql("commit").execute(&mut *connection).await?;
    }
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(connection).await.map(drop)
}

/// Takes the lock by polling. `create index concurrently` waits for all statements that began
/// before it, so it would deadlock with a statement that waits for this lock.
async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let lock = "select pg_try_advisory_lock($1)";
    while !sqlx::query_scalar::<_, bool>(lock).bind(LOCK).fetch_one(&mut *connection).await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

impl IndexDefinition {
    /// Drops the index if an earlier attempt to create it was interrupted.
    async fn drop_invalid(&self, connection: &mut PgConnection, tables: &Tables) -> Result<(), sqlx::Error> {
        let is_invalid =
            format!("select not indisvalid from pg_catalog.pg_index where indexrelid = to_regclass('{}')", self.name);
        let is_invalid = sqlx::query_scalar::<_, bool>(tables.sql(is_invalid)).fetch_optional(&mut *connection).await?;
        if is_invalid == Some(true) {
            let drop = format!("drop index concurrently {}", self.name);
            sqlx::raw_sql(tables.sql(drop)).execute(connection).await?;
        }
        Ok(())
    }

    async fn create(&self, connection: &mut PgConnection, tables: &Tables, how: &str) -> Result<(), sqlx::Error> {
        let create = format!("create index {how} if not exists {} on api_keys {}", self.name, self.definition);
        sqlx::raw_sql(tables.sql(create)).execute(connection).await.map(drop)
    }
}

/// Returns whether no migration is left to run. Fails if this library does not work with the
/// tables.
pub(super) async fn is_up_to_date(connection: &mut PgConnection, tables: &Tables) -> Result<bool, sqlx::Error> {
    let (version, works_with) = stored(connection, tables).await?.unwrap_or_default();
    check_not_too_new(version, works_with)?;
    Ok(version >= VERSION)
}

/// Fails unless this library works with the tables as they are.
pub(super) async fn check(connection: &mut PgConnection, tables: &Tables) -> Result<(), sqlx::Error> {
    if is_up_to_date(connection, tables).await? {
        return Ok(());
    }
    let why = format!("the API key tables are missing, or older than version {VERSION}: run the migrations");
    Err(sqlx::Error::Configuration(why.into()))
}

/// Returns the version of the tables, and the oldest version that works with them; `None` if there
/// is no version table.
async fn stored(connection: &mut PgConnection, tables: &Tables) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let exists = "select to_regclass('api_keys_schema') is not null";
    if !sqlx::query_scalar::<_, bool>(tables.sql(exists)).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let newest = "select version, works_with from api_keys_schema order by version desc limit 1";
    let row = sqlx::query(tables.sql(newest)).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(Some((0, 0))) };
    Ok(Some((row.try_get("version")?, row.try_get("works_with")?)))
}

fn check_not_too_new(version: i64, works_with: i64) -> Result<(), sqlx::Error> {
    if version > VERSION && works_with > VERSION {
        let why = format!(
            "the tables belong to a newer version of tower-api-key: their schema version {version} needs at least \
            {works_with}, and this version supports {VERSION}"
        );
        return Err(sqlx::Error::Configuration(why.into()));
    }
    Ok(())
}
