//! A store over a file of keys, which is read again when it changes.
//!
//! Each check reads the whole file and compares its digest. So a change is seen however it is made:
//! in place, by a rename, by a symbolic link that gets another target, with equal times and
//! lengths.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{AbortHandle, spawn_blocking},
    time::sleep,
};

use super::{
    file_error::KeyFileError,
    file_log,
    file_text::{Fingerprint, fingerprint, format_of, text_of},
    list,
};
use crate::{
    key::KeyDigest,
    record::KeyRecord,
    store::{KeyStore, Lookup},
};

/// How often a file is checked unless [`StaticKeysFile::check_every`] sets another interval.
const INTERVAL: Duration = Duration::from_secs(2);

const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// A store of the keys in a file, which is read again when it changes.
///
/// The file has the form of [`StaticKeys::from_json`](super::StaticKeys::from_json) or
/// [`StaticKeys::from_toml`](super::StaticKeys::from_toml). The extension `.json` or `.toml` says
/// which; for another one, the text is JSON if it begins with `{`, or with `[` before a `{`. The
/// keys are hashed with SHA-256, so the layer must use its default hasher.
///
/// ```
/// use tower_api_key::{ApiKeyLayer, store::StaticKeysFile};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("keys.toml");
/// # std::fs::write(&path, "[keys.deploy]\nkey = \"d9c1XgQm3RrW0uTzEoPj8yBvLsKfHa\"")?;
/// # /*
/// let path = "/etc/my-service/keys.toml";
/// # */
/// let keys = StaticKeysFile::open(path)?;
/// let layer = ApiKeyLayer::builder(keys.clone()).build()?;
/// assert_eq!(keys.last_error(), None); // for a health endpoint
/// # Ok(())
/// # }
/// ```
///
/// A task reads the file every 2 s, and uses it if its content has changed. Symbolic links are
/// followed, so an updated Secret of Kubernetes is seen. A removed key is rejected, and an added
/// one accepted, from the first request after that check. Clones share the keys. The task ends when
/// the last clone is dropped.
///
/// # Bad files
///
/// If the file is missing, empty or invalid, or other users may write it, the last good keys stay
/// in use: an error while the service runs is no reason to reject its clients. **A key that such a
/// file removes still works.** So the error is reported once for each change of the file: by an
/// event of level `ERROR` with the feature `tracing`, or else by a line on standard error.
/// [`last_error`](StaticKeysFile::last_error) returns it, and with the feature `metrics`, the
/// counter `api_key_file_errors_total` rises at each check. When the service starts, there are no
/// last good keys, and [`open`](StaticKeysFile::open) returns the error.
///
/// Write a new version into another file and rename it over the old one, as Kubernetes and most
/// editors do: a check between two writes to one file would read a part of it.
#[derive(Clone)]
pub struct StaticKeysFile {
    file: Arc<KeyFile>,
    task: Arc<Task>,
}

struct KeyFile {
    path: PathBuf,
    keys: RwLock<Keys>,
    /// What the last check has found. It is locked during a check, so that checks do not overlap.
    found: Mutex<Result<Fingerprint, KeyFileError>>,
    error: Mutex<Option<KeyFileError>>,
}

type Keys = Arc<HashMap<KeyDigest, KeyRecord>>;

/// The task that checks the file. It ends when this is dropped.
struct Task {
    runtime: Handle,
    running: AbortHandle,
}

impl StaticKeysFile {
    /// Reads the keys of a file, and starts the task that follows its changes.
    ///
    /// On Unix, the file must not be writable by its group or by other users. Others may read it,
    /// as they may read a mounted Secret of Kubernetes; for such a file, prefer `sha256` to `key`.
    ///
    /// # Errors
    ///
    /// - [`KeyFileError::NoRuntime`] outside of a tokio runtime
    /// - another [`KeyFileError`] if the file cannot be read or is not a valid list of keys
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, KeyFileError> {
        let runtime = Handle::try_current().map_err(|_| KeyFileError::NoRuntime)?;
        let path = path.into();
        let text = text_of(&path)?;
        let file = Arc::new(KeyFile {
            keys: RwLock::new(keys_in(&path, &text)?),
            found: Mutex::new(Ok(fingerprint(&text))),
            error: Mutex::default(),
            path,
        });
        let task = Arc::new(Task::start(runtime, &file, INTERVAL));
        Ok(Self { file, task })
    }

    /// Sets how often the file is checked (default 2 s, at least 10 ms).
    ///
    /// Call it before you clone the store: each clone keeps the interval that it was made with.
    #[must_use]
    pub fn check_every(mut self, interval: Duration) -> Self {
        self.task = Arc::new(Task::start(self.task.runtime.clone(), &self.file, interval.max(SHORTEST_INTERVAL)));
        self
    }

    /// Checks the file at once, for example after a signal. It reads on the thread of the caller.
    ///
    /// # Errors
    ///
    /// Returns why the file is not used. The last good keys stay in use.
    pub fn reload(&self) -> Result<(), KeyFileError> {
        self.file.check()
    }

    /// Returns why the file is not used, or `None` if its keys are in use.
    ///
    /// Let a health endpoint or an alert check it: while there is an error, a key that the file
    /// removes still works.
    pub fn last_error(&self) -> Option<KeyFileError> {
        self.file.error()
    }
}

impl KeyFile {
    fn check(&self) -> Result<(), KeyFileError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text_of(&self.path);
        let now = text.as_ref().map(|text| fingerprint(text)).map_err(Clone::clone);
        if *found != now {
            *found = now;
            let error = match text.and_then(|text| keys_in(&self.path, &text)) {
                Ok(keys) => {
                    file_log::read(&self.path, keys.len());
                    *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
                    None
                }
                Err(error) => {
                    file_log::failed(&error);
                    Some(error)
                }
            };
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        }
        self.error().map_or(Ok(()), |error| {
            file_log::count_failure();
            Err(error)
        })
    }

    fn error(&self) -> Option<KeyFileError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_up(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}

fn keys_in(path: &Path, text: &str) -> Result<Keys, KeyFileError> {
    let records =
        list::read(text, format_of(path, text)).map_err(|error| KeyFileError::List(path.to_owned(), error))?;
    Ok(Arc::new(records.into_iter().map(|record| (*record.digest(), record)).collect()))
}

impl Task {
    fn start(runtime: Handle, file: &Arc<KeyFile>, interval: Duration) -> Self {
        let file = Arc::clone(file);
        let follow = async move {
            loop {
                sleep(interval).await;
                let file = Arc::clone(&file);
                // The check has reported its error.
                let _ = spawn_blocking(move || file.check()).await;
            }
        };
        Self { running: runtime.spawn(follow).abort_handle(), runtime }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl KeyStore for StaticKeysFile {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.file.look_up(digest))
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        self.file.look_up(digest).into()
    }
}

/// Shows the file and its error, and no keys.
impl fmt::Debug for StaticKeysFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.last_error();
        f.debug_struct("StaticKeysFile").field("path", &self.file.path).field("error", &error).finish_non_exhaustive()
    }
}
