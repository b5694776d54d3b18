//! The error of reading a file of static keys.

use std::{io::ErrorKind, path::PathBuf};

use thiserror::Error;

use super::list_error::KeyListError;

/// The error of reading a file of static keys. The text names the file and the entry, and never
/// repeats a key.
///
/// ```
/// use tower_api_key::store::{KeyFileError, StaticKeysFile};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let error = StaticKeysFile::open("/no/such/keys.toml").unwrap_err();
/// assert!(matches!(&error, KeyFileError::Unreadable(path, _) if path.ends_with("keys.toml")));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file is missing or cannot be read.
    #[error("the file of keys {0:?} cannot be read: {1}")]
    Unreadable(PathBuf, ErrorKind),
    /// The path is a folder or a device.
    #[error("{0:?} is not a file: name a file of keys in JSON or TOML")]
    NotAFile(PathBuf),
    /// Users other than the owner may write the file, and so may add keys. Contains the mode.
    #[error("the file of keys {0:?} can be written by other users (mode {mode:o}): run `chmod go-w` on it", mode = .1)]
    Writable(PathBuf, u32),
    /// The file is longer than 1 MiB.
    #[error("the file of keys {0:?} is longer than 1 MiB: for that many keys, use a database")]
    TooLong(PathBuf),
    /// The file is not UTF-8.
    #[error("the file of keys {0:?} is not UTF-8: save it as UTF-8")]
    NotUtf8(PathBuf),
    /// The file has no valid list of keys.
    #[error("the file of keys {0:?}: {1}")]
    List(PathBuf, #[source] KeyListError),
    /// The file is opened outside of a tokio runtime, so no task can follow its changes.
    #[error("there is no tokio runtime: open the file of keys in an async function")]
    NoRuntime,
}
