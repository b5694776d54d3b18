//! API keys for HTTP services in Rust: a [tower] layer that turns the key in a request into a [`Principal`] in the request's
//! extensions, or answers with the right refusal.
//!
//! [tower]: https://docs.rs/tower
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::{get, post}};
//! use tower_api_key::{ApiKey, ApiKeyLayer, Principal, Require, store::StaticKeys};
//!
//! async fn create(key: Principal) -> String {
//!     format!("made by {}\n", key.id())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
//! // In a service: StaticKeys::from_env("API_KEY")?
//! let keys = StaticKeys::new([("deploy", ApiKey::new(secret)?)])?.grant("links", "create");
//!
//! let app: Router = Router::new()
//!     .route("/links", post(create).layer(Require::permission("links", "create")))
//!     .route("/links", get("all links"))
//!     .layer(ApiKeyLayer::builder(keys).build()?);
//! # Ok(())
//! # }
//! ```
//!
//! # One way through the house
//!
//! ```text
//! request ─▶ scheme ─▶ key ─▶ store ─▶ principal ─▶ guard ─▶ your handler
//!             └─────────┴───────┴──────────┴───────── Rejection ─▶ the layer renders it and reports it
//! ```
//!
//! | room          | what is there                                                                                |
//! |---------------|----------------------------------------------------------------------------------------------|
//! | [`scheme`]    | where a credential may stand: [`Scheme`], [`SchemePolicy`]                                   |
//! | [`key`]       | the key itself: [`ApiKey`], [`KeyFormat`], [`KeyDigest`], [`KeyHasher`], [`Mask`]            |
//! | [`store`]     | where records are kept: [`KeyStore`], [`KeyRegistry`]; memory, SQLite, PostgreSQL, a cache |
//! | [`manage`]    | the life of keys: [`KeyManager`], who may do what, and its HTTP API                          |
//! | records       | [`KeyRecord`] with its [`KeyId`], [`Owner`], [`Status`]; [`Principal`]: who is calling       |
//! | [`layer`]     | [`ApiKeyLayer`], its settings and its service                                                |
//! | [`guard`]     | what a key must be allowed: [`Require`], [`Permissions`], [`Action`]                         |
//! | [`rejection`] | why a request was refused, and what the caller is told: [`Rejection`], [`RejectionFormat`]   |
//! | `openapi`     | schemes and guards in your OpenAPI document: `Security` (feature `utoipa`)                   |
//! | `client`      | the caller's side: a layer that adds a key to the requests for one origin                    |
//! | observers     | [`Decision`] and its [`Outcome`]: what came of a request; [`RequestHead`]: which request     |
//!
//! # Features
//!
//! | feature    | default | what it brings                                                                     |
//! |------------|---------|------------------------------------------------------------------------------------|
//! | `axum`     | yes     | [`Principal`] as an extractor, [`Rejection`] as a response, guards inside `nest`   |
//! | `serde`    | no      | [`Permissions`] and [`Action`] as JSON: `{"stats": ["read"]}`                      |
//! | `sqlite`   | no      | `store::SqliteStore`: keys in a file, nothing to set up                            |
//! | `postgres` | no      | `store::PostgresStore`: keys that many nodes share, with TLS, and word of changes  |
//! | `cache`    | no      | `store::CachedStore`: answers from memory, with a bound on revocations             |
//! | `admin-api` | no      | `KeyManager::router`: the management API, with its OpenAPI document                |
//! | `tracing`  | no      | one event per decision, and the key's id on the request's span                     |
//! | `metrics`  | no      | requests by outcome and reason, store latency and errors, through the facade       |
//! | `utoipa`   | no      | `openapi::Security`: schemes and guards in an OpenAPI document of your own         |
//! | `client`   | no      | `client::SendKeyLayer`: the caller's side, around hyper-util, reqwest or another   |
//! | `testkit`  | no      | `store::testkit`: what every registry must do; `Principal::for_test`               |
//!
//! The crate needs Rust 1.88. The features `sqlite` and `postgres` need Rust 1.94, because sqlx 0.9 does.
//! `postgres` brings TLS by rustls; `postgres-no-tls` leaves the choice to a feature of sqlx in your own
//! `Cargo.toml`, such as `tls-native-tls`. `sqlite` bundles SQLite; set `LIBSQLITE3_SYS_USE_PKG_CONFIG=1`
//! in the environment of the build to link the system's.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
#[cfg(feature = "client")]
pub mod client;
mod clock;
mod error;
#[cfg(feature = "axum")]
mod extract;
pub mod guard;
#[cfg(any(doc, doctest))]
#[cfg(all(
    feature = "admin-api",
    feature = "sqlite",
    feature = "postgres",
    feature = "cache",
    feature = "client",
    feature = "testkit"
))]
pub mod guide;
mod head;
pub mod key;
pub mod layer;
pub mod manage;
mod observe;
#[cfg(feature = "utoipa")]
pub mod openapi;
mod path;
mod permission;
mod principal;
mod record;
pub mod rejection;
pub mod scheme;
pub mod store;
mod thread_index;

pub use error::ConfigError;
pub use guard::Require;
pub use head::RequestHead;
pub use key::{ApiKey, KeyDigest, KeyFormat, KeyHasher, Mask};
pub use layer::ApiKeyLayer;
pub use manage::KeyManager;
pub use observe::{Decision, Outcome};
pub use permission::{Action, Permissions};
pub use principal::Principal;
pub use record::{KeyId, KeyRecord, Owner, Status};
pub use rejection::{Cause, MissingPermission, Problem, Reason, Rejection, RejectionFormat};
pub use scheme::{ConflictPolicy, Scheme, SchemePolicy};
pub use store::{KeyRegistry, KeyStore, Lookup};

/// Keeps the README's code true.
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
