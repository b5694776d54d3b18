//! Tests limits.

#[cfg(feature = "axum")]
mod failure_server;
mod failure_table;
mod failures;
