//! The formats of the keys that a manager issues and accepts.

use super::ManageError;
use crate::{
    error::ConfigError,
    key::{ApiKey, FormatError, KeyFormat},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Formats {
    /// The format of keys without an environment, and of environments that have no format.
    pub(super) plain: Option<KeyFormat>,
    pub(super) by_environment: Vec<(String, KeyFormat)>,
    /// The formats of keys that are accepted but never issued.
    pub(super) others: Vec<KeyFormat>,
    pub(super) any: bool,
}

impl Formats {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let mut own = self.own().peekable();
        if own.peek().is_none() {
            return Err(ConfigError::NoFormat);
        }
        match own.find(|format| format.is_foreign()) {
            Some(format) => Err(ConfigError::ForeignFormat(format.prefix().to_owned())),
            None => Ok(()),
        }
    }

    /// Returns the length of the longest issued keys, at least 1.
    pub(super) fn longest(&self) -> usize {
        self.own().filter_map(KeyFormat::key_len).max().unwrap_or(1)
    }

    /// Generates a key for this environment.
    pub(super) fn generate(&self, environment: Option<&str>) -> Result<ApiKey, ManageError> {
        match (self.of(environment), environment) {
            (Some(format), _) => Ok(format.generate()?),
            (None, Some(named)) => Err(ManageError::Environment(named.to_owned())),
            (None, None) => Err(ManageError::NoEnvironment),
        }
    }

    /// Rejects a key that has no format that the layer accepts, or a wrong checksum. Also rejects a
    /// key in the format of another environment.
    pub(super) fn check_imported(&self, key: &ApiKey, environment: Option<&str>) -> Result<(), FormatError> {
        let has = |format: &KeyFormat| format.check(key.expose());
        let own = self.own().find(|format| has(format) != Err(FormatError::Mismatch));
        match own {
            Some(format) if Some(format) == self.of(environment) => has(format),
            None if self.any || self.others.iter().any(|format| has(format).is_ok()) => Ok(()),
            _ => Err(FormatError::Mismatch),
        }
    }

    fn of(&self, environment: Option<&str>) -> Option<&KeyFormat> {
        let named = self.by_environment.iter().find(|(name, _)| Some(name.as_str()) == environment);
        named.map(|(_, format)| format).or(self.plain.as_ref())
    }

    /// Returns the formats that a layer accepts. An empty list accepts all.
    pub(super) fn layer_formats(&self) -> Vec<KeyFormat> {
        if self.any { Vec::new() } else { self.own().chain(&self.others).cloned().collect() }
    }

    /// Returns the regular expression of each format that issues keys, once each.
    pub(super) fn patterns(&self) -> Vec<String> {
        let mut patterns: Vec<String> = Vec::new();
        for pattern in self.own().filter_map(KeyFormat::pattern) {
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        patterns
    }

    fn own(&self) -> impl Iterator<Item = &KeyFormat> {
        self.plain.iter().chain(self.by_environment.iter().map(|(_, format)| format))
    }
}
