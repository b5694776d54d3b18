//! The configuration file: one TOML file, which the service can share.
//!
//! An unknown name is an error, and every error has the line. Each table has a file of its own
//! here.

mod database;
mod expiry;
mod keys;
mod limits;
mod roles;
mod secret;
mod serve;
mod table;

use std::{fs, ops::Range, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

pub(crate) use database::DatabaseConfig;
pub(crate) use keys::KeysConfig;
pub(crate) use limits::LimitsConfig;
pub(crate) use roles::RolesConfig;
pub(crate) use serve::{DashboardConfig, GatewayConfig, GatewayProtocol, ServeConfig};
pub(crate) use table::{RouteTable, TableFile};

use crate::exit::Failure;

/// The whole file. A table that is absent has its defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where the keys are.
    pub(crate) database: DatabaseConfig,
    /// How keys are made, found and hashed.
    pub(crate) keys: KeysConfig,
    /// What each role grants.
    pub(crate) roles: RolesConfig,
    /// The plans of the keys. `serve` charges their limits, and every command knows their names.
    pub(crate) limits: LimitsConfig,
    /// What `serve` serves, and where.
    pub(crate) serve: ServeConfig,
}

// === impl Config ===

impl Config {
    /// Reads the file at `path`; without a path, returns the defaults.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        path.map_or_else(|| Ok(Self::default()), read)
    }
}

/// Reads a TOML file. An error has the path and the line, and repeats no value of the file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    parse(&name, &text)
}

/// Parses TOML. `name` is that of the file, for errors.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| format!(":{}", line(text, &span))).unwrap_or_default();
        Failure::Usage(format!("{name}{line}: {}", without_values(error.message())))
    })
}

/// Returns the message of serde without the value that it repeats, which may be a secret.
fn without_values(message: &str) -> String {
    let expected = message.split(", expected ").nth(1).map(|expected| format!(": expected {expected}"));
    let kinds = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    match kinds.iter().find(|kind| message.starts_with(**kind)) {
        Some(kind) => format!("{kind}{}", expected.unwrap_or_default()),
        None => message.to_owned(),
    }
}

/// Returns the number of the line in which a span begins.
fn line(text: &str, span: &Range<usize>) -> usize {
    text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
}
