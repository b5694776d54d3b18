//! What a store in PostgreSQL must do besides being a registry.
#![cfg(feature = "postgres")]

#[path = "postgres/changes.rs"]
mod changes;
#[path = "postgres/channel.rs"]
mod channel;
#[path = "postgres/contents.rs"]
mod contents;
#[path = "support/postgres.rs"]
mod database;
#[path = "postgres/network.rs"]
mod network;
#[path = "postgres/opening.rs"]
mod opening;
#[path = "postgres/races.rs"]
mod races;
#[path = "support/relay.rs"]
mod relay;
mod support;
#[path = "postgres/tls.rs"]
mod tls;

use tower_api_key::{KeyRecord, Owner};

/// A server with one database.
async fn server() -> (database::Server, database::Database) {
    let server = database::Server::start(&[]);
    let database = server.database().await;
    (server, database)
}

/// Alice's key in acme, under the digest of this byte.
fn of_alice(id: impl Into<tower_api_key::KeyId>, byte: u8) -> KeyRecord {
    KeyRecord::new(id, [byte; 32]).with_owner(Owner::User("alice".into())).with_organization("acme")
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, sqlx::Error>, why: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)) && error.to_string().contains(why), "{error}");
}
