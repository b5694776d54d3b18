//! Columns with JSON. A text that cannot be read is an error, unless it says otherwise: a key must
//! not lose its permissions or its limits.

use std::collections::BTreeMap;

use super::row::decode;
use crate::{
    address::Network,
    permission::Permissions,
    record::{LimitNumber, LimitNumbers},
};

/// Before version 4 of the tables, metadata was an array of pairs.
pub(super) fn metadata(text: &str) -> Result<BTreeMap<String, String>, sqlx::Error> {
    if text.starts_with('[') {
        let pairs: Vec<(String, String)> = serde_json::from_str(text).map_err(decode)?;
        return Ok(pairs.into_iter().collect());
    }
    serde_json::from_str(text).map_err(decode)
}

/// A text that cannot be read allows no address. So a row that was edited wrongly by hand rejects
/// its key, and does not keep the others from a list.
pub(super) fn networks(text: &str) -> Vec<Network> {
    serde_json::from_str(text).unwrap_or_default()
}

/// A text that cannot be read grants no role. So a row that was edited wrongly by hand gives its
/// key no permission, and does not keep the others from a list.
pub(super) fn roles(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

pub(super) fn limit_numbers(text: &str) -> Result<LimitNumbers, sqlx::Error> {
    let limits: BTreeMap<Box<str>, LimitNumber> = serde_json::from_str(text).map_err(decode)?;
    Ok(limits.into_iter().map(|(name, number)| (name, number.0)).collect())
}

pub(super) fn permissions(text: &str, wildcards: bool) -> Result<Permissions, sqlx::Error> {
    let permissions: Permissions = serde_json::from_str(text).map_err(decode)?;
    Ok(if wildcards { permissions.with_wildcards() } else { permissions })
}
