//! A secret that the configuration names, and does not contain.

use std::{env, ffi::OsString, fs, path::PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

/// Where a secret is: `{ env = "NAME" }`, `{ file = "/path" }` or `{ binary_file = "/path" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file with one line. White space at its end is not a part of the secret.
    File(PathBuf),
    /// A file, of which every byte counts.
    BinaryFile(PathBuf),
}

// === impl SecretSource ===

impl SecretSource {
    /// Reads the secret. An error names its source.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let bytes = match self {
            // The error of `env::var` repeats a value that is not UTF-8.
            Self::Env(name) => {
                env::var_os(name).map(OsString::into_encoded_bytes).ok_or_else(|| format!("{name}: it is not set"))
            }
            Self::File(path) | Self::BinaryFile(path) => {
                fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
            }
        };
        let mut bytes = Zeroizing::new(bytes.map_err(|error| format!("cannot read a secret: {error}"))?);
        if matches!(self, Self::File(_)) {
            let line = bytes.trim_ascii_end().len();
            bytes.truncate(line);
        }
        Ok(bytes)
    }
}
