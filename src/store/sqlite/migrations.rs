//! Migrates the tables, in one process at a time, and checks tables that another process has
//! migrated.

use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool, Transaction, error::DatabaseError};

use crate::store::tables::Tables;

/// One migration. The version of a schema is the number of its migrations.
struct SqliteMigration {
    sql: &'static str,
    /// The schema version of the oldest library that works with the tables after this migration.
    works_with: i64,
}

const MIGRATIONS: [SqliteMigration; 2] = [
    SqliteMigration { sql: include_str!("1.sql"), works_with: 1 },
    SqliteMigration { sql: include_str!("2.sql"), works_with: 1 },
];

#[allow(clippy::cast_possible_wrap, reason = "there are few")]
const VERSION: i64 = MIGRATIONS.len() as i64;

/// How many times to wait for another process that migrates a large file. Each wait ends after the
/// timeout of a change.
const TURNS: u32 = 60;

/// Migrates the tables in one transaction. The versions are in a separate table, so the file may
/// also hold other tables.
pub(super) async fn run(writer: &SqlitePool, tables: &Tables) -> Result<(), sqlx::Error> {
    if is_up_to_date(&mut *writer.acquire().await?, tables).await? {
        return Ok(());
    }
    let mut change = turn(writer).await?;
    let table = "create table if not exists api_keys_schema
        (version integer not null, works_with integer) strict";
    sqlx::query(tables.sql(table)).execute(&mut *change).await?;
    if !has_column(&mut change, tables, "works_with").await? {
        let column = "alter table api_keys_schema add column works_with integer";
        sqlx::query(tables.sql(column)).execute(&mut *change).await?;
    }
    let version = stored(&mut change, tables).await?;
    for (number, migration) in (1..).zip(&MIGRATIONS).filter(|(number, _)| *number > version) {
        sqlx::raw_sql(tables.sql(migration.sql)).execute(&mut *change).await?;
        let done = sqlx::query(tables.sql("insert into api_keys_schema (version, works_with) values (?, ?)"));
        done.bind::<i64>(number).bind(migration.works_with).execute(&mut *change).await?;
    }
    change.commit().await
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

/// Returns whether another process has locked the file.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    const BUSY: i32 = 5;
    let code = error.as_database_error().and_then(DatabaseError::code).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == BUSY)
}
