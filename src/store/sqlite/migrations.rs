//! Migrates the tables, in one process at a time, and checks tables that another process has
//! migrated.

use sqlx::{
    ConnectOptions, Connection, Row, Sqlite, SqliteConnection, SqlitePool, Transaction, error::DatabaseError,
    sqlite::SqliteConnectOptions,
};

use crate::store::{
    migration::{Migration, MigrationIndex},
    tables::{Tables, TablesError},
};

pub(super) const MIGRATIONS: [Migration; 14] = [
    migration(1, 1, include_str!("1.sql")),
    migration(2, 1, include_str!("2.sql")),
    migration(3, 3, include_str!("3.sql")),
    migration(4, 3, "").with_batch(include_str!("backfill.sql")),
    migration(5, 3, include_str!("5.sql")),
    migration(6, 3, include_str!("6.sql")),
    Migration { indexes: &SEARCHES, ..migration(7, 3, "") },
    migration(8, 3, include_str!("8.sql")),
    migration(9, 3, "").with_batch(include_str!("expired.sql")),
    migration(10, 3, include_str!("webhooks.sql")),
    migration(11, 3, include_str!("limits.sql")),
    migration(12, 3, include_str!("meters.sql")),
    migration(13, 3, include_str!("addresses.sql")),
    migration(14, 3, include_str!("roles.sql")),
];

/// By chain of replacements, and in the order of the expiry and of the name.
const SEARCHES: [MigrationIndex; 5] = [
    MigrationIndex { name: "api_keys_by_lineage", definition: "(lineage, id)" },
    MigrationIndex {
        name: "api_keys_by_expiry",
        definition: "(organization, expires_at, id) where expires_at is not null",
    },
    MigrationIndex {
        name: "api_keys_by_expiry_everywhere",
        definition: "(expires_at, id) where expires_at is not null",
    },
    MigrationIndex { name: "api_keys_by_name", definition: "(organization, name, id) where name is not null" },
    MigrationIndex { name: "api_keys_by_name_everywhere", definition: "(name, id) where name is not null" },
];

const VERSION_TABLE: &str = "create table if not exists api_keys_schema
    (version integer not null, works_with integer) strict";

/// The number of rows that one batch changes.
const BATCH: i64 = 100;

#[allow(clippy::cast_possible_wrap, reason = "there are few")]
const VERSION: i64 = MIGRATIONS.len() as i64;

/// How many times to wait for another process that migrates a large file. Each wait ends after the
/// timeout of a change.
const TURNS: u32 = 60;

/// Migrates the tables. Each index, and each batch of rows, has a transaction of its own: while it
/// runs, other processes wait. The
/// versions are in a separate table, so the file may also hold other tables.
pub(super) async fn run(writer: &SqlitePool, tables: &Tables) -> Result<(), sqlx::Error> {
    while !is_up_to_date(&mut *writer.acquire().await?, tables).await? {
        let mut change = turn(writer).await?;
        let in_steps = statements(&mut change, tables).await?;
        change.commit().await?;
        if let Some(migration) = in_steps {
            for index in migration.indexes {
                let mut change = turn(writer).await?;
                sqlx::raw_sql(tables.sql(index.create(""))).execute(&mut *change).await?;
                change.commit().await?;
            }
            if let Some(batch) = migration.batch {
                run_batches(writer, tables, batch).await?;
            }
            let mut change = turn(writer).await?;
            if stored(&mut change, tables).await? < migration.version {
                sqlx::raw_sql(tables.sql(migration.version_row())).execute(&mut *change).await?;
            }
            change.commit().await?;
        }
    }
    Ok(())
}

/// Runs the migrations up to the next one with indexes or batches, and returns that one.
async fn statements(change: &mut SqliteConnection, tables: &Tables) -> Result<Option<&'static Migration>, sqlx::Error> {
    refuse_foreign(change, tables).await?;
    sqlx::query(tables.sql(VERSION_TABLE)).execute(&mut *change).await?;
    if !has_column(change, tables, "works_with").await? {
        sqlx::query(tables.sql("alter table api_keys_schema add column works_with integer"))
            .execute(&mut *change)
            .await?;
    }
    let version = stored(change, tables).await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > version) {
        if migration.batch.is_some() || !migration.indexes.is_empty() {
            return Ok(Some(migration));
        }
        sqlx::raw_sql(tables.sql(migration.sql)).execute(&mut *change).await?;
        sqlx::raw_sql(tables.sql(migration.version_row())).execute(&mut *change).await?;
    }
    Ok(None)
}

/// Runs the batches one after the other. Other processes can write in between.
async fn run_batches(writer: &SqlitePool, tables: &Tables, batch: &'static str) -> Result<(), sqlx::Error> {
    let last = "select id from (select id from api_keys where id > ? order by id limit ?) order by id desc limit 1";
    let mut after = String::new();
    loop {
        let mut change = turn(writer).await?;
        let until = sqlx::query_scalar::<_, String>(tables.sql(last)).bind(&after).bind(BATCH);
        let until = until.fetch_optional(&mut *change).await?;
        let Some(until) = until else { return change.rollback().await };
        sqlx::query(tables.sql(batch)).bind(&after).bind(&until).execute(&mut *change).await?;
        change.commit().await?;
        after = until;
    }
}

/// Fails unless this library works with the tables as they are.
pub(super) async fn check(writer: &SqlitePool, tables: &Tables) -> Result<(), sqlx::Error> {
    if is_up_to_date(&mut *writer.acquire().await?, tables).await? {
        return Ok(());
    }
    let why = format!("the API key tables are missing, or older than version {VERSION}: run the migrations");
    Err(sqlx::Error::Configuration(why.into()))
}

/// Fails if another program has a table with the name of one of ours in the file. It reads the file
/// before any setting changes it. Other faults are left to the connections of the store.
pub(super) async fn refuse_foreign_file(options: &SqliteConnectOptions, tables: &Tables) -> Result<(), sqlx::Error> {
    let Ok(mut connection) = options.connect().await else { return Ok(()) };
    // In one snapshot: another process may migrate the tables meanwhile.
    let refused = match sqlx::raw_sql("begin").execute(&mut connection).await {
        Ok(_) => refuse_foreign(&mut connection, tables).await,
        Err(error) => Err(error),
    };
    let _ = connection.close().await;
    match refused {
        Err(sqlx::Error::Configuration(foreign)) => Err(sqlx::Error::Configuration(foreign)),
        _ => Ok(()),
    }
}

async fn refuse_foreign(connection: &mut SqliteConnection, tables: &Tables) -> Result<(), sqlx::Error> {
    let version = if has_column(connection, tables, "version").await? {
        let version = "select coalesce(max(version), 0) from api_keys_schema";
        sqlx::query_scalar(tables.sql(version)).fetch_one(&mut *connection).await?
    } else {
        let name = "api_keys_schema";
        refuse_name(connection, tables, name).await?;
        0_i64
    };
    for name in MIGRATIONS.iter().filter(|migration| migration.version > version).flat_map(Migration::created) {
        refuse_name(connection, tables, name).await?;
    }
    Ok(())
}

async fn refuse_name(connection: &mut SqliteConnection, tables: &Tables, name: &str) -> Result<(), sqlx::Error> {
    let exists = "select name from sqlite_master where name = ? collate nocase";
    let foreign = sqlx::query_scalar(exists).bind(tables.name(name)).fetch_optional(connection).await?;
    foreign.map_or(Ok(()), |name: String| Err(TablesError::Foreign(name).into()))
}

/// Begins a write transaction once no other process has one.
async fn turn(writer: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    for _ in 1..TURNS {
        match writer.begin_with("begin immediate").await {
            Err(error) if is_busy(&error) => {}
            begun => return begun,
        }
    }
    writer.begin_with("begin immediate").await
}

/// Returns whether no migration is left to run. Fails if this library does not work with the
/// tables.
async fn is_up_to_date(connection: &mut SqliteConnection, tables: &Tables) -> Result<bool, sqlx::Error> {
    if !has_column(connection, tables, "version").await? {
        return Ok(false);
    }
    Ok(has_column(connection, tables, "works_with").await? && stored(connection, tables).await? >= VERSION)
}

/// Returns the version of the tables. Fails if this library does not work with them.
async fn stored(connection: &mut SqliteConnection, tables: &Tables) -> Result<i64, sqlx::Error> {
    // Without a value of `works_with`, the tables need a library of their own version.
    let newest = "select version, coalesce(works_with, version) as works_with from api_keys_schema order by version desc limit 1";
    let row = sqlx::query(tables.sql(newest)).fetch_optional(connection).await?;
    let (version, works_with): (i64, i64) = match &row {
        Some(row) => (row.try_get("version")?, row.try_get("works_with")?),
        None => (0, 0),
    };
    if version > VERSION && works_with > VERSION {
        let why = format!(
            "the tables belong to a newer version of tower-api-key: their schema version {version} needs at least \
            {works_with}, and this version supports {VERSION}"
        );
        return Err(sqlx::Error::Configuration(why.into()));
    }
    Ok(version)
}

async fn has_column(connection: &mut SqliteConnection, tables: &Tables, name: &str) -> Result<bool, sqlx::Error> {
    let column = "select exists (select 1 from pragma_table_info('api_keys_schema') where name = ?)";
    sqlx::query_scalar(tables.sql(column)).bind(name).fetch_one(connection).await
}

const fn migration(version: i64, works_with: i64, sql: &'static str) -> Migration {
    Migration { version, works_with, indexes: &[], sql, batch: None, version_table: VERSION_TABLE }
}

/// Returns whether another process has locked the file.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    const BUSY: i32 = 5;
    let code = error.as_database_error().and_then(DatabaseError::code).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == BUSY)
}
