//! The members of a response about one key.

use std::time::SystemTime;

use serde::Serialize;

use crate::{
    gateway::identity::{owner_text, scope},
    principal::Principal,
};

/// A key that works: the members of RFC 7662 §2.2, and two of this crate.
#[derive(Serialize)]
pub(super) struct ActiveKey {
    active: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
}

/// A key that does not work.
#[derive(Serialize)]
pub(super) struct InactiveKey {
    active: bool,
    /// The status that a request with the key would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl ActiveKey {
    pub(super) fn new(principal: &Principal) -> Self {
        let record = principal.record();
        let ends = [record.expires_at(), principal.token_ends_at()];
        Self {
            active: true,
            scope: scope(record.permissions(), usize::MAX),
            client_id: record.id().to_string(),
            sub: record.owner().map(owner_text),
            exp: ends.into_iter().flatten().min().and_then(seconds),
            iat: record.created_at().and_then(seconds),
            nbf: record.not_before().and_then(seconds),
            organization: record.organization().map(str::to_owned),
            environment: record.environment().map(str::to_owned),
        }
    }
}

impl InactiveKey {
    /// RFC 7662 §2.2: nothing about why.
    pub(super) const UNEXPLAINED: Self = Self { active: false, status: None, retry_after: None };

    pub(super) fn new(status: u16, retry_after: Option<u64>) -> Self {
        Self { active: false, status: Some(status), retry_after }
    }
}

/// Returns the whole seconds since 1970. An end is cut to the second before it.
fn seconds(instant: SystemTime) -> Option<u64> {
    instant.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}
