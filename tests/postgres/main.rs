//! Tests the requirements of a PostgreSQL store beyond those of a registry.
#![allow(clippy::incompatible_msrv, reason = "tests run on the current toolchain")]
#![cfg(feature = "postgres")]

#[cfg(all(unix, feature = "admin-api", feature = "cache"))]
mod beats;
#[path = "../support/bouncer.rs"]
mod bouncer;
mod changes;
mod channel;
#[cfg(all(unix, feature = "admin-api", feature = "cache"))]
#[path = "../support/cluster/mod.rs"]
mod cluster;
mod contents;
#[path = "../support/postgres.rs"]
mod database;
mod edits;
mod events;
mod expiring;
#[cfg(all(target_os = "linux", feature = "admin-api", feature = "cache"))]
mod fleet;
mod hosts;
mod idempotency;
#[cfg(all(unix, feature = "sqlite"))]
mod killed;
mod lifetime;
#[cfg(all(unix, feature = "limits", feature = "tracing"))]
mod limits;
#[cfg(feature = "limits")]
mod meters;
mod network;
mod opening;
#[cfg(all(unix, feature = "admin-api", feature = "cache"))]
mod outages;
mod own_database;
mod own_transaction;
mod pooler;
mod races;
#[path = "../support/relay.rs"]
mod relay;
#[cfg(all(unix, feature = "admin-api", feature = "cache"))]
mod revocation;
mod roles;
mod round_trips;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod upgrades;
mod usage;
#[cfg(feature = "webhooks")]
mod webhooks;

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
