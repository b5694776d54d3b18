//! Which forms of keys a manager makes and takes.

use super::ManageError;
use crate::{
    error::ConfigError,
    key::{ApiKey, FormatError, KeyFormat},
};

#[derive(Debug, Default)]
pub(super) struct Formats {
    pub(super) plain: Option<KeyFormat>,
    pub(super) by_environment: Vec<(String, KeyFormat)>,
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
            Some(format) => Err(ConfigError::ForeignFormat(format.to_string())),
            None => Ok(()),
        }
    }

    /// Makes a key for this environment.
    pub(super) fn generate(&self, environment: Option<&str>) -> Result<ApiKey, ManageError> {
        let named = self.by_environment.iter().find(|(name, _)| Some(name.as_str()) == environment);
        let format = named.map(|(_, format)| format).or(self.plain.as_ref());
        let Some(format) = format else {
            return Err(ManageError::Environment(environment.unwrap_or_default().to_owned()));
        };
        Ok(format.generate()?)
    }

    /// Refuses what the layer would refuse at the door.
    pub(super) fn admit(&self, key: &ApiKey) -> Result<(), FormatError> {
        let checked = self.at_the_door().into_iter().map(|format| format.check(key.expose()));
        let checked: Vec<_> = checked.collect();
        if checked.is_empty() || checked.contains(&Ok(())) {
            Ok(())
        } else if checked.contains(&Err(FormatError::Checksum)) {
            Err(FormatError::Checksum)
        } else {
            Err(FormatError::Mismatch)
        }
    }

    /// What the layer takes; everything, if it is empty.
    pub(super) fn at_the_door(&self) -> Vec<KeyFormat> {
        if self.any { Vec::new() } else { self.own().chain(&self.others).cloned().collect() }
    }

    fn own(&self) -> impl Iterator<Item = &KeyFormat> {
        self.plain.iter().chain(self.by_environment.iter().map(|(_, format)| format))
    }
}
