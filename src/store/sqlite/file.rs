//! The database file: created with access for its owner alone, and identified by device and inode.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::fault::SqliteFault;

/// The files of an open database: the database, its log and the index of its log. SQLite replaces
/// none of them while a connection is open.
#[derive(Debug)]
pub(super) struct Files {
    files: [(PathBuf, Option<Identity>); 3],
    is_replaced: AtomicBool,
}

/// The device and inode of a file. The system does not reuse them while the file is open.
#[cfg(unix)]
type Identity = (u64, u64);

/// Empty elsewhere: Windows does not allow moving or removing an open database.
#[cfg(not(unix))]
type Identity = ();

/// The most symbolic links to follow.
const LINKS: u32 = 40;

// === impl Files ===

impl Files {
    /// Returns the files that are at `path` now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        // SQLite follows links before it names the log.
        let target = fs::canonicalize(path)?;
        let paths = [path.to_owned(), beside(&target, "-wal"), beside(&target, "-shm")];
        let [file, log, index] = paths.map(|path| identity(&path).map(|identity| (path, identity)));
        Ok(Self { files: [file?, log?, index?], is_replaced: AtomicBool::new(false) })
    }

    /// Returns the path of the database.
    pub(super) fn path(&self) -> &Path {
        &self.files[0].0
    }

    /// Returns whether both have the same database file.
    pub(super) fn is_file_of(&self, other: &Self) -> bool {
        self.files[0] == other.files[0]
    }

    /// Fails unless the paths still lead to the files that were opened. After the first failure,
    /// every call fails.
    pub(super) fn check(&self) -> Result<(), sqlx::Error> {
        if !self.is_replaced.load(Ordering::Relaxed) {
            let Some((path, _)) = self.changed()? else { return Ok(()) };
            self.is_replaced.store(true, Ordering::Relaxed);
            return Err(SqliteFault::Replaced(path.clone()).into());
        }
        Err(SqliteFault::Replaced(self.path().to_owned()).into())
    }

    fn changed(&self) -> io::Result<Option<&(PathBuf, Option<Identity>)>> {
        for file in &self.files {
            // Ignore a file that did not exist at first: no connection of this store uses it.
            if file.1.is_some() && identity(&file.0)? != file.1 {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

/// Returns the identity of the file, or `None` if there is no such file.
fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match fs::metadata(path) {
        #[cfg(unix)]
        Ok(file) => Ok(Some((std::os::unix::fs::MetadataExt::dev(&file), std::os::unix::fs::MetadataExt::ino(&file)))),
        #[cfg(not(unix))]
        Ok(_) => Ok(Some(())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the path with `ending` appended.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Creates an empty file at `path` that only its owner may read or write, unless a file exists.
/// SQLite creates its other files with the same mode.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&target) else { break };
        target = target.parent().unwrap_or(Path::new("/")).join(next);
    }
    if target.try_exists()? {
        return Ok(());
    }
    // Closing a file releases all locks that this process holds on it, including SQLite's. So the
    // new file is closed before it gets its name.
    let new = unused(&target)?;
    let linked = fs::hard_link(&new, &target);
    let _ = fs::remove_file(&new);
    match linked {
        // Not every file system has hard links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => match private(&target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Creates an empty file with a new name next to `target`.
fn unused(target: &Path) -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let path = beside(target, &format!("-new-{}-{number}", std::process::id()));
        match private(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Creates a file that only its owner may read or write. Fails if it exists.
pub(super) fn private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
