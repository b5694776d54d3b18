//! `[keys]`: how keys are made, found and hashed. It must equal the settings of the service.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error};
use tower_api_key::{KeyFormat, KeyHasher, Mask, Scheme, SchemePolicy, key::FormatError, manage::KeyManagerBuilder};

use super::{expiry::ExpiryConfig, secret::SecretSource};
use crate::exit::Failure;

/// The settings of the keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeysConfig {
    /// The prefix of keys without an environment, and of each environment without its own. The
    /// default is `key`.
    prefix: Option<Prefix>,
    /// The prefix of the keys of each environment.
    environments: BTreeMap<String, Prefix>,
    /// Formats of other systems, whose keys were imported.
    also_accept: Vec<ForeignFormat>,
    /// Accepts imported keys of any format.
    accept_any_format: bool,
    /// The peppers, the current one first. Without one, keys are hashed with SHA-256 alone.
    peppers: Vec<Pepper>,
    /// The pepper that nodes will use next.
    next_pepper: Option<Pepper>,
    /// Also finds keys from the time before the first pepper.
    before_peppers: bool,
    /// The schemes of the service, such as `authorization:Bearer` or `header:X-API-Key`.
    #[serde(deserialize_with = "schemes")]
    schemes: Option<Vec<Scheme>>,
    /// What of a key is shown in lists: `first-and-last` or `last-four`.
    #[serde(deserialize_with = "mask")]
    mask: Option<Mask>,
    /// How many random bits a mask hides at least.
    unseen_bits: Option<u32>,
    /// The longest key, in bytes.
    max_key_len: Option<usize>,
    /// The most keys of one user in an organization. The command has no limit without it.
    pub(crate) keys_per_user: Option<u32>,
    /// The most service-account keys of an organization. The command has no limit without it.
    pub(crate) service_accounts: Option<u32>,
    expiry: Vec<ExpiryConfig>,
}

/// The format of new keys, by its prefix.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Prefix(KeyFormat);

/// The format of keys of another system.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ForeignFields")]
struct ForeignFormat(KeyFormat);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignFields {
    prefix: String,
    #[serde(default)]
    separator: String,
    parts: Option<usize>,
}

/// A hasher with a pepper, which is read when the file is.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "SecretSource")]
struct Pepper(KeyHasher);

const DEFAULT_PREFIX: &str = "key";

// === impl KeysConfig ===

impl KeysConfig {
    /// Applies the settings, as the service does.
    pub(crate) fn apply(&self, mut builder: KeyManagerBuilder) -> Result<KeyManagerBuilder, Failure> {
        match &self.prefix {
            Some(Prefix(format)) => builder = builder.format(format.clone()),
            None if self.environments.is_empty() => builder = builder.format(default_format()?),
            None => {}
        }
        for (environment, Prefix(format)) in &self.environments {
            builder = builder.environment(environment, format.clone());
        }
        for ForeignFormat(format) in &self.also_accept {
            builder = builder.also_accept(format.clone());
        }
        if self.accept_any_format {
            builder = builder.accept_any_format();
        }
        builder = builder.hasher(self.hasher());
        if let Some(schemes) = &self.schemes {
            builder = builder.schemes(SchemePolicy::new(schemes.iter().cloned()));
        }
        builder = self.mask.iter().fold(builder, |builder, mask| builder.mask(*mask));
        builder = self.unseen_bits.iter().fold(builder, |builder, bits| builder.unseen_bits(*bits));
        builder = self.max_key_len.iter().fold(builder, |builder, bytes| builder.max_key_len(*bytes));
        builder = self.keys_per_user.iter().fold(builder, |builder, most| builder.keys_per_user(*most));
        builder = self
            .service_accounts
            .iter()
            .fold(builder, |builder, most| builder.service_accounts_per_organization(*most));
        Ok(self.expiry.iter().fold(builder, |builder, expiry| builder.expiry_policy(expiry.policy())))
    }

    fn hasher(&self) -> KeyHasher {
        let mut hashers: Vec<_> = self.peppers.iter().map(|Pepper(hasher)| hasher.clone()).collect();
        if self.before_peppers || hashers.is_empty() {
            hashers.push(KeyHasher::sha256());
        }
        // The first hashes new keys.
        let hashers = hashers.into_iter().reduce(KeyHasher::with_previous).unwrap_or_default();
        self.next_pepper.iter().fold(hashers, |hashers, Pepper(next)| hashers.with_upcoming(next.clone()))
    }
}

fn default_format() -> Result<KeyFormat, Failure> {
    KeyFormat::new(DEFAULT_PREFIX).map_err(|error| Failure::Usage(format!("[keys]: {error}")))
}

impl TryFrom<String> for Prefix {
    type Error = FormatError;

    fn try_from(prefix: String) -> Result<Self, FormatError> {
        KeyFormat::new(&prefix).map(Self)
    }
}

impl TryFrom<ForeignFields> for ForeignFormat {
    type Error = FormatError;

    fn try_from(fields: ForeignFields) -> Result<Self, FormatError> {
        let ForeignFields { prefix, separator, parts } = fields;
        KeyFormat::foreign(&prefix, &separator, parts).map(Self)
    }
}

impl TryFrom<SecretSource> for Pepper {
    type Error = String;

    fn try_from(source: SecretSource) -> Result<Self, String> {
        KeyHasher::hmac_sha256(&source.read()?).map(Self).map_err(|error| error.to_string())
    }
}

fn schemes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Scheme>>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parsed(text)).collect::<Result<_, _>>().map(Some)
}

fn mask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mask>, D::Error> {
    parsed(&String::deserialize(deserializer)?).map(Some)
}

fn parsed<T: FromStr<Err: std::fmt::Display>, E: Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(E::custom)
}
