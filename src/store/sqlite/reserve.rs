//! Space for the changes that take access away, kept in a file for when the disk is full.
//!
//! While that file is there, or can be made, keys are added. A revocation that finds the disk full removes it, and has its space.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::error::DatabaseError;

use super::file::{beside, private};

/// The file beside the database.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

/// The begin of a file that is ours.
#[derive(PartialEq)]
enum Begins {
    Marked,
    /// It is empty, cut short, or zeros: what a power loss leaves. It is made anew.
    Unwritten,
}

/// More than the log holds when it is written back, see [`LOG_PAGES`]: so with this much space it always can be.
const SIZE: usize = 2 << 20;

/// The log is written back to the database when it has so many pages, of 4 KiB.
pub(super) const LOG_PAGES: &str = "256";

/// No other file begins so.
const MARK: &[u8] =
    b"tower-api-key keeps this space for revoking keys when the disk is full. The file may be removed.\n";

/// A file system may need a moment to free what was removed.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(200)];

// === impl Reserve ===

impl Reserve {
    /// That of the database whose file is at `path`, links followed.
    pub(super) fn of(path: &Path) -> Self {
        Self(beside(path, "-reserve"))
    }

    /// Makes the file, unless it is there. One caller at a time: what is half written takes the space of a revocation.
    pub(super) fn keep(&self) -> io::Result<()> {
        match fs::metadata(&self.0) {
            Ok(file) if file.len() >= SIZE as u64 && self.begins() == Some(Begins::Marked) => Ok(()),
            // Whatever it is, it is not ours.
            Ok(_) if self.begins().is_none() => Ok(()),
            _ => self.write(),
        }
    }

    /// Removes the file. False if there is none.
    fn release(&self) -> bool {
        self.begins() == Some(Begins::Marked) && fs::remove_file(&self.0).is_ok()
    }

    fn write(&self) -> io::Result<()> {
        let new = beside(&self.0, &format!("-{}", std::process::id()));
        let written = private(&new).and_then(|mut file| {
            file.write_all(MARK)?;
            (0..SIZE / NOISE.len()).try_for_each(|_| file.write_all(&NOISE))?;
            // A file that has its name before its content would be empty after a power loss.
            file.sync_all()
        });
        let kept = written.and_then(|()| fs::rename(&new, &self.0));
        if kept.is_err() {
            let _ = fs::remove_file(&new);
        }
        match kept {
            // Where no file can be made, as in a folder that is read-only, there is no reserve.
            Err(error) if is_no_space(error.kind()) => Err(error),
            _ => Ok(()),
        }
    }

    /// How the file begins, if it is ours.
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

    /// Does what takes access away. If the disk is full, again in the space of the reserve.
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

/// What no file system makes smaller.
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

/// Whether SQLite has found the disk full. For the index of its log it says but that it cannot write: `SQLITE_IOERR`.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    const FULL: i32 = 13;
    const IO_ERROR: i32 = 10;
    let code = error.as_database_error().and_then(DatabaseError::code).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, FULL | IO_ERROR))
}
