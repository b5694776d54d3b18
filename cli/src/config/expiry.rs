//! `[[keys.expiry]]`: how long keys may live.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};
use tower_api_key::manage::ExpiryPolicy;

use crate::when;

/// One expiry policy of the service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpiryConfig {
    /// The kind of keys: `users` or `bots`; all without it.
    #[serde(rename = "for")]
    kind: Option<Kind>,
    environment: Option<String>,
    /// The lifetime of a key that is issued without an expiry.
    #[serde(default, deserialize_with = "duration")]
    default: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    min: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    max: Option<Duration>,
    #[serde(default)]
    required: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Users,
    Bots,
}

// === impl ExpiryConfig ===

impl ExpiryConfig {
    pub(crate) fn policy(&self) -> ExpiryPolicy {
        let Self { kind, environment, default, min, max, required } = self;
        let mut policy = match kind {
            None => ExpiryPolicy::new(),
            Some(Kind::Users) => ExpiryPolicy::new().for_users(),
            Some(Kind::Bots) => ExpiryPolicy::new().for_service_accounts(),
        };
        policy = environment.iter().fold(policy, ExpiryPolicy::in_environment);
        policy = default.iter().fold(policy, |policy, lifetime| policy.default_lifetime(*lifetime));
        policy = min.iter().fold(policy, |policy, lifetime| policy.min_lifetime(*lifetime));
        policy = max.iter().fold(policy, |policy, lifetime| policy.max_lifetime(*lifetime));
        if *required { policy.required() } else { policy }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    when::duration(&text).map(Some).map_err(D::Error::custom)
}
