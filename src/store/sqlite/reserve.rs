//! A file that reserves disk space for changes that take access away.
//!
//! Keys can be added and edited only while the file exists or can be created. A revocation that
//! finds the disk full removes the file and uses its space.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::error::DatabaseError;

use super::file::{beside, private};

/// The reserve file, next to the database.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

/// How a file of ours begins.
#[derive(PartialEq)]
enum Begins {
    Marked,
    /// Empty, cut short or zeros, as after a power loss. The file is written again.
    Unwritten,
}

/// The size of the file. It is larger than the log at a checkpoint (see [`LOG_PAGES`]), so its
/// space suffices for the checkpoint.
const SIZE: usize = 2 << 20;

/// The number of pages, of 4 KiB, at which the log is checkpointed into the database.
pub(super) const LOG_PAGES: &str = "256";

/// The first bytes, which identify a file as ours.
const MARK: &[u8] =
    b"tower-api-key keeps this space for revoking keys when the disk is full. The file may be removed.\n";

/// The pauses between attempts: a file system may need a moment to free the space.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(200)];

// === impl Reserve ===

impl Reserve {
    /// Returns the reserve of the database at `path`, in which links are already resolved.
    pub(super) fn of(path: &Path) -> Self {
        Self(beside(path, "-reserve"))
    }

    /// Creates the file unless it exists. Call it from one task at a time. Otherwise a half-written
    /// file could take the space that a revocation needs.
    pub(super) fn keep(&self) -> io::Result<()> {
        if self.exists() { Ok(()) } else { self.write() }
    }

    /// Returns whether the file exists, or another program's file of this name, which is left
    /// alone.
    pub(super) fn exists(&self) -> bool {
        fs::metadata(&self.0).is_ok_and(|file| match self.begins() {
            Some(Begins::Marked) => file.len() >= SIZE as u64,
            Some(Begins::Unwritten) => false,
            None => true,
        })
    }

    /// Removes the file. Returns whether it existed.
    fn release(&self) -> bool {
        self.begins() == Some(Begins::Marked) && fs::remove_file(&self.0).is_ok()
    }

    fn write(&self) -> io::Result<()> {
        let new = beside(&self.0, &format!("-{}", std::process::id()));
        let written = private(&new).and_then(|mut file| {
            file.write_all(MARK)?;
            (0..SIZE / NOISE.len()).try_for_each(|_| file.write_all(&NOISE))?;
            // Without this, the file could be empty after a power loss.
            file.sync_all()
        });
        let kept = written.and_then(|()| fs::rename(&new, &self.0));
        if kept.is_err() {
            let _ = fs::remove_file(&new);
        }
        match kept {
            // If no file can be created, as in a read-only directory, there is no reserve.
            Err(error) if is_no_space(error.kind()) => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns how the file begins, or `None` if it is not ours.
    fn begins(&self) -> Option<Begins> {
        let mut begin = Vec::new();
        fs::File::open(&self.0).and_then(|file| file.take(MARK.len() as u64).read_to_end(&mut begin)).ok()?;
        if begin == MARK {
            Some(Begins::Marked)
        } else if MARK.starts_with(&begin) || begin.iter().all(|byte| *byte == 0) {
            Some(Begins::Unwritten)
        } else {
            None
        }
    }

    /// Runs a change that takes access away. If the disk is full, removes the file and runs the
    /// change again.
    pub(super) async fn spend<T, F>(&self, change: impl Fn() -> F) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let mut done = change().await;
        if !done.as_ref().is_err_and(is_full) || !self.release() {
            return done;
        }
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            done = change().await;
            if !done.as_ref().is_err_and(is_full) {
                break;
            }
        }
        done
    }
}

/// Bytes that no file system can compress.
static NOISE: [u8; 1 << 12] = noise();

const fn noise() -> [u8; 1 << 12] {
    let mut bytes = [0; 1 << 12];
    let (mut state, mut index) = (0x9e37_79b9_u32, 0);
    while index < bytes.len() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes[index] = state.to_le_bytes()[3];
        index += 1;
    }
    bytes
}

fn is_no_space(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns whether SQLite found the disk full. For the index of its log, SQLite reports only
/// `SQLITE_IOERR`.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    const FULL: i32 = 13;
    const IO_ERROR: i32 = 10;
    let code = error.as_database_error().and_then(DatabaseError::code).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, FULL | IO_ERROR))
}
