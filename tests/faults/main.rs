//! Regression tests of faults, each named after its line: `r04_…` for R4. A fault that represents a
//! kind has a table or a property.
#![allow(clippy::incompatible_msrv, reason = "tests run on the current toolchain")]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "postgres")]
#[path = "../support/postgres.rs"]
mod postgres_server;

mod configuration;
mod header_credentials;
mod paths;
mod rejection_responses;
mod slips;

#[cfg(feature = "admin-api")]
mod actors;
#[cfg(feature = "admin-api")]
mod attacks;
#[cfg(feature = "admin-api")]
mod forms;
#[cfg(feature = "admin-api")]
mod life;
#[cfg(feature = "admin-api")]
mod management_api;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod registries;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod searches;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sweep_figures;
