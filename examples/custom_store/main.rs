//! Implements `KeyStore` over your own table, in `SQLite`. On Unix, start it with
//! `cargo run --example custom_store`, then run the lines that it prints.
#[cfg(all(test, feature = "testkit"))]
mod record;
#[cfg(all(test, feature = "testkit"))]
mod registry; // The write side. `record` has its test.
use std::{env, error::Error};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use sqlx::{Row, SqlitePool, sqlite::SqliteConnectOptions};
use tower_api_key::{ApiKeyLayer, KeyDigest, KeyFormat, KeyHasher, KeyRecord, KeyStore, Principal, Require};

struct Customers(SqlitePool);
#[derive(Clone)]
struct Plan(String);

impl KeyStore for Customers {
    type Error = sqlx::Error;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
        let query = sqlx::query("select id, key_sha256, plan from customers where key_sha256 = ?");
        let row = query.bind(&digest.as_bytes()[..]).fetch_optional(&self.0).await?;
        row.map(|row| {
            let stored = KeyDigest::try_from(row.try_get::<Vec<u8>, _>("key_sha256")?);
            let stored = stored.map_err(|error| sqlx::Error::Decode(error.into()))?;
            let record = KeyRecord::new(row.try_get::<i64, _>("id")?, stored);
            Ok(record.grant("reports", "read").with_extension(Plan(row.try_get("plan")?)))
        })
        .transpose()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = SqliteConnectOptions::new().filename(env::var("DATABASE").unwrap_or("customers.db".into()));
    let pool = SqlitePool::connect_with(file.create_if_missing(true)).await?;
    let table = "create table if not exists customers (id integer primary key, key_sha256 blob unique, plan text)";
    sqlx::query(table).execute(&pool).await?;
    let mut shown = "KEY".to_owned();
    if sqlx::query("select id from customers").fetch_optional(&pool).await?.is_none() {
        let key = KeyFormat::new("acme")?.generate()?;
        let insert = sqlx::query("insert into customers (key_sha256, plan) values (?, 'pro')");
        insert.bind(&KeyHasher::sha256().digest(&key).as_bytes()[..]).execute(&pool).await?;
        shown = key.expose().to_owned();
        println!("key customer: {shown}");
    }
    let app = Router::new()
        .route("/reports", get(reports).layer(Require::permission("reports", "read")))
        .layer(ApiKeyLayer::builder(Customers(pool)).build()?);
    let listener = tokio::net::TcpListener::bind(env::var("ADDR").unwrap_or("127.0.0.1:3000".into())).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!(
        "listening on {url}\n\nTry:\n  curl -H 'X-API-Key: {shown}' {url}/reports   # 200\n  curl {url}/reports   # 401\n"
    );
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopped = async move {
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = end.recv() => {} }
    };
    Ok(axum::serve(listener, app).with_graceful_shutdown(stopped).await?)
}

async fn reports(key: Principal) -> Json<Value> {
    Json(json!({ "customer": key.id().as_str(), "plan": key.extension::<Plan>().map(|plan| plan.0.as_str()) }))
}
