//! The tables, brought up to date by one node at a time, and what a node needs of tables that it did not make.

use sqlx::{PgConnection, Row};

/// One step. The version of a schema is the number of its steps.
struct Migration {
    sql: &'static str,
    /// The oldest version whose library still works with the tables after this step.
    works_with: i64,
}

const MIGRATIONS: [Migration; 1] = [Migration { sql: include_str!("1.sql"), works_with: 1 }];

#[allow(clippy::cast_possible_wrap, reason = "there are few")]
const VERSION: i64 = MIGRATIONS.len() as i64;

/// Any number, the same in every node: only one node migrates at a time.
const LOCK: i64 = 0x61_70_69_5f_6b_65_79_73;

/// Brings the tables up to date. Each step happens with its version, or not at all.
pub(super) async fn run(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // A step over a large table, or the wait for another node's, takes what it takes.
    let begin = "begin isolation level read committed; set local statement_timeout = 0; set local lock_timeout = 0";
    sqlx::raw_sql(begin).execute(&mut *connection).await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    if stored(connection).await?.is_none() {
        let table = "create table if not exists api_keys_schema
            (version bigint primary key, works_with bigint not null)";
        sqlx::raw_sql(table).execute(&mut *connection).await?;
    }
    let (version, works_with) = stored(connection).await?.unwrap_or_default();
    check_not_too_new(version, works_with)?;
    for (number, migration) in (1..).zip(&MIGRATIONS).filter(|(number, _)| *number > version) {
        sqlx::raw_sql(migration.sql).execute(&mut *connection).await?;
        let done = sqlx::query("insert into api_keys_schema (version, works_with) values ($1, $2)");
        done.bind::<i64>(number).bind(migration.works_with).execute(&mut *connection).await?;
    }
    sqlx::raw_sql("commit").execute(connection).await?;
    Ok(())
}

/// Whether nothing is left to do. Tables that this library cannot work with are an error.
pub(super) async fn is_up_to_date(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (version, works_with) = stored(connection).await?.unwrap_or_default();
    check_not_too_new(version, works_with)?;
    Ok(version >= VERSION)
}

/// Whether this library can work with the tables as they are.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if is_up_to_date(connection).await? {
        return Ok(());
    }
    let why = format!("the tables of the keys are missing, or older than version {VERSION}: run the migrations");
    Err(sqlx::Error::Configuration(why.into()))
}

/// The version of the tables, and the oldest one that works with them; `None` where there is not even a table of versions.
async fn stored(connection: &mut PgConnection) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let there = "select to_regclass('api_keys_schema') is not null";
    if !sqlx::query_scalar::<_, bool>(there).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let newest = "select version, works_with from api_keys_schema order by version desc limit 1";
    let row = sqlx::query(newest).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(Some((0, 0))) };
    Ok(Some((row.try_get("version")?, row.try_get("works_with")?)))
}

fn check_not_too_new(version: i64, works_with: i64) -> Result<(), sqlx::Error> {
    if version > VERSION && works_with > VERSION {
        let why =
            format!("the database belongs to a newer version of tower-api-key: {version}, and this one is {VERSION}");
        return Err(sqlx::Error::Configuration(why.into()));
    }
    Ok(())
}
