//! A secret that the configuration names, and does not contain.

use std::{env, fs, path::PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::exit::Failure;

/// Where a secret is: `{ env = "NAME" }`, `{ file = "/path" }` or `{ text_file = "/path" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file, of which every byte counts.
    File(PathBuf),
    /// A file with one line. The end of the line is not a part of the secret.
    TextFile(PathBuf),
}

// === impl SecretSource ===

impl SecretSource {
    /// Reads the secret. `what` names it in an error.
    pub(crate) fn read(&self, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let bytes = match self {
            Self::Env(name) => env::var(name).map(String::into_bytes).map_err(|error| format!("{name}: {error}")),
            Self::File(path) | Self::TextFile(path) => {
                fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
            }
        };
        let mut bytes = Zeroizing::new(bytes.map_err(|error| Failure::Usage(format!("cannot read {what}: {error}")))?);
        if matches!(self, Self::TextFile(_)) {
            let line = bytes.trim_ascii_end().len();
            bytes.truncate(line);
        }
        Ok(bytes)
    }
}
