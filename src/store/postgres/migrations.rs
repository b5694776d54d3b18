//! Migrates the tables, on one node at a time, and checks tables that another node has migrated.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::store::{
    migration::{Migration, MigrationIndex},
    tables::{Tables, TablesError},
};

pub(super) const MIGRATIONS: [Migration; 15] = [
    migration(1, 1, include_str!("1.sql"), &[]),
    migration(2, 1, include_str!("2.sql"), &LISTS_AND_LIMITS),
    migration(3, 3, include_str!("3.sql"), &[]),
    migration(4, 3, "", &[]).with_batch(include_str!("backfill.sql")),
    migration(5, 3, include_str!("5.sql"), &[]),
    migration(6, 3, include_str!("6.sql"), &[]),
    migration(7, 3, "", &SEARCHES),
    migration(8, 3, include_str!("8.sql"), &EXPIRIES),
    migration(9, 3, "", &[]).with_batch(include_str!("expired.sql")),
    migration(10, 3, include_str!("webhooks.sql"), &[]),
    migration(11, 3, include_str!("limits.sql"), &[]),
    migration(12, 3, include_str!("meters.sql"), &[]),
    migration(13, 3, include_str!("addresses.sql"), &[]),
    migration(14, 3, include_str!("roles.sql"), &[]),
    migration(15, 3, include_str!("beat.sql"), &[]),
];

const VERSION_TABLE: &str = "create table if not exists api_keys_schema
    (version bigint primary key, works_with bigint not null)";

/// The number of rows that one batch changes. Each adds an entry to every index.
const BATCH: i64 = 25;

/// An index for each combination of list conditions.
///
/// The leading number is unique to the index and separates revoked keys from others.
/// `text_pattern_ops` orders by bytes, as the collation does, but the planner treats it as a
/// different order. So the planner never uses one index in place of another.
const LISTS_AND_LIMITS: [MigrationIndex; 5] = [
    MigrationIndex {
        name: "api_keys_list",
        definition: "((case status when 'revoked' then 1 else 2 end), organization, id text_pattern_ops)",
    },
    MigrationIndex {
        name: "api_keys_list_of_owner",
        definition: "((case status when 'revoked' then 3 else 4 end), organization, owner_type, user_id, id text_pattern_ops)",
    },
    MigrationIndex {
        name: "api_keys_list_of_environment",
        definition: "((case status when 'revoked' then 5 else 6 end), organization, environment, id text_pattern_ops)
            where environment is not null",
    },
    MigrationIndex {
        name: "api_keys_list_of_owner_and_environment",
        definition: "((case status when 'revoked' then 7 else 8 end), organization, owner_type, user_id, environment,
            id text_pattern_ops) where environment is not null",
    },
    MigrationIndex {
        name: "api_keys_that_count_until",
        definition: "(organization, owner_type, user_id, expires_at) include (id)
            where status <> 'revoked'",
    },
];

/// An index for each order of a search. Each has an expression or an operator class that no other
/// index has, so the planner never uses one in place of another: neither for a search nor, with an
/// incremental sort, for the count of a key limit.
const SEARCHES: [MigrationIndex; 5] = [
    MigrationIndex { name: "api_keys_search_lineage", definition: "(lineage, id text_pattern_ops)" },
    MigrationIndex {
        name: "api_keys_search_expiry",
        definition: "(organization, (expires_at - 0), id) where (expires_at - 0) is not null",
    },
    MigrationIndex {
        name: "api_keys_search_expiry_everywhere",
        definition: "((expires_at + 0), id) where (expires_at + 0) is not null",
    },
    MigrationIndex {
        name: "api_keys_search_name",
        definition: "(organization, (name collate \"C\"), id) where name is not null",
    },
    MigrationIndex {
        name: "api_keys_search_name_everywhere",
        definition: "(((name || '') collate \"C\"), id) where name is not null",
    },
];

/// The keys whose expiry has no event yet.
const EXPIRIES: [MigrationIndex; 1] = [MigrationIndex {
    name: "api_keys_to_expire",
    definition: "(expires_at)
            where expires_at is not null and expiry_recorded is distinct from expires_at and status <> 'revoked'",
}];

#[allow(clippy::cast_possible_wrap, reason = "there are few")]
const VERSION: i64 = MIGRATIONS.len() as i64;

/// The id of the advisory lock, equal on all nodes, so that only one node migrates at a time.
const LOCK: i64 = 0x61_70_69_5f_6b_65_79_73;

/// The pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(50);

/// Migrates the tables. Each migration and its version are committed together. Afterwards the
/// connection has no timeouts.
pub(super) async fn run(
    connection: &mut PgConnection,
    tables: &Tables,
    create_schema: bool,
) -> Result<(), sqlx::Error> {
    // No timeout: a migration of a large table, or the wait for another node's, may be slow.
    sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = 0").execute(&mut *connection).await?;
    lock(connection).await?;
    if let Some(schema) = tables.schema() {
        ensure_schema(connection, schema, create_schema).await?;
    }
    let stored = stored(connection, tables).await?;
    let (version, works_with) = stored.unwrap_or_default();
    check_not_too_new(version, works_with)?;
    refuse_foreign(connection, tables, version).await?;
    if stored.is_none() {
        sqlx::raw_sql(tables.sql(VERSION_TABLE)).execute(&mut *connection).await?;
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > version) {
        for index in migration.indexes {
            // New tables have no readers, so their indexes need not be created concurrently.
            if version > 0 {
                drop_invalid(index, connection, tables).await?;
            }
            let create = index.create(if version > 0 { "concurrently " } else { "" });
            sqlx::raw_sql(tables.sql(create)).execute(&mut *connection).await?;
        }
        if let Some(batch) = migration.batch {
            run_batches(connection, tables, batch).await?;
        }
        sqlx::raw_sql("begin isolation level read committed").execute(&mut *connection).await?;
        sqlx::raw_sql(tables.sql(migration.sql)).execute(&mut *connection).await?;
        sqlx::raw_sql(tables.sql(migration.version_row())).execute(&mut *connection).await?;
        sqlx::raw_sql("commit").execute(&mut *connection).await?;
    }
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(connection).await.map(drop)
}

/// Runs the batches one after the other, each in a transaction of its own.
async fn run_batches(connection: &mut PgConnection, tables: &Tables, batch: &'static str) -> Result<(), sqlx::Error> {
    let last = "select max(id collate \"C\") from (select id from api_keys where id > $1 order by id limit $2) as rows";
    let mut after = String::new();
    loop {
        let until = tables.query_scalar::<Option<String>>(last).bind(&after).bind(BATCH);
        let Some(until) = until.fetch_one(&mut *connection).await? else { return Ok(()) };
        tables.query(batch).bind(&after).bind(&until).execute(&mut *connection).await?;
        after = until;
    }
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

async fn ensure_schema(connection: &mut PgConnection, schema: &str, create: bool) -> Result<(), sqlx::Error> {
    // `create schema if not exists` needs a permission even if the schema exists.
    let exists = "select exists (select from pg_catalog.pg_namespace where nspname = $1)";
    if sqlx::query_scalar(exists).bind(schema).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    if !create {
        return Err(TablesError::NoSchema(schema.to_owned()).into());
    }
    let create = AssertSqlSafe(format!("create schema \"{schema}\""));
    sqlx::raw_sql(create).execute(connection).await.map(drop)
}

/// Fails if another program has a table with the name of one that a migration would create.
async fn refuse_foreign(connection: &mut PgConnection, tables: &Tables, version: i64) -> Result<(), sqlx::Error> {
    let pending = MIGRATIONS.iter().filter(|migration| migration.version > version);
    let names: Vec<String> = pending.flat_map(Migration::created).map(|name| tables.name(name)).collect();
    let foreign = "select name
        from (select format('%I.%I', coalesce($1::text, current_schema()::text), created) from unnest($2::text[]) as created)
            as names (name)
        where to_regclass(name) is not null limit 1";
    let foreign = tables.query_scalar(foreign).bind(tables.schema()).bind(names).fetch_optional(connection).await?;
    foreign.map_or(Ok(()), |name: String| Err(TablesError::Foreign(name).into()))
}

/// Drops the index if an earlier attempt to create it was interrupted.
async fn drop_invalid(
    index: &MigrationIndex,
    connection: &mut PgConnection,
    tables: &Tables,
) -> Result<(), sqlx::Error> {
    let is_invalid =
        format!("select not indisvalid from pg_catalog.pg_index where indexrelid = to_regclass('{}')", index.name);
    let is_invalid = tables.query_scalar(is_invalid).fetch_optional(&mut *connection).await?;
    if is_invalid == Some(true) {
        let drop = format!("drop index concurrently {}", index.name);
        sqlx::raw_sql(tables.sql(drop)).execute(connection).await?;
    }
    Ok(())
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
    if stored(connection, tables).await?.is_none() {
        refuse_foreign(connection, tables, 0).await?;
    }
    let why = format!("the API key tables are missing, or older than version {VERSION}: run the migrations");
    Err(sqlx::Error::Configuration(why.into()))
}

/// Returns the version of the tables, and the oldest version that works with them; `None` if there
/// is no version table.
async fn stored(connection: &mut PgConnection, tables: &Tables) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let columns = "select count(attname) from pg_catalog.pg_class left join pg_catalog.pg_attribute
        on attrelid = pg_class.oid and attname in ('version', 'works_with') and not attisdropped
        where pg_class.oid = to_regclass('api_keys_schema') group by pg_class.oid";
    match tables.query_scalar::<i64>(columns).fetch_optional(&mut *connection).await? {
        None => return Ok(None),
        Some(2) => {}
        Some(_) => return Err(TablesError::Foreign(tables.name("api_keys_schema")).into()),
    }
    let newest = "select version, works_with from api_keys_schema order by version desc limit 1";
    let row = tables.query(newest).fetch_optional(connection).await?;
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

const fn migration(version: i64, works_with: i64, sql: &'static str, indexes: &'static [MigrationIndex]) -> Migration {
    Migration { version, works_with, indexes, sql, batch: None, version_table: VERSION_TABLE }
}
