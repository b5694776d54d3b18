//! Reads the text of a file of keys, unless other users may write it.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{ErrorKind, Read},
    path::Path,
};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{file_error::KeyFileError, syntax::Format};

/// The limit of Kubernetes for a Secret, too.
const MAX_LEN: u64 = 1 << 20;

/// The digest of the text of a file. Unlike times and lengths, it differs for all other texts.
pub(super) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(text: &str) -> Fingerprint {
    Sha256::digest(text).into()
}

/// Returns the format that the extension names, or else that of the text.
pub(super) fn format_of(path: &Path, text: &str) -> Format {
    match path.extension().map(OsStr::to_ascii_lowercase) {
        Some(extension) if extension == "json" => Format::Json,
        Some(extension) if extension == "toml" => Format::Toml,
        _ => Format::detect(text),
    }
}

/// Returns the text of the file. Follows symbolic links.
pub(super) fn text_of(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let unreadable = |error: std::io::Error| KeyFileError::Unreadable(path.to_owned(), error.kind());
    // Before it is opened: a pipe would block.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check_mode(path, &metadata)?;
    let too_long = || KeyFileError::TooLong(path.to_owned());
    if metadata.len() > MAX_LEN {
        return Err(too_long());
    }
    // As long as the whole text from the start: a buffer that grows would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.take(MAX_LEN + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => KeyFileError::NotUtf8(path.to_owned()),
        _ => unreadable(error),
    })?;
    // It has grown since.
    if u64::try_from(text.len()).is_ok_and(|len| len <= MAX_LEN) { Ok(text) } else { Err(too_long()) }
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;

    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(KeyFileError::Writable(path.to_owned(), mode)) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &Metadata) -> Result<(), KeyFileError> {
    Ok(())
}
