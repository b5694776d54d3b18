//! API-key authentication for tower, axum and tonic: verify keys, authorize requests, issue and
//! revoke keys.
//!
//! An [`ApiKeyLayer`] reads the key of a request and looks it up in a store. It puts a
//! [`Principal`] into the request's extensions, or rejects the request with the correct 401, 403 or
//! 503. A [`Require`] guard checks the permissions of the key. A [`KeyManager`] issues, rotates and
//! revokes keys.
//!
//! # First protected route
//!
//! You need a store, a guard, the layer, and a [`Principal`] in the handler.
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::{get, post}};
//! use tower_api_key::{ApiKeyLayer, Principal, Require, store::StaticKeys};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = StaticKeys::from_env("API_KEY")?.grant("links", "create");
//!
//! let app: Router = Router::new()
//!     .route("/links", get(async |key: Principal| format!("hello, {}\n", key.id())))
//!     .route("/links", post("created\n").layer(Require::permission("links", "create")))
//!     .layer(ApiKeyLayer::builder(keys).build()?);
//! # Ok(())
//! # }
//! ```
//!
//! # Several keys with their own permissions
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::{get, post}};
//! use tower_api_key::{ApiKeyLayer, Require, store::StaticKeys};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reader = StaticKeys::from_env("READER_KEY")?.grant("links", "read");
//! let writer = StaticKeys::from_env("WRITER_KEY")?.grant("links", "create");
//!
//! let app: Router = Router::new()
//!     .route("/links", get("all links\n").layer(Require::permission("links", "read")))
//!     .route("/links", post("created\n").layer(Require::permission("links", "create")))
//!     .layer(ApiKeyLayer::builder(reader.merge(writer)?).build()?);
//! # Ok(())
//! # }
//! ```
//!
//! # Request flow
//!
//! ```text
//! request ─▶ scheme ─▶ key ─▶ store ─▶ principal ─▶ guard ─▶ your handler
//!             └─────────┴───────┴──────────┴──────── Rejection ─▶ the layer renders and reports it
//! ```
//!
//! | module        | contents                                                                     |
//! |---------------|------------------------------------------------------------------------------|
//! | [`scheme`]    | where a request may carry a key: [`Scheme`], [`SchemePolicy`]                |
//! | [`key`]       | keys: [`ApiKey`], [`KeyFormat`], [`KeyDigest`], [`KeyHasher`], [`Mask`]      |
//! | [`store`]     | [`KeyStore`], [`KeyRegistry`]; stores in memory, SQLite, PostgreSQL; a cache |
//! | [`manage`]    | [`KeyManager`]: issues, rotates and revokes keys; an HTTP API for it         |
//! | [`layer`]     | [`ApiKeyLayer`], its settings and its service                                |
//! | [`guard`]     | guards that check the permissions of a key: [`Require`]                      |
//! | [`rejection`] | why a request was rejected, and the response: [`Rejection`]                  |
//! | [`address`]   | which address a request comes from, also behind proxies; networks            |
//! | [`rights`]    | what the owner of a key may do now, beside the key's own permissions         |
//! | [`roles`]     | named sets of permissions that keys hold by name                             |
//! | [`token`]     | short-lived tokens of keys, and an endpoint that exchanges keys for them     |
//! | [`transport`] | whether a request came over TLS: [`TransportSource`]                         |
//! | `limit`       | rates, quotas and concurrency limits of keys (feature `limits`)              |
//! | `openapi`     | schemes and guards in your OpenAPI document (feature `utoipa`)               |
//! | `leak`        | takes the reports of secret scanners (feature `leak-reports`)                |
//! | `gateway`     | answers nginx, Caddy, Envoy and others; introspection (feature `gateway`)    |
//! | `client`      | a layer for clients that adds a key to requests (feature `client`)           |
//! | `dashboard`   | a web page on which people manage keys (feature `dashboard`)                 |
//! | `webhook`     | sends what happens to keys to HTTP endpoints (feature `webhooks`)            |
//!
//! Records ([`KeyRecord`], [`KeyId`], [`Owner`], [`Status`]), permissions ([`Permissions`],
//! [`Action`]), the [`Principal`] and the types that observers receive ([`Decision`], [`Outcome`],
//! [`RequestHead`]) are at the root.
//!
//! # Features
//!
//! | feature           | default | adds                                                             |
//! |-------------------|---------|------------------------------------------------------------------|
//! | `axum`            | yes     | [`Principal`] as an extractor, [`Rejection`] as a response       |
//! | `serde`           | no      | permissions, ids, owners as JSON; [`ApiKey`] in config files     |
//! | `sqlite`          | no      | `store::SqliteStore`: keys in a file                             |
//! | `postgres`        | no      | `store::PostgresStore`: keys that many nodes share               |
//! | `postgres-no-tls` | no      | `postgres` without a TLS library: you choose one                 |
//! | `cache`           | no      | `store::CachedStore`: lookups in memory, with bounded staleness  |
//! | `admin-api`       | no      | the management API over HTTP; `token::TokenExchange`             |
//! | `dashboard`       | no      | a web page for keys: `KeyManager::dashboard`                     |
//! | `tracing`         | no      | one event per decision, and the key's id on the span             |
//! | `metrics`         | no      | requests by outcome and reason, store latency and errors         |
//! | `utoipa`          | no      | `openapi::Security`: schemes and guards in OpenAPI               |
//! | `gateway`         | no      | `gateway`: answers to gateways, introspection, many keys at once |
//! | `gateway-grpc`    | no      | `gateway::Gateway::grpc`: Envoy's `ext_authz` over gRPC          |
//! | `client`          | no      | `client::SendKeyLayer`: adds a key to outgoing requests          |
//! | `webhooks`        | no      | `webhook::WebhookDeliverer`: sends events to HTTP endpoints      |
//! | `leak-reports`    | no      | `leak::LeakReports`: takes the reports of secret scanners        |
//! | `static-files`    | no      | `store::StaticKeysFile`: several keys in JSON or TOML, reloaded  |
//! | `limits`          | no      | `limit`: how much each key may ask for, by plans                 |
//! | `valkey`          | no      | `limit::ValkeyRates`: rates of many nodes in Valkey or Redis     |
//! | `testkit`         | no      | `store::testkit`: tests for registries; `Principal::for_test`    |
//!
//! The crate needs Rust 1.88. The features `sqlite` and `postgres` need Rust 1.94, because sqlx 0.9
//! does. `postgres` uses rustls for TLS. With `postgres-no-tls`, choose a TLS library with a
//! feature of sqlx in your own `Cargo.toml`, such as `tls-native-tls`. `sqlite` bundles SQLite. To
//! link the SQLite of the system, set `LIBSQLITE3_SYS_USE_PKG_CONFIG=1` in the environment of the
//! build.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod address;
mod body;
#[cfg(feature = "client")]
pub mod client;
mod clock;
#[cfg(feature = "dashboard")]
pub mod dashboard;
mod error;
mod event;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod guard;
#[cfg(any(doc, doctest))]
#[cfg(all(
    feature = "admin-api",
    feature = "sqlite",
    feature = "postgres",
    feature = "cache",
    feature = "client",
    feature = "dashboard",
    feature = "gateway-grpc",
    feature = "leak-reports",
    feature = "limits",
    feature = "static-files",
    feature = "testkit",
    feature = "valkey",
    feature = "webhooks"
))]
pub mod guide;
mod head;
mod http_date;
pub mod key;
pub mod layer;
#[cfg(feature = "leak-reports")]
pub mod leak;
#[cfg(feature = "limits")]
pub mod limit;
mod live;
pub mod manage;
mod observe;
#[cfg(feature = "utoipa")]
pub mod openapi;
mod path;
mod permission;
mod principal;
mod ready;
mod record;
pub mod rejection;
pub mod rights;
pub mod roles;
pub mod scheme;
pub mod store;
mod thread_index;
pub mod token;
pub mod transport;
#[cfg(feature = "webhooks")]
pub mod webhook;

pub use address::ClientAddress;
pub use error::ConfigError;
pub use guard::Require;
pub use head::RequestHead;
pub use key::{ApiKey, KeyDigest, KeyFormat, KeyHasher, Mask};
pub use layer::ApiKeyLayer;
pub use manage::KeyManager;
pub use observe::{Decision, Outcome};
pub use permission::{Action, Permissions};
pub use principal::Principal;
pub use record::{Author, InvalidAuthor, InvalidStatus, KeyId, KeyRecord, Owner, Status};
pub use rejection::{Cause, MissingPermission, Problem, Reason, Rejection, RejectionFormat, Verdict};
pub use scheme::{ConflictPolicy, InvalidScheme, Scheme, SchemePolicy};
pub use store::{KeyRegistry, KeyStore, Lookup};
pub use transport::TransportSource;

/// Compiles the examples of the README as tests.
#[cfg(all(
    doctest,
    feature = "client",
    feature = "admin-api",
    feature = "sqlite",
    feature = "postgres",
    feature = "cache"
))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the examples of MIGRATIONS.md as tests.
#[cfg(all(doctest, feature = "sqlite", feature = "postgres"))]
#[doc = include_str!("../MIGRATIONS.md")]
struct Migrations;
