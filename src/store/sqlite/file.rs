//! The file: made so that its owner alone reads it, and known again later by what the system calls it.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::fault::SqliteFault;

/// The files of an open database: itself, its log and the index of its log. While a connection is open, SQLite replaces none of them.
#[derive(Debug)]
pub(super) struct Files {
    files: [(PathBuf, Option<Identity>); 3],
    is_replaced: AtomicBool,
}

/// What a file is called by the system, whatever its path. It is not given to another file while this one is open.
#[cfg(unix)]
type Identity = (u64, u64);

/// Elsewhere an open database can be neither moved nor removed: Windows refuses it.
#[cfg(not(unix))]
type Identity = ();

/// So many links lead to a file at most.
const LINKS: u32 = 40;

// === impl Files ===

impl Files {
    /// The files that are at `path` now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        // SQLite follows links before it names the log.
        let target = fs::canonicalize(path)?;
        let paths = [path.to_owned(), beside(&target, "-wal"), beside(&target, "-shm")];
        let [file, log, index] = paths.map(|path| identity(&path).map(|identity| (path, identity)));
        Ok(Self { files: [file?, log?, index?], is_replaced: AtomicBool::new(false) })
    }

    /// The database itself.
    pub(super) fn path(&self) -> &Path {
        &self.files[0].0
    }

    /// Whether the database itself is the same file as there.
    pub(super) fn is_file_of(&self, other: &Self) -> bool {
        self.files[0] == other.files[0]
    }

    /// An error unless the paths still lead to the files that were opened. Once one did not, the error stays.
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
            // What was not there at first belongs to no connection of ours.
            if file.1.is_some() && identity(&file.0)? != file.1 {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

/// `None` if there is no such file.
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

/// The path with this at its end.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Makes an empty file at `path`, unless there is one, which its owner alone may read or write. What SQLite makes beside it has the same mode.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&target) else { break };
        target = target.parent().unwrap_or(Path::new("/")).join(next);
    }
    if target.try_exists()? {
        return Ok(());
    }
    // To close a file frees all locks that this process has on it, SQLite's too. So it is closed before it has its name.
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

/// A new empty file beside `target`.
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

/// A new file for its owner alone.
pub(super) fn private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
