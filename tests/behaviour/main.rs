//! Tests the library through its public API, in one process and without external programs.
#![allow(clippy::incompatible_msrv, reason = "tests run on the current toolchain")]
#![allow(clippy::duplicate_mod, reason = "the core of the limits is tested with two kinds of atomics")]

#[cfg(feature = "cache")]
#[path = "../support/database.rs"]
mod database;
#[cfg(all(feature = "testkit", feature = "postgres"))]
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;

mod actors;
#[cfg(feature = "testkit")]
mod addresses;
mod architecture;
mod authenticate;
#[cfg(feature = "axum")]
mod axum;
mod beats;
#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "cache")]
mod cache_memory;
#[cfg(feature = "client")]
mod client;
mod client_address;
#[cfg(feature = "serde")]
mod conversions;
#[cfg(feature = "dashboard")]
mod dashboard;
mod edits;
mod event_hooks;
#[cfg(feature = "tracing")]
mod events;
mod expiring;
mod expiry_header;
mod expiry_policy;
#[cfg(feature = "cache")]
mod flood;
mod forwarded_identity;
#[cfg(feature = "gateway")]
mod gateway;
mod grpc;
mod guards;
mod header_credentials;
#[cfg(feature = "cache")]
mod herd;
mod idempotency;
mod import_many;
mod instances;
mod interleavings;
mod key_events;
mod key_history;
mod key_manager;
mod keys;
mod leaks;
#[cfg(feature = "limits")]
mod leases;
#[cfg(feature = "limits")]
mod limits;
#[cfg(feature = "limits")]
mod limits_memory;
#[cfg(feature = "cache")]
mod local_cache;
#[cfg(feature = "admin-api")]
mod manage_responses;
#[cfg(feature = "admin-api")]
mod management_api;
mod many_keys;
#[cfg(all(feature = "limits", feature = "testkit"))]
mod meters;
#[cfg(feature = "metrics")]
mod metrics;
mod middleware;
mod observers;
mod open_rejections;
#[cfg(feature = "utoipa")]
mod openapi;
mod other_credentials;
#[cfg(all(feature = "sqlite", feature = "testkit"))]
mod own_database;
#[cfg(feature = "sqlite")]
mod own_transaction;
mod peppers;
mod permissions;
mod plain_layers;
mod plain_words;
mod privilege_escalation;
#[cfg(all(feature = "admin-api", feature = "sqlite"))]
mod product_contracts;
mod records;
#[cfg(feature = "client")]
mod redirects;
#[cfg(feature = "testkit")]
mod registries;
mod rejection_responses;
mod replace_all;
mod rights;
mod roles;
mod rotation;
mod route_table;
mod seams;
mod search;
mod single_flight;
#[cfg(feature = "cache")]
mod sizing;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "cache")]
mod stale_if_error;
#[cfg(feature = "cache")]
mod staleness;
#[cfg(feature = "static-files")]
mod static_keys_file;
#[cfg(feature = "static-files")]
mod static_keys_list;
mod stores;
mod sweep;
#[cfg(feature = "testkit")]
mod testkit;
#[cfg(feature = "testkit")]
mod testkit_whole;
mod tokens;
mod transport;
mod usage;
mod usage_by_day;
mod verification;
#[cfg(all(feature = "webhooks", feature = "sqlite"))]
mod webhooks;
mod what_to_touch;
